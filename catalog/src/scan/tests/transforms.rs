use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Date32Array, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::scalar::ScalarValue;

use super::lake::{Lake, TestFile, batch, field, spec, table_schema};
use crate::table::Transform;
use crate::table::transform::{apply, result_type};

/// One file per value, partitioned by `transform` and without any other statistics.
fn lake(table_type: DataType, transform: Transform, values: &[ArrayRef]) -> Lake {
    let mut lake = Lake::new(table_schema(vec![field(1, "c", table_type)]));
    let result = result_type(&transform, values[0].data_type()).unwrap();
    let files = values.iter().enumerate().map(|(i, value)| {
        let rows: RecordBatch = batch(vec![(field(1, "c", value.data_type().clone()), value.clone())]);
        let partition = apply(&transform, value).unwrap();
        let mut file = TestFile::new(&format!("f{i}"), rows)
            .partition(vec![ScalarValue::try_from_array(&partition, 0).unwrap()]);
        let null = ScalarValue::try_from(value.data_type()).unwrap();
        file.bounds = Some(vec![(1, null.clone(), null)]);
        file
    });
    // One list per file: the lists' summaries prune as well as the files' values.
    for file in files.collect::<Vec<_>>() {
        lake.add_partitioned(spec(vec![(1, transform.clone(), result.clone())]), vec![file]);
    }
    lake
}

fn timestamps(values: &[i64]) -> Vec<ArrayRef> {
    let one =
        |v: &i64| Arc::new(TimestampMicrosecondArray::from(vec![*v]).with_timezone("+00:00")) as ArrayRef;
    values.iter().map(one).collect()
}

const DAY: i64 = 86_400_000_000;

#[tokio::test]
async fn time_transforms_of_timestamps() {
    let values = timestamps(&[-1, 0, 40 * DAY + 3_600_000_000, 400 * DAY]);
    let t = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    for transform in [Transform::Year, Transform::Month, Transform::Day, Transform::Hour] {
        let lake = lake(t.clone(), transform.clone(), &values);
        let after = lake.scanned("SELECT c FROM t WHERE c >= TIMESTAMP '1971-02-01T00:00:00Z'").await;
        assert_eq!(after, ["f3"], "{transform}");
        assert_eq!(lake.rows("SELECT c FROM t WHERE c < TIMESTAMP '1970-01-01T00:00:00Z'").await.len(), 1);
        let exact = lake.rows("SELECT count(*) FROM t WHERE c = TIMESTAMP '1970-02-10T01:00:00Z'").await;
        assert_eq!(exact, ["1"], "{transform}");
        assert_eq!(
            lake.rows("SELECT count(*) FROM t WHERE c >= TIMESTAMP '1969-12-31T00:00:00Z'").await,
            ["4"]
        );
    }
}

#[tokio::test]
async fn time_transforms_of_dates_and_nanoseconds() {
    let dates: Vec<ArrayRef> =
        [-400, 0, 400].iter().map(|d| Arc::new(Date32Array::from(vec![*d])) as ArrayRef).collect();
    for transform in [Transform::Year, Transform::Month, Transform::Day] {
        let lake = lake(DataType::Date32, transform.clone(), &dates);
        assert_eq!(lake.scanned("SELECT c FROM t WHERE c > DATE '1971-01-01'").await, ["f2"], "{transform}");
        assert_eq!(lake.scanned("SELECT c FROM t WHERE c < DATE '1969-01-01'").await, ["f0"], "{transform}");
        assert_eq!(lake.rows("SELECT c FROM t WHERE c = DATE '1970-01-01'").await, ["1970-01-01"]);
    }
    let nanos: Vec<ArrayRef> = [0_i64, 400 * DAY * 1000]
        .iter()
        .map(|v| Arc::new(TimestampNanosecondArray::from(vec![*v])) as ArrayRef)
        .collect();
    let lake = lake(DataType::Timestamp(TimeUnit::Nanosecond, None), Transform::Day, &nanos);
    assert_eq!(lake.scanned("SELECT c FROM t WHERE c > TIMESTAMP '1971-01-01T00:00:00'").await, ["f1"]);
}

