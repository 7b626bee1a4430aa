//! Random transactions against a model of what they leave.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema};
use async_trait::async_trait;
use datafusion::logical_expr::{Expr, col, lit};
use datafusion::scalar::ScalarValue;

use super::*;
use crate::storage::{Storage, StorageOptions};
use crate::table::change::{COMMIT_ID, Isolation, ReadSet};
use crate::table::data_file::{DataFile, FileList, NewDataFile, WrittenColumn};
use crate::table::definition::TableFormat;
use crate::table::deletes::{DeleteIndex, FileDeletes, NewRowDeletes, PositionDeleteFile, StoredDeletes};
use crate::table::deletion_vector::{DeletionVectorRef, DeletionVectorStorage};
use crate::table::live_file::LiveFile;
use crate::table::partition::{PartitionField, PartitionSpec, Transform};
use crate::table::schema::{ColumnResolution, TableSchema};
use crate::table::snapshot::{FileListIndex, SnapshotFiles};
use crate::table::statistics::{ColumnBounds, PartitionBounds, StatisticsTable};

/// How the table stores deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deletes {
    /// Delta: vectors in the entries.
    InEntries,
    /// Iceberg v3: vectors apart.
    Apart,
    /// Iceberg v2: position delete files.
    Positions,
}

const ALL: [Deletes; 3] = [Deletes::InEntries, Deletes::Apart, Deletes::Positions];

/// Lists of a version as they were given.
#[derive(Debug)]
struct Fixed {
    lists: Vec<Arc<FileList>>,
    deletes: Arc<DeleteIndex>,
}

#[async_trait]
impl SnapshotFiles for Fixed {
    async fn index(&self) -> Result<Arc<FileListIndex>> {
        let groups = self.lists.iter().enumerate().map(|(i, list)| (summary(list), vec![i]));
        Ok(Arc::new(FileListIndex { groups: groups.collect() }))
    }

    async fn file_list(&self, number: usize) -> Result<Arc<FileList>> {
        Ok(self.lists[number].clone())
    }

    async fn deletes(&self) -> Result<Arc<DeleteIndex>> {
        Ok(self.deletes.clone())
    }
}

fn summary(list: &FileList) -> StatisticsTable {
    let partitions = list.stats.partitions.iter().map(|p| PartitionBounds {
        lower: p.lower.slice(0, 1),
        upper: p.upper.slice(0, 1),
        may_contain_null: vec![false],
    });
    StatisticsTable {
        len: 1,
        row_counts: UInt64Array::from(vec![1000]),
        columns: HashMap::new(),
        spec: list.stats.spec.clone(),
        partitions: partitions.collect(),
    }
}

fn specs() -> [Arc<PartitionSpec>; 2] {
    let field = PartitionField {
        source_id: 2,
        field_id: 1000,
        name: "p".into(),
        transform: Transform::Identity,
        result_type: DataType::Int64,
    };
    [Arc::default(), Arc::new(PartitionSpec { spec_id: 1, fields: vec![field] })]
}

fn vector(path: &str, cardinality: u64) -> DeletionVectorRef {
    let storage = DeletionVectorStorage::File { path: path.into(), offset: 4, length: 40 };
    DeletionVectorRef { storage, cardinality }
}

