//! A table whose rows carry their address, for row-level changes.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;

use super::address_book::AddressBook;
use super::plan::{self, ScanRequest};
use super::planned_file::ScanColumn;
use super::row_columns::{RowColumn, RowColumns};
use crate::registry::Table;
use crate::storage::Storage;
use crate::table::TableSnapshot;

/// One version of a table as a relation: the table's columns, then [`FILE`](crate::dml::rows::FILE) and
/// [`POSITION`](crate::dml::rows::POSITION). Scans enter their files and filters into the book.
#[derive(Debug)]
pub(crate) struct AddressedTable {
    snapshot: Arc<TableSnapshot>,
    storage: Storage,
    book: Arc<AddressBook>,
    columns: RowColumns,
}

impl AddressedTable {
    pub fn new(table: &Table, book: Arc<AddressBook>) -> Self {
        Self::of_snapshot(table.snapshot.clone(), table.catalog.storage().clone(), book)
    }

    /// Then the lineage columns as well, if the table's rows have any: [`ROW_ID`](super::ROW_ID) and
    /// `ROW_SEQUENCE`.
    pub fn with_lineage(mut self) -> Self {
        self.columns.0.extend(self.snapshot.row_lineage.as_ref().into_iter().flat_map(RowColumn::lineage));
        self
    }

    pub(super) fn of_snapshot(
        snapshot: Arc<TableSnapshot>,
        storage: Storage,
        book: Arc<AddressBook>,
    ) -> Self {
        let mut columns: Vec<RowColumn> = ScanColumn::all(&snapshot.schema).map(RowColumn::Table).collect();
        columns.extend([RowColumn::File(book.clone()), RowColumn::Position]);
        Self { snapshot, storage, book, columns: RowColumns(columns) }
    }

    /// Whether a filter is over the table's own columns.
    fn is_of_table(&self, filter: &Expr) -> bool {
        let own = |name: &str| self.snapshot.schema.arrow.field_with_name(name).is_ok();
        filter.column_refs().iter().all(|c| own(&c.name))
    }
}

#[async_trait]
impl TableProvider for AddressedTable {
    fn schema(&self) -> SchemaRef {
        let fields: Vec<FieldRef> = self.columns.0.iter().map(RowColumn::field).collect();
        Arc::new(Schema::new(fields))
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match self.is_of_table(filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.book.note_filters(filters);
        let columns = match projection {
            Some(projection) => {
                RowColumns(projection.iter().filter_map(|i| self.columns.0.get(*i)).cloned().collect())
            }
            None => self.columns.clone(),
        };
        let request = ScanRequest {
            snapshot: &self.snapshot,
            storage: &self.storage,
            projection: None,
            filters,
            limit,
        };
        let plan = plan::plan_output(request, state, &columns.scan_output(), Some(&self.book)).await?;
        Ok(columns.project(plan)?)
    }
}
