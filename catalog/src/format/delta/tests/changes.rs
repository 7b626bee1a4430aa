//! Files removed and marked: what the log says, what the kernel reads back, what is refused.

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::Schema;
use parquet::arrow::ArrowWriter;
use roaring::RoaringTreemap;

use super::*;
use crate::format::RowLevelMode;
use crate::table::deletes::{FileDeletes, StoredDeletes};
use crate::table::{CheckConstraint, Isolation, LiveFile, ReadSet, RowCounts};

/// Statistics that a JSON number type could not hold.
const STATS: &str = r#"{"numRecords":10,"minValues":{"id":0,"d":0.12345678901234567890123},"maxValues":{"id":9},"nullCount":{"id":0}}"#;

impl Bench {
    /// A table laid out by hand: column `id`, partitioned by `p`, one file of ids 0 to 9.
    fn lay_out(&self, protocol: Value, configuration: Value) {
        let size = self.parquet("p=a b/x y.parquet", 10);
        let mut file = add("p=a%20b/x%20y.parquet", json!({"p": "a b"}), Value::Null);
        file["add"]["stats"] = STATS.into();
        file["add"]["tags"] = json!({"ZCUBE": "1", "none": null});
        file["add"]["size"] = size.into();
        let columns = json!([column("id", "long"), column("p", "string")]);
        self.write(0, &[protocol, metadata(columns, &["p"], configuration), file]);
    }

    /// Returns the file's size.
    fn parquet(&self, name: &str, rows: i64) -> u64 {
        let path = self.dir.path().join("t").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
        let ids = Arc::new(Int64Array::from_iter_values(0..rows));
        let batch = RecordBatch::try_new(schema.clone(), vec![ids]).unwrap();
        let mut writer = ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), schema, None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        std::fs::metadata(path).unwrap().len()
    }

    async fn commit(&self, change: &TableChange) -> Result<CommitOutcome> {
        let base = self.load().await?;
        self.commit_on(&base, change).await
    }

    async fn commit_on(&self, base: &TableSnapshot, change: &TableChange) -> Result<CommitOutcome> {
        let ident = TableIdent::new("public", "t");
        self.format.commit(&self.storage, &OneCatalog::default(), &ident, base, change).await
    }

    /// The file whose path ends so.
    async fn live(&self, suffix: &str) -> Arc<LiveFile> {
        let list = self.files().await;
        let row = list.files.iter().position(|f| f.path.ends_with(suffix)).unwrap();
        let deletion_vector = list.files[row].deletion_vector.clone();
        Arc::new(LiveFile { deletes: FileDeletes { deletion_vector, ..Default::default() }, list, row })
    }

    /// Marks rows of one file, on top of what is marked.
    async fn marks(&self, suffix: &str, positions: &[u64]) -> Result<TableChange> {
        let file = self.live(suffix).await;
        let before = match &file.deletes.deletion_vector {
            Some(vector) => Some(Arc::new(deletion_vector::load(&self.storage, vector).await?)),
            None => None,
        };
        let deleted: RoaringTreemap = positions.iter().copied().collect();
        let written = WrittenFiles::new(self.storage.clone());
        let deletes = vec![RowDeletes { file, deleted, deleted_before: before }];
        let base = self.load().await?;
        let deletes = self.format.write_deletes(&base, deletes, &written).await?;
        written.keep();
        let rows = RowCounts { deleted: positions.len() as u64, ..Default::default() };
        let read = ReadSet::Filters(Vec::new());
        Ok(TableChange { deletes, rows, read, ..TableChange::new(Operation::Delete, vec![]) })
    }

    fn removes(files: Vec<Arc<LiveFile>>, operation: Operation) -> TableChange {
        let read = ReadSet::Filters(Vec::new());
        TableChange { removed: files, read, ..TableChange::new(operation, vec![]) }
    }
}

fn committed(outcome: Result<CommitOutcome>) -> u64 {
    match outcome.unwrap() {
        CommitOutcome::Committed(TableVersion::Delta { version }) => version,
        other => panic!("{other:?}"),
    }
}

fn conflict(outcome: Result<CommitOutcome>) -> String {
    match outcome.unwrap() {
        CommitOutcome::Conflict { winner } => winner,
        other => panic!("{other:?}"),
    }
}

/// The one action of a kind in a commit.
fn only(actions: &[Value], kind: &str) -> Value {
    let mut found = actions.iter().filter_map(|action| action.get(kind));
    let first = found.next().unwrap_or_else(|| panic!("no {kind} in {actions:?}")).clone();
    assert!(found.next().is_none(), "more than one {kind}");
    first
}

