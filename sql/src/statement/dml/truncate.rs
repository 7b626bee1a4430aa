//! `TRUNCATE`: each table in a commit of its own, or by the COMMIT of the transaction.

use std::sync::Arc;

use auric_catalog::dml::overwrite::{self, TruncateOptions};
use auric_catalog::table::Operation;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::sqlparser::ast::ObjectName;

use super::super::{CommandTag, Output};
use super::execute::{Attempts, Explained};
use super::insert::Commit;
use super::write;
use crate::error::Result;
use crate::parser::Parsed;
use crate::parser::statement::Truncate;
use crate::planner::Scope;
use crate::session::Session;

pub async fn execute(session: &mut Session, truncate: &Truncate, parsed: &Parsed) -> Result<Output> {
    session.check_writable("TRUNCATE TABLE")?;
    // An unknown name, or a table that cannot be written, is found out before anything is done.
    let scope = session.scope().await?;
    for name in &truncate.tables {
        let (table, _) = scope.changeable_table(name, parsed).await?;
        table.check_writable(Operation::Truncate)?;
        plan(&scope, truncate, name, parsed, Commit::DryRun).await?;
    }
    for name in &truncate.tables {
        let mut attempts = Attempts::new(session.block.is_some());
        loop {
            if let Some(outcome) = attempts.last(one(session, truncate, name, parsed).await) {
                outcome?;
                break;
            }
        }
    }
    Ok(Output::Complete(CommandTag::Plain("TRUNCATE TABLE")))
}

async fn one(
    session: &mut Session,
    truncate: &Truncate,
    name: &ObjectName,
    parsed: &Parsed,
) -> Result<Output> {
    let scope = session.scope().await?;
    let plan = plan(&scope, truncate, name, parsed, Commit::Yes).await?;
    write::run(&scope, plan, None).await
}

/// The physical plan that empties one table.
async fn plan(
    scope: &Scope,
    truncate: &Truncate,
    name: &ObjectName,
    parsed: &Parsed,
    commit: Commit,
) -> Result<Arc<dyn ExecutionPlan>> {
    let (table, _) = scope.changeable_table(name, parsed).await?;
    let publish = scope.tables.publish(&table)?;
    let options =
        TruncateOptions { dry_run: commit == Commit::DryRun, restarts_identity: truncate.restart_identity };
    Ok(overwrite::truncate(&table, scope.state.as_ref(), options, publish)?)
}

/// The tables' names and physical plans, for EXPLAIN.
pub async fn explain(
    scope: &Scope,
    truncate: &Truncate,
    parsed: &Parsed,
    mode: Explained,
) -> Result<Vec<(String, Arc<dyn ExecutionPlan>)>> {
    let commit = if mode == Explained::Impact { Commit::DryRun } else { Commit::Yes };
    let mut plans = Vec::new();
    for name in &truncate.tables {
        plans.push((name.to_string(), plan(scope, truncate, name, parsed, commit).await?));
    }
    Ok(plans)
}