/// A number that every statistic of a file is made of, so that a shift of one column shows.
fn number(path: &str) -> i64 {
    path.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

fn list(spec: &Arc<PartitionSpec>, paths: &[String], in_entries: &[&str]) -> Arc<FileList> {
    let numbers: Vec<i64> = paths.iter().map(|path| number(path)).collect();
    let counts: UInt64Array = numbers.iter().map(|n| Some(*n as u64)).collect();
    let values: ArrayRef = Arc::new(Int64Array::from(numbers.clone()));
    let file = |path: &String| DataFile {
        path: path.clone(),
        size_bytes: number(path) as u64,
        record_count: Some(number(path) as u64),
        sequence_number: 1,
        first_row_id: Some(number(path) * 1000),
        deletion_vector: in_entries.contains(&path.as_str()).then(|| vector("base.bin", 1)),
        sort_order_id: None,
        split_offsets: vec![4],
    };
    let bounds = ColumnBounds {
        lower: values.clone(),
        upper: values.clone(),
        null_count: counts.clone(),
        nan_count: Some(counts.clone()),
        exact: true,
    };
    let partitions = spec.fields.iter().map(|_| PartitionBounds {
        lower: values.clone(),
        upper: values.clone(),
        may_contain_null: numbers.iter().map(|n| n % 2 == 0).collect(),
    });
    let stats = StatisticsTable {
        len: paths.len(),
        row_counts: counts,
        columns: HashMap::from([(1, bounds)]),
        spec: spec.clone(),
        partitions: partitions.collect(),
    };
    Arc::new(FileList { files: paths.iter().map(file).collect(), stats, state: None })
}

/// A version with nine files in three lists; two of them have deletes.
fn base(deletes: Deletes) -> Arc<TableSnapshot> {
    let paths: Vec<String> = (101..110).map(|n| format!("base{n}")).collect();
    let in_entries: &[&str] = if deletes == Deletes::InEntries { &["base102", "base105"] } else { &[] };
    let [plain, partitioned] = specs();
    let mut index = DeleteIndex::default();
    for path in ["base102", "base105"] {
        match deletes {
            Deletes::InEntries => {}
            Deletes::Apart => {
                index.deletion_vectors.insert(path.into(), (2, vector("base.puffin", 1)));
            }
            Deletes::Positions => {
                let file = PositionDeleteFile {
                    path: format!("{path}-deletes"),
                    size_bytes: 1,
                    record_count: 1,
                    sequence_number: 2,
                    referenced_data_file: Some(path.into()),
                };
                index.positions_by_path.insert(path.into(), vec![Arc::new(file)]);
            }
        }
    }
    let lists = vec![
        list(&plain, &paths[..3], in_entries),
        list(&partitioned, &paths[3..7], in_entries),
        list(&partitioned, &paths[7..], in_entries),
    ];
    let columns = vec![Field::new("a", DataType::Int64, true), Field::new("p", DataType::Int64, true)];
    let schema = TableSchema {
        schema_id: 0,
        field_ids: vec![1, 2],
        arrow: Arc::new(Schema::new(columns)),
        resolution: ColumnResolution::Name,
        initial_defaults: HashMap::new(),
        write_defaults: HashMap::new(),
        identifier_field_ids: vec![],
        identity: Default::default(),
    };
    Arc::new(TableSnapshot {
        format: if deletes == Deletes::InEntries { TableFormat::Delta } else { TableFormat::Iceberg },
        format_version: String::new(),
        location: "/t".into(),
        table_id: "t".into(),
        version: TableVersion::Delta { version: 7 },
        schema: Arc::new(schema),
        partition_specs: BTreeMap::from([(0, plain.clone()), (1, partitioned)]),
        default_spec: plain,
        sort_order: Arc::default(),
        properties: BTreeMap::new(),
        constraints: vec![],
        comment: None,
        row_lineage: None,
        timestamp_ms: None,
        files: Arc::new(Fixed { lists, deletes: Arc::new(index) }),
        state: Arc::new(42_i32),
    })
}

/// The files of a version as a scan finds them, by path.
async fn live(snapshot: &TableSnapshot) -> BTreeMap<String, Arc<LiveFile>> {
    let index = snapshot.files.index().await.unwrap();
    let deletes = snapshot.files.deletes().await.unwrap();
    let mut found = BTreeMap::new();
    for (summaries, numbers) in &index.groups {
        assert_eq!(summaries.len, numbers.len());
        for number in numbers {
            let list = snapshot.files.file_list(*number).await.unwrap();
            assert_eq!(list.stats.len, list.files.len());
            for row in 0..list.files.len() {
                let mut file = LiveFile { list: list.clone(), row, deletes: FileDeletes::default() };
                let key = (file.spec().spec_id, file.partition().unwrap());
                file.deletes = deletes.for_file(file.file().unwrap(), &key);
                assert!(found.insert(file.path().to_string(), Arc::new(file)).is_none());
            }
        }
    }
    found
}

fn new_file(path: &str, spec: &Arc<PartitionSpec>) -> NewDataFile {
    let n = number(path);
    let column = WrittenColumn {
        lower: Some(ScalarValue::Int64(Some(n))),
        upper: Some(ScalarValue::Int64(Some(n))),
        value_count: n as u64,
        null_count: n as u64,
        nan_count: None,
        column_size: 1,
    };
    NewDataFile {
        path: path.into(),
        size_bytes: n as u64,
        record_count: n as u64,
        spec: spec.clone(),
        partition: spec.fields.iter().map(|_| ScalarValue::Int64(Some(n))).collect(),
        columns: HashMap::from([(1, column)]),
        split_offsets: vec![4],
        sort_order_id: None,
    }
}

/// What the model knows of a file.
#[derive(Debug, Clone, Default, PartialEq)]
struct Modelled {
    /// The vector that holds everything deleted, or the position delete files.
    stored: BTreeSet<String>,
    /// Rows deleted by the transaction.
    deleted: u64,
}

fn modelled(file: &LiveFile) -> BTreeSet<String> {
    let vector = file.deletes.deletion_vector.iter().map(|v| match &v.storage {
        DeletionVectorStorage::File { path, .. } => format!("{path}:{}", v.cardinality),
        DeletionVectorStorage::Inline(_) => unreachable!(),
    });
    vector.chain(file.deletes.positions.iter().map(|p| p.path.clone())).collect()
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % n
    }
}

