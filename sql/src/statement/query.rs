//! SELECT, VALUES, WITH, TABLE.

use std::sync::Arc;

use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::Query;

use super::{
    CommandTag, Output, OutputColumn, Prepared, RowOutput, TrivialAnswer, parameters, rows, trivial,
};
use crate::error::{Error, Result, SqlState};
use crate::parser::Parsed;
use crate::planner::{Parameter, PlannedQuery, Scope, still_current};
use crate::session::Session;

pub async fn prepare(
    session: &mut Session,
    query: &Query,
    given: &[Option<Parameter>],
    parsed: &Parsed,
) -> Result<Prepared> {
    if let Some(answer) = trivial::answer(session, query)? {
        return Ok(Prepared::trivial(parsed, answer));
    }
    let scope = session.scope().await?;
    let planned = scope.plan_result(query, given, parsed).await?;
    let columns = planned.columns.as_ref().clone();
    Ok(Prepared::planned(parsed, planned, Some(columns)))
}

pub async fn execute(
    session: &mut Session,
    query: &Query,
    prepared: &Arc<Prepared>,
    values: Vec<ScalarValue>,
) -> Result<Output> {
    if let Some(TrivialAnswer { columns, row }) = &prepared.trivial {
        return Ok(rows::batches(columns.clone(), row.schema(), vec![row.clone()], CommandTag::Select));
    }
    let scope = session.scope().await?;
    // Until the plan has its files.
    let _looking = scope.database()?.storage().readers().look();
    let (planned, values) = current_plan(&scope, query, prepared, values).await?;
    let plan = parameters::substitute(&planned.plan, values)?;
    let physical = rows::physical(&scope, &plan).await?;
    let stream = rows::stream(&scope, physical)?;
    let columns = planned.columns.clone();
    Ok(Output::Rows(RowOutput { columns, stream, tag: CommandTag::Select, binary: false }))
}

/// What a client is told whose statement would now give other columns than it was described with. Drivers
/// know it, and prepare the statement anew.
pub const CHANGED_RESULT: &str = "cached plan must not change result type";

fn same_columns(one: &[OutputColumn], other: &[OutputColumn]) -> bool {
    let same = |(a, b): (&OutputColumn, &OutputColumn)| a.name == b.name && a.pg_type == b.pg_type;
    one.len() == other.len() && one.iter().zip(other).all(same)
}

/// The prepared plan, or a new one if tables or the types of values have changed.
pub async fn current_plan(
    scope: &Scope,
    query: &Query,
    prepared: &Prepared,
    values: Vec<ScalarValue>,
) -> Result<(Arc<PlannedQuery>, Vec<ScalarValue>)> {
    let (types, values) = parameters::bind(&prepared.given, values)?;
    let kept = prepared.planned.lock().clone();
    if let Some(planned) = &kept
        && parameters::fit(&planned.parameters, &types)
        && let Some(dependencies) = &planned.dependencies
        && still_current(scope, dependencies).await?
    {
        return Ok((planned.clone(), values));
    }
    let planned = Arc::new(scope.plan_result(query, &types, &prepared.parsed).await?);
    // What EXPLAIN was described with are not the columns of its query.
    if kept.is_some_and(|kept| !same_columns(&kept.columns, &planned.columns)) {
        return Err(Error::new(SqlState("0A000"), CHANGED_RESULT));
    }
    *prepared.planned.lock() = Some(planned.clone());
    Ok((planned, values))
}
