use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Decimal128Array, Float32Array, Int32Array, Int64Array, ListArray,
    MapArray, RecordBatch, StringArray, StructArray, Time32MillisecondArray, TimestampMillisecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Int64Type, TimeUnit};
use datafusion::prelude::SessionConfig;
use datafusion::scalar::ScalarValue;

use super::lake::{Lake, TestFile, batch, field, table_schema};
use crate::table::schema::{ColumnResolution, FIELD_ID, MappedField, NameMapping, PHYSICAL_NAME};

fn long(v: i64) -> ArrayRef {
    Arc::new(Int64Array::from(vec![v]))
}

fn text(v: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![v]))
}

#[tokio::test]
async fn columns_are_found_by_id_whatever_their_name() {
    for pushdown in [false, true] {
        // a was renamed to b, b dropped, a new a added; c moved to the front.
        let mut config = SessionConfig::new().with_target_partitions(2);
        config.options_mut().execution.parquet.pushdown_filters = pushdown;
        let mut lake = Lake::with_config(
            table_schema(vec![
                field(3, "c", DataType::Utf8View),
                field(1, "b", DataType::Int64),
                field(4, "a", DataType::Int64),
            ]),
            config,
        );
        let old = batch(vec![
            (field(1, "a", DataType::Int64), long(10)),
            (field(2, "b", DataType::Int64), long(20)),
            (field(3, "c", DataType::Utf8), text("x")),
        ]);
        let new = batch(vec![
            (field(3, "c", DataType::Utf8), text("y")),
            (field(1, "b", DataType::Int64), long(11)),
            (field(4, "a", DataType::Int64), long(40)),
        ]);
        lake.add(vec![TestFile::new("old", old), TestFile::new("new", new)]);
        assert_eq!(lake.rows("SELECT * FROM t ORDER BY c").await, ["x,10,", "y,11,40"]);
        assert_eq!(lake.rows("SELECT a, b FROM t WHERE b = 10").await, [",10"]);
        assert_eq!(lake.rows("SELECT b FROM t WHERE a = 40").await, ["11"]);
        assert_eq!(lake.rows("SELECT b FROM t WHERE a IS NULL").await, ["10"]);
        assert_eq!(lake.rows("SELECT b FROM t WHERE a = 20").await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_reused_name_of_another_type_is_no_hazard() {
    // Binary "s" was renamed to "bytes"; "s" is now a string. Its bytes are not UTF-8.
    let mut lake = Lake::new(table_schema(vec![
        field(1, "bytes", DataType::BinaryView),
        field(2, "s", DataType::Utf8View),
    ]));
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![&[0xff_u8, 0xfe][..]]));
    lake.add(vec![TestFile::new("old", batch(vec![(field(1, "s", DataType::Binary), bytes)]))]);
    assert_eq!(lake.rows("SELECT bytes, s FROM t").await, ["fffe,"]);
    assert_eq!(lake.rows("SELECT bytes FROM t WHERE s IS NULL AND bytes = X'fffe'").await, ["fffe"]);
}

#[tokio::test]
async fn types_are_promoted() {
    let mut lake = Lake::new(table_schema(vec![
        field(1, "i", DataType::Int64),
        field(2, "f", DataType::Float64),
        field(3, "d", DataType::Decimal128(18, 2)),
        field(4, "t", DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))),
        field(5, "m", DataType::Time64(TimeUnit::Microsecond)),
    ]));
    let decimal = Decimal128Array::from(vec![1234]).with_precision_and_scale(9, 2).unwrap();
    let millis = TimestampMillisecondArray::from(vec![1500]).with_timezone("UTC");
    let old = batch(vec![
        (field(1, "i", DataType::Int32), Arc::new(Int32Array::from(vec![-7])) as ArrayRef),
        (field(2, "f", DataType::Float32), Arc::new(Float32Array::from(vec![1.5]))),
        (field(3, "d", DataType::Decimal128(9, 2)), Arc::new(decimal)),
        (field(4, "t", millis.data_type().clone()), Arc::new(millis)),
        (
            field(5, "m", DataType::Time32(TimeUnit::Millisecond)),
            Arc::new(Time32MillisecondArray::from(vec![1])),
        ),
    ]);
    lake.add(vec![TestFile::new("old", old)]);
    assert_eq!(lake.rows("SELECT * FROM t").await, ["-7,1.5,12.34,1970-01-01T00:00:01.500Z,00:00:00.001"]);
    assert_eq!(lake.rows("SELECT i FROM t WHERE i = -7 AND f > 1.25 AND d = 12.34").await, ["-7"]);
    let at = "TIMESTAMP '1970-01-01T00:00:01.5Z'";
    assert_eq!(lake.rows(&format!("SELECT i FROM t WHERE t = {at}")).await, ["-7"]);
}

