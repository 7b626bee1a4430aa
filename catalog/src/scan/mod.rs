//! The one `TableProvider`: pruning, deletes as row selections, schema evolution, statistics.
//!
//! A scan is planned in steps, one module each:
//!
//! 1. [`file_selection`] keeps the lists and files that [`pruning`] cannot rule out, by their statistics
//!    and by their partition values ([`partition_inverse`], [`mod@partition_keys`]).
//! 2. [`row_deletes`] turns deletion vectors and [`position_deletes`] into the rows that are left
//!    ([`row_selection`]); [`equality_deletes`] become an anti-join.
//! 3. [`plan`] groups what is left into native Parquet scans ([`parquet_scan`]) with exact or inexact
//!    [`statistics`] and, where certain, an order ([`file_order`]); [`filter_barrier`] keeps filters out of
//!    the few that could not evaluate them.
//! 4. When a file is opened, [`reader`] gives its columns their present names ([`column_resolution`]),
//!    takes out bounds that cannot be trusted ([`nan_bounds`]), and [`column_adapter`] gives the columns
//!    their present types ([`type_promotion`]).
//!
//! Row-level changes scan through [`addressed_table`], whose rows carry their address
//! ([`row_columns`], [`address_book`]), take out files unread where all rows go ([`whole_files`]), and copy what is left of a file by [`mod@surviving_rows`]; samples
//! tell rows apart by it ([`mod@told_apart`]). What changed between two versions is read by [`changed_rows`].
//!
//! Invariants: nothing here knows a format; what is not known never prunes; a row is never returned
//! under a column that it was not written to.

mod address_book;
mod addressed_table;
mod changed_rows;
mod column_adapter;
mod column_resolution;
mod equality_deletes;
mod file_order;
mod file_predicate;
mod file_selection;
mod filter_barrier;
mod footer;
mod footer_cache;
mod live_files;
mod nan_bounds;
mod parquet_scan;
mod partition_inverse;
mod partition_keys;
mod plan;
mod planned_file;
mod position_deletes;
mod pruning;
mod reader;
mod row_columns;
mod row_deletes;
mod row_selection;
mod scan_output;
mod statistics;
mod surviving_rows;
mod told_apart;
mod type_promotion;
mod whole_files;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::Result;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use parking_lot::Mutex;

pub(crate) use self::address_book::AddressBook;
pub(crate) use self::addressed_table::AddressedTable;
pub(crate) use self::changed_rows::{ChangedRows, Part, PartRows};
pub(crate) use self::file_predicate::FilePredicate;
pub(crate) use self::footer::read as footer;
pub use self::footer_cache::FooterCache;
pub(crate) use self::live_files::{deleted_row_counts, live_files};
pub use self::partition_keys::may_be_key;
pub(crate) use self::row_columns::ROW_ID;
pub(crate) use self::row_deletes::load as deleted_positions;
pub(crate) use self::surviving_rows::{Beside, surviving_rows};
pub use self::told_apart::{RowFiles, told_apart};
use crate::registry::Table;
use crate::storage::readers::Reading;

/// One version of one table as a DataFusion relation.
#[derive(Debug)]
pub struct LakeTable {
    table: Table,
    /// From when the table was found to when its files are.
    reading: Mutex<Option<Arc<Reading>>>,
}

impl LakeTable {
    pub fn new(table: Table) -> Self {
        let reading = table.catalog.storage().readers().begin(&table.snapshot.location);
        Self { table, reading: Mutex::new(Some(reading)) }
    }

    pub fn table(&self) -> &Table {
        &self.table
    }
}

#[async_trait]
impl TableProvider for LakeTable {
    fn schema(&self) -> SchemaRef {
        self.table.snapshot.schema.arrow.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Filters prune here; the rows that are left are filtered by the scan or above it.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // A plan that is kept keeps nothing; each run of it reads by itself.
        let _until_planned = self.reading.lock().take();
        let request = plan::ScanRequest {
            snapshot: &self.table.snapshot,
            storage: self.table.catalog.storage(),
            projection,
            filters,
            limit,
        };
        Ok(plan::plan(request, state).await?)
    }

    async fn insert_into(
        &self,
        state: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        _op: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        crate::dml::insert::plan(&self.table, state, input)
    }
}
