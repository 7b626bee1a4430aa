//! The commit loop against a table in memory.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use async_trait::async_trait;
use parking_lot::Mutex;

use super::*;
use crate::TableIdent;
use crate::table::deletes::DeleteIndex;
use crate::table::schema::ColumnResolution;
use crate::table::snapshot::{FileListIndex, SnapshotFiles};
use crate::table::{FileList, NewDataFile, ReadSet, TableFormat, TableSchema, TableSnapshot};

#[derive(Debug)]
struct NoFiles;

#[async_trait]
impl SnapshotFiles for NoFiles {
    async fn index(&self) -> Result<Arc<FileListIndex>> {
        Ok(Arc::new(FileListIndex { groups: vec![] }))
    }
    async fn file_list(&self, _number: usize) -> Result<Arc<FileList>> {
        Err(Error::Internal("none".into()))
    }
    async fn deletes(&self) -> Result<Arc<DeleteIndex>> {
        Ok(Arc::default())
    }
}

fn snapshot(version: u64, columns: Vec<Field>) -> Arc<TableSnapshot> {
    let schema = TableSchema {
        schema_id: 0,
        field_ids: (1..=columns.len() as i32).collect(),
        arrow: Arc::new(Schema::new(columns)),
        resolution: ColumnResolution::Name,
        initial_defaults: HashMap::new(),
        write_defaults: HashMap::new(),
        identifier_field_ids: vec![],
        identity: Default::default(),
    };
    Arc::new(TableSnapshot {
        format: TableFormat::Delta,
        format_version: String::new(),
        location: "/t".into(),
        table_id: "t".into(),
        version: TableVersion::Delta { version },
        schema: Arc::new(schema),
        partition_specs: BTreeMap::from([(0, Arc::default())]),
        default_spec: Arc::default(),
        sort_order: Arc::default(),
        properties: BTreeMap::from([("commit.retry.min-wait-ms".into(), "1".into())]),
        comment: None,
        row_lineage: None,
        constraints: Vec::new(),
        timestamp_ms: None,
        files: Arc::new(NoFiles),
        state: Arc::new(()),
    })
}