#[tokio::test]
async fn another_type_is_an_error() {
    let mut lake = Lake::new(table_schema(vec![field(1, "i", DataType::Int64)]));
    lake.add(vec![TestFile::new("odd", batch(vec![(field(1, "i", DataType::Utf8), text("5"))]))]);
    let error = lake.try_rows("SELECT i FROM t").await.unwrap_err().to_string();
    assert!(error.contains("cannot be read as Int64"), "{error}");
}

#[tokio::test]
async fn added_columns_have_their_initial_default() {
    for pushdown in [false, true] {
        let mut config = SessionConfig::new();
        config.options_mut().execution.parquet.pushdown_filters = pushdown;
        let mut schema = table_schema(vec![
            field(1, "a", DataType::Int64),
            field(2, "d", DataType::Utf8View).with_nullable(false),
        ]);
        schema.initial_defaults = HashMap::from([(2, ScalarValue::Utf8(Some("none".into())))]);
        let mut lake = Lake::with_config(schema, config);
        lake.add(vec![TestFile::new("old", batch(vec![(field(1, "a", DataType::Int64), long(1))]))]);
        assert_eq!(lake.rows("SELECT * FROM t WHERE d = 'none'").await, ["1,none"]);
        assert_eq!(lake.rows("SELECT * FROM t WHERE d = 'some'").await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_missing_required_column_is_an_error() {
    let mut lake = Lake::new(table_schema(vec![
        field(1, "a", DataType::Int64),
        field(2, "required", DataType::Int64).with_nullable(false),
    ]));
    lake.add(vec![TestFile::new("old", batch(vec![(field(1, "a", DataType::Int64), long(1))]))]);
    let error = lake.try_rows("SELECT required FROM t").await.unwrap_err().to_string();
    assert!(error.contains("required"), "{error}");
}

#[tokio::test]
async fn names_are_mapped_in_files_without_ids() {
    let mut schema = table_schema(vec![field(1, "a", DataType::Int64), field(2, "b", DataType::Int64)]);
    let mapped = |id: i32, names: &[&str]| MappedField {
        field_id: Some(id),
        names: names.iter().map(|n| n.to_string()).collect(),
        fields: vec![],
    };
    schema.resolution = ColumnResolution::FieldId {
        name_mapping: Some(NameMapping { fields: vec![mapped(1, &["x", "b"]), mapped(2, &["y"])] }),
    };
    let plain = |name: &str| Field::new(name, DataType::Int64, true);
    let mut lake = Lake::new(schema);
    lake.add(vec![TestFile::new(
        "hive",
        batch(vec![(plain("b"), long(1)), (plain("y"), long(2)), (plain("a"), long(3))]),
    )]);
    assert_eq!(lake.rows("SELECT a, b FROM t WHERE a = 1").await, ["1,2"]);
}

#[tokio::test]
async fn physical_names_and_plain_names() {
    let mapped = |name: &str, physical: &str| {
        Field::new(name, DataType::Int64, true).with_metadata(HashMap::from([
            (FIELD_ID.to_string(), if name == "a" { "1" } else { "2" }.to_string()),
            (PHYSICAL_NAME.to_string(), physical.to_string()),
        ]))
    };
    let mut schema = table_schema(vec![mapped("a", "col-1"), mapped("b", "a")]);
    schema.resolution = ColumnResolution::Name;
    let plain = |name: &str| Field::new(name, DataType::Int64, true);
    let mut lake = Lake::new(schema);
    lake.add(vec![TestFile::new("f", batch(vec![(plain("a"), long(2)), (plain("col-1"), long(1))]))]);
    assert_eq!(lake.rows("SELECT a, b FROM t WHERE b = 2").await, ["1,2"]);
}

/// A struct in a struct, in a list and in a map, as of an old schema: `x` (id 11) is an int.
fn nested(id: i32, name: &str) -> RecordBatch {
    let point: Fields =
        vec![field(id + 1, "x", DataType::Int32), field(id + 2, "gone", DataType::Int64)].into();
    let points = StructArray::new(
        point.clone(),
        vec![Arc::new(Int32Array::from(vec![1, 2])), Arc::new(Int64Array::from(vec![8, 9]))],
        None,
    );
    let one = points.slice(0, 1);
    let element = Arc::new(field(id + 3, "element", DataType::Struct(point.clone())));
    let list = ListArray::new(element, OffsetBuffer::from_lengths([2]), Arc::new(points.clone()), None);
    let key = field(id + 4, "key", DataType::Utf8).with_nullable(false);
    let parts: Fields = vec![key, field(id + 5, "value", DataType::Struct(point.clone()))].into();
    let entries = StructArray::new(parts.clone(), vec![text("k"), Arc::new(one.clone())], None);
    let entry = Arc::new(Field::new("key_value", DataType::Struct(parts), false));
    let map = MapArray::new(entry, OffsetBuffer::from_lengths([1]), entries, None, false);
    let all: Fields = vec![
        field(id + 6, "p", one.data_type().clone()),
        field(id + 7, "l", list.data_type().clone()),
        field(id + 8, "m", map.data_type().clone()),
    ]
    .into();
    let all = StructArray::new(all, vec![Arc::new(one), Arc::new(list), Arc::new(map)], None);
    batch(vec![(field(id, name, all.data_type().clone()), Arc::new(all) as ArrayRef)])
}

#[tokio::test]
async fn nested_fields_are_renamed_promoted_added_and_dropped() {
    for pushdown in [false, true] {
        let mut config = SessionConfig::new().with_target_partitions(2);
        config.options_mut().execution.parquet.pushdown_filters = pushdown;
        // x is now "y" and long; "gone" was dropped and a new "x" (19) added, with a default.
        let id = 10;
        let point: Fields =
            vec![field(19, "x", DataType::Utf8View), field(id + 1, "y", DataType::Int64)].into();
        let point = DataType::Struct(point);
        let parts: Fields = vec![
            field(id + 4, "key", DataType::Utf8View).with_nullable(false),
            field(id + 5, "value", point.clone()),
        ]
        .into();
        let entry = Arc::new(Field::new("entries", DataType::Struct(parts), false));
        let all: Fields = vec![
            field(id + 7, "list", DataType::List(Arc::new(field(id + 3, "item", point.clone())))),
            field(id + 8, "map", DataType::Map(entry, false)),
            field(id + 6, "point", point.clone()),
        ]
        .into();
        let mut schema = table_schema(vec![field(id, "all", DataType::Struct(all))]);
        schema.initial_defaults = HashMap::from([(19, ScalarValue::Utf8(Some("new".into())))]);
        let mut lake = Lake::with_config(schema, config);
        lake.add(vec![TestFile::new("old", nested(id, "everything"))]);
        assert_eq!(
            lake.rows("SELECT \"all\" FROM t").await,
            ["{list: [{x: new, y: 1}, {x: new, y: 2}], map: {k: {x: new, y: 1}}, point: {x: new, y: 1}}"]
        );
        assert_eq!(
            lake.rows("SELECT \"all\"['point']['y'] FROM t WHERE \"all\"['point']['y'] = 1").await,
            ["1"]
        );
        assert_eq!(lake.rows("SELECT 1 FROM t WHERE \"all\"['point']['y'] = 2").await, Vec::<String>::new());
        assert_eq!(lake.rows("SELECT 1 FROM t WHERE \"all\"['point']['x'] = 'new'").await, ["1"]);
        assert_eq!(
            lake.rows("SELECT 1 FROM t WHERE \"all\"['point']['x'] = 'old'").await,
            Vec::<String>::new()
        );
        assert_eq!(lake.rows("SELECT 1 FROM t WHERE \"all\" IS NOT NULL").await, ["1"]);
        assert_eq!(lake.rows("SELECT \"all\"['list'][2]['y'] FROM t").await, ["2"]);
    }
}

#[tokio::test]
async fn lists_are_filtered_after_promotion() {
    for pushdown in [false, true] {
        let mut config = SessionConfig::new().with_target_partitions(2);
        config.options_mut().execution.parquet.pushdown_filters = pushdown;
        let element = Arc::new(field(2, "element", DataType::Int64));
        let mut lake = Lake::with_config(table_schema(vec![field(1, "l", DataType::List(element))]), config);
        let old = Arc::new(field(2, "array", DataType::Int32));
        let values: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3]));
        let list = ListArray::new(old.clone(), OffsetBuffer::from_lengths([2, 1]), values, None);
        lake.add(vec![TestFile::new(
            "old",
            batch(vec![(field(1, "l", DataType::List(old)), Arc::new(list) as ArrayRef)]),
        )]);
        assert_eq!(lake.rows("SELECT l FROM t WHERE array_has(l, 3)").await, ["[3]"]);
        assert_eq!(lake.rows("SELECT count(*) FROM t WHERE l IS NULL").await, ["0"]);
    }
}

#[tokio::test]
async fn batches_have_exactly_the_schema_of_the_table() {
    let mut lake =
        Lake::new(table_schema(vec![field(1, "a", DataType::Int64), field(2, "s", DataType::Utf8View)]));
    lake.add(vec![TestFile::new(
        "old",
        batch(vec![(field(1, "z", DataType::Int32), Arc::new(Int32Array::from(vec![4])) as ArrayRef)]),
    )]);
    let plan = lake.physical("SELECT * FROM t").await;
    let batches = datafusion::physical_plan::collect(plan, lake.ctx.task_ctx()).await.unwrap();
    assert_eq!(batches[0].schema(), lake.schema.arrow);
    assert_eq!(batches[0].column(0).as_primitive::<Int64Type>().value(0), 4);
}
