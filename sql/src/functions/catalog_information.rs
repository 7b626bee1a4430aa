//! System catalog information functions (manual 9.26.4, tables 9.75 and 9.76).

use datafusion::error::Result;

use super::function::{Call, Definition, oid, text};
use super::string::quote_ident;
use crate::pg_catalog::CatalogContext;
use crate::pg_catalog::foreign_key::StoredKey;
use crate::pg_catalog::image::{ForeignKey, Found, Relation};
use crate::pg_catalog::static_rows::{Proc, proc_by_oid};
use crate::pg_catalog::types;
use crate::pg_catalog::value::Value;

pub const FUNCTIONS: &[Definition] = &[
    Definition::called_on_null("format_type", "text", (2, 2), format_type),
    Definition::strict("pg_get_expr", "text", (2, 3), |_, arguments| {
        // Expressions are kept as SQL text.
        Ok(text(arguments, 0).into())
    }),
    Definition::strict("pg_get_constraintdef", "text", (1, 2), constraint_definition),
    Definition::strict("pg_get_indexdef", "text", (1, 3), index_definition_of),
    Definition::strict("pg_get_viewdef", "text", (1, 2), view_definition),
    Definition::strict("pg_get_userbyid", "name", (1, 1), user_by_id),
    Definition::strict("pg_get_partkeydef", "text", (1, 1), |_, _| Ok(Value::Null)),
    Definition::strict("pg_get_ruledef", "text", (1, 2), |_, _| Ok(Value::Null)),
    Definition::strict("pg_get_triggerdef", "text", (1, 2), |_, _| Ok(Value::Null)),
    Definition::strict("pg_get_statisticsobjdef", "text", (1, 1), |_, _| Ok(Value::Null)),
    Definition::strict("pg_get_statisticsobjdef_columns", "text", (1, 1), |_, _| Ok(Value::Null)),
    Definition::strict("pg_get_partition_constraintdef", "text", (1, 1), |_, _| Ok(Value::Null)),
    // Sequences do not exist, so no column owns one.
    Definition::strict("pg_get_serial_sequence", "text", (2, 2), |_, _| Ok(Value::Null)),
    Definition::strict("pg_get_functiondef", "text", (1, 1), |_, _| Ok(Value::Null)),
    Definition::strict("pg_get_function_sqlbody", "text", (1, 1), |_, _| Ok(Value::Null)),
    Definition::strict("pg_get_function_result", "text", (1, 1), function_result),
    Definition::strict("pg_get_function_arguments", "text", (1, 1), function_arguments),
    Definition::strict("pg_get_function_identity_arguments", "text", (1, 1), function_arguments),
    Definition::strict("pg_tablespace_location", "text", (1, 1), |_, _| Ok("".into())),
    Definition::strict("pg_relation_is_publishable", "bool", (1, 1), |_, _| Ok(false.into())),
    // Tables are not partitioned in Postgres' sense: no partition has ancestors.
    Definition::strict("pg_partition_ancestors", "regclass", (1, 1), |_, _| Ok(Value::Null)),
    Definition::strict("pg_partition_root", "regclass", (1, 1), |_, _| Ok(Value::Null)),
    Definition::strict("pg_describe_object", "text", (3, 3), describe_object),
    Definition::strict("pg_index_column_has_property", "bool", (3, 3), |_, _| Ok(Value::Null)),
    Definition::strict("pg_indexam_has_property", "bool", (2, 2), |_, arguments| {
        Ok(matches!(text(arguments, 1), "can_order" | "can_unique" | "can_multi_col").into())
    }),
    Definition::strict("pg_index_has_property", "bool", (2, 2), |_, _| Ok(Value::Null)),
    Definition::strict("pg_options_to_table", "text", (1, 1), |_, _| Ok(Value::Null)),
];

fn format_type(_: &Call<'_>, arguments: &[Value]) -> Result<Value> {
    let Some(oid) = arguments.first().and_then(Value::as_oid) else { return Ok(Value::Null) };
    let modifier = arguments.get(1).and_then(Value::as_int).and_then(|m| i32::try_from(m).ok());
    Ok(types::format_type(oid, modifier).into())
}

fn key_columns(relation: &Relation) -> String {
    relation.key_columns().into_iter().map(quote_ident).collect::<Vec<_>>().join(", ")
}

fn constraint_definition(call: &Call<'_>, arguments: &[Value]) -> Result<Value> {
    let wanted = oid(arguments, 0);
    let relations = &call.catalog()?.image.relations;
    let key = relations.iter().find(|r| !r.key.is_empty() && r.key_constraint_oid() == wanted);
    if let Some(relation) = key {
        return Ok(format!("PRIMARY KEY ({})", key_columns(relation)).into());
    }
    let mut foreign = relations
        .iter()
        .flat_map(|relation| relation.numbered_foreign_keys().map(move |(oid, key)| (oid, relation, key)));
    if let Some((_, relation, key)) = foreign.find(|(oid, ..)| *oid == wanted) {
        return Ok(foreign_key_definition(call.catalog()?, relation, key).into());
    }
    let mut checks = relations.iter().flat_map(Relation::numbered_checks);
    let check = checks.find(|(oid, _)| *oid == wanted).map(|(_, check)| check);
    let pretty = matches!(arguments.get(1), Some(Value::Bool(true)));
    Ok(check
        .map(|check| match pretty {
            true => format!("CHECK ({})", check.condition),
            false => format!("CHECK (({}))", check.condition),
        })
        .into())
}

