//! Row-level changes: a query says what becomes of which row, and this carries it out.
//!
//! A statement reads its target through [`RowTarget::provider`], whose rows carry their address, and
//! makes of it, joined with whatever it likes, one row for each change: address, action, new values.
//! [`RowTarget::change`] turns those into deletes and new files.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::physical_plan::ExecutionPlan;

use crate::error::{Error, Result};
use crate::registry::Table;
use crate::table::Operation;

/// Address column: which of the target's files (a number that only its [`RowTarget`] understands).
pub const FILE: &str = "__auric_file";
/// Address column: position of the row in its file, from 0, deleted rows counted.
pub const POSITION: &str = "__auric_position";
/// Column of the input: what to do, a [`RowAction`].
pub const ACTION: &str = "__auric_action";

/// What becomes of a row; the input's [`ACTION`] column holds the numbers (null: nothing).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum RowAction {
    /// The row at the address goes; the new values are ignored.
    Delete = 1,
    /// The row at the address is replaced by the new values.
    Update = 2,
    /// The new values are a new row; the address is ignored.
    Insert = 3,
}

/// What to do when the input holds a second change for the same target row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecondChange {
    /// Fail with `CardinalityViolation` of this command (`MERGE`, `ON CONFLICT DO UPDATE`).
    Refuse(&'static str),
    /// The first one counts (`UPDATE … FROM`, `DELETE … USING`).
    Ignore,
}

#[derive(Debug, Clone)]
pub struct ChangeOptions {
    pub operation: Operation,
    pub second_change: SecondChange,
    /// See [`TableChange::parameters`](crate::table::TableChange::parameters).
    pub parameters: BTreeMap<String, String>,
    /// Trailing columns of the input that are returned for each changed row, instead of the impact.
    pub returning: usize,
    /// Nothing is committed, and the files written are deleted.
    pub dry_run: bool,
}

/// The target of one row-level statement.
#[derive(Debug, Clone)]
pub struct RowTarget {
    table: Table,
}

impl RowTarget {
    pub fn new(table: Table) -> Self {
        Self { table }
    }

    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Columns that [`Self::provider`] adds after the table's own, and that the input of
    /// [`Self::change`] begins with (nullable there).
    pub fn address_columns(&self) -> Vec<FieldRef> {
        vec![
            Arc::new(Field::new(FILE, DataType::Int32, false)),
            Arc::new(Field::new(POSITION, DataType::Int64, false)),
        ]
    }

    /// The target as a relation: the table's columns, then the address columns. Only what is scanned
    /// through it can be changed. Filters on it become what the statement is taken to have read.
    pub fn provider(&self) -> Arc<dyn TableProvider> {
        self.table.provider()
    }

    /// Plan that carries out the changes of `input`: address columns, [`ACTION`] (`Int8`), the
    /// table's columns in order, then those of RETURNING. Returns one row of
    /// [`impact::schema`](super::impact::schema), or the RETURNING columns of every changed row.
    pub fn change(
        &self,
        _state: &dyn Session,
        _input: Arc<dyn ExecutionPlan>,
        options: ChangeOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Err(Error::unsupported(&self.table.ident, options.operation))
    }
}
