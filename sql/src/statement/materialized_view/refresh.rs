//! `REFRESH MATERIALIZED VIEW`.

use std::collections::BTreeMap;

use auric_catalog::registry::Table;
use auric_catalog::table::{Alteration, PropertyChange};
use chrono::{DateTime, Utc};

use super::super::dml::execute::Attempts;
use super::super::{CommandTag, Output};
use super::cascade::{self, Member};
use super::{find, tell};
use crate::error::{Error, Result, SqlState};
use crate::materialize::build::{self, Build, Built, How, Query, reason};
use crate::materialize::definition::{Definition, POPULATED, RefreshPolicy};
use crate::materialize::incremental::{self, Choice, Request, Why};
use crate::materialize::provenance::Provenance;
use crate::materialize::publish::Kind;
use crate::materialize::scheduler::history::{self, Attempt};
use crate::materialize::scheduler::node::NodeKind;
use crate::materialize::scheduler::state::Outcome;
use crate::parser::Parsed;
use crate::parser::statement::RefreshMaterializedView;
use crate::planner::Scope;
use crate::session::Session;

const DONE: Output = Output::Complete(CommandTag::Plain("REFRESH MATERIALIZED VIEW"));

pub async fn execute(
    session: &mut Session,
    refresh: &RefreshMaterializedView,
    parsed: &Parsed,
) -> Result<Output> {
    session.check_writable("REFRESH MATERIALIZED VIEW")?;
    let mut attempts = Attempts::new(session.block.is_some());
    let mut progress = Progress::default();
    loop {
        progress.failed.clear();
        let Some(outcome) = attempts.last(attempt(session, refresh, parsed, &mut progress).await) else {
            continue;
        };
        // The scheduler tells of its runs itself.
        if session.run.is_none() {
            for (view, started, e) in &progress.failed {
                failed(session, view, *started, e).await;
            }
        }
        return outcome;
    }
}

/// How far a statement has come.
#[derive(Default)]
struct Progress {
    /// FULL is done once it has been done by this statement, of views before the last one too.
    done: Vec<String>,
    /// The views whose refreshes have failed, when these began, and why.
    failed: Vec<(Table, DateTime<Utc>, Error)>,
}

/// Notes down a refresh that published nothing. Catalogs without documents have no place for it.
async fn failed(session: &Session, view: &Table, started: DateTime<Utc>, e: &Error) {
    let cancelled = e.code == SqlState::QUERY_CANCELED;
    let attempt = Attempt {
        run_id: uuid::Uuid::new_v4().to_string(),
        number: 1,
        scheduled_for: started.timestamp_millis(),
        started: started.timestamp_millis(),
        finished: session.engine.clock().now().timestamp_millis(),
        outcome: if cancelled { Outcome::Cancelled } else { Outcome::Failed },
        message: Some(history::told(e)),
        sqlstate: Some(e.code.to_string()),
    };
    let recorded = history::record(&view.catalog, NodeKind::View, &view.ident, &attempt, history::KEPT).await;
    if let Err(error) = recorded {
        tracing::debug!(view = %view.ident, %error, "history of a run was not written");
    }
}

async fn attempt(
    session: &mut Session,
    refresh: &RefreshMaterializedView,
    parsed: &Parsed,
    progress: &mut Progress,
) -> Result<Output> {
    let scope = session.scope().await?;
    let (view, _) = find(&scope, &refresh.name, parsed).await?;
    if refresh.with_no_data {
        return empty(session, &scope, &view).await;
    }
    let members = match refresh.cascade {
        true => cascade::order(&scope, &view).await?,
        false => vec![Member { view, upstream: Vec::new() }],
    };
    // What a failure stops is refreshed no more; the others are.
    let (mut stopped, mut first): (Vec<String>, Option<Error>) = (Vec::new(), None);
    for Member { view, upstream } in members {
        let name = crate::materialize::sources::full_name(&view);
        if upstream.iter().any(|name| stopped.contains(name)) {
            stopped.push(name);
            continue;
        }
        let full = refresh.full && !progress.done.contains(&name);
        let started = session.engine.clock().now();
        match one(session, &scope, &view, full).await {
            Ok(()) => progress.done.push(name),
            // It is tried again, or the whole transaction has failed.
            Err(e) if e.code == SqlState::SERIALIZATION_FAILURE || session.block.is_some() => {
                progress.failed.push((view, started, e.clone()));
                return Err(e);
            }
            Err(e) => {
                progress.failed.push((view, started, e.clone()));
                let is_cancelled = e.code == SqlState::QUERY_CANCELED;
                first.get_or_insert(e);
                if is_cancelled {
                    break;
                }
                stopped.push(name);
            }
        }
    }
    first.map_or(Ok(DONE), Err)
}

