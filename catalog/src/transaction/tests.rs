//! Commits whose outcome is not told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use arrow::datatypes::DataType;
use async_trait::async_trait;

use super::Transaction;
use crate::TableIdent;
use crate::backend::change::{ApplyOutcome, EntryChange};
use crate::backend::sql::SqlBackend;
use crate::backend::{Backend, NamespaceEntry, NewTableEntry, Oid, SwapOutcome, TableEntry, ViewEntry};
use crate::error::{Error, Result};
use crate::registry::{Catalog, Table};
use crate::storage::{Storage, StorageOptions};
use crate::table::{Alteration, ColumnDefinition, Comment, TableDefinition, TableFormat};

const CERTAIN: u8 = 0;
const UNKNOWN_AND_MADE: u8 = 1;
const UNKNOWN_AND_NOT_MADE: u8 = 2;

/// A database whose connection breaks when it is asked to commit.
#[derive(Debug)]
struct Flaky {
    inner: SqlBackend,
    mode: AtomicU8,
}

#[async_trait]
impl Backend for Flaky {
    fn warehouse(&self) -> &str {
        self.inner.warehouse()
    }
    fn is_transactional(&self) -> bool {
        true
    }
    async fn namespaces(&self) -> Result<Arc<Vec<NamespaceEntry>>> {
        self.inner.namespaces().await
    }
    async fn create_namespace(&self, name: &str, properties: &BTreeMap<String, String>) -> Result<()> {
        self.inner.create_namespace(name, properties).await
    }
    async fn drop_namespace(&self, name: &str) -> Result<()> {
        self.inner.drop_namespace(name).await
    }
    async fn tables(&self, namespace: &str) -> Result<Vec<TableEntry>> {
        self.inner.tables(namespace).await
    }
    async fn table(&self, ident: &TableIdent) -> Result<Option<TableEntry>> {
        self.inner.table(ident).await
    }
    async fn create_table(&self, entry: &NewTableEntry) -> Result<()> {
        self.inner.create_table(entry).await
    }
    async fn drop_table(&self, ident: &TableIdent) -> Result<()> {
        self.inner.drop_table(ident).await
    }
    async fn rename_table(&self, from: &TableIdent, to: &TableIdent) -> Result<()> {
        self.inner.rename_table(from, to).await
    }
    async fn views(&self, namespace: &str) -> Result<Vec<ViewEntry>> {
        self.inner.views(namespace).await
    }
    async fn view(&self, ident: &TableIdent) -> Result<Option<ViewEntry>> {
        self.inner.view(ident).await
    }
    async fn swap_pointer(&self, ident: &TableIdent, expected: &str, new: &str) -> Result<SwapOutcome> {
        self.inner.swap_pointer(ident, expected, new).await
    }
    async fn reserve_oid(&self, ident: &TableIdent) -> Result<Oid> {
        self.inner.reserve_oid(ident).await
    }
    async fn change_counter(&self) -> Result<Option<i64>> {
        self.inner.change_counter().await
    }
    async fn apply(&self, changes: &[EntryChange]) -> Result<ApplyOutcome> {
        let broken = || ApplyOutcome::Unknown("the connection is gone".into());
        match self.mode.load(Ordering::Relaxed) {
            CERTAIN => self.inner.apply(changes).await,
            UNKNOWN_AND_MADE => self.inner.apply(changes).await.map(|_| broken()),
            _ => Ok(broken()),
        }
    }
}

struct Lake {
    _directory: tempfile::TempDir,
    backend: Arc<Flaky>,
    catalog: Arc<Catalog>,
}

impl Lake {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let warehouse = format!("file://{}/warehouse", directory.path().display());
        let database = directory.path().join("catalog.db");
        let inner = SqlBackend::open(&database, &warehouse, "lake").await.unwrap();
        let backend = Arc::new(Flaky { inner, mode: AtomicU8::new(CERTAIN) });
        let storage = Storage::with_options(StorageOptions::default());
        let catalog = Arc::new(Catalog::new("lake", 16000, backend.clone(), storage));
        Self { _directory: directory, backend, catalog }
    }

    fn begin(&self) -> Arc<Transaction> {
        Arc::new(Transaction::new(&self.catalog))
    }

    async fn table(&self, name: &str) -> Option<Table> {
        self.catalog.table(&ident(name)).await.unwrap()
    }

    /// Whether anything was written below the place of a table to be.
    async fn has_files(&self, name: &str) -> bool {
        let location = format!("{}/public/{name}", self.backend.warehouse());
        self.catalog.storage().has_files(&location).await.unwrap()
    }
}

