//! The change data feed (Delta protocol, "Change Data Files"): where the rows that a statement changes
//! are written beside the data.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};

use super::files::NoFiles;
use super::properties::{self, is_on};
use super::snapshot::{assemble, state};
use crate::error::Result;
use crate::table::schema::FieldId;
use crate::table::{Operation, TableSchema, TableSnapshot, TableVersion};

/// Directory of change files below a table's root.
const DIRECTORY: &str = "_change_data";
/// Column of the kind of change.
const CHANGE_TYPE: &str = "_change_type";
/// No column of a table has it.
const CHANGE_TYPE_ID: FieldId = FieldId::MAX;

/// The files of a statement that moves rows: laid out and partitioned as the table is, with one column
/// more. `None`: the table keeps no feed, or the statement replaces whole files, which then are all that
/// readers need.
pub(super) fn table(snapshot: &TableSnapshot, operation: Operation) -> Result<Option<Arc<TableSnapshot>>> {
    let base = state(snapshot)?;
    let by_row =
        matches!(operation, Operation::Append | Operation::Delete | Operation::Update | Operation::Merge);
    // All rows of a table to be are new.
    if base.kernel.is_none()
        || !by_row
        || !is_on(&base.metadata.configuration, properties::ENABLE_CHANGE_DATA_FEED)
    {
        return Ok(None);
    }
    let mut schema = TableSchema::clone(&snapshot.schema);
    let mut fields = schema.arrow.fields().to_vec();
    fields.push(Arc::new(Field::new(CHANGE_TYPE, DataType::Utf8View, false)));
    schema.arrow = Arc::new(Schema::new(fields));
    schema.field_ids.push(CHANGE_TYPE_ID);
    let root = format!("{}/{DIRECTORY}", snapshot.location);
    let spec = snapshot.default_spec.clone();
    let (version, files) = (TableVersion::Unpublished, Arc::new(NoFiles));
    Ok(Some(Arc::new(assemble(&root, version, Arc::new(schema), spec, base.unpublished(), None, files))))
}
