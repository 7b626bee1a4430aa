//! DELETE.

use std::sync::Arc;

use auric_catalog::dml::overwrite::{self, WholeFiles};
use auric_catalog::dml::rows::SecondChange;
use auric_catalog::table::Operation;
use datafusion::common::DFSchema;
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::scalar::ScalarValue;

use super::bind::{self, BoundTarget};
use super::collected_source::substituted;
use super::insert::Commit;
use super::row_change::{Action, Clause, RowChange};
use super::row_statement::{PlannedChange, has_subquery, predicate};
use crate::error::{Error, Result};
use crate::parser::statement::{Delete, MergeKind};
use crate::parser::{Parsed, row_target};
use crate::planner::parts::PartsRequest;
use crate::planner::{Parameter, Scope};

pub async fn resolve(
    scope: &Scope,
    delete: &Delete,
    given: &[Option<Parameter>],
    parsed: &Parsed,
) -> Result<PlannedChange> {
    let target = BoundTarget::find(scope, &delete.target, parsed).await?;
    let everything = row_target::everything(
        delete.with.clone(),
        delete.returning.clone(),
        delete.using.clone(),
        delete.selection.clone(),
    )?;
    let request = PartsRequest {
        command: "DELETE",
        everything,
        given: given.to_vec(),
        source: parsed,
        target: Some((&target.table, &target.relation)),
    };
    let planned = scope
        .plan_parts(request, |parts| {
            let source = match delete.using.is_empty() {
                true => None,
                false => Some(parts.relation(delete.using.clone())?),
            };
            let row = target.with(source.as_ref())?;
            let condition =
                delete.selection.as_ref().map(|condition| parts.condition(&row, condition)).transpose()?;
            // Postgres: the target's columns come first.
            let returned = target.before(source.as_ref())?;
            let change = RowChange {
                target: target.row_target(),
                relation: target.relation.clone(),
                source,
                condition,
                clauses: vec![Clause { kind: MergeKind::Matched, condition: None, action: Action::Delete }],
                rows: Vec::new(),
                returning: bind::returning(parts, &returned, &delete.returning)?,
                operation: Operation::Delete,
                second_change: SecondChange::Ignore,
                parameters: predicate(delete.selection.as_ref()),
                reads_target: parts.reads(&target.table),
            };
            Ok((change.plan(scope, change.source.clone(), Vec::new())?, change))
        })
        .await?;
    Ok(planned.into())
}

/// The physical plan of a DELETE that takes whole files out of the table and opens none. `None`: it is
/// another statement, or rows have to be looked at.
pub async fn whole_files(
    scope: &Scope,
    change: &RowChange,
    values: &[ScalarValue],
    commit: Commit,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if change.operation != Operation::Delete || change.source.is_some() || !change.returning.is_empty() {
        return Ok(None);
    }
    let table = change.target.table();
    let condition = change.condition.as_ref().map(|condition| substituted(condition, values)).transpose()?;
    let mut filters = Vec::new();
    let mut state = scope.state.clone();
    if let Some(condition) = condition {
        if has_subquery(&condition) || condition.is_volatile() {
            return Ok(None);
        }
        let row = DFSchema::try_from_qualified_schema(change.relation.clone(), &table.snapshot.schema.arrow)
            .map_err(|e| Error::from(&e))?;
        let Some(analyzed) = scope.analyzed_condition(row, condition).await? else { return Ok(None) };
        filters = split_conjunction_owned(analyzed.predicate);
        state = analyzed.state;
    }
    let delete = WholeFiles {
        filters,
        parameters: change.parameters.clone(),
        dry_run: commit == Commit::DryRun,
        publish: scope.tables.publish(table)?,
    };
    let condition = delete.filters.clone();
    let plan = overwrite::delete(table, state.as_ref(), delete).await?;
    if plan.is_none() {
        // Some files may go as a whole all the same.
        change.target.delete_where(condition)?;
    }
    Ok(plan)
}
