//! What a definition and the relation of its name differ in.

use std::collections::BTreeMap;

use auric_catalog::registry::Table;
use auric_catalog::table::{
    Alteration, Comment, Operation, PropertyChange, TableDefinition, TableFormat, TableSnapshot, Transform,
};
use auric_catalog::view::View;

use super::read::{Item, Key};
use super::{Action, compare_task};
use crate::error::{Error, Result, SqlState};
use crate::materialize::definition::{Definition, normal_form};
use crate::parser::Parsed;
use crate::parser::statement::{CreateMaterializedView, CreateView, Statement};
use crate::planner::Scope;
use crate::session::Session;
use crate::statement::materialized_view::create::{self, Planned};

/// Compares. Fails with 42809 if the name is another kind of relation's, and as planning fails.
pub(super) async fn action(session: &mut Session, item: &Item) -> Result<Action> {
    let scope = session.scope().await?;
    match (&item.key, item.parsed.statement.as_ref()) {
        (Key::Schema { catalog, name }, _) => {
            let schemas = session.catalog(catalog)?.namespaces().await?;
            let exists = schemas.iter().any(|schema| schema.name == *name);
            Ok(if exists { Action::Keep } else { Action::Create })
        }
        (_, Statement::CreateTask(create)) => compare_task::action(session, create).await,
        (_, Statement::CreateView(create)) => view(&scope, create).await,
        (_, Statement::CreateMaterializedView(create)) => {
            Ok(difference(&scope, create, &item.parsed).await?.action())
        }
        _ => Err(Error::new(SqlState::INTERNAL_ERROR, "a definition of nothing")),
    }
}

async fn view(scope: &Scope, create: &CreateView) -> Result<Action> {
    let (catalog, ident) = scope.new_table(&create.name)?;
    let Some(present) = catalog.view(&ident).await? else { return Ok(Action::Create) };
    let View { definition, .. } = &present;
    let mut reasons = Vec::new();
    if normal_form(&definition.sql) != normal_form(&create.text) {
        reasons.push("another query".to_string());
    } else if definition.search_path != scope.info.search_path {
        reasons.push("another search path".to_string());
    }
    let mut named = create.columns.iter().zip(definition.columns.fields());
    if named.any(|(wanted, present)| wanted != present.name()) {
        reasons.push("other names of columns".to_string());
    }
    if create.comment.as_ref().is_some_and(|wanted| Some(wanted) != definition.comment.as_ref()) {
        reasons.push("another comment".to_string());
    }
    Ok(if reasons.is_empty() { Action::Keep } else { Action::Replace(reasons) })
}

/// What a materialized view that exists lacks of its definition.
struct Difference {
    /// `None`: there is none of this name.
    table: Option<Table>,
    reasons: Vec<String>,
    /// Words for what is altered.
    settings: Vec<String>,
    properties: PropertyChange,
    comment: Option<Comment>,
}

impl Difference {
    fn action(self) -> Action {
        match self.table {
            None => Action::Create,
            Some(_) if !self.reasons.is_empty() => Action::Replace(self.reasons),
            Some(_) if !self.settings.is_empty() => Action::Alter(self.settings),
            Some(_) => Action::Keep,
        }
    }
}

/// Sets what differs without touching a row.
pub(super) async fn alter(session: &mut Session, item: &Item) -> Result<()> {
    let create = match item.parsed.statement.as_ref() {
        Statement::CreateMaterializedView(create) => create,
        Statement::CreateTask(create) => return compare_task::alter(session, create).await,
        _ => {
            return Err(Error::new(
                SqlState::INTERNAL_ERROR,
                "only materialized views and tasks are altered",
            ));
        }
    };
    session.check_writable("ALTER MATERIALIZED VIEW")?;
    let scope = session.scope().await?;
    let Difference { table, properties, comment, .. } = difference(&scope, create, &item.parsed).await?;
    let Some(table) = table else {
        let message = format!("materialized view {} does not exist any more", item.key);
        return Err(Error::new(SqlState::SERIALIZATION_FAILURE, message));
    };
    table.check_writable(Operation::Alter)?;
    if !properties.set.is_empty() || !properties.unset.is_empty() {
        scope.tables.alter(&table, Alteration::Properties(properties)).await?;
    }
    if let Some(comment) = comment {
        let scope = session.scope().await?;
        let table = scope.table(&create.table.name, &item.parsed).await?;
        scope.tables.alter(&table, Alteration::Comments(vec![comment])).await?;
    }
    Ok(())
}

