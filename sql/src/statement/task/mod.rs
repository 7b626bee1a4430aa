//! Statements on tasks.

pub mod alter;
pub mod create;
pub mod drop_task;
pub mod execute;
pub mod show_create;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use auric_catalog::TableIdent;
use auric_catalog::registry::Catalog;
use datafusion::sql::sqlparser::ast::ObjectName;

use crate::error::{Error, Result, SqlState};
use crate::materialize::definition::is_materialized_view;
use crate::materialize::provenance::Provenance;
use crate::materialize::run_task;
use crate::materialize::task::{Stored, Task, Trigger};
use crate::parser::folded;
use crate::parser::statement::TriggerClause;
use crate::planner::Scope;
use crate::session::Session;

/// Where a name may be found, best first.
fn candidates(scope: &Scope, name: &ObjectName) -> Result<(Arc<Catalog>, Vec<TableIdent>)> {
    let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident().cloned()).map(folded).collect();
    match parts.as_slice() {
        [name] => {
            let path = scope.info.search_path.iter();
            Ok((
                scope.database()?,
                path.map(|schema| TableIdent::new(schema.as_str(), name.as_str())).collect(),
            ))
        }
        [schema, name] => Ok((scope.database()?, vec![TableIdent::new(schema.as_str(), name.as_str())])),
        [catalog, schema, name] => {
            Ok((scope.catalog(catalog)?, vec![TableIdent::new(schema.as_str(), name.as_str())]))
        }
        _ => Err(Error::new(SqlState::SYNTAX_ERROR, format!("improper qualified name: {name}"))),
    }
}

async fn find_if_any(scope: &Scope, name: &ObjectName) -> Result<Option<(Arc<Catalog>, Stored)>> {
    let (catalog, idents) = candidates(scope, name)?;
    for ident in idents {
        if let Some(found) = Task::find(&catalog, &ident).await? {
            return Ok(Some((catalog, found)));
        }
    }
    Ok(None)
}

/// The task of a name. Fails with 42704.
async fn find(scope: &Scope, name: &ObjectName) -> Result<(Arc<Catalog>, Stored)> {
    let found = find_if_any(scope, name).await?;
    found.ok_or_else(|| Error::new(SqlState::UNDEFINED_OBJECT, format!("task \"{name}\" does not exist")))
}

/// What a statement says of when a task runs, with its names resolved. Fails with 42704 for a name that is
/// neither a task nor a materialized view, 22023 for a schedule that means nothing.
pub async fn trigger(scope: &Scope, catalog: &Arc<Catalog>, clause: &TriggerClause) -> Result<Trigger> {
    let names = match clause {
        TriggerClause::None => return Ok(Trigger::None),
        TriggerClause::Schedule(schedule) => {
            schedule.check()?;
            return Ok(Trigger::Schedule(schedule.clone()));
        }
        TriggerClause::After(names) => names,
    };
    let mut after: Vec<TableIdent> = Vec::with_capacity(names.len());
    for name in names {
        let (own, idents) = candidates(scope, name)?;
        if own.name() != catalog.name() {
            let message = format!("\"{name}\" is in another database");
            return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message)
                .with_detail("A task comes after tasks and materialized views of its own database."));
        }
        let mut found = None;
        for ident in idents {
            let is_task = Task::find(&own, &ident).await?.is_some();
            let is_view = || async {
                let table = scope.tables.get(&own, &ident).await?;
                Ok::<_, Error>(table.is_some_and(|table| is_materialized_view(&table.snapshot.properties)))
            };
            if is_task || is_view().await? {
                found = Some(ident);
                break;
            }
        }
        let Some(ident) = found else {
            let message = format!("\"{name}\" is neither a task nor a materialized view");
            return Err(Error::new(SqlState::UNDEFINED_OBJECT, message));
        };
        if !after.contains(&ident) {
            after.push(ident);
        }
    }
    Ok(Trigger::After(after))
}

/// Fails with 42P17 if the task would come after itself.
async fn check_cycle(scope: &Scope, catalog: &Arc<Catalog>, task: &Task) -> Result<()> {
    if task.trigger.after().is_empty() {
        return Ok(());
    }
    let others = Task::all(catalog).await?.into_iter().map(|stored| stored.task);
    let others: Vec<Task> = others.filter(|other| other.ident != task.ident).collect();
    let views = reads_of_views(scope, catalog).await?;
    run_task::check_cycle(catalog, task, &others, &views)
}

/// What each materialized view was last built from.
async fn reads_of_views(scope: &Scope, catalog: &Arc<Catalog>) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut views = BTreeMap::new();
    for summary in catalog.table_summaries().await?.tables() {
        let Ok(snapshot) = &summary.snapshot else { continue };
        if !is_materialized_view(&snapshot.properties) {
            continue;
        }
        let Some(table) = scope.tables.get(catalog, &summary.entry.ident).await? else { continue };
        let Some(built) = Provenance::of(&table).await? else { continue };
        let own = built.sources.into_iter().filter(|(_, version)| version.via.is_none());
        views.insert(format!("{}.{}", catalog.name(), table.ident), own.map(|(name, _)| name).collect());
    }
    Ok(views)
}

/// Fails with 25001 in a transaction block.
fn refuse_block(session: &Session, what: &str) -> Result<()> {
    match &session.block {
        Some(block) if block.implicit => {
            let message = format!("{what} cannot be one of several statements of a query string");
            Err(Error::new(SqlState::ACTIVE_TRANSACTION, message))
        }
        Some(_) => {
            let message = format!("{what} cannot run inside a transaction block");
            Err(Error::new(SqlState::ACTIVE_TRANSACTION, message))
        }
        None => Ok(()),
    }
}
