//! DELETE.

use auric_catalog::dml::rows::SecondChange;
use auric_catalog::table::Operation;

use super::bind::{self, BoundTarget};
use super::row_change::{Action, Clause, RowChange};
use super::row_statement::{PlannedChange, predicate};
use crate::error::Result;
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
    let request = PartsRequest { command: "DELETE", everything, given: given.to_vec(), source: parsed };
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
