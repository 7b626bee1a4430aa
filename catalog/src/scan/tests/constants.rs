use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use datafusion::prelude::SessionConfig;
use datafusion::scalar::ScalarValue;

use super::lake::{Lake, TestFile, batch, field, spec, table_schema};
use crate::table::Transform;
use crate::table::schema::ColumnResolution;

fn ids(values: Vec<i64>) -> RecordBatch {
    batch(vec![(field(2, "id", DataType::Int64), Arc::new(Int64Array::from(values)) as ArrayRef)])
}

/// Partition columns first and last in the table, and in no file.
fn partitioned(pushdown: bool) -> Lake {
    let mut schema = table_schema(vec![
        field(1, "region", DataType::Utf8View),
        field(2, "id", DataType::Int64),
        field(3, "day", DataType::Date32),
    ]);
    schema.resolution = ColumnResolution::Name;
    let mut config = SessionConfig::new().with_target_partitions(2);
    config.options_mut().execution.parquet.pushdown_filters = pushdown;
    let mut lake = Lake::with_config(schema, config);
    let by = spec(vec![(1, Transform::Identity, DataType::Utf8), (3, Transform::Identity, DataType::Date32)]);
    let value = |region: Option<&str>, day: i32| {
        vec![ScalarValue::Utf8(region.map(str::to_string)), ScalarValue::Date32(Some(day))]
    };
    lake.add_partitioned(
        by,
        vec![
            TestFile::new("eu", ids(vec![1, 2])).partition(value(Some("eu"), 0)),
            TestFile::new("us", ids(vec![3])).partition(value(Some("us"), 1)),
            TestFile::new("none", ids(vec![4])).partition(value(None, 1)),
        ],
    );
    lake
}

#[tokio::test]
async fn partition_values_are_columns_in_schema_order() {
    for pushdown in [false, true] {
        let lake = partitioned(pushdown);
        let all = lake.rows("SELECT * FROM t ORDER BY id").await;
        assert_eq!(all, ["eu,1,1970-01-01", "eu,2,1970-01-01", "us,3,1970-01-02", ",4,1970-01-02"]);
        assert_eq!(lake.rows("SELECT day, id, region FROM t WHERE id = 3").await, ["1970-01-02,3,us"]);
        assert_eq!(lake.scanned("SELECT id FROM t WHERE region = 'us'").await, ["us"]);
        assert_eq!(
            lake.rows("SELECT id FROM t WHERE region = 'us' AND day = DATE '1970-01-02'").await,
            ["3"]
        );
        assert_eq!(lake.rows("SELECT id FROM t WHERE region IS NULL").await, ["4"]);
        assert_eq!(lake.rows("SELECT id FROM t WHERE region IS NOT NULL ORDER BY id").await, ["1", "2", "3"]);
        assert_eq!(lake.rows("SELECT id FROM t WHERE region <> 'eu'").await, ["3"]);
        assert_eq!(
            lake.rows("SELECT region, count(*) FROM t GROUP BY region ORDER BY 1").await,
            ["eu,2", "us,1", ",1"]
        );
        assert_eq!(lake.rows("SELECT region FROM t WHERE day = DATE '1970-01-01'").await, ["eu", "eu"]);
        let either = "SELECT id FROM t WHERE region = 'us' OR id = 1 ORDER BY id";
        assert_eq!(lake.rows(either).await, ["1", "3"]);
        assert_eq!(lake.rows("SELECT id FROM t WHERE region || 'x' = 'usx'").await, ["3"]);
        assert_eq!(lake.rows("SELECT 7 FROM t").await, ["7", "7", "7", "7"]);
        assert_eq!(lake.rows("SELECT region FROM t ORDER BY region DESC NULLS LAST LIMIT 1").await, ["us"]);
    }
}

#[tokio::test]
async fn constants_are_answered_from_metadata() {
    let lake = partitioned(false);
    let sql = "SELECT count(*), min(day), max(day), max(id) FROM t";
    let plan = lake.plan(sql).await;
    assert!(!plan.contains("DataSourceExec"), "{plan}");
    assert_eq!(lake.rows(sql).await, ["4,1970-01-01,1970-01-02,4"]);
    let counted = lake.plan("SELECT count(region) FROM t").await;
    assert!(!counted.contains("DataSourceExec"), "{counted}");
    assert_eq!(lake.rows("SELECT count(region) FROM t").await, ["3"]);
}

#[tokio::test]
async fn partition_columns_that_files_hold_are_read_as_well() {
    // An identity partition column in the file, and one whose spec has changed since.
    let mut lake = Lake::new(table_schema(vec![
        field(1, "day", DataType::Date32),
        field(2, "name", DataType::Utf8View),
    ]));
    let rows = |day: i32, name: &str| {
        batch(vec![
            (field(2, "name", DataType::Utf8), Arc::new(StringArray::from(vec![name])) as ArrayRef),
            (field(1, "day", DataType::Date32), Arc::new(Date32Array::from(vec![day])) as ArrayRef),
        ])
    };
    lake.add(vec![TestFile::new("unpartitioned", rows(5, "a"))]);
    lake.add_partitioned(
        spec(vec![(1, Transform::Identity, DataType::Date32)]),
        vec![TestFile::new("partitioned", rows(6, "b")).partition(vec![ScalarValue::Date32(Some(6))])],
    );
    assert_eq!(lake.rows("SELECT * FROM t ORDER BY day").await, ["1970-01-06,a", "1970-01-07,b"]);
    assert_eq!(lake.rows("SELECT name FROM t WHERE day > DATE '1970-01-06'").await, ["b"]);
    assert_eq!(lake.rows("SELECT count(*) FROM t").await, ["2"]);
}