struct Run {
    deletes: Deletes,
    random: Random,
    next_number: i64,
    model: BTreeMap<String, Modelled>,
    written: BTreeSet<String>,
}

impl Run {
    fn fresh(&mut self, what: &str) -> String {
        self.next_number += 1;
        let path = format!("{what}{}", self.next_number);
        self.written.insert(path.clone());
        path
    }

    /// A statement: files removed, marked and added, each with some luck. Changes the model too.
    fn statement(&mut self, files: &BTreeMap<String, Arc<LiveFile>>) -> TableChange {
        let operations =
            [Operation::Update, Operation::Delete, Operation::Merge, Operation::Append, Operation::Overwrite];
        let operation = operations[self.random.below(5) as usize];
        let mut change = TableChange::new(operation, Vec::new());
        let shared = self.fresh("vectors");
        for (path, file) in files {
            match self.random.below(6) {
                0 => {
                    change.removed.push(file.clone());
                    self.model.remove(path);
                }
                1 | 2 if path.starts_with("base") => change.deletes.push(self.mark(path, file, &shared)),
                _ => {}
            }
        }
        for _ in 0..self.random.below(3) {
            let path = self.fresh("new");
            let spec = &specs()[self.random.below(2) as usize];
            change.added.push(new_file(&path, spec));
            self.model.insert(path, Modelled::default());
        }
        if !change.deletes.iter().any(|d| d.stored.path() == shared) {
            self.written.remove(&shared);
        }
        change
    }

    fn mark(&mut self, path: &str, file: &Arc<LiveFile>, shared: &str) -> NewRowDeletes {
        let newly_deleted = 1 + self.random.below(3);
        let positions = self.fresh("positions");
        let model = self.model.get_mut(path).unwrap();
        model.deleted += newly_deleted;
        let had = u64::from(matches!(path, "base102" | "base105"));
        let stored = match self.deletes {
            Deletes::Positions => {
                model.stored.insert(positions.clone());
                StoredDeletes::Positions { path: positions, size_bytes: 9 }
            }
            _ => {
                self.written.remove(&positions);
                let vector = vector(shared, had + model.deleted);
                model.stored = BTreeSet::from([format!("{shared}:{}", vector.cardinality)]);
                StoredDeletes::Vector { vector, file_bytes: 99 }
            }
        };
        NewRowDeletes { file: file.clone(), stored, newly_deleted }
    }
}

fn guard() -> WrittenFiles {
    WrittenFiles::new(Storage::with_options(StorageOptions::default()))
}

