//! How a column's values compare, as its statistics take it ("Column Orders" of the format's `parquet.thrift`).

use std::cmp::Ordering;

use parquet::basic::{ConvertedType, LogicalType, SortOrder, Type};
use parquet::schema::types::ColumnDescriptor;

/// Values are bytes as PLAIN has them, those of variable length without their lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Int32,
    Int64,
    /// Without NaN.
    Float,
    Double,
    /// Byte by byte.
    Bytes,
    /// Decimals of a fixed length: two's complement, the first byte the highest.
    Decimal,
}

impl Order {
    /// `None`: the column has no order, or one that is not known here.
    pub fn of(column: &ColumnDescriptor) -> Option<Self> {
        let is_decimal = matches!(column.logical_type_ref(), Some(LogicalType::Decimal { .. }))
            || column.converted_type() == ConvertedType::DECIMAL;
        match (column.physical_type(), column.sort_order()) {
            (Type::INT32, SortOrder::SIGNED) => Some(Self::Int32),
            (Type::INT64, SortOrder::SIGNED) => Some(Self::Int64),
            (Type::FLOAT, SortOrder::SIGNED) => Some(Self::Float),
            (Type::DOUBLE, SortOrder::SIGNED) => Some(Self::Double),
            (Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY, SortOrder::UNSIGNED) => Some(Self::Bytes),
            (Type::FIXED_LEN_BYTE_ARRAY, SortOrder::SIGNED) if is_decimal => Some(Self::Decimal),
            _ => None,
        }
    }

    /// `None`: one of them is no value that bounds say something of.
    pub fn compare(self, a: &[u8], b: &[u8]) -> Option<Ordering> {
        match self {
            Self::Int32 => {
                Some(i32::from_le_bytes(*a.first_chunk()?).cmp(&i32::from_le_bytes(*b.first_chunk()?)))
            }
            Self::Int64 => {
                Some(i64::from_le_bytes(*a.first_chunk()?).cmp(&i64::from_le_bytes(*b.first_chunk()?)))
            }
            Self::Float => {
                f32::from_le_bytes(*a.first_chunk()?).partial_cmp(&f32::from_le_bytes(*b.first_chunk()?))
            }
            Self::Double => {
                f64::from_le_bytes(*a.first_chunk()?).partial_cmp(&f64::from_le_bytes(*b.first_chunk()?))
            }
            Self::Bytes => Some(a.cmp(b)),
            Self::Decimal => {
                let flipped = |bytes: &[u8]| bytes.first().map(|first| first ^ 0x80);
                Some(flipped(a).cmp(&flipped(b)).then_with(|| a.cmp(b)))
            }
        }
    }

    /// Whether bounds can tell of the value: NaN they cannot.
    pub fn has(self, value: &[u8]) -> bool {
        self.compare(value, value).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_compare_as_what_they_mean() {
        let less = |order: Order, a: &[u8], b: &[u8]| {
            assert_eq!(order.compare(a, b), Some(Ordering::Less), "{order:?} {a:?} {b:?}");
            assert_eq!(order.compare(b, a), Some(Ordering::Greater), "{order:?} {a:?} {b:?}");
        };
        less(Order::Int32, &(-2_i32).to_le_bytes(), &1_i32.to_le_bytes());
        less(Order::Int64, &255_i64.to_le_bytes(), &256_i64.to_le_bytes());
        less(Order::Float, &(-0.5_f32).to_le_bytes(), &0.25_f32.to_le_bytes());
        less(Order::Double, &(-0.5_f64).to_le_bytes(), &0.25_f64.to_le_bytes());
        less(Order::Bytes, b"a", b"ab");
        less(Order::Bytes, &[0x7f], &[0x80]);
        less(Order::Decimal, &(-300_i16).to_be_bytes(), &(-299_i16).to_be_bytes());
        less(Order::Decimal, &(-1_i16).to_be_bytes(), &0_i16.to_be_bytes());
        less(Order::Decimal, &255_i16.to_be_bytes(), &256_i16.to_be_bytes());
        assert!(!Order::Double.has(&f64::NAN.to_le_bytes()));
        assert!(Order::Double.has(&f64::INFINITY.to_le_bytes()));
    }
}