async fn difference(scope: &Scope, create: &CreateMaterializedView, parsed: &Parsed) -> Result<Difference> {
    let mut found = Difference {
        table: None,
        reasons: Vec::new(),
        settings: Vec::new(),
        properties: PropertyChange::default(),
        comment: None,
    };
    let mut wanted = create.clone();
    (wanted.table.or_replace, wanted.table.if_not_exists) = (true, false);
    let planned = match create::plan(scope, &wanted, parsed).await {
        Ok(planned) => planned,
        Err(e) if matches!(e.code, SqlState::UNDEFINED_TABLE | SqlState::UNDEFINED_COLUMN) => {
            return by_text(scope, create, parsed, found, e).await;
        }
        Err(e) => return Err(e),
    };
    let Some(table) = planned.existing.clone() else { return Ok(found) };
    let Some(present) = Definition::of(&table.snapshot.properties)? else { return Ok(found) };
    let definition = create::table_definition(scope, &wanted, &planned)?;
    rows(&mut found.reasons, &present, &planned.definition);
    layout(&mut found.reasons, &table.snapshot, &definition);
    refreshes(&mut found, &present, &planned);
    properties(&mut found, &table.snapshot, create);
    if let Some(text) = &create.table.comment
        && table.snapshot.comment.as_ref().filter(|text| !text.is_empty()) != Some(text)
    {
        found.settings.push("comment".to_string());
        found.comment = Some(Comment { column: None, text: Some(text.clone()) });
    }
    found.table = Some(table);
    Ok(found)
}

/// Its query cannot be planned: what it reads may be defined by the same files.
async fn by_text(
    scope: &Scope,
    create: &CreateMaterializedView,
    parsed: &Parsed,
    mut found: Difference,
    error: Error,
) -> Result<Difference> {
    let (catalog, ident) = scope.new_table(&create.table.name)?;
    if catalog.backend().table(&ident).await?.is_none() {
        return Ok(found);
    }
    let table = scope.table(&create.table.name, parsed).await?;
    match Definition::of(&table.snapshot.properties)? {
        Some(present) if normal_form(&present.query) != normal_form(&create.text) => {
            found.reasons.push("another query".to_string());
            found.table = Some(table);
            Ok(found)
        }
        _ => Err(error),
    }
}

/// Whether the rows would be others.
fn rows(reasons: &mut Vec<String>, present: &Definition, wanted: &Definition) {
    if present.hash() == wanted.hash() {
        return;
    }
    let mut differs = |differs: bool, what: &str| {
        if differs {
            reasons.push(what.to_string());
        }
    };
    differs(normal_form(&present.query) != normal_form(&wanted.query), "another query");
    differs(present.query_columns != wanted.query_columns, "other columns of the query");
    differs(present.search_path != wanted.search_path, "another search path");
    differs(present.expectations != wanted.expectations, "other expectations");
}

/// Whether the rows would lie elsewhere.
fn layout(reasons: &mut Vec<String>, present: &TableSnapshot, wanted: &TableDefinition) {
    let mut differs = |differs: bool, what: String| {
        if differs {
            reasons.push(what);
        }
    };
    differs(present.format != wanted.format, format!("format {}", wanted.format));
    let column = |id| present.schema.column_by_id(id).map(|(_, field)| field.name().clone());
    let names = present.schema.arrow.fields().iter().map(|field| field.name());
    differs(!names.eq(wanted.columns.iter().map(|column| &column.name)), "other names of columns".into());
    let spec = present.default_spec.fields.iter().filter(|field| field.transform != Transform::Void);
    let spec = spec.map(|field| (column(field.source_id), field.transform.clone()));
    let asked = wanted.partitioning.iter().map(|field| (Some(field.column.clone()), field.transform.clone()));
    differs(!spec.eq(asked), "another partitioning".into());
    let order = present.sort_order.fields.iter();
    let order = order.map(|f| (column(f.source_id), f.transform.clone(), f.descending, f.nulls_first));
    let asked = wanted.sorting.iter();
    let asked = asked.map(|f| (Some(f.column.clone()), f.transform.clone(), f.descending, f.nulls_first));
    differs(!order.eq(asked), "another sort order".into());
}

/// When and how it is refreshed. Whether its schedule rests is nothing that files say.
fn refreshes(found: &mut Difference, present: &Definition, planned: &Planned) {
    let wanted = Definition {
        suspended: present.suspended,
        populated: present.populated,
        // The letter of the text may differ.
        query: present.query.clone(),
        ..planned.definition.clone()
    };
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_string());
    if present.schedule != wanted.schedule {
        let shown = or_none(wanted.schedule.as_ref().map(ToString::to_string));
        found.settings.push(format!("schedule: {shown}"));
    }
    if present.policy != wanted.policy {
        found.settings.push(format!("refresh policy: {}", wanted.policy.words()));
    }
    if present.retries != wanted.retries {
        let shown = or_none(wanted.retries.map(|number| number.to_string()));
        found.settings.push(format!("retries: {shown}"));
    }
    if let Some(change) = present.change_to(&wanted).filter(|_| !found.settings.is_empty()) {
        found.properties = change;
    }
}

/// Table properties that are asked for. Others may stay: engines note down things of their own.
fn properties(found: &mut Difference, present: &TableSnapshot, create: &CreateMaterializedView) {
    let wanted: BTreeMap<&String, &String> =
        create.table.properties.iter().map(|(key, value)| (key, value)).collect();
    for (key, value) in wanted {
        match key.as_str() {
            // Formats keep these elsewhere.
            "format-version" if present.format == TableFormat::Iceberg => {
                if present.format_version != format!("v{value}") {
                    found.reasons.push(format!("format version {value}"));
                }
            }
            key if key.starts_with("delta.min") || key.starts_with("delta.feature.") => {}
            key if present.properties.get(key) == Some(value) => {}
            key => {
                found.settings.push(format!("{key} = {value}"));
                found.properties.set.insert(key.to_string(), value.clone());
            }
        }
    }
}