/// The statistics of a file are its own.
fn assert_own_statistics(file: &LiveFile) {
    let (n, stats, row) = (number(file.path()), &file.list.stats, file.row);
    let value = |array: &ArrayRef| ScalarValue::try_from_array(array, row).unwrap();
    assert_eq!(stats.row_counts.value(row), n as u64);
    let bounds = &stats.columns[&1];
    assert_eq!(value(&bounds.lower), ScalarValue::Int64(Some(n)));
    assert_eq!(value(&bounds.upper), ScalarValue::Int64(Some(n)));
    assert_eq!(bounds.null_count.value(row), n as u64);
    if let Some(counts) = &bounds.nan_count {
        assert_eq!(counts.value(row), n as u64);
    }
    for (partition, value) in stats.partitions.iter().zip(file.partition().unwrap()) {
        assert_eq!(value, ScalarValue::Int64(Some(n)));
        assert_eq!(partition.upper.len(), stats.len);
        let may_be_null = file.path().starts_with("base") && n % 2 == 0;
        assert_eq!(partition.may_contain_null[row], may_be_null, "{}", file.path());
    }
}

/// The change against the version it starts from: nothing of the statements in between is left in it.
fn assert_change(run: &Run, pending: &PendingChange, original: &BTreeMap<String, Arc<LiveFile>>) {
    let change = pending.change();
    let of_base = |file: &LiveFile| {
        let own = &original[file.path()];
        assert_eq!(modelled(file), modelled(own), "{} with the deletes it had", file.path());
        assert_eq!(
            file.deletes.deletion_vector,
            file.file().unwrap().deletion_vector.clone().or(own.deletes.deletion_vector.clone())
        );
    };
    change.touched().for_each(|file| of_base(file));
    let mut files: BTreeMap<String, u64> = original.keys().map(|path| (path.clone(), 0)).collect();
    for file in &change.removed {
        assert!(files.remove(file.path()).is_some(), "{} is removed twice", file.path());
    }
    for deletes in &change.deletes {
        *files.get_mut(deletes.file.path()).expect("a marked file stays") += deletes.newly_deleted;
    }
    files.extend(change.added.iter().map(|file| (file.path.clone(), 0)));
    let expected: BTreeMap<String, u64> =
        run.model.iter().map(|(path, file)| (path.clone(), file.deleted)).collect();
    assert_eq!(files, expected);

    let used: BTreeSet<String> = change.written_paths().into_iter().collect();
    let obsolete: BTreeSet<String> = pending.obsolete().map(str::to_string).collect();
    assert!(used.is_disjoint(&obsolete));
    assert_eq!(used.union(&obsolete).cloned().collect::<BTreeSet<_>>(), run.written);
}

async fn assert_snapshot(run: &Run, pending: &PendingChange) -> BTreeMap<String, Arc<LiveFile>> {
    let snapshot = pending.snapshot();
    let files = live(&snapshot).await;
    let found: BTreeMap<String, BTreeSet<String>> =
        files.iter().map(|(path, file)| (path.clone(), modelled(file))).collect();
    let expected: BTreeMap<String, BTreeSet<String>> =
        run.model.iter().map(|(path, file)| (path.clone(), file.stored.clone())).collect();
    assert_eq!(found, expected);
    for (path, file) in &files {
        assert_own_statistics(file);
        assert_eq!(snapshot.files.is_uncommitted(path), path.starts_with("new"));
        assert_eq!(file.file().unwrap().record_count, Some(number(path) as u64));
    }
    assert_eq!(snapshot.version, TableVersion::Unpublished);
    assert_eq!(snapshot.state.downcast_ref::<i32>(), Some(&42));
    files
}

#[tokio::test]
async fn random_transactions_leave_what_the_model_says() {
    for seed in 0..150 {
        for deletes in ALL {
            let base = base(deletes);
            let original = live(&base).await;
            let model = original
                .iter()
                .map(|(path, file)| (path.clone(), Modelled { stored: modelled(file), deleted: 0 }));
            let mut run = Run {
                deletes,
                random: Random(seed),
                next_number: 1000,
                model: model.collect(),
                written: BTreeSet::new(),
            };
            let first = run.statement(&original);
            let id = first.commit_id().unwrap().to_string();
            let mut pending = PendingChange::new(base, first, guard());
            for _ in 0..6 {
                assert_change(&run, &pending, &original);
                let files = assert_snapshot(&run, &pending).await;
                let next = run.statement(&files);
                pending.compose(next, guard()).unwrap();
            }
            assert_change(&run, &pending, &original);
            assert_snapshot(&run, &pending).await;
            assert_eq!(pending.change().commit_id(), Some(id.as_str()));
        }
    }
}

fn change(operation: Operation) -> TableChange {
    TableChange::new(operation, Vec::new())
}

