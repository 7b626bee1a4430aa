//! `SHOW CREATE {TABLE | VIEW | MATERIALIZED VIEW}`: the statement that makes the relation as it is.

use std::fmt::Write as _;

use auric_catalog::registry::Table;
use auric_catalog::table::identity::PROPERTY as IDENTITY_PROPERTY;
use auric_catalog::table::schema::{DEFAULT_SQL, FOREIGN_KEY_PROPERTY, TEXT_TYPE_PROPERTY};
use auric_catalog::table::{PartitionSpec, TableFormat, Transform};
use datafusion::sql::sqlparser::ast::ObjectName;

use super::super::{CommandTag, Output, OutputColumn, condition, rows};
use super::find;
use crate::error::{Error, Result, SqlState};
use crate::functions::string::quote_ident;
use crate::materialize::definition::{Definition, PREFIX, RefreshPolicy, is_materialized_view};
use crate::parser::Parsed;
use crate::parser::statement::Shown;
use crate::pg_catalog::foreign_key::{self, StoredKey};
use crate::pg_catalog::types::format_type;
use crate::session::Session;
use crate::types::literal;

/// Column of the result.
pub fn column() -> OutputColumn {
    rows::text_column("create_statement")
}

pub async fn execute(session: &Session, kind: Shown, name: &ObjectName, parsed: &Parsed) -> Result<Output> {
    let scope = session.scope().await?;
    let text = match kind {
        Shown::MaterializedView => {
            let (table, definition) = find(&scope, name, parsed).await?;
            of_materialized_view(&table, &definition)
        }
        Shown::Table => {
            let table = scope.table(name, parsed).await?;
            if is_materialized_view(&table.snapshot.properties) {
                let message = format!("\"{}\" is not a table", table.ident.name);
                return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message)
                    .with_hint("Use SHOW CREATE MATERIALIZED VIEW."));
            }
            of_table(&table).await?
        }
        Shown::Task => return super::super::task::show_create::execute(session, name).await,
        Shown::View => match scope.view(name).await? {
            Some(view) => {
                let names = view.definition.columns.fields().iter().map(|field| quote_ident(field.name()));
                let names = names.collect::<Vec<_>>().join(", ");
                let (name, sql) = (qualified(view.ident()), view.definition.sql.trim_end());
                let comment = view.definition.comment.as_ref().filter(|text| !text.is_empty());
                let comment = comment.map(|text| format!("COMMENT {}\n", quoted(text))).unwrap_or_default();
                format!("CREATE VIEW {name} ({names})\n{comment}AS {sql}")
            }
            None => {
                let table = scope.table(name, parsed).await?;
                let message = format!("\"{}\" is not a view", table.ident.name);
                return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message));
            }
        },
    };
    let tag = CommandTag::Rows { verb: "SHOW", counted: false };
    rows::text_rows(vec![column()], &[vec![Some(text)]], tag)
}

