//! One run of a task: its statement, in a session of its own, with a commit that is made at most once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use auric_catalog::TableIdent;
use auric_catalog::dml::publish::Stamp;
use auric_catalog::registry::Catalog;
use chrono::{DateTime, SecondsFormat, Utc};
use datafusion::sql::sqlparser::ast::ObjectName;
use futures::StreamExt;

use super::task::Task;
use crate::engine::Engine;
use crate::error::{Error, Result, SqlState};
use crate::functions::string::quote_ident;
use crate::parser::{self, Parsed, Statement};
use crate::planner::missing_parameter;
use crate::session::transaction::Pins;
use crate::session::{ConnectParameters, Outcomes, RunContext, Session};
use crate::statement::interrupt::Abandoned;
use crate::statement::{self, Output};

/// Entry of a commit's summary: the task that made it.
pub const TASK_NAME: &str = "auric.task.name";
/// Entry of a commit's summary: the run.
pub const RUN_ID: &str = "auric.task.run-id";
/// Entry of a commit's summary: when it was due.
pub const SCHEDULED_FOR: &str = "auric.task.scheduled-for";

/// One run.
pub struct TaskRun<'a> {
    pub engine: &'a Arc<Engine>,
    pub catalog: &'a str,
    pub task: &'a Task,
    pub run_id: String,
    /// When it was due.
    pub scheduled_for: DateTime<Utc>,
    /// Versions that it reads.
    pub pins: Pins,
    /// Of the connection that it shows as.
    pub pid: i32,
    pub abandoned: Option<Abandoned>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ran {
    /// The tag of its statement.
    Done(String),
    /// The slot had been run before.
    AlreadyDone,
}

impl TaskRun<'_> {
    /// Runs the statement, unless this run is in the table's history. Fails as the statement does.
    pub async fn run(&self) -> Result<Ran> {
        if self.is_committed().await? {
            return Ok(Ran::AlreadyDone);
        }
        let outcome = self.attempt().await;
        // What comes after it reads what it has made.
        if let Some((catalog, ident)) = self.target() {
            self.pins.lock().remove(&(catalog.to_string(), ident));
        }
        match outcome {
            Ok(tag) => Ok(Ran::Done(tag)),
            // Another server was faster.
            Err(e) => match self.is_committed().await {
                Ok(true) => Ok(Ran::AlreadyDone),
                _ => Err(e),
            },
        }
    }

    async fn attempt(&self) -> Result<String> {
        let name = self.task.ident.to_string();
        let due = self.scheduled_for.to_rfc3339_opts(SecondsFormat::Millis, true);
        let summary = [(TASK_NAME, name), (RUN_ID, self.run_id.clone()), (SCHEDULED_FOR, due)];
        let summary = summary.map(|(key, value)| (key.to_string(), value)).into();
        let stamp = Stamp { id: self.run_id.clone(), summary };
        let context = RunContext {
            pins: self.pins.clone(),
            stamp: Some(Arc::new(stamp)),
            target: self.target().map(|(catalog, ident)| (catalog.to_string(), ident)),
            outcomes: Outcomes::default(),
        };
        let mut session = session(self.engine, self.catalog, self.task, self.pid)?;
        session.run = Some(context);
        session.abandoned.clone_from(&self.abandoned);
        let parsed = parse(self.task)?;
        let prepared = session.prepare(&parsed, &[]).await.map_err(without_position)?;
        // A statement runs a task that runs a statement.
        let output = Box::pin(session.execute(&prepared, Vec::new())).await.map_err(without_position)?;
        drained(output).await
    }

    /// Catalog and name of the table that it changes. `None`: it was not recorded.
    fn target(&self) -> Option<(&str, TableIdent)> {
        let mut parts = self.task.target.splitn(3, '.');
        let (catalog, namespace, name) = (parts.next()?, parts.next()?, parts.next()?);
        Some((catalog, TableIdent::new(namespace, name)))
    }

    /// Whether the table's history has the run.
    async fn is_committed(&self) -> Result<bool> {
        let Some((catalog, ident)) = self.target() else { return Ok(false) };
        let catalog = self.engine.registry.catalog(catalog)?;
        let Some(entry) = catalog.backend().table(&ident).await? else { return Ok(false) };
        let format = catalog.format(entry.format);
        Ok(format.find_commit(catalog.storage(), &entry, &self.run_id).await?.is_some())
    }
}

fn without_position(e: Error) -> Error {
    Error { position: None, ..e }
}

/// The session that a task runs in: its creator's user and search path, nothing else of his.
fn session(engine: &Arc<Engine>, catalog: &str, task: &Task, pid: i32) -> Result<Session> {
    let mut session = engine.connect(ConnectParameters {
        user: task.user.clone(),
        database: catalog.to_string(),
        pid,
        settings: Vec::new(),
    })?;
    let path: Vec<String> = task.search_path.iter().map(|name| quote_ident(name)).collect();
    session.set("search_path", &path.join(", "), false)?;
    Ok(session)
}

/// The statement of a task. Fails with XX001.
fn parse(task: &Task) -> Result<Parsed> {
    let statements = <[Parsed; 1]>::try_from(parser::parse(&task.statement)?);
    statements.map(|[statement]| statement).map_err(|_| {
        let message = format!("task \"{}\" cannot be read", task.ident);
        Error::new(SqlState::DATA_CORRUPTED, message).with_detail("Its text is not one statement.")
    })
}

