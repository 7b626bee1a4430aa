//! Some rows of some files of some versions of a table, as a relation: what was added to it, or removed
//! from it ([`changes`](crate::changes)).

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use roaring::RoaringTreemap;

use super::planned_file::ScanColumn;
use super::row_columns::{RowColumn, RowColumns};
use super::surviving_rows::rows_of;
use super::{footer, row_deletes};
use crate::error::Result;
use crate::storage::Storage;
use crate::table::deletes::FileDeletes;
use crate::table::{LiveFile, TableSchema, TableSnapshot};

/// Which rows of a file.
#[derive(Debug, Clone)]
pub(crate) enum PartRows {
    /// Those that are not deleted.
    Live,
    /// Those at these positions, if no equality delete applies to them.
    At(Arc<RoaringTreemap>),
}

/// Rows of a file, as a version has it.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub snapshot: Arc<TableSnapshot>,
    pub file: LiveFile,
    pub rows: PartRows,
}

/// The rows of all parts, with the columns of `schema`.
#[derive(Debug)]
pub(crate) struct ChangedRows {
    pub storage: Storage,
    pub schema: Arc<TableSchema>,
    pub parts: Vec<Part>,
}

impl ChangedRows {
    async fn of_version(
        &self,
        state: &dyn Session,
        parts: &[&Part],
        columns: RowColumns,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(first) = parts.first() else { return Ok(None) };
        let no_deletes = FileDeletes::default();
        let wanted: Vec<(&str, &FileDeletes)> = parts
            .iter()
            .map(|part| match part.rows {
                PartRows::Live => (part.file.path(), &part.file.deletes),
                PartRows::At(_) => (part.file.path(), &no_deletes),
            })
            .collect();
        let deleted = row_deletes::load(&self.storage, &wanted).await?;
        let mut files = Vec::with_capacity(parts.len());
        for (part, deleted) in parts.iter().zip(deleted) {
            let left_out = match &part.rows {
                PartRows::Live => deleted.map(|deleted| deleted.as_ref().clone()).unwrap_or_default(),
                PartRows::At(positions) => {
                    let file = part.file.file()?;
                    let rows = match file.record_count {
                        Some(rows) => rows,
                        None => {
                            let at = self.storage.locate(&file.path)?;
                            footer::row_count(state, &at, file.size_bytes).await?
                        }
                    };
                    let mut others = RoaringTreemap::new();
                    others.insert_range(0..rows);
                    others - positions.as_ref()
                }
            };
            files.push((Arc::new(part.file.clone()), left_out));
        }
        rows_of(&first.snapshot, &self.storage, state, files, columns).await.map(Some)
    }
}

#[async_trait]
impl TableProvider for ChangedRows {
    fn schema(&self) -> SchemaRef {
        self.schema.arrow.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let all: Vec<RowColumn> = ScanColumn::all(&self.schema).map(RowColumn::Table).collect();
        let columns = RowColumns(match projection {
            Some(projection) => projection.iter().filter_map(|i| all.get(*i)).cloned().collect(),
            None => all,
        });
        let mut plans = Vec::new();
        let mut rest: Vec<&Part> = self.parts.iter().collect();
        while let Some(first) = rest.first().map(|part| part.snapshot.clone()) {
            let (same, others): (Vec<_>, Vec<_>) =
                rest.into_iter().partition(|part| Arc::ptr_eq(&part.snapshot, &first));
            plans.extend(self.of_version(state, &same, columns.clone()).await?);
            rest = others;
        }
        Ok(match plans.len() {
            0 => Arc::new(EmptyExec::new(columns.scan_output().schema())),
            1 => plans.swap_remove(0),
            _ => UnionExec::try_new(plans)?,
        })
    }
}
