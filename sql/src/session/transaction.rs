//! What a transaction sees and has not committed yet.
//!
//! In a block each catalog is seen through a [`Transaction`]: statements change that, and COMMIT commits
//! it at once. Temporary tables do not count: see [`temporary`](super::temporary). Outside of a block, a
//! statement sees each table at one version, and commits by itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use auric_catalog::TableIdent;
use auric_catalog::commit::Turn;
use auric_catalog::dml::publish::{Deferred, Publish, Stamp};
use auric_catalog::registry::{Catalog, Table};
use auric_catalog::table::{Alteration, TableChange};
use auric_catalog::transaction::{State, Transaction};
use auric_catalog::write::WrittenFiles;
use parking_lot::Mutex;

use crate::error::{Error, Result, SqlState};

/// A point to come back to: what was changed of each catalog.
pub type Mark = BTreeMap<String, State>;

/// Versions of tables that are read, by catalog and table.
pub type Pins = Arc<Mutex<HashMap<(String, TableIdent), Table>>>;

/// Tables as one transaction (or one statement outside of any) sees them.
#[derive(Debug, Default)]
pub struct TransactionTables {
    in_block: bool,
    /// By catalog. Of a block.
    transactions: Mutex<BTreeMap<String, Arc<Transaction>>>,
    /// What a statement outside of a block has read, by catalog and table.
    seen: Pins,
    /// What a block has asked for.
    asked: Mutex<BTreeSet<(String, TableIdent)>>,
    /// What every commit of a run says, outside of a block.
    stamp: Option<Arc<Stamp>>,
    /// Of the table that the statement changes, if nobody else in this process may commit meanwhile.
    turn: Mutex<Option<Turn>>,
}

impl TransactionTables {
    /// Of a transaction block; the default is that of a statement outside of any.
    pub fn of_block() -> Self {
        Self { in_block: true, ..Self::default() }
    }

    pub fn is_of_block(&self) -> bool {
        self.in_block
    }

    /// Of a statement of a run: tables are read at the versions that are pinned, and those that are not yet
    /// are from then on.
    pub fn of_run(pins: Pins, stamp: Option<Arc<Stamp>>) -> Self {
        Self { seen: pins, stamp, ..Self::default() }
    }

    /// The tables that were read in the block since the last call, by catalog and name.
    pub fn take_asked(&self) -> BTreeSet<(String, TableIdent)> {
        std::mem::take(&mut self.asked.lock())
    }

    /// The catalog as this transaction sees it.
    pub fn catalog(&self, catalog: &Arc<Catalog>) -> Arc<Catalog> {
        // Temporary tables change at once, also in a block: the session alone sees them.
        if !self.in_block || catalog.is_temporary() {
            return catalog.clone();
        }
        let mut transactions = self.transactions.lock();
        let transaction = transactions
            .entry(catalog.name().to_string())
            .or_insert_with(|| Arc::new(Transaction::new(catalog)));
        transaction.catalog().clone()
    }

    /// The table at the version of this transaction, with what it has changed.
    pub async fn get(&self, catalog: &Arc<Catalog>, ident: &TableIdent) -> Result<Option<Table>> {
        let key = (catalog.name().to_string(), ident.clone());
        if let Some(seen) = self.seen.lock().get(&key) {
            return Ok(Some(seen.clone()));
        }
        let found = match catalog.table(ident).await {
            Err(auric_catalog::Error::NamespaceNotFound(_)) => None,
            other => other?,
        };
        Ok(match found {
            Some(table) if self.in_block => {
                self.asked.lock().insert(key);
                Some(table)
            }
            // What runs beside it may have been faster, and all read one version.
            Some(table) => Some(self.seen.lock().entry(key).or_insert(table).clone()),
            None => None,
        })
    }

    /// Outside of a block: has the table read anew, at its current version. To be called after a commit
    /// that the rest of the statement is to see.
    pub fn forget(&self, table: &Table) {
        self.seen.lock().remove(&(table.catalog.name().to_string(), table.ident.clone()));
    }

    /// Has what the statement does to a table committed in the table's turn. Only where it would be
    /// committed by itself: what is committed otherwise takes its own turn.
    pub fn has_turn(&self, turn: Turn) {
        if !self.in_block && self.stamp.is_none() {
            *self.turn.lock() = Some(turn);
        }
    }

