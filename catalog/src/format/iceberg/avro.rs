//! Avro's binary encoding, as far as values are copied without being decoded (Avro specification,
//! "Binary Encoding"). Decoding is the `iceberg` crate's.
//!
//! **Invariant:** whatever the bytes are, reading them ends, without a panic: it gives `None`.

use std::collections::HashMap;

use serde_json::Value;

/// Reads values one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    pub rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// An `int` or a `long`.
    pub fn long(&mut self) -> Option<i64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        None
    }

    /// A `bytes` or a `string`.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.long()?).ok()?;
        self.take(length)
    }

    pub fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }

    /// A value as it is encoded.
    pub fn value(&mut self, layout: &Layout) -> Option<&'a [u8]> {
        let from = self.rest;
        self.skip(layout)?;
        from.get(..from.len().checked_sub(self.rest.len())?)
    }

    fn skip(&mut self, layout: &Layout) -> Option<()> {
        match layout {
            Layout::Fixed(size) => self.take(*size).map(drop),
            Layout::Long => self.long().map(drop),
            Layout::Bytes => self.bytes().map(drop),
            Layout::Union(branches) => {
                let branch = usize::try_from(self.long()?).ok()?;
                self.skip(branches.get(branch)?)
            }
            Layout::Record(fields) => fields.iter().try_for_each(|(_, field)| self.skip(field)),
            Layout::Items(parts) => self.skip_items(parts),
        }
    }

    /// Blocks of an array or a map, to the empty one.
    fn skip_items(&mut self, parts: &[Layout]) -> Option<()> {
        loop {
            match self.long()? {
                0 => return Some(()),
                // Then the block's size in bytes comes first.
                count if count < 0 => drop(self.bytes()?),
                count => {
                    for _ in 0..count {
                        let before = self.rest.len();
                        parts.iter().try_for_each(|part| self.skip(part))?;
                        // Nothing encodes to nothing here: a count of it could be any number.
                        if self.rest.len() == before {
                            return None;
                        }
                    }
                }
            }
        }
    }
}

pub fn put_long(bytes: &mut Vec<u8>, value: i64) {
    let mut value = ((value << 1) ^ (value >> 63)) as u64;
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// A value of the union of `null` and `long`.
pub fn put_optional_long(bytes: &mut Vec<u8>, value: Option<i64>) {
    put_long(bytes, i64::from(value.is_some()));
    if let Some(value) = value {
        put_long(bytes, value);
    }
}

/// A value of the union of `null` and `long` that [`Cursor::value`] has given.
pub fn optional_long(encoded: &[u8]) -> Option<Option<i64>> {
    let mut cursor = Cursor { rest: encoded };
    match cursor.long()? {
        0 => Some(None),
        _ => cursor.long().map(Some),
    }
}

/// How the values of a type are laid out. Logical types do not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// So many bytes; `null` has none.
    Fixed(usize),
    Long,
    Bytes,
    Union(Vec<Layout>),
    Record(Vec<(String, Layout)>),
    /// An array, or a map with its keys.
    Items(Vec<Layout>),
}

impl Layout {
    pub const NULL: Self = Self::Fixed(0);

    /// The layout of a schema (Avro specification, "Schema Declaration"). `None`: it is none, or recursive.
    pub fn of(schema: &Value) -> Option<Self> {
        Self::parse(schema, &mut HashMap::new())
    }

    pub fn is_optional(&self) -> bool {
        matches!(self, Self::Union(branches) if branches.len() == 2 && branches.first() == Some(&Self::NULL))
    }

