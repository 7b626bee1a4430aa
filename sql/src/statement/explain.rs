//! `EXPLAIN [ANALYZE]`: the plan as text, one row per line.

use std::sync::Arc;

use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use postgres_types::Type;

use super::dml::execute::{self, Explained};
use super::dml::insert;
use super::dml::row_statement::{self, RowStatement};
use super::dml::truncate;
use super::plan_text::{self, Shown};
use super::{
    CommandTag, Output, OutputColumn, Prepared, materialized_view, not_supported, parameters, query, rows,
};
use crate::error::{Error, Result, SqlState};
use crate::parser::statement::Explain;
use crate::parser::{Parsed, Statement};
use crate::planner::{Parameter, Scope};
use crate::session::Session;

pub async fn prepare(
    session: &mut Session,
    explain: &Explain,
    given: &[Option<Parameter>],
    parsed: &Parsed,
) -> Result<Prepared> {
    if explain.json && (explain.impact || matches!(explain.statement, Statement::Truncate(_))) {
        return Err(not_supported("EXPLAIN (FORMAT JSON) of this statement"));
    }
    let columns = Some(vec![column(explain)]);
    match &explain.statement {
        Statement::Query(query) => {
            let scope = session.scope().await?;
            let planned = scope.plan_result(query, given, parsed).await?;
            Ok(Prepared::planned(parsed, planned, columns))
        }
        Statement::Insert(insert) => {
            let prepared = insert::prepare(session, insert, given, parsed).await?;
            Ok(Prepared { columns, ..prepared })
        }
        Statement::CreateMaterializedView(_) if !(explain.json || explain.impact || explain.analyze) => {
            Ok(Prepared::plain(parsed, columns))
        }
        Statement::Truncate(_) => Ok(Prepared::plain(parsed, columns)),
        statement => {
            let Some(statement) = RowStatement::of(statement) else {
                return Err(not_supported("EXPLAIN of this statement"));
            };
            let prepared = row_statement::prepare(session, statement, given, parsed).await?;
            Ok(Prepared { columns, ..prepared })
        }
    }
}

pub async fn execute(
    session: &mut Session,
    explain: &Explain,
    prepared: &Arc<Prepared>,
    values: Vec<ScalarValue>,
) -> Result<Output> {
    let Statement::Query(query) = &explain.statement else {
        return explain_change(session, explain, prepared, values).await;
    };
    if explain.impact {
        let message = "EXPLAIN option IMPACT requires a statement that changes rows";
        return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
    }
    let scope = session.scope().await?;
    let (planned, values) = query::current_plan(&scope, query, prepared, values).await?;
    let plan = parameters::substitute(&planned.plan, values)?;
    let mut lines = Vec::new();
    if explain.verbose && !explain.json {
        let optimized = scope.state_for(&plan).await?.optimize(&plan).map_err(|e| Error::from(&e))?;
        lines.extend(optimized.display_indent().to_string().lines().map(str::to_string));
        lines.push(String::new());
    }
    let physical = rows::physical(&scope, &plan).await?;
    show(&scope, explain, physical, lines).await
}

/// Each table by itself, under its name if there are several.
async fn explain_truncate(
    scope: &Scope,
    explain: &Explain,
    plans: Vec<(String, Arc<dyn ExecutionPlan>)>,
    mode: Explained,
) -> Result<Output> {
    let several = plans.len() > 1;
    let mut lines = Vec::new();
    for (name, physical) in plans {
        lines.extend(several.then(|| format!("Table: {name}")));
        if mode == Explained::Impact {
            lines.extend(execute::impact_lines(&execute::impact(rows::stream(scope, physical)?).await?));
        } else {
            lines.extend(shown(scope, explain, physical).await?);
        }
    }
    text(lines)
}

