//! What a transaction sees and has not committed yet.
//!
//! Each table is read at the version that the transaction saw first. One table may be changed:
//! its new rows wait in memory (within a limit) and are committed, in one commit, by COMMIT;
//! statements of the transaction see them, ROLLBACK forgets them. A second changed table is refused
//! at its statement, as nothing could make two commits atomic.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use auric_catalog::TableIdent;
use auric_catalog::registry::{Catalog, Table};
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::union::UnionExec;
use parking_lot::Mutex;

use crate::error::{Error, Result, SqlState};

/// Most bytes of rows that wait for COMMIT.
const MAX_WAITING_BYTES: usize = 512 * 1024 * 1024;

type Key = (String, TableIdent);

fn key(catalog: &Catalog, ident: &TableIdent) -> Key {
    (catalog.name().to_string(), ident.clone())
}

/// The one table that the transaction changes.
#[derive(Debug)]
struct Change {
    table: Table,
    /// The table is made by this transaction.
    created: bool,
    dropped: bool,
    batches: Vec<RecordBatch>,
    bytes: usize,
    reservation: MemoryReservation,
}

/// What COMMIT has to do.
#[derive(Debug)]
pub struct Work {
    pub table: Table,
    pub created: bool,
    pub dropped: bool,
    pub batches: Vec<RecordBatch>,
    /// Keeps the rows' memory accounted for until they are written.
    pub reservation: MemoryReservation,
}

/// A point to come back to.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    changed: bool,
    dropped: bool,
    batches: usize,
}

/// Tables as one transaction (or one statement outside of any) sees them.
#[derive(Debug, Default)]
pub struct TransactionTables {
    seen: Mutex<HashMap<Key, Option<Table>>>,
    change: Mutex<Option<Change>>,
}

impl TransactionTables {
    /// The table at the version of this transaction.
    pub async fn get(&self, catalog: &Arc<Catalog>, ident: &TableIdent) -> Result<Option<Table>> {
        let key = key(catalog, ident);
        if let Some(change) = self.change.lock().as_ref()
            && same(&change.table, &key)
            && (change.created || change.dropped)
        {
            return Ok((!change.dropped).then(|| change.table.clone()));
        }
        if let Some(seen) = self.seen.lock().get(&key) {
            return Ok(seen.clone());
        }
        let found = match catalog.table(ident).await {
            Err(auric_catalog::Error::NamespaceNotFound(_)) => None,
            other => other?,
        };
        // A name without a table may get one later: only what was found is kept.
        if found.is_some() {
            self.seen.lock().insert(key, found.clone());
        }
        Ok(found)
    }

    /// The table with the rows that wait for COMMIT, if there are any.
    pub fn overlay(&self, table: &Table) -> Result<Option<Arc<dyn TableProvider>>> {
        let change = self.change.lock();
        let Some(change) =
            change.as_ref().filter(|change| same(&change.table, &key(&table.catalog, &table.ident)))
        else {
            return Ok(None);
        };
        if change.batches.is_empty() && !change.created {
            return Ok(None);
        }
        Ok(Some(Arc::new(Overlay {
            schema: table.snapshot.schema.arrow.clone(),
            stored: (!change.created).then(|| table.provider()),
            batches: change.batches.clone(),
        })))
    }

