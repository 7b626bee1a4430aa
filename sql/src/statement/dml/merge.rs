//! MERGE.

use std::collections::BTreeMap;

use auric_catalog::dml::rows::SecondChange;
use auric_catalog::table::Operation;
use datafusion::common::Column;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::sqlparser::ast::{self, Query, SelectItem};

use super::bind::{self, Assigned, BoundTarget};
use super::identity;
use super::row_change::{Action, Clause, RowChange, SubqueryRow};
use super::row_statement::{PlannedChange, has_subquery, predicate};
use crate::error::{Error, Result, SqlState};
use crate::parser::statement::{Merge, MergeAction, MergeClause, MergeKind};
use crate::parser::{Parsed, row_target};
use crate::planner::parts::{Parts, PartsRequest};
use crate::planner::{Parameter, Scope};

pub async fn resolve(
    scope: &Scope,
    merge: &Merge,
    given: &[Option<Parameter>],
    parsed: &Parsed,
) -> Result<PlannedChange> {
    check_reachable(&merge.clauses)?;
    let target = BoundTarget::find(scope, &merge.target, parsed).await?;
    let assigned =
        merge.clauses.iter().map(|clause| assignments(&target, clause)).collect::<Result<Vec<_>>>()?;
    let mut given = given.to_vec();
    target.parameter_types(assigned.iter().flatten().filter_map(Assigned::plain), &mut given);
    let everything = everything(merge)?;
    let request = PartsRequest { command: "MERGE", everything, given, source: parsed, target: None };
    let planned = scope
        .plan_parts(request, |parts| {
            let change = bound(&target, merge, &assigned, parts)?;
            Ok((change.plan(scope, change.source.clone(), Vec::new())?, change))
        })
        .await?;
    Ok(planned.into())
}

/// Every clause must be one that can apply.
fn check_reachable(clauses: &[MergeClause]) -> Result<()> {
    let mut ended: Vec<MergeKind> = Vec::new();
    for clause in clauses {
        if ended.contains(&clause.kind) {
            let message = "unreachable WHEN clause specified after unconditional WHEN clause";
            return Err(Error::new(SqlState::SYNTAX_ERROR, message));
        }
        if clause.condition.is_none() {
            ended.push(clause.kind);
        }
    }
    Ok(())
}

/// All expressions of the statement in one query.
fn everything(merge: &Merge) -> Result<Query> {
    let mut items = merge.returning.clone();
    for clause in &merge.clauses {
        let values: Vec<&ast::Expr> = match &clause.action {
            MergeAction::Update(assignments) => assignments.iter().map(|a| &a.value).collect(),
            MergeAction::Insert { values, .. } => values.iter().collect(),
            _ => Vec::new(),
        };
        let exprs = clause.condition.iter().chain(values);
        items.extend(exprs.cloned().map(SelectItem::UnnamedExpr));
    }
    row_target::everything(merge.with.clone(), items, vec![merge.source.clone()], Some(merge.on.clone()))
}

/// Columns and values that a clause writes out.
fn assignments<'a>(target: &BoundTarget, clause: &'a MergeClause) -> Result<Vec<Assigned<'a>>> {
    match &clause.action {
        MergeAction::Update(assignments) => {
            let assigned = target.assigned(assignments)?;
            target.check_updated(&assigned)?;
            Ok(assigned)
        }
        MergeAction::Insert { columns, overriding, values } => {
            let columns = target.insert_columns(columns, values.len())?;
            let assigned =
                columns.into_iter().zip(values).map(|(column, value)| Assigned::Value { column, value });
            target.check_inserted(assigned.collect(), *overriding)
        }
        _ => Ok(Vec::new()),
    }
}

fn bound(
    target: &BoundTarget,
    merge: &Merge,
    assigned: &[Vec<Assigned>],
    parts: &Parts,
) -> Result<RowChange> {
    let source = parts.relation(vec![merge.source.clone()])?;
    let both = target.with(Some(&source))?;
    let mut on = parts.condition(&both, &merge.on)?;
    let outer = merge.clauses.iter().any(|clause| clause.kind != MergeKind::Matched);
    if outer && has_subquery(&on) {
        // As a value, it has no subqueries but scalar ones, which can become columns.
        let value = parts.expressions(&both, std::slice::from_ref(&merge.on))?;
        on = value.into_iter().next().unwrap_or(on);
    }
    let mut rows = Vec::new();
    let mut clauses = Vec::new();
    for (i, (clause, assigned)) in merge.clauses.iter().zip(assigned).enumerate() {
        let row = match clause.kind {
            MergeKind::Matched => &both,
            MergeKind::NotMatched => &source,
            MergeKind::NotMatchedBySource => &target.row,
        };
        let condition = clause.condition.as_ref().map(|c| parts.expressions(row, std::slice::from_ref(c)));
        let condition = condition.transpose()?.and_then(|exprs| exprs.into_iter().next());
        let action = action(target, parts, clause, (row, &source), assigned, i, &mut rows)?;
        clauses.push(Clause { kind: clause.kind, condition, action });
    }
    Ok(RowChange {
        target: target.row_target(),
        relation: target.relation.clone(),
        returning: bind::returning(parts, &both, &merge.returning)?,
        source: Some(source),
        condition: Some(on),
        clauses,
        rows,
        operation: Operation::Merge,
        second_change: SecondChange::Refuse("MERGE"),
        parameters: parameters(merge),
        reads_target: parts.reads(&target.table),
    })
}

