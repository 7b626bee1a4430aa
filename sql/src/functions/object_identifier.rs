//! Object identifier types (manual 8.19): `regclass`, `regtype`, `regproc`, `regnamespace`, `regrole`.
//!
//! A value of these types is held as the OID. `x::regclass` is the call `regclass(x)` (Postgres
//! itself allows this spelling of a cast), `x::regclass::text` is `regclassout(regclass(x))`, and the
//! planner puts the same output function over result columns of these types.

use std::iter::Peekable;
use std::str::Chars;

use datafusion::error::Result;

use super::function::{Call, Definition, error, oid, text};
use super::string::quote_ident;
use crate::pg_catalog::image::Found;
use crate::pg_catalog::static_rows::{proc_by_oid, procs_by_name};
use crate::pg_catalog::value::Value;
use crate::pg_catalog::{CatalogContext, types};
use crate::types::text_input;

pub const FUNCTIONS: &[Definition] = &[
    Definition::strict("oid", "oid", (1, 1), |_, arguments| match arguments.first() {
        Some(value) => match value.as_oid() {
            Some(oid) => Ok(oid.into()),
            None => {
                Err(error("22P02", format!("invalid input syntax for type oid: \"{}\"", text(arguments, 0))))
            }
        },
        None => Ok(Value::Null),
    }),
    // Of rows of tables they have only one value each.
    Definition::strict("xid", "xid", (1, 1), same_number).immutable(),
    Definition::strict("cid", "cid", (1, 1), same_number).immutable(),
    Definition::strict("tid", "tid", (1, 1), |_, arguments| match arguments.first() {
        Some(Value::Int(number)) => Ok((*number).into()),
        _ => {
            let written = text(arguments, 0);
            text_input::tid(written).map(Into::into).ok_or_else(|| invalid_tid(written))
        }
    })
    .immutable(),
    Definition::strict("tidout", "text", (1, 1), |_, arguments| match arguments.first() {
        Some(Value::Int(number)) => Ok(format!("({},{})", number >> 16, number & 0xffff).into()),
        // Already shown.
        _ => Ok(text(arguments, 0).into()),
    })
    .immutable(),
    Definition::strict("regclass", "regclass", (1, 1), |call, arguments| {
        read(call, arguments, lookup_relation, |name| {
            error("42P01", format!("relation \"{name}\" does not exist"))
        })
    }),
    Definition::strict("to_regclass", "regclass", (1, 1), |call, arguments| {
        Ok(lookup_relation(call.catalog()?, text(arguments, 0)).into())
    }),
    Definition::strict("regclassout", "text", (1, 1), |call, arguments| {
        let context = call.catalog()?;
        show(arguments, |oid| relation_name(context, oid))
    }),
    Definition::strict("regtype", "regtype", (1, 1), |call, arguments| {
        read(
            call,
            arguments,
            |_, name| types::parse_type_name(name),
            |name| error("42704", format!("type \"{name}\" does not exist")),
        )
    }),
    Definition::strict("to_regtype", "regtype", (1, 1), |_, arguments| {
        Ok(types::parse_type_name(text(arguments, 0)).into())
    }),
    Definition::strict("regtypeout", "text", (1, 1), |_, arguments| {
        show(arguments, |oid| types::by_oid(oid).map(|_| types::format_type(oid, None)))
    }),
    Definition::strict("regproc", "regproc", (1, 1), |call, arguments| {
        read(call, arguments, lookup_proc, |name| {
            error("42883", format!("function \"{name}\" does not exist"))
        })
    }),
    Definition::strict("to_regproc", "regproc", (1, 1), |call, arguments| {
        Ok(lookup_proc(call.catalog()?, text(arguments, 0)).into())
    }),
    Definition::strict("regprocout", "text", (1, 1), |_, arguments| {
        show(arguments, |oid| proc_by_oid(oid).map(|proc| proc.name.to_string()))
    }),
    Definition::strict("regprocedure", "regprocedure", (1, 1), |call, arguments| {
        read(call, arguments, lookup_proc, |name| {
            error("42883", format!("function \"{name}\" does not exist"))
        })
    }),
    Definition::strict("regprocedureout", "text", (1, 1), |_, arguments| {
        show(arguments, |oid| proc_by_oid(oid).map(procedure_name))
    }),
    Definition::strict("regnamespace", "regnamespace", (1, 1), |call, arguments| {
        read(call, arguments, lookup_namespace, |name| {
            error("3F000", format!("schema \"{name}\" does not exist"))
        })
    }),
    Definition::strict("to_regnamespace", "regnamespace", (1, 1), |call, arguments| {
        Ok(lookup_namespace(call.catalog()?, text(arguments, 0)).into())
    }),
    Definition::strict("regnamespaceout", "text", (1, 1), |call, arguments| {
        let context = call.catalog()?;
        show(arguments, |oid| context.image.namespace_name(oid).map(quote_ident))
    }),
    Definition::strict("regrole", "regrole", (1, 1), |call, arguments| {
        read(call, arguments, lookup_role, |name| error("42704", format!("role \"{name}\" does not exist")))
    }),
    Definition::strict("to_regrole", "regrole", (1, 1), |call, arguments| {
        Ok(lookup_role(call.catalog()?, text(arguments, 0)).into())
    }),
    Definition::strict("regroleout", "text", (1, 1), |call, arguments| {
        let context = call.catalog()?;
        show(arguments, |oid| {
            let roles = crate::pg_catalog::roles(context);
            roles.into_iter().find(|role| role.oid == oid).map(|role| quote_ident(&role.name))
        })
    }),
];