fn column(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

#[derive(Debug)]
enum Script {
    Committed,
    Conflict,
    /// Committed or not, the answer was lost.
    Unknown {
        committed: bool,
    },
    Refused,
}

/// A table whose attempts end as scripted.
#[derive(Debug)]
struct Fake {
    read: Arc<TableSnapshot>,
    /// What reloading finds, the last one for ever.
    current: Mutex<VecDeque<Arc<TableSnapshot>>>,
    script: Mutex<VecDeque<Script>>,
    bases: Mutex<Vec<TableVersion>>,
    commits: Mutex<HashMap<String, TableVersion>>,
    deleted: Mutex<Vec<String>>,
}

impl Fake {
    fn new(script: Vec<Script>, current: Vec<Arc<TableSnapshot>>) -> Self {
        Self {
            read: snapshot(1, vec![column("a", DataType::Int32)]),
            current: Mutex::new(current.into()),
            script: Mutex::new(script.into()),
            bases: Mutex::default(),
            commits: Mutex::default(),
            deleted: Mutex::default(),
        }
    }
}

#[async_trait]
impl CommitTarget for Fake {
    fn name(&self) -> String {
        "s.t".into()
    }
    fn read(&self) -> &Arc<TableSnapshot> {
        &self.read
    }
    fn exists(&self) -> Error {
        Error::TableExists(TableIdent::new("s", "t"))
    }
    async fn current(&self) -> Result<Arc<TableSnapshot>> {
        let mut current = self.current.lock();
        let first = if current.len() > 1 { current.pop_front() } else { current.front().cloned() };
        Ok(first.unwrap_or_else(|| self.read.clone()))
    }
    async fn blind_appends(&self, _current: &TableSnapshot) -> Result<HashSet<String>> {
        Ok(HashSet::new())
    }
    async fn attempt(&self, base: &TableSnapshot, change: &TableChange) -> Result<CommitOutcome> {
        self.bases.lock().push(base.version.clone());
        let version = TableVersion::Delta { version: 42 };
        let id = change.commit_id().unwrap().to_string();
        match self.script.lock().pop_front().unwrap() {
            Script::Committed => Ok(CommitOutcome::Committed(version)),
            Script::Conflict => Ok(CommitOutcome::Conflict { winner: "another".into() }),
            Script::Unknown { committed } => {
                if committed {
                    self.commits.lock().insert(id, version);
                }
                Ok(CommitOutcome::Unknown("connection reset".into()))
            }
            Script::Refused => Err(Error::unsupported("s.t", "that")),
        }
    }
    async fn find(&self, commit_id: &str) -> Result<Option<TableVersion>> {
        Ok(self.commits.lock().get(commit_id).cloned())
    }
    async fn delete(&self, paths: &[String]) {
        self.deleted.lock().extend_from_slice(paths);
    }
}

fn append() -> TableChange {
    let file = NewDataFile {
        path: "/t/f.parquet".into(),
        size_bytes: 1,
        record_count: 1,
        spec: Arc::default(),
        partition: vec![],
        columns: HashMap::new(),
        split_offsets: vec![],
        sort_order_id: None,
    };
    TableChange::new(Operation::Append, vec![file])
}

#[tokio::test]
async fn a_conflict_is_rebased_and_retried() {
    let later = |v| snapshot(v, vec![column("a", DataType::Int32), column("b", DataType::Utf8View)]);
    let fake = Fake::new(
        vec![Script::Conflict, Script::Conflict, Script::Committed],
        vec![snapshot(1, vec![column("a", DataType::Int32)]), later(2), later(3)],
    );
    let version = run(&fake, &append()).await.unwrap();
    assert_eq!(version, TableVersion::Delta { version: 42 });
    let bases: Vec<_> = fake.bases.lock().clone();
    assert_eq!(bases, [1, 2, 3].map(|version| TableVersion::Delta { version }));
    assert!(fake.deleted.lock().is_empty());
}

#[tokio::test]
async fn a_changed_column_is_a_conflict() {
    let changed = snapshot(2, vec![column("a", DataType::Int64)]);
    let fake = Fake::new(vec![Script::Conflict], vec![fake_first(), changed]);
    let error = run(&fake, &append()).await.unwrap_err();
    let Error::Conflict { winner, .. } = &error else { panic!("{error}") };
    assert!(winner.contains("type of column \"a\""), "{winner}");
    assert_eq!(*fake.deleted.lock(), ["/t/f.parquet"]);
}

fn fake_first() -> Arc<TableSnapshot> {
    snapshot(1, vec![column("a", DataType::Int32)])
}

#[tokio::test]
async fn what_fits_and_what_does_not() {
    let read = fake_first();
    let rebase = async |columns| {
        conflict::rebase(&read, &snapshot(2, columns), &append(), &HashSet::new()).await.unwrap()
    };
    assert_eq!(rebase(vec![column("a", DataType::Int32)]).await, Rebase::Fits);
    for columns in [
        vec![],
        vec![column("renamed", DataType::Int32)],
        vec![Field::new("a", DataType::Int32, false)],
        vec![column("a", DataType::Int32), Field::new("b", DataType::Int32, false)],
    ] {
        assert!(matches!(rebase(columns.clone()).await, Rebase::Conflict(_)), "{columns:?}");
    }
}

#[tokio::test]
async fn what_replaces_a_version_fits_on_no_other() {
    let change = TableChange { read: ReadSet::Version, isolation: Isolation::Snapshot, ..append() };
    let delta = |version| TableVersion::Delta { version };
    let iceberg =
        |file: &str, snapshot_id| TableVersion::Iceberg { metadata_location: file.into(), snapshot_id };
    let fits = async |read: TableVersion, current: TableVersion| {
        let at = |version| {
            let table = Arc::into_inner(fake_first()).unwrap();
            TableSnapshot { version, ..table }
        };
        conflict::rebase(&at(read), &at(current), &change, &HashSet::new()).await.unwrap() == Rebase::Fits
    };
    assert!(fits(delta(1), delta(1)).await);
    assert!(!fits(delta(1), delta(2)).await);
    assert!(fits(iceberg("a", Some(1)), iceberg("b", Some(1))).await, "only properties differ");
    assert!(!fits(iceberg("a", Some(1)), iceberg("b", Some(2))).await);
    assert!(fits(iceberg("a", None), iceberg("a", None)).await);
    assert!(!fits(iceberg("a", None), iceberg("b", None)).await, "it may be another table");
    assert!(!fits(iceberg("a", None), iceberg("b", Some(1))).await);
}

#[tokio::test]
async fn retries_end() {
    let script = (0..100).map(|_| Script::Conflict).collect();
    let mut fake = Fake::new(script, vec![]);
    let properties = [("commit.retry.num-retries", "3"), ("commit.retry.min-wait-ms", "1")];
    let mut read = Arc::into_inner(fake.read).unwrap();
    read.properties = properties.map(|(k, v)| (k.to_string(), v.to_string())).into();
    fake.read = Arc::new(read);
    let error = run(&fake, &append()).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
    assert_eq!(fake.bases.lock().len(), 4);
    assert_eq!(fake.deleted.lock().len(), 1);
}

#[tokio::test]
async fn an_unknown_outcome_is_looked_up() {
    let found = Fake::new(vec![Script::Unknown { committed: true }], vec![]);
    assert_eq!(run(&found, &append()).await.unwrap(), TableVersion::Delta { version: 42 });
    assert!(found.deleted.lock().is_empty());

    let lost = Fake::new(vec![Script::Unknown { committed: false }], vec![]);
    let error = run(&lost, &append()).await.unwrap_err();
    assert!(matches!(error, Error::CommitUnknown { .. }), "{error}");
    assert_eq!(lost.bases.lock().len(), 1, "not tried again");
    assert!(lost.deleted.lock().is_empty(), "files may be part of the table");
}

#[tokio::test]
async fn a_certain_failure_deletes_the_files() {
    let fake = Fake::new(vec![Script::Refused], vec![]);
    assert!(matches!(run(&fake, &append()).await, Err(Error::Unsupported { .. })));
    assert_eq!(*fake.deleted.lock(), ["/t/f.parquet"]);
}

#[tokio::test]
async fn creating_what_exists_is_not_retried() {
    let fake = Fake::new(vec![Script::Conflict], vec![]);
    let change = TableChange { operation: Operation::Create, ..append() };
    assert!(matches!(run(&fake, &change).await, Err(Error::TableExists(_))));
    assert_eq!(fake.deleted.lock().len(), 1);
}

#[test]
fn waits_grow_within_limits() {
    let properties = BTreeMap::from([
        ("commit.retry.num-retries".to_string(), "6".to_string()),
        ("commit.retry.min-wait-ms".to_string(), "100".to_string()),
        ("commit.retry.max-wait-ms".to_string(), "400".to_string()),
    ]);
    let waits: Vec<u128> = RetryLimits::of(&properties).unwrap().waits().map(|w| w.as_millis()).collect();
    assert_eq!(waits.len(), 6);
    for (wait, most) in waits.iter().zip([100, 200, 400, 400, 400, 400]) {
        assert!(*wait >= most / 2 && *wait <= most, "{waits:?}");
    }
    let bad = BTreeMap::from([("commit.retry.num-retries".to_string(), "many".to_string())]);
    assert!(matches!(RetryLimits::of(&bad), Err(Error::Invalid(_))));
}
