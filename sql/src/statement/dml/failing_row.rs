//! A row at fault, as the detail of an error shows it.

use std::fmt::Write;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// Bytes shown of a value (Postgres: `ExecBuildSlotValueDescription`).
const MAX_BYTES: usize = 64;

/// `(1, text, null)`. `None`: there are no columns to show, or one that has no text.
pub fn text(columns: &[ArrayRef], row: usize) -> Option<String> {
    if columns.is_empty() {
        return None;
    }
    let options = FormatOptions::new()
        .with_null("null")
        .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
        .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f%#z"));
    let mut values = Vec::with_capacity(columns.len());
    for column in columns {
        let formatter = ArrayFormatter::try_new(column.as_ref(), &options).ok()?;
        let mut value = String::new();
        write!(value, "{}", formatter.value(row)).ok()?;
        let value = match (column.data_type(), value.as_str()) {
            (DataType::Boolean, "true") => "t".to_string(),
            (DataType::Boolean, "false") => "f".to_string(),
            (DataType::Binary | DataType::LargeBinary | DataType::BinaryView, hex) if hex != "null" => {
                format!("\\x{hex}")
            }
            _ => value,
        };
        values.push(shortened(value));
    }
    Some(format!("({})", values.join(", ")))
}

fn shortened(mut value: String) -> String {
    if value.len() > MAX_BYTES {
        value.truncate(value.floor_char_boundary(MAX_BYTES));
        value.push_str("...");
    }
    value
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Int32Array, StringArray, TimestampMicrosecondArray};

    use super::*;

    #[test]
    fn values_are_shown_as_postgres_shows_them() {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from(vec![Some(1), None])),
            Arc::new(BooleanArray::from(vec![true, false])),
            Arc::new(StringArray::from(vec!["ä".repeat(40), "b".into()])),
            Arc::new(TimestampMicrosecondArray::from(vec![1_500_000, 0])),
        ];
        let long = format!("{}...", "ä".repeat(32));
        assert_eq!(text(&columns, 0).unwrap(), format!("(1, t, {long}, 1970-01-01 00:00:01.500)"));
        assert_eq!(text(&columns, 1).unwrap(), "(null, f, b, 1970-01-01 00:00:00)");
        assert_eq!(text(&[], 0), None);
    }
}
