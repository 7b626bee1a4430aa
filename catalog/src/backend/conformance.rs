//! One suite that every catalog type passes: a row for each in [`catalogs`] below. What a type
//! cannot do, its fixture says, and the suite then asks for the error.

mod changes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;

use self::changes::{changes_of_many_servers_do_not_mix, several_changes_are_made_at_once_or_not_at_all};
use super::delta_directory::DeltaDirectory;
use super::document::TASK;
use super::postgres_server::{self, PostgresServer};
use super::sql::SqlBackend;
use super::*;
use crate::Error;
use crate::storage::{Storage, StorageOptions};

/// A catalog that can be opened again and again over the same data.
struct Fixture {
    kind: Kind,
    directory: TempDir,
    /// Of a PostgreSQL server.
    database: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Sql,
    Postgres,
    DeltaDirectory,
}

/// Names that trouble quoting, paths, patterns and encodings.
const ODD_NAMES: &[&str] = &[
    "Mixed Case",
    "with.dot",
    "a\"quote",
    "it's",
    "50%_like",
    "naïve-日本語",
    "%41",
    "semi;colon",
    "back\\slash",
    "q?uestion#hash",
    "tr ailing ",
];

impl Fixture {
    /// `None`: what it needs is not on this machine.
    async fn new(kind: Kind) -> Option<Self> {
        let database = match kind {
            Kind::Postgres => {
                let server = PostgresServer::shared()?;
                server.url(&server.new_database().await)
            }
            Kind::Sql | Kind::DeltaDirectory => String::new(),
        };
        Some(Self { kind, directory: tempfile::tempdir().unwrap(), database })
    }

    fn storage(&self) -> Storage {
        Storage::with_options(StorageOptions::default())
    }

    fn warehouse(&self) -> String {
        format!("file://{}/warehouse", self.directory.path().display())
    }

    async fn open(&self) -> Arc<dyn Backend> {
        std::fs::create_dir_all(self.directory.path().join("warehouse")).unwrap();
        match self.kind {
            Kind::Sql => {
                let file = self.directory.path().join("catalog.db");
                Arc::new(SqlBackend::open(&file, &self.warehouse(), "lake").await.unwrap())
            }
            Kind::Postgres => {
                let options = postgres_server::options(&self.database);
                Arc::new(SqlBackend::open_postgres(&options, &self.warehouse(), "lake").await.unwrap())
            }
            Kind::DeltaDirectory => {
                Arc::new(DeltaDirectory::open(self.storage(), &self.warehouse()).await.unwrap())
            }
        }
    }

    /// A new entry, with what must exist for it outside of the catalog.
    async fn new_entry(&self, namespace: &str, name: &str) -> NewTableEntry {
        let ident = TableIdent::new(namespace, name);
        let (format, pointer) = match self.kind {
            Kind::Sql | Kind::Postgres => {
                (TableFormat::Iceberg, format!("{}/{name}/metadata/0.metadata.json", self.warehouse()))
            }
            Kind::DeltaDirectory => (TableFormat::Delta, format!("{}/{namespace}/{name}", self.warehouse())),
        };
        NewTableEntry { ident, format, pointer, external: false }
    }

    async fn create(&self, backend: &dyn Backend, namespace: &str, name: &str) -> TableIdent {
        let entry = self.new_entry(namespace, name).await;
        if self.kind == Kind::DeltaDirectory {
            let log = format!("{}/_delta_log/00000000000000000000.json", entry.pointer);
            self.storage().create(&log, Bytes::from_static(b"{}")).await.unwrap();
        }
        backend.create_table(&entry).await.unwrap();
        entry.ident
    }

    fn is_sql(&self) -> bool {
        self.kind != Kind::DeltaDirectory
    }
}

