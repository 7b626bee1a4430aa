//! DML into tables of both formats, each in a catalog of its own.

mod insert;
mod rows;

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, TimeUnit, UInt64Type};
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::backend::sql::SqlBackend;
use crate::registry::{Catalog, Table};
use crate::storage::{Storage, StorageOptions};
use crate::table::definition::{PartitionFieldDefinition, SortFieldDefinition};
use crate::table::{ColumnDefinition, TableDefinition, TableFormat, Transform};
use crate::{Error, TableIdent};

/// A catalog in a directory of its own.
pub struct Lake {
    pub root: PathBuf,
    _directory: tempfile::TempDir,
    pub catalog: Arc<Catalog>,
    pub session: SessionContext,
}

pub const BOTH: [TableFormat; 2] = [TableFormat::Iceberg, TableFormat::Delta];

impl Lake {
    pub async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().to_path_buf();
        let warehouse = format!("file://{}/warehouse", root.display());
        let backend = SqlBackend::open(&root.join("catalog.db"), &warehouse, "lake").await.unwrap();
        let storage = Storage::with_options(StorageOptions::default());
        let catalog = Arc::new(Catalog::new("lake", 1, Arc::new(backend), storage));
        catalog.create_namespace("public", true).await.unwrap();
        let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
        Self { root, _directory: directory, catalog, session }
    }

    pub async fn stage(
        &self,
        format: TableFormat,
        partitioning: &[(&str, Transform)],
        sorting: &[&str],
    ) -> Table {
        self.stage_with(format, partitioning, sorting, &[]).await
    }

    /// Not yet created: the first INSERT does.
    pub async fn stage_with(
        &self,
        format: TableFormat,
        partitioning: &[(&str, Transform)],
        sorting: &[&str],
        properties: &[(&str, &str)],
    ) -> Table {
        let column = |name: &str, data_type, nullable| ColumnDefinition {
            name: name.into(),
            data_type,
            nullable,
            comment: None,
            identity: None,
            default: None,
        };
        let definition = TableDefinition {
            format,
            columns: vec![
                column("id", DataType::Int64, false),
                column("name", DataType::Utf8View, true),
                column("at", DataType::Timestamp(TimeUnit::Microsecond, None), true),
            ],
            partitioning: partitioning
                .iter()
                .map(|(column, transform)| PartitionFieldDefinition {
                    column: column.to_string(),
                    transform: transform.clone(),
                })
                .collect(),
            sorting: sorting
                .iter()
                .map(|column| SortFieldDefinition {
                    column: column.to_string(),
                    transform: Transform::Identity,
                    descending: false,
                    nulls_first: true,
                })
                .collect(),
            key_columns: vec![],
            constraints: vec![],
            comment: None,
            properties: properties.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
        };
        let ident = TableIdent::new("public", "t");
        self.catalog.stage_table(&ident, &definition, None).await.unwrap()
    }

    pub async fn current(&self) -> Table {
        self.catalog.table(&TableIdent::new("public", "t")).await.unwrap().unwrap()
    }

    /// Runs INSERT INTO `table` with the given query; the row count it reports.
    pub async fn insert(&self, table: &Table, query: &str) -> crate::Result<u64> {
        let state = self.session.state();
        let name = format!("t{}", uuid::Uuid::new_v4().simple());
        self.session.register_table(&name, table.provider())?;
        let plan = state.create_logical_plan(&format!("INSERT INTO {name} {query}")).await?;
        let result = self.session.execute_logical_plan(plan).await?.collect().await;
        let batches = result.map_err(|e| match e.find_root() {
            datafusion::error::DataFusionError::External(inner) => match inner.downcast_ref::<Error>() {
                Some(Error::NotNullViolation { table, column }) => {
                    Error::NotNullViolation { table: table.clone(), column: column.clone() }
                }
                _ => Error::Internal(e.to_string()),
            },
            _ => Error::Internal(e.to_string()),
        })?;
        Ok(batches[0].column(0).as_primitive::<UInt64Type>().value(0))
    }

    pub fn data_files(&self) -> usize {
        let mut waiting = vec![self.root.join("warehouse")];
        let mut found = 0;
        while let Some(directory) = waiting.pop() {
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    waiting.push(entry.path());
                } else {
                    found += usize::from(entry.path().extension().is_some_and(|e| e == "parquet"));
                }
            }
        }
        found
    }
}
