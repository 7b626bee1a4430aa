use std::time::{Duration, Instant};

use sqlx::ConnectOptions;

use super::*;
use crate::backend::python;
use crate::table::TableFormat;

async fn open(directory: &Path) -> SqlBackend {
    let warehouse = format!("file://{}/warehouse", directory.display());
    SqlBackend::open(&directory.join("catalog.db"), &warehouse, "lake").await.unwrap()
}

/// A connection such as another program has.
async fn foreign(directory: &Path) -> sqlx::SqliteConnection {
    sqlx::sqlite::SqliteConnectOptions::new()
        .filename(directory.join("catalog.db"))
        .create_if_missing(true)
        .connect()
        .await
        .unwrap()
}

async fn run(connection: &mut sqlx::SqliteConnection, sql: &'static str) -> sqlx::Result<()> {
    sqlx::raw_sql(sql).execute(connection).await.map(|_| ())
}

fn delta(namespace: &str, name: &str) -> NewTableEntry {
    NewTableEntry {
        ident: TableIdent::new(namespace, name),
        format: TableFormat::Delta,
        pointer: format!("file:///d/{name}"),
        external: true,
    }
}

fn message(result: Result<SqlBackend>) -> String {
    match result {
        Err(Error::CatalogDatabase { message, .. }) => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn unusable_files_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("garbage.db");
    std::fs::write(&file, vec![7u8; 10_000]).unwrap();
    let text = message(SqlBackend::open(&file, "file:///w", "lake").await);
    assert!(text.contains("garbage.db is not an SQLite database"), "{text}");
    assert_eq!(std::fs::read(&file).unwrap(), vec![7u8; 10_000]);

    let text = message(SqlBackend::open(directory.path(), "file:///w", "lake").await);
    assert!(text.contains("cannot be opened"), "{text}");

    let text = message(SqlBackend::open(&file.join("inside.db"), "file:///w", "lake").await);
    assert!(text.contains("its directory cannot be created"), "{text}");

    // A valid header and then garbage.
    let backend = open(directory.path()).await;
    for number in 0..200 {
        backend.create_table(&delta("public", &format!("t{number}"))).await.unwrap();
    }
    backend.close().await;
    let file = directory.path().join("catalog.db");
    let mut bytes = std::fs::read(&file).unwrap();
    let length = bytes.len();
    bytes[4096..].fill(0x5a);
    std::fs::write(&file, &bytes).unwrap();
    let result = SqlBackend::open(&file, "file:///w", "lake").await;
    let failure = match result {
        Err(e) => e,
        Ok(backend) => backend.tables("public").await.unwrap_err(),
    };
    assert!(
        matches!(&failure, Error::CatalogDatabase { message, .. } if message.contains("catalog.db is corrupt"))
    );
    // Cut off.
    std::fs::write(&file, &bytes[..length / 2 + 100]).unwrap();
    assert!(message(SqlBackend::open(&file, "file:///w", "lake").await).contains("catalog.db"));
}

#[tokio::test]
async fn a_lock_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let backend = open(directory.path()).await;
    let mut other = foreign(directory.path()).await;
    run(&mut other, "BEGIN IMMEDIATE").await.unwrap();
    // Readers do not wait, writers do.
    assert_eq!(backend.namespaces().await.unwrap().len(), 1);
    let none = BTreeMap::new();
    let mut created = std::pin::pin!(backend.create_namespace("n", &none));
    while !backend.database.is_writing() {
        assert!(futures::poll!(created.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    // It asks for the lock and goes on asking, for as long as these readers take.
    for _ in 0..20 {
        assert_eq!(backend.namespaces().await.unwrap().len(), 1);
        assert!(futures::poll!(created.as_mut()).is_pending());
    }
    run(&mut other, "COMMIT").await.unwrap();
    created.await.unwrap();
    assert_eq!(backend.namespaces().await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_older_layout_is_used_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let mut other = foreign(directory.path()).await;
    run(
        &mut other,
        "CREATE TABLE iceberg_tables (catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL, \
         table_name VARCHAR(255) NOT NULL, metadata_location VARCHAR(1000), \
         previous_metadata_location VARCHAR(1000), PRIMARY KEY (catalog_name, table_namespace, table_name)); \
         INSERT INTO iceberg_tables VALUES ('lake', 'old.ns', 't', 'file:///m/1.metadata.json', NULL); \
         INSERT INTO iceberg_tables VALUES ('other', 'x', 't', 'file:///m/2.metadata.json', NULL)",
    )
    .await
    .unwrap();
    let backend = open(directory.path()).await;
    // A namespace known only by its table; nothing of other catalogs; no `public` forced on them.
    let namespaces = backend.namespaces().await.unwrap();
    assert_eq!(namespaces.iter().map(|n| &*n.name).collect::<Vec<_>>(), ["old.ns"]);
    let entry = backend.table(&TableIdent::new("old.ns", "t")).await.unwrap().unwrap();
    assert_eq!((entry.oid >= 16384, &*entry.pointer), (true, "file:///m/1.metadata.json"));
    let mut new = delta("old.ns", "u");
    new.format = TableFormat::Iceberg;
    backend.create_table(&new).await.unwrap();
    backend.drop_table(&entry.ident).await.unwrap();
    backend.drop_table(&new.ident).await.unwrap();
    assert!(backend.tables("old.ns").await.unwrap().is_empty());
}

#[tokio::test]
async fn views_and_half_made_rows_are_not_tables() {
    let directory = tempfile::tempdir().unwrap();
    let backend = open(directory.path()).await;
    let mut other = foreign(directory.path()).await;
    run(
        &mut other,
        "INSERT INTO iceberg_tables VALUES ('lake', 'public', 'v', 'file:///m/v.json', NULL, 'VIEW'); \
         INSERT INTO iceberg_tables VALUES ('lake', 'public', 'n', NULL, NULL, NULL); \
         INSERT INTO iceberg_tables VALUES ('lake', 'public', 't', 'file:///m/t.json', NULL, NULL)",
    )
    .await
    .unwrap();
    let tables = backend.tables("public").await.unwrap();
    assert_eq!(tables.iter().map(|t| &*t.ident.name).collect::<Vec<_>>(), ["t"]);
    let view = TableIdent::new("public", "v");
    assert!(matches!(backend.create_table(&delta("public", "v")).await, Err(Error::TableExists(_))));
    assert!(matches!(backend.drop_table(&view).await, Err(Error::TableNotFound(_))));
    assert!(matches!(backend.drop_namespace("public").await, Err(Error::NamespaceNotEmpty(_))));
}

#[tokio::test]
async fn other_programs_keep_our_tables_in_step() {
    let directory = tempfile::tempdir().unwrap();
    let backend = open(directory.path()).await;
    backend.create_table(&delta("public", "d")).await.unwrap();
    let iceberg = NewTableEntry { format: TableFormat::Iceberg, ..delta("public", "i") };
    backend.create_table(&iceberg).await.unwrap();
    let before = backend.table(&iceberg.ident).await.unwrap().unwrap();
    assert!(before.external);
    let mut other = foreign(directory.path()).await;
    for sql in [
        "INSERT INTO iceberg_tables VALUES ('lake', 'public', 'd', 'file:///m/d.json', NULL, NULL)",
        "UPDATE iceberg_tables SET table_name = 'd' WHERE table_name = 'i'",
    ] {
        assert!(database::is_constraint_violation(&run(&mut other, sql).await.unwrap_err()), "{sql}");
    }
    run(&mut other, "UPDATE iceberg_tables SET table_name = 'j' WHERE table_name = 'i'").await.unwrap();
    let after = backend.table(&TableIdent::new("public", "j")).await.unwrap().unwrap();
    assert_eq!((after.oid, after.external), (before.oid, true));
    run(&mut other, "DELETE FROM iceberg_tables").await.unwrap();
    let mut again = iceberg.clone();
    (again.ident.name, again.external) = ("j".into(), false);
    backend.create_table(&again).await.unwrap();
    let again = backend.table(&again.ident).await.unwrap().unwrap();
    assert!(again.oid > before.oid && !again.external);
}

#[tokio::test(flavor = "multi_thread")]
async fn lookups_are_fast() {
    let directory = tempfile::tempdir().unwrap();
    let backend = open(directory.path()).await;
    let mut other = foreign(directory.path()).await;
    run(
        &mut other,
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 1999) \
         INSERT INTO iceberg_tables SELECT 'lake', 'public', 't' || i, 'file:///m/' || i, NULL, 'TABLE' FROM n",
    )
    .await
    .unwrap();
    let started = Instant::now();
    assert_eq!(backend.tables("public").await.unwrap().len(), 2000);
    let first = started.elapsed();
    let started = Instant::now();
    backend.tables("public").await.unwrap();
    let list = started.elapsed();
    let ident = TableIdent::new("public", "t1234");
    let started = Instant::now();
    for _ in 0..500 {
        backend.table(&ident).await.unwrap().unwrap();
    }
    let lookup = started.elapsed() / 500;
    let started = Instant::now();
    for _ in 0..500 {
        backend.change_counter().await.unwrap();
    }
    let counter = started.elapsed() / 500;
    println!("2000 tables: first list {first:?}, list {list:?}, lookup {lookup:?}, counter {counter:?}");
    assert!(lookup < Duration::from_millis(5) && counter < Duration::from_millis(5));
}

/// Runs a script with pyiceberg's catalog of the same database as `catalog`.
fn pyiceberg(directory: &Path, script: &str) -> Option<String> {
    let prelude = format!(
        "from pyiceberg.catalog.sql import SqlCatalog\n\
         from pyiceberg.schema import Schema\n\
         from pyiceberg.types import *\n\
         from pyiceberg.exceptions import *\n\
         directory = {directory:?}\n\
         catalog = SqlCatalog('lake', uri='sqlite:///' + directory + '/catalog.db', \
         warehouse='file://' + directory + '/warehouse')\n"
    );
    python::run("pyiceberg, sqlalchemy", &(prelude + script))
}

#[tokio::test(flavor = "multi_thread")]
async fn pyiceberg_shares_the_database() {
    let directory = tempfile::tempdir().unwrap();
    let backend = open(directory.path()).await;
    let none = BTreeMap::new();
    backend.create_namespace("ours", &none).await.unwrap();
    backend.create_table(&delta("ours", "d")).await.unwrap();
    let before = backend.change_counter().await.unwrap();
    let Some(printed) = pyiceberg(
        directory.path(),
        r"
assert sorted(catalog.list_namespaces()) == [('ours',), ('public',)]
assert catalog.load_namespace_properties('public') == {'exists': 'true'}
catalog.create_namespace('theirs', {'owner': 'them'})
schema = Schema(NestedField(1, 'id', LongType(), required=True))
print(catalog.create_table('theirs.t', schema).metadata_location)
catalog.create_table('theirs.renamed', schema)
try:
    catalog.create_table('ours.d', schema)
    raise SystemExit('a Delta table was overwritten')
except TableAlreadyExistsError:
    pass
",
    ) else {
        return;
    };
    assert_ne!(backend.change_counter().await.unwrap(), before);
    let namespaces = backend.namespaces().await.unwrap();
    let theirs = namespaces.iter().find(|n| n.name == "theirs").unwrap();
    assert_eq!(theirs.properties, [("owner".to_string(), "them".to_string())].into());
    let entry = backend.table(&TableIdent::new("theirs", "t")).await.unwrap().unwrap();
    assert_eq!((entry.format, &*entry.pointer), (TableFormat::Iceberg, printed.trim()));
    assert_eq!(backend.tables("theirs").await.unwrap().len(), 2);
    let oid = backend.table(&TableIdent::new("theirs", "renamed")).await.unwrap().unwrap().oid;

    let registered = TableIdent::new("ours", "registered");
    let new = NewTableEntry {
        ident: registered.clone(),
        format: TableFormat::Iceberg,
        pointer: entry.pointer.clone(),
        external: true,
    };
    backend.create_table(&new).await.unwrap();
    pyiceberg(
        directory.path(),
        r"
assert catalog.list_tables('ours') == [('ours', 'registered')]
table = catalog.load_table('ours.registered')
assert [f.name for f in table.schema().fields] == ['id']
with table.transaction() as transaction:
    transaction.set_properties(**{'a': 'b'})
catalog.rename_table('theirs.renamed', 'ours.moved')
catalog.drop_table('theirs.t')
",
    );
    let after = backend.table(&registered).await.unwrap().unwrap();
    assert_ne!(after.pointer, entry.pointer);
    let stale = backend.swap_pointer(&registered, &entry.pointer, "file:///x").await.unwrap();
    assert!(matches!(stale, SwapOutcome::Moved));
    let swapped = backend.swap_pointer(&registered, &after.pointer, &entry.pointer).await.unwrap();
    assert!(matches!(swapped, SwapOutcome::Swapped));
    assert_eq!(backend.table(&TableIdent::new("ours", "moved")).await.unwrap().unwrap().oid, oid);
    assert!(backend.tables("theirs").await.unwrap().is_empty());
    pyiceberg(directory.path(), "assert not catalog.load_table('ours.registered').properties.get('a')");
    backend.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_pyiceberg_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let script = "catalog.create_namespace('n'); catalog.create_table('n.t', Schema())";
    if pyiceberg(directory.path(), script).is_none() {
        return;
    }
    let backend = open(directory.path()).await;
    assert!(backend.layout.typed);
    assert_eq!(backend.namespaces().await.unwrap().len(), 1);
    assert_eq!(backend.tables("n").await.unwrap().len(), 1);
}
