//! Access privilege inquiry functions (manual 9.26.2, table 9.72). Whoever may connect may do everything;
//! the predefined roles, which nobody has, may do nothing. What there is not is an error as in Postgres where
//! it is named, and NULL where it is told by its OID.

use datafusion::error::{DataFusionError, Result};

use super::function::{Call, Definition, error};
use super::object_identifier::find_relation;
use crate::pg_catalog::image::Found;
use crate::pg_catalog::value::Value;
use crate::pg_catalog::{CatalogContext, roles, static_rows, types};

pub const FUNCTIONS: &[Definition] = &[
    Definition::strict("has_any_column_privilege", "bool", (2, 3), |call, arguments| {
        inquire(call, arguments, COLUMN, relation)
    }),
    Definition::strict("has_column_privilege", "bool", (3, 4), has_column_privilege),
    Definition::strict("has_database_privilege", "bool", (2, 3), |call, arguments| {
        inquire(call, arguments, &["CREATE", "TEMPORARY", "TEMP", "CONNECT"], database)
    }),
    Definition::strict("has_foreign_data_wrapper_privilege", "bool", (2, 3), |call, arguments| {
        inquire(call, arguments, USAGE, |_, wrapper| missing(wrapper, "42704", "foreign-data wrapper"))
    }),
    Definition::strict("has_function_privilege", "bool", (2, 3), |call, arguments| {
        inquire(call, arguments, &["EXECUTE"], function)
    }),
    Definition::strict("has_language_privilege", "bool", (2, 3), |call, arguments| {
        inquire(call, arguments, USAGE, |_, _| Ok(true))
    }),
    Definition::strict("has_parameter_privilege", "bool", (2, 3), |call, arguments| {
        inquire(call, arguments, &["SET", "ALTER SYSTEM"], |_, _| Ok(true))
    }),
    Definition::strict("has_schema_privilege", "bool", (2, 3), |call, arguments| {
        inquire(call, arguments, &["CREATE", "USAGE"], schema)
    }),
    Definition::strict("has_sequence_privilege", "bool", (2, 3), |call, arguments| {
        inquire(call, arguments, &["USAGE", "SELECT", "UPDATE"], sequence)
    }),
    Definition::strict("has_server_privilege", "bool", (2, 3), |call, arguments| {
        inquire(call, arguments, USAGE, |_, server| missing(server, "42704", "server"))
    }),
    Definition::strict("has_table_privilege", "bool", (2, 3), |call, arguments| {
        inquire(call, arguments, TABLE, relation)
    }),
    Definition::strict("has_tablespace_privilege", "bool", (2, 3), |call, arguments| {
        inquire(call, arguments, &["CREATE"], |_, _| Ok(true))
    }),
    Definition::strict("has_type_privilege", "bool", (2, 3), |call, arguments| {
        inquire(call, arguments, USAGE, data_type)
    }),
    Definition::strict("pg_has_role", "bool", (2, 3), |call, arguments| {
        inquire(call, arguments, &["USAGE", "MEMBER"], |context, role| {
            Ok(may_do_all(context, role)?.is_some())
        })
    }),
    Definition::strict("row_security_active", "bool", (1, 1), |call, arguments| match arguments.first() {
        Some(table) if relation(call.catalog()?, table)? => Ok(false.into()),
        _ => Ok(Value::Null),
    }),
];

const USAGE: &[&str] = &["USAGE"];
const COLUMN: &[&str] = &["SELECT", "INSERT", "UPDATE", "REFERENCES"];
const TABLE: &[&str] = &["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "RULE"];

/// Whether there is the object; `false`: not with that OID. Fails for a name that nothing has.
type Find = fn(&CatalogContext, &Value) -> Result<bool>;

/// `[user,] object, privileges`.
fn inquire(call: &Call<'_>, arguments: &[Value], known: &[&str], find: Find) -> Result<Value> {
    let context = call.catalog()?;
    let (user, object, privileges) = match arguments {
        [object, privileges] => (None, object, privileges),
        [user, object, privileges] => (Some(user), object, privileges),
        _ => return Err(DataFusionError::Internal("two or three arguments expected".into())),
    };
    answer(context, user, || find(context, object), privileges, known)
}

fn answer(
    context: &CatalogContext,
    user: Option<&Value>,
    find: impl FnOnce() -> Result<bool>,
    privileges: &Value,
    known: &[&str],
) -> Result<Value> {
    let allowed = match user {
        Some(user) => may_do_all(context, user)?,
        None => Some(true),
    };
    let found = find()?;
    check_privileges(privileges.as_text().unwrap_or_default(), known)?;
    Ok(match allowed {
        Some(allowed) if found => allowed.into(),
        _ => Value::Null,
    })
}

/// Whether a role may do everything; `None`: no role has that OID. Fails with 42704.
fn may_do_all(context: &CatalogContext, user: &Value) -> Result<Option<bool>> {
    let mut roles = roles(context).into_iter();
    match user {
        // Everybody, who has been granted nothing.
        Value::Text(name) if name == "public" => Ok(Some(false)),
        Value::Text(name) => match roles.find(|role| role.name == *name) {
            Some(role) => Ok(Some(role.is_superuser)),
            None => Err(error("42704", format!("role \"{name}\" does not exist"))),
        },
        oid => Ok(roles.find(|role| Some(role.oid) == oid.as_oid()).map(|role| role.is_superuser)),
    }
}

/// `SELECT, UPDATE WITH GRANT OPTION`.
fn check_privileges(text: &str, known: &[&str]) -> Result<()> {
    for word in text.split(',') {
        let upper = word.trim().to_uppercase();
        let plain = [" WITH GRANT OPTION", " WITH ADMIN OPTION"]
            .iter()
            .find_map(|option| upper.strip_suffix(option))
            .unwrap_or(&upper);
        if !known.contains(&plain) {
            return Err(error("22023", format!("unrecognized privilege type: \"{}\"", word.trim())));
        }
    }
    Ok(())
}

fn missing(object: &Value, code: &'static str, kind: &str) -> Result<bool> {
    match object {
        Value::Text(name) => Err(error(code, format!("{kind} \"{name}\" does not exist"))),
        _ => Ok(false),
    }
}

/// `None`: no relation has that OID. Fails with 42P01.
fn found<'a>(context: &'a CatalogContext, table: &Value) -> Result<Option<Found<'a>>> {
    match table {
        Value::Text(name) => match find_relation(context, name) {
            Some(found) => Ok(Some(found)),
            None => Err(error("42P01", format!("relation \"{name}\" does not exist"))),
        },
        oid => Ok(oid.as_oid().and_then(|oid| context.image.relation_by_oid(oid))),
    }
}

