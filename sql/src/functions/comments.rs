//! Comment information functions (manual 9.26.6).

use datafusion::error::Result;

use super::function::{Call, Definition, oid, text};
use crate::pg_catalog::image::Found;
use crate::pg_catalog::value::Value;

pub const FUNCTIONS: &[Definition] = &[
    Definition::strict("obj_description", "text", (1, 2), obj_description),
    Definition::strict("col_description", "text", (2, 2), col_description),
    Definition::strict("shobj_description", "text", (2, 2), |_, _| Ok(Value::Null)),
];

fn obj_description(call: &Call<'_>, arguments: &[Value]) -> Result<Value> {
    let image = &call.catalog()?.image;
    let object = oid(arguments, 0);
    let class = text(arguments, 1).trim_start_matches("pg_catalog.");
    if matches!(class, "pg_namespace" | "") {
        let namespace = image.all_namespaces().into_iter().find(|n| n.0 == object);
        if let Some((_, _, Some(comment))) = namespace {
            return Ok(comment.into());
        }
    }
    if matches!(class, "pg_class" | "")
        && let Some(Found::User(relation)) = image.relation_by_oid(object)
    {
        return Ok(relation.comment.as_ref().into());
    }
    Ok(Value::Null)
}

fn col_description(call: &Call<'_>, arguments: &[Value]) -> Result<Value> {
    let image = &call.catalog()?.image;
    let number = arguments.get(1).and_then(Value::as_int).unwrap_or_default();
    let Some(Found::User(relation)) = image.relation_by_oid(oid(arguments, 0)) else {
        return Ok(Value::Null);
    };
    let column = relation.numbered_columns().find(|(n, _)| i64::from(*n) == number);
    Ok(column.and_then(|(_, column)| column.comment.as_ref()).into())
}
