use super::*;

fn text(pg: Type, text: &str) -> Result<ScalarValue> {
    decode(&pg, Some(text.as_bytes()), false)
}

fn binary(pg: Type, bytes: &[u8]) -> Result<ScalarValue> {
    decode(&pg, Some(bytes), true)
}

fn code(result: Result<ScalarValue>) -> &'static str {
    result.unwrap_err().code.0
}

#[test]
fn zones_of_types_without_one_do_not_count() {
    let noon = text(Type::TIMESTAMP, "2024-02-29 12:00:00").unwrap();
    for zone in ["+05", "-03:30", " +02", "Z", "+00"] {
        assert_eq!(text(Type::TIMESTAMP, &format!("2024-02-29 12:00:00{zone}")).unwrap(), noon, "{zone}");
    }
    let day = text(Type::DATE, "2024-02-29").unwrap();
    for rest in [" +01", " 23:59:59", "T23:59:59.5-08", " 10:00"] {
        assert_eq!(text(Type::DATE, &format!("2024-02-29{rest}")).unwrap(), day, "{rest}");
    }
    assert_eq!(text(Type::TIME, "01:02:03+05").unwrap(), text(Type::TIME, "01:02:03").unwrap());
    assert_eq!(code(text(Type::DATE, "2024-02-29 noon")), "22007");
    assert_eq!(code(text(Type::TIMESTAMP, "2024-02-29 12:00:00+x")), "22007");
}

#[test]
fn values_that_no_table_can_hold_are_refused() {
    for endless in [i64::MIN, i64::MAX] {
        assert_eq!(code(binary(Type::TIMESTAMPTZ, &endless.to_be_bytes())), "22008");
    }
    for endless in [i32::MIN, i32::MAX] {
        assert_eq!(code(binary(Type::DATE, &endless.to_be_bytes())), "22008");
    }
    assert_eq!(code(binary(Type::TIME, &(-1_i64).to_be_bytes())), "22008");
    assert_eq!(code(binary(Type::TIME, &86_400_000_000_i64.to_be_bytes())), "22008");
}

#[test]
fn numbers_and_booleans_as_text() {
    assert_eq!(text(Type::INT4, " 42 ").unwrap(), ScalarValue::Int32(Some(42)));
    assert_eq!(text(Type::INT8, "-9223372036854775808").unwrap(), ScalarValue::Int64(Some(i64::MIN)));
    assert_eq!(code(text(Type::INT4, "abc")), "22P02");
    assert_eq!(code(text(Type::INT4, "")), "22P02");
    assert_eq!(code(text(Type::INT2, "40000")), "22003");
    assert_eq!(text(Type::FLOAT8, "-Infinity").unwrap(), ScalarValue::Float64(Some(f64::NEG_INFINITY)));
    assert_eq!(code(text(Type::FLOAT8, "1,5")), "22P02");
    for word in ["t", "TRUE", "yes", "on", "1"] {
        assert_eq!(text(Type::BOOL, word).unwrap(), ScalarValue::Boolean(Some(true)), "{word}");
    }
    assert_eq!(text(Type::BOOL, "of").unwrap(), ScalarValue::Boolean(Some(false)));
    assert_eq!(code(text(Type::BOOL, "o")), "22P02");
    assert_eq!(code(text(Type::NUMERIC, "1.2.3")), "22P02");
}

#[test]
fn messages_are_those_of_postgres() {
    let error = text(Type::INT4, "abc").unwrap_err();
    assert_eq!(error.message, "invalid input syntax for type integer: \"abc\"");
    let error = text(Type::INT8, "99999999999999999999").unwrap_err();
    assert_eq!(error.message, "value \"99999999999999999999\" is out of range for type bigint");
}

#[test]
fn dates_and_times_as_text() {
    assert_eq!(text(Type::DATE, "2024-02-29").unwrap(), ScalarValue::Date32(Some(19_782)));
    assert_eq!(code(text(Type::DATE, "2023-02-29")), "22007");
    let expected = ScalarValue::TimestampMicrosecond(Some(1_500_000), None);
    assert_eq!(text(Type::TIMESTAMP, "1970-01-01 00:00:01.5").unwrap(), expected);
    let zoned = text(Type::TIMESTAMPTZ, "1970-01-01 02:00:00+02").unwrap();
    assert_eq!(zoned, ScalarValue::TimestampMicrosecond(Some(0), Some("+00:00".into())));
    assert_eq!(text(Type::TIME, "00:00:01").unwrap(), ScalarValue::Time64Microsecond(Some(1_000_000)));
}

#[test]
fn bytes_and_uuids_as_text() {
    assert_eq!(text(Type::BYTEA, "\\x00fF").unwrap(), ScalarValue::Binary(Some(vec![0, 255])));
    assert_eq!(text(Type::BYTEA, "a\\\\\\001").unwrap(), ScalarValue::Binary(Some(vec![b'a', b'\\', 1])));
    // As Postgres: ERRCODE_INVALID_PARAMETER_VALUE for hexadecimal digits.
    assert_eq!(code(text(Type::BYTEA, "\\x0")), "22023");
    let uuid = ScalarValue::FixedSizeBinary(16, Some((0..16).collect()));
    assert_eq!(text(Type::UUID, "{00010203-0405-0607-0809-0A0B0C0D0E0F}").unwrap(), uuid);
    assert_eq!(code(text(Type::UUID, "0001")), "22P02");
}

#[test]
fn scalars_in_binary() {
    assert_eq!(binary(Type::INT8, &5i64.to_be_bytes()).unwrap(), ScalarValue::Int64(Some(5)));
    assert_eq!(binary(Type::DATE, &0i32.to_be_bytes()).unwrap(), ScalarValue::Date32(Some(10_957)));
    let stamp = binary(Type::TIMESTAMP, &1i64.to_be_bytes()).unwrap();
    assert_eq!(stamp, ScalarValue::TimestampMicrosecond(Some(946_684_800_000_001), None));
    assert_eq!(code(binary(Type::INT4, &[0, 1])), "22P03");
    assert_eq!(code(binary(Type::DATE, &i32::MAX.to_be_bytes())), "22008");
    assert_eq!(code(binary(Type::TEXT, &[255])), "22021");
}

#[test]
fn nulls_have_the_type() {
    assert_eq!(decode(&Type::INT4, None, false).unwrap(), ScalarValue::Int32(None));
}

#[test]
fn what_goes_through_text() {
    let interval = [&2_000_000i64.to_be_bytes()[..], &0i32.to_be_bytes(), &1i32.to_be_bytes()].concat();
    assert_eq!(binary_to_text(&Type::INTERVAL, &interval).unwrap(), "1 mon 00:00:02");
    let header = [1, 1, 25, 2, 1];
    let mut array: Vec<u8> = header.iter().flat_map(|n: &i32| n.to_be_bytes()).collect();
    array.extend_from_slice(&[0, 0, 0, 3, b'a', b'"', b'b', 255, 255, 255, 255]);
    assert_eq!(binary_to_text(&Type::TEXT_ARRAY, &array).unwrap(), r#"{"a\"b",NULL}"#);
    for length in 0..array.len() {
        assert!(binary_to_text(&Type::TEXT_ARRAY, &array[..length]).is_err(), "at {length}");
    }
    assert_eq!(binary_to_text(&Type::NUMERIC, &[0, 1, 0, 0, 0, 0, 0, 1, 0, 12]).unwrap(), "12.0");
}
