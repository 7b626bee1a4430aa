//! Statements on materialized views ([`materialize`](crate::materialize) does the work).

pub mod alter;
mod cascade;
pub mod create;
pub mod drop_view;
pub mod explain;
mod order;
pub mod refresh;
mod refresh_one;
pub mod show_create;
mod side_by_side;

use auric_catalog::registry::Table;
use datafusion::sql::sqlparser::ast::ObjectName;

use crate::error::{Error, Result, SqlState};
use crate::materialize::definition::Definition;
use crate::materialize::expectation::{OnViolation, Outcome};
use crate::parser::Parsed;
use crate::planner::Scope;
use crate::session::Notice;

/// The materialized view of a name. Fails with 42P01; 42809 for another relation.
async fn find(scope: &Scope, name: &ObjectName, parsed: &Parsed) -> Result<(Table, Definition)> {
    let is_none = |name: &str| {
        Error::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{name}\" is not a materialized view"))
    };
    let table = match scope.table(name, parsed).await {
        Ok(table) => table,
        Err(e) if e.code == SqlState::WRONG_OBJECT_TYPE => {
            let name = name.0.last().map(ToString::to_string).unwrap_or_default();
            return Err(is_none(&name).with_hint("It is a view, which is always up to date."));
        }
        Err(e) => return Err(e),
    };
    match Definition::of(&table.snapshot.properties)? {
        Some(definition) => Ok((table, definition)),
        None => Err(is_none(&table.ident.name)),
    }
}

/// Tells what was found and did not keep the rows from being published.
fn tell(notices: &mut Vec<Notice>, table: &Table, outcomes: &[Outcome]) {
    for Outcome { expectation, violations, checked } in outcomes.iter().filter(|o| o.violations > 0) {
        let what = match expectation.action {
            OnViolation::DropRow => "were dropped",
            OnViolation::QuarantineInto(_) => "were quarantined",
            OnViolation::Warn | OnViolation::FailUpdate => "were published",
        };
        let message = format!(
            "materialized view \"{}\": {violations} of {checked} violate expectation \"{}\" and {what}",
            table.ident, expectation.name
        );
        notices.push(Notice::new("WARNING", SqlState::WARNING, message));
    }
}
