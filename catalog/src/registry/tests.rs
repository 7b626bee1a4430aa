use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::datatypes::Schema;
use async_trait::async_trait;
use bytes::Bytes;

use super::*;
use crate::backend::NewTableEntry;
use crate::backend::delta_directory::DeltaDirectory;
use crate::backend::python;
use crate::backend::sql::SqlBackend;
use crate::format::CommitOutcome;
use crate::storage::StorageOptions;
use crate::table::data_file::FileList;
use crate::table::deletes::DeleteIndex;
use crate::table::schema::ColumnResolution;
use crate::table::snapshot::{FileListIndex, SnapshotFiles};
use crate::table::{PartitionSpec, SortOrder, TableChange, TableDefinition, TableSchema, TableVersion};

/// A format whose tables are empty; the root is the pointer up to `/metadata/`. Counts its loads.
#[derive(Debug, Default)]
struct EmptyFormat {
    loads: AtomicUsize,
}

#[derive(Debug)]
struct NoFiles;

#[async_trait]
impl SnapshotFiles for NoFiles {
    async fn index(&self) -> Result<Arc<FileListIndex>> {
        Ok(Arc::new(FileListIndex { groups: vec![] }))
    }
    async fn file_list(&self, number: usize) -> Result<Arc<FileList>> {
        Err(Error::Internal(format!("no file list {number}")))
    }
    async fn deletes(&self) -> Result<Arc<DeleteIndex>> {
        Ok(Arc::default())
    }
}

fn snapshot(format: TableFormat, location: &str, version: TableVersion) -> Arc<TableSnapshot> {
    Arc::new(TableSnapshot {
        format,
        format_version: "v2".into(),
        location: location.into(),
        table_id: "id".into(),
        version,
        schema: Arc::new(TableSchema {
            schema_id: 0,
            arrow: Arc::new(Schema::empty()),
            field_ids: vec![],
            resolution: ColumnResolution::Name,
            initial_defaults: Default::default(),
            write_defaults: Default::default(),
            identifier_field_ids: vec![],
            identity: Default::default(),
        }),
        partition_specs: BTreeMap::new(),
        default_spec: Arc::new(PartitionSpec::default()),
        sort_order: Arc::new(SortOrder::default()),
        properties: BTreeMap::new(),
        comment: None,
        row_lineage: None,
        constraints: Vec::new(),
        timestamp_ms: None,
        files: Arc::new(NoFiles),
        state: Arc::new(()),
    })
}

#[async_trait]
impl Format for EmptyFormat {
    async fn load(&self, storage: &Storage, entry: &TableEntry) -> Result<Arc<TableSnapshot>> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        if entry.format == TableFormat::Iceberg {
            storage.read(&entry.pointer).await?;
        }
        let location = entry.pointer.split("/metadata/").next().unwrap();
        Ok(snapshot(entry.format, location, TableVersion::Delta { version: 0 }))
    }

    fn stage(
        &self,
        _: &TableIdent,
        definition: &TableDefinition,
        location: &str,
    ) -> Result<Arc<TableSnapshot>> {
        Ok(snapshot(definition.format, location, TableVersion::Unpublished))
    }

    async fn commit(
        &self,
        _: &Storage,
        _: &dyn Backend,
        _: &TableIdent,
        _: &TableSnapshot,
        _: &TableChange,
    ) -> Result<CommitOutcome> {
        Err(Error::Internal("not needed".into()))
    }
}

struct Lake {
    directory: tempfile::TempDir,
    catalog: Arc<Catalog>,
    iceberg: Arc<EmptyFormat>,
    delta: Arc<EmptyFormat>,
}

