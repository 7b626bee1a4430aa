use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use datafusion::catalog::TableProvider;
use datafusion::prelude::{SessionConfig, col, lit};
use datafusion::scalar::ScalarValue;
use roaring::RoaringTreemap;

use super::lake::{Lake, TestFile, batch, field, spec, table_schema};
use crate::dml::rows::{FILE, POSITION};
use crate::scan::address_book::AddressBook;
use crate::scan::addressed_table::AddressedTable;
use crate::scan::planned_file::ScanColumn;
use crate::scan::row_columns::{ROW_ID, ROW_SEQUENCE, RowColumn, RowColumns};
use crate::scan::surviving_rows::rows_of;
use crate::table::deletes::EqualityDeleteFile;
use crate::table::deletion_vector::{DeletionVectorRef, DeletionVectorStorage, encode_inline};
use crate::table::{LiveFile, RowLineage, Transform};

/// Registers the lake's table with addresses as `a`.
fn addressed(lake: &Lake) -> Arc<AddressBook> {
    let book = Arc::new(AddressBook::default());
    let table = AddressedTable::of_snapshot(lake.snapshot(), lake.storage(), book.clone()).with_lineage();
    lake.ctx.deregister_table("a").unwrap();
    lake.ctx.register_table("a", Arc::new(table)).unwrap();
    book
}

fn inline(rows: &[u64]) -> DeletionVectorRef {
    let rows: RoaringTreemap = rows.iter().copied().collect();
    let storage = DeletionVectorStorage::Inline(encode_inline(&rows).unwrap());
    DeletionVectorRef { storage, cardinality: rows.len() }
}

/// Rows whose number is 10000 × file + position, so that each can be held against its address. File 1
/// was written before the columns were renamed and promoted.
fn numbered(pushdown: bool) -> Lake {
    let mut config = SessionConfig::new().with_target_partitions(4).with_batch_size(64);
    let options = config.options_mut();
    options.execution.parquet.pushdown_filters = pushdown;
    options.optimizer.repartition_file_min_size = 1;
    let fields = vec![
        field(1, "n", DataType::Int64),
        field(2, "s", DataType::Utf8View),
        field(3, "since", DataType::Int32),
    ];
    let mut lake = Lake::with_config(table_schema(fields), config);
    let rows = |file: i64, rows: i64| {
        let numbers: Vec<i64> = (0..rows).map(|p| file * 10_000 + p).collect();
        let texts: Vec<String> = numbers.iter().map(|n| format!("s{}", n % 7)).collect();
        let numbers: ArrayRef = match file {
            1 => Arc::new(numbers.into_iter().map(|n| n as i32).collect::<Int32Array>()),
            _ => Arc::new(Int64Array::from(numbers)),
        };
        let name = |new: &'static str| if file == 1 { format!("old_{new}") } else { new.to_string() };
        batch(vec![
            (field(2, &name("s"), DataType::Utf8), Arc::new(StringArray::from(texts)) as ArrayRef),
            (field(1, &name("n"), numbers.data_type().clone()), numbers),
        ])
    };
    let mut deleted = TestFile::new("f2", rows(2, 1000)).groups_of(100).sequence(1);
    deleted.deletion_vector = Some(inline(&deleted_of_2()));
    lake.add(vec![TestFile::new("f0", rows(0, 1000)).groups_of(90).sequence(3), deleted]);
    lake.add(vec![TestFile::new("f1", rows(1, 500)).groups_of(60).sequence(1)]);
    lake
}

fn deleted_of_2() -> Vec<u64> {
    (0..5).chain(100..200).chain([299, 300, 777]).collect()
}

