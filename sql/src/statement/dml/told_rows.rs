//! Rows added to a table with a change data feed, in a transaction block.
//!
//! Where a commit adds rows and nothing else, readers of the feed see that by its data files. In a block
//! other statements may change rows, which then tells readers to look at nothing but the feed: so the
//! rows are added as a row-level change, which writes both.

use auric_catalog::dml::publish::Publish;
use auric_catalog::dml::rows::{ChangeOptions, RowAction, RowTarget, SecondChange};
use auric_catalog::registry::Table;
use auric_catalog::table::Operation;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::replace_where::{action, null, project};
use crate::error::Result;
use crate::planner::Scope;

/// Rows that are added as a change of rows.
pub struct ToldRows {
    pub target: RowTarget,
    pub plan: LogicalPlan,
    pub options: ChangeOptions,
}

/// `rows`: the table's columns, then those of RETURNING. `None`: they can be added as any rows.
pub fn of_block(
    scope: &Scope,
    table: &Table,
    rows: &LogicalPlan,
    returning: usize,
    dry_run: bool,
) -> Result<Option<ToldRows>> {
    let in_block = matches!(scope.tables.publish(table)?, Publish::Later(_));
    if !in_block || !table.has_change_feed()? {
        return Ok(None);
    }
    let target = RowTarget::new(table.clone());
    let mut columns = Vec::new();
    for address in target.address_columns() {
        columns.push(null(address.data_type())?.alias(address.name()));
    }
    columns.push(action(RowAction::Insert));
    columns.extend(rows.schema().columns().into_iter().map(Expr::Column));
    let options = ChangeOptions {
        operation: Operation::Append,
        second_change: SecondChange::Ignore,
        parameters: Default::default(),
        reads_all: false,
        returning,
        assigned: None,
        dry_run,
    };
    Ok(Some(ToldRows { target, plan: project(rows.clone(), columns)?, options }))
}
