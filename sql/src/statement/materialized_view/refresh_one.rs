//! The refresh of one materialized view: whether there is anything to do, what of its rows is computed, and
//! what the client is told.

use auric_catalog::registry::Table;

use super::tell;
use crate::error::{Error, Result, SqlState};
use crate::materialize::build::{self, Build, Built, Failed, How, Query, reason};
use crate::materialize::definition::{Definition, RefreshPolicy};
use crate::materialize::incremental::{self, Choice, Request, Why};
use crate::materialize::provenance::Provenance;
use crate::materialize::publish::Kind;
use crate::planner::Scope;
use crate::session::Notice;

/// What became of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refreshed {
    Published,
    /// There was nothing to do.
    UpToDate,
}

/// How a view is to be refreshed.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// All of its rows, whatever has changed.
    pub full: bool,
    pub in_block: bool,
}

/// Refreshes one view as the scope sees what it is built from, unless it is up to date.
pub async fn refresh(
    scope: &Scope,
    seen: &Table,
    wanted: Wanted,
    notices: &mut Vec<Notice>,
) -> std::result::Result<Refreshed, Failed> {
    let Wanted { full, in_block } = wanted;
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
            notices.push(up_to_date(&table));
            return Ok(Refreshed::UpToDate);
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
            how(notices, &table, &definition, incremental::choose(request).await?, reason)?
        }
    };
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
    tell(notices, &table, &outcomes);
    Ok(Refreshed::Published)
}

/// What is told of a view that is what it would become.
pub fn up_to_date(table: &Table) -> Notice {
    let message = format!("materialized view \"{}\" is up to date", table.ident);
    Notice::new("NOTICE", SqlState::SUCCESSFUL_COMPLETION, message)
}

/// What the choice comes to under the view's policy, and the reason that is recorded. Fails with 0A000 or
/// 55000 where the policy allows nothing but what is not possible.
fn how(
    notices: &mut Vec<Notice>,
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
            notices.push(Notice::new("WARNING", SqlState::WARNING, format!("{message}: {why}")));
        }
        // It is what AUTO is for, but a refresh that takes longer than usual has its reason.
        RefreshPolicy::Auto if state == SqlState::NOT_IN_PREREQUISITE_STATE => {
            let message = format!("materialized view \"{}\" is refreshed as a whole: {why}", table.ident);
            notices.push(Notice::new("NOTICE", SqlState::SUCCESSFUL_COMPLETION, message));
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
