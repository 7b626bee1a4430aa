//! UPDATE.

use auric_catalog::dml::rows::SecondChange;
use auric_catalog::table::Operation;
use datafusion::sql::sqlparser::ast::SelectItem;

use super::bind::{self, Assigned, BoundTarget};
use super::row_change::{Action, Clause, RowChange};
use super::row_statement::{PlannedChange, predicate};
use crate::error::Result;
use crate::parser::statement::{MergeKind, Update};
use crate::parser::{Parsed, row_target};
use crate::planner::parts::PartsRequest;
use crate::planner::{Parameter, Scope};

pub async fn resolve(
    scope: &Scope,
    update: &Update,
    given: &[Option<Parameter>],
    parsed: &Parsed,
) -> Result<PlannedChange> {
    let target = BoundTarget::find(scope, &update.target, parsed).await?;
    let assigned = target.assigned(&update.assignments)?;
    target.check_updated(&assigned)?;
    let mut given = given.to_vec();
    target.parameter_types(assigned.iter().filter_map(Assigned::plain), &mut given);
    let values =
        update.assignments.iter().map(|assignment| SelectItem::UnnamedExpr(assignment.value.clone()));
    let everything = row_target::everything(
        update.with.clone(),
        values.chain(update.returning.iter().cloned()).collect(),
        update.from.clone(),
        update.selection.clone(),
    )?;
    let request = PartsRequest {
        command: "UPDATE",
        everything,
        given,
        source: parsed,
        target: Some((&target.table, &target.relation)),
    };
    let planned = scope
        .plan_parts(request, |parts| {
            let source = match update.from.is_empty() {
                true => None,
                false => Some(parts.relation(update.from.clone())?),
            };
            let row = target.with(source.as_ref())?;
            let condition =
                update.selection.as_ref().map(|condition| parts.condition(&row, condition)).transpose()?;
            let mut rows = Vec::new();
            let values = target.values(parts, &row, &assigned, 0, &mut rows)?;
            let action = Action::Update(values);
            let returned = target.before(source.as_ref())?;
            let change = RowChange {
                target: target.row_target(),
                relation: target.relation.clone(),
                source,
                condition,
                clauses: vec![Clause { kind: MergeKind::Matched, condition: None, action }],
                rows,
                returning: bind::returning(parts, &returned, &update.returning)?,
                operation: Operation::Update,
                second_change: SecondChange::Ignore,
                parameters: predicate(update.selection.as_ref()),
                reads_target: parts.reads(&target.table),
            };
            Ok((change.plan(scope, change.source.clone(), Vec::new())?, change))
        })
        .await?;
    Ok(planned.into())
}
