//! Rows written and read back.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Float64Array,
    Int32Array, Int64Array, ListArray, MapArray, RecordBatch, StringArray, StringViewArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Int32Type, Int64Type, Schema, TimeUnit};
use async_trait::async_trait;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::execution::object_store::DefaultObjectStoreRegistry;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::scalar::ScalarValue;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, LogicalType, Type as PhysicalType};

use super::*;
use crate::table::deletes::DeleteIndex;
use crate::table::schema::{ColumnResolution, FIELD_ID, PHYSICAL_NAME};
use crate::table::snapshot::{FileListIndex, SnapshotFiles};
use crate::table::{
    FileList, PartitionField, PartitionSpec, SortField, SortOrder, TableFormat, TableSchema, TableVersion,
    Transform, transform,
};

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

/// A table in a directory of its own.
struct Fixture {
    _directory: tempfile::TempDir,
    storage: Storage,
    snapshot: TableSnapshot,
    session: SessionContext,
}

fn with_id(field: Field, id: i32) -> Field {
    field.with_metadata(HashMap::from([(FIELD_ID.to_string(), id.to_string())]))
}

impl Fixture {
    fn new(format: TableFormat, columns: Vec<Field>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let field_ids: Vec<i32> = (1..=columns.len() as i32).collect();
        let columns: Vec<Field> = match format {
            TableFormat::Iceberg => columns
                .into_iter()
                .zip(&field_ids)
                .map(|(field, id)| {
                    let mut metadata = field.metadata().clone();
                    metadata.insert(FIELD_ID.into(), id.to_string());
                    field.with_metadata(metadata)
                })
                .collect(),
            TableFormat::Delta => columns,
        };
        let schema = TableSchema {
            schema_id: 0,
            arrow: Arc::new(Schema::new(columns)),
            field_ids,
            resolution: match format {
                TableFormat::Iceberg => ColumnResolution::FieldId { name_mapping: None },
                TableFormat::Delta => ColumnResolution::Name,
            },
            initial_defaults: HashMap::new(),
            write_defaults: HashMap::new(),
            identifier_field_ids: vec![],
            identity: Default::default(),
        };
        let snapshot = TableSnapshot {
            format,
            format_version: String::new(),
            location: format!("{}/t", directory.path().display()),
            table_id: "t".into(),
            version: TableVersion::Unpublished,
            schema: Arc::new(schema),
            partition_specs: BTreeMap::new(),
            default_spec: Arc::default(),
            sort_order: Arc::default(),
            properties: BTreeMap::new(),
            comment: None,
            row_lineage: None,
            constraints: Vec::new(),
            timestamp_ms: None,
            files: Arc::new(NoFiles),
            state: Arc::new(()),
        };
        let storage = Storage::new(Arc::new(DefaultObjectStoreRegistry::default()));
        let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
        Self { _directory: directory, storage, snapshot, session }
    }

    fn partitioned(mut self, fields: &[(&str, Transform)]) -> Self {
        let schema = &self.snapshot.schema;
        let fields = fields.iter().enumerate().map(|(i, (column, transform))| {
            let source_id = schema.id_of(column).unwrap();
            let source = schema.column_by_id(source_id).unwrap().1.data_type();
            PartitionField {
                source_id,
                field_id: 1000 + i as i32,
                name: if *transform == Transform::Identity {
                    column.to_string()
                } else {
                    format!("{column}_p")
                },
                transform: transform.clone(),
                result_type: transform::result_type(transform, source).unwrap(),
            }
        });
        let spec = Arc::new(PartitionSpec { spec_id: 0, fields: fields.collect() });
        self.snapshot.partition_specs = BTreeMap::from([(0, spec.clone())]);
        self.snapshot.default_spec = spec;
        self
    }

    fn sorted(mut self, column: &str, descending: bool) -> Self {
        let source_id = self.snapshot.schema.id_of(column).unwrap();
        let field = SortField { source_id, transform: Transform::Identity, descending, nulls_first: false };
        self.snapshot.sort_order = Arc::new(SortOrder { order_id: 7, fields: vec![field] });
        self
    }

    fn property(mut self, key: &str, value: &str) -> Self {
        self.snapshot.properties.insert(key.into(), value.into());
        self
    }

