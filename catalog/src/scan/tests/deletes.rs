use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::prelude::SessionConfig;
use datafusion::scalar::ScalarValue;
use roaring::RoaringTreemap;

use super::lake::{Lake, TestFile, batch, field, spec, table_schema};
use crate::table::Transform;
use crate::table::deletes::{EqualityDeleteFile, PositionDeleteFile};
use crate::table::deletion_vector::{DeletionVectorRef, DeletionVectorStorage, encode, encode_inline};

fn longs(values: Vec<i64>) -> RecordBatch {
    batch(vec![(field(1, "a", DataType::Int64), Arc::new(Int64Array::from(values)) as ArrayRef)])
}

fn table(pushdown: bool) -> Lake {
    let mut config = SessionConfig::new().with_target_partitions(4);
    config.options_mut().execution.parquet.pushdown_filters = pushdown;
    config.options_mut().optimizer.repartition_file_min_size = 1;
    Lake::with_config(table_schema(vec![field(1, "a", DataType::Int64)]), config)
}

fn inline(rows: &[u64]) -> DeletionVectorRef {
    let rows: RoaringTreemap = rows.iter().copied().collect();
    let storage = DeletionVectorStorage::Inline(encode_inline(&rows).unwrap());
    DeletionVectorRef { storage, cardinality: rows.len() }
}

#[tokio::test]
async fn deletion_vectors_skip_rows_across_row_groups() {
    for pushdown in [false, true] {
        let mut lake = table(pushdown);
        let mut file = TestFile::new("f", longs((0..1000).collect())).groups_of(100);
        // All of the second row group, the edges of the third, one row elsewhere.
        let deleted: Vec<u64> = (100..200).chain([200, 299, 777]).collect();
        file.deletion_vector = Some(inline(&deleted));
        lake.add(vec![file, TestFile::new("g", longs(vec![5000]))]);
        assert_eq!(
            lake.rows("SELECT count(*), min(a), sum(a) FROM t").await,
            [format!("{},0,{}", 1000 - 103 + 1, 499500 - (100..200).sum::<i64>() - 200 - 299 - 777 + 5000)]
        );
        let counted = lake.plan("SELECT count(*) FROM t").await;
        assert!(!counted.contains("DataSourceExec"), "{counted}");
        assert_eq!(lake.rows("SELECT a FROM t WHERE a BETWEEN 197 AND 202").await, ["201", "202"]);
        assert_eq!(lake.rows("SELECT a FROM t WHERE a IN (776, 777, 778)").await, ["776", "778"]);
        assert_eq!(lake.rows("SELECT a FROM t LIMIT 950").await.len(), 898);
        assert_eq!(
            lake.rows("SELECT a FROM t WHERE a >= 90 ORDER BY a LIMIT 12").await.last().unwrap(),
            "202"
        );
        // The bounds of a file with deletes are estimates.
        assert!(lake.plan("SELECT max(a) FROM t").await.contains("DataSourceExec"));
    }
}

#[tokio::test]
async fn deletion_vectors_of_the_delete_index() {
    let mut lake = table(false);
    lake.add(vec![
        TestFile::new("f", longs(vec![1, 2, 3])).sequence(2),
        TestFile::new("g", longs(vec![4])).sequence(5),
    ]);
    let blob = encode(&[1_u64].into_iter().collect()).unwrap();
    let path = format!("{}/v.puffin", lake.dir.path().display());
    std::fs::write(&path, [&b"PFA1"[..], &blob].concat()).unwrap();
    let storage = DeletionVectorStorage::File { path: path.clone(), offset: 4, length: blob.len() as u64 };
    let vector = DeletionVectorRef { storage, cardinality: 1 };
    lake.deletes.deletion_vectors.insert(lake.location("f"), (3, vector.clone()));
    // Older than the file: not for it.
    lake.deletes.deletion_vectors.insert(lake.location("g"), (3, vector));
    assert_eq!(lake.rows("SELECT a FROM t ORDER BY a").await, ["1", "3", "4"]);
}

