//! INSERT OVERWRITE, TRUNCATE and the DELETE of whole partitions: whole files are replaced.
//!
//! [`replacement`] says which files go, [`evolved`] what a file of an earlier partitioning has to do
//! with partitions of today.

mod evolved;
mod live_files;
mod replacement;
mod whole_files;

use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;

pub(super) use self::replacement::Replacement;
pub use self::whole_files::{WholeFiles, delete};
use super::insert::returned;
use super::publish::Publish;
use super::write_exec::{self, Kind, Returned, Write};
use crate::error::Result;
use crate::registry::Table;
use crate::table::Operation;

/// Which files the new rows replace.
#[derive(Debug, Clone, PartialEq)]
pub enum Replaced {
    /// All files of the partitions that the new rows are in (Spark's `dynamic`). Of an
    /// unpartitioned table: all.
    PartitionsOfRows,
    /// All files whose rows satisfy all these predicates, each over identity partition columns only.
    /// New rows must satisfy them too. None: all files.
    Where(Vec<Expr>),
}

#[derive(Debug, Clone, Default)]
pub struct OverwriteOptions {
    /// Trailing columns of the input, after the table's, that are returned instead of the impact.
    pub returning: usize,
    /// Nothing is committed, and the files written are deleted.
    pub dry_run: bool,
    /// The input was computed from rows of the table itself: any concurrent change conflicts.
    pub reads_target: bool,
    pub publish: Publish,
    /// The predicates of [`Replaced::Where`] as the statement has them, for people.
    pub predicate: Option<String>,
}

/// Plan that writes `input` (the table's columns in order, then those of RETURNING) and replaces.
///
/// The files to replace are those of the version that `table` was read at. Fails with `Invalid` for
/// a predicate that is not over identity partition columns; when run, with `OutsideOfOverwrite` for
/// a row that does not satisfy the predicates, and with `Unsupported` where a file of an earlier
/// partitioning may hold rows to be replaced and others.
pub fn plan(
    table: &Table,
    state: &dyn Session,
    input: Arc<dyn ExecutionPlan>,
    replaced: Replaced,
    options: OverwriteOptions,
) -> Result<Arc<dyn ExecutionPlan>> {
    let mut replacement = Replacement::new(table, state, replaced, Operation::Overwrite)?;
    if let Some(text) = options.predicate {
        replacement.predicate = text;
    }
    replacement.reads_everything |= options.reads_target;
    let write = Write {
        table: table.clone(),
        kind: Kind::Replace(Arc::new(replacement)),
        returned: returned(options.returning, options.dry_run),
        dry_run: options.dry_run,
        reads_target: false,
        publish: options.publish,
    };
    Ok(write_exec::plan(write, input)?)
}

/// How a table is emptied.
#[derive(Debug, Clone, Copy, Default)]
pub struct TruncateOptions {
    /// Nothing is committed.
    pub dry_run: bool,
    /// Identity columns begin anew.
    pub restarts_identity: bool,
}

/// Plan that removes all files. Rows added meanwhile conflict: after TRUNCATE there are none.
pub fn truncate(
    table: &Table,
    state: &dyn Session,
    options: TruncateOptions,
    publish: Publish,
) -> Result<Arc<dyn ExecutionPlan>> {
    let TruncateOptions { dry_run, restarts_identity } = options;
    let mut replacement = Replacement::new(table, state, Replaced::Where(vec![]), Operation::Truncate)?;
    replacement.restarts_identity = restarts_identity;
    let write = Write {
        table: table.clone(),
        kind: Kind::Replace(Arc::new(replacement)),
        returned: Returned::Impact { ignored: 0 },
        dry_run,
        reads_target: false,
        publish,
    };
    let nothing = Arc::new(EmptyExec::new(table.snapshot.schema.arrow.clone()));
    Ok(write_exec::plan(write, nothing)?)
}