macro_rules! catalogs {
    ($($test:ident),* $(,)?) => {
        catalogs!(in sql Sql: $($test)*);
        catalogs!(in postgres Postgres: $($test)*);
        catalogs!(in delta_directory DeltaDirectory: $($test)*);
    };
    (in $module:ident $kind:ident: $($test:ident)*) => {
        mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                if let Some(fixture) = super::Fixture::new(super::Kind::$kind).await {
                    super::$test(fixture).await
                }
            })*
        }
    };
}

catalogs!(
    a_new_catalog_has_public,
    namespaces_come_and_go,
    tables_come_and_go,
    tables_are_renamed,
    odd_names_are_kept,
    oids_are_unique_and_survive_a_restart,
    one_of_many_swaps_wins,
    concurrent_creates,
    one_of_many_creators_wins,
    changes_are_counted,
    documents_are_swapped,
    one_of_many_leaseholders_wins,
    the_journal_is_bounded,
    two_openers_see_each_other,
    several_changes_are_made_at_once_or_not_at_all,
    changes_of_many_servers_do_not_mix,
);

async fn names(backend: &dyn Backend) -> Vec<String> {
    backend.namespaces().await.unwrap().iter().map(|n| n.name.clone()).collect()
}

async fn table_names(backend: &dyn Backend, namespace: &str) -> Vec<String> {
    backend.tables(namespace).await.unwrap().into_iter().map(|t| t.ident.name).collect()
}

async fn make_namespace(backend: &dyn Backend, name: &str) {
    backend.create_namespace(name, &BTreeMap::new()).await.unwrap();
}

async fn a_new_catalog_has_public(fixture: Fixture) {
    let backend = fixture.open().await;
    assert_eq!(names(&*backend).await, ["public"]);
    assert!(backend.tables("public").await.unwrap().is_empty());
    assert_eq!(backend.warehouse(), fixture.warehouse());
    assert_eq!(backend.table(&TableIdent::new("public", "t")).await.unwrap(), None);
    assert_eq!(backend.table(&TableIdent::new("nowhere", "t")).await.unwrap(), None);
}

async fn namespaces_come_and_go(fixture: Fixture) {
    let backend = fixture.open().await;
    make_namespace(&*backend, "silver").await;
    make_namespace(&*backend, "bronze").await;
    assert_eq!(names(&*backend).await, ["bronze", "public", "silver"]);
    let again = backend.create_namespace("silver", &BTreeMap::new()).await;
    assert!(matches!(again, Err(Error::NamespaceExists(name)) if name == "silver"));
    assert!(matches!(backend.tables("gold").await, Err(Error::NamespaceNotFound(_))));
    assert!(matches!(backend.drop_namespace("gold").await, Err(Error::NamespaceNotFound(_))));
    for name in ["", "a\0b", &"x".repeat(300)] {
        assert!(matches!(backend.create_namespace(name, &BTreeMap::new()).await, Err(Error::Invalid(_))));
    }

    fixture.create(&*backend, "silver", "t").await;
    assert!(matches!(backend.drop_namespace("silver").await, Err(Error::NamespaceNotEmpty(_))));
    backend.drop_namespace("bronze").await.unwrap();
    assert_eq!(names(&*backend).await, ["public", "silver"]);

    let properties: BTreeMap<_, _> = [("owner".to_string(), "me".to_string())].into();
    match backend.create_namespace("gold", &properties).await {
        Ok(()) => {
            let all = backend.namespaces().await.unwrap();
            assert_eq!(all.iter().find(|n| n.name == "gold").unwrap().properties, properties);
        }
        Err(Error::Unsupported { .. }) => assert!(!fixture.is_sql()),
        Err(e) => panic!("{e}"),
    }
}

