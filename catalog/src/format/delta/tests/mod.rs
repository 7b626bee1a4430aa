//! The format against logs laid out by hand from the protocol, and against itself.

mod advance;
mod changes;
mod versions;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use datafusion::execution::object_store::DefaultObjectStoreRegistry;
use datafusion::scalar::ScalarValue;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::backend::{NamespaceEntry, NewTableEntry, SwapOutcome};
use crate::table::data_file::{FileList, NewDataFile, WrittenColumn};
use crate::table::definition::{ColumnDefinition, PartitionFieldDefinition};
use crate::table::deletion_vector::{self, DeletionVectorStorage};
use crate::table::partition::Transform;
use crate::table::schema::{COMMENT, ColumnResolution, FIELD_ID, PHYSICAL_NAME};
use crate::table::{TableFormat, TableVersion};

struct Bench {
    dir: TempDir,
    storage: Storage,
    format: DeltaFormat,
}

impl Bench {
    fn new() -> Self {
        Self {
            dir: TempDir::new().unwrap(),
            storage: Storage::new(Arc::new(DefaultObjectStoreRegistry::new())),
            format: DeltaFormat::default(),
        }
    }

    fn root(&self) -> String {
        self.dir.path().join("t").to_str().unwrap().to_string()
    }

    fn log(&self) -> std::path::PathBuf {
        let log = self.dir.path().join("t").join(LOG_DIRECTORY);
        std::fs::create_dir_all(&log).unwrap();
        log
    }

    fn write(&self, version: u64, actions: &[Value]) {
        let text: String = actions.iter().map(|a| format!("{a}\n")).collect();
        std::fs::write(self.log().join(format!("{version:020}.json")), text).unwrap();
    }

    fn entry(&self) -> TableEntry {
        let ident = TableIdent::new("public", "t");
        TableEntry { ident, format: TableFormat::Delta, pointer: self.root(), external: false, oid: 1 }
    }

    async fn load(&self) -> Result<Arc<TableSnapshot>> {
        self.format.load(&self.storage, &self.entry()).await
    }

    async fn files(&self) -> Arc<FileList> {
        self.load().await.unwrap().files.file_list(0).await.unwrap()
    }

    async fn fails(&self) -> String {
        match self.load().await {
            Err(e) => e.to_string(),
            Ok(snapshot) => snapshot.files.file_list(0).await.unwrap_err().to_string(),
        }
    }
}

fn protocol(reader: &[&str], writer: &[&str]) -> Value {
    if writer.is_empty() {
        return json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}});
    }
    json!({"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": reader, "writerFeatures": writer}})
}

fn metadata(fields: Value, partition_by: &[&str], configuration: Value) -> Value {
    let schema = json!({"type": "struct", "fields": fields}).to_string();
    json!({"metaData": {
        "id": "5fba94ed-9794-4965-ba6e-6ee3c0d22af9", "format": {"provider": "parquet", "options": {}},
        "schemaString": schema, "partitionColumns": partition_by, "configuration": configuration, "createdTime": 1
    }})
}

fn column(name: &str, data_type: &str) -> Value {
    json!({"name": name, "type": data_type, "nullable": true, "metadata": {}})
}

