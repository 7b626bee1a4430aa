//! Values against what Postgres prints and sends.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::*;
use postgres_types::ToSql;

use super::*;

fn put(array: ArrayRef, pg: &Type, binary: bool) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    Column::new(&array, pg, binary)?.encoder.put(0, &mut out)?;
    Ok(out)
}

fn text(array: impl Array + 'static) -> String {
    let array: ArrayRef = Arc::new(array);
    let pg = auric_sql::types::pg_type(&Field::new("", array.data_type().clone(), true)).0;
    String::from_utf8(put(array, &pg, false).unwrap()).unwrap()
}

fn binary(array: impl Array + 'static) -> Vec<u8> {
    let array: ArrayRef = Arc::new(array);
    let pg = auric_sql::types::pg_type(&Field::new("", array.data_type().clone(), true)).0;
    put(array, &pg, true).unwrap()
}

/// The binary form that the reference implementation of postgres-types gives.
fn reference(value: &(dyn ToSql + Sync), pg: &Type) -> Vec<u8> {
    let mut out = bytes::BytesMut::new();
    value.to_sql_checked(pg, &mut out).unwrap();
    out.to_vec()
}

#[test]
fn floats_as_text() {
    let doubles = [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (-1.5, "-1.5"),
        (0.1, "0.1"),
        (1.0 / 3.0, "0.3333333333333333"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (0.000012345, "1.2345e-05"),
        (123_456_789_012_345.0, "123456789012345"),
        (100_000_000_000_000.0, "100000000000000"),
        (1e15, "1e+15"),
        (1_234_567_890_123_456.0, "1.234567890123456e+15"),
        (1e100, "1e+100"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (5e-324, "5e-324"),
        (f64::INFINITY, "Infinity"),
        (f64::NEG_INFINITY, "-Infinity"),
        (f64::NAN, "NaN"),
    ];
    for (value, expected) in doubles {
        assert_eq!(text(Float64Array::from(vec![value])), expected);
    }
    let singles = [
        (1.1f32, "1.1"),
        (100_000.0, "100000"),
        (1_000_000.0, "1e+06"),
        (1_234_567.0, "1.234567e+06"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (f32::MAX, "3.4028235e+38"),
    ];
    for (value, expected) in singles {
        assert_eq!(text(Float32Array::from(vec![value])), expected);
    }
}

#[test]
fn scalars_in_binary() {
    assert_eq!(binary(Int16Array::from(vec![-2])), reference(&-2i16, &Type::INT2));
    assert_eq!(binary(Int32Array::from(vec![7])), reference(&7i32, &Type::INT4));
    assert_eq!(binary(Int64Array::from(vec![i64::MIN])), reference(&i64::MIN, &Type::INT8));
    assert_eq!(binary(UInt32Array::from(vec![u32::MAX])), reference(&i64::from(u32::MAX), &Type::INT8));
    assert_eq!(binary(Float32Array::from(vec![1.5])), reference(&1.5f32, &Type::FLOAT4));
    assert_eq!(binary(Float64Array::from(vec![-0.25])), reference(&-0.25f64, &Type::FLOAT8));
    assert_eq!(binary(BooleanArray::from(vec![true])), [1]);
    assert_eq!(binary(StringArray::from(vec!["añ"])), "añ".as_bytes());
    assert_eq!(binary(BinaryArray::from(vec![&[0u8, 255][..]])), [0, 255]);
}

#[test]
fn types_told_to_the_client_decide() {
    let one: ArrayRef = Arc::new(Int64Array::from(vec![4_000_000_000]));
    assert_eq!(put(one.clone(), &Type::OID, true).unwrap(), 4_000_000_000u32.to_be_bytes());
    assert_eq!(put(one.clone(), &Type::INT4, true).unwrap_err().code, SqlState("22003"));
    assert_eq!(put(one, &Type::NUMERIC, true).unwrap(), words(&[1, 2, 0, 0, 40]));
    let json: ArrayRef = Arc::new(StringArray::from(vec!["{}"]));
    assert_eq!(put(json.clone(), &Type::JSONB, true).unwrap(), b"\x01{}");
    assert_eq!(put(json, &Type::JSON, true).unwrap(), b"{}");
    let uuid: ArrayRef = Arc::new(StringArray::from(vec!["00010203-0405-0607-0809-0a0b0c0d0e0f"]));
    assert_eq!(put(uuid, &Type::UUID, true).unwrap(), (0..16).collect::<Vec<u8>>());
}

fn decimal(value: i128, precision: u8, scale: i8) -> Decimal128Array {
    Decimal128Array::from(vec![value]).with_precision_and_scale(precision, scale).unwrap()
}

#[test]
fn numerics_as_text() {
    let cases = [
        (0, 2, "0.00"),
        (5, 2, "0.05"),
        (-5, 2, "-0.05"),
        (123_456, 2, "1234.56"),
        (-100, 0, "-100"),
        (12, -2, "1200"),
        (0, -2, "0"),
        (10_i128.pow(37), 38, "0.10000000000000000000000000000000000000"),
    ];
    for (value, scale, expected) in cases {
        assert_eq!(text(decimal(value, 38, scale)), expected);
    }
    let wide = Decimal256Array::from(vec![i256::from_i128(-12_345)]).with_precision_and_scale(60, 3).unwrap();
    assert_eq!(text(wide), "-12.345");
    assert_eq!(text(UInt64Array::from(vec![u64::MAX])), "18446744073709551615");
}

/// ndigits, weight, sign, dscale, digits: as `select numeric_send(…)` shows them.
fn words(words: &[i32]) -> Vec<u8> {
    words.iter().flat_map(|w| (*w as u16).to_be_bytes()).collect()
}

#[test]
fn numerics_in_binary() {
    let negative = 0x4000;
    let cases = [
        (0, 2, vec![0, 0, 0, 2]),
        (1, 0, vec![1, 0, 0, 0, 1]),
        (123_456, 2, vec![2, 0, 0, 2, 1234, 5600]),
        (-123_456, 2, vec![2, 0, negative, 2, 1234, 5600]),
        (100_000_000, 0, vec![1, 2, 0, 0, 1]),
        (5, 2, vec![1, -1, 0, 2, 500]),
        (1, 8, vec![1, -2, 0, 8, 1]),
        (123_456_789, 4, vec![3, 1, 0, 4, 1, 2345, 6789]),
        (12, -2, vec![1, 0, 0, 0, 1200]),
    ];
    for (value, scale, expected) in cases {
        let bytes = binary(decimal(value, 38, scale));
        assert_eq!(bytes, words(&expected), "{value} e-{scale}");
        assert_eq!(numeric_to_text(&bytes).unwrap(), text(decimal(value, 38, scale)));
    }
    let mut out = Vec::new();
    text_to_numeric(b"NaN", &mut out).unwrap();
    assert_eq!(out[..], words(&[0, 0, 0xC000, 0]));
    assert_eq!(numeric_to_text(&words(&[1, 0, 0, 0, 10_000])), None);
    assert_eq!(numeric_to_text(&words(&[2, 0, 0, 0, 1])), None);
    assert_eq!(numeric_to_text(&[0, 1]), None);
}

#[test]
fn dates_and_times_as_text() {
    let date = |days| text(Date32Array::from(vec![days]));
    assert_eq!(date(0), "1970-01-01");
    assert_eq!(date(19_782), "2024-02-29");
    assert_eq!(date(-719_162), "0001-01-01");
    assert_eq!(date(-719_163), "0001-12-31 BC");
    assert_eq!(date(2_932_897), "10000-01-01");
    assert_eq!(text(Date64Array::from(vec![-1])), "1969-12-31");
    let stamp = |micros| text(TimestampMicrosecondArray::from(vec![micros]));
    assert_eq!(stamp(0), "1970-01-01 00:00:00");
    assert_eq!(stamp(1_700_000_000_123_450), "2023-11-14 22:13:20.12345");
    assert_eq!(stamp(-1), "1969-12-31 23:59:59.999999");
    assert_eq!(stamp(-62_135_596_800_000_001), "0001-12-31 23:59:59.999999 BC");
    let zoned = TimestampMicrosecondArray::from(vec![1_000_000]).with_timezone("Europe/Paris");
    assert_eq!(text(zoned), "1970-01-01 01:00:01+01");
    assert_eq!(text(TimestampNanosecondArray::from(vec![1_500])), "1970-01-01 00:00:00.000001");
    assert_eq!(text(TimestampSecondArray::from(vec![60])), "1970-01-01 00:01:00");
    assert_eq!(text(Time64MicrosecondArray::from(vec![86_399_000_100])), "23:59:59.0001");
    assert_eq!(text(Time32SecondArray::from(vec![3_661])), "01:01:01");
    let too_far: ArrayRef = Arc::new(TimestampSecondArray::from(vec![i64::MAX]));
    assert_eq!(put(too_far, &Type::TIMESTAMP, false).unwrap_err().code, SqlState("22008"));
}

#[test]
fn dates_and_times_in_binary() {
    assert_eq!(binary(Date32Array::from(vec![10_957])), 0i32.to_be_bytes());
    assert_eq!(binary(TimestampMicrosecondArray::from(vec![946_684_800_000_001])), 1i64.to_be_bytes());
    assert_eq!(binary(Time64NanosecondArray::from(vec![1_000_999])), 1000i64.to_be_bytes());
}

#[test]
fn intervals() {
    let value = |months, days, nanos| {
        IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(months, days, nanos)])
    };
    let cases = [
        (0, 0, 0, "00:00:00"),
        (1, 0, 0, "1 mon"),
        (14, 3, 14_706_700_000_000, "1 year 2 mons 3 days 04:05:06.7"),
        (0, -1, 0, "-1 days"),
        (0, 0, -1_000_000, "-00:00:00.001"),
        (-1, 1, 0, "-1 mons +1 day"),
        (0, -1, 3_600_000_000_000, "-1 days +01:00:00"),
        (-25, 0, 0, "-2 years -1 mons"),
        (0, 0, 360_000_000_000_000, "100:00:00"),
    ];
    for (months, days, nanos, expected) in cases {
        assert_eq!(text(value(months, days, nanos)), expected);
    }
    let sent: Vec<u8> = [&2_000_000i64.to_be_bytes()[..], &3i32.to_be_bytes(), &14i32.to_be_bytes()].concat();
    assert_eq!(binary(value(14, 3, 2_000_000_000)), sent);
    assert_eq!(text(IntervalYearMonthArray::from(vec![12])), "1 year");
    assert_eq!(text(IntervalDayTimeArray::from(vec![IntervalDayTime::new(2, 1)])), "2 days 00:00:00.001");
    assert_eq!(text(DurationSecondArray::from(vec![61])), "00:01:01");
}

#[test]
fn strings_bytes_and_uuids_as_text() {
    assert_eq!(text(StringViewArray::from(vec!["añ"])), "añ");
    assert_eq!(text(LargeStringArray::from(vec![""])), "");
    assert_eq!(text(BooleanArray::from(vec![false])), "f");
    assert_eq!(text(BinaryViewArray::from(vec![&[0u8, 171, 255][..]])), "\\x00abff");
    let uuid = FixedSizeBinaryArray::try_from_iter([(0u8..16).collect::<Vec<_>>()].into_iter()).unwrap();
    assert_eq!(text(uuid), "00010203-0405-0607-0809-0a0b0c0d0e0f");
    let dictionary: DictionaryArray<Int8Type> = vec![Some("x"), None].into_iter().collect();
    assert_eq!(text(dictionary), "x");
}

fn list_of<T: ArrowPrimitiveType>(rows: Vec<Option<Vec<Option<T::Native>>>>) -> ListArray {
    ListArray::from_iter_primitive::<T, _, _>(rows)
}

/// `[[…], […]]` in one row.
fn nested(inner: ListArray) -> ListArray {
    let field = Arc::new(Field::new_list_field(inner.data_type().clone(), true));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0, inner.len() as i32]));
    ListArray::new(field, offsets, Arc::new(inner), None)
}

