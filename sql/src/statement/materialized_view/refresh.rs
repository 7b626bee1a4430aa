//! `REFRESH MATERIALIZED VIEW`.

use std::collections::{BTreeMap, BTreeSet};

use auric_catalog::registry::Table;
use auric_catalog::table::{Alteration, PropertyChange};
use chrono::{DateTime, Utc};

use super::super::dml::execute::Attempts;
use super::super::{CommandTag, Output};
use super::cascade::{self, Member};
use super::find;
use super::refresh_one::Refreshed;
use super::side_by_side::{self, Asked, Ended};
use crate::error::{Error, Result, SqlState};
use crate::materialize::build::Failed;
use crate::materialize::definition::POPULATED;
use crate::materialize::provenance::outcomes_json;
use crate::materialize::scheduler::history::{self, Attempt};
use crate::materialize::scheduler::node::{NodeKey, NodeKind};
use crate::materialize::scheduler::places::Claim;
use crate::materialize::scheduler::state::Outcome;
use crate::materialize::sources::full_name;
use crate::parser::Parsed;
use crate::parser::statement::RefreshMaterializedView;
use crate::planner::Scope;
use crate::session::{Notice, Session};

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
        let Some(outcome) =
            attempts.last(attempt(session, (refresh, parsed), &attempts, &mut progress).await)
        else {
            continue;
        };
        session.notices.extend(progress.told.drain(..).flat_map(|(_, notices)| notices));
        // The scheduler tells of its runs itself.
        if session.run.is_none() {
            for (view, started, failed) in &progress.failed {
                note_down(session, view, *started, failed).await;
            }
        }
        if let Some(run) = &session.run {
            let outcomes = progress.failed.first().and_then(|(.., failed)| outcomes_json(&failed.outcomes));
            *run.outcomes.lock() = outcomes;
        }
        return outcome;
    }
}

/// How far a statement has come.
#[derive(Default)]
struct Progress {
    /// FULL is done once it has been done by this statement, of views before the last one too.
    done: BTreeSet<String>,
    /// Keeps the scheduler from the views of a cascade until all of it is over: it would give one of them
    /// another version than those that are read beside it.
    claim: Option<Claim>,
    /// What each view's refresh has to tell, of its last attempt.
    told: Vec<(String, Vec<Notice>)>,
    /// The views whose refreshes have failed, when these began, and why.
    failed: Vec<(Table, DateTime<Utc>, Failed)>,
}

/// Notes down a refresh that published nothing. Catalogs without documents have no place for it.
async fn note_down(session: &Session, view: &Table, started: DateTime<Utc>, failed: &Failed) {
    let Failed { error: e, outcomes } = failed;
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
        expectations: outcomes_json(outcomes),
    };
    let recorded = history::record(&view.catalog, NodeKind::View, &view.ident, &attempt, history::KEPT).await;
    if let Err(error) = recorded {
        tracing::debug!(view = %view.ident, %error, "history of a run was not written");
    }
}

async fn attempt(
    session: &mut Session,
    (refresh, parsed): (&RefreshMaterializedView, &Parsed),
    attempts: &Attempts,
    progress: &mut Progress,
) -> Result<Output> {
    let in_block = session.block.is_some();
    let (scope, members) = loop {
        let scope = attempts.adapt(session.scope().await?);
        let (view, _) = find(&scope, &refresh.name, parsed).await?;
        if refresh.with_no_data {
            return empty(&scope, &view).await;
        }
        if !refresh.cascade {
            break (scope, vec![Member { view, upstream: Vec::new(), is_current: false }]);
        }
        let members = cascade::order(&scope, &view).await?;
        let idle = !refresh.full && members.iter().all(|member| member.is_current);
        let keys: BTreeSet<NodeKey> = members.iter().map(key).collect();
        let claimed = progress.claim.as_ref().is_some_and(|claim| claim.covers(&keys));
        if idle || in_block || claimed {
            break (scope, members);
        }
        // Whoever asks for more has nothing meanwhile.
        progress.claim = None;
        let claim = session.engine.places.claim(keys).await;
        let waited = claim.has_waited();
        progress.claim = Some(claim);
        if !waited {
            break (scope, members);
        }
        // What somebody else has refreshed meanwhile is seen by another look.
    };
    let asked = Asked { full: refresh.full, done: &progress.done, in_block };
    let ended = side_by_side::refresh(&scope, &members, asked).await?;
    // The first by their order, not by when they failed; whether the statement is run anew comes before.
    let (mut again, mut first): (Option<Error>, Option<Error>) = (None, None);
    for Ended { view, started, notices, result } in ended {
        let name = full_name(&view);
        // What an earlier attempt has done has told what there is to tell.
        let done_before = progress.done.contains(&name) && matches!(result, Ok(Refreshed::UpToDate));
        if !done_before {
            progress.told.retain(|(of, _)| *of != name);
            progress.told.push((name.clone(), notices));
        }
        match result {
            Ok(_) => _ = progress.done.insert(name),
            Err(failed) => {
                let anew = attempts.begins_anew(&failed.error);
                let kept = if anew { &mut again } else { &mut first };
                kept.get_or_insert_with(|| failed.error.clone());
                progress.failed.push((view, started, failed));
            }
        }
    }
    again.or(first).map_or(Ok(DONE), Err)
}

fn key(member: &Member) -> NodeKey {
    let (catalog, ident) = (member.view.catalog.name().to_string(), member.view.ident.clone());
    NodeKey { catalog, kind: NodeKind::View, ident }
}

/// `WITH NO DATA`: the view cannot be read until it is refreshed again. Its files stay what they are until
/// then.
async fn empty(scope: &Scope, view: &Table) -> Result<Output> {
    let set = BTreeMap::from([(POPULATED.to_string(), "false".to_string())]);
    let change = PropertyChange { set, ..PropertyChange::default() };
    scope.tables.alter(view, Alteration::Properties(change)).await?;
    Ok(DONE)
}