/// The numbers that a query over `a` gives, each held against its address; sorted.
async fn numbers(lake: &Lake, book: &AddressBook, condition: &str) -> Vec<i64> {
    let sql = format!("SELECT \"{POSITION}\", n, \"{FILE}\" FROM a {condition}");
    let batches = lake.ctx.sql(&sql).await.unwrap().collect().await.unwrap();
    let mut numbers = Vec::new();
    for batch in batches {
        let (position, n) =
            (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_primitive::<Int64Type>());
        let file = batch.column(2).as_primitive::<Int32Type>();
        for row in 0..batch.num_rows() {
            let path = book.file(file.value(row)).unwrap().path().to_string();
            let name = format!("f{}.parquet", n.value(row) / 10_000);
            assert!(path.ends_with(&name), "{path} holds {}: {condition}", n.value(row));
            assert_eq!(position.value(row), n.value(row) % 10_000, "{path}: {condition}");
            numbers.push(n.value(row));
        }
    }
    numbers.sort_unstable();
    numbers
}

fn expected(keep: impl Fn(i64) -> bool) -> Vec<i64> {
    let gone = deleted_of_2();
    let third = (0..1000).filter(|p| !gone.contains(&(*p as u64))).map(|p| 20_000 + p);
    let all = (0..1000).chain(10_000..10_500).chain(third);
    all.filter(|n| keep(*n)).collect()
}

#[tokio::test]
async fn every_row_knows_its_place() {
    for pushdown in [false, true] {
        let lake = numbered(pushdown);
        let book = addressed(&lake);
        assert_eq!(numbers(&lake, &book, "").await, expected(|_| true));
        // Row groups and pages left out, from within and from the ends, with deletes and without.
        for (low, high) in [(95, 96), (250, 444), (10_130, 10_140), (20_190, 20_320), (20_990, 20_999)] {
            let condition = format!("WHERE n BETWEEN {low} AND {high}");
            assert_eq!(numbers(&lake, &book, &condition).await, expected(|n| (low..=high).contains(&n)));
        }
        // Rows left out while decoding.
        assert_eq!(numbers(&lake, &book, "WHERE s = 's3'").await, expected(|n| n % 7 == 3));
        let both = "WHERE s = 's3' AND n > 20250";
        assert_eq!(numbers(&lake, &book, both).await, expected(|n| n % 7 == 3 && n > 20_250));
        assert_eq!(
            numbers(&lake, &book, "WHERE since IS NULL AND n % 97 = 5").await,
            expected(|n| n % 97 == 5)
        );
        assert!(numbers(&lake, &book, "WHERE since IS NOT NULL").await.is_empty());
        // Filters on addresses, and on both.
        let condition = format!("WHERE \"{POSITION}\" = 444");
        assert_eq!(numbers(&lake, &book, &condition).await, [444, 10_444, 20_444]);
        let condition = format!("WHERE \"{POSITION}\" = 444 OR n = 445");
        assert_eq!(numbers(&lake, &book, &condition).await, [444, 445, 10_444, 20_444]);
        let condition = format!("WHERE \"{FILE}\" + \"{POSITION}\" < n - 20200 AND n < 20500");
        let f2 = expected(|n| (20_000..20_500).contains(&n)).into_iter();
        let position_of_f2 = |n: i64| n - 20_000;
        let number_of_f2 =
            (0..).find(|i| book.file(*i).is_none_or(|f| f.path().ends_with("f2.parquet"))).unwrap();
        let kept: Vec<i64> =
            f2.filter(|n| i64::from(number_of_f2) + position_of_f2(*n) < *n - 20_200).collect();
        assert_eq!(numbers(&lake, &book, &condition).await, kept);
        assert_eq!(numbers(&lake, &book, "LIMIT 3").await.len(), 3);
        assert_eq!(numbers(&lake, &book, "ORDER BY n DESC LIMIT 2").await, [20_998, 20_999]);
        let joined = "JOIN (VALUES (20250), (5), (10499)) v(k) ON n = k";
        assert_eq!(numbers(&lake, &book, joined).await, [5, 10_499, 20_250]);
        assert_eq!(book.files_scanned(), 3);
    }
}