impl Lake {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let warehouse = format!("file://{}/warehouse", directory.path().display());
        let backend =
            SqlBackend::open(&directory.path().join("catalog.db"), &warehouse, "lake").await.unwrap();
        Self::with(directory, Arc::new(backend))
    }

    fn with(directory: tempfile::TempDir, backend: Arc<dyn Backend>) -> Self {
        let (iceberg, delta) = (Arc::new(EmptyFormat::default()), Arc::new(EmptyFormat::default()));
        let storage = Storage::with_options(StorageOptions::default());
        let catalog = Catalog::with_formats("lake", 16000, backend, storage, iceberg.clone(), delta.clone());
        Self { directory, catalog: Arc::new(catalog), iceberg, delta }
    }

    fn root(&self, path: &str) -> String {
        format!("file://{}/{path}", self.directory.path().display())
    }

    /// A table with a metadata file and a data file at `path`.
    async fn add(&self, format: TableFormat, name: &str, path: &str, external: bool) -> TableIdent {
        let root = self.root(path);
        let storage = self.catalog.storage();
        storage.create(&format!("{root}/metadata/0.metadata.json"), Bytes::new()).await.unwrap();
        storage.create(&format!("{root}/data/f.parquet"), Bytes::new()).await.unwrap();
        let pointer = match format {
            TableFormat::Iceberg => format!("{root}/metadata/0.metadata.json"),
            TableFormat::Delta => root,
        };
        let ident = TableIdent::new("public", name);
        let entry = NewTableEntry { ident: ident.clone(), format, pointer, external };
        self.catalog.backend().create_table(&entry).await.unwrap();
        ident
    }

    fn loads(&self) -> usize {
        self.iceberg.loads.load(Ordering::Relaxed) + self.delta.loads.load(Ordering::Relaxed)
    }

    fn exists(&self, path: &str) -> bool {
        self.directory.path().join(path).exists()
    }
}

fn definition(format: TableFormat) -> TableDefinition {
    TableDefinition {
        format,
        columns: vec![],
        partitioning: vec![],
        sorting: vec![],
        key_columns: vec![],
        constraints: vec![],
        comment: None,
        properties: BTreeMap::new(),
    }
}

#[tokio::test]
async fn a_broken_table_fails_alone() {
    let lake = Lake::new().await;
    let good = lake.add(TableFormat::Iceberg, "good", "warehouse/public/good", false).await;
    let bad = lake.add(TableFormat::Iceberg, "bad", "warehouse/public/bad", false).await;
    std::fs::remove_file(lake.directory.path().join("warehouse/public/bad/metadata/0.metadata.json"))
        .unwrap();
    assert_eq!(lake.catalog.tables("public").await.unwrap().len(), 2);
    assert!(lake.catalog.table(&good).await.unwrap().is_some());
    assert!(lake.catalog.table(&bad).await.unwrap_err().is_not_found());
    assert!(lake.catalog.table(&TableIdent::new("public", "none")).await.unwrap().is_none());
    let contents = lake.catalog.table_summaries().await.unwrap();
    assert!(contents.table(&good).unwrap().snapshot.is_ok());
    assert!(contents.table(&bad).unwrap().snapshot.is_err());
    // It can be dropped all the same, with its files.
    lake.catalog.drop_table(&bad).await.unwrap();
    assert!(!lake.exists("warehouse/public/bad") && lake.exists("warehouse/public/good/data/f.parquet"));
}

#[tokio::test]
async fn dropping_removes_only_what_is_ours_alone() {
    let lake = Lake::new().await;
    let (iceberg, delta) = (TableFormat::Iceberg, TableFormat::Delta);
    let cases = [
        (lake.add(iceberg, "i", "warehouse/public/i", false).await, "warehouse/public/i", true),
        (lake.add(delta, "d", "warehouse/public/d", false).await, "warehouse/public/d", true),
        (lake.add(delta, "external", "warehouse/public/e", true).await, "warehouse/public/e", false),
        (lake.add(delta, "outside", "elsewhere/o", false).await, "elsewhere/o", false),
        (lake.add(delta, "sibling", "warehouse-2/o", false).await, "warehouse-2/o", false),
        (lake.add(delta, "outer", "warehouse/public/s", false).await, "warehouse/public/s", false),
    ];
    let inner = lake.add(iceberg, "inner", "warehouse/public/s/inner", false).await;
    lake.add(delta, "i2", "warehouse/public/i2", false).await;
    for (ident, path, removed) in &cases {
        lake.catalog.drop_table(ident).await.unwrap();
        assert_eq!(lake.exists(path), !removed, "{ident}");
        assert!(matches!(lake.catalog.drop_table(ident).await, Err(Error::TableNotFound(_))));
    }
    assert!(lake.exists("warehouse/public/i2/data/f.parquet"));
    lake.catalog.drop_table(&inner).await.unwrap();
    assert!(!lake.exists("warehouse/public/s/inner") && lake.exists("warehouse/public/s/data"));
}

