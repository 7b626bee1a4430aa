//! Row-level changes: a query says what becomes of which row, and this carries it out.
//!
//! A statement reads its target through [`RowTarget::provider`], whose rows carry their address, and
//! makes of it, joined with whatever it likes, one row for each change: address, action, new values.
//! [`RowTarget::change`] turns those into deletes and new files.

mod apply;
mod change_feed;
mod changes;
mod exec;
mod in_place;
mod moved;
mod of_file;
mod rewrite;
mod spilled_values;
mod splice;
mod updated;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::execution::SessionState;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr_rewriter::unnormalize_cols;
use datafusion::physical_plan::ExecutionPlan;

use self::apply::Apply;
use self::changes::{InputColumns, ReturnedRows};
use self::exec::RowChangeExec;
use super::impact;
use super::insert::sorted;
use super::publish::Publish;
use crate::error::{Error, Result};
use crate::format::RowLevelMode;
use crate::registry::Table;
use crate::scan::{self, AddressBook, AddressedTable};
use crate::table::Operation;
use crate::write::{source_path, write_order};

/// Address column: which of the target's files (a number that only its [`RowTarget`] understands).
pub const FILE: &str = "__auric_file";
/// Address column: position of the row in its file, from 0, deleted rows counted.
pub const POSITION: &str = "__auric_position";
/// Address column of a table with row lineage: what identifies the row for ever.
pub const ROW_ID: &str = scan::ROW_ID;
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
    /// The statement reads the target also in other ways than through [`RowTarget::provider`]: any
    /// change of it conflicts.
    pub reads_all: bool,
    /// Trailing columns of the input that are returned for each changed row (of an overwrite: for each
    /// new one), instead of the impact.
    pub returning: usize,
    /// `None`: updated rows may have other values in all columns.
    pub assigned: Option<Assigned>,
    /// Nothing is committed, and the files written are deleted.
    pub dry_run: bool,
}

/// What a statement assigns to the rows that it updates.
#[derive(Debug, Clone)]
pub struct Assigned {
    /// Indexes of the table's columns. In the others, updated rows have what they had.
    pub columns: BTreeSet<usize>,
    /// The statement has new rows, too. Then its input has all columns anyway.
    pub inserts: bool,
}

impl RowAction {
    fn from_number(number: i8) -> Result<Self> {
        [Self::Delete, Self::Update, Self::Insert]
            .into_iter()
            .find(|action| *action as i8 == number)
            .ok_or_else(|| Error::Internal(format!("there is no row action {number}")))
    }
}

/// The target of one row-level statement.
#[derive(Debug, Clone)]
pub struct RowTarget {
    table: Table,
    book: Arc<AddressBook>,
    publish: Publish,
}

impl RowTarget {
    pub fn new(table: Table) -> Self {
        Self { table, book: Arc::default(), publish: Publish::Now }
    }

    /// Says when the change is committed; at once, otherwise.
    #[must_use]
    pub fn published(self, publish: Publish) -> Self {
        Self { publish, ..self }
    }

    pub fn table(&self) -> &Table {
        &self.table
    }

    fn book(&self) -> &AddressBook {
        &self.book
    }

    /// Columns that the input of [`Self::change`] begins with (nullable there), among those that
    /// [`Self::provider`] adds after the table's own.
    pub fn address_columns(&self) -> Vec<FieldRef> {
        let mut columns: Vec<FieldRef> = vec![
            Arc::new(Field::new(FILE, DataType::Int32, false)),
            Arc::new(Field::new(POSITION, DataType::Int64, false)),
        ];
        if self.table.snapshot.row_lineage.is_some() {
            columns.push(Arc::new(Field::new(ROW_ID, DataType::Int64, true)));
        }
        columns
    }

    /// The target as a relation: the table's columns, then the address columns and maybe more. Only
    /// what is scanned through it can be changed. Filters on it become what the statement is taken to
    /// have read.
    pub fn provider(&self) -> Arc<dyn TableProvider> {
        let addressed = AddressedTable::new(&self.table, self.book.clone());
        Arc::new(addressed.with_lineage())
    }

    /// Says that the statement deletes the rows for which all of `condition` is true, and nothing else:
    /// files all of whose rows go are not read, as far as statistics tell. To be called before the input
    /// of [`Self::change`] is planned.
    pub fn delete_where(&self, condition: Vec<Expr>) -> Result<()> {
        let format = self.table.catalog.format(self.table.snapshot.format);
        // The feed of changes has every row that goes.
        if format.change_feed(&self.table.snapshot, Operation::Delete)?.is_none() {
            self.book.delete_where(unnormalize_cols(condition));
        }
        Ok(())
    }

