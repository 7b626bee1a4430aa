//! Arrays: `{a,"b c",NULL}` and the binary array format, any number of dimensions.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, GenericListArray, GenericListViewArray, OffsetSizeTrait};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use auric_sql::{Error, Result, SqlState};
use bytes::BufMut;
use postgres_types::{Kind, Type};

use super::{Column, Encoder, ValueEncoder, patch};

/// One level of a list column.
struct List {
    ranges: Vec<Range<usize>>,
    nulls: Option<NullBuffer>,
    child: Child,
}

enum Child {
    Values(Column),
    Lists(Box<List>),
}

struct TextArray {
    list: List,
    /// `int2vector` and `oidvector`: elements between spaces, no braces.
    vector: bool,
}

struct BinaryArray {
    list: List,
    element: u32,
    /// Subscript of the first element: 1, but 0 in vectors.
    lower_bound: i32,
}

pub(super) fn list(array: &ArrayRef, pg: &Type, binary: bool) -> Result<Encoder> {
    let element = match pg.kind() {
        Kind::Array(element) => element.clone(),
        _ if *pg == Type::INT2_VECTOR => Type::INT2,
        _ if *pg == Type::OID_VECTOR => Type::OID,
        _ => Type::TEXT,
    };
    let vector = matches!(*pg, Type::INT2_VECTOR | Type::OID_VECTOR);
    let list = List::new(array, &element, binary)?;
    Ok(if binary {
        Box::new(BinaryArray { list, element: element.oid(), lower_bound: i32::from(!vector) })
    } else {
        Box::new(TextArray { list, vector })
    })
}

/// Range of a list array's values that each row has, and these values.
pub(super) fn parts_of(array: &ArrayRef) -> Option<(Vec<Range<usize>>, ArrayRef)> {
    fn offsets<O: OffsetSizeTrait>(list: &GenericListArray<O>) -> (Vec<Range<usize>>, ArrayRef) {
        let offsets = list.value_offsets();
        let ranges = offsets.windows(2).map(|w| w[0].as_usize()..w[1].as_usize()).collect();
        (ranges, list.values().clone())
    }
    fn views<O: OffsetSizeTrait>(list: &GenericListViewArray<O>) -> (Vec<Range<usize>>, ArrayRef) {
        let sizes = list.sizes().iter().map(|s| s.as_usize());
        let starts = list.offsets().iter().map(|o| o.as_usize());
        (starts.zip(sizes).map(|(start, size)| start..start + size).collect(), list.values().clone())
    }
    Some(match array.data_type() {
        DataType::List(_) => offsets(array.as_list::<i32>()),
        DataType::LargeList(_) => offsets(array.as_list::<i64>()),
        DataType::ListView(_) => views(array.as_list_view::<i32>()),
        DataType::LargeListView(_) => views(array.as_list_view::<i64>()),
        DataType::FixedSizeList(_, _) => {
            let list = array.as_fixed_size_list();
            let length = usize::try_from(list.value_length()).unwrap_or(0);
            ((0..list.len()).map(|row| row * length..(row + 1) * length).collect(), list.values().clone())
        }
        _ => return None,
    })
}

impl List {
    fn new(array: &ArrayRef, element: &Type, binary: bool) -> Result<Self> {
        let (ranges, values) = parts_of(array)
            .ok_or_else(|| Error::new(SqlState("XX000"), format!("{} is no list", array.data_type())))?;
        let child = if parts_exist(values.data_type()) {
            Child::Lists(Box::new(Self::new(&values, element, binary)?))
        } else {
            Child::Values(Column::new(&values, element, binary)?)
        };
        Ok(Self { ranges, nulls: array.logical_nulls(), child })
    }

    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    fn put_text(&self, row: usize, scratch: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<()> {
        out.put_u8(b'{');
        for (i, element) in self.ranges[row].clone().enumerate() {
            if i > 0 {
                out.put_u8(b',');
            }
            match &self.child {
                Child::Lists(lists) if lists.is_null(element) => out.extend_from_slice(b"NULL"),
                Child::Lists(lists) => lists.put_text(element, scratch, out)?,
                Child::Values(values) if values.is_null(element) => out.extend_from_slice(b"NULL"),
                Child::Values(values) => {
                    scratch.clear();
                    values.encoder.put(element, scratch)?;
                    put_quoted(scratch, out);
                }
            }
        }
        out.put_u8(b'}');
        Ok(())
    }

    /// Lengths of all dimensions of the array at `row`. Fails if it is not rectangular.
    fn dimensions(&self, row: usize, found: &mut Vec<usize>, depth: usize) -> Result<()> {
        let range = self.ranges[row].clone();
        match found.get(depth) {
            None => found.push(range.len()),
            Some(length) if *length == range.len() => {}
            Some(_) => return Err(ragged()),
        }
        if let Child::Lists(lists) = &self.child {
            for element in range {
                if lists.is_null(element) {
                    return Err(ragged());
                }
                lists.dimensions(element, found, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Appends the elements; `true`: one was NULL.
    fn put_binary(&self, row: usize, out: &mut Vec<u8>) -> Result<bool> {
        let mut has_nulls = false;
        for element in self.ranges[row].clone() {
            match &self.child {
                Child::Lists(lists) => has_nulls |= lists.put_binary(element, out)?,
                Child::Values(values) => {
                    has_nulls |= values.is_null(element);
                    values.put_with_length(element, out)?;
                }
            }
        }
        Ok(has_nulls)
    }
}

fn parts_exist(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::List(_)
            | DataType::LargeList(_)
            | DataType::ListView(_)
            | DataType::LargeListView(_)
            | DataType::FixedSizeList(_, _)
    )
}

fn ragged() -> Error {
    Error::new(SqlState("2202E"), "the binary format has only arrays whose sub-arrays are of equal length")
        .with_hint("Ask for the text format.")
}

impl ValueEncoder for TextArray {
    fn put(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        let mut scratch = Vec::new();
        if !self.vector {
            return self.list.put_text(row, &mut scratch, out);
        }
        if let Child::Values(values) = &self.list.child {
            for (i, element) in self.list.ranges[row].clone().enumerate() {
                if i > 0 {
                    out.put_u8(b' ');
                }
                if !values.is_null(element) {
                    values.encoder.put(element, out)?;
                }
            }
        }
        Ok(())
    }
}

impl ValueEncoder for BinaryArray {
    fn put(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        let mut dimensions = Vec::new();
        self.list.dimensions(row, &mut dimensions, 0)?;
        if dimensions.contains(&0) {
            dimensions.clear();
        }
        out.put_i32(dimensions.len() as i32);
        let flag = out.len();
        out.put_i32(0);
        out.put_u32(self.element);
        for length in &dimensions {
            out.put_i32(*length as i32);
            out.put_i32(self.lower_bound);
        }
        if !dimensions.is_empty() && self.list.put_binary(row, out)? {
            patch(out, flag, 1);
        }
        Ok(())
    }
}

/// An element's text, quoted where array syntax needs it (`array_out` in Postgres' sources).
fn put_quoted(text: &[u8], out: &mut Vec<u8>) {
    let special = |b: &u8| matches!(b, b'"' | b'\\' | b'{' | b'}' | b',' | b' ' | 9..=13);
    if !text.is_empty() && !text.eq_ignore_ascii_case(b"null") && !text.iter().any(special) {
        out.extend_from_slice(text);
        return;
    }
    out.put_u8(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.put_u8(b'\\');
        }
        out.put_u8(*byte);
    }
    out.put_u8(b'"');
}