#[tokio::test]
async fn schemas_are_dropped_with_their_tables() {
    let lake = Lake::new().await;
    lake.add(TableFormat::Delta, "d", "warehouse/public/d", false).await;
    assert!(matches!(lake.catalog.drop_namespace("public", false).await, Err(Error::NamespaceNotEmpty(_))));
    lake.catalog.drop_namespace("public", true).await.unwrap();
    assert!(!lake.exists("warehouse/public/d"));
    assert!(lake.catalog.namespaces().await.unwrap().is_empty());
    assert!(matches!(lake.catalog.drop_namespace("public", true).await, Err(Error::NamespaceNotFound(_))));
    assert!(lake.catalog.create_namespace("public", false).await.unwrap());
    assert!(!lake.catalog.create_namespace("public", true).await.unwrap());
    assert!(matches!(lake.catalog.create_namespace("public", false).await, Err(Error::NamespaceExists(_))));
}

#[tokio::test]
async fn new_tables_get_a_place_of_their_own() {
    let lake = Lake::new().await;
    let definition = definition(TableFormat::Delta);
    let stage = async |name: &str, location: Option<&str>| {
        let ident = TableIdent::new("public", name);
        lake.catalog
            .stage_table(&ident, &definition, location)
            .await
            .map(|table| table.snapshot.location.clone())
    };
    assert_eq!(stage("t", None).await.unwrap(), lake.root("warehouse/public/t"));
    let taken = lake.add(TableFormat::Delta, "t", "warehouse/public/t", false).await;
    assert!(matches!(stage("t", None).await, Err(Error::TableExists(_))));
    lake.catalog.rename_table(&taken, &TableIdent::new("public", "u")).await.unwrap();
    let beside = stage("t", None).await.unwrap();
    let suffix = beside.strip_prefix(&lake.root("warehouse/public/t-")).unwrap();
    assert!(suffix.len() == 8 && suffix.bytes().all(|b| b.is_ascii_hexdigit()));
    let odd = stage("naïve table", None).await.unwrap();
    assert!(odd.strip_prefix(&lake.root("warehouse/public/na_ve_table-")).is_some(), "{odd}");

    let given = stage("v", Some(&lake.root("given/"))).await.unwrap();
    assert_eq!(given, lake.root("given"));
    let full = stage("v", Some(&lake.root("warehouse"))).await;
    assert!(matches!(full, Err(Error::Invalid(_))), "{full:?}");
    assert!(matches!(stage("v", Some("relative")).await, Err(Error::Invalid(_))));
    assert!(matches!(stage("", None).await, Err(Error::Invalid(_))));
    let nowhere = TableIdent::new("nowhere", "t");
    let staged = lake.catalog.stage_table(&nowhere, &definition, None).await;
    assert!(matches!(staged, Err(Error::NamespaceNotFound(_))));
}

#[tokio::test]
async fn existing_tables_are_registered_where_they_are() {
    let lake = Lake::new().await;
    let metadata = lake.root("elsewhere/m/1.metadata.json");
    let ident = TableIdent::new("public", "r");
    let register = async |location: &str, format| lake.catalog.register_table(&ident, location, format).await;
    assert!(register(&metadata, None).await.unwrap().is_none());
    lake.catalog.storage().create(&metadata, Bytes::new()).await.unwrap();
    assert!(matches!(register(&metadata, Some(TableFormat::Delta)).await, Err(Error::Invalid(_))));
    assert!(lake.catalog.table(&ident).await.unwrap().is_none());
    // A plain path is as good as a URL.
    let path = metadata.strip_prefix("file://").unwrap();
    let entry = register(path, None).await.unwrap().unwrap().entry.unwrap();
    assert_eq!((entry.format, entry.external, &entry.pointer), (TableFormat::Iceberg, true, &metadata));
    assert!(matches!(register(&metadata, None).await, Err(Error::TableExists(_))));
    lake.catalog.drop_table(&ident).await.unwrap();
    assert!(lake.exists("elsewhere/m/1.metadata.json"));
}