async fn tables_come_and_go(fixture: Fixture) {
    let backend = fixture.open().await;
    make_namespace(&*backend, "silver").await;
    for name in ["orders", "customers"] {
        fixture.create(&*backend, "silver", name).await;
    }
    assert_eq!(table_names(&*backend, "silver").await, ["customers", "orders"]);
    assert!(backend.tables("public").await.unwrap().is_empty());

    let ident = TableIdent::new("silver", "orders");
    let entry = backend.table(&ident).await.unwrap().unwrap();
    let new = fixture.new_entry("silver", "orders").await;
    assert_eq!((&entry.ident, entry.format, &entry.pointer), (&ident, new.format, &new.pointer));
    assert!(!entry.external);
    assert!(backend.tables("silver").await.unwrap().contains(&entry));

    let lost = fixture.new_entry("nowhere", "t").await;
    assert!(matches!(backend.create_table(&lost).await, Err(Error::NamespaceNotFound(_))));
    if fixture.is_sql() {
        assert!(matches!(backend.create_table(&new).await, Err(Error::TableExists(i)) if i == ident));
    } else {
        let iceberg = NewTableEntry { format: TableFormat::Iceberg, ..new.clone() };
        assert!(matches!(backend.create_table(&iceberg).await, Err(Error::Unsupported { .. })));
        let elsewhere = NewTableEntry { pointer: "file:///elsewhere".into(), ..new };
        assert!(matches!(backend.create_table(&elsewhere).await, Err(Error::Unsupported { .. })));
    }
    backend.drop_table(&ident).await.unwrap();
    assert_eq!(backend.table(&ident).await.unwrap(), None);
    assert!(matches!(backend.drop_table(&ident).await, Err(Error::TableNotFound(_))));
    assert_eq!(table_names(&*backend, "silver").await, ["customers"]);
    fixture.create(&*backend, "silver", "orders").await;
    assert!(backend.table(&ident).await.unwrap().is_some());
}

async fn tables_are_renamed(fixture: Fixture) {
    let backend = fixture.open().await;
    make_namespace(&*backend, "silver").await;
    let (from, other) = (TableIdent::new("public", "a"), TableIdent::new("public", "b"));
    let to = TableIdent::new("silver", "c");
    assert!(matches!(backend.rename_table(&from, &to).await, Err(Error::TableNotFound(_))));
    fixture.create(&*backend, "public", "a").await;
    fixture.create(&*backend, "public", "b").await;
    if !fixture.is_sql() {
        assert!(matches!(backend.rename_table(&from, &to).await, Err(Error::Unsupported { .. })));
        return;
    }
    let before = backend.table(&from).await.unwrap().unwrap();
    assert!(matches!(backend.rename_table(&from, &other).await, Err(Error::TableExists(i)) if i == other));
    let nowhere = TableIdent::new("nowhere", "a");
    assert!(matches!(backend.rename_table(&from, &nowhere).await, Err(Error::NamespaceNotFound(_))));
    backend.rename_table(&from, &to).await.unwrap();
    assert_eq!(backend.table(&from).await.unwrap(), None);
    assert_eq!(backend.table(&to).await.unwrap().unwrap(), TableEntry { ident: to, ..before.clone() });
    // A new table of the old name is another object.
    fixture.create(&*backend, "public", "a").await;
    assert_ne!(backend.table(&from).await.unwrap().unwrap().oid, before.oid);
}

async fn odd_names_are_kept(fixture: Fixture) {
    let backend = fixture.open().await;
    for name in ODD_NAMES {
        make_namespace(&*backend, name).await;
        let ident = fixture.create(&*backend, name, name).await;
        let entry = backend.table(&ident).await.unwrap().unwrap();
        assert_eq!(entry.ident.name, *name);
        assert_eq!(table_names(&*backend, name).await, [*name]);
        // Neither patterns nor case nor encodings make names equal.
        for near in [name.to_uppercase() + "x", name.replace('%', "_") + "x", format!("{name} ")] {
            assert_eq!(backend.table(&TableIdent::new(*name, near)).await.unwrap(), None);
        }
    }
    let expected: BTreeSet<&str> = ODD_NAMES.iter().copied().chain(["public"]).collect();
    let found = names(&*fixture.open().await).await;
    assert_eq!(found.iter().map(String::as_str).collect::<BTreeSet<_>>(), expected);
    for name in ODD_NAMES {
        backend.drop_table(&TableIdent::new(*name, *name)).await.unwrap();
        backend.drop_namespace(name).await.unwrap();
    }
    assert_eq!(names(&*backend).await, ["public"]);
}

