//! INSERT: the rows of the source as rows of the table, then to what the statement does with them.

use std::sync::Arc;

use auric_catalog::dml::insert;
use datafusion::logical_expr::LogicalPlan;
use datafusion::scalar::ScalarValue;

use super::super::{CommandTag, Output, Prepared, parameters, rows};
use super::execute::Attempts;
pub use super::source::explicit_columns;
use super::source::{Source, resolve};
use super::{assign, check, on_conflict, overwrite, replace_where, returning, write};
use crate::error::Result;
use crate::parser::Parsed;
use crate::parser::statement::{Insert, InsertMode};
use crate::planner::{Parameter, Scope};
use crate::session::Session;

pub async fn prepare(
    session: &mut Session,
    insert: &Insert,
    given: &[Option<Parameter>],
    parsed: &Parsed,
) -> Result<Prepared> {
    let scope = session.scope().await?;
    let source = resolve(&scope, insert, given, parsed).await?;
    let columns = returning::columns(&scope, &source.table, insert, parsed).await?;
    Ok(Prepared::planned(parsed, source.planned, columns))
}

pub async fn execute(
    session: &mut Session,
    insert: &Insert,
    prepared: &Arc<Prepared>,
    values: Vec<ScalarValue>,
) -> Result<Output> {
    session.check_writable("INSERT")?;
    let mut attempts = Attempts::new(session.block.is_some());
    loop {
        let outcome = attempt(session, insert, prepared, values.clone()).await;
        if let Some(outcome) = attempts.last(outcome) {
            return outcome;
        }
    }
}

async fn attempt(
    session: &mut Session,
    insert: &Insert,
    prepared: &Arc<Prepared>,
    values: Vec<ScalarValue>,
) -> Result<Output> {
    let scope = session.scope().await?;
    let (types, values) = parameters::bind(&prepared.given, values)?;
    let source = resolve(&scope, insert, &types, &prepared.parsed).await?;
    let plan = parameters::substitute(&source.planned.plan, values)?;
    let Source { table, targets, partition, .. } = &source;
    let rows = assign::to_table_with(&scope, table, plan, targets, &partition.values)?;
    let rows = check::enforce(&scope, table, rows, &check::Checked::default())?;
    let statement = InsertRows { scope, insert, source: &source, rows, parsed: &prepared.parsed };
    match &insert.mode {
        InsertMode::Append => statement.append().await,
        InsertMode::Overwrite => overwrite::execute(statement, session.overwrites_static()).await,
        InsertMode::ReplaceWhere(predicate) => replace_where::execute(statement, predicate).await,
        InsertMode::OnConflict(clause) => on_conflict::execute(statement, clause).await,
    }
}

/// An INSERT whose new rows are known.
pub struct InsertRows<'a> {
    pub scope: Scope,
    pub insert: &'a Insert,
    pub source: &'a Source,
    /// The table's columns, in order.
    pub rows: LogicalPlan,
    pub parsed: &'a Parsed,
}

impl InsertRows<'_> {
    /// The plan of the new rows with the columns of RETURNING, and those columns.
    pub async fn with_returning(&self) -> Result<returning::Returned> {
        returning::plan(&self.scope, &self.source.table, self.insert, self.rows.clone(), 0, self.parsed).await
    }

    async fn append(self) -> Result<Output> {
        let (scope, table) = (&self.scope, &self.source.table);
        if self.insert.returning.is_empty() {
            let input = rows::physical(scope, &self.rows).await?;
            let count = write::append(scope, table, input).await?;
            return Ok(Output::Complete(CommandTag::Insert(count)));
        }
        let returned = self.with_returning().await?;
        let input = rows::physical(scope, &returned.plan).await?;
        let options = insert::InsertOptions {
            returning: returned.columns.len(),
            publish: scope.tables.publish(table)?,
            ..Default::default()
        };
        let plan = insert::plan_with(table, input, options).map_err(|e| crate::error::Error::from(&e))?;
        write::run(scope, plan, Some(returned.columns)).await
    }
}
