//! One run of the scheduler, carried out.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;

use super::super::provenance::Provenance;
use super::super::run_task::{Ran, TaskRun};
use super::super::task::Task;
use super::node::{Node, NodeKey};
use super::plan::{Due, Ended};
use super::state::Outcome;
use super::{history, observe};
use crate::engine::Engine;
use crate::error::{Result, SqlState};
use crate::session::transaction::Pins;
use crate::session::{Outcomes, RunContext};
use crate::statement::interrupt::Abandoned;

/// One run to be carried out.
#[derive(Debug, Clone)]
pub struct Job {
    pub due: Due,
    pub run_id: String,
    /// What is shown as its statement.
    pub statement: String,
    pub(super) node: Node,
    pub(super) task: Option<Task>,
    pub(super) pins: Pins,
    /// What it reads is what was looked at, which this stands for.
    pub(super) fingerprint: Option<String>,
}

/// Runs a statement of the scheduler on a view.
pub(super) async fn run_statement(
    engine: &Arc<Engine>,
    node: &Node,
    statement: &str,
    run: Option<RunContext>,
    pid: i32,
    abandoned: Option<Abandoned>,
) -> Result<()> {
    let mut session = observe::session(engine, &node.key.catalog, pid)?;
    let target = Some((node.key.catalog.clone(), node.key.ident.clone()));
    session.run = run.map(|run| RunContext { target, ..run });
    session.abandoned = abandoned;
    for parsed in session.parse(statement)? {
        let prepared = session.prepare(&parsed, &[]).await?;
        Box::pin(session.execute(&prepared, Vec::new())).await?;
    }
    Ok(())
}

impl Job {
    pub fn key(&self) -> &NodeKey {
        &self.due.key
    }

    /// In whose name it runs.
    pub fn user(&self) -> &str {
        self.task.as_ref().map_or(observe::USER, |task| &task.user)
    }

    /// Carries it out. Dropping this stops it; what is being committed then is committed. `pid`: of the
    /// connection that it shows as.
    pub fn run<'a>(
        &'a self,
        engine: &'a Arc<Engine>,
        pid: i32,
        abandoned: Option<Abandoned>,
    ) -> BoxFuture<'a, (Ended, Option<SqlState>)> {
        Box::pin(async move {
            let started = engine.clock.now();
            let outcomes = Outcomes::default();
            let result = match &self.task {
                Some(task) => self.run_task(engine, task, pid, abandoned).await,
                None => self.refresh(engine, pid, abandoned, &outcomes).await,
            };
            let (outcome, error, code) = match result {
                Ok((outcome, message)) => (outcome, message, None),
                Err(e) => (Outcome::Failed, Some(history::told(&e)), Some(e.code)),
            };
            let finished = engine.clock.now();
            let (run_id, expectations) = (self.run_id.clone(), outcomes.lock().take());
            (Ended { run_id, started, finished, outcome, error, expectations }, code)
        })
    }

    /// How it ended, if somebody cancelled it.
    pub fn cancelled(&self, engine: &Arc<Engine>, started: DateTime<Utc>) -> (Ended, Option<SqlState>) {
        let ended = Ended {
            run_id: self.run_id.clone(),
            started,
            finished: engine.clock.now(),
            outcome: Outcome::Cancelled,
            error: Some("canceling statement due to user request".to_string()),
            expectations: None,
        };
        (ended, Some(SqlState::QUERY_CANCELED))
    }

    /// How it ended, if it ended in a way that it should not.
    pub fn broken(
        &self,
        engine: &Arc<Engine>,
        started: DateTime<Utc>,
        error: &str,
    ) -> (Ended, Option<SqlState>) {
        let ended = Ended {
            run_id: self.run_id.clone(),
            started,
            finished: engine.clock.now(),
            outcome: Outcome::Failed,
            error: Some(format!("internal error: {error}")),
            expectations: None,
        };
        (ended, Some(SqlState::INTERNAL_ERROR))
    }

    async fn run_task(
        &self,
        engine: &Arc<Engine>,
        task: &Task,
        pid: i32,
        abandoned: Option<Abandoned>,
    ) -> Result<(Outcome, Option<String>)> {
        let run = TaskRun {
            engine,
            catalog: &self.due.key.catalog,
            task,
            run_id: self.run_id.clone(),
            scheduled_for: DateTime::from_timestamp_millis(self.due.slot_at).unwrap_or_default(),
            pins: self.pins.clone(),
            pid,
            abandoned,
        };
        Ok(match run.run().await? {
            Ran::Done(tag) => (Outcome::Done, Some(tag)),
            Ran::AlreadyDone => (Outcome::Done, Some("done before".to_string())),
        })
    }

    async fn refresh(
        &self,
        engine: &Arc<Engine>,
        pid: i32,
        abandoned: Option<Abandoned>,
        outcomes: &Outcomes,
    ) -> Result<(Outcome, Option<String>)> {
        let run = RunContext { pins: self.pins.clone(), outcomes: outcomes.clone(), ..RunContext::default() };
        run_statement(engine, &self.node, &self.statement, Some(run), pid, abandoned).await?;
        let catalog = engine.registry.catalog(&self.due.key.catalog)?;
        let published = match catalog.table(&self.due.key.ident).await? {
            Some(table) => Provenance::of(&table).await?.map(|run| run.run_id),
            None => None,
        };
        Ok(match published == self.node.published {
            true => (Outcome::Unchanged, None),
            false => (Outcome::Done, None),
        })
    }
}