    fn input(&self, batches: Vec<RecordBatch>) -> SendableRecordBatchStream {
        let schema = batches.first().map_or_else(|| self.snapshot.schema.arrow.clone(), |b| b.schema());
        Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter(batches.into_iter().map(Ok))))
    }

    async fn write_options(
        self,
        inputs: Vec<Vec<RecordBatch>>,
        change: impl FnOnce(&mut WriteOptions),
    ) -> Result<(Self, Written)> {
        let snapshot = Arc::new(self.snapshot);
        let schema = FileSchema::of(&snapshot)?;
        let mut options = WriteOptions::of(&snapshot, &schema)?;
        change(&mut options);
        let this = Self { snapshot: clone_snapshot(&snapshot), ..self };
        let inputs: Vec<_> = inputs.into_iter().map(|batches| this.input(batches)).collect();
        let (tasks, task) = (inputs.len(), this.session.task_ctx());
        let mut writer = TableWriter::with("s.t", &this.storage, &snapshot, Arc::new(schema), options);
        writer.round(inputs, tasks, InputOrder::Any, &task).await?;
        Ok((this, writer.finish().await?))
    }

    async fn write(self, inputs: Vec<Vec<RecordBatch>>) -> Result<(Self, Written)> {
        self.write_options(inputs, |_| {}).await
    }
}

fn clone_snapshot(s: &TableSnapshot) -> TableSnapshot {
    TableSnapshot {
        format: s.format,
        format_version: s.format_version.clone(),
        location: s.location.clone(),
        table_id: s.table_id.clone(),
        version: s.version.clone(),
        schema: s.schema.clone(),
        partition_specs: s.partition_specs.clone(),
        default_spec: s.default_spec.clone(),
        sort_order: s.sort_order.clone(),
        properties: s.properties.clone(),
        comment: None,
        row_lineage: None,
        constraints: Vec::new(),
        timestamp_ms: None,
        files: s.files.clone(),
        state: s.state.clone(),
    }
}

fn reader(path: &str) -> ParquetRecordBatchReaderBuilder<std::fs::File> {
    ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).unwrap()).unwrap()
}

fn read(path: &str) -> RecordBatch {
    let builder = reader(path);
    let schema = builder.schema().clone();
    let batches: Vec<_> = builder.build().unwrap().collect::<Result<_, _>>().unwrap();
    concat_batches(&schema, &batches).unwrap()
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap()
}

