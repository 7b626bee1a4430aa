//! Values as PLAIN has them ("Plain" of `Encodings.md`): one after the other, those of variable length behind
//! their lengths. Pages of dictionaries are such values, too.

use std::ops::Range;

use bytes::Bytes;
use parquet::basic::Type;
use parquet::schema::types::ColumnDescriptor;

use super::{Result, corrupt};

/// Bytes of a value's length.
const LENGTH: usize = 4;

/// How long a column's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    Fixed(usize),
    Variable,
}

impl Width {
    /// `None`: values are no whole bytes, or of a type that is no longer used.
    pub fn of(column: &ColumnDescriptor) -> Option<Self> {
        match column.physical_type() {
            Type::INT32 | Type::FLOAT => Some(Self::Fixed(4)),
            Type::INT64 | Type::DOUBLE => Some(Self::Fixed(8)),
            Type::FIXED_LEN_BYTE_ARRAY => {
                usize::try_from(column.type_length()).ok().filter(|width| *width > 0).map(Self::Fixed)
            }
            Type::BYTE_ARRAY => Some(Self::Variable),
            Type::BOOLEAN | Type::INT96 => None,
        }
    }
}

#[derive(Debug)]
pub struct Plain {
    bytes: Bytes,
    width: Width,
    /// Where each value of variable length begins with its length, and where the last one ends.
    starts: Vec<usize>,
    count: usize,
}

impl Plain {
    pub fn new(bytes: Bytes, width: Width, count: usize) -> Result<Self> {
        let mut starts = Vec::new();
        match width {
            Width::Fixed(width) => {
                if bytes.len() < width.saturating_mul(count) {
                    return Err(corrupt("values are missing"));
                }
            }
            Width::Variable => {
                if count > bytes.len() / LENGTH {
                    return Err(corrupt("values are missing"));
                }
                starts.reserve_exact(count + 1);
                let mut at = 0;
                for _ in 0..count {
                    starts.push(at);
                    let length = bytes.get(at..).and_then(|rest| rest.first_chunk::<LENGTH>());
                    let length = length.ok_or_else(|| corrupt("values are missing"))?;
                    at += LENGTH + u32::from_le_bytes(*length) as usize;
                }
                if at > bytes.len() {
                    return Err(corrupt("a value is cut off"));
                }
                starts.push(at);
            }
        }
        Ok(Self { bytes, width, starts, count })
    }

    pub fn len(&self) -> usize {
        self.count
    }

    /// Some of the values, as they are written.
    pub fn encoded(&self, values: &Range<usize>) -> &[u8] {
        let range = match self.width {
            Width::Fixed(width) => Some(values.start * width..values.end * width),
            Width::Variable => match (self.starts.get(values.start), self.starts.get(values.end)) {
                (Some(start), Some(end)) => Some(*start..*end),
                _ => None,
            },
        };
        range.and_then(|range| self.bytes.get(range)).unwrap_or_default()
    }

    /// A value without its length.
    pub fn value(&self, number: usize) -> &[u8] {
        let encoded = self.encoded(&(number..number + 1));
        match self.width {
            Width::Fixed(_) => encoded,
            Width::Variable => encoded.get(LENGTH..).unwrap_or_default(),
        }
    }

    /// Bytes of some of the values, without their lengths; `None` unless those differ.
    pub fn variable_bytes(&self, values: &Range<usize>) -> Option<i64> {
        match self.width {
            Width::Fixed(_) => None,
            Width::Variable => i64::try_from(self.encoded(values).len() - LENGTH * values.len()).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found() {
        let texts = Bytes::from_static(b"\x02\0\0\0ab\0\0\0\0\x01\0\0\0c");
        let plain = Plain::new(texts.clone(), Width::Variable, 3).unwrap();
        assert_eq!([plain.value(0), plain.value(1), plain.value(2)], [&b"ab"[..], b"", b"c"]);
        assert_eq!(plain.encoded(&(1..3)), b"\0\0\0\0\x01\0\0\0c");
        assert_eq!(plain.variable_bytes(&(0..3)), Some(3));
        assert!(Plain::new(texts.slice(..14), Width::Variable, 3).is_err());
        assert!(Plain::new(texts, Width::Variable, 4).is_err());

        let numbers = Bytes::from_static(&[1, 0, 2, 0]);
        let plain = Plain::new(numbers.clone(), Width::Fixed(2), 2).unwrap();
        assert_eq!((plain.value(1), plain.variable_bytes(&(0..2))), (&[2, 0][..], None));
        assert!(Plain::new(numbers, Width::Fixed(2), 3).is_err());
    }
}