async fn oids_are_unique_and_survive_a_restart(fixture: Fixture) {
    async fn all_oids(backend: &dyn Backend) -> Vec<(String, Oid)> {
        let mut oids = Vec::new();
        for namespace in backend.namespaces().await.unwrap().iter() {
            for table in backend.tables(&namespace.name).await.unwrap() {
                assert_eq!(backend.table(&table.ident).await.unwrap().unwrap().oid, table.oid);
                oids.push((table.ident.to_string(), table.oid));
            }
            oids.push((namespace.name.clone(), namespace.oid));
        }
        oids.sort();
        oids
    }
    let backend = fixture.open().await;
    for namespace in ["a", "b"] {
        make_namespace(&*backend, namespace).await;
        for name in ["a", "b", "t"] {
            fixture.create(&*backend, namespace, name).await;
        }
    }
    let before = all_oids(&*backend).await;
    assert!(before.iter().all(|(_, oid)| (16384..1 << 31).contains(oid)));
    assert_eq!(before.iter().map(|(_, oid)| oid).collect::<BTreeSet<_>>().len(), 9);
    drop(backend);
    let backend = fixture.open().await;
    // One at a time first: the order in which they are asked for must not matter.
    let (_, expected) = before.iter().find(|(name, _)| name == "b.t").unwrap();
    assert_eq!(backend.table(&TableIdent::new("b", "t")).await.unwrap().unwrap().oid, *expected);
    assert_eq!(all_oids(&*backend).await, before);
    if fixture.is_sql() {
        let highest = before.iter().map(|(_, oid)| *oid).max().unwrap();
        backend.drop_table(&TableIdent::new("b", "t")).await.unwrap();
        drop(backend);
        let backend = fixture.open().await;
        let ident = fixture.create(&*backend, "b", "t").await;
        assert!(backend.table(&ident).await.unwrap().unwrap().oid > highest);
    }
}

async fn one_of_many_swaps_wins(fixture: Fixture) {
    let backend = fixture.open().await;
    let ident = fixture.create(&*backend, "public", "t").await;
    let mut current = backend.table(&ident).await.unwrap().unwrap().pointer;
    if !fixture.is_sql() {
        let swap = backend.swap_pointer(&ident, &current, "x").await;
        assert!(matches!(swap, Err(Error::Unsupported { .. })));
        return;
    }
    for round in 0..10 {
        let tasks: Vec<_> = (0..8)
            .map(|task| {
                let (backend, ident, current) = (backend.clone(), ident.clone(), current.clone());
                let new = format!("file:///m/{round}-{task}.metadata.json");
                tokio::spawn(
                    async move { (backend.swap_pointer(&ident, &current, &new).await.unwrap(), new) },
                )
            })
            .collect();
        let mut winners = Vec::new();
        for task in tasks {
            match task.await.unwrap() {
                (SwapOutcome::Swapped, new) => winners.push(new),
                (SwapOutcome::Moved, _) => {}
                (SwapOutcome::Unknown(e), _) => panic!("{e}"),
            }
        }
        assert_eq!(winners.len(), 1);
        current = backend.table(&ident).await.unwrap().unwrap().pointer;
        assert_eq!(current, winners[0]);
    }
    let missing = TableIdent::new("public", "missing");
    assert!(matches!(backend.swap_pointer(&missing, "a", "b").await.unwrap(), SwapOutcome::Moved));
}

