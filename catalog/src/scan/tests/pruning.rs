use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use datafusion::prelude::SessionConfig;
use datafusion::scalar::ScalarValue;

use super::lake::{Lake, TestFile, batch, field, table_schema};

fn longs(id: i32, name: &str, values: Vec<Option<i64>>) -> RecordBatch {
    batch(vec![(field(id, name, DataType::Int64), Arc::new(Int64Array::from(values)) as ArrayRef)])
}

#[tokio::test]
async fn files_are_pruned_by_bounds_and_null_counts() {
    let mut lake = Lake::new(table_schema(vec![field(1, "a", DataType::Int64)]));
    lake.add(vec![
        TestFile::new("low", longs(1, "a", vec![Some(1), Some(5)])),
        TestFile::new("high", longs(1, "a", vec![Some(10), None])),
        TestFile::new("nulls", longs(1, "a", vec![None, None])),
    ]);
    assert_eq!(lake.scanned("SELECT a FROM t WHERE a > 5").await, ["high"]);
    assert_eq!(lake.scanned("SELECT a FROM t WHERE a IS NULL").await, ["high", "nulls"]);
    assert_eq!(lake.scanned("SELECT a FROM t WHERE a IN (1, 2)").await, ["low"]);
    assert_eq!(lake.rows("SELECT a FROM t WHERE a > 5").await, ["10"]);
    assert_eq!(lake.rows("SELECT count(*) FROM t WHERE a IS NULL").await, ["3"]);
    let nothing = lake.plan("SELECT a FROM t WHERE a > 50 ORDER BY a").await;
    assert!(nothing.contains("EmptyExec"), "{nothing}");
    assert_eq!(lake.rows("SELECT a FROM t WHERE a > 50 ORDER BY a").await, Vec::<String>::new());
}

#[tokio::test]
async fn promoted_and_added_columns_keep_their_rows() {
    let mut lake =
        Lake::new(table_schema(vec![field(1, "a", DataType::Int64), field(2, "b", DataType::Int64)]));
    let old =
        batch(vec![(field(1, "a", DataType::Int32), Arc::new(Int32Array::from(vec![1, 7])) as ArrayRef)]);
    lake.add(vec![TestFile::new("old", old)]);
    let new = batch(vec![
        (field(1, "a", DataType::Int64), Arc::new(Int64Array::from(vec![1 << 40])) as ArrayRef),
        (field(2, "b", DataType::Int64), Arc::new(Int64Array::from(vec![3])) as ArrayRef),
    ]);
    lake.add(vec![TestFile::new("new", new)]);
    assert_eq!(lake.scanned("SELECT a FROM t WHERE a > 7").await, ["new"]);
    assert_eq!(lake.rows("SELECT a FROM t WHERE a = 7").await, ["7"]);
    assert_eq!(lake.rows("SELECT a, b FROM t WHERE b IS NULL ORDER BY a").await, ["1,", "7,"]);
    assert_eq!(lake.rows("SELECT a, b FROM t WHERE b = 3").await, ["1099511627776,3"]);
    assert_eq!(lake.rows("SELECT max(a), min(a) FROM t").await, ["1099511627776,1"]);
}

#[tokio::test]
async fn nan_is_above_every_bound() {
    let doubles = |values: Vec<f64>| {
        batch(vec![(field(1, "x", DataType::Float64), Arc::new(Float64Array::from(values)) as ArrayRef)])
    };
    let mut lake = Lake::new(table_schema(vec![field(1, "x", DataType::Float64)]));
    let mut with_nan = TestFile::new("with_nan", doubles(vec![1.0, f64::NAN]));
    with_nan.nan_counts = false;
    with_nan.exact = false;
    let mut without = TestFile::new("without", doubles(vec![2.0, 3.0]));
    without.exact = false;
    lake.add(vec![with_nan, without]);
    assert_eq!(lake.scanned("SELECT x FROM t WHERE x > 5").await, ["with_nan"]);
    assert_eq!(lake.rows("SELECT x FROM t WHERE x > 5").await, ["NaN"]);
    assert_eq!(lake.scanned("SELECT x FROM t WHERE x < 1.5").await, ["with_nan"]);
    assert_eq!(lake.rows("SELECT x FROM t WHERE x < 5 ORDER BY x").await, ["1.0", "2.0", "3.0"]);
    assert_eq!(lake.rows("SELECT x FROM t ORDER BY x DESC LIMIT 1").await, ["NaN"]);
    let max = lake.rows("SELECT max(x) FROM t").await;
    assert_eq!(max, ["NaN"]);
    // Where there is certainly no NaN, row groups are pruned from above as well.
    let analyzed = lake.rows("EXPLAIN ANALYZE SELECT x FROM t WHERE x > 2.5").await.join("\n");
    assert!(analyzed.contains("FilterExec"), "{analyzed}");
}