    /// Whether of updated rows only the columns `assigned` need to be in the input of
    /// [`Self::change`]: whatever the input has in the other columns, and in [`ROW_ID`], the rows keep the values that
    /// they have, and their place in the table's partitioning and sort order. Fails with `Unsupported` if the table
    /// cannot be written.
    pub fn needs_only_assigned(&self, operation: Operation, assigned: &Assigned) -> Result<bool> {
        let snapshot = &self.table.snapshot;
        let format = self.table.catalog.format(snapshot.format);
        let is_marked = format.row_level_mode(snapshot, operation)? == RowLevelMode::MergeOnRead;
        // Rows that go to other files are put in order together. If most of them is there already, the rest is not
        // worth to be looked for.
        let is_written_whole = is_marked
            && (!snapshot.sort_order.fields.is_empty()
                || assigned.inserts
                || assigned.columns.len() > snapshot.schema.arrow.fields().len() / 2);
        let needs_whole_rows = assigned.columns.is_empty()
            || is_written_whole
            || format.change_feed(snapshot, operation)?.is_some();
        let partitioned_by = snapshot.default_spec.fields.iter().map(|field| field.source_id);
        let sorted_by = snapshot.sort_order.fields.iter().map(|field| field.source_id);
        let schema = &snapshot.schema;
        let says_where = |id| {
            let source = source_path(&schema.arrow, &schema.field_ids, id);
            source
                .is_some_and(|(path, _)| path.first().is_some_and(|column| assigned.columns.contains(column)))
        };
        Ok(!needs_whole_rows && !partitioned_by.chain(sorted_by).any(says_where))
    }

    /// Plan that carries out the changes of `input`: address columns, [`ACTION`] (`Int8`), the
    /// table's columns in order, then those of RETURNING. Returns one row of
    /// [`impact::schema`], or the RETURNING columns of every changed row.
    ///
    /// Fails with `Unsupported` if the table cannot be written; with `Invalid` for table properties
    /// that make no sense.
    pub fn change(
        &self,
        state: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        options: ChangeOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let snapshot = &self.table.snapshot;
        let session = state.as_any().downcast_ref::<SessionState>();
        let session = session.ok_or_else(|| Error::Internal("not a session of DataFusion".into()))?.clone();
        let addresses = self.address_columns().len();
        let table_columns = snapshot.schema.arrow.fields().len();
        let columns = InputColumns {
            row_id: snapshot.row_lineage.as_ref().map(|_| 2),
            action: addresses,
            values: addresses + 1,
            table_columns,
            returning: options.returning,
            returned: match options.operation {
                // The rows that give way are not those that the statement is about.
                Operation::Overwrite => ReturnedRows::New,
                _ => ReturnedRows::Changed,
            },
        };
        let expected = columns.values + table_columns + options.returning;
        if input.schema().fields().len() != expected {
            let found = input.schema().fields().len();
            return Err(Error::Internal(format!("{found} columns for a row-level change of {expected}")));
        }
        let format = self.table.catalog.format(snapshot.format);
        let mode = format.row_level_mode(snapshot, options.operation)?;
        let schema = match options.returning {
            returning if returning > 0 && !options.dry_run => {
                let positions: Vec<usize> = (expected - returning..expected).collect();
                Arc::new(input.schema().project(&positions).map_err(|e| Error::Internal(e.to_string()))?)
            }
            _ => impact::schema(),
        };
        let needs_only_assigned = match &options.assigned {
            Some(assigned) => self.needs_only_assigned(options.operation, assigned)?,
            None => false,
        };
        let order = match options.operation {
            // No new rows.
            Operation::Delete => None,
            Operation::Update if needs_only_assigned => None,
            _ => write_order(snapshot, &input.schema(), columns.values)?,
        };
        let input = match &order {
            Some(order) => sorted(input, order),
            None => input,
        };
        let apply = Apply {
            target: self.clone(),
            options,
            columns,
            mode,
            needs_only_assigned,
            session: Arc::new(session),
        };
        Ok(Arc::new(RowChangeExec::new(Arc::new(apply), input, order, schema)))
    }
}