fn relation(context: &CatalogContext, table: &Value) -> Result<bool> {
    found(context, table).map(|found| found.is_some())
}

fn sequence(context: &CatalogContext, sequence: &Value) -> Result<bool> {
    // There are none.
    match found(context, sequence)? {
        Some(found) if sequence.as_text().is_some() => {
            Err(error("42809", format!("\"{}\" is not a sequence", found.name())))
        }
        _ => Ok(false),
    }
}

fn schema(context: &CatalogContext, schema: &Value) -> Result<bool> {
    match schema {
        Value::Text(name) if context.image.namespace_oid(name).is_some() => Ok(true),
        Value::Text(name) if context.info.temporary_schema() == Some(name) => Ok(true),
        Value::Text(_) => missing(schema, "3F000", "schema"),
        oid => Ok(oid.as_oid().is_some_and(|oid| context.image.namespace_name(oid).is_some())),
    }
}

fn database(context: &CatalogContext, database: &Value) -> Result<bool> {
    let mut databases = context.image.databases.iter();
    match database {
        Value::Text(name) if databases.any(|database| database.name == *name) => Ok(true),
        Value::Text(_) => missing(database, "3D000", "database"),
        oid => Ok(databases.any(|database| Some(database.oid) == oid.as_oid())),
    }
}

fn function(_: &CatalogContext, function: &Value) -> Result<bool> {
    match function {
        Value::Text(name) => {
            let plain = name.split('(').next().unwrap_or(name).trim();
            let plain = plain.strip_prefix("pg_catalog.").unwrap_or(plain);
            match static_rows::procs_by_name(plain).next() {
                Some(_) => Ok(true),
                None => missing(function, "42883", "function"),
            }
        }
        oid => Ok(oid.as_oid().is_some_and(|oid| static_rows::proc_by_oid(oid).is_some())),
    }
}

fn data_type(_: &CatalogContext, data_type: &Value) -> Result<bool> {
    match data_type {
        Value::Text(name) if types::parse_type_name(name).is_some() => Ok(true),
        Value::Text(_) => missing(data_type, "42704", "type"),
        oid => Ok(oid.as_oid().is_some_and(|oid| types::by_oid(oid).is_some())),
    }
}

/// `[user,] table, column, privileges`.
fn has_column_privilege(call: &Call<'_>, arguments: &[Value]) -> Result<Value> {
    let context = call.catalog()?;
    let (user, table, column, privileges) = match arguments {
        [table, column, privileges] => (None, table, column, privileges),
        [user, table, column, privileges] => (Some(user), table, column, privileges),
        _ => return Err(DataFusionError::Internal("three or four arguments expected".into())),
    };
    answer(context, user, || has_column(context, table, column), privileges, COLUMN)
}

fn has_column(context: &CatalogContext, table: &Value, column: &Value) -> Result<bool> {
    let Some(found) = found(context, table)? else { return Ok(false) };
    let columns: Vec<&str> = match &found {
        Found::User(relation) => relation.columns.iter().map(|column| column.name.as_str()).collect(),
        Found::System(shape) => shape.columns.iter().map(|column| column.name).collect(),
        Found::KeyIndex(relation) => relation.key_columns(),
    };
    match column {
        Value::Text(name) if columns.contains(&name.as_str()) => Ok(true),
        Value::Text(name) => {
            let message = format!("column \"{name}\" of relation \"{}\" does not exist", found.name());
            Err(error("42703", message))
        }
        number => Ok(number.as_oid().is_some_and(|n| (1..=columns.len()).contains(&(n as usize)))),
    }
}