/// The physical plan, after `lines` if it is shown as text.
async fn show(
    scope: &Scope,
    explain: &Explain,
    physical: Arc<dyn ExecutionPlan>,
    mut lines: Vec<String>,
) -> Result<Output> {
    if explain.json {
        let seconds = if explain.analyze { Some(run(scope, physical.clone()).await?.1) } else { None };
        let document = plan_text::json(&physical, what_is_shown(explain), seconds);
        return rows::text_rows(vec![column(explain)], &[vec![Some(document)]], TAG);
    }
    lines.extend(shown(scope, explain, physical).await?);
    text(lines)
}

fn what_is_shown(explain: &Explain) -> Shown {
    Shown { costs: explain.costs, verbose: explain.verbose, analyze: explain.analyze }
}

async fn shown(scope: &Scope, explain: &Explain, physical: Arc<dyn ExecutionPlan>) -> Result<Vec<String>> {
    let ran = if explain.analyze { Some(run(scope, physical.clone()).await?) } else { None };
    let mut lines = plan_text::lines(&physical, what_is_shown(explain));
    if let Some((produced, seconds)) = ran {
        lines.push(format!("Rows: {produced}"));
        lines.push(format!("Execution Time: {:.3} ms", seconds * 1000.0));
    }
    Ok(lines)
}

const TAG: CommandTag = CommandTag::Rows { verb: "EXPLAIN", counted: false };

fn column(explain: &Explain) -> OutputColumn {
    let column = rows::text_column("QUERY PLAN");
    if explain.json { OutputColumn { pg_type: Type::JSON, ..column } } else { column }
}

fn text(lines: Vec<String>) -> Result<Output> {
    let rows: Vec<Vec<Option<String>>> = lines.into_iter().map(|line| vec![Some(line)]).collect();
    rows::text_rows(vec![rows::text_column("QUERY PLAN")], &rows, TAG)
}

async fn explain_change(
    session: &mut Session,
    explain: &Explain,
    prepared: &Arc<Prepared>,
    values: Vec<ScalarValue>,
) -> Result<Output> {
    let mode = match (explain.impact, explain.analyze) {
        (true, true) => {
            let message = "EXPLAIN options IMPACT and ANALYZE cannot be used together";
            return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
        }
        (true, false) => Explained::Impact,
        (false, true) => Explained::Analyze,
        (false, false) => Explained::Plan,
    };
    if mode == Explained::Analyze {
        session.check_writable("EXPLAIN ANALYZE")?;
    }
    let scope = session.scope().await?;
    if let Statement::CreateMaterializedView(create) = &explain.statement {
        return text(materialized_view::explain::lines(&scope, create, &prepared.parsed).await?);
    }
    let physical = match (&explain.statement, RowStatement::of(&explain.statement)) {
        (Statement::Insert(insert), _) => {
            insert::explain(session, scope.clone(), insert, prepared, values, mode).await?
        }
        (Statement::Truncate(truncate), _) => {
            let plans = truncate::explain(&scope, truncate, &prepared.parsed, mode).await?;
            return explain_truncate(&scope, explain, plans, mode).await;
        }
        (_, Some(statement)) => row_statement::explain(&scope, statement, prepared, values, mode).await?,
        (_, None) => return Err(not_supported("EXPLAIN of this statement")),
    };
    if mode == Explained::Impact {
        let impact = execute::impact(rows::stream(&scope, physical)?).await?;
        return text(execute::impact_lines(&impact));
    }
    show(&scope, explain, physical, Vec::new()).await
}

/// Runs a plan for its metrics: number of rows and seconds.
async fn run(scope: &Scope, plan: Arc<dyn ExecutionPlan>) -> Result<(usize, f64)> {
    let start = scope.engine.clock.now();
    let mut stream = execute_stream(plan, rows::task_context(scope)).map_err(|e| Error::from(&e))?;
    let mut produced = 0;
    while let Some(batch) = stream.next().await {
        produced += batch.map_err(|e| Error::from(&e))?.num_rows();
    }
    let elapsed = scope.engine.clock.now() - start;
    Ok((produced, elapsed.num_microseconds().unwrap_or(0) as f64 / 1e6))
}
