//! Carrying out planned changes of rows, and doing it again when another commit was faster.

use std::sync::Arc;

use auric_catalog::commit;
use auric_catalog::dml::impact::Impact;
use auric_catalog::dml::rows::{ChangeOptions, RowTarget};
use auric_catalog::registry::Table;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::sql::sqlparser::ast::ObjectName;
use futures::{StreamExt, stream};

use super::super::join_memory::is_exhausted;
use super::super::rows;
use crate::error::{Error, Result, SqlState};
use crate::parser::Parsed;
use crate::planner::Scope;
use crate::session::Session;

/// How often a statement that lost against other commits is run, at most.
const MAX_ATTEMPTS: usize = 5;
/// How many of those, the last, have the table's turn from their beginning: they lose against other
/// processes only.
const IN_TURN: usize = 2;

/// What EXPLAIN wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Explained {
    /// The plan; nothing is run.
    Plan,
    /// The plan as it ran.
    Analyze,
    /// What would change; nothing is committed.
    Impact,
}

/// Result of a change.
pub enum Changed {
    Impact(Impact),
    /// The rows of RETURNING; the change is made.
    Rows(SendableRecordBatchStream),
}

/// Counts runs of a statement that commits by itself. After a conflict nothing is committed, so the
/// whole statement can be run again on the version that won; likewise, with joins that spill, when its joins
/// did not fit into memory.
pub struct Attempts {
    left: usize,
    sorted_joins: bool,
}

impl Attempts {
    /// Inside of a transaction block the reads before it would have to be repeated too: one attempt.
    pub fn new(in_block: bool) -> Self {
        Self { left: if in_block { 1 } else { MAX_ATTEMPTS }, sorted_joins: false }
    }

    /// For what must not be run again after a conflict.
    pub fn once() -> Self {
        Self::new(true)
    }

    /// What the next attempt of a statement is planned and run with. The last attempts wait until nobody else
    /// in this process commits to the table `target`, and keep it so until they have committed.
    pub async fn scope(&self, session: &Session, target: &ObjectName, parsed: &Parsed) -> Result<Scope> {
        let scope = self.adapt(session.scope().await?);
        if session.block.is_some() || self.left > IN_TURN {
            return Ok(scope);
        }
        let (table, _) = scope.changeable_table(target, parsed).await?;
        self.scope_in_turn(session, &table).await
    }

    /// [`Self::scope`] of an INSERT: into a table with identity columns it has the turn from the first attempt
    /// on, as others that insert meanwhile would make it start again.
    pub async fn scope_of_insert(
        &self,
        session: &Session,
        target: &ObjectName,
        parsed: &Parsed,
    ) -> Result<Scope> {
        let scope = self.scope(session, target, parsed).await?;
        if session.block.is_some() || self.left <= IN_TURN {
            return Ok(scope);
        }
        let (table, _) = scope.changeable_table(target, parsed).await?;
        match table.snapshot.schema.identity.is_empty() {
            true => Ok(scope),
            false => self.scope_in_turn(session, &table).await,
        }
    }

    async fn scope_in_turn(&self, session: &Session, table: &Table) -> Result<Scope> {
        let turn = commit::turn(table).await;
        // At the version that the table has now.
        let scope = self.adapt(session.scope().await?);
        scope.tables.has_turn(turn);
        Ok(scope)
    }

    /// What the next attempt runs with.
    pub fn adapt(&self, scope: Scope) -> Scope {
        if self.sorted_joins { scope.with_sorted_joins() } else { scope }
    }

    /// Whether a statement that failed so is run again, at least while there are attempts left.
    pub fn begins_anew(&self, error: &Error) -> bool {
        error.code == SqlState::SERIALIZATION_FAILURE || (is_exhausted(error) && !self.sorted_joins)
    }

    /// `None`: the statement lost against another commit, or its joins need to spill, and is to be run again,
    /// in a new scope.
    pub fn last<T>(&mut self, result: Result<T>) -> Option<Result<T>> {
        if let Err(e) = &result
            && is_exhausted(e)
            && !self.sorted_joins
        {
            tracing::debug!(error = %e, "running the statement again, with joins that spill");
            self.sorted_joins = true;
            return None;
        }
        self.left = self.left.saturating_sub(1);
        match &result {
            Err(e) if e.code == SqlState::SERIALIZATION_FAILURE && self.left > 0 => {
                tracing::debug!(error = %e, left = self.left, "running the statement again");
                None
            }
            _ => Some(result),
        }
    }
}

/// The physical plan that carries out the changes that `plan` gives.
pub async fn change_plan(
    scope: &Scope,
    target: &RowTarget,
    plan: &LogicalPlan,
    options: ChangeOptions,
) -> Result<Arc<dyn ExecutionPlan>> {
    let state = scope.state_for(plan).await?;
    let input = state.create_physical_plan(plan).await.map_err(|e| Error::from(&e))?;
    let target = target.clone().published(scope.tables.publish(target.table())?);
    Ok(target.change(state.as_ref(), input, options)?)
}

/// Carries out a change. When this returns it is committed, or part of the transaction.
pub async fn execute_change(
    scope: &Scope,
    target: &RowTarget,
    plan: &LogicalPlan,
    options: ChangeOptions,
) -> Result<Changed> {
    let returning = options.returning > 0;
    let physical = change_plan(scope, target, plan, options).await?;
    let mut output = rows::stream(scope, physical)?;
    if !returning {
        return impact(output).await.map(Changed::Impact);
    }
    // The first batch comes after the change is committed or handed over.
    let first = output.next().await.transpose().map_err(|e| Error::from(&e))?;
    let schema = output.schema();
    let all = stream::iter(first.map(Ok)).chain(output);
    Ok(Changed::Rows(Box::pin(RecordBatchStreamAdapter::new(schema, all))))
}

/// Runs a plan that gives an impact.
pub async fn impact(mut output: SendableRecordBatchStream) -> Result<Impact> {
    let mut impact = None;
    while let Some(batch) = output.next().await {
        let batch = batch.map_err(|e| Error::from(&e))?;
        impact = impact.or(Impact::from_batch(&batch));
    }
    impact.ok_or_else(|| Error::new(SqlState::INTERNAL_ERROR, "the change reported no impact"))
}

/// `Rows Inserted: 3`, one line for each entry.
pub fn impact_lines(impact: &Impact) -> Vec<String> {
    impact.entries().map(|(name, value)| format!("{}: {value}", title(name))).collect()
}

/// `rows_inserted` as `Rows Inserted`.
fn title(name: &str) -> String {
    let words = name.split('_').map(|word| {
        let mut chars = word.chars();
        chars.next().map(|first| first.to_uppercase().chain(chars).collect::<String>()).unwrap_or_default()
    });
    words.collect::<Vec<_>>().join(" ")
}