fn add(path: &str, partition: Value, stats: Value) -> Value {
    let stats = if stats.is_null() { Value::Null } else { Value::from(stats.to_string()) };
    json!({"add": {"path": path, "partitionValues": partition, "size": 10, "modificationTime": 1,
        "dataChange": true, "stats": stats}})
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_partitions_statistics_and_paths() {
    let bench = Bench::new();
    let columns = json!([
        column("id", "long"),
        column("ts", "timestamp"),
        column("d", "decimal(20,2)"),
        column("f", "double"),
        column("s", "string"),
        column("p", "string"),
        column("day", "date")
    ]);
    let stats = json!({"numRecords": 3, "minValues": {"id": 1, "ts": "2020-01-01T01:02:03.456Z", "d": 1.5, "f": 0.0, "s": "a"},
        "maxValues": {"id": 9, "ts": "2020-01-01T01:02:03.456Z", "d": 1.5, "f": 2.0, "s": "z"},
        "nullCount": {"id": 0, "ts": 1, "s": 3}});
    bench.write(
        0,
        &[
            protocol(&[], &[]),
            metadata(columns, &["p", "day"], json!({"delta.appendOnly": "false"})),
            add("p=a%2520b/x%20y.parquet", json!({"p": "a b", "day": "2020-02-29"}), stats),
            add("bare.parquet", json!({"p": "", "day": null}), Value::Null),
            add(
                "file:///elsewhere/z.parquet",
                json!({"p": "q", "day": "1969-12-31"}),
                json!({"numRecords": 7}),
            ),
        ],
    );
    let snapshot = bench.load().await.unwrap();
    assert_eq!(snapshot.format_version, "reader 1, writer 2");
    assert_eq!(snapshot.version, TableVersion::Delta { version: 0 });
    assert_eq!(snapshot.schema.field_ids, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(
        snapshot.schema.arrow.field(1).data_type(),
        &DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
    );
    let list = bench.files().await;
    let row = |suffix: &str| list.files.iter().position(|f| f.path.ends_with(suffix)).unwrap();
    let (full, bare, far) = (row("p=a%20b/x y.parquet"), row("bare.parquet"), row("z.parquet"));
    assert_eq!(list.files[far].path, "file:///elsewhere/z.parquet");
    assert_eq!(list.files[full].path, format!("file://{}/p=a%20b/x y.parquet", bench.root()));
    assert_eq!([full, bare, far].map(|i| list.files[i].record_count), [Some(3), None, Some(7)]);
    let id = &list.stats.columns[&1];
    assert!(id.exact);
    assert_eq!(id.lower.as_primitive::<Int64Type>().value(full), 1);
    assert!(id.lower.is_null(bare) && id.upper.is_null(far));
    let ts = &list.stats.columns[&2];
    assert!(!ts.exact);
    let (low, high) = (
        ts.lower.as_primitive::<TimestampMicrosecondType>(),
        ts.upper.as_primitive::<TimestampMicrosecondType>(),
    );
    assert_eq!(high.value(full) - low.value(full), 999);
    assert!(!list.stats.columns[&3].exact, "more digits than a float holds");
    assert!(list.stats.columns[&4].nan_count.is_some());
    assert_eq!(list.stats.columns[&5].null_count.value(full), 3);
    let partitions = &list.stats.partitions;
    assert_eq!(partitions[0].lower.as_string_view().value(full), "a b");
    assert!(partitions[0].lower.is_null(bare) && partitions[0].may_contain_null[bare]);
    assert_eq!(partitions[1].lower.as_primitive::<arrow::datatypes::Date32Type>().value(far), -1);
    assert_eq!(list.spec().fields[1].name, "day");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_deletion_vectors_of_every_kind() {
    let bench = Bench::new();
    let deleted: roaring::RoaringTreemap = [0, 2, 4].into_iter().collect();
    let blob = deletion_vector::encode(&deleted).unwrap();
    let size = blob.len() - 8;
    let mut file = vec![1u8];
    file.extend(&blob);
    let uuid = uuid::Uuid::parse_str("d2c639aa-8816-431a-aaf6-d3fe2512ff61").unwrap();
    std::fs::create_dir_all(bench.log().parent().unwrap().join("ab")).unwrap();
    std::fs::write(bench.log().parent().unwrap().join(format!("ab/deletion_vector_{uuid}.bin")), &file)
        .unwrap();
    let mut inline = deletion_vector::encode_inline(&deleted).unwrap();
    inline.resize(inline.len().next_multiple_of(4), 0);
    let with_vector = |path: &str, vector: Value| {
        let mut action = add(
            path,
            json!({}),
            json!({"numRecords": 5, "tightBounds": false, "minValues": {"id": 1}, "maxValues": {"id": 5}, "nullCount": {"id": 1}}),
        );
        action["add"]["deletionVector"] = vector;
        action
    };
    let relative = format!("ab{}", encode_z85(uuid.as_bytes()));
    let absolute = format!("file://{}/ab/deletion_vector_{uuid}.bin", bench.root());
    bench.write(0, &[
        protocol(&["deletionVectors"], &["deletionVectors"]),
        metadata(json!([column("id", "integer")]), &[], json!({})),
        with_vector("u", json!({"storageType": "u", "pathOrInlineDv": relative, "offset": 1, "sizeInBytes": size, "cardinality": 3})),
        with_vector("p", json!({"storageType": "p", "pathOrInlineDv": absolute, "offset": 1, "sizeInBytes": size, "cardinality": 3})),
        with_vector("i", json!({"storageType": "i", "pathOrInlineDv": encode_z85(&inline), "sizeInBytes": size, "cardinality": 3})),
        with_vector("w", json!({"storageType": "u", "pathOrInlineDv": relative, "offset": 1, "sizeInBytes": size, "cardinality": 4})),
    ]);
    let list = bench.files().await;
    assert_eq!(list.files.len(), 4);
    for file in &list.files {
        let vector = file.deletion_vector.as_ref().unwrap();
        let loaded = deletion_vector::load(&bench.storage, vector).await;
        if file.path.ends_with("/w") {
            assert!(loaded.unwrap_err().to_string().contains("deletes 3 rows"));
        } else {
            assert_eq!(loaded.unwrap(), deleted, "{}", file.path);
        }
        assert_eq!(matches!(vector.storage, DeletionVectorStorage::Inline(_)), file.path.ends_with("/i"));
    }
    let id = &list.stats.columns[&1];
    assert!(id.exact, "the bounds are values of the file, deleted or not");
    assert!(id.null_count.is_null(0), "a wide null count says nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_column_mapping_at_every_level() {
    for mode in ["name", "id"] {
        let bench = Bench::new();
        let mapped = |name: &str, data_type: Value, id: i64| {
            json!({"name": name, "type": data_type, "nullable": true, "metadata": {
                "delta.columnMapping.id": id, "delta.columnMapping.physicalName": format!("col-{id}"), "comment": format!("about {name}")}})
        };
        let inner = json!({"type": "struct", "fields": [mapped("x", "integer".into(), 3)]});
        let list = json!({"type": "array", "elementType": inner, "containsNull": true});
        bench.write(0, &[
            protocol(&["columnMapping"], &["columnMapping"]),
            metadata(
                json!([mapped("renamed key", "integer".into(), 7), mapped("list", list, 2), mapped("part", "string".into(), 5)]),
                &["part"],
                json!({"delta.columnMapping.mode": mode, "delta.columnMapping.maxColumnId": "7"}),
            ),
            add("f", json!({"col-5": "v"}), json!({"numRecords": 1, "minValues": {"col-7": 4}, "maxValues": {"col-7": 6}, "nullCount": {"col-7": 0}})),
        ]);
        let snapshot = bench.load().await.unwrap();
        assert_eq!(snapshot.schema.field_ids, [7, 2, 5]);
        let by_id = matches!(snapshot.schema.resolution, ColumnResolution::FieldId { .. });
        assert_eq!(by_id, mode == "id");
        let top = snapshot.schema.arrow.field(0);
        assert_eq!(top.name(), "renamed key");
        assert_eq!(top.metadata()[PHYSICAL_NAME], "col-7");
        assert_eq!(top.metadata()[COMMENT], "about renamed key");
        let DataType::List(element) = snapshot.schema.arrow.field(1).data_type() else { panic!() };
        let DataType::Struct(inner) = element.data_type() else { panic!() };
        assert_eq!(
            (inner[0].metadata()[PHYSICAL_NAME].as_str(), inner[0].metadata()[FIELD_ID].as_str()),
            ("col-3", "3")
        );
        let list = bench.files().await;
        assert_eq!(list.stats.columns[&7].upper.as_primitive::<Int32Type>().value(0), 6);
        assert_eq!(list.stats.partitions[0].lower.as_string_view().value(0), "v");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn follows_the_log_and_notices_a_new_table_in_the_old_place() {
    let bench = Bench::new();
    let create = |name: &str| [protocol(&[], &[]), metadata(json!([column(name, "long")]), &[], json!({}))];
    bench.write(0, &create("a"));
    let first = bench.load().await.unwrap();
    assert!(Arc::ptr_eq(&first, &bench.load().await.unwrap()));
    assert_eq!(first.files.file_list(0).await.unwrap().files.len(), 0);
    bench.write(1, &[add("one", json!({}), Value::Null)]);
    bench.write(
        2,
        &[
            add("two", json!({}), Value::Null),
            json!({"remove": {"path": "one", "dataChange": true, "deletionTimestamp": 1}}),
        ],
    );
    let second = bench.load().await.unwrap();
    assert_eq!(second.version, TableVersion::Delta { version: 2 });
    assert_eq!(bench.files().await.files.len(), 1);
    assert_eq!(first.files.file_list(0).await.unwrap().files.len(), 0, "an old snapshot stays what it was");
    std::fs::remove_dir_all(bench.log()).unwrap();
    bench.write(0, &create("quite_another"));
    bench.write(1, &[]);
    bench.write(2, &[]);
    let third = bench.load().await.unwrap();
    assert_eq!(third.schema.arrow.field(0).name(), "quite_another");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_what_is_broken_or_unsupported() {
    let good = || [protocol(&[], &[]), metadata(json!([column("a", "long")]), &[], json!({}))];

    let truncated = Bench::new();
    truncated.write(0, &good());
    truncated.write(1, &[add("one", json!({}), Value::Null)]);
    let broken = truncated.log().join("00000000000000000001.json");
    let text = std::fs::read_to_string(&broken).unwrap();
    std::fs::write(&broken, &text[..text.len() / 2]).unwrap();
    let message = truncated.fails().await;
    assert!(message.contains("00000000000000000001.json is corrupt"), "{message}");

    let gap = Bench::new();
    gap.write(0, &good());
    gap.write(1, &[]);
    gap.write(3, &[]);
    let message = gap.fails().await;
    assert!(message.contains("00000000000000000002.json"), "{message}");

    let empty = Bench::new();
    empty.log();
    assert!(matches!(empty.load().await, Err(Error::Corrupt { .. })));

    let feature = Bench::new();
    feature.write(
        0,
        &[protocol(&["superIndex"], &["superIndex"]), metadata(json!([column("a", "long")]), &[], json!({}))],
    );
    let message = feature.fails().await;
    assert!(message.contains("superIndex") && message.contains("not supported"), "{message}");

    let variant = Bench::new();
    variant.write(
        0,
        &[
            protocol(&["variantType"], &["variantType"]),
            metadata(json!([column("v", "variant")]), &[], json!({})),
        ],
    );
    assert!(variant.fails().await.contains("variant"), "{}", variant.fails().await);

    let partition = Bench::new();
    partition.write(
        0,
        &[
            protocol(&[], &[]),
            metadata(json!([column("a", "long"), column("p", "date")]), &["p"], json!({})),
            add("f", json!({"p": "no day"}), Value::Null),
        ],
    );
    assert!(partition.fails().await.contains("no day"));

    let checkpoint = Bench::new();
    checkpoint.write(0, &good());
    checkpoint.write(1, &[]);
    std::fs::write(checkpoint.log().join("00000000000000000001.checkpoint.parquet"), b"PAR1 not really")
        .unwrap();
    std::fs::write(checkpoint.log().join("_last_checkpoint"), br#"{"version":1,"size":2}"#).unwrap();
    std::fs::remove_file(checkpoint.log().join("00000000000000000000.json")).unwrap();
    std::fs::remove_file(checkpoint.log().join("00000000000000000001.json")).unwrap();
    assert!(matches!(checkpoint.load().await, Err(Error::Corrupt { .. })));
}

#[derive(Debug, Default)]
pub(super) struct OneCatalog {
    pub(super) warehouse: String,
    pub(super) created: parking_lot::Mutex<Vec<NewTableEntry>>,
    pub(super) full: bool,
}

#[async_trait]
impl Backend for OneCatalog {
    fn warehouse(&self) -> &str {
        &self.warehouse
    }
    async fn namespaces(&self) -> Result<Arc<Vec<NamespaceEntry>>> {
        Ok(Arc::default())
    }
    async fn create_namespace(&self, _: &str, _: &BTreeMap<String, String>) -> Result<()> {
        Ok(())
    }
    async fn drop_namespace(&self, _: &str) -> Result<()> {
        Ok(())
    }
    async fn tables(&self, _: &str) -> Result<Vec<TableEntry>> {
        Ok(Vec::new())
    }
    async fn table(&self, _: &TableIdent) -> Result<Option<TableEntry>> {
        Ok(None)
    }
    async fn create_table(&self, entry: &NewTableEntry) -> Result<()> {
        if self.full {
            return Err(Error::TableExists(entry.ident.clone()));
        }
        self.created.lock().push(entry.clone());
        Ok(())
    }
    async fn drop_table(&self, _: &TableIdent) -> Result<()> {
        Ok(())
    }
    async fn rename_table(&self, _: &TableIdent, _: &TableIdent) -> Result<()> {
        Ok(())
    }
    async fn swap_pointer(&self, _: &TableIdent, _: &str, _: &str) -> Result<SwapOutcome> {
        Ok(SwapOutcome::Moved)
    }
    async fn change_counter(&self) -> Result<Option<i64>> {
        Ok(None)
    }
}

fn definition(properties: &[(&str, &str)]) -> TableDefinition {
    let column = |name: &str, data_type: DataType| ColumnDefinition {
        name: name.into(),
        data_type,
        nullable: name != "id",
        comment: (name == "id").then(|| "the key".into()),
        identity: None,
        default: None,
    };
    TableDefinition {
        format: TableFormat::Delta,
        columns: vec![
            column("id", DataType::Int64),
            column("name", DataType::Utf8View),
            column("at", DataType::Timestamp(TimeUnit::Nanosecond, None)),
            column("big", DataType::UInt64),
            column("st", DataType::Struct(vec![Field::new("x", DataType::UInt8, true)].into())),
            column("region", DataType::Utf8),
        ],
        partitioning: vec![PartitionFieldDefinition {
            column: "region".into(),
            transform: Transform::Identity,
        }],
        sorting: Vec::new(),
        key_columns: Vec::new(),
        constraints: vec![],
        comment: Some("things".into()),
        properties: properties.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
    }
}

fn new_file(snapshot: &TableSnapshot, name: &str, rows: u64) -> NewDataFile {
    let id = snapshot.schema.id_of("id").unwrap();
    let name_id = snapshot.schema.id_of("name").unwrap();
    let column = |lower: ScalarValue, upper: ScalarValue| WrittenColumn {
        lower: Some(lower),
        upper: Some(upper),
        value_count: rows,
        ..Default::default()
    };
    NewDataFile {
        path: format!("{}/region=north%20west/{name}.parquet", snapshot.location),
        size_bytes: 100,
        record_count: rows,
        spec: snapshot.default_spec.clone(),
        partition: vec![ScalarValue::Utf8View(Some("north west".into()))],
        columns: HashMap::from([
            (id, column(ScalarValue::Int64(Some(1)), ScalarValue::Int64(Some(rows as i64)))),
            (
                name_id,
                column(
                    ScalarValue::Utf8View(Some("a\"b".into())),
                    ScalarValue::Utf8View(Some("z".repeat(50))),
                ),
            ),
        ]),
        split_offsets: vec![4],
        sort_order_id: None,
    }
}

fn change(operation: Operation, added: Vec<NewDataFile>) -> TableChange {
    let mut change = TableChange::new(operation, added);
    change.summary.insert("auric.query".into(), "7".into());
    change
}

async fn create(bench: &Bench, properties: &[(&str, &str)]) -> OneCatalog {
    let catalog = OneCatalog { warehouse: bench.dir.path().to_str().unwrap().into(), ..Default::default() };
    let ident = TableIdent::new("public", "t");
    let staged = bench.format.stage(&ident, &definition(properties), &bench.root()).unwrap();
    assert_eq!(staged.version, TableVersion::Unpublished);
    assert!(staged.files.index().await.unwrap().groups.is_empty());
    let change = change(Operation::Create, vec![new_file(&staged, "first", 3)]);
    let outcome = bench.format.commit(&bench.storage, &catalog, &ident, &staged, &change).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed(TableVersion::Delta { version: 0 })));
    catalog
}

async fn append(bench: &Bench, base: &TableSnapshot, name: &str) -> Result<CommitOutcome> {
    let ident = TableIdent::new("public", "t");
    let change = change(Operation::Append, vec![new_file(base, name, 5)]);
    bench.format.commit(&bench.storage, &OneCatalog::default(), &ident, base, &change).await
}

fn actions(bench: &Bench, version: u64) -> Vec<Value> {
    let text = std::fs::read_to_string(bench.log().join(format!("{version:020}.json"))).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn creates_and_appends() {
    for mode in ["none", "name", "id"] {
        let bench = Bench::new();
        let catalog = create(
            &bench,
            &[("delta.columnMapping.mode", mode), ("owner", "me"), ("delta.checkpointInterval", "3")],
        )
        .await;
        assert!(!catalog.created.lock()[0].external);
        let base = bench.load().await.unwrap();
        assert_eq!(base.comment.as_deref(), Some("things"));
        assert_eq!(base.properties["owner"], "me");
        assert_eq!(base.schema.arrow.field(0).metadata()[COMMENT], "the key");
        assert!(!base.schema.arrow.field(0).is_nullable());
        assert_eq!(base.schema.arrow.field(3).data_type(), &DataType::Decimal128(20, 0));
        assert_eq!(base.schema.arrow.field(2).data_type(), &DataType::Timestamp(TimeUnit::Microsecond, None));
        for version in 1..=4 {
            let base = bench.load().await.unwrap();
            let outcome = append(&bench, &base, &format!("f{version}")).await.unwrap();
            assert!(
                matches!(outcome, CommitOutcome::Committed(TableVersion::Delta { version: v }) if v == version)
            );
        }
        let CommitOutcome::Conflict { winner } = append(&bench, &base, "late").await.unwrap() else {
            panic!()
        };
        assert!(winner.contains("version 1 (WRITE by Auric/"), "{winner}");
        assert!(bench.log().join("00000000000000000003.checkpoint.parquet").exists());
        // A fresh reader starts from the checkpoint.
        let fresh = Bench { format: DeltaFormat::default(), ..bench };
        for version in 0..=2 {
            std::fs::remove_file(fresh.log().join(format!("{version:020}.json"))).unwrap();
        }
        let list = fresh.files().await;
        assert_eq!(list.files.len(), 5);
        let snapshot = fresh.load().await.unwrap();
        let id = &list.stats.columns[&snapshot.schema.id_of("id").unwrap()];
        assert!(id.exact && id.null_count.null_count() == 0);
        let name = &list.stats.columns[&snapshot.schema.id_of("name").unwrap()];
        assert_eq!(name.upper.as_string_view().value(0), format!("{}\u{7F}", "z".repeat(32)));
        assert!(list.files.iter().all(|f| f.path.contains("/region=north%20west/")));
        assert_eq!(list.stats.partitions[0].upper.as_string_view().value(4), "north west");
        assert_eq!(list.files.iter().filter_map(|f| f.record_count).sum::<u64>(), 23);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn honours_row_tracking_commit_timestamps_and_v2_checkpoints() {
    let bench = Bench::new();
    create(
        &bench,
        &[
            ("delta.enableRowTracking", "true"),
            ("delta.enableInCommitTimestamps", "true"),
            ("delta.checkpointPolicy", "v2"),
            ("delta.checkpointInterval", "1"),
            ("delta.enableDeletionVectors", "true"),
        ],
    )
    .await;
    for name in ["b", "c"] {
        let base = bench.load().await.unwrap();
        assert!(matches!(append(&bench, &base, name).await.unwrap(), CommitOutcome::Committed(_)));
    }
    let stamp =
        |version: u64| actions(&bench, version)[0]["commitInfo"]["inCommitTimestamp"].as_i64().unwrap();
    assert!(stamp(0) < stamp(1) && stamp(1) < stamp(2));
    let fresh = Bench { format: DeltaFormat::default(), ..bench };
    let mut first_ids: Vec<_> = fresh.files().await.files.iter().map(|f| f.first_row_id.unwrap()).collect();
    first_ids.sort();
    assert_eq!(first_ids, [0, 3, 8]);
    let last = actions(&fresh, 2).pop().unwrap();
    assert_eq!(last["domainMetadata"]["configuration"], r#"{"rowIdHighWaterMark":12}"#);
    let names: Vec<_> = std::fs::read_dir(fresh.log())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().any(|n| n.contains(".checkpoint.")), "{names:?}");
    let snapshot = fresh.load().await.unwrap();
    assert_eq!(snapshot.format_version, "reader 3, writer 7");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_sidecars_and_names_a_missing_one() {
    use delta_kernel::checkpoint::{CheckpointSpec, V2CheckpointConfig};
    let bench = Bench::new();
    create(&bench, &[("delta.checkpointPolicy", "v2")]).await;
    for name in ["b", "c"] {
        let base = bench.load().await.unwrap();
        append(&bench, &base, name).await.unwrap();
    }
    let base = bench.load().await.unwrap();
    let kernel = snapshot::state(&base).unwrap().kernel.clone().unwrap();
    let root = base.location.clone();
    engine::blocking(&bench.storage, &root, move |engine| {
        let sidecars = V2CheckpointConfig::WithSidecar { file_actions_per_sidecar_hint: Some(2) };
        kernel.checkpoint(engine, Some(&CheckpointSpec::V2(sidecars))).unwrap();
        Ok(())
    })
    .await
    .unwrap();
    for version in 0..=2 {
        std::fs::remove_file(bench.log().join(format!("{version:020}.json"))).unwrap();
    }
    let fresh = Bench { format: DeltaFormat::default(), ..bench };
    assert_eq!(fresh.files().await.files.len(), 3);
    let sidecar = std::fs::read_dir(fresh.log().join("_sidecars")).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_file(&sidecar).unwrap();
    let fresh = Bench { format: DeltaFormat::default(), ..fresh };
    let message = fresh.fails().await;
    assert!(message.contains(sidecar.file_name().unwrap().to_str().unwrap()), "{message}");
}

#[tokio::test]
async fn loads_on_a_single_threaded_runtime() {
    let bench = Bench::new();
    create(&bench, &[("delta.checkpointInterval", "1")]).await;
    let base = bench.load().await.unwrap();
    append(&bench, &base, "b").await.unwrap();
    assert_eq!(bench.files().await.files.len(), 2);
    assert!(bench.log().join("00000000000000000001.checkpoint.parquet").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_is_read_once_by_many() {
    let bench = Bench::new();
    create(&bench, &[]).await;
    let loads = futures::future::join_all((0..20).map(|_| bench.load())).await;
    let first = loads[0].as_ref().unwrap();
    assert!(loads.iter().all(|load| Arc::ptr_eq(load.as_ref().unwrap(), first)));
}

#[tokio::test(flavor = "multi_thread")]
async fn clustering_columns_have_statistics_and_the_summary_is_recorded() {
    let bench = Bench::new();
    bench.write(0, &[
        protocol(&["deletionVectors"], &["clustering", "domainMetadata", "deletionVectors", "checkpointProtection"]),
        metadata(json!([column("id", "long"), column("name", "string")]), &[], json!({"delta.dataSkippingNumIndexedCols": "0"})),
        json!({"domainMetadata": {"domain": "delta.clustering", "configuration": r#"{"clusteringColumns":[["name"]]}"#, "removed": false}}),
    ]);
    let base = bench.load().await.unwrap();
    let mut file = new_file(&base, "f", 2);
    file.partition.clear();
    let mut change = change(Operation::Append, vec![file]);
    change.summary.insert("operation".into(), "mine".into());
    let ident = TableIdent::new("s", "t");
    let outcome =
        bench.format.commit(&bench.storage, &OneCatalog::default(), &ident, &base, &change).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed(_)));
    let [info, add] = &actions(&bench, 1)[..] else { panic!() };
    assert_eq!(info["commitInfo"]["auric.query"], "7");
    assert_eq!(info["commitInfo"]["operation"], "WRITE");
    let entry =
        TableEntry { ident, format: TableFormat::Delta, pointer: bench.root(), external: false, oid: 1 };
    let id = change.commit_id().unwrap();
    let found = bench.format.find_commit(&bench.storage, &entry, id).await.unwrap();
    assert_eq!(found, Some(TableVersion::Delta { version: 1 }));
    assert_eq!(bench.format.find_commit(&bench.storage, &entry, "another").await.unwrap(), None);
    let stats: Value = serde_json::from_str(add["add"]["stats"].as_str().unwrap()).unwrap();
    assert_eq!(stats["minValues"], json!({"name": "a\"b"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn does_not_create_over_a_table_or_beside_the_catalog() {
    let bench = Bench::new();
    assert!(!is_delta_table(&bench.storage, &bench.root()).await.unwrap());
    let ident = TableIdent::new("public", "t");
    let staged = bench.format.stage(&ident, &definition(&[]), &bench.root()).unwrap();
    let full =
        OneCatalog { full: true, ..OneCatalog { warehouse: "/elsewhere".into(), ..Default::default() } };
    let created =
        bench.format.commit(&bench.storage, &full, &ident, &staged, &change(Operation::Create, vec![])).await;
    assert!(matches!(created, Err(Error::TableExists(_))));
    assert!(!is_delta_table(&bench.storage, &bench.root()).await.unwrap(), "the log is taken back");
    create(&bench, &[]).await;
    assert!(is_delta_table(&bench.storage, &bench.root()).await.unwrap());
    let again = bench
        .format
        .commit(
            &bench.storage,
            &OneCatalog { warehouse: "/w".into(), ..Default::default() },
            &ident,
            &staged,
            &change(Operation::Create, vec![]),
        )
        .await;
    assert!(again.unwrap_err().to_string().contains("already"));
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_to_write_what_it_cannot_honour() {
    let cases = [
        (
            protocol(&[], &["generatedColumns"]),
            json!({}),
            json!({"delta.generationExpression": "1"}),
            "generatedColumns",
        ),
        (
            protocol(&[], &["identityColumns"]),
            json!({}),
            json!({"delta.identity.start": 1}),
            "identityColumns",
        ),
        (
            protocol(&[], &["materializePartitionColumns"]),
            json!({}),
            json!({}),
            "materializePartitionColumns",
        ),
        (protocol(&[], &["somethingNew"]), json!({}), json!({}), "somethingNew"),
    ];
    for (protocol, configuration, column_metadata, expected) in cases {
        let bench = Bench::new();
        let mut protocol = protocol;
        if protocol["protocol"]["minReaderVersion"] == 3 {
            protocol["protocol"]["minReaderVersion"] = 1.into();
            protocol["protocol"].as_object_mut().unwrap().remove("readerFeatures");
        }
        let columns = json!([{"name": "a", "type": "long", "nullable": true, "metadata": column_metadata}]);
        bench.write(0, &[protocol, metadata(columns, &[], configuration)]);
        let base = bench.load().await.unwrap();
        let change = TableChange::new(Operation::Append, vec![]);
        let refused = bench
            .format
            .commit(&bench.storage, &OneCatalog::default(), &TableIdent::new("s", "t"), &base, &change)
            .await;
        let refused = refused.unwrap_err();
        assert!(
            matches!(refused, Error::Unsupported { .. }) && refused.to_string().contains(expected),
            "{refused}"
        );
        assert!(!Path::new(&bench.root()).join("_delta_log/00000000000000000001.json").exists());
    }
}

#[test]
fn refuses_definitions_that_delta_cannot_hold() {
    let format = DeltaFormat::default();
    let stage = |change: &dyn Fn(&mut TableDefinition)| {
        let mut definition = definition(&[]);
        change(&mut definition);
        format.stage(&TableIdent::new("s", "t"), &definition, "/tmp/t").map(|_| ()).unwrap_err().to_string()
    };
    assert!(stage(&|d| d.partitioning[0].transform = Transform::Day).contains("by columns only"));
    assert!(stage(&|d| d.partitioning[0].column = "nowhere".into()).contains("nowhere"));
    assert!(stage(&|d| d.columns[0].data_type = DataType::FixedSizeBinary(16)).contains("uuid"));
    assert!(stage(&|d| d.columns[0].data_type = DataType::Time64(TimeUnit::Microsecond)).contains("time"));
    assert!(stage(&|d| d.columns[0].data_type = DataType::Decimal256(76, 2)).contains("38 digits"));
    assert!(stage(&|d| d.columns[0].name = "two words".into()).contains("columnMapping"));
    assert!(stage(&|d| d.columns[1].name = "ID".into()).contains("more than once"));
    assert!(
        stage(&|d| _ = d.properties.insert("delta.nonsense".into(), "1".into())).contains("delta.nonsense")
    );
    assert!(stage(&|d| _ = d.properties.insert("delta.appendOnly".into(), "maybe".into())).contains("maybe"));
    assert!(
        stage(&|d| _ = d.properties.insert("delta.feature.icebergCompatV2".into(), "supported".into()))
            .contains("icebergCompatV2")
    );
}

/// The other way round of what the format reads.
fn encode_z85(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 85] =
        b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
    bytes
        .chunks_exact(4)
        .flat_map(|word| {
            let word = u32::from_be_bytes(word.try_into().unwrap());
            (0..5).rev().map(move |i| ALPHABET[(word / 85u32.pow(i) % 85) as usize] as char)
        })
        .collect()
}