    fn parse(schema: &Value, names: &mut HashMap<String, Self>) -> Option<Self> {
        match schema {
            Value::String(name) => Some(match name.as_str() {
                "null" => Self::NULL,
                "boolean" => Self::Fixed(1),
                "float" => Self::Fixed(4),
                "double" => Self::Fixed(8),
                "int" | "long" => Self::Long,
                "bytes" | "string" => Self::Bytes,
                name => names.get(name)?.clone(),
            }),
            Value::Array(branches) => branches
                .iter()
                .map(|branch| Self::parse(branch, names))
                .collect::<Option<_>>()
                .map(Self::Union),
            _ => {
                let named = match schema.get("type")? {
                    Value::String(name) if name == "record" => {
                        let mut fields = Vec::new();
                        for field in schema.get("fields")?.as_array()? {
                            let layout = Self::parse(field.get("type")?, names)?;
                            fields.push((field.get("name")?.as_str()?.to_string(), layout));
                        }
                        Self::Record(fields)
                    }
                    Value::String(name) if name == "enum" => Self::Long,
                    Value::String(name) if name == "fixed" => {
                        Self::Fixed(usize::try_from(schema.get("size")?.as_u64()?).ok()?)
                    }
                    Value::String(name) if name == "array" => {
                        return Some(Self::Items(vec![Self::parse(schema.get("items")?, names)?]));
                    }
                    Value::String(name) if name == "map" => {
                        return Some(Self::Items(vec![
                            Self::Bytes,
                            Self::parse(schema.get("values")?, names)?,
                        ]));
                    }
                    other => return Self::parse(other, names),
                };
                names.insert(schema.get("name")?.as_str()?.to_string(), named.clone());
                Some(named)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn longs_survive() {
        for value in [0, 1, -1, 63, 64, -64, -65, 300, i64::MAX, i64::MIN] {
            let mut bytes = Vec::new();
            put_long(&mut bytes, value);
            assert_eq!(Cursor { rest: &bytes }.long(), Some(value));
            for value in [Some(value), None] {
                let mut bytes = Vec::new();
                put_optional_long(&mut bytes, value);
                assert_eq!(optional_long(&bytes), Some(value));
            }
        }
        assert_eq!(Cursor { rest: &[0xff; 11] }.long(), None);
    }

    #[test]
    fn values_end_where_the_next_one_begins() {
        let schema = json!({"type": "record", "name": "r", "fields": [
            {"name": "f", "type": {"type": "fixed", "name": "two", "size": 2}},
            {"name": "g", "type": ["null", "two"]},
            {"name": "a", "type": {"type": "array", "items": {"type": "int", "logicalType": "date"}}},
            {"name": "m", "type": {"type": "map", "values": "string"}},
            {"name": "e", "type": {"type": "enum", "name": "e", "symbols": ["x"]}},
            {"name": "d", "type": ["boolean", "float", "double"]},
        ]});
        let encoded: &[&[u8]] = &[
            b"ab",
            &[2, b'c', b'd'],
            // Two items, one in a block that tells its size, the end.
            &[4, 2, 4, 1, 2, 6, 0],
            &[2, 2, b'k', 2, b'v', 0],
            &[0],
            &[4, 1, 2, 3, 4, 5, 6, 7, 8],
        ];
        let layout = Layout::of(&schema).unwrap();
        let Layout::Record(fields) = &layout else { panic!("{layout:?}") };
        let whole = encoded.concat();
        let mut cursor = Cursor { rest: &whole };
        for ((name, field), expected) in fields.iter().zip(encoded) {
            assert_eq!(cursor.value(field), Some(*expected), "{name}");
        }
        assert_eq!(cursor.rest, b"");
        assert_eq!(Cursor { rest: &whole }.value(&layout), Some(whole.as_slice()));
        for end in 0..whole.len() {
            assert_eq!(Cursor { rest: &whole[..end] }.value(&layout), None, "cut at {end}");
        }
    }

    #[test]
    fn nothing_is_counted_without_end() {
        let mut endless = Vec::new();
        put_long(&mut endless, i64::MAX);
        let nulls = Layout::of(&json!({"type": "array", "items": "null"})).unwrap();
        assert_eq!(Cursor { rest: &endless }.value(&nulls), None);
        assert_eq!(
            Layout::of(&json!({"type": "record", "name": "r", "fields": [{"name": "r", "type": "r"}]})),
            None
        );
    }
}