    fn begin_change(&self, table: &Table, runtime: &RuntimeEnv) -> Result<()> {
        let mut change = self.change.lock();
        match change.as_ref() {
            Some(change) if !same(&change.table, &key(&table.catalog, &table.ident)) => Err(Error::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                "a transaction that changes more than one table is not supported",
            )
            .with_detail(format!("The transaction has already changed \"{}\".", change.table.ident))
            .with_hint("COMMIT in between, or use autocommit.")),
            Some(change) if change.dropped => Err(Error::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                "changing a table that the transaction has dropped is not supported",
            )
            .with_hint("COMMIT in between, or use autocommit.")),
            Some(_) => Ok(()),
            None => {
                *change = Some(Change {
                    table: table.clone(),
                    created: false,
                    dropped: false,
                    batches: Vec::new(),
                    bytes: 0,
                    reservation: MemoryConsumer::new("transaction").register(&runtime.memory_pool),
                });
                Ok(())
            }
        }
    }

    /// Checks that rows may be added to `table`.
    pub fn check_append(&self, table: &Table, runtime: &RuntimeEnv) -> Result<()> {
        self.begin_change(table, runtime)
    }

    /// Keeps new rows of a table until COMMIT.
    pub fn append(&self, table: &Table, batch: RecordBatch, runtime: &RuntimeEnv) -> Result<()> {
        self.begin_change(table, runtime)?;
        let mut change = self.change.lock();
        if let Some(change) = change.as_mut() {
            let bytes = batch.get_array_memory_size();
            if change.bytes + bytes > MAX_WAITING_BYTES {
                return Err(Error::new(
                    SqlState::PROGRAM_LIMIT_EXCEEDED,
                    "too many new rows in one transaction block",
                )
                .with_detail(format!("At most {} MB wait for COMMIT.", MAX_WAITING_BYTES >> 20))
                .with_hint("Load outside of a transaction block: each statement is atomic by itself."));
            }
            change.reservation.try_grow(bytes).map_err(|e| Error::from(&e))?;
            change.bytes += bytes;
            change.batches.push(batch);
        }
        Ok(())
    }

    /// A table that COMMIT will create.
    pub fn create(&self, table: &Table, runtime: &RuntimeEnv) -> Result<()> {
        self.begin_change(table, runtime)?;
        if let Some(change) = self.change.lock().as_mut() {
            change.created = true;
        }
        Ok(())
    }

    /// A table that COMMIT will drop.
    pub fn drop_table(&self, table: &Table, runtime: &RuntimeEnv) -> Result<()> {
        self.begin_change(table, runtime)?;
        let mut change = self.change.lock();
        if change.as_ref().is_some_and(|change| change.created) {
            // Made and dropped by the same transaction: nothing is left to do.
            *change = None;
        } else if let Some(change) = change.as_mut() {
            change.batches.clear();
            change.dropped = true;
        }
        Ok(())
    }

    /// Takes what COMMIT has to do.
    pub fn take_work(&self) -> Option<Work> {
        let Change { table, created, dropped, batches, reservation, .. } = self.change.lock().take()?;
        Some(Work { table, created, dropped, batches, reservation })
    }

    pub fn mark(&self) -> Mark {
        let change = self.change.lock();
        Mark {
            changed: change.is_some(),
            dropped: change.as_ref().is_some_and(|change| change.dropped),
            batches: change.as_ref().map_or(0, |change| change.batches.len()),
        }
    }

    pub fn rollback_to(&self, mark: Mark) {
        let mut change = self.change.lock();
        if !mark.changed {
            *change = None;
        } else if let Some(change) = change.as_mut() {
            change.batches.truncate(mark.batches);
            change.dropped = mark.dropped;
        }
    }
}

fn same(table: &Table, key: &Key) -> bool {
    table.catalog.name() == key.0 && table.ident == key.1
}

/// A table and the rows that wait to be added to it.
#[derive(Debug)]
struct Overlay {
    schema: SchemaRef,
    stored: Option<Arc<dyn TableProvider>>,
    batches: Vec<RecordBatch>,
}

#[async_trait]
impl TableProvider for Overlay {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> datafusion::error::Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        let waiting: Arc<dyn ExecutionPlan> = MemorySourceConfig::try_new_exec(
            std::slice::from_ref(&self.batches),
            self.schema.clone(),
            projection.cloned(),
        )?;
        match &self.stored {
            None => Ok(waiting),
            Some(stored) => {
                let stored = stored.scan(state, projection, filters, None).await?;
                UnionExec::try_new(vec![stored, waiting])
            }
        }
    }
}