fn position_deletes(lake: &Lake, name: &str, rows: &[(&str, i64)]) -> PositionDeleteFile {
    let paths: Vec<String> = rows.iter().map(|(f, _)| lake.location(f)).collect();
    let positions: Vec<i64> = rows.iter().map(|(_, p)| *p).collect();
    let rows = batch(vec![
        (Field::new("file_path", DataType::Utf8, false), Arc::new(StringArray::from(paths)) as ArrayRef),
        (Field::new("pos", DataType::Int64, false), Arc::new(Int64Array::from(positions)) as ArrayRef),
    ]);
    PositionDeleteFile {
        path: lake.location(name),
        size_bytes: lake.write(name, &rows, 2),
        record_count: rows.num_rows() as u64,
        sequence_number: 2,
        referenced_data_file: None,
    }
}

#[tokio::test]
async fn position_deletes_apply_to_their_files() {
    let mut lake = table(false);
    lake.add(vec![
        TestFile::new("f", longs(vec![1, 2, 3])),
        TestFile::new("g", longs(vec![10, 20])),
        TestFile::new("newer", longs(vec![100])).sequence(3),
    ]);
    let shared = position_deletes(&lake, "d1", &[("f", 0), ("f", 2), ("g", 1), ("newer", 0), ("other", 7)]);
    let own = position_deletes(&lake, "d2", &[("f", 1)]);
    lake.deletes.positions_by_partition.insert((0, vec![]), vec![Arc::new(shared)]);
    lake.deletes.positions_by_path.insert(lake.location("f"), vec![Arc::new(own)]);
    assert_eq!(lake.rows("SELECT a FROM t ORDER BY a").await, ["10", "100"]);
    assert_eq!(lake.rows("SELECT count(*) FROM t").await, ["2"]);
    assert_eq!(lake.rows("SELECT a FROM t WHERE a < 15").await, ["10"]);
    std::fs::remove_file(lake.dir.path().join("d1.parquet")).unwrap();
    assert_eq!(lake.rows("SELECT count(*) FROM t").await, ["2"], "decoded deletes are kept");
}

#[tokio::test]
async fn a_missing_delete_file_is_an_error() {
    let mut lake = table(false);
    lake.add(vec![TestFile::new("f", longs(vec![1]))]);
    let deletes = position_deletes(&lake, "d", &[("f", 0)]);
    lake.deletes.positions_by_partition.insert((0, vec![]), vec![Arc::new(deletes)]);
    std::fs::remove_file(lake.dir.path().join("d.parquet")).unwrap();
    let error = lake.try_rows("SELECT a FROM t").await.unwrap_err().to_string();
    assert!(error.contains("d.parquet") && error.contains("does not exist"), "{error}");
}

fn equality(
    lake: &Lake,
    name: &str,
    rows: &RecordBatch,
    ids: Vec<i32>,
    sequence: i64,
) -> Arc<EqualityDeleteFile> {
    Arc::new(EqualityDeleteFile {
        path: lake.location(name),
        size_bytes: lake.write(name, rows, 100),
        record_count: rows.num_rows() as u64,
        sequence_number: sequence,
        field_ids: ids,
    })
}

fn people(ids: Vec<Option<i64>>, names: Vec<&str>) -> RecordBatch {
    batch(vec![
        (field(1, "id", DataType::Int64), Arc::new(Int64Array::from(ids)) as ArrayRef),
        (field(2, "name", DataType::Utf8), Arc::new(StringArray::from(names)) as ArrayRef),
    ])
}

fn people_table() -> Lake {
    let config = SessionConfig::new().with_target_partitions(2);
    Lake::with_config(
        table_schema(vec![field(1, "id", DataType::Int64), field(2, "name", DataType::Utf8View)]),
        config,
    )
}