fn parquet_files(root: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = vec![];
    let mut waiting = vec![root.to_path_buf()];
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.path().is_dir() { waiting.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    found
}

fn nested_types() -> (Fields, FieldRef, FieldRef) {
    let fields = Fields::from(vec![
        with_id(Field::new("x", DataType::Int32, true), 11),
        with_id(Field::new("y", DataType::Utf8View, true), 12),
    ]);
    let element = Arc::new(with_id(Field::new("element", DataType::Int64, true), 13));
    let entries = Fields::from(vec![
        with_id(Field::new("key", DataType::Utf8View, false), 14),
        with_id(Field::new("value", DataType::Float64, true), 15),
    ]);
    (fields, element, Arc::new(Field::new("entries", DataType::Struct(entries), false)))
}

#[tokio::test]
async fn types_ids_and_statistics() {
    let (fields, element, entries) = nested_types();
    let uuid = Field::new("u", DataType::FixedSizeBinary(16), true)
        .with_metadata(HashMap::from([("ARROW:extension:name".into(), "arrow.uuid".into())]));
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let columns = vec![
        Field::new("i", DataType::Int32, false),
        Field::new("d9", DataType::Decimal128(9, 2), true),
        Field::new("d18", DataType::Decimal128(18, 2), true),
        Field::new("d38", DataType::Decimal128(38, 2), true),
        Field::new("tz", utc, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("day", DataType::Date32, true),
        Field::new("s", DataType::Utf8View, true),
        Field::new("b", DataType::BinaryView, true),
        Field::new("f", DataType::Float64, true),
        uuid,
        Field::new("st", DataType::Struct(fields.clone()), true),
        Field::new("l", DataType::List(element.clone()), true),
        Field::new("m", DataType::Map(entries.clone(), false), true),
        Field::new("bool", DataType::Boolean, true),
    ];
    let decimal = |p| {
        let values = Decimal128Array::from(vec![Some(-150), None, Some(275)]);
        Arc::new(values.with_precision_and_scale(p, 2).unwrap()) as ArrayRef
    };
    let micros = TimestampMicrosecondArray::from(vec![Some(-1), None, Some(1_000_000)]);
    let uuids = [Some([1u8; 16]), None, Some([2u8; 16])];
    let uuids =
        arrow::array::FixedSizeBinaryArray::try_from_sparse_iter_with_size(uuids.into_iter(), 16).unwrap();
    // As an expression would make it: other names, other order of named fields.
    let swapped =
        Fields::from(vec![Field::new("y", DataType::Utf8, true), Field::new("x", DataType::Int64, true)]);
    let children: Vec<ArrayRef> =
        vec![Arc::new(StringArray::from(vec!["a", "b", "c"])), Arc::new(Int64Array::from(vec![1, 2, 3]))];
    let structs = StructArray::new(swapped, children, None);
    let items = Int32Array::from(vec![10, 20, 30]);
    let item = Arc::new(Field::new("item", DataType::Int32, true));
    let lists = ListArray::new(item, OffsetBuffer::from_lengths([2, 0, 1]), Arc::new(items), None);
    let pairs = Fields::from(vec![
        Field::new("keys", DataType::Utf8View, false),
        Field::new("values", DataType::Float64, true),
    ]);
    let keys: ArrayRef = Arc::new(StringViewArray::from(vec!["k1", "k2"]));
    let pairs = StructArray::new(pairs, vec![keys, Arc::new(Float64Array::from(vec![1.0, 2.0]))], None);
    let map_entries = Arc::new(Field::new("e", pairs.data_type().clone(), false));
    let maps = MapArray::new(map_entries, OffsetBuffer::from_lengths([1, 0, 1]), pairs, None, false);
    let long = "z".repeat(100);
    let rows = batch(vec![
        ("c1", Arc::new(Int64Array::from(vec![3, 1, 2]))),
        ("c2", decimal(12)),
        ("c3", decimal(18)),
        ("c4", decimal(38)),
        ("c5", Arc::new(micros.clone().with_timezone("UTC"))),
        ("c6", Arc::new(micros)),
        ("c7", Arc::new(Date32Array::from(vec![Some(1), None, Some(-5)]))),
        ("c8", Arc::new(StringArray::from(vec![Some("m"), None, Some(long.as_str())]))),
        ("c9", Arc::new(BinaryViewArray::from(vec![Some(&b"ab"[..]), None, Some(b"")]))),
        ("c10", Arc::new(Float64Array::from(vec![Some(f64::NAN), Some(0.0), None]))),
        ("c11", Arc::new(uuids)),
        ("c12", Arc::new(structs)),
        ("c13", Arc::new(lists)),
        ("c14", Arc::new(maps)),
        ("c15", Arc::new(BooleanArray::from(vec![Some(true), None, Some(true)]))),
    ]);
    let (_fixture, written) =
        Fixture::new(TableFormat::Iceberg, columns).write(vec![vec![rows]]).await.unwrap();
    let [file] = written.files.as_slice() else { panic!("one file, not {:?}", written.files) };
    assert_eq!((written.rows, file.record_count), (3, 3));
    assert!(file.path.contains("/t/data/") && file.path.ends_with(".parquet"), "{}", file.path);
    assert_eq!(file.size_bytes, std::fs::metadata(&file.path).unwrap().len());
    assert_eq!(file.split_offsets, [4]);

    let builder = reader(&file.path);
    let schema = builder.parquet_schema();
    let leaf = |path: &str| schema.columns().iter().find(|c| c.path().string() == path).unwrap().clone();
    assert_eq!(leaf("d9").physical_type(), PhysicalType::INT32);
    assert_eq!(leaf("d18").physical_type(), PhysicalType::INT64);
    assert_eq!(
        (leaf("d38").physical_type(), leaf("d38").type_length()),
        (PhysicalType::FIXED_LEN_BYTE_ARRAY, 16)
    );
    let adjusted = |path: &str| match leaf(path).logical_type_ref() {
        Some(LogicalType::Timestamp(t)) => t.is_adjusted_to_u_t_c,
        other => panic!("{other:?}"),
    };
    assert!(adjusted("tz") && !adjusted("ts"));
    assert_eq!(leaf("u").logical_type_ref(), Some(&LogicalType::Uuid));
    assert!(matches!(leaf("s").logical_type_ref(), Some(LogicalType::String)));
    let id = |path: &str| leaf(path).self_type().get_basic_info().id();
    assert_eq!((id("i"), id("u"), id("st.x"), id("l.list.element")), (1, 11, 11, 13));
    assert_eq!((id("m.key_value.key"), id("m.key_value.value")), (14, 15));
    assert!(builder.metadata().file_metadata().key_value_metadata().is_none(), "no arrow schema in the file");

    let back = read(&file.path);
    assert_eq!(back.column(0).as_primitive::<Int32Type>().values(), &[3, 1, 2]);
    assert_eq!(back.column(11).as_struct().column(0).as_primitive::<Int32Type>().values(), &[1, 2, 3]);
    assert_eq!(back.column(11).as_struct().column(1).as_string::<i32>().value(2), "c");
    assert_eq!(back.column(12).as_list::<i32>().value(0).as_primitive::<Int64Type>().values(), &[10, 20]);
    assert_eq!(back.column(13).as_map().value(2).len(), 1);

    let column = |id: i32| &file.columns[&id];
    let bounds = |id: i32| (column(id).lower.clone(), column(id).upper.clone());
    assert_eq!(bounds(1), (Some(ScalarValue::Int32(Some(1))), Some(ScalarValue::Int32(Some(3)))));
    for (id, precision) in [(2, 9), (3, 18), (4, 38)] {
        let decimal = |v| Some(ScalarValue::Decimal128(Some(v), precision, 2));
        assert_eq!(bounds(id), (decimal(-150), decimal(275)));
    }
    let tz = |v| Some(ScalarValue::TimestampMicrosecond(Some(v), Some("UTC".into())));
    assert_eq!(bounds(5), (tz(-1), tz(1_000_000)));
    assert_eq!(bounds(7), (Some(ScalarValue::Date32(Some(-5))), Some(ScalarValue::Date32(Some(1)))));
    assert_eq!(bounds(8).0, Some(ScalarValue::Utf8View(Some("m".into()))));
    let Some(ScalarValue::Utf8View(Some(upper))) = bounds(8).1 else { panic!("{:?}", bounds(8)) };
    assert!(upper.len() <= BOUND_BYTES && upper > long, "{upper}");
    let zero = Some(ScalarValue::Float64(Some(0.0)));
    assert_eq!((bounds(10), column(10).nan_count), ((zero.clone(), zero), Some(1)));
    assert_eq!(bounds(15).0, Some(ScalarValue::Boolean(Some(true))));
    assert_eq!((bounds(12), bounds(13)), ((None, None), (None, None)));
    let counts = |id: i32| (column(id).value_count, column(id).null_count, column(id).nan_count);
    assert_eq!((counts(1), counts(2), counts(10)), ((3, 0, None), (3, 1, None), (3, 1, Some(1))));
    assert!(file.columns.values().all(|c| c.column_size > 0));
}

#[tokio::test]
async fn partitions_of_several_tasks_share_files() {
    let columns = vec![
        Field::new("id", DataType::Int64, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, None), true),
    ];
    let day = 86_400_000_000;
    let rows = |ids: Vec<i64>, days: Vec<Option<i64>>| {
        let ts: TimestampMicrosecondArray = days.into_iter().map(|d| d.map(|d| d * day + 5)).collect();
        batch(vec![("id", Arc::new(Int64Array::from(ids))), ("ts", Arc::new(ts))])
    };
    let first = vec![rows(vec![1, 2, 3, 4], vec![Some(0), Some(-1), Some(0), None])];
    let second = vec![rows(vec![5, 6], vec![Some(-1), Some(0)])];
    let fixture = Fixture::new(TableFormat::Iceberg, columns).partitioned(&[("ts", Transform::Day)]);
    let (_fixture, written) = fixture.write(vec![first, second]).await.unwrap();
    let mut found: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
    for file in &written.files {
        let back = read(&file.path);
        assert_eq!(back.num_columns(), 2, "Iceberg stores partition columns");
        let ids = back.column(0).as_primitive::<Int64Type>().values().iter().copied().collect();
        let directory = file.path.rsplit('/').nth(1).unwrap().to_string();
        assert_eq!(file.partition.len(), 1);
        assert!(found.insert(directory, ids).is_none(), "one file for each partition");
    }
    let expected =
        [("ts_p=1969-12-31", vec![2, 5]), ("ts_p=1970-01-01", vec![1, 3, 6]), ("ts_p=null", vec![4])];
    let expected = expected.into_iter().map(|(d, ids)| (d.to_string(), ids.into_iter().collect())).collect();
    assert_eq!(found, expected);
    assert_eq!(written.rows, 6);
}

#[tokio::test]
async fn delta_files() {
    let physical = |name: &str| HashMap::from([(PHYSICAL_NAME.to_string(), name.to_string())]);
    let columns = vec![
        Field::new("region", DataType::Utf8View, true).with_metadata(physical("col-1")),
        Field::new("v", DataType::Int32, true).with_metadata(physical("col-2")),
    ];
    let rows = batch(vec![
        ("a", Arc::new(StringArray::from(vec![Some("e/u"), None, Some("")]))),
        ("b", Arc::new(Int32Array::from(vec![1, 2, 3]))),
    ]);
    let fixture = Fixture::new(TableFormat::Delta, columns).partitioned(&[("region", Transform::Identity)]);
    let (_fixture, written) = fixture.write(vec![vec![rows]]).await.unwrap();
    assert_eq!(written.files.len(), 2, "an empty string is a null partition value");
    for file in &written.files {
        let builder = reader(&file.path);
        let names: Vec<_> = builder.parquet_schema().columns().iter().map(|c| c.path().string()).collect();
        assert_eq!(names, ["col-2"]);
        assert_eq!(builder.parquet_schema().column(0).self_type().get_basic_info().id(), 2);
        assert_eq!(file.columns.keys().collect::<Vec<_>>(), [&2]);
        let is_null = file.partition[0].is_null();
        let directory =
            if is_null { "/t/region=__HIVE_DEFAULT_PARTITION__/part-" } else { "/t/region=e%2Fu/part-" };
        assert!(file.path.contains(directory) && file.path.ends_with("-c000.zstd.parquet"), "{}", file.path);
        assert_eq!(file.record_count, if is_null { 2 } else { 1 });
    }
}

fn numbers(range: std::ops::Range<i64>) -> RecordBatch {
    let scattered = range.clone().map(|v| v.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64));
    batch(vec![
        ("id", Arc::new(Int64Array::from_iter_values(range.clone()))),
        ("noise", Arc::new(Int64Array::from_iter_values(scattered))),
    ])
}

