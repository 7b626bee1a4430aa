//! `COMMENT ON`.

use auric_catalog::table::{Alteration, Comment, Operation};
use datafusion::sql::sqlparser::ast::ObjectName;

use super::super::{CommandTag, Output};
use crate::error::{Error, Result, SqlState};
use crate::materialize::definition::is_materialized_view;
use crate::parser::Parsed;
use crate::parser::statement::{CommentOn, Commented};
use crate::session::Session;

const DONE: Output = Output::Complete(CommandTag::Plain("COMMENT"));

/// What kind of relation the statement asks for.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Table,
    View,
    MaterializedView,
    Any,
}

pub async fn execute(session: &mut Session, comment: &CommentOn, parsed: &Parsed) -> Result<Output> {
    session.check_writable("COMMENT")?;
    // As in Postgres, the empty text is none.
    let text = comment.text.clone().filter(|text| !text.is_empty());
    let (relation, kind, column) = match &comment.object {
        Commented::Schema(name) => return on_schema(session, name, text).await,
        Commented::Table(name) => (name, Kind::Table, None),
        Commented::View(name) => (name, Kind::View, None),
        Commented::MaterializedView(name) => (name, Kind::MaterializedView, None),
        Commented::Column { relation, column } => (relation, Kind::Any, Some(column.clone())),
    };
    on_relation(session, relation, kind, Comment { column, text }, parsed).await
}

async fn on_schema(session: &mut Session, name: &ObjectName, text: Option<String>) -> Result<Output> {
    let (catalog, schema) = super::schema_name(session, name)?;
    let catalog = session.catalog(&catalog)?;
    catalog.comment_on_namespace(&schema, text.as_deref()).await?;
    Ok(DONE)
}

async fn on_relation(
    session: &mut Session,
    name: &ObjectName,
    kind: Kind,
    comment: Comment,
    parsed: &Parsed,
) -> Result<Output> {
    let scope = session.scope().await?;
    if let Some(view) = scope.view(name).await? {
        match kind {
            Kind::Table => return Err(is_no(&view.ident().name, "table")),
            Kind::MaterializedView => return Err(is_no(&view.ident().name, "materialized view")),
            Kind::View | Kind::Any => {}
        }
        require_column(&view.ident().name, &view.definition.columns, &comment)?;
        view.catalog.comment_on_view(&view, &comment).await?;
        return Ok(DONE);
    }
    let (table, _) = scope.own_table(name, parsed).await?;
    match (kind, is_materialized_view(&table.snapshot.properties)) {
        (Kind::View, _) => return Err(is_no(&table.ident.name, "view")),
        (Kind::Table, true) => return Err(is_no(&table.ident.name, "table")),
        (Kind::MaterializedView, false) => return Err(is_no(&table.ident.name, "materialized view")),
        (Kind::Table, false) | (Kind::MaterializedView, true) | (Kind::Any, _) => {}
    }
    require_column(&table.ident.name, &table.snapshot.schema.arrow, &comment)?;
    table.check_writable(Operation::Alter)?;
    scope.tables.alter(&table, Alteration::Comments(vec![comment])).await?;
    Ok(DONE)
}

fn is_no(name: &str, kind: &str) -> Error {
    Error::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{name}\" is not a {kind}"))
}

fn require_column(relation: &str, schema: &arrow::datatypes::Schema, comment: &Comment) -> Result<()> {
    match &comment.column {
        Some(column) if schema.fields().iter().all(|field| field.name() != column) => {
            let message = format!("column \"{column}\" of relation \"{relation}\" does not exist");
            Err(Error::new(SqlState::UNDEFINED_COLUMN, message))
        }
        _ => Ok(()),
    }
}