#[tokio::test]
async fn the_operation_tells_what_is_left() {
    let base = base(Deletes::Apart);
    let files = live(&base).await;
    let removing = |operation| TableChange { removed: vec![files["base101"].clone()], ..change(operation) };
    let adding = |operation, path: &str| TableChange::new(operation, vec![new_file(path, &specs()[0])]);
    let composed = |first: TableChange, next: TableChange| {
        let mut pending = PendingChange::new(base.clone(), first, guard());
        pending.compose(next, guard()).unwrap();
        pending.change().operation
    };
    use Operation::*;
    assert_eq!(composed(adding(Append, "new1"), adding(Append, "new2")), Append);
    assert_eq!(composed(removing(Update), adding(Update, "new1")), Update);
    assert_eq!(composed(adding(Append, "new1"), removing(Delete)), Merge);
    assert_eq!(composed(removing(Delete), adding(Append, "new1")), Merge);
    assert_eq!(composed(removing(Update), change(Delete)), Delete);
    assert_eq!(composed(adding(Append, "new1"), change(Delete)), Append);
    assert_eq!(composed(adding(Create, "new1"), change(Delete)), Create);
}

#[tokio::test]
async fn a_table_to_be_is_created_whatever_is_done_to_it_first() {
    let mut staged = Arc::into_inner(base(Deletes::InEntries)).unwrap();
    staged.version = TableVersion::Unpublished;
    let pending = PendingChange::new(Arc::new(staged), change(Operation::Merge), guard());
    assert_eq!(pending.change().operation, Operation::Create);
}

#[tokio::test]
async fn a_file_that_is_not_committed_cannot_be_marked() {
    for deletes in ALL {
        let first = TableChange::new(Operation::Append, vec![new_file("new1", &specs()[0])]);
        let mut pending = PendingChange::new(base(deletes), first, guard());
        let file = live(&pending.snapshot()).await["new1"].clone();
        let stored = StoredDeletes::Positions { path: "p1".into(), size_bytes: 1 };
        let mark = NewRowDeletes { file, stored, newly_deleted: 1 };
        let next = TableChange { deletes: vec![mark], ..change(Operation::Delete) };
        assert!(matches!(pending.compose(next, guard()), Err(crate::Error::Internal(_))));
        assert_eq!(pending.change().added.len(), 1);
        assert!(pending.change().deletes.is_empty());
    }
}

#[tokio::test]
async fn equality_deletes_of_the_version_do_not_reach_new_files() {
    use crate::table::deletes::EqualityDeleteFile;
    let base = base(Deletes::Apart);
    let equality = EqualityDeleteFile {
        path: "e1".into(),
        size_bytes: 1,
        record_count: 1,
        sequence_number: 50,
        field_ids: vec![1],
    };
    let index = DeleteIndex { equality_global: vec![Arc::new(equality)], ..Default::default() };
    let mut lists = Vec::new();
    for number in 0..3 {
        lists.push(base.files.file_list(number).await.unwrap());
    }
    let mut base = Arc::into_inner(base).unwrap();
    base.files = Arc::new(Fixed { lists, deletes: Arc::new(index) });
    let first = TableChange::new(Operation::Append, vec![new_file("new1", &specs()[0])]);
    let files = live(&PendingChange::new(Arc::new(base), first, guard()).snapshot()).await;
    assert_eq!(files["base101"].deletes.equality.len(), 1);
    assert!(files["new1"].deletes.equality.is_empty());
}

fn reading(read: ReadSet) -> TableChange {
    TableChange { read, ..change(Operation::Update) }
}

fn union(reads: Vec<ReadSet>) -> ReadSet {
    let mut reads = reads.into_iter();
    let mut pending = PendingChange::new(base(Deletes::Apart), reading(reads.next().unwrap()), guard());
    reads.for_each(|read| pending.compose(reading(read), guard()).unwrap());
    pending.change().read.clone()
}

