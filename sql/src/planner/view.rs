//! Views in FROM clauses: their query is planned where they stand, with the search path that they
//! were made with.
//!
//! A view is bound to names, as in Iceberg's specification, not to objects as in Postgres: a table
//! that was dropped and made again is read again.

use std::sync::Arc;

use auric_catalog::TableIdent;
use auric_catalog::registry::{CatalogContents, TableSummary, ViewSummary};
use auric_catalog::view::{DIALECT, View};
use datafusion::common::TableReference;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, TableSource, col, ident};
use futures::future::{BoxFuture, FutureExt};

use super::relations::{Dependencies, Dependency};
use super::{PlannedQuery, Scope};
use crate::error::{Error, Result, SqlState};
use crate::materialize::definition::Definition;
use crate::parser::{self, Statement};

/// Views inside views: more are a mistake, and a danger to the stack.
const MAX_NESTING: usize = 32;

/// A view's plan.
pub struct Expanded {
    pub source: Arc<dyn TableSource>,
    /// What it reads, if that tells when the plan is out of date.
    pub dependencies: Option<Dependencies>,
}

/// Plans a view.
pub fn expand<'a>(scope: &'a Scope, view: &'a View) -> BoxFuture<'a, Result<Expanded>> {
    async move {
        let planned = plan(scope, view).await.map_err(|e| Error { position: None, ..e })?;
        let dependencies = planned.dependencies.map(|all| {
            let by_full_name = |mut one: Dependency| {
                let ident = &one.ident;
                one.name =
                    TableReference::full(one.catalog.clone(), ident.namespace.clone(), ident.name.clone());
                one
            };
            Dependencies { relations: all.relations.into_iter().map(by_full_name).collect(), ..all }
        });
        let table = ViewTable::new(planned.plan, Some(view.definition.sql.clone()));
        Ok(Expanded { source: provider_as_source(Arc::new(table)), dependencies })
    }
    .boxed()
}

async fn plan(scope: &Scope, view: &View) -> Result<PlannedQuery> {
    let definition = &view.definition;
    let readable = [DIALECT, "postgres", "postgresql"];
    if !readable.iter().any(|dialect| definition.dialect.eq_ignore_ascii_case(dialect)) {
        let message = format!(
            "view \"{}\" is written in the SQL dialect \"{}\", which is not supported",
            view.ident(),
            definition.dialect
        );
        return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message));
    }
    let inner = inside(scope, view)?;
    let parsed = match <[_; 1]>::try_from(parser::parse(&definition.sql)?) {
        Ok([parsed]) => parsed,
        Err(_) => return Err(corrupt(view, "its text is not one query")),
    };
    let Statement::Query(query) = parsed.statement.as_ref() else {
        return Err(corrupt(view, "its text is not a query"));
    };
    let mut planned = inner.plan_query(query, &[], &parsed).await?;
    planned.plan = with_columns_of(view, &planned)?;
    // A table that comes to stand before another one in the path is noticed by planning only.
    if definition.search_path.len() > 1 {
        planned.dependencies = None;
    }
    Ok(planned)
}

/// The scope that a view's query is planned in.
fn inside(scope: &Scope, view: &View) -> Result<Scope> {
    let key = (view.catalog.name().to_string(), view.ident().clone());
    if scope.expanding.contains(&key) || scope.expanding.len() >= MAX_NESTING {
        let message = format!("infinite recursion detected in rules for relation \"{}\"", view.ident().name);
        return Err(Error::new(SqlState::INVALID_OBJECT_DEFINITION, message));
    }
    let mut inner = scope.clone();
    inner.expanding.push(key);
    let mut info = scope.info.as_ref().clone();
    info.database = view.catalog.name().to_string();
    info.search_path = view.definition.search_path.clone();
    // A view means the same to every session.
    info.temporary = None;
    inner.info = Arc::new(info);
    Ok(inner)
}

