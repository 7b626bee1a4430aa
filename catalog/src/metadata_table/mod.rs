//! What a table's metadata says, as relations: `"t$snapshots"`, `"t$files"`, …; one file each.
//!
//! They are made of the neutral model, so that they are the same for both formats, and read when they
//! are scanned.

mod files;
mod history;
mod partitions;
mod properties;
mod refs;
mod snapshots;

use std::sync::Arc;

use arrow::array::{ArrayRef, MapBuilder, MapFieldNames, StringBuilder};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;

use crate::error::{Error, Result};
use crate::format::{Reference, VersionInfo};
use crate::registry::Table;

/// A relation about a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataTable {
    Snapshots,
    History,
    Files,
    Partitions,
    Properties,
    Refs,
}

impl MetadataTable {
    /// By the name that follows the table's and a `$`.
    pub fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "snapshots" => Self::Snapshots,
            "history" => Self::History,
            "files" => Self::Files,
            "partitions" => Self::Partitions,
            "properties" => Self::Properties,
            "refs" => Self::Refs,
            _ => return None,
        })
    }

    /// The relation about this version of the table.
    pub fn provider(self, table: &Table) -> Arc<dyn TableProvider> {
        Arc::new(Provider { relation: self, table: table.clone() })
    }

    fn schema(self) -> SchemaRef {
        match self {
            Self::Snapshots => snapshots::schema(),
            Self::History => history::schema(),
            Self::Files => files::schema(),
            Self::Partitions => partitions::schema(),
            Self::Properties => properties::schema(),
            Self::Refs => refs::schema(),
        }
    }
}

#[derive(Debug)]
struct Provider {
    relation: MetadataTable,
    table: Table,
}

#[async_trait]
impl TableProvider for Provider {
    fn schema(&self) -> SchemaRef {
        self.relation.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        let table = &self.table;
        let wants = |column: usize| projection.is_none_or(|columns| columns.contains(&column));
        let batches = match self.relation {
            MetadataTable::Snapshots => vec![snapshots::rows(&versions(table).await?)?],
            MetadataTable::History => vec![history::rows(&versions(table).await?)?],
            MetadataTable::Files => files::rows(table, wants).await?,
            MetadataTable::Partitions => vec![partitions::rows(table, wants).await?],
            MetadataTable::Properties => vec![properties::rows(table)?],
            MetadataTable::Refs => vec![refs::rows(&references(table).await?)?],
        };
        Ok(MemorySourceConfig::try_new_exec(&[batches], self.schema(), projection.cloned())?)
    }
}

async fn versions(table: &Table) -> Result<Vec<VersionInfo>> {
    match &table.entry {
        Some(entry) => table.catalog.format(entry.format).history(table.catalog.storage(), entry).await,
        None => Ok(Vec::new()),
    }
}

async fn references(table: &Table) -> Result<Vec<Reference>> {
    match &table.entry {
        Some(entry) => table.catalog.format(entry.format).references(table.catalog.storage(), entry).await,
        None => Ok(Vec::new()),
    }
}

fn schema_of(fields: Vec<Field>) -> SchemaRef {
    Arc::new(Schema::new(fields))
}

fn batch(schema: SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    RecordBatch::try_new(schema, columns).map_err(|e| Error::Internal(format!("rows of metadata: {e}")))
}

/// An instant in milliseconds, as what SQL calls a timestamp with time zone.
fn instants(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    let values = values.map(|v| v.and_then(|millis| millis.checked_mul(1_000)));
    let array: arrow::array::TimestampMicrosecondArray = values.collect();
    Arc::new(array.with_timezone("+00:00"))
}

fn instant_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
}

/// Texts by name.
fn map_type(value: DataType) -> DataType {
    let entries =
        Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", value, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
}

fn map_names() -> MapFieldNames {
    MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() }
}

fn text_map_builder() -> MapBuilder<StringBuilder, StringBuilder> {
    MapBuilder::new(Some(map_names()), StringBuilder::new(), StringBuilder::new())
}

fn append_map<'a>(
    builder: &mut MapBuilder<StringBuilder, StringBuilder>,
    entries: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<()> {
    for (key, value) in entries {
        builder.keys().append_value(key);
        builder.values().append_value(value);
    }
    builder.append(true).map_err(|e| Error::Internal(format!("a map of metadata: {e}")))
}