#[test]
fn reads_are_united() {
    let a = || col("a").eq(lit(1_i64));
    let b = || col("a").eq(lit(2_i64));
    let filters = |filters: Vec<Expr>| ReadSet::Filters(filters);
    let partition = |n: i64| (1, vec![ScalarValue::Int64(Some(n))]);
    assert_eq!(union(vec![ReadSet::Nothing, ReadSet::Nothing]), ReadSet::Nothing);
    assert_eq!(union(vec![filters(vec![a()]), ReadSet::Nothing]), filters(vec![a()]));
    assert_eq!(union(vec![ReadSet::Nothing, filters(vec![a(), b()])]), filters(vec![a(), b()]));
    assert_eq!(union(vec![filters(vec![a()]), filters(vec![b()])]), filters(vec![a().or(b())]));
    assert_eq!(union(vec![filters(vec![a()]), filters(vec![a()])]), filters(vec![a()]));
    assert_eq!(union(vec![filters(vec![a(), b()]), filters(vec![b()])]), filters(vec![a().and(b()).or(b())]));
    assert_eq!(union(vec![filters(vec![a()]), filters(vec![])]), filters(vec![]));
    let one_or_two = ReadSet::Partitions(vec![partition(1), partition(2)]);
    let both = vec![ReadSet::Partitions(vec![partition(1)]), one_or_two.clone()];
    assert_eq!(union(both), one_or_two);
    assert_eq!(union(vec![one_or_two, filters(vec![a()])]), filters(vec![]));
}

#[test]
fn many_reads_stay_flat_and_then_are_everything() {
    let reads = |n: i64| (0..n).map(|i| ReadSet::Filters(vec![col("a").eq(lit(i))])).collect::<Vec<_>>();
    fn depth(expr: &Expr) -> usize {
        match expr {
            Expr::BinaryExpr(e) if e.op == datafusion::logical_expr::Operator::Or => {
                1 + depth(&e.left).max(depth(&e.right))
            }
            _ => 0,
        }
    }
    let ReadSet::Filters(filters) = union(reads(64)) else { panic!("filters") };
    assert!(depth(&filters[0]) <= 6 && filters.len() == 1);
    assert_eq!(union(reads(65)), ReadSet::Filters(vec![]));
}

#[test]
fn isolation_counts_and_records_are_those_of_all() {
    let with = |isolation, inserted, mode: &str, who: &str| {
        let mut change = change(Operation::Update);
        change.isolation = isolation;
        change.read = ReadSet::Filters(vec![]);
        change.rows.inserted = inserted;
        change.rows.copied = 1;
        change.parameters = BTreeMap::from([("mode".into(), mode.into()), ("same".into(), "x".into())]);
        change.summary.insert("who".into(), who.into());
        change
    };
    let first = with(Isolation::Snapshot, 3, "m", "a");
    let id = first.summary[COMMIT_ID].clone();
    let mut pending = PendingChange::new(base(Deletes::Apart), first, guard());
    pending.compose(with(Isolation::Snapshot, 4, "n", "b"), guard()).unwrap();
    let change = pending.change();
    assert_eq!((change.isolation, change.rows.inserted, change.rows.copied), (Isolation::Snapshot, 7, 2));
    assert_eq!(change.parameters, BTreeMap::from([("same".into(), "x".into())]));
    assert_eq!((&change.summary[COMMIT_ID], change.summary["who"].as_str()), (&id, "b"));
    // An INSERT conflicts with nothing.
    pending.compose(TableChange::new(Operation::Append, vec![]), guard()).unwrap();
    assert_eq!(pending.change().isolation, Isolation::Snapshot);
    pending.compose(with(Isolation::Serializable, 0, "n", "b"), guard()).unwrap();
    assert_eq!(pending.change().isolation, Isolation::Serializable);
}

/// Only files of the version are deleted with their transaction, and none before the last clone goes.
#[tokio::test]
async fn files_go_with_the_last_clone() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let written = |name: &str| {
        std::fs::write(path(name), "x").unwrap();
        let guard = guard();
        guard.add(format!("file://{}", path(name).display()));
        guard
    };
    let mut pending = PendingChange::new(base(Deletes::Apart), change(Operation::Append), written("a"));
    let savepoint = pending.clone();
    pending.compose(change(Operation::Append), written("b")).unwrap();
    drop(pending);
    while path("b").exists() {
        tokio::task::yield_now().await;
    }
    assert!(path("a").exists());
    drop(savepoint);
    while path("a").exists() {
        tokio::task::yield_now().await;
    }
}
