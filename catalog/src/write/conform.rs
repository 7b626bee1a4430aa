//! Rows of a query as rows of a table: casts to the stored types, NOT NULL, names of nested fields.
//!
//! A value that does not fit its column is an error, never a silent null.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, ListArray, MapArray, RecordBatch, StructArray,
};
use arrow::array::{GenericListArray, OffsetSizeTrait};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::error::ArrowError;
use arrow::util::display::FormatOptions;
use datafusion::error::DataFusionError;

use super::file_schema::FileSchema;
use crate::error::{Error, Result};

/// A batch whose columns are in the order of the table's schema (names do not matter), as a batch
/// of [`FileSchema::physical`].
///
/// Fails with `NotNullViolation`; with an arrow error where a cast overflows; with `Internal` where
/// the number of columns differs.
pub fn conform(batch: &RecordBatch, schema: &FileSchema, table: &str) -> Result<RecordBatch> {
    if batch.num_columns() != schema.physical.fields().len() {
        return Err(Error::Internal(format!(
            "{} columns to write into {table}, which has {}",
            batch.num_columns(),
            schema.physical.fields().len()
        )));
    }
    let columns: Vec<ArrayRef> = (0..batch.num_columns())
        .map(|index| conform_column(batch.column(index), schema, index, table))
        .collect::<Result<_>>()?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.physical.clone(), columns, &options)
        .map_err(|e| Error::Internal(format!("writing {table}: {e}")))
}

/// Values of one column of the table, as [`conform`] makes them. Fails as it does.
pub fn conform_column(values: &ArrayRef, schema: &FileSchema, index: usize, table: &str) -> Result<ArrayRef> {
    let fields = schema.table.fields().get(index).zip(schema.physical.fields().get(index));
    let (logical, physical) =
        fields.ok_or_else(|| Error::Internal(format!("{table} has no column {index}")))?;
    let values = conform_array(values, logical, physical).map_err(|e| e.of(table, logical.name()))?;
    if !physical.is_nullable() && has_nulls(&values) {
        return Err(Mismatch::Null(logical.name().clone()).of(table, logical.name()));
    }
    Ok(values)
}

enum Mismatch {
    /// A null where there may be none; path of the field.
    Null(String),
    Arrow(ArrowError),
}

impl Mismatch {
    fn of(self, table: &str, column: &str) -> Error {
        match self {
            Self::Null(path) => Error::NotNullViolation { table: table.to_string(), column: path },
            Self::Arrow(e) => {
                let e = DataFusionError::from(e);
                Error::DataFusion(e.context(format!("writing column \"{column}\" of \"{table}\"")))
            }
        }
    }
}

impl From<ArrowError> for Mismatch {
    fn from(e: ArrowError) -> Self {
        Self::Arrow(e)
    }
}

/// Nulls by value: also those of dictionary values and of the null type.
fn has_nulls(values: &ArrayRef) -> bool {
    values.logical_null_count() > 0
}

fn conform_array(values: &ArrayRef, logical: &Field, physical: &FieldRef) -> Result<ArrayRef, Mismatch> {
    let to = physical.data_type();
    if values.data_type() == to && !to.is_nested() {
        return Ok(values.clone());
    }
    match (values.data_type(), logical.data_type(), to) {
        (DataType::Struct(_), DataType::Struct(_), DataType::Struct(_)) => {
            Ok(Arc::new(conform_struct(values.as_struct(), logical, physical)?))
        }
        (DataType::List(_), DataType::List(logical), DataType::List(child)) => {
            let (offsets, items, nulls) = conform_list(values.as_list::<i32>(), logical, child)?;
            Ok(Arc::new(ListArray::try_new(child.clone(), offsets, items, nulls)?))
        }
        (DataType::LargeList(_), DataType::LargeList(logical), DataType::LargeList(child)) => {
            let (offsets, items, nulls) = conform_list(values.as_list::<i64>(), logical, child)?;
            Ok(Arc::new(GenericListArray::<i64>::try_new(child.clone(), offsets, items, nulls)?))
        }
        (
            DataType::FixedSizeList(_, n),
            DataType::FixedSizeList(logical, _),
            DataType::FixedSizeList(child, m),
        ) if n == m => {
            let from = values.as_fixed_size_list();
            let items = conform_array(from.values(), logical, child)?;
            refuse_nulls(&items, logical, child)?;
            Ok(Arc::new(FixedSizeListArray::try_new(child.clone(), *n, items, from.nulls().cloned())?))
        }
        // Other kinds of lists, as expressions make them.
        (
            DataType::LargeList(item)
            | DataType::ListView(item)
            | DataType::LargeListView(item)
            | DataType::FixedSizeList(item, _),
            _,
            DataType::List(_),
        ) => {
            let list = cast(values, &DataType::List(item.clone()))?;
            conform_array(&list, logical, physical)
        }
        (DataType::Map(_, _), DataType::Map(logical, _), DataType::Map(entries, sorted)) => {
            let from = values.as_map();
            let offsets = from.offsets();
            let (start, len) = span(offsets);
            let conformed = conform_struct(&from.entries().slice(start, len), logical, entries)?;
            let offsets = rebase(offsets);
            let nulls = from.nulls().cloned();
            Ok(Arc::new(MapArray::try_new(entries.clone(), offsets, conformed, nulls, *sorted)?))
        }
        _ => Ok(cast(values, to)?),
    }
}