#[tokio::test]
async fn files_that_pruning_leaves_have_numbers_and_filters_are_noted() {
    let lake = numbered(false);
    let book = addressed(&lake);
    assert_eq!(numbers(&lake, &book, "WHERE n > 20500 AND s <> 'x'").await.len(), 498);
    assert_eq!(book.files_scanned(), 1);
    assert_eq!(
        book.filters(),
        [vec![col("n").gt(lit(20_500_i64)), col("s").not_eq(lit(ScalarValue::Utf8View(Some("x".into()))))]]
    );
    let file = book.file(0).unwrap();
    assert!(file.path().ends_with("f2.parquet"));
    assert!(file.deletes.deletion_vector.is_some());
    let before: Vec<u64> = book.deleted_before(0).unwrap().iter().collect();
    assert_eq!(before, deleted_of_2());
    // Again: the same number. And the others.
    assert_eq!(numbers(&lake, &book, "").await.len(), expected(|_| true).len());
    assert_eq!((book.files_scanned(), book.filters().len()), (3, 2));
    assert!(book.filters()[1].is_empty() && book.deleted_before(1).is_none());
    assert!(book.file(0).unwrap().path().ends_with("f2.parquet"));
    assert!(book.file(3).is_none() && book.file(-1).is_none());
    // Conditions on addresses read everything.
    let only_addresses = format!("SELECT n FROM a WHERE \"{POSITION}\" = 3");
    lake.ctx.sql(&only_addresses).await.unwrap().collect().await.unwrap();
    assert!(book.filters()[2].is_empty());
}

#[tokio::test]
async fn the_columns_are_those_promised() {
    let lake = numbered(true);
    let book = addressed(&lake);
    let plain = AddressedTable::of_snapshot(lake.snapshot(), lake.storage(), book);
    let names = |t: &AddressedTable| t.schema().fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
    assert_eq!(names(&plain), ["n", "s", "since", FILE, POSITION]);
    let all = plain.with_lineage();
    assert_eq!(names(&all)[3..], [FILE, POSITION, ROW_ID, ROW_SEQUENCE]);
    let declared = all.schema();
    for sql in ["SELECT * FROM a", "SELECT * FROM a WHERE n < 0"] {
        let plan = lake.ctx.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        assert_eq!(plan.schema().fields(), declared.fields(), "{sql}");
    }
    assert!(declared.field(4).metadata().is_empty());
}

#[tokio::test]
async fn addresses_pass_through_equality_deletes() {
    for pushdown in [false, true] {
        let mut lake = numbered(pushdown);
        let keys = batch(vec![(
            field(1, "n", DataType::Int64),
            Arc::new(Int64Array::from(vec![7, 10_007, 20_007, 20_100])) as ArrayRef,
        )]);
        lake.deletes.equality_global = vec![Arc::new(EqualityDeleteFile {
            path: lake.location("e"),
            size_bytes: lake.write("e", &keys, 100),
            record_count: 4,
            sequence_number: 2,
            field_ids: vec![1],
        })];
        let book = addressed(&lake);
        let left = expected(|n| n != 10_007 && n != 20_007);
        assert_eq!(numbers(&lake, &book, "").await, left, "f0 is newer than the delete");
        let some = "WHERE s = 's4' AND n < 20500";
        let wanted: Vec<i64> = left.into_iter().filter(|n| n % 7 == 4 && *n < 20_500).collect();
        assert_eq!(numbers(&lake, &book, some).await, wanted);
        // The key column is not among the wanted ones.
        let sql = format!("SELECT \"{POSITION}\" FROM a WHERE \"{FILE}\" >= 0 AND s = 's0'");
        let rows = lake.ctx.sql(&sql).await.unwrap().collect().await.unwrap();
        let rows: usize = rows.iter().map(RecordBatch::num_rows).sum();
        assert_eq!(
            rows,
            expected(|n| n % 7 == 0).len() - [10_007, 20_007].iter().filter(|n| **n % 7 == 0).count()
        );
        assert_eq!(book.files_scanned(), 3);
    }
}

