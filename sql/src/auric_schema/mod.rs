//! The schema `auric`, in every database: what Auric knows of its own work, read from where it is kept.
//!
//! One relation per file. Unlike those of `pg_catalog` they are made when a statement names them, as their
//! rows come from the history of tables.

mod cache;
mod column_lineage;
mod definitions;
mod freshness;
mod lineage;
mod protected_versions;
mod refreshes;
mod task_runs;
mod tasks;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use auric_catalog::TableIdent;
use auric_catalog::backend::TableEntry;
use auric_catalog::format::VersionInfo;
use auric_catalog::registry::{Catalog, Table};
use chrono::{DateTime, Utc};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use futures::future::{BoxFuture, FutureExt};

use crate::error::{Error, Result};
use crate::materialize::definition::Definition;
use crate::materialize::schedule::Schedule;
use crate::materialize::scheduler::node::{NodeKey, NodeKind, When};
use crate::materialize::scheduler::state::{self, State};
use crate::pg_catalog::value::{Value, field, to_array};
use crate::planner::Scope;

/// Name of the schema.
pub const SCHEMA: &str = "auric";

/// A materialized view of the database.
struct View {
    table: Table,
    entry: TableEntry,
    definition: Definition,
}

/// Names and types of columns, and rows of them.
struct Relation {
    columns: &'static [(&'static str, &'static str)],
    rows: Vec<Vec<Value>>,
}

/// The relation of that name. `None`: there is none.
pub fn relation<'a>(
    scope: &'a Scope,
    name: &'a str,
) -> BoxFuture<'a, Result<Option<Arc<dyn TableProvider>>>> {
    // Whoever asks how fresh a view is has its query planned, which may name any relation.
    made(scope, name).boxed()
}

async fn made(scope: &Scope, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
    let found = match name {
        "cache" => cache::rows(scope)?,
        "column_lineage" => column_lineage::rows(scope).await?,
        "definitions" => definitions::rows(scope),
        "refreshes" => refreshes::rows(scope).await?,
        "lineage" => lineage::rows(scope).await?,
        "protected_versions" => protected_versions::rows(scope).await?,
        "freshness" => freshness::rows(scope).await?,
        "tasks" => tasks::rows(scope).await?,
        "task_runs" => task_runs::rows(scope).await?,
        _ => return Ok(None),
    };
    let failed = |e: datafusion::error::DataFusionError| Error::from(&e);
    let fields: Vec<Field> = found.columns.iter().map(|(name, pg_type)| field(name, pg_type)).collect();
    let schema = Arc::new(Schema::new(fields));
    let mut arrays = Vec::with_capacity(found.columns.len());
    for (i, field) in schema.fields().iter().enumerate() {
        let values: Vec<Value> =
            found.rows.iter().map(|row| row.get(i).cloned().unwrap_or(Value::Null)).collect();
        arrays.push(to_array(&values, field.data_type()).map_err(failed)?);
    }
    let batch = RecordBatch::try_new(schema.clone(), arrays).map_err(|e| Error::from(&e))?;
    Ok(Some(Arc::new(MemTable::try_new(schema, vec![vec![batch]]).map_err(failed)?)))
}

/// All materialized views of the database as the statement sees them, by name. One that cannot be read is
/// left out.
async fn views(scope: &Scope) -> Result<Vec<View>> {
    let catalog = scope.database()?;
    let contents = catalog.table_summaries().await?;
    let mut views = Vec::new();
    for summary in contents.tables() {
        let Ok(snapshot) = &summary.snapshot else { continue };
        let Ok(Some(_)) = Definition::of(&snapshot.properties) else { continue };
        let Some(table) = scope.tables.get(&catalog, &summary.entry.ident).await? else { continue };
        let Some(definition) = Definition::of(&table.snapshot.properties)? else { continue };
        views.push(View { table, entry: summary.entry.clone(), definition });
    }
    Ok(views)
}

/// The versions of a table, oldest first; none of one that the transaction has yet to make.
async fn history(catalog: &Catalog, entry: &TableEntry) -> Result<Vec<VersionInfo>> {
    match entry.pointer.is_empty() {
        true => Ok(Vec::new()),
        false => Ok(catalog.format(entry.format).history(catalog.storage(), entry).await?),
    }
}

/// What the scheduler remembers of a task or view.
async fn state_of(catalog: &Catalog, kind: NodeKind, ident: &TableIdent) -> Result<State> {
    let key = NodeKey { catalog: catalog.name().to_string(), kind, ident: ident.clone() };
    let text = catalog.backend().document(&state::key(&key)).await?;
    text.map_or_else(|| Ok(State::default()), |text| State::from_json(&text))
}

/// When something is run next, milliseconds since the epoch. `None`: that depends on what happens.
fn next_run(schedule: &Schedule, state: &State, now: DateTime<Utc>) -> Option<i64> {
    if let Some(retry) = &state.retry {
        return Some(retry.at);
    }
    match When::of(schedule).ok()? {
        When::Slots(slots) => slots.next(now).map(|slot| slot.timestamp_millis()),
        When::Never | When::OnUpdate { .. } | When::Lag(_) | When::After(_) => None,
    }
}

/// A time in milliseconds since the epoch.
fn time(millis: i64) -> Value {
    Value::Time(millis.saturating_mul(1_000))
}

fn number(number: Option<u64>) -> Value {
    number.and_then(|number| i64::try_from(number).ok()).into()
}