fn qualified(ident: &auric_catalog::TableIdent) -> String {
    format!("{}.{}", quote_ident(&ident.namespace), quote_ident(&ident.name))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

async fn of_table(table: &Table) -> Result<String> {
    let snapshot = &table.snapshot;
    let schema = &snapshot.schema;
    let mut elements = Vec::new();
    for (field, id) in schema.arrow.fields().iter().zip(&schema.field_ids) {
        let (pg_type, modifier) = crate::types::pg_type(field);
        let mut element =
            format!("{} {}", quote_ident(field.name()), format_type(pg_type.oid(), Some(modifier)));
        if !field.is_nullable() {
            element.push_str(" NOT NULL");
        }
        let text = |key: &str| field.metadata().get(key).filter(|text| !text.is_empty());
        let written = || schema.write_defaults.get(id).and_then(literal::sql_text);
        if let Some(default) = text(DEFAULT_SQL).cloned().or_else(written) {
            let _ = write!(element, " DEFAULT {default}");
        }
        if let Some(identity) = schema.identity.get(id) {
            let generation = if identity.allow_explicit_insert { "BY DEFAULT" } else { "ALWAYS" };
            let (start, step) = (identity.start, identity.step);
            let _ = write!(
                element,
                " GENERATED {generation} AS IDENTITY (START WITH {start} INCREMENT BY {step})"
            );
        }
        if let Some(comment) = text(auric_catalog::table::schema::COMMENT) {
            let _ = write!(element, " COMMENT {}", quoted(comment));
        }
        elements.push(element);
    }
    let key: Vec<String> = schema
        .identifier_field_ids
        .iter()
        .filter_map(|id| schema.column_by_id(*id).map(|(_, field)| quote_ident(field.name())))
        .collect();
    if !key.is_empty() {
        elements.push(format!("PRIMARY KEY ({})", key.join(", ")));
    }
    for constraint in &snapshot.constraints {
        let condition = condition::shown(&constraint.expression);
        elements.push(format!("CONSTRAINT {} CHECK ({condition})", quote_ident(&constraint.name)));
    }
    elements.extend(foreign_keys(table).await?);
    let elements = elements.join(",\n    ");
    let text = format!("CREATE TABLE {} (\n    {elements})\n{}", qualified(&table.ident), clauses(table));
    Ok(text.trim_end().to_string())
}

/// Those to tables that there are.
async fn foreign_keys(table: &Table) -> Result<Vec<String>> {
    let own = &table.snapshot;
    let declared: Vec<_> = foreign_key::of(&own.properties).collect();
    if declared.is_empty() {
        return Ok(Vec::new());
    }
    let contents = table.catalog.table_summaries().await?;
    let text = |(name, key): (&str, StoredKey)| {
        let mut tables = contents.tables();
        let to = tables.find(|other| other.snapshot.as_ref().is_ok_and(|other| key.refers_to(own, other)))?;
        let definition = key.definition(&qualified(&to.entry.ident));
        Some(format!("CONSTRAINT {} {definition}", quote_ident(name)))
    };
    Ok(declared.into_iter().filter_map(text).collect())
}

fn of_materialized_view(table: &Table, definition: &Definition) -> String {
    let fields = table.snapshot.schema.arrow.fields();
    let names: Vec<&String> = fields.iter().map(|field| field.name()).collect();
    let mut elements: Vec<String> = Vec::new();
    if names != definition.query_columns.iter().collect::<Vec<_>>() {
        elements.extend(names.iter().map(|name| quote_ident(name)));
    }
    elements.extend(definition.expectations.iter().map(ToString::to_string));
    let mut text = format!("CREATE MATERIALIZED VIEW {}", qualified(&table.ident));
    if !elements.is_empty() {
        let _ = write!(text, " (\n    {})", elements.join(",\n    "));
    }
    text.push('\n');
    text.push_str(&clauses(table));
    if let Some(schedule) = &definition.schedule {
        let _ = writeln!(text, "{schedule}");
    }
    if definition.policy != RefreshPolicy::default() {
        let _ = writeln!(text, "REFRESH POLICY {}", definition.policy.words());
    }
    if let Some(retries) = definition.retries {
        let _ = writeln!(text, "RETRIES {retries}");
    }
    let _ = write!(text, "AS {}", definition.query);
    text
}

/// What a table is given after its columns, each clause on a line of its own.
fn clauses(table: &Table) -> String {
    let snapshot = &table.snapshot;
    let mut text = match snapshot.format {
        TableFormat::Iceberg => "USING ICEBERG\n".to_string(),
        TableFormat::Delta => "USING DELTA\n".to_string(),
    };
    let column = |id| snapshot.schema.column_by_id(id).map(|(_, field)| quote_ident(field.name()));
    let partitioning = partitioning(&snapshot.default_spec, column);
    if !partitioning.is_empty() {
        let _ = writeln!(text, "PARTITIONED BY ({})", partitioning.join(", "));
    }
    let sorting = snapshot.sort_order.fields.iter().filter_map(|field| {
        let column = transformed(&field.transform, column(field.source_id)?)?;
        let direction = if field.descending { " DESC" } else { "" };
        let nulls = if field.nulls_first { " NULLS FIRST" } else { " NULLS LAST" };
        Some(format!("{column}{direction}{nulls}"))
    });
    let sorting: Vec<String> = sorting.collect();
    if !sorting.is_empty() {
        let _ = writeln!(text, "SORTED BY ({})", sorting.join(", "));
    }
    if let Some(comment) = snapshot.comment.as_ref().filter(|comment| !comment.is_empty()) {
        let _ = writeln!(text, "COMMENT {}", quoted(comment));
    }
    let properties = snapshot.properties.iter().filter(|(key, _)| {
        !key.starts_with(PREFIX)
            && !key.starts_with(TEXT_TYPE_PROPERTY)
            && !key.starts_with(IDENTITY_PROPERTY)
            && !key.starts_with(FOREIGN_KEY_PROPERTY)
            && key.as_str() != "comment"
            // They come from other clauses, or of themselves.
            && !key.starts_with("delta.constraints.")
            && !key.starts_with("delta.columnMapping.maxColumnId")
    });
    let properties: Vec<String> =
        properties.map(|(key, value)| format!("{} = {}", quoted(key), quoted(value))).collect();
    if !properties.is_empty() {
        let _ = writeln!(text, "TBLPROPERTIES ({})", properties.join(", "));
    }
    text
}

fn partitioning(spec: &PartitionSpec, column: impl Fn(i32) -> Option<String>) -> Vec<String> {
    let fields = spec.fields.iter().filter(|field| field.transform != Transform::Void);
    fields.filter_map(|field| transformed(&field.transform, column(field.source_id)?)).collect()
}

/// `None`: a transform that SQL has no word for.
fn transformed(transform: &Transform, column: String) -> Option<String> {
    Some(match transform {
        Transform::Identity => column,
        Transform::Year => format!("years({column})"),
        Transform::Month => format!("months({column})"),
        Transform::Day => format!("days({column})"),
        Transform::Hour => format!("hours({column})"),
        Transform::Bucket(n) => format!("bucket({n}, {column})"),
        Transform::Truncate(n) => format!("truncate({n}, {column})"),
        Transform::Void | Transform::Unknown(_) => return None,
    })
}