/// A file with stored lineage in some of its rows, one without, and one from before row lineage.
fn lineage(pushdown: bool) -> Lake {
    let mut config = SessionConfig::new().with_target_partitions(2);
    config.options_mut().execution.parquet.pushdown_filters = pushdown;
    let mut lake = Lake::with_config(
        table_schema(vec![field(1, "n", DataType::Int64), field(2, "p", DataType::Int32)]),
        config,
    );
    let numbers = |n: Vec<i64>| (field(1, "n", DataType::Int64), Arc::new(Int64Array::from(n)) as ArrayRef);
    let stored = |id: i32, name: &str, v: Vec<Option<i64>>| {
        (field(id, name, DataType::Int64), Arc::new(Int64Array::from(v)) as ArrayRef)
    };
    let mut moved = TestFile::new(
        "moved",
        batch(vec![
            stored(2_147_483_539, "_last_updated_sequence_number", vec![Some(2), None, Some(3), None]),
            numbers(vec![1, 2, 3, 4]),
            stored(2_147_483_540, "_row_id", vec![Some(70), Some(71), None, None]),
        ]),
    )
    .sequence(9);
    moved.first_row_id = Some(500);
    moved.deletion_vector = Some(inline(&[0]));
    let mut new = TestFile::new("new", batch(vec![numbers(vec![5, 6])])).sequence(4);
    new.first_row_id = Some(100);
    let old = TestFile::new("old", batch(vec![numbers(vec![7])])).sequence(1);
    let by = spec(vec![(2, Transform::Identity, DataType::Int32)]);
    let partition = |f: TestFile| f.partition(vec![ScalarValue::Int32(Some(1))]);
    lake.add_partitioned(by, [moved, new, old].into_iter().map(partition).collect());
    lake
}

#[tokio::test]
async fn lineage_is_stored_or_inherited() {
    for pushdown in [false, true] {
        let lake = lineage(pushdown);
        addressed(&lake);
        let all = format!("SELECT n, \"{ROW_ID}\", \"{ROW_SEQUENCE}\" FROM a");
        let expected = ["2,71,9", "3,502,3", "4,503,9", "5,100,4", "6,101,4", "7,,"];
        assert_eq!(lake.rows(&format!("{all} ORDER BY n")).await, expected);
        assert_eq!(lake.rows(&format!("{all} WHERE n IN (4, 6) ORDER BY n")).await, ["4,503,9", "6,101,4"]);
        assert_eq!(lake.rows(&format!("{all} WHERE \"{ROW_ID}\" > 500 ORDER BY n")).await, &expected[1..3]);
        let reordered = format!("SELECT \"{ROW_SEQUENCE}\", p, \"{POSITION}\" FROM a WHERE n = 3");
        assert_eq!(lake.rows(&reordered).await, ["3,1,2"]);
    }
}

async fn survivors(lake: &Lake, deleted: &BTreeMap<&str, Vec<u64>>, lineage: bool) -> Vec<String> {
    let snapshot = lake.snapshot();
    let book = addressed(lake);
    lake.rows("SELECT n, \"__auric_file\" FROM a").await;
    let files = (0..).map_while(|i| book.file(i));
    let files = files.filter_map(|file| {
        let name = file.path().rsplit('/').next().unwrap().trim_end_matches(".parquet").to_string();
        deleted.get(name.as_str()).map(|rows| (file, rows.iter().copied().collect::<RoaringTreemap>()))
    });
    let files: Vec<(Arc<LiveFile>, RoaringTreemap)> = files.collect();
    let mut columns: Vec<RowColumn> = ScanColumn::all(&snapshot.schema).map(RowColumn::Table).collect();
    if lineage {
        columns.extend(RowColumn::lineage(&RowLineage::by_reserved_ids()));
    }
    let state = lake.ctx.state();
    let plan = rows_of(&snapshot, &lake.storage(), &state, files, RowColumns(columns)).await.unwrap();
    let batches = datafusion::physical_plan::collect(plan, lake.ctx.task_ctx()).await.unwrap();
    let text = arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string();
    let rows = text.lines().filter(|l| l.starts_with('|')).skip(1);
    let mut rows: Vec<String> =
        rows.map(|l| l.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join(",")).collect();
    rows.sort();
    rows
}