fn action(
    target: &BoundTarget,
    parts: &Parts,
    clause: &MergeClause,
    (row, source): (&LogicalPlan, &LogicalPlan),
    assigned: &[Assigned],
    index: usize,
    rows: &mut Vec<SubqueryRow>,
) -> Result<Action> {
    Ok(match &clause.action {
        MergeAction::Nothing => Action::Nothing,
        MergeAction::Delete => Action::Delete,
        MergeAction::Update(_) => Action::Update(target.values(parts, row, assigned, index, rows)?),
        MergeAction::Insert { .. } => Action::Insert(target.values(parts, row, assigned, index, rows)?),
        MergeAction::InsertDefaults => Action::Insert(Vec::new()),
        MergeAction::UpdateAll if clause.kind == MergeKind::NotMatchedBySource => {
            let message = "UPDATE SET * needs a source row";
            return Err(Error::new(SqlState::SYNTAX_ERROR, message)
                .with_hint("WHEN NOT MATCHED BY SOURCE applies to rows without one."));
        }
        MergeAction::UpdateAll => {
            let values = by_name(target, source, identity::not_updatable)?;
            Action::Update(values)
        }
        MergeAction::InsertAll => {
            let values = by_name(target, source, identity::not_insertable)?;
            Action::Insert(values)
        }
    })
}

/// Every column of the target from the source's column of that name; identity columns that the source has not
/// are left to the table. `refused`: what to say of a value for one that takes none.
fn by_name(
    target: &BoundTarget,
    source: &LogicalPlan,
    refused: fn(&str) -> Error,
) -> Result<Vec<(usize, Expr)>> {
    let mut values = Vec::new();
    for (i, field) in target.fields().iter().enumerate() {
        if let Some(column) = identity::of(&target.table, field.name()) {
            match source.schema().iter().any(|(_, candidate)| candidate.name() == field.name()) {
                false => continue,
                true if column.allow_explicit_insert => {}
                true => return Err(refused(field.name())),
            }
        }
        let mut found = source.schema().iter().filter(|(_, candidate)| candidate.name() == field.name());
        let name = field.name();
        match (found.next(), found.next()) {
            (Some((qualifier, _)), None) => {
                values.push((i, Expr::Column(Column::new(qualifier.cloned(), name))));
            }
            (Some(_), Some(_)) => {
                let message = format!("column reference \"{name}\" is ambiguous");
                return Err(Error::new(SqlState::AMBIGUOUS_COLUMN, message));
            }
            (None, _) => {
                let message = format!("column \"{name}\" does not exist in the source");
                return Err(Error::new(SqlState::UNDEFINED_COLUMN, message)
                    .with_hint("* takes every column of the target from the source, by name."));
            }
        }
    }
    Ok(values)
}

/// What Delta's history shows of a MERGE.
fn parameters(merge: &Merge) -> BTreeMap<String, String> {
    let mut parameters = predicate(Some(&merge.on));
    for (kind, key) in [
        (MergeKind::Matched, "matchedPredicates"),
        (MergeKind::NotMatched, "notMatchedPredicates"),
        (MergeKind::NotMatchedBySource, "notMatchedBySourcePredicates"),
    ] {
        let clauses = merge.clauses.iter().filter(|clause| clause.kind == kind);
        let shown = clauses.map(|clause| {
            let action = match clause.action {
                MergeAction::Nothing => "do nothing",
                MergeAction::Delete => "delete",
                MergeAction::Update(_) | MergeAction::UpdateAll => "update",
                _ => "insert",
            };
            match &clause.condition {
                Some(condition) => format!("{condition}: {action}"),
                None => action.to_string(),
            }
        });
        let shown = shown.collect::<Vec<_>>().join(", ");
        if !shown.is_empty() {
            parameters.insert(key.to_string(), shown);
        }
    }
    parameters
}