/// The error for a text that is no `tid`.
pub fn invalid_tid(text: &str) -> datafusion::error::DataFusionError {
    error("22P02", format!("invalid input syntax for type tid: \"{text}\""))
}

fn same_number(_: &Call<'_>, arguments: &[Value]) -> Result<Value> {
    Ok(arguments.first().and_then(Value::as_int).into())
}

/// Input: a number is the OID itself, `-` is 0, anything else a name.
fn read(
    call: &Call<'_>,
    arguments: &[Value],
    lookup: fn(&CatalogContext, &str) -> Option<u32>,
    missing: impl FnOnce(&str) -> datafusion::error::DataFusionError,
) -> Result<Value> {
    match arguments.first() {
        Some(Value::Text(name)) if name == "-" => Ok(0.into()),
        Some(value) if value.as_oid().is_some() => Ok(value.as_oid().into()),
        _ => {
            let name = text(arguments, 0);
            match lookup(call.catalog()?, name) {
                Some(oid) => Ok(oid.into()),
                None => Err(missing(name)),
            }
        }
    }
}

/// Output: 0 is `-`, an OID without object is a number.
fn show(arguments: &[Value], name: impl FnOnce(u32) -> Option<String>) -> Result<Value> {
    let object = match arguments.first() {
        // Already shown.
        Some(Value::Text(text)) if text.parse::<u32>().is_err() => return Ok(text.into()),
        _ => oid(arguments, 0),
    };
    if object == 0 {
        return Ok("-".into());
    }
    Ok(name(object).unwrap_or_else(|| object.to_string()).into())
}

/// Splits `a."B c" . d` at its dots, around which there may be blanks; unquoted parts are folded to lower
/// case. `None`: malformed.
pub fn split_name(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut chars = text.trim().chars().peekable();
    let skip_blanks = |chars: &mut Peekable<Chars<'_>>| {
        while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
    };
    loop {
        let mut part = String::new();
        skip_blanks(&mut chars);
        if chars.peek() == Some(&'"') {
            chars.next();
            loop {
                match chars.next()? {
                    '"' if chars.peek() == Some(&'"') => {
                        chars.next();
                        part.push('"');
                    }
                    '"' => break,
                    c => part.push(c),
                }
            }
        } else {
            while let Some(c) = chars.peek().copied().filter(|c| *c != '.' && !c.is_ascii_whitespace()) {
                chars.next();
                part.extend(c.to_lowercase());
            }
        }
        if part.is_empty() {
            return None;
        }
        parts.push(part);
        skip_blanks(&mut chars);
        match chars.next() {
            None => return Some(parts),
            Some('.') => {}
            Some(_) => return None,
        }
    }
}

/// The relation that a possibly qualified name means in this session.
pub fn find_relation<'a>(context: &'a CatalogContext, name: &str) -> Option<Found<'a>> {
    let parts = split_name(name)?;
    match parts.as_slice() {
        [name] => context.image.relation_in_path(&context.path(), name),
        [schema, name] if schema == "pg_temp" => {
            context.image.relation_by_name(context.info.temporary_schema()?, name)
        }
        [schema, name] => context.image.relation_by_name(schema, name),
        [database, schema, name] if *database == context.info.database => {
            context.image.relation_by_name(schema, name)
        }
        _ => None,
    }
}

fn lookup_relation(context: &CatalogContext, name: &str) -> Option<u32> {
    find_relation(context, name).map(|found| found.oid())
}

fn relation_name(context: &CatalogContext, oid: u32) -> Option<String> {
    let found = context.image.relation_by_oid(oid)?;
    let name = quote_ident(&found.name());
    Some(if context.is_visible(oid) { name } else { format!("{}.{name}", quote_ident(found.namespace())) })
}

fn lookup_proc(_: &CatalogContext, name: &str) -> Option<u32> {
    let name = name.split('(').next().unwrap_or(name);
    let parts = split_name(name)?;
    match parts.as_slice() {
        [name] => procs_by_name(name).next(),
        [schema, name] if schema == "pg_catalog" => procs_by_name(name).next(),
        _ => None,
    }
    .map(|proc| proc.oid)
}

fn procedure_name(proc: &crate::pg_catalog::static_rows::Proc) -> String {
    let arguments: Vec<_> = proc.arguments.iter().map(|oid| types::format_type(*oid, None)).collect();
    format!("{}({})", proc.name, arguments.join(","))
}

fn lookup_namespace(context: &CatalogContext, name: &str) -> Option<u32> {
    let parts = split_name(name)?;
    match parts.as_slice() {
        [name] => context.image.namespace_oid(name),
        _ => None,
    }
}

fn lookup_role(context: &CatalogContext, name: &str) -> Option<u32> {
    let parts = split_name(name)?;
    let name = parts.first()?;
    crate::pg_catalog::roles(context).into_iter().find(|r| r.name == *name).map(|r| r.oid)
}