async fn concurrent_creates(fixture: Fixture) {
    let fixture = Arc::new(fixture);
    let backend = fixture.open().await;
    let tasks: Vec<_> = (0..16)
        .map(|number| {
            let (backend, fixture) = (backend.clone(), fixture.clone());
            tokio::spawn(async move {
                let namespace = format!("n{number}");
                make_namespace(&*backend, &namespace).await;
                for name in ["a", "b", "c"] {
                    fixture.create(&*backend, &namespace, name).await;
                }
                assert_eq!(table_names(&*backend, &namespace).await, ["a", "b", "c"]);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(names(&*backend).await.len(), 17);
}

async fn one_of_many_creators_wins(fixture: Fixture) {
    let backend = fixture.open().await;
    if !fixture.is_sql() {
        return; // The log's first commit decides, not the catalog.
    }
    let entry = fixture.new_entry("public", "t").await;
    let tasks: Vec<_> = [TableFormat::Iceberg, TableFormat::Delta]
        .into_iter()
        .cycle()
        .take(8)
        .map(|format| {
            let (backend, entry) = (backend.clone(), NewTableEntry { format, ..entry.clone() });
            tokio::spawn(async move { backend.create_table(&entry).await })
        })
        .collect();
    let mut created = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(()) => created += 1,
            Err(e) => assert!(matches!(e, Error::TableExists(_)), "{e}"),
        }
    }
    assert_eq!(created, 1);
    assert_eq!(table_names(&*backend, "public").await, ["t"]);
}

async fn changes_are_counted(fixture: Fixture) {
    let backend = fixture.open().await;
    let Some(start) = backend.change_counter().await.unwrap() else {
        assert!(!fixture.is_sql());
        return;
    };
    backend.namespaces().await.unwrap();
    let mut last = backend.change_counter().await.unwrap().unwrap();
    // Giving out OIDs may count; then nothing does.
    assert!(last >= start);
    for _ in 0..3 {
        backend.tables("public").await.unwrap();
        assert_eq!(backend.change_counter().await.unwrap(), Some(last));
    }
    let other = fixture.open().await;
    let mut changed = async |what: &str| {
        let now = backend.change_counter().await.unwrap().unwrap();
        assert_ne!(now, last, "{what}");
        last = now;
    };
    make_namespace(&*backend, "n").await;
    changed("create namespace").await;
    let ident = fixture.create(&*other, "n", "t").await;
    changed("create table, by another connection").await;
    let pointer = other.table(&ident).await.unwrap().unwrap().pointer;
    other.swap_pointer(&ident, &pointer, "file:///m/1.metadata.json").await.unwrap();
    changed("swap").await;
    backend.rename_table(&ident, &TableIdent::new("public", "u")).await.unwrap();
    changed("rename").await;
    backend.drop_table(&TableIdent::new("public", "u")).await.unwrap();
    changed("drop").await;
    other.count_change().await.unwrap();
    changed("told of, by another connection").await;
    backend.count_change().await.unwrap();
    changed("told of").await;
}

async fn two_openers_see_each_other(fixture: Fixture) {
    let (first, second) = (fixture.open().await, fixture.open().await);
    make_namespace(&*first, "n").await;
    assert_eq!(names(&*second).await, ["n", "public"]);
    let ident = fixture.create(&*second, "n", "t").await;
    let seen = first.table(&ident).await.unwrap().unwrap();
    assert_eq!(second.table(&ident).await.unwrap().unwrap(), seen);
    second.drop_table(&ident).await.unwrap();
    assert_eq!(first.table(&ident).await.unwrap(), None);
    first.drop_namespace("n").await.unwrap();
    assert_eq!(names(&*second).await, ["public"]);
}

fn document(kind: &str, namespace: &str, name: &str) -> DocumentKey {
    DocumentKey::new(kind, TableIdent::new(namespace, name))
}

fn swap(key: &DocumentKey, expected: Option<&str>, new: Option<&str>) -> DocumentChange {
    let text = |text: &str| text.to_string();
    DocumentChange { key: key.clone(), expected: expected.map(text), new: new.map(text) }
}

async fn documents_are_swapped(fixture: Fixture) {
    let backend = fixture.open().await;
    let key = document(TASK, "public", "it's \"one\"");
    if !fixture.is_sql() {
        let made = backend.swap_document(&swap(&key, None, Some("a"))).await;
        assert!(matches!(made, Err(Error::Unsupported { .. })), "{made:?}");
        assert!(backend.documents(TASK).await.unwrap().is_empty());
        return;
    }
    assert_eq!(backend.document(&key).await.unwrap(), None);
    assert!(!backend.swap_document(&swap(&key, Some("a"), Some("b"))).await.unwrap());
    assert!(backend.swap_document(&swap(&key, None, Some("a"))).await.unwrap());
    assert!(!backend.swap_document(&swap(&key, None, Some("b"))).await.unwrap());
    assert!(!backend.swap_document(&swap(&key, Some("b"), Some("c"))).await.unwrap());
    assert!(backend.swap_document(&swap(&key, Some("a"), Some("ü 日本語"))).await.is_ok());
    let other = fixture.open().await;
    assert_eq!(other.document(&key).await.unwrap(), backend.document(&key).await.unwrap());
    let of_another_kind = document("state", "public", &key.ident.name);
    assert!(backend.swap_document(&swap(&of_another_kind, None, Some("s"))).await.unwrap());
    let listed = backend.documents(TASK).await.unwrap();
    assert_eq!(listed.iter().map(|found| &found.key).collect::<Vec<_>>(), [&key]);
    // A namespace with a task is not empty; what else is said of its names goes with it.
    make_namespace(&*backend, "silver").await;
    let task = document(TASK, "silver", "t");
    assert!(backend.swap_document(&swap(&task, None, Some("t"))).await.unwrap());
    assert!(backend.swap_document(&swap(&document("state", "silver", "t"), None, Some("s"))).await.unwrap());
    assert!(matches!(backend.drop_namespace("silver").await, Err(Error::NamespaceNotEmpty(_))));
    assert!(backend.swap_document(&swap(&task, Some("t"), None)).await.unwrap());
    backend.drop_namespace("silver").await.unwrap();
    assert_eq!(backend.document(&document("state", "silver", "t")).await.unwrap(), None);
}

async fn one_of_many_leaseholders_wins(fixture: Fixture) {
    if !fixture.is_sql() {
        return;
    }
    let (one, other) = (fixture.open().await, fixture.open().await);
    let key = document("lease", "", "scheduler");
    for round in 0..20 {
        let expected = one.document(&key).await.unwrap();
        let take = |backend: Arc<dyn Backend>, n: usize| {
            let change = swap(&key, expected.as_deref(), Some(&format!("{round} {n}")));
            tokio::spawn(async move { backend.swap_document(&change).await.unwrap() })
        };
        let mut tries = Vec::new();
        for n in 0..8 {
            tries.push(take(if n % 2 == 0 { one.clone() } else { other.clone() }, n));
        }
        let mut won = 0;
        for attempt in tries {
            won += usize::from(attempt.await.unwrap());
        }
        assert_eq!(won, 1);
    }
}

async fn the_journal_is_bounded(fixture: Fixture) {
    let backend = fixture.open().await;
    let entry = |name: &str, id: i64| JournalEntry {
        key: document("run", "public", name),
        id: id.to_string(),
        at: id,
        text: format!("run {id}"),
    };
    for id in 1..=10 {
        backend.add_to_journal(&entry("a", id), 3).await.unwrap();
    }
    backend.add_to_journal(&entry("b", 1), 3).await.unwrap();
    // The same once more.
    backend.add_to_journal(&JournalEntry { text: "again".into(), ..entry("a", 10) }, 3).await.unwrap();
    let kept = backend.journal("run").await.unwrap();
    let kept: Vec<_> = kept.iter().map(|e| (e.key.ident.name.as_str(), e.at, e.text.as_str())).collect();
    match fixture.is_sql() {
        true => {
            assert_eq!(kept, [("b", 1, "run 1"), ("a", 8, "run 8"), ("a", 9, "run 9"), ("a", 10, "again")])
        }
        false => assert!(kept.is_empty()),
    }
    assert!(backend.journal("other").await.unwrap().is_empty());
}
