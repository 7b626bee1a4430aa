//! Identities of rows that outlive updates: where data files keep them (Iceberg spec, "Row Lineage"; Delta
//! protocol, "Row Tracking").
//!
//! Both formats say the same in other words: a row's id and the commit that changed it last follow from
//! the file it is in, unless the file stores them in two columns of its own.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Field};

use super::schema::{FIELD_ID, FieldId, PHYSICAL_NAME};

/// Id of the column that identifies a row for ever (Iceberg spec, "Reserved Field IDs"). In Delta's files
/// the column has no id, and the number stands for it among our own columns.
pub const ROW_ID: FieldId = 2_147_483_540;
/// ... and of the column that tells which commit changed it last.
pub const LAST_UPDATED_SEQUENCE_NUMBER: FieldId = 2_147_483_539;

/// The two columns of a table's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowLineage {
    pub row_id: LineageColumn,
    pub last_change: LineageColumn,
}

/// A column of nullable 64-bit integers; null: what follows from the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineageColumn {
    pub id: FieldId,
    name: String,
    found: Found,
}

/// How files are asked for the column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    ById,
    ByName,
}

impl RowLineage {
    /// Columns with ids that are the same in all tables (Iceberg).
    pub fn by_reserved_ids() -> Self {
        let column = |id, name: &str| LineageColumn { id, name: name.to_string(), found: Found::ById };
        Self {
            row_id: column(ROW_ID, "_row_id"),
            last_change: column(LAST_UPDATED_SEQUENCE_NUMBER, "_last_updated_sequence_number"),
        }
    }

    /// Columns with names that the table has chosen (Delta).
    pub fn by_name(row_id: &str, last_change: &str) -> Self {
        let column = |id, name: &str| LineageColumn { id, name: name.to_string(), found: Found::ByName };
        Self {
            row_id: column(ROW_ID, row_id),
            last_change: column(LAST_UPDATED_SEQUENCE_NUMBER, last_change),
        }
    }

    pub fn columns(&self) -> [&LineageColumn; 2] {
        [&self.row_id, &self.last_change]
    }
}

impl LineageColumn {
    /// The column as a data file has it.
    pub fn field(&self) -> Field {
        self.named(&self.name)
    }

    /// The column under another name, which still says how it is found in files.
    pub fn named(&self, name: &str) -> Field {
        let (key, value) = match self.found {
            Found::ById => (FIELD_ID, self.id.to_string()),
            Found::ByName => (PHYSICAL_NAME, self.name.clone()),
        };
        let metadata = HashMap::from([(key.to_string(), value)]);
        Field::new(name, DataType::Int64, true).with_metadata(metadata)
    }
}