async fn drained(output: Output) -> Result<String> {
    Ok(match output {
        Output::Rows(mut output) => {
            let mut rows = 0;
            while let Some(batch) = output.stream.next().await {
                rows += batch.map_err(Error::from)?.num_rows();
            }
            output.tag.text(u64::try_from(rows).unwrap_or(u64::MAX))
        }
        Output::Cached(output) => output.tag.text(output.rows()),
        Output::Complete(tag) => tag.text(0),
        Output::CopyOut { .. } | Output::CopyOutBinary { .. } | Output::CopyIn(_) | Output::Empty => {
            return Err(Error::new(SqlState::INTERNAL_ERROR, "a task is no COPY"));
        }
    })
}

/// The table that a statement changes, as it names it. `None`: it changes none.
pub fn target_of(statement: &Statement) -> Option<&ObjectName> {
    match statement {
        Statement::Insert(insert) => Some(&insert.table),
        Statement::Update(update) => Some(&update.target.name),
        Statement::Delete(delete) => Some(&delete.target.name),
        Statement::Merge(merge) => Some(&merge.target.name),
        _ => None,
    }
}

/// What a statement changes and what it reads, by full names.
pub struct Touched {
    pub target: String,
    pub reads: BTreeSet<String>,
}

/// Plans a task's statement, for its errors and for the tables that it names. Fails as planning it does,
/// with 42P02 for parameters, and with 0A000 for temporary tables.
pub async fn touched(session: &mut Session, task: &Task) -> Result<Touched> {
    let parsed = parse(task)?;
    let target = target_of(&parsed.statement)
        .cloned()
        .ok_or_else(|| Error::new(SqlState::SYNTAX_ERROR, "a task is INSERT, UPDATE, DELETE or MERGE"))?;
    let in_block = session.block.as_ref().map(|block| block.tables.clone());
    let (tables, table, parameters) = match &in_block {
        // What the block has made nobody else sees.
        Some(tables) => {
            tables.take_asked();
            let (table, parameters) = planned(session, &parsed, &target).await?;
            (tables.take_asked(), table, parameters)
        }
        None => {
            let database = session.parameters.database.clone();
            let mut own = self::session(&session.engine, &database, task, session.parameters.pid)?;
            let pins = Pins::default();
            own.run = Some(RunContext { pins: pins.clone(), ..RunContext::default() });
            let (table, parameters) = planned(&mut own, &parsed, &target).await?;
            let tables = pins.lock().keys().cloned().collect();
            (tables, table, parameters)
        }
    };
    if parameters > 0 {
        return Err(missing_parameter(1));
    }
    let is_temporary = |catalog: &str| session.engine.registry.catalog(catalog).is_err();
    if tables.iter().chain([&table]).any(|(catalog, _)| is_temporary(catalog)) {
        return Err(statement::not_supported("a task of a temporary table"));
    }
    let full = |(catalog, ident): &(String, TableIdent)| format!("{catalog}.{ident}");
    let target = full(&table);
    let reads = tables.iter().map(full).filter(|name| *name != target).collect();
    Ok(Touched { target, reads })
}

async fn planned(
    session: &mut Session,
    parsed: &Parsed,
    target: &ObjectName,
) -> Result<((String, TableIdent), usize)> {
    let prepared = statement::prepare(session, parsed, &[]).await.map_err(without_position)?;
    let scope = session.scope().await?;
    let (table, _) = scope.changeable_table(target, parsed).await.map_err(without_position)?;
    Ok(((table.catalog.name().to_string(), table.ident), prepared.parameters.len()))
}

/// Fails with 42P17 if a task would come after itself: by AFTER, or because it reads, through materialized
/// views, what it changes. `views`: what each materialized view reads, by full names.
pub fn check_cycle(
    catalog: &Catalog,
    task: &Task,
    others: &[Task],
    views: &BTreeMap<String, BTreeSet<String>>,
) -> Result<()> {
    let full = |ident: &TableIdent| format!("{}.{ident}", catalog.name());
    // Tasks are told from tables, which may have their names.
    let mut path = vec![format!("task {}", task.ident)];
    let mut open: Vec<(usize, Step)> =
        task.trigger.after().iter().map(|ident| (1, Step::Named(ident.clone()))).collect();
    let mut seen = BTreeSet::new();
    let is_task = |ident: &TableIdent| others.iter().find(|other| other.ident == *ident);
    while let Some((depth, step)) = open.pop() {
        path.truncate(depth);
        match step {
            Step::Named(ident) if ident == task.ident => {
                path.push(format!("task {}", task.ident));
                let message = format!("task \"{}\" would come after itself", task.ident);
                return Err(
                    Error::new(SqlState::INVALID_OBJECT_DEFINITION, message).with_detail(path.join(" ← "))
                );
            }
            Step::Named(ident) => match is_task(&ident) {
                Some(other) => {
                    if seen.insert(format!("task {ident}")) {
                        path.push(format!("task {ident}"));
                        let next = other.trigger.after().iter().cloned().map(Step::Named);
                        open.extend(next.map(|step| (depth + 1, step)));
                    }
                }
                None => open.push((depth, Step::Table(full(&ident)))),
            },
            Step::Table(name) => {
                if !seen.insert(name.clone()) {
                    continue;
                }
                let Some(reads) = views.get(&name) else {
                    // Whoever changes it comes before.
                    let writers = others.iter().chain([task]).filter(|other| other.target == name);
                    open.extend(writers.map(|writer| (depth, Step::Named(writer.ident.clone()))));
                    continue;
                };
                path.push(name);
                open.extend(reads.iter().cloned().map(|name| (depth + 1, Step::Table(name))));
            }
        }
    }
    Ok(())
}

enum Step {
    /// A task or materialized view.
    Named(TableIdent),
    /// `catalog.schema.table`.
    Table(String),
}