/// A foreign key as PostgreSQL 18 shows one that nothing enforces.
fn foreign_key_definition(context: &CatalogContext, relation: &Relation, key: &ForeignKey) -> Option<String> {
    let Some(Found::User(other)) = context.image.relation_by_oid(key.table) else { return None };
    let mut to = quote_ident(&other.name);
    let seen = context.image.relation_in_path(&context.info.search_path, &other.name);
    if seen.is_none_or(|seen| seen.oid() != other.oid) {
        to = format!("{}.{to}", quote_ident(&other.namespace));
    }
    let names = |names: Vec<&str>| names.into_iter().map(str::to_string).collect();
    let key = StoredKey {
        columns: names(relation.column_names(&key.columns)),
        references: names(other.column_names(&key.referenced)),
        on_update: key.on_update,
        on_delete: key.on_delete,
        match_full: key.match_full,
        ..StoredKey::default()
    };
    Some(key.definition(&to))
}

/// The CREATE INDEX that a key amounts to.
pub fn index_definition(relation: &Relation) -> String {
    format!(
        "CREATE UNIQUE INDEX {} ON {}.{} USING btree ({})",
        quote_ident(&relation.key_name()),
        quote_ident(&relation.namespace),
        quote_ident(&relation.name),
        key_columns(relation)
    )
}

fn index_definition_of(call: &Call<'_>, arguments: &[Value]) -> Result<Value> {
    let Some(Found::KeyIndex(relation)) = call.catalog()?.image.relation_by_oid(oid(arguments, 0)) else {
        return Ok(Value::Null);
    };
    let column = arguments.get(1).and_then(Value::as_int).unwrap_or_default();
    Ok(match usize::try_from(column) {
        Ok(0) => index_definition(relation).into(),
        // One column only; Postgres gives an empty text when there is no such column.
        Ok(n) => relation.key_columns().get(n - 1).map_or_else(String::new, |c| quote_ident(c)).into(),
        Err(_) => "".into(),
    })
}

fn view_definition(call: &Call<'_>, arguments: &[Value]) -> Result<Value> {
    let context = call.catalog()?;
    let found = match arguments.first() {
        Some(value) if value.as_oid().is_some() => context.image.relation_by_oid(oid(arguments, 0)),
        Some(Value::Text(name)) => super::object_identifier::find_relation(context, name),
        _ => None,
    };
    let Some(Found::User(relation)) = found else { return Ok(Value::Null) };
    Ok(relation.definition.as_ref().map(|sql| format!(" {};", sql.trim().trim_end_matches(';'))).into())
}

fn user_by_id(call: &Call<'_>, arguments: &[Value]) -> Result<Value> {
    let wanted = oid(arguments, 0);
    let roles = crate::pg_catalog::roles(call.catalog()?);
    Ok(roles
        .into_iter()
        .find(|role| role.oid == wanted)
        .map_or_else(|| format!("unknown (OID={wanted})"), |role| role.name)
        .into())
}

fn function_result(_: &Call<'_>, arguments: &[Value]) -> Result<Value> {
    let Some(proc) = proc_by_oid(oid(arguments, 0)) else { return Ok(Value::Null) };
    let result = types::format_type(proc.result, None);
    Ok(if proc.is_set { format!("SETOF {result}") } else { result }.into())
}

fn function_arguments(_: &Call<'_>, arguments: &[Value]) -> Result<Value> {
    Ok(proc_by_oid(oid(arguments, 0)).map(signature).into())
}

/// A function's arguments as `\df` shows them.
fn signature(proc: &Proc) -> String {
    let all = if proc.all_arguments.is_empty() { &proc.arguments } else { &proc.all_arguments };
    let describe = |(i, pg_type): (usize, &u32)| {
        let mode = match proc.modes.get(i).map(String::as_str) {
            Some("o") => "OUT ",
            Some("b") => "INOUT ",
            Some("v") => "VARIADIC ",
            Some("t") => return None,
            _ if proc.variadic != 0 && i + 1 == all.len() => "VARIADIC ",
            _ => "",
        };
        let name = proc.argument_names.get(i).filter(|name| !name.is_empty());
        let name = name.map(|name| format!("{name} ")).unwrap_or_default();
        Some(format!("{mode}{name}{}", types::format_type(*pg_type, None)))
    };
    all.iter().enumerate().filter_map(describe).collect::<Vec<_>>().join(", ")
}

fn describe_object(call: &Call<'_>, arguments: &[Value]) -> Result<Value> {
    let found = call.catalog()?.image.relation_by_oid(oid(arguments, 1));
    Ok(found.map(|found| format!("table {}", found.name())).into())
}