#[tokio::test]
async fn a_directory_of_delta_tables_places_them_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let storage = Storage::with_options(StorageOptions::default());
    let backend = DeltaDirectory::open(storage, directory.path().to_str().unwrap()).await.unwrap();
    let lake = Lake::with(directory, Arc::new(backend));
    let ident = TableIdent::new("public", "my table");
    let staged = lake.catalog.stage_table(&ident, &definition(TableFormat::Delta), None).await.unwrap();
    assert_eq!(staged.snapshot.location, lake.root("public/my table"));
    let log = format!("{}/_delta_log/00000000000000000000.json", staged.snapshot.location);
    lake.catalog.storage().create(&log, Bytes::new()).await.unwrap();
    assert!(lake.catalog.table(&ident).await.unwrap().is_some());
    lake.catalog.drop_table(&ident).await.unwrap();
    assert!(!lake.exists("public/my table"));
}

#[tokio::test]
async fn summaries_are_kept_until_something_changes() {
    let lake = Lake::new().await;
    for name in ["a", "b", "c"] {
        lake.add(TableFormat::Iceberg, name, &format!("warehouse/public/{name}"), false).await;
    }
    let first = lake.catalog.table_summaries().await.unwrap();
    assert_eq!((first.tables().count(), lake.loads()), (3, 3));
    let again = lake.catalog.table_summaries().await.unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    // Another program's change: only the new table is loaded.
    lake.add(TableFormat::Iceberg, "d", "warehouse/public/d", false).await;
    let contents = lake.catalog.table_summaries().await.unwrap();
    assert_eq!((contents.tables().count(), lake.loads()), (4, 4));
    // Delta tables are looked at again, but not for every statement.
    lake.add(TableFormat::Delta, "e", "warehouse/public/e", false).await;
    let contents = lake.catalog.table_summaries().await.unwrap();
    assert_eq!((contents.tables().count(), lake.loads()), (5, 5));
    lake.catalog.contents_changed();
    lake.catalog.table_summaries().await.unwrap();
    assert_eq!(lake.loads(), 6);
    let names: Vec<_> = contents.tables().map(|t| t.entry.ident.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
    assert!(contents.namespace("nowhere").is_none());
}

/// The files of a table, each of which must be where its location says.
async fn files_of(catalog: &Catalog, table: &Table) -> usize {
    let files = &table.snapshot.files;
    let mut found = 0;
    for (_, lists) in &files.index().await.unwrap().groups {
        for number in lists {
            for file in &files.file_list(*number).await.unwrap().files {
                assert!(catalog.storage().exists(&file.path).await.unwrap(), "{}", file.path);
                found += 1;
            }
        }
    }
    found
}

/// Directories that are named by partition values and by people: both formats, odd characters.
#[tokio::test(flavor = "multi_thread")]
async fn files_of_other_writers_are_found() {
    let lake = Lake::new().await;
    let script = r#"
import sys, pyarrow as pa, deltalake
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.transforms import IdentityTransform
directory = DIRECTORY
data = pa.table({'p': ['a b', 'ü/ö', '50%', '%41', 'x=y', 'q?#', 'plain', None], 'n': list(range(8))})
for name in ['plain', 'my table', 'ü', '50%']:
    deltalake.write_deltalake(directory + '/delta/' + name, data, partition_by=['p'])
catalog = SqlCatalog('lake', uri='sqlite:///' + directory + '/catalog.db', warehouse='file://' + directory + '/w')
for name in ['plain', 'my table', 'ü']:
    table = catalog.create_table(('public', name), data.schema)
    with table.update_spec() as update:
        update.add_field('p', IdentityTransform(), 'p')
    table.append(data)
"#;
    let script = script.replace("DIRECTORY", &format!("{:?}", lake.directory.path()));
    if python::run("pyiceberg, sqlalchemy, pyarrow, deltalake", &script).is_none() {
        return;
    }
    let catalog = lake.catalog;
    let catalog = Catalog::new("lake", 16000, catalog.backend().clone(), catalog.storage().clone());
    let catalog = Arc::new(catalog);
    for entry in catalog.tables("public").await.unwrap() {
        let table = catalog.table(&entry.ident).await.unwrap().unwrap();
        assert_eq!(files_of(&catalog, &table).await, 8, "{}", entry.ident);
        let (root, _) = entry.pointer.rsplit_once("/metadata/").unwrap();
        let ident = TableIdent::new("public", format!("again {}", entry.ident.name));
        let registered = catalog.register_table(&ident, root, None).await.unwrap().unwrap();
        assert_eq!(registered.snapshot.version, table.snapshot.version);
    }
    for name in ["plain", "my table", "ü", "50%"] {
        let ident = TableIdent::new("public", format!("delta {name}"));
        let location = format!("{}/delta/{name}", lake.directory.path().display());
        let table =
            catalog.register_table(&ident, &location, Some(TableFormat::Delta)).await.unwrap().unwrap();
        assert_eq!(files_of(&catalog, &table).await, 8, "{ident}");
    }
    let root = lake.directory.path().join("delta");
    let backend = DeltaDirectory::open(catalog.storage().clone(), root.to_str().unwrap()).await.unwrap();
    let catalog = Arc::new(Catalog::new("tree", 16001, Arc::new(backend), catalog.storage().clone()));
    let entries = catalog.tables("public").await.unwrap();
    assert_eq!(entries.len(), 4);
    for entry in entries {
        let table = catalog.table(&entry.ident).await.unwrap().unwrap();
        assert_eq!(files_of(&catalog, &table).await, 8, "{}", entry.ident);
    }
    let contents = catalog.table_summaries().await.unwrap();
    assert!(contents.tables().all(|table| table.snapshot.is_ok()));
}

fn one_column(format: TableFormat) -> TableDefinition {
    let id = crate::table::ColumnDefinition {
        name: "id".into(),
        data_type: arrow::datatypes::DataType::Int64,
        nullable: true,
        comment: None,
        identity: None,
        default: None,
    };
    TableDefinition { columns: vec![id], ..definition(format) }
}

impl Lake {
    /// The same catalog with the real formats.
    fn real(&self) -> Arc<Catalog> {
        let (backend, storage) = (self.catalog.backend().clone(), self.catalog.storage().clone());
        Arc::new(Catalog::new("lake", 16000, backend, storage))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_tables_are_created_and_dropped() {
    let lake = Lake::new().await;
    let catalog = lake.real();
    for format in [TableFormat::Iceberg, TableFormat::Delta] {
        for name in ["t", "my table", "ü.%41"] {
            let ident = TableIdent::new("public", name);
            let staged = catalog.stage_table(&ident, &one_column(format), None).await.unwrap();
            assert!(catalog.table(&ident).await.unwrap().is_none());
            catalog.create_staged(&staged).await.unwrap();
            assert!(matches!(catalog.create_staged(&staged).await, Err(Error::TableExists(_))));
            let table = catalog.table(&ident).await.unwrap().unwrap();
            assert!(!table.entry.as_ref().unwrap().external);
            assert_eq!(table.snapshot.location, staged.snapshot.location);
            assert!(catalog.storage().has_files(&table.snapshot.location).await.unwrap());
            assert!(catalog.table_summaries().await.unwrap().table(&ident).is_some());
            catalog.drop_table(&ident).await.unwrap();
            assert!(!catalog.storage().has_files(&table.snapshot.location).await.unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_name_is_created_once() {
    let lake = Lake::new().await;
    let catalog = lake.real();
    for round in 0..3 {
        let ident = TableIdent::new("public", format!("t{round}"));
        let tasks: Vec<_> = [TableFormat::Iceberg, TableFormat::Delta]
            .into_iter()
            .cycle()
            .take(6)
            .map(|format| {
                let (catalog, ident) = (catalog.clone(), ident.clone());
                tokio::spawn(async move {
                    let staged = catalog.stage_table(&ident, &one_column(format), None).await?;
                    catalog.create_staged(&staged).await
                })
            })
            .collect();
        let mut created = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(()) => created += 1,
                Err(Error::TableExists(_) | Error::Invalid(_)) => {}
                Err(e) => panic!("{e}"),
            }
        }
        assert_eq!(created, 1);
        assert!(catalog.table(&ident).await.unwrap().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_of_delta_tables_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let storage = Storage::with_options(StorageOptions::default());
    let backend = DeltaDirectory::open(storage, directory.path().to_str().unwrap()).await.unwrap();
    let lake = Lake::with(directory, Arc::new(backend));
    let catalog = lake.real();
    catalog.create_namespace("gold", false).await.unwrap();
    let ident = TableIdent::new("gold", "sales 100%");
    let staged = catalog.stage_table(&ident, &one_column(TableFormat::Delta), None).await.unwrap();
    catalog.create_staged(&staged).await.unwrap();
    let table = catalog.table(&ident).await.unwrap().unwrap();
    assert_eq!(table.snapshot.location, lake.root("gold/sales 100%"));
    let iceberg = TableIdent::new("gold", "i");
    let staged = catalog.stage_table(&iceberg, &one_column(TableFormat::Iceberg), None).await.unwrap();
    assert!(matches!(catalog.create_staged(&staged).await, Err(Error::Unsupported { .. })));
    catalog.drop_namespace("gold", true).await.unwrap();
    assert!(!lake.exists("gold"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_tables_are_summed_up_fast() {
    const TABLES: usize = 2000;
    let lake = Lake::new().await;
    let catalog = lake.real();
    let ident = TableIdent::new("public", "t");
    let staged = catalog.stage_table(&ident, &one_column(TableFormat::Iceberg), None).await.unwrap();
    catalog.create_staged(&staged).await.unwrap();
    let pointer = catalog.table(&ident).await.unwrap().unwrap().entry.unwrap().pointer;
    let metadata = catalog.storage().read(&pointer).await.unwrap();
    let mut database = {
        use sqlx::ConnectOptions;
        let file = lake.directory.path().join("catalog.db");
        sqlx::sqlite::SqliteConnectOptions::new().filename(file).connect().await.unwrap()
    };
    let root = lake.root("m");
    for number in 0..TABLES {
        catalog.storage().create(&format!("{root}/{number}.metadata.json"), metadata.clone()).await.unwrap();
    }
    sqlx::query(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < $2 - 1) INSERT INTO iceberg_tables \
         SELECT 'lake', 'public', 't' || i, $1 || '/' || i || '.metadata.json', NULL, 'TABLE' FROM n",
    )
    .bind(&root)
    .bind(TABLES as i64)
    .execute(&mut database)
    .await
    .unwrap();
    let timed = async || {
        let started = std::time::Instant::now();
        let contents = catalog.table_summaries().await.unwrap();
        assert_eq!(contents.tables().filter(|t| t.snapshot.is_ok()).count(), TABLES + 1);
        started.elapsed()
    };
    let (cold, _, warm) = (timed().await, timed().await, timed().await);
    sqlx::query("UPDATE iceberg_tables SET metadata_location = $1 WHERE table_name = 't7'")
        .bind(&pointer)
        .execute(&mut database)
        .await
        .unwrap();
    let one_changed = timed().await;
    println!("{TABLES} tables: cold {cold:?}, warm {warm:?}, one changed {one_changed:?}");
    assert!(warm < std::time::Duration::from_millis(20));
}
