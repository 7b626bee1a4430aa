use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use datafusion::prelude::SessionConfig;
use datafusion::scalar::ScalarValue;

use super::lake::{Lake, TestFile, batch, field, spec, table_schema};
use crate::Error;
use crate::table::{FileList, SortField, SortOrder, Transform};

fn longs(values: Vec<Option<i64>>) -> RecordBatch {
    batch(vec![(field(1, "a", DataType::Int64), Arc::new(Int64Array::from(values)) as ArrayRef)])
}

#[tokio::test]
async fn counts_and_bounds_come_from_metadata() {
    let mut lake = Lake::new(table_schema(vec![field(1, "a", DataType::Int64)]));
    lake.add(vec![
        TestFile::new("x", longs(vec![Some(3), None])),
        TestFile::new("y", longs(vec![Some(9)])),
        TestFile::new("z", longs(vec![None])),
    ]);
    let sql = "SELECT count(*), count(a), min(a), max(a) FROM t";
    let plan = lake.plan(sql).await;
    assert!(!plan.contains("DataSourceExec"), "{plan}");
    assert_eq!(lake.rows(sql).await, ["4,2,3,9"]);
    // A filter leaves only estimates.
    assert_eq!(lake.rows("SELECT count(*), max(a) FROM t WHERE a < 5").await, ["1,3"]);
}

#[tokio::test]
async fn truncated_bounds_answer_nothing() {
    let mut lake = Lake::new(table_schema(vec![field(1, "s", DataType::Utf8View)]));
    let rows =
        batch(vec![(field(1, "s", DataType::Utf8), Arc::new(StringArray::from(vec!["abc"])) as ArrayRef)]);
    let mut file = TestFile::new("f", rows);
    file.bounds = Some(vec![(1, ScalarValue::Utf8(Some("a".into())), ScalarValue::Utf8(Some("b".into())))]);
    lake.add(vec![file]);
    assert_eq!(lake.rows("SELECT min(s), max(s) FROM t").await, ["abc,abc"]);
}