/// The query's columns as the view has them: its names, and none that came later.
fn with_columns_of(view: &View, planned: &PlannedQuery) -> Result<datafusion::logical_expr::LogicalPlan> {
    let definition = &view.definition;
    let names: Vec<&str> = definition.columns.fields().iter().map(|field| field.name().as_str()).collect();
    let own = &definition.query_columns;
    if own.len() != names.len() {
        return Err(corrupt(view, "it names its columns twice"));
    }
    let position = |i: usize, name: &String| {
        let mut found = planned.columns.iter().enumerate().filter(|(_, column)| column.name == *name);
        match (found.next(), found.next()) {
            (Some((at, _)), None) => Some(at),
            // Not told apart by name: nothing was added to the query's columns, or they cannot be told.
            (Some(_), Some(_)) if planned.columns.len() == names.len() => Some(i),
            _ => None,
        }
    };
    let schema = planned.plan.schema();
    let mut columns = Vec::with_capacity(names.len());
    for (i, (name, own)) in names.iter().zip(own).enumerate() {
        let Some(at) = position(i, own).filter(|at| *at < schema.fields().len()) else {
            let message =
                format!("column \"{own}\" that view \"{}\" is made of does not exist", view.ident());
            return Err(Error::new(SqlState::UNDEFINED_COLUMN, message)
                .with_hint("Use CREATE OR REPLACE VIEW to define it anew."));
        };
        let (qualifier, field) = schema.qualified_field(at);
        let column = match qualifier {
            Some(qualifier) => {
                col(datafusion::common::Column::new(Some(qualifier.clone()), field.name().clone()))
            }
            None => ident(field.name()),
        };
        columns.push(named(column, field.name(), name));
    }
    LogicalPlanBuilder::from(planned.plan.clone())
        .project(columns)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|e| Error::from(&e))
}

fn named(column: Expr, from: &str, to: &str) -> Expr {
    if from == to { column } else { column.alias(to) }
}

fn corrupt(view: &View, reason: &str) -> Error {
    Error::new(SqlState::DATA_CORRUPTED, format!("view \"{}\" cannot be read: {reason}", view.ident()))
}

/// The views of a catalog that read the relation `ident`, by the names in their queries.
pub fn dependents<'a>(
    contents: &'a CatalogContents,
    catalog: &str,
    ident: &TableIdent,
) -> Vec<&'a TableIdent> {
    let reads = |view: &&ViewSummary| {
        let Ok(definition) = &view.definition else { return false };
        names(&definition.sql, &definition.search_path, contents, catalog, ident)
    };
    contents.views().filter(reads).map(|view| &view.entry.ident).collect()
}

/// The same of materialized views.
pub fn materialized_dependents<'a>(
    contents: &'a CatalogContents,
    catalog: &str,
    ident: &TableIdent,
) -> Vec<&'a TableIdent> {
    let reads = |table: &&TableSummary| {
        let Ok(snapshot) = &table.snapshot else { return false };
        let Ok(Some(definition)) = Definition::of(&snapshot.properties) else { return false };
        // Its old rows do not keep it from being dropped.
        let conditions = definition.expectations.iter().map(|e| format!("SELECT ({})", e.condition));
        table.entry.ident != *ident
            && std::iter::once(definition.query.clone())
                .chain(conditions)
                .any(|text| names(&text, &definition.search_path, contents, catalog, ident))
    };
    contents.tables().filter(reads).map(|table| &table.entry.ident).collect()
}

/// Whether a query names the relation `ident`.
fn names(
    sql: &str,
    search_path: &[String],
    contents: &CatalogContents,
    catalog: &str,
    ident: &TableIdent,
) -> bool {
    let Ok(parsed) = parser::parse(sql) else { return false };
    let Some(Statement::Query(query)) = parsed.first().map(|parsed| parsed.statement.as_ref()) else {
        return false;
    };
    parser::view::relations_of(query).iter().any(|name| {
        let Ok(name) = super::relations::reference(name) else { return false };
        if name.catalog().is_some_and(|named| named != catalog) || name.table() != ident.name {
            return false;
        }
        match name.schema() {
            Some(schema) => schema == ident.namespace,
            // The first schema of the path that has such a relation.
            None => {
                let has = |schema: &&String| {
                    let ident = TableIdent::new(schema.as_str(), &ident.name);
                    contents.table(&ident).is_some() || contents.view(&ident).is_some()
                };
                search_path.iter().find(has).is_some_and(|found| *found == ident.namespace)
            }
        }
    })
}
