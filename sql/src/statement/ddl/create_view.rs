//! `CREATE [OR REPLACE] VIEW`.

use std::collections::HashSet;

use auric_catalog::registry::Catalog;
use auric_catalog::table::ColumnDefinition;
use auric_catalog::view::{NewView, View};

use super::super::{CommandTag, Output, not_supported};
use crate::error::{Error, Result, SqlState};
use crate::parser::Parsed;
use crate::parser::statement::CreateView;
use crate::parser::view::relations_of;
use crate::planner::{PlannedQuery, Scope, missing_parameter};
use crate::session::Session;

const DONE: Output = Output::Complete(CommandTag::Plain("CREATE VIEW"));

pub async fn execute(session: &mut Session, create: &CreateView, parsed: &Parsed) -> Result<Output> {
    session.check_writable("CREATE VIEW")?;
    let mut scope = session.scope().await?;
    let (catalog, ident) = scope.new_table(&create.name)?;
    let existing = catalog.view(&ident).await?;
    if existing.is_some() && create.if_not_exists {
        let message = format!("relation \"{}\" already exists, skipping", ident.name);
        session.notice("NOTICE", SqlState::DUPLICATE_TABLE, message);
        return Ok(DONE);
    }
    if create.or_replace && catalog.backend().table(&ident).await?.is_some() {
        let message = format!("\"{}\" is not a view", ident.name);
        return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message));
    }
    refuse_temporary(&scope, &catalog, create).await?;
    // A view that would read itself is found out here.
    scope.reads_unpopulated = true;
    scope.expanding.push((catalog.name().to_string(), ident.clone()));
    let planned = scope.plan_query(&create.query, &[], parsed).await?;
    if !planned.parameters.is_empty() {
        return Err(missing_parameter(1));
    }
    let view = NewView {
        sql: create.text.clone(),
        search_path: scope.info.search_path.clone(),
        columns: columns(create, &planned)?,
        comment: create.comment.clone(),
        query_columns: planned.columns.iter().map(|column| column.name.clone()).collect(),
    };
    match existing {
        Some(existing) if create.or_replace => {
            check_replaceable(&existing, &view)?;
            let comment = view.comment.clone().or_else(|| existing.definition.comment.clone());
            catalog.replace_view(&existing, &NewView { comment, ..view }).await?;
        }
        _ => catalog.create_view(&ident, &view).await?,
    }
    Ok(DONE)
}

/// A view lasts, and means the same to everyone.
async fn refuse_temporary(scope: &Scope, catalog: &Catalog, create: &CreateView) -> Result<()> {
    let mut reads_temporary = catalog.is_temporary();
    for name in relations_of(&create.query) {
        reads_temporary |= scope.is_temporary(&name).await?;
    }
    match reads_temporary {
        true => Err(not_supported("a temporary view, or a view of a temporary table,")),
        false => Ok(()),
    }
}

fn columns(create: &CreateView, planned: &PlannedQuery) -> Result<Vec<ColumnDefinition>> {
    if create.columns.len() > planned.columns.len() {
        let message = "CREATE VIEW specifies more column names than columns";
        return Err(Error::new(SqlState::SYNTAX_ERROR, message));
    }
    let mut names = HashSet::new();
    let fields = planned.plan.schema().fields();
    planned
        .columns
        .iter()
        .zip(fields)
        .enumerate()
        .map(|(i, (output, field))| {
            let name = create.columns.get(i).unwrap_or(&output.name);
            if !names.insert(name.clone()) {
                let message = format!("column \"{name}\" specified more than once");
                return Err(Error::new(SqlState::DUPLICATE_COLUMN, message));
            }
            let data_type = field.data_type().clone();
            Ok(ColumnDefinition {
                name: name.clone(),
                data_type,
                nullable: true,
                comment: None,
                identity: None,
                default: None,
            })
        })
        .collect()
}

/// Who reads the view must still find its columns: they keep names and order; new ones come after them.
fn check_replaceable(existing: &View, view: &NewView) -> Result<()> {
    let old = existing.definition.columns.fields();
    if view.columns.len() < old.len() {
        return Err(Error::new(SqlState::INVALID_TABLE_DEFINITION, "cannot drop columns from view"));
    }
    for (before, after) in old.iter().zip(&view.columns) {
        if *before.name() != after.name {
            let message =
                format!("cannot change name of view column \"{}\" to \"{}\"", before.name(), after.name);
            return Err(Error::new(SqlState::INVALID_TABLE_DEFINITION, message)
                .with_hint("Use DROP VIEW and CREATE VIEW for a view with other columns."));
        }
    }
    Ok(())
}