fn cast(values: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    let options = CastOptions { safe: false, format_options: FormatOptions::default() };
    cast_with_options(values, to, &options)
}

/// Children are matched by name where the names agree, else by position (`row(1, 'a')`).
fn conform_struct(from: &StructArray, logical: &Field, physical: &FieldRef) -> Result<StructArray, Mismatch> {
    let (DataType::Struct(logical), DataType::Struct(fields)) = (logical.data_type(), physical.data_type())
    else {
        return Err(ArrowError::CastError(format!("{} is not a struct", physical.data_type())).into());
    };
    if from.num_columns() != fields.len() {
        let found = from.num_columns();
        return Err(
            ArrowError::CastError(format!("struct of {found} fields for one of {}", fields.len())).into()
        );
    }
    let by_name = logical.iter().all(|field| from.column_by_name(field.name()).is_some());
    let mut children = Vec::with_capacity(fields.len());
    for (i, (logical, physical)) in logical.iter().zip(fields).enumerate() {
        let named = if by_name { from.column_by_name(logical.name()) } else { None };
        let child = conform_array(named.unwrap_or_else(|| from.column(i)), logical, physical)?;
        if !physical.is_nullable()
            && let Some(nulls) = child.logical_nulls()
        {
            // Below a null struct anything goes.
            let masked = from.nulls().is_some_and(|parent| parent.contains(&nulls));
            if nulls.null_count() > 0 && !masked {
                return Err(Mismatch::Null(logical.name().clone()));
            }
        }
        children.push(child);
    }
    Ok(StructArray::try_new(fields.clone(), children, from.nulls().cloned())?)
}

type ListParts<O> = (arrow::buffer::OffsetBuffer<O>, ArrayRef, Option<arrow::buffer::NullBuffer>);

fn conform_list<O: OffsetSizeTrait>(
    from: &GenericListArray<O>,
    logical: &Field,
    child: &FieldRef,
) -> Result<ListParts<O>, Mismatch> {
    let (start, len) = span(from.offsets());
    let items = conform_array(&from.values().slice(start, len), logical, child)?;
    refuse_nulls(&items, logical, child)?;
    Ok((rebase(from.offsets()), items, from.nulls().cloned()))
}

fn refuse_nulls(items: &ArrayRef, logical: &Field, child: &Field) -> Result<(), Mismatch> {
    if !child.is_nullable() && has_nulls(items) {
        return Err(Mismatch::Null(logical.name().clone()));
    }
    Ok(())
}

/// Start and length of the values that a list's rows refer to: a sliced list keeps the others.
fn span<O: OffsetSizeTrait>(offsets: &arrow::buffer::OffsetBuffer<O>) -> (usize, usize) {
    let start = offsets.first().map_or(0, |o| o.as_usize());
    let end = offsets.last().map_or(0, |o| o.as_usize());
    (start, end - start)
}

fn rebase<O: OffsetSizeTrait>(offsets: &arrow::buffer::OffsetBuffer<O>) -> arrow::buffer::OffsetBuffer<O> {
    match offsets.first() {
        Some(first) if *first != O::zero() => {
            let shifted = offsets.iter().map(|offset| *offset - *first).collect::<Vec<O>>();
            arrow::buffer::OffsetBuffer::new(shifted.into())
        }
        _ => offsets.clone(),
    }
}
