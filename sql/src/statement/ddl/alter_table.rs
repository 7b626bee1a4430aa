//! `ALTER TABLE … ADD COLUMN`, `ADD CONSTRAINT … CHECK | FOREIGN KEY`, `DROP CONSTRAINT`, and table properties.

use std::sync::Arc;

use auric_catalog::registry::Table;
use auric_catalog::scan::LakeTable;
use auric_catalog::table::{Alteration, CheckConstraint, Operation, PropertyChange, TableFormat};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlanBuilder;
use futures::StreamExt;

use super::super::dml::condition;
use super::super::dml::execute::Attempts;
use super::super::{CommandTag, Output, rows};
use super::add_column;
use super::constraint::Declaring;
use super::foreign_key;
use crate::error::{Error, Result, SqlState};
use crate::parser::Parsed;
use crate::parser::statement::{AlterAction, AlterTable, CheckClause};
use crate::planner::Scope;
use crate::session::Session;

const DONE: Output = Output::Complete(CommandTag::Plain("ALTER TABLE"));

pub async fn execute(session: &mut Session, alter: &AlterTable, parsed: &Parsed) -> Result<Output> {
    session.check_writable("ALTER TABLE")?;
    let mut attempts = Attempts::new(session.block.is_some());
    loop {
        if let Some(outcome) = attempts.last(attempt(session, alter, parsed).await) {
            return outcome;
        }
    }
}

async fn attempt(session: &mut Session, alter: &AlterTable, parsed: &Parsed) -> Result<Output> {
    let scope = session.scope().await?;
    let table = match scope.changeable_table(&alter.name, parsed).await {
        Ok((table, _)) => table,
        Err(e) if e.code == SqlState::UNDEFINED_TABLE && alter.if_exists => {
            let message = format!("relation \"{}\" does not exist, skipping", alter.name);
            session.notice("NOTICE", SqlState::SUCCESSFUL_COMPLETION, message);
            return Ok(DONE);
        }
        Err(e) => return Err(e),
    };
    table.check_writable(Operation::Alter)?;
    let alteration = match &alter.action {
        AlterAction::AddColumns(clauses) => {
            let columns = add_column::columns(session, &table, clauses)?;
            if columns.is_empty() {
                return Ok(DONE);
            }
            Alteration::AddColumns(columns)
        }
        AlterAction::AddConstraint(clause) => added(&scope, &table, clause).await?,
        AlterAction::AddForeignKey(key) => foreign_key::added(session, &scope, &table, key, parsed).await?,
        AlterAction::DropConstraint { name, if_exists } => {
            let foreign_key = foreign_key::dropped(&table, name);
            let known = table.snapshot.constraints.iter().any(|constraint| constraint.name == *name);
            if !known && foreign_key.is_none() {
                let message =
                    format!("constraint \"{name}\" of relation \"{}\" does not exist", table.ident.name);
                if *if_exists {
                    session.notice("NOTICE", SqlState::SUCCESSFUL_COMPLETION, format!("{message}, skipping"));
                    return Ok(DONE);
                }
                return Err(Error::new(SqlState::UNDEFINED_OBJECT, message));
            }
            foreign_key.unwrap_or_else(|| Alteration::DropConstraint(name.clone()))
        }
        AlterAction::SetProperties(set) => {
            Alteration::Properties(PropertyChange { set: set.iter().cloned().collect(), unset: Vec::new() })
        }
        AlterAction::UnsetProperties(unset) => {
            let known = |key: &&String| table.snapshot.properties.contains_key(*key);
            let unset: Vec<String> = unset.iter().filter(known).cloned().collect();
            if unset.is_empty() {
                return Ok(DONE);
            }
            Alteration::Properties(PropertyChange { unset, ..PropertyChange::default() })
        }
    };
    scope.tables.alter(&table, alteration).await?;
    Ok(DONE)
}

async fn added(scope: &Scope, table: &Table, clause: &CheckClause) -> Result<Alteration> {
    let snapshot = &table.snapshot;
    if snapshot.format == TableFormat::Iceberg {
        return Err(super::constraint::not_in_iceberg());
    }
    let declaring = Declaring {
        scope,
        table: &table.ident.name,
        schema: snapshot.schema.arrow.as_ref().clone(),
        taken: snapshot.constraints.iter().map(|constraint| constraint.name.to_lowercase()).collect(),
    };
    let mut constraints = declaring.all(std::slice::from_ref(clause))?;
    let constraint = constraints
        .pop()
        .ok_or_else(|| Error::new(SqlState::INTERNAL_ERROR, "the constraint was not understood"))?;
    if is_violated(scope, table, &constraint).await? {
        let message = format!(
            "check constraint \"{}\" of relation \"{}\" is violated by some row",
            constraint.name, table.ident.name
        );
        return Err(Error::new(SqlState::CHECK_VIOLATION, message));
    }
    Ok(Alteration::AddConstraint(constraint))
}

/// Whether the table has a row that the constraint forbids.
async fn is_violated(scope: &Scope, table: &Table, constraint: &CheckConstraint) -> Result<bool> {
    let failed = |e: datafusion::error::DataFusionError| Error::from(&e);
    let provider = provider_as_source(Arc::new(LakeTable::new(table.clone())));
    let scan = LogicalPlanBuilder::scan(table.ident.name.as_str(), provider, None).map_err(failed)?;
    let satisfied = condition::of_row(scope, table, constraint, scan.schema(), 0)?;
    let plan = scan
        .filter(satisfied.is_not_true())
        .and_then(|plan| plan.limit(0, Some(1)))
        .and_then(LogicalPlanBuilder::build)
        .map_err(failed)?;
    let mut found = rows::stream(scope, rows::physical(scope, &plan).await?)?;
    while let Some(batch) = found.next().await {
        if batch.map_err(failed)?.num_rows() > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}