#[test]
fn arrays_as_text() {
    let list = list_of::<Int32Type>(vec![Some(vec![Some(1), None, Some(-3)])]);
    assert_eq!(text(list), "{1,NULL,-3}");
    let mut builder = ListBuilder::new(StringBuilder::new());
    for value in ["a", "b c", "", "null", "x\"y\\z", "{", "a,b"] {
        builder.values().append_value(value);
    }
    builder.append(true);
    assert_eq!(text(builder.finish()), r#"{a,"b c","","null","x\"y\\z","{","a,b"}"#);
    assert_eq!(text(list_of::<Int32Type>(vec![Some(vec![])])), "{}");
    let rows = list_of::<Int32Type>(vec![Some(vec![Some(1), Some(2)]), Some(vec![Some(3), None])]);
    assert_eq!(text(nested(rows)), "{{1,2},{3,NULL}}");
    let vector: ArrayRef = Arc::new(list_of::<Int16Type>(vec![Some(vec![Some(1), Some(2)])]));
    assert_eq!(put(vector, &Type::INT2_VECTOR, false).unwrap(), b"1 2");
}

#[test]
fn arrays_in_binary() {
    let list = list_of::<Int32Type>(vec![Some(vec![Some(1), None])]);
    assert_eq!(binary(list), reference(&vec![Some(1i32), None], &Type::INT4_ARRAY));
    let empty: Vec<i32> = vec![];
    let sent = binary(list_of::<Int32Type>(vec![Some(vec![])]));
    assert_eq!(sent, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 23]);
    assert_eq!(reference(&empty, &Type::INT4_ARRAY).len(), 20, "postgres-types sends one empty dimension");
    let rows = list_of::<Int32Type>(vec![Some(vec![Some(1), Some(2)]), Some(vec![Some(3), Some(4)])]);
    let header = [2, 0, 23, 2, 1, 2, 1].into_iter();
    let elements = [4, 1, 4, 2, 4, 3, 4, 4].into_iter();
    let expected: Vec<u8> = header.chain(elements).flat_map(|n: i32| n.to_be_bytes()).collect();
    assert_eq!(binary(nested(rows)), expected);
    let ragged: ArrayRef = Arc::new(nested(list_of::<Int32Type>(vec![Some(vec![Some(1)]), Some(vec![])])));
    assert_eq!(put(ragged.clone(), &Type::INT4_ARRAY, true).unwrap_err().code, SqlState("2202E"));
    assert_eq!(put(ragged, &Type::INT4_ARRAY, false).unwrap(), b"{{1},{}}");
}