#[tokio::test]
async fn truncate() {
    let ints: Vec<ArrayRef> =
        [-5, 7, 25, i32::MAX].iter().map(|v| Arc::new(Int32Array::from(vec![*v])) as ArrayRef).collect();
    // Promoted after it was written.
    let lake1 = lake(DataType::Int64, Transform::Truncate(10), &ints);
    assert_eq!(lake1.scanned("SELECT c FROM t WHERE c = 7").await, ["f1"]);
    assert_eq!(lake1.scanned("SELECT c FROM t WHERE c < 0").await, ["f0"]);
    assert_eq!(lake1.rows("SELECT c FROM t WHERE c > 2147483640").await, ["2147483647"]);

    let texts: Vec<ArrayRef> = ["ab", "abcd", "zz\u{10ffff}z"]
        .iter()
        .map(|v| Arc::new(StringArray::from(vec![*v])) as ArrayRef)
        .collect();
    let lake2 = lake(DataType::Utf8View, Transform::Truncate(3), &texts);
    assert_eq!(lake2.scanned("SELECT c FROM t WHERE c = 'abcd'").await, ["f1"]);
    assert_eq!(lake2.scanned("SELECT c FROM t WHERE c = 'ab'").await, ["f0"]);
    assert_eq!(lake2.rows("SELECT count(*) FROM t WHERE c > 'zz'").await, ["1"]);

    let bytes: Vec<ArrayRef> = [&[1_u8, 2, 3][..], &[255, 255, 255]]
        .iter()
        .map(|v| Arc::new(BinaryArray::from(vec![*v])) as ArrayRef)
        .collect();
    let lake3 = lake(DataType::BinaryView, Transform::Truncate(2), &bytes);
    assert_eq!(lake3.scanned("SELECT c FROM t WHERE c = X'010203'").await, ["f0"]);
    assert_eq!(lake3.rows("SELECT count(*) FROM t WHERE c = X'ffffff'").await, ["1"]);

    let decimals: Vec<ArrayRef> = [105_i128, 1999]
        .iter()
        .map(|v| {
            Arc::new(Decimal128Array::from(vec![*v]).with_precision_and_scale(9, 2).unwrap()) as ArrayRef
        })
        .collect();
    let lake4 = lake(DataType::Decimal128(12, 2), Transform::Truncate(50), &decimals);
    assert_eq!(lake4.scanned("SELECT c FROM t WHERE c = 1.05").await, ["f0"]);
    assert_eq!(lake4.scanned("SELECT c FROM t WHERE c > 10").await, ["f1"]);
}

/// What truncates to less than the least number wraps around in the reference implementation.
#[tokio::test]
async fn the_least_numbers_truncate_to_the_greatest() {
    let least = |values: &[i32]| -> Vec<ArrayRef> {
        values.iter().map(|v| Arc::new(Int32Array::from(vec![*v])) as ArrayRef).collect()
    };
    for promoted in [DataType::Int32, DataType::Int64] {
        let lake = lake(promoted.clone(), Transform::Truncate(10), &least(&[i32::MIN, 0, i32::MAX - 7]));
        assert_eq!(lake.rows("SELECT c FROM t WHERE c = -2147483648").await, ["-2147483648"], "{promoted}");
        assert_eq!(lake.rows("SELECT count(*) FROM t WHERE c < -5").await, ["1"], "{promoted}");
        assert_eq!(lake.scanned("SELECT c FROM t WHERE c = 0").await, ["f0", "f1"], "{promoted}");
        // Nothing wraps: the width divides the least number.
        let lake2 = lake_of_width(promoted.clone(), 16, &least(&[i32::MIN, 0, i32::MAX - 7]));
        assert_eq!(lake2.scanned("SELECT c FROM t WHERE c = 0").await, ["f1"], "{promoted}");
        assert_eq!(lake2.scanned("SELECT c FROM t WHERE c < -5").await, ["f0"], "{promoted}");
    }
    let longs = [i64::MIN, 0, i64::MAX].map(|v| Arc::new(Int64Array::from(vec![v])) as ArrayRef);
    let lake3 = lake(DataType::Int64, Transform::Truncate(10), &longs);
    assert_eq!(lake3.rows("SELECT count(*) FROM t WHERE c < 0").await, ["1"]);
    assert_eq!(lake3.rows("SELECT count(*) FROM t WHERE c > 9223372036854775800").await, ["1"]);
    // The sums of the reference implementation wrap around as well: this is its -2000000000.
    let wide = lake_of_width(DataType::Int32, 2_000_000_000, &least(&[1_900_000_000]));
    assert_eq!(wide.rows("SELECT c FROM t WHERE c = 1900000000").await, ["1900000000"]);
    assert_eq!(wide.scanned("SELECT c FROM t WHERE c < 0").await, ["f0"]);
}

