//! INSERT: the rows of the source as rows of the table, then to what the statement does with them.

use std::sync::Arc;

use auric_catalog::dml::insert;
use auric_catalog::table::Operation;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::scalar::ScalarValue;

use super::super::{Output, OutputColumn, Prepared, RowOutput, parameters, rows};
use super::collected_source::{self, Source as Collected};
use super::execute::{Attempts, Explained, change_plan};
use super::partition::OverwriteMode;
pub use super::source::explicit_columns;
use super::source::{Source, resolve};
use super::{assign, check, on_conflict, overwrite, replace_where, returning, told_rows, write};
use crate::error::{Error, Result};
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
    let mut planned = source.planned.clone();
    if let InsertMode::OnConflict(clause) = &insert.mode {
        let types = planned.parameters.iter().cloned().map(Some).collect();
        let statement = InsertRows::new(scope, insert, &source, parsed, (types, Vec::new()))?;
        planned.parameters = on_conflict::parameters(&statement, clause).await?;
    }
    Ok(Prepared::planned(parsed, planned, columns))
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
        let scope = attempts.scope_of_insert(session, &insert.table, &prepared.parsed).await?;
        let outcome = attempt(session, scope, insert, prepared, values.clone()).await;
        if let Some(outcome) = attempts.last(outcome) {
            return outcome;
        }
    }
}

async fn attempt(
    session: &Session,
    scope: Scope,
    insert: &Insert,
    prepared: &Arc<Prepared>,
    values: Vec<ScalarValue>,
) -> Result<Output> {
    let bound = parameters::bind(&prepared.given, values)?;
    let source = resolve(&scope, insert, &bound.0, &prepared.parsed).await?;
    let statement = InsertRows::new(scope, insert, &source, &prepared.parsed, bound)?;
    let planned = statement.plan(session.overwrite_mode(), Commit::Yes).await?;
    let output = write::run(&statement.scope, planned.plan, planned.returned).await?;
    Ok(match output {
        Output::Rows(rows) => Output::Rows(RowOutput {
            stream: collected_source::kept_with(rows.stream, planned.source),
            ..rows
        }),
        output => output,
    })
}

/// The physical plan of an INSERT, for EXPLAIN.
pub async fn explain(
    session: &Session,
    scope: Scope,
    insert: &Insert,
    prepared: &Prepared,
    values: Vec<ScalarValue>,
    mode: Explained,
) -> Result<Arc<dyn ExecutionPlan>> {
    let bound = parameters::bind(&prepared.given, values)?;
    let source = resolve(&scope, insert, &bound.0, &prepared.parsed).await?;
    let statement = InsertRows::new(scope, insert, &source, &prepared.parsed, bound)?;
    let commit = match mode {
        Explained::Plan => Commit::Shown,
        Explained::Analyze => Commit::Yes,
        Explained::Impact => Commit::DryRun,
    };
    Ok(statement.plan(session.overwrite_mode(), commit).await?.plan)
}

/// Whether what a plan writes is committed (or becomes part of the transaction).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    Yes,
    /// It is written, told and deleted.
    DryRun,
    /// The plan is looked at and not run.
    Shown,
}

/// The plan of an INSERT.
pub struct InsertPlan {
    pub plan: Arc<dyn ExecutionPlan>,
    /// Columns of its rows; `None`: it tells its impact.
    pub returned: Option<Arc<Vec<OutputColumn>>>,
    /// Rows that were collected before, and are needed as long as the plan runs.
    pub source: Option<Collected>,
}

/// An INSERT whose new rows are known.
pub struct InsertRows<'a> {
    pub scope: Scope,
    pub insert: &'a Insert,
    pub source: &'a Source,
    /// The table's columns, in order.
    pub rows: LogicalPlan,
    pub parsed: &'a Parsed,
    /// Types of `$1`, `$2`, … and their values (none while the statement is prepared).
    pub types: Vec<Option<Parameter>>,
    pub values: Vec<ScalarValue>,
}

impl<'a> InsertRows<'a> {
    fn new(
        scope: Scope,
        insert: &'a Insert,
        source: &'a Source,
        parsed: &'a Parsed,
        (types, values): (Vec<Option<Parameter>>, Vec<ScalarValue>),
    ) -> Result<Self> {
        let plan = parameters::substitute(&source.planned.plan, values.clone())?;
        let Source { table, targets, partition, left, .. } = source;
        table.check_writable(match &insert.mode {
            InsertMode::Append => Operation::Append,
            InsertMode::Overwrite | InsertMode::ReplaceWhere(_) => Operation::Overwrite,
            InsertMode::OnConflict(_) => Operation::Merge,
        })?;
        let rest = assign::Rest { constants: &partition.values, left: Some(left) };
        let rows = assign::to_table_with(&scope, table, plan, targets, rest)?;
        let rows = check::enforce(&scope, table, rows, &check::Checked::default())?;
        Ok(Self { scope, insert, source, rows, parsed, types, values })
    }

    /// The plan of the new rows with the columns of RETURNING, and those columns.
    pub async fn with_returning(&self) -> Result<returning::Returned> {
        returning::plan(&self.scope, &self.source.table, self.insert, self.rows.clone(), self.parsed).await
    }

    async fn plan(&self, mode: OverwriteMode, commit: Commit) -> Result<InsertPlan> {
        match &self.insert.mode {
            InsertMode::Append => self.append(commit).await,
            InsertMode::Overwrite => overwrite::plan(self, mode, commit).await,
            InsertMode::ReplaceWhere(predicate) => replace_where::plan(self, predicate, commit).await,
            InsertMode::OnConflict(clause) => on_conflict::plan(self, clause, commit).await,
        }
    }

    pub async fn append(&self, commit: Commit) -> Result<InsertPlan> {
        let returned = self.with_returning().await?;
        let (table, dry_run) = (&self.source.table, commit == Commit::DryRun);
        let told = told_rows::of_block(&self.scope, table, &returned.plan, returned.columns.len(), dry_run)?;
        if let Some(told) = told {
            let plan = change_plan(&self.scope, &told.target, &told.plan, told.options).await?;
            return Ok(InsertPlan { plan, returned: returned.shown(), source: None });
        }
        let input = rows::physical(&self.scope, &returned.plan).await?;
        let options = insert::InsertOptions {
            returning: returned.columns.len(),
            dry_run,
            reads_target: overwrite::reads(&returned.plan, table),
            publish: self.scope.tables.publish(&self.source.table)?,
        };
        let plan = insert::plan_with(&self.source.table, input, options).map_err(|e| Error::from(&e))?;
        Ok(InsertPlan { plan, returned: returned.shown(), source: None })
    }
}
