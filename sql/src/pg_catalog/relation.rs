//! A system relation as DataFusion scans it.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::CatalogContext;
use super::shape::Shape;
use super::value::{Value, to_array};
use crate::session::carried::Carried;

/// Rows of a system relation: values in the order of `columns`, which need not be all of the
/// relation's columns nor in its order; columns that are left out are NULL.
#[derive(Debug, Default)]
pub struct Rows {
    pub columns: Vec<&'static str>,
    pub values: Vec<Vec<Value>>,
}

impl Rows {
    /// No rows yet; `columns`: names separated by white space.
    pub fn new(columns: &'static str) -> Self {
        Self { columns: columns.split_whitespace().collect(), values: Vec::new() }
    }

    /// Adds a row with one value per column.
    pub fn push(&mut self, row: Vec<Value>) {
        self.values.push(row);
    }

    /// The relation's batch. Fails (internal error) on unknown columns and short rows.
    pub fn into_batch(self, shape: &Shape) -> Result<RecordBatch> {
        let internal = |what: String| {
            DataFusionError::Internal(format!("rows of {}.{}: {what}", shape.schema, shape.name))
        };
        for column in &self.columns {
            if shape.index_of(column).is_none() {
                return Err(internal(format!("there is no column {column}")));
            }
        }
        if let Some(row) = self.values.iter().find(|row| row.len() != self.columns.len()) {
            return Err(internal(format!("{} values for {} columns", row.len(), self.columns.len())));
        }
        let row_count = self.values.len();
        let mut by_column: Vec<Vec<Value>> =
            self.columns.iter().map(|_| Vec::with_capacity(row_count)).collect();
        for row in self.values {
            for (column, value) in by_column.iter_mut().zip(row) {
                column.push(value);
            }
        }
        let arrays = shape
            .columns
            .iter()
            .zip(shape.arrow.fields())
            .map(|(column, field)| match self.columns.iter().position(|name| *name == column.name) {
                Some(i) => to_array(&by_column[i], field.data_type())
                    .map_err(|e| internal(format!("{}: {e}", column.name))),
                None => to_array(&vec![Value::Null; row_count], field.data_type()),
            })
            .collect::<Result<Vec<_>>>()?;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(row_count));
        Ok(RecordBatch::try_new_with_options(shape.arrow.clone(), arrays, &options)?)
    }
}

/// Makes the rows of a relation.
pub type Contents = fn(&CatalogContext) -> Result<Rows>;

/// Where a relation's rows come from.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// Always without rows: we have no such objects.
    Empty,
    /// Rows that follow from the catalog image: built once per image.
    Image(Contents),
    /// Rows that depend on the session or on the moment.
    Session(Contents),
}

/// A relation of `pg_catalog` or `information_schema`.
#[derive(Debug)]
pub struct SystemRelation {
    shape: &'static Shape,
    source: Source,
    context: Arc<CatalogContext>,
}

impl SystemRelation {
    pub fn new(shape: &'static Shape, source: Source, context: Arc<CatalogContext>) -> Self {
        Self { shape, source, context }
    }

    pub fn shape(&self) -> &'static Shape {
        self.shape
    }

    pub fn oid(&self) -> u32 {
        self.shape.oid
    }

    /// Whether its rows are those of the catalog image, whoever asks and whenever.
    pub fn follows_image(&self) -> bool {
        match self.source {
            Source::Empty | Source::Image(_) => true,
            Source::Session(_) => false,
        }
    }

    /// All rows as the given context sees them.
    pub fn rows(&self, context: &CatalogContext) -> Result<RecordBatch> {
        match self.source {
            Source::Empty => Ok(RecordBatch::new_empty(self.shape.arrow.clone())),
            Source::Image(contents) => {
                context.image.batch(self.shape, || contents(context)?.into_batch(self.shape))
            }
            Source::Session(contents) => contents(context)?.into_batch(self.shape),
        }
    }
}

#[async_trait]
impl TableProvider for SystemRelation {
    fn schema(&self) -> SchemaRef {
        self.shape.arrow.clone()
    }

    fn table_type(&self) -> TableType {
        if self.shape.kind == "v" { TableType::View } else { TableType::Base }
    }

    /// A plan may be older than the statement that runs it (prepared statements): the running
    /// statement's own context wins.
    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let context = CatalogContext::of(state.config_options()).unwrap_or(&self.context);
        let batch = self.rows(context)?;
        let plan =
            MemorySourceConfig::try_new_exec(&[vec![batch]], self.shape.arrow.clone(), projection.cloned())?;
        Ok(plan)
    }
}