/// Deleted positions of each live file as the kernel reads them: another decoder than ours.
async fn kernel_deletes(bench: &Bench) -> Vec<(String, Option<Vec<u64>>)> {
    let fresh = DeltaFormat::default();
    let ident = TableIdent::new("public", "t");
    let entry =
        TableEntry { ident, format: TableFormat::Delta, pointer: bench.root(), external: false, oid: 1 };
    let snapshot = fresh.load(&bench.storage, &entry).await.unwrap();
    let kernel = snapshot::state(&snapshot).unwrap().kernel.clone().unwrap();
    engine::blocking(&bench.storage, &snapshot.location, move |engine| {
        let root = kernel.table_root().clone();
        let scan = kernel.scan_builder().build().unwrap();
        let mut files: Vec<delta_kernel::scan::state::ScanFile> = Vec::new();
        for batch in scan.scan_metadata(engine).unwrap() {
            files = batch.unwrap().visit_scan_files(files, |files, file| files.push(file)).unwrap();
        }
        Ok(files
            .into_iter()
            .map(|file| (file.path, file.dv_info.get_row_indexes(engine, &root).unwrap()))
            .collect())
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_rows_again_and_removes_the_file() {
    let bench = Bench::new();
    bench.lay_out(protocol(&[], &[]), json!({"delta.enableDeletionVectors": "true"}));
    let path = "p=a%20b/x%20y.parquet";

    let change = bench.marks("x y.parquet", &[1, 3]).await.unwrap();
    assert_eq!(committed(bench.commit(&change).await), 1);
    let first = actions(&bench, 1);
    assert!(first[0].get("commitInfo").is_some());
    assert_eq!(
        only(&first, "protocol"),
        json!({"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["deletionVectors"],
            "writerFeatures": ["appendOnly", "deletionVectors", "invariants"]})
    );
    let (removed, added) = (only(&first, "remove"), only(&first, "add"));
    assert_eq!(removed["path"], path);
    assert!(removed.get("deletionVector").is_none());
    for file in [&removed, &added] {
        assert_eq!(file["path"], path);
        assert_eq!(file["partitionValues"], json!({"p": "a b"}));
        assert_eq!(file["size"], actions(&bench, 0)[2]["add"]["size"]);
        assert_eq!(file["tags"], json!({"ZCUBE": "1", "none": null}));
        assert_eq!(file["dataChange"], true);
    }
    assert_eq!(removed["extendedFileMetadata"], true);
    assert!(removed["deletionTimestamp"].as_i64().unwrap() > 1_600_000_000_000);
    assert_eq!(added["modificationTime"], 1);
    assert_eq!(
        added["stats"],
        r#"{"numRecords":10,"minValues":{"id":0,"d":0.12345678901234567890123},"maxValues":{"id":9},"nullCount":{"id":0},"tightBounds":false}"#
    );
    let vector = added["deletionVector"].clone();
    assert_eq!((&vector["storageType"], &vector["cardinality"]), (&json!("u"), &json!(2)));
    assert_eq!(kernel_deletes(&bench).await, [(path.to_string(), Some(vec![1, 3]))]);

    let change = bench.marks("x y.parquet", &[0, 9]).await.unwrap();
    assert_eq!(committed(bench.commit(&change).await), 2);
    let second = actions(&bench, 2);
    assert!(second.iter().all(|action| action.get("protocol").is_none()), "raised once");
    assert_eq!(only(&second, "remove")["deletionVector"], vector, "the file as it was");
    let metrics = &only(&second, "commitInfo")["operationMetrics"];
    assert_eq!(metrics["numDeletedRows"], "2");
    assert_eq!(metrics["numDeletionVectorsUpdated"], "1");
    assert_eq!(metrics["numRemovedFiles"], "0");
    let vector = only(&second, "add")["deletionVector"].clone();
    assert_eq!(kernel_deletes(&bench).await, [(path.to_string(), Some(vec![0, 1, 3, 9]))]);
    let list = bench.files().await;
    assert_eq!(list.files[0].record_count, Some(10));
    assert_eq!(list.stats.columns[&1].upper.as_primitive::<Int64Type>().value(0), 9);

    let change = Bench::removes(vec![bench.live("x y.parquet").await], Operation::Delete);
    assert_eq!(committed(bench.commit(&change).await), 3);
    let third = actions(&bench, 3);
    assert_eq!(third.len(), 2, "{third:?}");
    assert_eq!(only(&third, "remove")["deletionVector"], vector);
    assert!(bench.files().await.files.is_empty());
    assert!(kernel_deletes(&bench).await.is_empty());
}

/// Delta protocol, "Deletion Vector File Storage Format".
#[tokio::test(flavor = "multi_thread")]
async fn vectors_of_one_change_share_a_file() {
    let bench = Bench::new();
    create(&bench, &[("delta.enableDeletionVectors", "true")]).await;
    let base = bench.load().await.unwrap();
    committed(append(&bench, &base, "second").await);
    let base = bench.load().await.unwrap();
    let deleted = |positions: &[u64]| positions.iter().copied().collect::<RoaringTreemap>();
    let deletes = vec![
        RowDeletes { file: bench.live("first.parquet").await, deleted: deleted(&[2]), deleted_before: None },
        RowDeletes {
            file: bench.live("second.parquet").await,
            deleted: deleted(&[0, 1, 2, 4]),
            deleted_before: None,
        },
    ];
    let written = WrittenFiles::new(bench.storage.clone());
    let stored = bench.format.write_deletes(&base, deletes, &written).await.unwrap();
    written.keep();
    let change = TableChange { deletes: stored, ..TableChange::new(Operation::Merge, vec![]) };
    let [path] = &change.written_paths()[..] else { panic!("{:?}", change.written_paths()) };
    let bytes = std::fs::read(path.strip_prefix("file://").unwrap()).unwrap();
    let StoredDeletes::Vector { file_bytes, .. } = &change.deletes[0].stored else { panic!() };
    assert_eq!(*file_bytes, bytes.len() as u64);
    committed(bench.commit(&change).await);

    let actions = actions(&bench, 2);
    assert_eq!(bytes[0], 1);
    let mut end = 1;
    let adds: Vec<_> = actions.iter().filter_map(|action| action.get("add")).collect();
    for (add, expected) in adds.iter().zip([vec![2], vec![0, 1, 2, 4]]) {
        let vector = &add["deletionVector"];
        let (offset, size) =
            (vector["offset"].as_u64().unwrap() as usize, vector["sizeInBytes"].as_u64().unwrap() as usize);
        assert_eq!(offset, end);
        assert_eq!(u32::from_be_bytes(bytes[offset..][..4].try_into().unwrap()) as usize, size);
        let data = &bytes[offset + 4..][..size];
        assert_eq!(data[..4], 1_681_511_377u32.to_le_bytes());
        assert_eq!(bytes[offset + 4 + size..][..4], crc32fast::hash(data).to_be_bytes());
        assert_eq!(vector["cardinality"].as_u64().unwrap() as usize, expected.len());
        end = offset + 8 + size;
    }
    assert_eq!(end, bytes.len());
    let uuid = Path::new(path).file_stem().unwrap().to_str().unwrap();
    let uuid = uuid::Uuid::parse_str(uuid.strip_prefix("deletion_vector_").unwrap()).unwrap();
    assert_eq!(adds[0]["deletionVector"]["pathOrInlineDv"], encode_z85(uuid.as_bytes()));
    let mut deletes = kernel_deletes(&bench).await;
    deletes.sort();
    assert_eq!(
        deletes.iter().map(|(_, d)| d.clone().unwrap()).collect::<Vec<_>>(),
        [vec![2], vec![0, 1, 2, 4]]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_touched_file_that_is_no_longer_so_is_a_conflict() {
    let bench = Bench::new();
    bench.lay_out(protocol(&[], &[]), json!({"delta.enableDeletionVectors": "true"}));
    let late_mark = bench.marks("x y.parquet", &[5]).await.unwrap();
    let late_remove = Bench::removes(vec![bench.live("x y.parquet").await], Operation::Delete);
    let base = bench.load().await.unwrap();
    committed(bench.commit(&bench.marks("x y.parquet", &[1]).await.unwrap()).await);
    assert!(conflict(bench.commit(&late_mark).await).contains("x y.parquet"));
    assert!(conflict(bench.commit(&late_remove).await).contains("x y.parquet"));
    assert!(conflict(bench.commit_on(&base, &late_mark).await).contains("version 1 (DELETE by Auric/"));
    assert_eq!(actions(&bench, 1).len(), 4);
    assert!(!bench.log().join("00000000000000000002.json").exists());

    // A version more does no harm where the file is as it was.
    let mark = bench.marks("x y.parquet", &[2]).await.unwrap();
    bench.write(2, &[add("other.parquet", json!({"p": "b"}), Value::Null)]);
    assert_eq!(committed(bench.commit(&mark).await), 3);
    committed(bench.commit(&Bench::removes(vec![bench.live("x y.parquet").await], Operation::Delete)).await);
    assert!(conflict(bench.commit(&mark).await).contains("was removed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_unknown_length_is_counted() {
    let bench = Bench::new();
    let features = &["deletionVectors"];
    let columns = json!([column("id", "long")]);
    let size = bench.parquet("bare.parquet", 4);
    let configuration = json!({"delta.enableDeletionVectors": "true"});
    let mut bare = add("bare.parquet", json!({}), Value::Null);
    bare["add"]["size"] = size.into();
    bench.write(0, &[protocol(features, features), metadata(columns, &[], configuration), bare]);
    committed(bench.commit(&bench.marks("bare.parquet", &[3]).await.unwrap()).await);
    let added = only(&actions(&bench, 1), "add");
    assert_eq!(added["stats"], r#"{"numRecords":4,"tightBounds":false}"#);
    assert_eq!(bench.files().await.files[0].record_count, Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_survive_a_checkpoint_that_has_only_columns() {
    let bench = Bench::new();
    bench.lay_out(
        protocol(&["deletionVectors"], &["deletionVectors"]),
        json!({"delta.enableDeletionVectors": "true", "delta.checkpointInterval": "1",
            "delta.checkpoint.writeStatsAsStruct": "true", "delta.checkpoint.writeStatsAsJson": "false"}),
    );
    committed(bench.commit(&bench.marks("x y.parquet", &[3]).await.unwrap()).await);
    assert!(bench.log().join("00000000000000000001.checkpoint.parquet").exists());
    let fresh = Bench { format: DeltaFormat::default(), ..bench };
    committed(fresh.commit(&fresh.marks("x y.parquet", &[4]).await.unwrap()).await);
    let stats = only(&actions(&fresh, 2), "add")["stats"].as_str().unwrap().to_string();
    let stats: Value = serde_json::from_str(&stats).unwrap();
    assert_eq!((&stats["maxValues"]["id"], &stats["tightBounds"]), (&json!(9), &json!(false)));
    assert_eq!(stats["numRecords"], 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_ids_stay_with_marked_files() {
    let bench = Bench::new();
    create(&bench, &[("delta.enableRowTracking", "true"), ("delta.enableDeletionVectors", "true")]).await;
    let base = bench.load().await.unwrap();
    committed(append(&bench, &base, "second").await);
    let mut change = bench.marks("second.parquet", &[1]).await.unwrap();
    change.added = vec![new_file(&base, "third", 2)];
    change.operation = Operation::Merge;
    change.rows.updated = 1;
    committed(bench.commit(&change).await);
    let actions = actions(&bench, 2);
    let removed = only(&actions, "remove");
    assert_eq!((&removed["baseRowId"], &removed["defaultRowCommitVersion"]), (&json!(3), &json!(1)));
    let ids = |suffix: &str| {
        let mut adds = actions.iter().filter_map(|action| action.get("add"));
        let add = adds.find(|add| add["path"].as_str().unwrap().ends_with(suffix)).unwrap();
        (add["baseRowId"].as_i64().unwrap(), add["defaultRowCommitVersion"].as_i64().unwrap())
    };
    assert_eq!((ids("second.parquet"), ids("third.parquet")), ((3, 1), (8, 2)));
    assert_eq!(only(&actions, "domainMetadata")["configuration"], r#"{"rowIdHighWaterMark":9}"#);
    let base = bench.load().await.unwrap();
    assert!(base.row_lineage.is_some());
    assert_eq!(bench.format.row_level_mode(&base, Operation::Update).unwrap(), RowLevelMode::MergeOnRead);
    assert_eq!(bench.format.row_level_mode(&base, Operation::Delete).unwrap(), RowLevelMode::MergeOnRead);
}

#[tokio::test(flavor = "multi_thread")]
async fn protocols_are_raised_with_all_that_they_had() {
    for (reader, writer, expected_reader, expected_writer) in [
        (1, 1, vec!["deletionVectors"], vec!["deletionVectors"]),
        (
            1,
            4,
            vec!["deletionVectors"],
            vec![
                "appendOnly",
                "changeDataFeed",
                "checkConstraints",
                "deletionVectors",
                "generatedColumns",
                "invariants",
            ],
        ),
        (
            2,
            5,
            vec!["columnMapping", "deletionVectors"],
            vec![
                "appendOnly",
                "changeDataFeed",
                "checkConstraints",
                "columnMapping",
                "deletionVectors",
                "generatedColumns",
                "invariants",
            ],
        ),
    ] {
        let bench = Bench::new();
        let protocol = json!({"protocol": {"minReaderVersion": reader, "minWriterVersion": writer}});
        bench.lay_out(protocol, json!({"delta.enableDeletionVectors": "true"}));
        committed(bench.commit(&bench.marks("x y.parquet", &[0]).await.unwrap()).await);
        let raised = only(&actions(&bench, 1), "protocol");
        assert_eq!(raised["readerFeatures"], json!(expected_reader));
        assert_eq!(raised["writerFeatures"], json!(expected_writer));
        assert_eq!(kernel_deletes(&bench).await[0].1, Some(vec![0]));
    }
    let listed = action::Protocol {
        min_reader_version: 1,
        min_writer_version: 7,
        reader_features: None,
        writer_features: Some(vec!["appendOnly".into()]),
    };
    let raised = properties::with_feature(&listed, "deletionVectors").unwrap();
    assert_eq!(raised.min_reader_version, 3);
    assert_eq!(raised.writer_features.as_deref().unwrap(), ["appendOnly", "deletionVectors"]);
    assert_eq!(properties::with_feature(&raised, "deletionVectors"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_changes_that_the_table_forbids() {
    let remove = |file: &Arc<LiveFile>, operation| Bench::removes(vec![file.clone()], operation);
    let only_appends = Bench::new();
    only_appends.lay_out(protocol(&[], &[]), json!({"delta.appendOnly": "true"}));
    let file = only_appends.live("x y.parquet").await;
    let refused = only_appends.commit(&remove(&file, Operation::Delete)).await.unwrap_err();
    assert!(refused.to_string().contains("append-only"), "{refused}");
    let base = only_appends.load().await.unwrap();
    for operation in [Operation::Delete, Operation::Truncate, Operation::Overwrite, Operation::Update] {
        assert!(matches!(only_appends.format.check_writable(&base, operation), Err(Error::Invalid(_))));
    }
    only_appends.format.check_writable(&base, Operation::Append).unwrap();

    let feed = Bench::new();
    feed.lay_out(
        protocol(&["deletionVectors"], &["changeDataFeed", "deletionVectors"]),
        json!({"delta.enableChangeDataFeed": "true", "delta.enableDeletionVectors": "true"}),
    );
    let marks = feed.marks("x y.parquet", &[1]).await.unwrap();
    let refused = feed.commit(&marks).await.unwrap_err();
    assert!(refused.to_string().contains("0 images of 1 changed rows"), "{refused}");
    let mut rewrite = remove(&feed.live("x y.parquet").await, Operation::Delete);
    rewrite.rows.copied = 9;
    assert!(feed.commit(&rewrite).await.unwrap_err().to_string().contains("change data feed"));
    committed(feed.commit(&remove(&feed.live("x y.parquet").await, Operation::Truncate)).await);

    let plain = Bench::new();
    plain.lay_out(protocol(&["deletionVectors"], &["deletionVectors"]), json!({}));
    let base = plain.load().await.unwrap();
    assert_eq!(plain.format.row_level_mode(&base, Operation::Delete).unwrap(), RowLevelMode::CopyOnWrite);
    assert!(matches!(plain.marks("x y.parquet", &[1]).await, Err(Error::Unsupported { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vector_that_would_bring_rows_back_is_not_written() {
    let bench = Bench::new();
    bench.lay_out(protocol(&[], &[]), json!({"delta.enableDeletionVectors": "true"}));
    committed(bench.commit(&bench.marks("x y.parquet", &[1]).await.unwrap()).await);
    let base = bench.load().await.unwrap();
    for (deleted, before) in [(vec![2], None), (vec![1], Some([1])), (vec![10], Some([1]))] {
        let deletes = vec![RowDeletes {
            file: bench.live("x y.parquet").await,
            deleted: deleted.into_iter().collect(),
            deleted_before: before.map(|b| Arc::new(b.into_iter().collect())),
        }];
        let written = WrittenFiles::new(bench.storage.clone());
        let refused = bench.format.write_deletes(&base, deletes, &written).await;
        assert!(matches!(refused, Err(Error::Internal(_))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn constraints_are_handed_on_and_written_under() {
    let bench = Bench::new();
    let invariant = |expression: &str| {
        let text = json!({"expression": {"expression": expression}}).to_string();
        json!({"delta.invariants": text})
    };
    let mut id = column("id", "long");
    id["metadata"] = invariant("id > 3");
    let mut inner = column("x", "long");
    inner["metadata"] = invariant("st.x < 9");
    let st = json!({"name": "st", "type": {"type": "struct", "fields": [inner]}, "nullable": true, "metadata": {}});
    let legacy = json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 3}});
    let configuration = json!({"delta.constraints.small": "id < 100"});
    bench.write(0, &[legacy, metadata(json!([id, st]), &[], configuration)]);
    let base = bench.load().await.unwrap();
    let constraint =
        |name: &str, expression: &str| CheckConstraint { name: name.into(), expression: expression.into() };
    assert_eq!(
        base.constraints,
        [constraint("small", "id < 100"), constraint("id", "id > 3"), constraint("st.x", "st.x < 9")]
    );
    bench.format.check_writable(&base, Operation::Append).unwrap();
    assert_eq!(committed(bench.commit(&TableChange::new(Operation::Append, vec![])).await), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn commit_info_speaks_as_spark_does() {
    let bench = Bench::new();
    create(&bench, &[("delta.isolationLevel", "SnapshotIsolation")]).await;
    let base = bench.load().await.unwrap();
    assert_eq!(bench.format.isolation(&base, Operation::Merge).unwrap(), Isolation::Snapshot);
    committed(append(&bench, &base, "second").await);
    let info = only(&actions(&bench, 1), "commitInfo");
    assert_eq!((&info["operation"], &info["isBlindAppend"]), (&json!("WRITE"), &json!(true)));
    assert_eq!(info["operationParameters"], json!({"mode": "Append", "partitionBy": r#"["region"]"#}));

    let mut merge = Bench::removes(vec![bench.live("second.parquet").await], Operation::Merge);
    merge.added = vec![new_file(&base, "third", 7)];
    merge.isolation = Isolation::Snapshot;
    merge.rows = RowCounts { inserted: 3, updated: 2, deleted: 1, copied: 2 };
    merge.parameters = BTreeMap::from([
        ("predicate".to_string(), "t.id = s.id".to_string()),
        ("matchedPredicates".to_string(), r#"[{"actionType":"update"}]"#.to_string()),
    ]);
    committed(bench.commit(&merge).await);
    let info = only(&actions(&bench, 2), "commitInfo");
    assert_eq!((&info["operation"], &info["isBlindAppend"]), (&json!("MERGE"), &json!(false)));
    assert_eq!((&info["readVersion"], &info["isolationLevel"]), (&json!(1), &json!("SnapshotIsolation")));
    assert_eq!(
        info["operationParameters"],
        json!({"predicate": r#"["t.id = s.id"]"#, "matchedPredicates": r#"[{"actionType":"update"}]"#})
    );
    for (name, value) in [
        ("numTargetRowsInserted", "3"),
        ("numTargetRowsUpdated", "2"),
        ("numTargetRowsDeleted", "1"),
        ("numTargetRowsCopied", "2"),
        ("numOutputRows", "7"),
        ("numTargetFilesAdded", "1"),
        ("numTargetFilesRemoved", "1"),
        ("numTargetBytesRemoved", "100"),
        ("numTargetDeletionVectorsAdded", "0"),
    ] {
        assert_eq!(info["operationMetrics"][name], value, "{name}");
    }

    let mut overwrite = Bench::removes(vec![bench.live("third.parquet").await], Operation::Overwrite);
    overwrite.added = vec![new_file(&base, "fourth", 4)];
    overwrite.parameters = BTreeMap::from([("predicate".to_string(), "region = 'x'".to_string())]);
    committed(bench.commit(&overwrite).await);
    let info = only(&actions(&bench, 3), "commitInfo");
    assert_eq!(
        info["operationParameters"],
        json!({"mode": "Overwrite", "partitionBy": r#"["region"]"#, "predicate": "region = 'x'"})
    );
    assert_eq!(info["operationMetrics"]["numRemovedFiles"], "1");

    let mut reading = TableChange::new(Operation::Append, vec![new_file(&base, "fifth", 4)]);
    reading.read = ReadSet::Filters(Vec::new());
    committed(bench.commit(&reading).await);
    assert_eq!(only(&actions(&bench, 4), "commitInfo")["isBlindAppend"], false);
}