#[tokio::test]
async fn an_empty_table_is_empty() {
    let lake = Lake::new(table_schema(vec![field(1, "a", DataType::Int64)]));
    assert_eq!(lake.rows("SELECT count(*), max(a) FROM t").await, ["0,"]);
    assert_eq!(lake.rows("SELECT * FROM t ORDER BY a LIMIT 1").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_missing_file_is_named() {
    let mut lake = Lake::new(table_schema(vec![field(1, "a", DataType::Int64)]));
    lake.add(vec![
        TestFile::new("gone", longs(vec![Some(1)])),
        TestFile::new("broken", longs(vec![Some(500)])),
    ]);
    std::fs::remove_file(lake.dir.path().join("gone.parquet")).unwrap();
    std::fs::write(lake.dir.path().join("broken.parquet"), vec![0; 400]).unwrap();
    for name in ["gone", "broken"] {
        let sql = if name == "gone" { "SELECT a FROM t WHERE a < 9" } else { "SELECT a FROM t WHERE a > 9" };
        let error = lake.try_rows(sql).await.unwrap_err();
        let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        let mut found = None;
        while let Some(e) = source {
            found = found.or_else(|| e.downcast_ref::<Error>());
            source = e.source();
        }
        assert!(matches!(found, Some(Error::Corrupt { .. })), "{error:?}");
        assert!(error.to_string().contains(&format!("{name}.parquet")), "{error}");
    }
}

#[tokio::test]
async fn a_limit_stops_at_enough_files() {
    let mut lake = Lake::new(table_schema(vec![field(1, "a", DataType::Int64)]));
    lake.add((0..20).map(|i| TestFile::new(&format!("f{i}"), longs(vec![Some(i), Some(i)]))).collect());
    assert_eq!(lake.scanned("SELECT a FROM t LIMIT 5").await.len(), 3);
    assert_eq!(lake.rows("SELECT a FROM t LIMIT 5").await.len(), 5);
    assert_eq!(lake.rows("SELECT a FROM t LIMIT 500").await.len(), 40);
}

#[tokio::test]
async fn a_certain_order_needs_no_sort() {
    let mut lake = Lake::new(table_schema(vec![field(1, "a", DataType::Int64)]));
    let asc =
        SortField { source_id: 1, transform: Transform::Identity, descending: false, nulls_first: false };
    lake.sort_order = SortOrder { order_id: 1, fields: vec![asc] };
    let file = |name: &str, values: Vec<i64>| {
        let mut file = TestFile::new(name, longs(values.into_iter().map(Some).collect()));
        file.sort_order_id = Some(1);
        file
    };
    lake.add(vec![file("c", vec![7, 8]), file("a", vec![1, 2]), file("b", vec![3, 9])]);
    let sql = "SELECT a FROM t ORDER BY a NULLS LAST";
    let plan = lake.plan(sql).await;
    assert!(!plan.contains("SortExec"), "{plan}");
    assert_eq!(lake.rows(sql).await, ["1", "2", "3", "7", "8", "9"]);
    // One file of unknown order: nothing is certain.
    lake.add(vec![TestFile::new("d", longs(vec![Some(6), Some(0)]))]);
    assert!(lake.plan(sql).await.contains("SortExec"));
    assert_eq!(lake.rows(sql).await, ["0", "1", "2", "3", "6", "7", "8", "9"]);
}

#[tokio::test]
async fn planning_costs_by_surviving_files() {
    let mut lake = Lake::with_config(
        table_schema(vec![field(1, "a", DataType::Int64), field(2, "p", DataType::Int64)]),
        SessionConfig::new().with_target_partitions(2),
    );
    // Ten lists of a thousand files; one real file stands for all.
    let rows = || longs(vec![Some(1)]);
    for l in 0..10_i64 {
        let by = spec(vec![(2, Transform::Identity, DataType::Int64)]);
        let files = (0..2).map(|i| {
            TestFile::new(&format!("l{l}_{i}"), rows())
                .partition(vec![ScalarValue::Int64(Some(l * 1000 + i))])
        });
        lake.add_partitioned(by, files.collect());
    }
    for (l, list) in lake.lists.iter_mut().enumerate() {
        *list = Arc::new(widened(list, l as i64 * 1000));
    }
    let sql = "SELECT a FROM t WHERE p = 5001";
    assert_eq!(lake.rows(sql).await, ["1"]);
    let start = Instant::now();
    lake.plan(sql).await;
    let elapsed = start.elapsed();
    assert!(elapsed.as_millis() < 50, "{elapsed:?}");
}

/// The list with its files repeated up to a thousand, partition values counting on from `first`.
fn widened(list: &FileList, first: i64) -> FileList {
    let n = 1000;
    let pick: Vec<usize> = (0..n).map(|i| i.min(list.files.len() - 1)).collect();
    let indices = arrow::array::UInt64Array::from(pick.iter().map(|i| *i as u64).collect::<Vec<_>>());
    let take = |a: &ArrayRef| arrow::compute::take(a, &indices, None).unwrap();
    let mut stats = list.stats.clone();
    stats.len = n;
    stats.row_counts = pick.iter().map(|i| Some(stats.row_counts.value(*i))).collect();
    for bounds in stats.columns.values_mut() {
        bounds.lower = take(&bounds.lower);
        bounds.upper = take(&bounds.upper);
        bounds.null_count = (0..n).map(|_| Some(0)).collect();
        bounds.nan_count = None;
    }
    for partition in &mut stats.partitions {
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values((0..n as i64).map(|i| first + i)));
        partition.lower = values.clone();
        partition.upper = values;
        partition.may_contain_null = vec![false; n];
    }
    FileList { files: pick.iter().map(|i| list.files[*i].clone()).collect(), stats, state: None }
}
