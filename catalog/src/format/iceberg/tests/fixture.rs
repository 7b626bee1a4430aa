//! What the tests share: a catalog in memory, tables, files that exist only as manifest entries.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use async_trait::async_trait;
use datafusion::execution::object_store::DefaultObjectStoreRegistry;
use datafusion::scalar::ScalarValue;
use parking_lot::Mutex;

use crate::TableIdent;
use crate::backend::{Backend, NamespaceEntry, NewTableEntry, SwapOutcome, TableEntry};
use crate::error::{Error, Result};
use crate::format::iceberg::IcebergFormat;
use crate::format::{CommitOutcome, Format};
use crate::storage::Storage;
use crate::table::data_file::WrittenColumn;
use crate::table::definition::PartitionFieldDefinition;
use crate::table::{
    ColumnDefinition, NewDataFile, Operation, TableChange, TableDefinition, TableFormat, TableSnapshot,
    Transform,
};

#[derive(Debug, Default)]
pub struct MemoryBackend {
    tables: Mutex<BTreeMap<TableIdent, String>>,
    /// The next swap happens, but the caller is told that nobody knows.
    pub lose_next_answer: Mutex<bool>,
}

#[async_trait]
impl Backend for MemoryBackend {
    fn warehouse(&self) -> &str {
        "file:///nowhere"
    }

    async fn namespaces(&self) -> Result<Arc<Vec<NamespaceEntry>>> {
        Ok(Arc::default())
    }

    async fn create_namespace(&self, _name: &str, _properties: &BTreeMap<String, String>) -> Result<()> {
        Ok(())
    }

    async fn drop_namespace(&self, _name: &str) -> Result<()> {
        Ok(())
    }

    async fn tables(&self, _namespace: &str) -> Result<Vec<TableEntry>> {
        Ok(Vec::new())
    }

    async fn table(&self, ident: &TableIdent) -> Result<Option<TableEntry>> {
        Ok(self.tables.lock().get(ident).map(|pointer| entry(ident, pointer)))
    }

    async fn create_table(&self, new: &NewTableEntry) -> Result<()> {
        let mut tables = self.tables.lock();
        if tables.contains_key(&new.ident) {
            return Err(Error::TableExists(new.ident.clone()));
        }
        tables.insert(new.ident.clone(), new.pointer.clone());
        Ok(())
    }

    async fn drop_table(&self, ident: &TableIdent) -> Result<()> {
        self.tables.lock().remove(ident);
        Ok(())
    }

    async fn rename_table(&self, _from: &TableIdent, _to: &TableIdent) -> Result<()> {
        Ok(())
    }

    async fn swap_pointer(&self, ident: &TableIdent, expected: &str, new: &str) -> Result<SwapOutcome> {
        let mut tables = self.tables.lock();
        match tables.get_mut(ident) {
            Some(pointer) if pointer == expected => *pointer = new.to_string(),
            Some(_) => return Ok(SwapOutcome::Moved),
            None => return Err(Error::TableNotFound(ident.clone())),
        }
        match std::mem::take(&mut *self.lose_next_answer.lock()) {
            true => Ok(SwapOutcome::Unknown("connection reset".into())),
            false => Ok(SwapOutcome::Swapped),
        }
    }

    async fn change_counter(&self) -> Result<Option<i64>> {
        Ok(None)
    }
}

pub fn entry(ident: &TableIdent, pointer: &str) -> TableEntry {
    TableEntry {
        ident: ident.clone(),
        format: TableFormat::Iceberg,
        pointer: pointer.to_string(),
        external: false,
        oid: 1,
    }
}

pub struct Fixture {
    pub folder: tempfile::TempDir,
    pub storage: Storage,
    pub backend: MemoryBackend,
    pub format: IcebergFormat,
    pub ident: TableIdent,
}

