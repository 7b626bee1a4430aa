//! `auric.freshness`: how old each materialized view is, and how far behind what it is built from.

use auric_catalog::TableIdent;
use auric_catalog::registry::Table;

use super::{Relation, SCHEMA, View, history, next_run, state_of, time, views};
use crate::error::{Error, Result, SqlState};
use crate::materialize::build::{self, Query, reason};
use crate::materialize::provenance::Provenance;
use crate::materialize::scheduler::node::NodeKind;
use crate::materialize::sources::{SourceVersion, Sources, full_name};
use crate::pg_catalog::value::Value;
use crate::planner::Scope;

const COLUMNS: &[(&str, &str)] = &[
    ("schema_name", "name"),
    ("view_name", "name"),
    ("is_populated", "bool"),
    ("is_suspended", "bool"),
    ("schedule", "text"),
    ("refreshed_at", "timestamptz"),
    // Seconds since then.
    ("age", "float8"),
    // Whether REFRESH would do nothing.
    ("is_up_to_date", "bool"),
    // Seconds since the first change that the view does not show.
    ("lag", "float8"),
    // Why it would be refreshed.
    ("reason", "text"),
    // When its schedule next says so; null if that depends on what happens.
    ("next_run_at", "timestamptz"),
    ("failures_in_a_row", "int4"),
    // Why the last scheduled refresh published nothing.
    ("last_error", "text"),
];

pub async fn rows(scope: &Scope) -> Result<Relation> {
    let mut scope = Scope { reads_unpopulated: true, ..scope.clone() };
    // A view that reads this relation would ask for itself.
    let own = (SCHEMA.to_string(), TableIdent::new(SCHEMA, "freshness"));
    if scope.expanding.contains(&own) {
        let message = "infinite recursion detected in rules for relation \"freshness\"";
        return Err(Error::new(SqlState::INVALID_OBJECT_DEFINITION, message));
    }
    scope.expanding.push(own);
    let now = scope.info.statement_start.timestamp_millis();
    let seconds = |since: i64| Value::Float((now - since).max(0) as f64 / 1_000.0);
    let mut rows = Vec::new();
    for view in views(&scope).await? {
        let View { table, definition, .. } = &view;
        let format = table.catalog.format(table.snapshot.format);
        let last = format.last_change(table.catalog.storage(), &table.snapshot).await?;
        let run = last.as_ref().map(Provenance::of_version).transpose()?.flatten();
        let refreshed = last.as_ref().filter(|_| run.is_some()).map(|version| version.committed_at);
        let (why, lag) = match sources_of(&scope, &view).await {
            // It cannot be refreshed.
            Err(e) => (Some(e.message), refreshed),
            Ok(sources) => {
                let versions = sources.versions().await?;
                let why = reason(definition, run.as_ref(), (&sources, &versions));
                let lag = match (&why, &run) {
                    (Some(_), Some(run)) => first_change(&sources.tables, run).await?.or(refreshed),
                    _ => None,
                };
                (why, lag)
            }
        };
        let state = state_of(&table.catalog, NodeKind::View, &table.ident).await?;
        let suspended = definition.suspended;
        let next = definition.schedule.as_ref().filter(|_| !suspended);
        let next = next.and_then(|schedule| next_run(schedule, &state, scope.info.statement_start));
        let next = next.map_or(Value::Null, time);
        rows.push(vec![
            (&table.ident.namespace).into(),
            (&table.ident.name).into(),
            definition.populated.into(),
            definition.suspended.into(),
            definition.schedule.as_ref().map(ToString::to_string).into(),
            refreshed.map_or(Value::Null, time),
            refreshed.map_or(Value::Null, seconds),
            why.is_none().into(),
            match why {
                None => Value::Float(0.0),
                Some(_) => lag.map_or(Value::Null, seconds),
            },
            why.into(),
            next,
            i32::try_from(state.failures).unwrap_or(i32::MAX).into(),
            state.last.and_then(|last| last.error).into(),
        ]);
    }
    Ok(Relation { columns: COLUMNS, rows })
}

async fn sources_of(scope: &Scope, View { table, definition, .. }: &View) -> Result<Sources> {
    let query = Query::of(scope, table, definition).await?;
    build::sources(&query, table, definition).await
}

/// When the first version was committed that the run has not read, milliseconds since the epoch. `None`:
/// the histories do not tell.
async fn first_change(sources: &[Table], run: &Provenance) -> Result<Option<i64>> {
    let mut first = None;
    for table in sources {
        let then = run.sources.get(&full_name(table));
        let Some(entry) = table.entry.as_ref().filter(|_| then != Some(&SourceVersion::of(table))) else {
            continue;
        };
        let read = then.and_then(|then| then.version);
        let versions = history(&table.catalog, entry).await?;
        let after = versions.iter().skip_while(|version| Some(version.id) != read).nth(1);
        let at = after.map(|version| version.committed_at);
        first = match (first, at) {
            (Some(one), Some(other)) => Some(std::cmp::min::<i64>(one, other)),
            (one, other) => one.or(other),
        };
    }
    Ok(first)
}