#[tokio::test]
async fn truncated_string_bounds_lose_no_row() {
    let text = |values: Vec<&str>| {
        batch(vec![(field(1, "s", DataType::Utf8), Arc::new(StringArray::from(values)) as ArrayRef)])
    };
    let mut lake = Lake::new(table_schema(vec![field(1, "s", DataType::Utf8View)]));
    let mut long = TestFile::new("long", text(vec!["abcdef", "abcxyz"]));
    long.bounds =
        Some(vec![(1, ScalarValue::Utf8(Some("abc".into())), ScalarValue::Utf8(Some("abd".into())))]);
    lake.add(vec![long, TestFile::new("other", text(vec!["b", "z"]))]);
    assert_eq!(lake.rows("SELECT s FROM t WHERE s = 'abcxyz'").await, ["abcxyz"]);
    assert_eq!(lake.scanned("SELECT s FROM t WHERE s = 'abcxyz'").await, ["long"]);
    assert_eq!(lake.rows("SELECT s FROM t WHERE s LIKE 'abcx%'").await, ["abcxyz"]);
    assert_eq!(lake.scanned("SELECT s FROM t WHERE s >= 'c'").await, ["other"]);
}

#[tokio::test]
async fn row_groups_are_pruned_and_filters_pushed_down() {
    for pushdown in [false, true] {
        let mut config = SessionConfig::new().with_target_partitions(2);
        config.options_mut().execution.parquet.pushdown_filters = pushdown;
        let mut lake = Lake::with_config(table_schema(vec![field(1, "a", DataType::Int64)]), config);
        let values = (0..1000).map(Some).collect();
        lake.add(vec![TestFile::new("f", longs(1, "old_name", values)).groups_of(100)]);
        assert_eq!(lake.rows("SELECT a FROM t WHERE a = 555").await, ["555"]);
        let plan = lake.plan("SELECT a FROM t WHERE a = 555").await;
        assert!(plan.contains("pruning_predicate"), "{plan}");
        assert_eq!(plan.contains("FilterExec"), !pushdown, "{plan}");
        let analyzed = lake.rows("EXPLAIN ANALYZE SELECT a FROM t WHERE a = 555").await.join("\n");
        assert!(analyzed.contains("row_groups_pruned_statistics=10 total → 1 matched"), "{analyzed}");
        assert!(analyzed.contains("table_files_seen=1"), "{analyzed}");
    }
}

#[tokio::test]
async fn dynamic_filters_reach_the_scan() {
    let mut lake = Lake::new(table_schema(vec![field(1, "a", DataType::Int64)]));
    lake.add(vec![
        TestFile::new("x", longs(1, "a", (0..100).map(Some).collect())),
        TestFile::new("y", longs(1, "a", (100..200).map(Some).collect())),
    ]);
    let top = lake.plan("SELECT a FROM t ORDER BY a DESC LIMIT 3").await;
    assert!(top.contains("predicate=DynamicFilter"), "{top}");
    assert_eq!(lake.rows("SELECT a FROM t ORDER BY a DESC LIMIT 2").await, ["199", "198"]);
    let join = lake.plan("SELECT t.a FROM t JOIN (VALUES (5), (7)) v(b) ON t.a = v.b").await;
    assert!(join.contains("predicate=DynamicFilter"), "{join}");
    assert_eq!(
        lake.rows("SELECT t.a FROM t JOIN (VALUES (5), (7)) v(b) ON t.a = v.b ORDER BY 1").await,
        ["5", "7"]
    );
}
