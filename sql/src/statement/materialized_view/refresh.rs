//! `REFRESH MATERIALIZED VIEW`.

use std::collections::BTreeMap;

use auric_catalog::registry::Table;
use auric_catalog::table::{Alteration, PropertyChange};

use super::super::dml::execute::Attempts;
use super::super::{CommandTag, Output};
use super::{cascade, find, tell};
use crate::error::{Error, Result, SqlState};
use crate::materialize::build::{self, Build, Built, How, Query, reason};
use crate::materialize::definition::{Definition, POPULATED, RefreshPolicy};
use crate::materialize::incremental::{self, Choice, Request, Why};
use crate::materialize::provenance::Provenance;
use crate::materialize::publish::Kind;
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
    // FULL is done once it has been done by this statement, of views before the last one too.
    let mut done = Vec::new();
    loop {
        if let Some(outcome) = attempts.last(attempt(session, refresh, parsed, &mut done).await) {
            return outcome;
        }
    }
}

async fn attempt(
    session: &mut Session,
    refresh: &RefreshMaterializedView,
    parsed: &Parsed,
    done: &mut Vec<String>,
) -> Result<Output> {
    let scope = session.scope().await?;
    let (view, _) = find(&scope, &refresh.name, parsed).await?;
    if refresh.with_no_data {
        return empty(session, &scope, &view).await;
    }
    let views = match refresh.cascade {
        true => cascade::order(&scope, &view).await?,
        false => vec![view],
    };
    for view in views {
        let name = crate::materialize::sources::full_name(&view);
        let full = refresh.full && !done.contains(&name);
        one(session, &scope, &view, full).await?;
        done.push(name);
    }
    Ok(DONE)
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
