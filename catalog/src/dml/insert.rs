//! INSERT: write the rows, append the files.

use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::error::Result;
use datafusion::physical_expr::LexOrdering;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

use super::publish::Publish;
use super::write_exec::{self, Kind, Returned, Write};
use crate::registry::Table;

#[derive(Debug, Clone, Default)]
pub struct InsertOptions {
    /// Trailing columns of the input, after the table's, that are returned instead of the impact.
    pub returning: usize,
    /// Nothing is committed, and the files written are deleted.
    pub dry_run: bool,
    /// The rows were computed from the table itself.
    pub reads_target: bool,
    pub publish: Publish,
}

/// Plan that writes `input` (columns in the order of the table's schema) into `table`, commits, and
/// returns one row: `count`, the number of rows written. A staged table is created by the commit.
pub fn plan(
    table: &Table,
    state: &dyn Session,
    input: Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    plan_published(table, state, input, Publish::Now)
}

/// [`plan`], with a choice of when to commit.
pub fn plan_published(
    table: &Table,
    _state: &dyn Session,
    input: Arc<dyn ExecutionPlan>,
    publish: Publish,
) -> Result<Arc<dyn ExecutionPlan>> {
    let write = Write {
        table: table.clone(),
        kind: Kind::Append,
        returned: Returned::Count,
        dry_run: false,
        reads_target: false,
        publish,
    };
    write_exec::plan(write, input)
}

/// [`plan`] for a table that was staged to replace one ([`Catalog::stage_replacement`]).
///
/// [`Catalog::stage_replacement`]: crate::registry::Catalog::stage_replacement
pub fn plan_replacing(
    staged: &Table,
    input: Arc<dyn ExecutionPlan>,
    publish: Publish,
) -> Result<Arc<dyn ExecutionPlan>> {
    let write = Write {
        table: staged.clone(),
        kind: Kind::ReplaceTable,
        returned: Returned::Count,
        dry_run: false,
        reads_target: false,
        publish,
    };
    write_exec::plan(write, input)
}

/// Like [`plan`], of the table's columns and those of RETURNING. Returns one row of
/// [`impact::schema`](super::impact::schema), or the RETURNING columns of every row, once they are
/// committed.
pub fn plan_with(
    table: &Table,
    input: Arc<dyn ExecutionPlan>,
    options: InsertOptions,
) -> Result<Arc<dyn ExecutionPlan>> {
    let write = Write {
        table: table.clone(),
        kind: Kind::Append,
        returned: returned(options.returning, options.dry_run),
        dry_run: options.dry_run,
        reads_target: options.reads_target,
        publish: options.publish,
    };
    write_exec::plan(write, input)
}

/// The rows in one sorted stream, sorted by as many tasks as the input has partitions.
pub fn sorted(input: Arc<dyn ExecutionPlan>, order: &LexOrdering) -> Arc<dyn ExecutionPlan> {
    let parallel = input.output_partitioning().partition_count() > 1;
    let sort = Arc::new(SortExec::new(order.clone(), input).with_preserve_partitioning(parallel));
    match parallel {
        true => Arc::new(SortPreservingMergeExec::new(order.clone(), sort)),
        false => sort,
    }
}

/// What a statement with so many RETURNING columns returns.
pub(super) fn returned(returning: usize, dry_run: bool) -> Returned {
    match returning {
        columns if columns > 0 && !dry_run => Returned::Rows(columns),
        columns => Returned::Impact { ignored: columns },
    }
}
