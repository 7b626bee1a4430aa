//! `CREATE OR REPLACE TABLE [AS]` of a table that exists: one commit, so that readers see the table as it was
//! or as it becomes. Its history, its identity and what was granted on it stay.

use auric_catalog::dml::insert;
use auric_catalog::dml::publish::Publish;
use auric_catalog::registry::Table;
use auric_catalog::storage::{from_url, to_url};

use super::super::dml::execute::Attempts;
use super::super::{CommandTag, Output, dml, not_supported, rows};
use super::create_table;
use crate::error::{Error, Result, SqlState};
use crate::materialize::definition::is_materialized_view;
use crate::parser::Parsed;
use crate::parser::statement::CreateTable;
use crate::planner::Scope;
use crate::session::Session;

pub async fn execute(
    session: &Session,
    scope: &Scope,
    table: &Table,
    create: &CreateTable,
    parsed: &Parsed,
) -> Result<Output> {
    if session.block.is_some() {
        return Err(not_supported("CREATE OR REPLACE of a table that exists in a transaction block")
            .with_hint("Use it outside of a block, or TRUNCATE and INSERT."));
    }
    if table.catalog.is_temporary() {
        return Err(
            not_supported("CREATE OR REPLACE of a temporary table").with_hint("Use DROP TABLE first.")
        );
    }
    if is_materialized_view(&table.snapshot.properties) {
        let message = format!("\"{}\" is not a table", table.ident.name);
        return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message)
            .with_hint("Use CREATE OR REPLACE MATERIALIZED VIEW, or DROP MATERIALIZED VIEW first."));
    }
    check_location(table, create)?;
    let planned = match &create.query {
        Some(query) => Some(scope.plan_query(query, &[], parsed).await?),
        None => None,
    };
    let format = table.snapshot.format;
    let definition = create_table::definition(scope, &table.ident.name, create, planned.as_ref(), format)?;
    let staged = table.catalog.stage_replacement(table, &definition)?;
    let Some(planned) = planned.filter(|_| !create.with_no_data) else {
        table.catalog.replace_staged(&staged).await?;
        return Ok(Output::Complete(CommandTag::Plain("CREATE TABLE")));
    };
    let plan = create_table::rows_of(scope, &staged, &planned)?;
    let mut attempts = Attempts::once();
    let count = loop {
        let scope = attempts.adapt(scope.clone());
        let input = rows::physical(&scope, &plan).await?;
        let plan = insert::plan_replacing(&staged, input, Publish::Now).map_err(|e| Error::from(&e))?;
        if let Some(count) = attempts.last(dml::write::count(&scope, plan).await) {
            break count?;
        }
    };
    Ok(Output::Complete(CommandTag::Count("SELECT", count)))
}

fn check_location(table: &Table, create: &CreateTable) -> Result<()> {
    let Some(location) = &create.location else { return Ok(()) };
    let asked = from_url(&to_url(location)?)?;
    if asked.trim_end_matches('/') == table.snapshot.location.trim_end_matches('/') {
        return Ok(());
    }
    let message = format!("table \"{}\" is at \"{}\"", table.ident, table.snapshot.location);
    Err(Error::new(SqlState::INVALID_TABLE_DEFINITION, message)
        .with_hint("Leave out LOCATION to replace it where it is, or use DROP TABLE first."))
}