fn lake_of_width(column: DataType, width: u32, values: &[ArrayRef]) -> Lake {
    lake(column, Transform::Truncate(width), values)
}

/// However many keys, and wherever they lie: a partition that holds none of them is not read.
#[tokio::test]
async fn keys_are_known_by_their_partitions() {
    let keys = |keys: Vec<i64>| vec![Arc::new(Int64Array::from(keys)) as ArrayRef];
    let longs: Vec<ArrayRef> = (0..6).map(|v| Arc::new(Int64Array::from(vec![v])) as ArrayRef).collect();
    let ints: Vec<ArrayRef> = (0..6).map(|v| Arc::new(Int32Array::from(vec![v])) as ArrayRef).collect();
    let all = ["f0", "f1", "f2", "f3", "f4", "f5"];
    for (column, transform, values) in [
        (DataType::Int64, Transform::Bucket(64), &longs),
        (DataType::Int64, Transform::Identity, &longs),
        (DataType::Int64, Transform::Truncate(1), &longs),
        // Promoted after it was written.
        (DataType::Int64, Transform::Truncate(1), &ints),
        (DataType::Int64, Transform::Identity, &ints),
        (DataType::Int32, Transform::Bucket(64), &ints),
    ] {
        let lake = lake(column, transform.clone(), values);
        assert_eq!(lake.scanned_by_keys("c", &keys(vec![4, 1, 4])).await, ["f1", "f4"], "{transform}");
        let none: [&str; 0] = [];
        assert_eq!(lake.scanned_by_keys("c", &keys(vec![])).await, none, "{transform}");
    }
    let unpartitioned = lake(DataType::Int64, Transform::Void, &longs);
    assert_eq!(unpartitioned.scanned_by_keys("c", &keys(vec![4])).await, all);
    // Some writers took the day before 1970 for the first of 1970.
    let days: Vec<ArrayRef> =
        [-2, -1, 0, 1].iter().map(|d| Arc::new(Date32Array::from(vec![*d])) as ArrayRef).collect();
    let lake = lake(DataType::Date32, Transform::Day, &days);
    let before = vec![Arc::new(Date32Array::from(vec![-1])) as ArrayRef];
    assert_eq!(lake.scanned_by_keys("c", &before).await, ["f1", "f2"]);
}

#[tokio::test]
async fn bucket() {
    let longs: Vec<ArrayRef> = (0..6).map(|v| Arc::new(Int64Array::from(vec![v])) as ArrayRef).collect();
    let lake = lake(DataType::Int64, Transform::Bucket(64), &longs);
    for v in 0..6 {
        assert!(lake.scanned(&format!("SELECT c FROM t WHERE c = {v}")).await.len() <= 2);
        assert_eq!(lake.rows(&format!("SELECT c FROM t WHERE c = {v}")).await, [v.to_string()]);
    }
    assert_eq!(lake.rows("SELECT c FROM t WHERE c IN (1, 4, 1000) ORDER BY c").await, ["1", "4"]);
    assert_eq!(lake.rows("SELECT count(*) FROM t WHERE c NOT IN (1, 4)").await, ["4"]);
    assert_eq!(lake.rows("SELECT count(*) FROM t WHERE c > 2").await, ["3"]);
}

#[tokio::test]
async fn void_and_unknown_transforms_never_prune() {
    let mut lake = Lake::new(table_schema(vec![field(1, "c", DataType::Int64)]));
    for (name, transform) in [("v", Transform::Void), ("u", Transform::Unknown("zorder".into()))] {
        let rows =
            batch(vec![(field(1, "c", DataType::Int64), Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
        let file = TestFile::new(name, rows).partition(vec![ScalarValue::Int64(None)]);
        lake.add_partitioned(spec(vec![(1, transform, DataType::Int64)]), vec![file]);
    }
    assert_eq!(lake.rows("SELECT count(*) FROM t WHERE c = 1").await, ["2"]);
    assert_eq!(lake.rows("SELECT count(*) FROM t WHERE c IS NOT NULL").await, ["2"]);
}