#[tokio::test]
async fn equality_deletes_hit_older_files_and_null_equals_null() {
    let mut lake = people_table();
    lake.add(vec![
        TestFile::new("f1", people(vec![Some(1), Some(2), None], vec!["a", "b", "c"])).sequence(1),
        TestFile::new("f2", people(vec![Some(1), Some(2)], vec!["a2", "b2"])).sequence(2),
        TestFile::new("f3", people(vec![Some(1), None], vec!["a3", "c3"])).sequence(3),
    ]);
    let key = |v: Vec<Option<i32>>| {
        batch(vec![(field(1, "old_id", DataType::Int32), Arc::new(Int32Array::from(v)) as ArrayRef)])
    };
    // As of 2: id 1 (an int then). As of 3: id 2 and null.
    lake.deletes.equality_global = vec![
        equality(&lake, "e2", &key(vec![Some(1)]), vec![1], 2),
        equality(&lake, "e3", &key(vec![Some(2), None]), vec![1], 3),
    ];
    assert_eq!(lake.rows("SELECT * FROM t ORDER BY name").await, ["1,a2", "1,a3", ",c3"]);
    assert_eq!(lake.rows("SELECT name FROM t ORDER BY name").await, ["a2", "a3", "c3"]);
    assert_eq!(lake.rows("SELECT count(*) FROM t").await, ["3"]);
    assert_eq!(lake.rows("SELECT name FROM t WHERE name LIKE 'a%' LIMIT 9").await.len(), 2);
    let filtered = lake.plan("SELECT name FROM t WHERE name > 'b'").await;
    assert!(filtered.contains("pruning_predicate"), "filters reach the data below the join: {filtered}");
    let plan = lake.plan("SELECT name FROM t").await;
    assert_eq!(plan.matches("HashJoinExec").count(), 1, "one build for all files: {plan}");
}