fn two_longs() -> Vec<Field> {
    vec![Field::new("id", DataType::Int64, true), Field::new("noise", DataType::Int64, true)]
}

fn all_ids(files: &[NewDataFile]) -> Vec<i64> {
    let mut ids: Vec<i64> = files
        .iter()
        .flat_map(|f| read(&f.path).column(0).as_primitive::<Int64Type>().values().to_vec())
        .collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn files_roll_and_row_groups_end() {
    let batches: Vec<_> = (0..40).map(|i| numbers(i * 10_000..(i + 1) * 10_000)).collect();
    let small = |options: &mut WriteOptions| {
        options.target_file_bytes = 1 << 20;
        options.row_group_rows = 30_000;
        options.open_file_bytes = 1;
    };
    let fixture = Fixture::new(TableFormat::Iceberg, two_longs());
    let (_fixture, written) = fixture.write_options(vec![batches], small).await.unwrap();
    assert!((3..=8).contains(&written.files.len()), "{} files", written.files.len());
    assert_eq!(all_ids(&written.files), (0..400_000).collect::<Vec<i64>>());
    for file in &written.files {
        let metadata = reader(&file.path).metadata().clone();
        assert!(metadata.row_groups().iter().all(|g| g.num_rows() <= 30_000));
        assert_eq!(file.split_offsets.len(), metadata.num_row_groups());
        assert!(file.size_bytes < 3 << 20);
    }
}

#[tokio::test]
async fn encoding_side_by_side_gives_the_same_rows() {
    let batches: Vec<_> = (0..20).map(|i| numbers(i * 10_000..(i + 1) * 10_000)).collect();
    let fixture = Fixture::new(TableFormat::Iceberg, two_longs());
    let (_fixture, written) =
        fixture.write_options(vec![batches], |o| o.open_file_bytes = 1 << 20).await.unwrap();
    let [file] = written.files.as_slice() else { panic!("one file") };
    let back = read(&file.path);
    assert_eq!(back.column(0).as_primitive::<Int64Type>().values(), &(0..200_000).collect::<Vec<i64>>());
    let expected = numbers(0..200_000);
    assert_eq!(back.column(1).as_ref(), expected.column(1).as_ref());
}

#[tokio::test]
async fn open_files_and_memory_are_bounded() {
    let fixture =
        Fixture::new(TableFormat::Iceberg, two_longs()).partitioned(&[("noise", Transform::Bucket(50))]);
    let tight = |options: &mut WriteOptions| {
        options.max_open_files = 4;
        options.open_file_bytes = 1_000;
        options.max_buffered_bytes = 200_000;
    };
    let inputs = vec![vec![numbers(0..20_000)], vec![numbers(20_000..40_000)]];
    let (_fixture, written) = fixture.write_options(inputs, tight).await.unwrap();
    assert_eq!(all_ids(&written.files), (0..40_000).collect::<Vec<i64>>());
    let partitions: BTreeSet<String> = written.files.iter().map(|f| format!("{:?}", f.partition)).collect();
    assert_eq!(partitions.len(), 50);
}

#[tokio::test]
async fn a_small_memory_pool_makes_more_files_not_errors() {
    let mut fixture =
        Fixture::new(TableFormat::Iceberg, two_longs()).partitioned(&[("noise", Transform::Bucket(10))]);
    let runtime = RuntimeEnvBuilder::new().with_memory_limit(200_000, 1.0).build_arc().unwrap();
    fixture.session = SessionContext::new_with_config_rt(SessionConfig::new(), runtime);
    let batches = (0..10).map(|i| numbers(i * 8_000..(i + 1) * 8_000)).collect();
    let (fixture, written) = fixture.write(vec![batches]).await.unwrap();
    assert_eq!(all_ids(&written.files), (0..80_000).collect::<Vec<i64>>());
    assert!(written.files.len() > 10, "{} files", written.files.len());
    assert_eq!(fixture.session.runtime_env().memory_pool.reserved(), 0);
}

#[tokio::test]
async fn sorted_rows_in_table_order() {
    let mut fixture = Fixture::new(TableFormat::Iceberg, two_longs())
        .partitioned(&[("noise", Transform::Bucket(3))])
        .sorted("id", true);
    fixture.session = SessionContext::new();
    let snapshot = Arc::new(clone_snapshot(&fixture.snapshot));
    let rows = numbers(0..5_000);
    let source = MemorySourceConfig::try_new_exec(&[vec![rows.clone()]], rows.schema(), None).unwrap();
    let order = write_order(&snapshot, &rows.schema(), 0).unwrap().unwrap();
    let task = fixture.session.task_ctx();
    let sorted = SortExec::new(order, source).execute(0, task.clone()).unwrap();
    let written =
        write("s.t", &fixture.storage, &snapshot, vec![sorted], InputOrder::TableOrder, &task).await.unwrap();
    assert_eq!(written.files.len(), 3);
    for file in &written.files {
        assert_eq!(file.sort_order_id, Some(7));
        let back = read(&file.path);
        assert!(back.column(0).as_primitive::<Int64Type>().values().windows(2).all(|w| w[0] > w[1]));
    }
    assert_eq!(all_ids(&written.files), (0..5_000).collect::<Vec<i64>>());
}

#[tokio::test]
async fn refused_rows_leave_no_files() {
    let columns = vec![Field::new("id", DataType::Int64, false), Field::new("noise", DataType::Int32, true)];
    let eager = |o: &mut WriteOptions| o.open_file_bytes = 1;
    let good = batch(vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..50_000))),
        ("noise", Arc::new(Int32Array::from_iter_values(0..50_000))),
    ]);
    let null = batch(vec![
        ("id", Arc::new(Int64Array::from(vec![None]))),
        ("n", Arc::new(Int32Array::from(vec![1]))),
    ]);
    let fixture = Fixture::new(TableFormat::Iceberg, columns.clone());
    let error = fixture.write_options(vec![vec![good.clone(), null]], eager).await.err().unwrap();
    let Error::NotNullViolation { table, column } = &error else { panic!("{error}") };
    assert_eq!((table.as_str(), column.as_str()), ("s.t", "id"));

    let long = batch(vec![
        ("id", Arc::new(Int64Array::from(vec![1]))),
        ("n", Arc::new(Int64Array::from(vec![i64::MAX]))),
    ]);
    let fixture = Fixture::new(TableFormat::Iceberg, columns);
    let error = fixture.write(vec![vec![long]]).await.err().unwrap();
    assert!(matches!(error, Error::DataFusion(_)) && error.to_string().contains("noise"), "{error}");
}

