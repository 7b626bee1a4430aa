//! A data file with all that a scan has found out about it.

use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::FieldRef;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::scalar::ScalarValue;
use object_store::path::Path;
use roaring::RoaringTreemap;

use super::file_selection::SelectedFile;
use super::row_selection::deleted_rows;
use crate::table::deletes::FileDeletes;
use crate::table::statistics::PartitionBounds;
use crate::table::{FieldId, PartitionSpec, TableSchema, Transform};
use crate::{Error, Result};

/// A column that a scan reads.
#[derive(Debug, Clone)]
pub(super) struct ScanColumn {
    pub id: FieldId,
    pub field: FieldRef,
}

impl ScanColumn {
    /// The columns of a table, in order.
    pub fn all(schema: &TableSchema) -> impl Iterator<Item = Self> {
        let columns = schema.field_ids.iter().zip(schema.arrow.fields());
        columns.map(|(id, field)| Self { id: *id, field: field.clone() })
    }
}

/// One file to read.
#[derive(Debug)]
pub(super) struct PlannedFile {
    pub selected: SelectedFile,
    pub store_url: ObjectStoreUrl,
    pub path: Path,
    pub size: u64,
    /// Rows in the file before deletes; always known when `deleted` is set.
    pub rows: Option<u64>,
    pub deleted: Option<Arc<RoaringTreemap>>,
    pub deletes: FileDeletes,
    /// Which of the scan's columns are constant in this file.
    pub is_constant: Vec<bool>,
    /// Values of the constant columns, then of those that the scan adds (see `scan_output` and
    /// `equality_deletes`).
    pub constants: Vec<ScalarValue>,
}

impl PlannedFile {
    /// Rows that are not deleted by position.
    pub fn remaining_rows(&self) -> Option<u64> {
        let deleted = self.deleted.as_ref().zip(self.rows).map_or(0, |(d, rows)| deleted_rows(d, rows));
        self.rows?.checked_sub(deleted)
    }
}

/// The columns of a scan that are constant in a file, with their values.
///
/// Those are the columns that the file is partitioned by as they are: the file's partition value is the
/// value of all its rows, and some writers leave such columns out of the file (Delta always, Iceberg for
/// files that were taken over from Hive).
pub(super) fn constant_columns(
    selected: &SelectedFile,
    columns: &[ScanColumn],
) -> Result<(Vec<bool>, Vec<ScalarValue>)> {
    let stats = &selected.list.stats;
    let mut is_constant = Vec::with_capacity(columns.len());
    let mut constants = Vec::new();
    for column in columns {
        let values = identity_field(&stats.spec, column.id).and_then(|i| stats.partitions.get(i));
        let known = |p: &&PartitionBounds| {
            let null = selected.row < p.lower.len() && p.lower.is_null(selected.row);
            selected.row < p.lower.len() && (!null || p.may_contain_null.get(selected.row) == Some(&true))
        };
        let values = values.filter(known);
        is_constant.push(values.is_some());
        let Some(values) = values else { continue };
        let value = ScalarValue::try_from_array(&values.lower, selected.row)?;
        let value = value.cast_to(column.field.data_type()).map_err(|e| {
            let path = selected.list.files.get(selected.row).map_or("data file", |f| f.path.as_str());
            Error::corrupt(path, format!("partition value of column \"{}\": {e}", column.field.name()))
        })?;
        constants.push(value);
    }
    Ok((is_constant, constants))
}

fn identity_field(spec: &PartitionSpec, id: FieldId) -> Option<usize> {
    spec.fields.iter().position(|f| f.source_id == id && f.transform == Transform::Identity)
}