impl Fixture {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            storage: storage(),
            backend: MemoryBackend::default(),
            format: IcebergFormat::default(),
            ident: TableIdent::new("public", "t"),
        }
    }

    pub fn location(&self) -> String {
        format!("file://{}/t", self.folder.path().display())
    }

    pub fn stage(&self, definition: &TableDefinition) -> Arc<TableSnapshot> {
        self.format.stage(&self.ident, definition, &self.location()).unwrap()
    }

    pub async fn try_commit(&self, base: &TableSnapshot, added: Vec<NewDataFile>) -> Result<CommitOutcome> {
        self.try_change(base, &TableChange::new(Operation::Append, added)).await
    }

    pub async fn try_change(&self, base: &TableSnapshot, change: &TableChange) -> Result<CommitOutcome> {
        self.format.commit(&self.storage, &self.backend, &self.ident, base, change).await
    }

    pub async fn commit(&self, base: &TableSnapshot, added: Vec<NewDataFile>) -> Arc<TableSnapshot> {
        match self.try_commit(base, added).await.unwrap() {
            CommitOutcome::Committed(version) => {
                let snapshot = self.reload().await;
                assert_eq!(snapshot.version, version);
                snapshot
            }
            other => panic!("{other:?}"),
        }
    }

    pub async fn create(&self, definition: &TableDefinition) -> Arc<TableSnapshot> {
        self.commit(&self.stage(definition), Vec::new()).await
    }

    /// Through a format of its own, so that nothing comes from a cache.
    pub async fn reload(&self) -> Arc<TableSnapshot> {
        let entry = self.backend.table(&self.ident).await.unwrap().unwrap();
        IcebergFormat::default().load(&self.storage, &entry).await.unwrap()
    }

    /// Names of the files in the table's metadata folder.
    pub fn metadata_files(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.folder.path().join("t/metadata"))
            .map(|dir| dir.map(|e| e.unwrap().file_name().into_string().unwrap()).collect())
            .unwrap_or_default();
        names.sort();
        names
    }
}

pub fn storage() -> Storage {
    Storage::new(Arc::new(DefaultObjectStoreRegistry::new()))
}

pub fn column(name: &str, data_type: DataType) -> ColumnDefinition {
    ColumnDefinition {
        name: name.into(),
        data_type,
        nullable: true,
        comment: None,
        identity: None,
        default: None,
    }
}

/// `id bigint, name text, score double precision, ts timestamptz`.
pub fn definition(partitioning: &[(&str, Transform)], properties: &[(&str, &str)]) -> TableDefinition {
    TableDefinition {
        format: TableFormat::Iceberg,
        columns: vec![
            column("id", DataType::Int64),
            column("name", DataType::Utf8),
            column("score", DataType::Float64),
            column("ts", DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))),
        ],
        partitioning: partitioning
            .iter()
            .map(|(column, transform)| PartitionFieldDefinition {
                column: column.to_string(),
                transform: transform.clone(),
            })
            .collect(),
        sorting: Vec::new(),
        key_columns: Vec::new(),
        constraints: vec![],
        comment: None,
        properties: properties.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
    }
}

/// A file of [`definition`]'s table with `ids`, one row each.
pub fn file(
    table: &TableSnapshot,
    name: &str,
    ids: std::ops::RangeInclusive<i64>,
    partition: Vec<ScalarValue>,
) -> NewDataFile {
    let rows = (ids.end() - ids.start() + 1) as u64;
    let written = |lower: ScalarValue, upper: ScalarValue, nan_count: Option<u64>| WrittenColumn {
        lower: Some(lower),
        upper: Some(upper),
        value_count: rows,
        null_count: 1,
        nan_count,
        column_size: 8 * rows,
    };
    let text = |s: &str| ScalarValue::Utf8View(Some(s.into()));
    NewDataFile {
        path: format!("{}/data/{name}.parquet", table.location),
        size_bytes: 1000,
        record_count: rows,
        spec: table.default_spec.clone(),
        partition,
        columns: HashMap::from([
            (1, written(ScalarValue::Int64(Some(*ids.start())), ScalarValue::Int64(Some(*ids.end())), None)),
            (2, written(text("a long string of many letters"), text("b long string of many letters"), None)),
            (3, written(ScalarValue::Float64(Some(0.5)), ScalarValue::Float64(Some(1.5)), Some(2))),
        ]),
        split_offsets: vec![4],
        sort_order_id: None,
    }
}