#[tokio::test]
async fn surviving_rows_are_those_of_the_given_files_and_positions() {
    let lake = lineage(false);
    let deleted = BTreeMap::from([("moved", vec![0, 2]), ("old", vec![])]);
    assert_eq!(survivors(&lake, &deleted, false).await, ["2,1", "4,1", "7,1"]);
    assert_eq!(survivors(&lake, &deleted, true).await, ["2,1,71,9", "4,1,503,9", "7,1,,"]);
    assert!(survivors(&lake, &BTreeMap::new(), true).await.is_empty());
    let all = BTreeMap::from([("new", vec![0, 1])]);
    assert!(survivors(&lake, &all, false).await.is_empty());
}

#[tokio::test]
async fn surviving_rows_are_without_those_that_equality_deletes_remove() {
    let mut lake = lineage(true);
    let keys =
        batch(vec![(field(1, "n", DataType::Int64), Arc::new(Int64Array::from(vec![4, 5, 7])) as ArrayRef)]);
    lake.deletes.equality_global = vec![Arc::new(EqualityDeleteFile {
        path: lake.location("e"),
        size_bytes: lake.write("e", &keys, 100),
        record_count: 3,
        sequence_number: 5,
        field_ids: vec![1],
    })];
    let deleted = BTreeMap::from([("moved", vec![0, 1]), ("new", vec![]), ("old", vec![])]);
    assert_eq!(survivors(&lake, &deleted, true).await, ["3,1,502,3", "4,1,503,9", "6,1,101,4"]);
}

#[tokio::test]
async fn positions_do_not_trust_the_ordinals_of_row_groups() {
    use parquet::file::metadata::{ParquetMetaDataReader, ParquetMetaDataWriter};
    let mut config = SessionConfig::new();
    config.options_mut().execution.parquet.pushdown_filters = true;
    let mut lake = Lake::with_config(table_schema(vec![field(1, "n", DataType::Int64)]), config);
    let rows = batch(vec![(
        field(1, "n", DataType::Int64),
        Arc::new(Int64Array::from_iter_values(0..300)) as ArrayRef,
    )]);
    lake.add(vec![TestFile::new("f0", rows).groups_of(100)]);
    // The same file with a footer that calls every row group the first.
    let path = lake.dir.path().join("f0.parquet");
    let bytes = bytes::Bytes::from(std::fs::read(&path).unwrap());
    let footer = ParquetMetaDataReader::new().parse_and_finish(&bytes).unwrap();
    let groups = footer.row_groups().iter().map(|g| g.clone().into_builder().set_ordinal(0).build().unwrap());
    let groups = groups.collect();
    let footer = footer.into_builder().set_row_groups(groups).build();
    let mut file = std::fs::File::options().append(true).open(&path).unwrap();
    ParquetMetaDataWriter::new(&mut file, &footer).finish().unwrap();
    drop(file);
    let mut listed = lake.lists[0].files.clone();
    listed[0].size_bytes = std::fs::metadata(&path).unwrap().len();
    lake.lists[0] =
        Arc::new(crate::table::FileList { files: listed, stats: lake.lists[0].stats.clone(), state: None });
    let book = addressed(&lake);
    assert_eq!(numbers(&lake, &book, "WHERE n IN (5, 150, 299)").await, [5, 150, 299]);
}
