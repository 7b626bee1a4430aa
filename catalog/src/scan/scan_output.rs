//! What a scan of data files gives: columns, constants of each file, row positions.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::scalar::ScalarValue;
use parquet::arrow::RowNumber;

use super::address_book::AddressBook;
use super::planned_file::{PlannedFile, ScanColumn};
use crate::error::Result;
use crate::table::{LiveFile, TableSchema};

/// Name of the column of positions; that of no table's column, as all that the scan adds.
pub(super) const POSITION: &str = "\u{1}position";

/// Columns, then constants, then the position.
#[derive(Debug, Clone, Default)]
pub(super) struct ScanOutput {
    pub columns: Vec<ScanColumn>,
    pub constants: Vec<FileConstant>,
    /// Whether each row's position in its file is given, from 0, deleted rows counted.
    pub position: RowPosition,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum RowPosition {
    #[default]
    Omitted,
    Given,
}

/// A column whose value is the same in all rows of a file.
#[derive(Debug, Clone)]
pub(super) enum FileConstant {
    /// The file's number in this book.
    Number(Arc<AddressBook>),
    /// Null: the file has none.
    FirstRowId,
    /// Data sequence number.
    SequenceNumber,
}

impl ScanOutput {
    pub fn of_columns(columns: Vec<ScanColumn>) -> Self {
        Self { columns, ..Default::default() }
    }

    pub fn schema(&self) -> SchemaRef {
        let columns = self.columns.iter().map(|c| c.field.clone());
        let constants = self.constants.iter().map(FileConstant::field);
        Arc::new(Schema::new(columns.chain(constants).chain(self.position_field()).collect::<Vec<_>>()))
    }

    /// The column that the Parquet reader fills with positions.
    pub fn position_field(&self) -> Option<FieldRef> {
        let field = || Field::new(POSITION, DataType::Int64, false).with_extension_type(RowNumber);
        (self.position == RowPosition::Given).then(|| Arc::new(field()))
    }

    /// Whether rows tell which file they are in.
    pub fn is_addressed(&self) -> bool {
        self.constants.iter().any(|constant| matches!(constant, FileConstant::Number(_)))
    }

    /// Columns that files may have and the table has not.
    pub fn hidden_fields(&self, schema: &TableSchema) -> Vec<FieldRef> {
        let hidden = self.columns.iter().filter(|c| schema.column_by_id(c.id).is_none());
        hidden.map(|c| c.field.clone()).collect()
    }
}

impl FileConstant {
    pub fn field(&self) -> FieldRef {
        Arc::new(match self {
            Self::Number(_) => Field::new("\u{1}file", DataType::Int32, false),
            Self::FirstRowId => Field::new("\u{1}first_row_id", DataType::Int64, true),
            Self::SequenceNumber => Field::new("\u{1}sequence_number", DataType::Int64, false),
        })
    }

    pub fn value(&self, file: &PlannedFile) -> Result<ScalarValue> {
        let selected = &file.selected;
        Ok(match self {
            Self::Number(book) => {
                let (list, deletes) = (selected.list.clone(), file.deletes.clone());
                let live = LiveFile { list, row: selected.row, deletes };
                ScalarValue::Int32(Some(book.register(live, file.deleted.clone())?))
            }
            Self::FirstRowId => ScalarValue::Int64(selected.file()?.first_row_id),
            Self::SequenceNumber => ScalarValue::Int64(Some(selected.file()?.sequence_number)),
        })
    }
}