fn ident(name: &str) -> TableIdent {
    TableIdent::new("public", name)
}

async fn create(transaction: &Transaction, name: &str, format: TableFormat) {
    let column = ColumnDefinition {
        name: "id".into(),
        data_type: DataType::Int64,
        nullable: true,
        comment: None,
        identity: None,
        default: None,
    };
    let definition = TableDefinition {
        format,
        columns: vec![column],
        partitioning: Vec::new(),
        sorting: Vec::new(),
        key_columns: Vec::new(),
        constraints: Vec::new(),
        comment: None,
        properties: BTreeMap::new(),
    };
    let table = transaction.catalog().stage_table(&ident(name), &definition, None).await.unwrap();
    transaction.create(&table).await.unwrap();
}

#[tokio::test]
async fn what_is_found_after_a_broken_connection_is_committed() {
    let lake = Lake::new().await;
    lake.backend.mode.store(UNKNOWN_AND_MADE, Ordering::Relaxed);
    let first = lake.begin();
    create(&first, "a", TableFormat::Iceberg).await;
    create(&first, "d", TableFormat::Delta).await;
    assert!(lake.table("a").await.is_none() && !lake.has_files("a").await);
    first.commit().await.unwrap();
    assert!(lake.table("a").await.is_some() && lake.table("d").await.is_some());

    // A swap, and nothing but names.
    let second = lake.begin();
    let seen = second.catalog().table(&ident("a")).await.unwrap().unwrap();
    let comment = Comment { column: None, text: Some("what it is".into()) };
    second.alter(&seen, Alteration::Comments(vec![comment])).unwrap();
    create(&second, "b", TableFormat::Iceberg).await;
    second.commit().await.unwrap();
    assert_eq!(lake.table("a").await.unwrap().snapshot.comment.as_deref(), Some("what it is"));
    let third = lake.begin();
    third.catalog().rename_table(&ident("b"), &ident("c")).await.unwrap();
    third.catalog().drop_table(&ident("d")).await.unwrap();
    third.commit().await.unwrap();
    assert!(lake.table("b").await.is_none() && lake.table("c").await.is_some());
    assert!(lake.table("d").await.is_none() && !lake.has_files("d").await);
}

#[tokio::test]
async fn nothing_is_deleted_while_the_outcome_is_unknown() {
    let lake = Lake::new().await;
    lake.backend.mode.store(UNKNOWN_AND_NOT_MADE, Ordering::Relaxed);
    let transaction = lake.begin();
    create(&transaction, "a", TableFormat::Iceberg).await;
    create(&transaction, "d", TableFormat::Delta).await;
    match transaction.commit().await {
        Err(Error::CommitUnknown { table, .. }) => assert!(table.contains("public.a"), "{table}"),
        other => panic!("{other:?}"),
    }
    drop(transaction);
    assert!(lake.has_files("a").await && lake.has_files("d").await);
    assert!(lake.table("a").await.is_none());
}

#[tokio::test]
async fn a_refused_commit_leaves_nothing() {
    let lake = Lake::new().await;
    let (one, other) = (lake.begin(), lake.begin());
    create(&one, "a", TableFormat::Iceberg).await;
    create(&one, "d", TableFormat::Delta).await;
    create(&other, "a", TableFormat::Iceberg).await;
    other.commit().await.unwrap();
    let winner = lake.table("a").await.unwrap().snapshot.table_id.clone();
    assert!(matches!(one.commit().await, Err(Error::TableExists(name)) if name == ident("a")));
    assert_eq!(lake.table("a").await.unwrap().snapshot.table_id, winner);
    assert!(lake.table("d").await.is_none() && !lake.has_files("d").await);
}