    /// The transaction that changes to a table belong to. `None`: they are committed at once.
    fn of(&self, table: &Table) -> Result<Option<Arc<Transaction>>> {
        if !self.in_block || table.catalog.is_temporary() {
            return Ok(None);
        }
        let found = self.transactions.lock().get(table.catalog.name()).cloned();
        let missing = || Error::new(SqlState::INTERNAL_ERROR, "a table of no transaction was changed");
        found.ok_or_else(missing).map(Some)
    }

    /// When the change that a statement makes to `table` is committed. Fails where the transaction
    /// cannot change that table.
    pub fn publish(&self, table: &Table) -> Result<Publish> {
        let Some(transaction) = self.of(table)? else {
            let turn = self.turn.lock().clone().filter(|turn| turn.is_of(table));
            return Ok(match (&self.stamp, turn) {
                (Some(stamp), _) => Publish::Once(stamp.clone()),
                (None, Some(turn)) => Publish::InTurn(turn),
                (None, None) => Publish::Now,
            });
        };
        self.check_catalogs(Some(table.catalog.name()))?;
        transaction.check_change(table).map_err(with_hint)?;
        Ok(Publish::Later(Arc::new(Waiting { transaction, table: table.clone() })))
    }

    /// Alters a table, or lets COMMIT do it.
    pub async fn alter(&self, table: &Table, alteration: Alteration) -> Result<()> {
        match self.of(table)? {
            None => Ok(table.alter(alteration).await?),
            Some(transaction) => transaction.alter(table, alteration).map_err(with_hint),
        }
    }

    /// Creates a staged table without rows, or lets COMMIT do it.
    pub async fn create(&self, table: &Table) -> Result<()> {
        match self.of(table)? {
            None => Ok(table.catalog.create_staged(table).await?),
            Some(transaction) => transaction.create(table).await.map_err(with_hint),
        }
    }

    /// Fails with 0A000 if more than one catalog was changed: they are databases of their own.
    /// `changing`: one that is about to be.
    pub fn check_catalogs(&self, changing: Option<&str>) -> Result<()> {
        let transactions = self.transactions.lock();
        let changed = transactions
            .iter()
            .filter(|(name, transaction)| changing == Some(name.as_str()) || transaction.has_changes());
        let names: Vec<&str> = changed.map(|(name, _)| name.as_str()).collect();
        match names.as_slice() {
            [] | [_] => Ok(()),
            [one, other, ..] => {
                let message = "a transaction that changes more than one database is not supported";
                let detail = format!("It changes \"{one}\" and \"{other}\".");
                Err(with_hint(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message).with_detail(detail)))
            }
        }
    }

    /// Commits everything, or nothing.
    pub async fn commit(&self) -> Result<()> {
        let transactions: Vec<_> = self.transactions.lock().values().cloned().collect();
        // One of them has changes, if any.
        for transaction in transactions {
            transaction.commit().await?;
        }
        Ok(())
    }

    pub fn mark(&self) -> Mark {
        let transactions = self.transactions.lock();
        transactions.iter().map(|(name, transaction)| (name.clone(), transaction.mark())).collect()
    }

    pub fn rollback_to(&self, mark: &Mark) {
        let untouched = State::default();
        for (name, transaction) in self.transactions.lock().iter() {
            transaction.rollback_to(mark.get(name).unwrap_or(&untouched));
        }
    }

    /// Whether the transaction has changed anything.
    pub fn has_any_changes(&self) -> bool {
        self.transactions.lock().values().any(|transaction| transaction.has_changes())
    }

    /// Whether the system catalogs show what others do not see.
    pub fn has_changes(&self, database: &str) -> bool {
        self.transactions.lock().get(database).is_some_and(|transaction| transaction.has_changes())
    }
}

fn with_hint(e: impl Into<Error>) -> Error {
    let e = e.into();
    match e.code == SqlState::FEATURE_NOT_SUPPORTED && e.hint.is_none() {
        true => e.with_hint("COMMIT in between, or use autocommit."),
        false => e,
    }
}

/// A statement of a block whose change is awaited.
#[derive(Debug)]
struct Waiting {
    transaction: Arc<Transaction>,
    table: Table,
}

impl Deferred for Waiting {
    fn take(&self, change: TableChange, written: WrittenFiles) -> auric_catalog::Result<()> {
        self.transaction.add(&self.table, change, written)
    }
}
