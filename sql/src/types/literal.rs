//! Values as SQL text.

use arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;

/// A value as an SQL literal that is read as the same value where its type is known. `None`: a value of
/// a nested type, or a null.
pub fn sql_text(value: &ScalarValue) -> Option<String> {
    if value.is_null() {
        return None;
    }
    let data_type = value.data_type();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    match value {
        ScalarValue::Binary(Some(bytes))
        | ScalarValue::LargeBinary(Some(bytes))
        | ScalarValue::BinaryView(Some(bytes)) => return Some(format!("decode('{}', 'hex')", hex(bytes))),
        // A uuid is read with or without hyphens.
        ScalarValue::FixedSizeBinary(16, Some(bytes)) => return Some(format!("'{}'", hex(bytes))),
        _ => {}
    }
    if data_type.is_nested() {
        return None;
    }
    let ScalarValue::Utf8(Some(text)) = value.cast_to(&DataType::Utf8).ok()? else { return None };
    let plain = data_type.is_numeric() || data_type == DataType::Boolean;
    // Neither infinities nor NaN are numbers to the parser.
    let plain = plain && !text.contains("inf") && !text.contains("NaN");
    Some(if plain { text } else { format!("'{}'", text.replace('\'', "''")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_of_every_kind() {
        let text = |value: ScalarValue| sql_text(&value);
        assert_eq!(text(ScalarValue::Int32(Some(-5))).unwrap(), "-5");
        assert_eq!(text(ScalarValue::Boolean(Some(true))).unwrap(), "true");
        assert_eq!(text(ScalarValue::Utf8View(Some("it's".into()))).unwrap(), "'it''s'");
        assert_eq!(text(ScalarValue::Date32(Some(1))).unwrap(), "'1970-01-02'");
        assert_eq!(text(ScalarValue::Decimal128(Some(-150), 5, 2)).unwrap(), "-1.50");
        assert_eq!(text(ScalarValue::Float64(Some(f64::INFINITY))).unwrap(), "'inf'");
        let time = ScalarValue::TimestampMicrosecond(Some(1_500_000), Some("+00:00".into()));
        assert_eq!(text(time).unwrap(), "'1970-01-01T00:00:01.500Z'");
        assert_eq!(text(ScalarValue::BinaryView(Some(vec![1, 255]))).unwrap(), "decode('01ff', 'hex')");
        assert_eq!(text(ScalarValue::Int32(None)), None);
    }
}