/// Refreshes one view as the scope sees what it is built from, unless it is up to date.
async fn one(session: &mut Session, scope: &Scope, seen: &Table, full: bool) -> Result<()> {
    // At the version that the scope sees now: those before it in a cascade are other ones by now.
    let table = scope.tables.get(&seen.catalog, &seen.ident).await?;
    let table = table.ok_or_else(|| auric_catalog::Error::TableNotFound(seen.ident.clone()))?;
    let definition = Definition::of(&table.snapshot.properties)?.ok_or_else(|| {
        let message = format!("\"{}\" is not a materialized view", table.ident.name);
        Error::new(SqlState::WRONG_OBJECT_TYPE, message)
    })?;
    let query = Query::of(scope, &table, &definition).await?;
    let sources = build::sources(&query, &table, &definition).await?;
    let versions = sources.versions().await?;
    let before = Provenance::of(&table).await?;
    let reason = match (reason(&definition, before.as_ref(), (&sources, &versions)), full) {
        (Some(reason), false) => reason,
        (_, true) => "FULL was asked for".to_string(),
        (None, false) => {
            let message = format!("materialized view \"{}\" is up to date", table.ident);
            session.notice("NOTICE", SqlState::SUCCESSFUL_COMPLETION, message);
            return Ok(());
        }
    };
    let (how, reason) = match full {
        true => (How::Full, reason),
        false => {
            let request = Request {
                scope,
                table: &table,
                definition: &definition,
                query: &query,
                sources: &sources,
                before: before.as_ref(),
                versions: &versions,
            };
            how(session, &table, &definition, incremental::choose(request).await?, reason)?
        }
    };
    let in_block = session.block.is_some();
    let build = Build {
        scope,
        in_block,
        table: &table,
        kind: Kind::Overwrite,
        definition: &definition,
        query: &query,
        reason,
        how,
        versions,
        unset: Vec::new(),
    };
    let Built { outcomes, .. } = build.run().await?;
    tell(session, &table, &outcomes);
    Ok(())
}

/// What the choice comes to under the view's policy, and the reason that is recorded. Fails with 0A000 or
/// 55000 where the policy allows nothing but what is not possible.
fn how(
    session: &mut Session,
    table: &Table,
    definition: &Definition,
    choice: Choice,
    reason: String,
) -> Result<(How, String)> {
    let why = match choice {
        Choice::Incremental(work) => return Ok((How::Incremental(work), reason)),
        Choice::Full { why: None } => return Ok((How::Full, reason)),
        Choice::Full { why: Some(why) } => why,
    };
    let (state, why) = match why {
        Why::Never(why) => (SqlState::FEATURE_NOT_SUPPORTED, why),
        Why::Now(why) => (SqlState::NOT_IN_PREREQUISITE_STATE, why),
    };
    let message = format!("materialized view \"{}\" cannot be refreshed incrementally", table.ident);
    match definition.policy {
        RefreshPolicy::IncrementalStrict => {
            return Err(Error::new(state, message)
                .with_detail(format!("All of its rows would have to be computed: {why}."))
                .with_hint("Use REFRESH MATERIALIZED VIEW … FULL, or another refresh policy."));
        }
        RefreshPolicy::Incremental => {
            session.warning(SqlState::WARNING, format!("{message}: {why}"));
        }
        // It is what AUTO is for, but a refresh that takes longer than usual has its reason.
        RefreshPolicy::Auto if state == SqlState::NOT_IN_PREREQUISITE_STATE => {
            let message = format!("materialized view \"{}\" is refreshed as a whole: {why}", table.ident);
            session.notice("NOTICE", SqlState::SUCCESSFUL_COMPLETION, message);
        }
        RefreshPolicy::Auto | RefreshPolicy::Full => {}
    }
    Ok((
        How::Full,
        match reason.contains(&why) {
            true => reason,
            false => format!("{reason}; full because {why}"),
        },
    ))
}

/// `WITH NO DATA`: the view cannot be read until it is refreshed again. Its files stay what they are until
/// then.
async fn empty(_session: &mut Session, scope: &Scope, view: &Table) -> Result<Output> {
    let set = BTreeMap::from([(POPULATED.to_string(), "false".to_string())]);
    let change = PropertyChange { set, ..PropertyChange::default() };
    scope.tables.alter(view, Alteration::Properties(change)).await?;
    Ok(DONE)
}