#[test]
fn rows_and_maps_as_json() {
    let fields = Fields::from(vec![
        Field::new("id", DataType::Int32, true),
        Field::new("na\"me", DataType::Utf8, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("x", DataType::Float64, true),
        Field::new("ok", DataType::Boolean, true),
        Field::new("tags", DataType::new_list(DataType::Int32, true), true),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![1])),
        Arc::new(StringArray::from(vec!["a\nb\u{1}"])),
        Arc::new(TimestampMicrosecondArray::from(vec![0])),
        Arc::new(Float64Array::from(vec![f64::NAN])),
        Arc::new(BooleanArray::from(vec![None])),
        Arc::new(list_of::<Int32Type>(vec![Some(vec![Some(1), None])])),
    ];
    let row = StructArray::new(fields, columns, None);
    let expected =
        r#"{"id":1,"na\"me":"a\nb\u0001","at":"1970-01-01T00:00:00","x":"NaN","ok":null,"tags":[1,null]}"#;
    assert_eq!(text(row), expected);
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    map.keys().append_value("k");
    map.values().append_value(5);
    map.append(true).unwrap();
    assert_eq!(text(map.finish()), r#"{"k":5}"#);
}

#[test]
fn rows_become_messages() {
    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
    let words: ArrayRef = Arc::new(StringArray::from(vec!["ab", "c"]));
    let batch = RecordBatch::try_from_iter([("n", numbers), ("w", words)]).unwrap();
    let column = |name: &str, pg_type| OutputColumn {
        name: name.into(),
        pg_type,
        type_modifier: -1,
        quotient_scale: None,
        origin: None,
    };
    let columns = [column("n", Type::INT4), column("w", Type::TEXT)];
    let formats = Formats::Each(vec![true, false]);
    let mut encoder = BatchEncoder::new(&batch, &columns, &formats, &Shown::plain()).unwrap();
    let (bytes, rows) = encoder.next_chunk().unwrap().unwrap();
    let first = [b'D', 0, 0, 0, 20, 0, 2, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 2, b'a', b'b'];
    let second = [b'D', 0, 0, 0, 15, 0, 2, 255, 255, 255, 255, 0, 0, 0, 1, b'c'];
    assert_eq!((&bytes[..], rows), (&[&first[..], &second[..]].concat()[..], 2));
    assert!(encoder.next_chunk().unwrap().is_none());
    assert!(BatchEncoder::new(&batch, &columns[..1], &formats, &Shown::plain()).is_err());
}

#[test]
fn formats_by_number() {
    let each = |n: usize| Formats::Each((0..n).map(|column| column % 3 == 1).collect());
    let told: Vec<Formats> =
        [Formats::All(false), Formats::All(true)].into_iter().chain((0..=56).map(each)).collect();
    for (place, formats) in told.iter().enumerate() {
        assert_eq!(Formats::of_number(formats.number()).as_ref(), Some(formats), "{place}");
        assert!(told.iter().skip(place + 1).all(|other| other.number() != formats.number()), "{place}");
    }
    assert_eq!(Formats::of_number(each(57).number()), None);
    assert_ne!(each(57).number(), each(58).number());
}