#[tokio::test]
async fn equality_deletes_on_several_keys_with_positions() {
    let mut lake = people_table();
    lake.add(vec![TestFile::new(
        "f",
        people(vec![Some(1), Some(2), Some(3), Some(4)], vec!["a", "b", "c", "d"]),
    )]);
    let by_id =
        batch(vec![(field(1, "id", DataType::Int64), Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
    lake.deletes.equality_global = vec![
        equality(&lake, "e1", &by_id, vec![1], 5),
        equality(&lake, "e2", &people(vec![Some(2), Some(3)], vec!["b", "x"]), vec![2, 1], 5),
    ];
    let positions = position_deletes(&lake, "p", &[("f", 3)]);
    lake.deletes.positions_by_partition.insert((0, vec![]), vec![Arc::new(positions)]);
    assert_eq!(lake.rows("SELECT * FROM t").await, ["3,c"]);
}

/// `s struct<a, inner struct<b>>`, ids 1 to 4.
fn nested(rows: Vec<Option<(i64, Option<&str>)>>) -> (Field, ArrayRef) {
    let inner = Fields::from(vec![field(4, "b", DataType::Utf8)]);
    let outer = Fields::from(vec![
        field(2, "a", DataType::Int64),
        field(3, "inner", DataType::Struct(inner.clone())),
    ]);
    let a: Int64Array = rows.iter().map(|row| row.map(|(a, _)| a)).collect();
    let b: StringArray = rows.iter().map(|row| row.and_then(|(_, b)| b)).collect();
    let whole = NullBuffer::from_iter(rows.iter().map(Option::is_some));
    let inner = StructArray::new(inner, vec![Arc::new(b)], Some(whole.clone()));
    let values = StructArray::new(outer.clone(), vec![Arc::new(a), Arc::new(inner)], Some(whole));
    (field(1, "s", DataType::Struct(outer)), Arc::new(values))
}

#[tokio::test]
async fn equality_deletes_on_fields_of_structs() {
    let row_ids =
        |n: i64| (field(9, "id", DataType::Int64), Arc::new(Int64Array::from_iter_values(0..n)) as _);
    let data = batch(vec![
        nested(vec![Some((1, Some("x"))), Some((2, Some("y"))), Some((2, None)), None, Some((3, Some("x")))]),
        row_ids(5),
    ]);
    let fields = data.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    let mut lake = Lake::with_config(table_schema(fields), SessionConfig::new().with_target_partitions(2));
    lake.add(vec![TestFile::new("f", data).sequence(1)]);
    // Only the field itself, under a struct of the same id and another name.
    let only_b = Fields::from(vec![field(4, "old_b", DataType::Utf8)]);
    let only_inner = Fields::from(vec![field(3, "inner", DataType::Struct(only_b.clone()))]);
    let values = StructArray::new(only_b, vec![Arc::new(StringArray::from(vec!["x"]))], None);
    let values = StructArray::new(only_inner.clone(), vec![Arc::new(values)], None);
    let by_b = batch(vec![(field(1, "old_s", DataType::Struct(only_inner)), Arc::new(values) as ArrayRef)]);
    lake.deletes.equality_global = vec![equality(&lake, "e1", &by_b, vec![4], 5)];
    assert_eq!(lake.rows("SELECT id FROM t ORDER BY id").await, ["1", "2", "3"]);
    assert_eq!(lake.rows("SELECT count(*) FROM t").await, ["3"]);
    // Two keys of one struct, besides; null equals null, and a null struct has null fields.
    let both = batch(vec![nested(vec![Some((2, None)), Some((2, Some("z")))])]);
    lake.deletes.equality_global.push(equality(&lake, "e2", &both, vec![2, 4], 5));
    assert_eq!(lake.rows("SELECT id FROM t ORDER BY id").await, ["1", "3"]);
    let none = batch(vec![nested(vec![None])]);
    lake.deletes.equality_global.push(equality(&lake, "e3", &none, vec![4], 5));
    assert_eq!(lake.rows("SELECT id FROM t ORDER BY id").await, ["1"]);
}

#[tokio::test]
async fn equality_deletes_of_a_partition_stay_in_it() {
    let mut lake = people_table();
    let by = spec(vec![(2, Transform::Identity, DataType::Utf8)]);
    let value = |v: &str| ScalarValue::Utf8(Some(v.into()));
    lake.add_partitioned(
        by,
        vec![
            TestFile::new("x", people(vec![Some(1), Some(2)], vec!["x", "x"])).partition(vec![value("x")]),
            TestFile::new("y", people(vec![Some(1), Some(2)], vec!["y", "y"])).partition(vec![value("y")]),
            TestFile::new("z", people(vec![Some(1), Some(2)], vec!["z", "z"])).partition(vec![value("z")]),
        ],
    );
    let key = |v: i64| {
        batch(vec![(field(1, "id", DataType::Int64), Arc::new(Int64Array::from(vec![v])) as ArrayRef)])
    };
    let in_x = equality(&lake, "ex", &key(1), vec![1], 9);
    let in_y = equality(&lake, "ey", &key(2), vec![1], 9);
    lake.deletes.equality_by_partition.insert((0, vec![value("x")]), vec![in_x]);
    lake.deletes.equality_by_partition.insert((0, vec![value("y")]), vec![in_y]);
    assert_eq!(lake.rows("SELECT id, name FROM t ORDER BY name, id").await, ["2,x", "1,y", "1,z", "2,z"]);
    assert_eq!(lake.rows("SELECT id FROM t WHERE name = 'x'").await, ["2"]);
}

#[tokio::test]
async fn equality_deletes_on_a_dropped_column_still_count() {
    let mut lake = Lake::new(table_schema(vec![field(2, "name", DataType::Utf8View)]));
    lake.add(vec![TestFile::new("f", people(vec![Some(1), Some(2)], vec!["a", "b"]))]);
    let key = batch(vec![(field(1, "id", DataType::Int64), Arc::new(Int64Array::from(vec![2])) as ArrayRef)]);
    lake.deletes.equality_global = vec![equality(&lake, "e", &key, vec![1], 2)];
    assert_eq!(lake.rows("SELECT * FROM t").await, ["a"]);
}

#[tokio::test]
async fn unknown_partition_values_are_not_null_ones() {
    let mut lake = people_table();
    let by = spec(vec![(2, Transform::Identity, DataType::Utf8)]);
    let null = ScalarValue::Utf8(None);
    let file = TestFile::new("f", people(vec![Some(1), Some(2)], vec!["x", "x"]));
    lake.add_partitioned(by, vec![file.partition(vec![null.clone()])]);
    let list = Arc::get_mut(&mut lake.lists[0]).unwrap();
    list.stats.partitions[0].may_contain_null = vec![false];
    assert_eq!(lake.rows("SELECT id FROM t").await, ["1", "2"]);
    let key = batch(vec![(field(1, "id", DataType::Int64), Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
    let scoped = equality(&lake, "e", &key, vec![1], 9);
    lake.deletes.equality_by_partition.insert((0, vec![null]), vec![scoped]);
    let error = lake.try_rows("SELECT id FROM t").await.unwrap_err().to_string();
    assert!(error.contains("partition"), "{error}");
}