#[tokio::test]
async fn cancelled_writes_are_cleaned_up() {
    let fixture = Fixture::new(TableFormat::Iceberg, two_longs());
    let root = fixture._directory.path().to_path_buf();
    let snapshot = Arc::new(clone_snapshot(&fixture.snapshot));
    let schema = FileSchema::of(&snapshot).unwrap();
    let mut options = WriteOptions::of(&snapshot, &schema).unwrap();
    (options.open_file_bytes, options.target_file_bytes) = (1, 1);
    let rows = numbers(0..20_000);
    let endless =
        futures::stream::iter(vec![Ok(rows.clone()), Ok(rows.clone())]).chain(futures::stream::pending());
    let input: SendableRecordBatchStream = Box::pin(RecordBatchStreamAdapter::new(rows.schema(), endless));
    let task = fixture.session.task_ctx();
    let writing = async {
        let mut writer = TableWriter::with("s.t", &fixture.storage, &snapshot, Arc::new(schema), options);
        writer.round(vec![input], 1, InputOrder::Any, &task).await
    };
    let wait = async {
        while parquet_files(&root).is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = writing => panic!("the input never ends"),
        () = wait => {}
    }
    for _ in 0..2_000 {
        if parquet_files(&root).is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("left behind: {:?}", parquet_files(&root));
}

#[tokio::test]
async fn properties_are_heeded_or_refused() {
    let fixture = Fixture::new(TableFormat::Iceberg, two_longs())
        .property("write.parquet.compression-codec", "snappy")
        .property("write.parquet.bloom-filter-enabled.column.id", "true")
        .property("write.data.path", "/nowhere");
    let fixture = {
        let path = format!("{}/elsewhere", fixture._directory.path().display());
        fixture.property("write.data.path", &path)
    };
    let (_fixture, written) = fixture.write(vec![vec![numbers(0..100)]]).await.unwrap();
    let [file] = written.files.as_slice() else { panic!("one file") };
    assert!(file.path.contains("/elsewhere/"));
    let metadata = reader(&file.path).metadata().clone();
    let group = metadata.row_group(0);
    assert_eq!(group.column(0).compression(), Compression::SNAPPY);
    assert!(
        group.column(0).bloom_filter_offset().is_some() && group.column(1).bloom_filter_offset().is_none()
    );
    assert!(group.column(0).column_index_offset().is_some());

    for (key, value) in [
        ("write.parquet.compression-codec", "lzo"),
        ("write.parquet.compression-level", "high"),
        ("write.target-file-size-bytes", "-1"),
        ("write.parquet.bloom-filter-enabled.column.nope", "true"),
    ] {
        let fixture = Fixture::new(TableFormat::Iceberg, two_longs()).property(key, value);
        let error = fixture.write(vec![vec![numbers(0..1)]]).await.err().unwrap();
        assert!(matches!(error, Error::Invalid(_)), "{key}: {error}");
    }
}

#[tokio::test]
async fn no_rows_make_no_files() {
    let (_fixture, written) =
        Fixture::new(TableFormat::Iceberg, two_longs()).write(vec![vec![]]).await.unwrap();
    assert!(written.files.is_empty() && written.rows == 0);
}
