//! Names of result columns as Postgres chooses them (`FigureColname`), from the syntax tree.

use datafusion::common::DFSchema;
use datafusion::sql::sqlparser::ast::{
    AccessExpr, CastKind, DataType, Expr, Ident, ObjectName, Query, SelectItem, SetExpr, TimezoneInfo,
    TrimWhereField, Value,
};

use super::rewrite::SUFFIX;

/// Name of a column that nothing suggests one for.
pub const UNKNOWN: &str = "?column?";

/// Identifier as Postgres folds it.
pub fn folded(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// Names of all columns of a query whose plan has this schema.
pub fn output_names(query: &Query, schema: &DFSchema) -> Vec<String> {
    let fields: Vec<String> = schema.fields().iter().map(|field| without_suffix(field.name())).collect();
    let Some(items) = items(&query.body) else {
        return fields;
    };
    let explicit: Vec<Option<String>> = items.iter().map(of_item).collect();
    let mut names = fields;
    let count = names.len();
    // What stands before the first and after the last wildcard has a known place.
    for (i, name) in explicit.iter().enumerate() {
        let Some(name) = name else { break };
        if let Some(slot) = names.get_mut(i) {
            slot.clone_from(name);
        }
    }
    if explicit.iter().any(Option::is_none) {
        for (i, name) in explicit.iter().rev().enumerate() {
            let Some(name) = name else { break };
            if let Some(slot) = count.checked_sub(i + 1).and_then(|at| names.get_mut(at)) {
                slot.clone_from(name);
            }
        }
    }
    names
}

fn without_suffix(name: &str) -> String {
    name.split_once(SUFFIX).map_or(name, |(own, _)| own).to_string()
}

fn items(body: &SetExpr) -> Option<&[SelectItem]> {
    match body {
        SetExpr::Select(select) => Some(&select.projection),
        SetExpr::Query(query) => items(&query.body),
        SetExpr::SetOperation { left, .. } => items(left),
        _ => None,
    }
}

/// `None`: a wildcard.
fn of_item(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(expr) => Some(of_expr(expr)),
        SelectItem::ExprWithAlias { alias, .. } => Some(without_suffix(&folded(alias))),
        SelectItem::ExprWithAliases { aliases, .. } => aliases.first().map(folded),
        SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => None,
    }
}

pub fn of_expr(expr: &Expr) -> String {
    figure(expr).map_or_else(|| UNKNOWN.to_string(), |(name, _)| name)
}

/// How good a name is: one of a type gives way to any other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Strength {
    Weak,
    Strong,
}

fn weak(name: &str) -> Option<(String, Strength)> {
    Some((name.to_string(), Strength::Weak))
}

fn strong(name: impl Into<String>) -> Option<(String, Strength)> {
    Some((name.into(), Strength::Strong))
}

fn figure(expr: &Expr) -> Option<(String, Strength)> {
    match expr {
        Expr::Identifier(ident) => strong(folded(ident)),
        Expr::CompoundIdentifier(parts) => parts.last().and_then(|ident| strong(folded(ident))),
        Expr::CompoundFieldAccess { root, access_chain } => {
            // Subscripts have no name: that of the last field counts.
            let last = access_chain.iter().rev().find_map(|access| match access {
                AccessExpr::Dot(field) => Some(field),
                AccessExpr::Subscript(_) => None,
            });
            figure(last.unwrap_or(root))
        }
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => figure(inner),
        Expr::Cast {
            kind: CastKind::Cast | CastKind::DoubleColon | CastKind::TryCast | CastKind::SafeCast,
            expr,
            data_type,
            ..
        } => match figure(expr) {
            Some((name, Strength::Strong)) => strong(name),
            _ => weak(&type_name(data_type)),
        },
        Expr::TypedString(typed) => weak(&type_name(&typed.data_type)),
        Expr::Interval(_) => weak("interval"),
        Expr::Value(value) if matches!(value.value, Value::Boolean(_)) => weak("bool"),
        Expr::Function(function) => function_name(&function.name).and_then(strong),
        Expr::Case { else_result, .. } => match else_result.as_deref().and_then(figure) {
            Some((name, Strength::Strong)) => strong(name),
            _ => weak("case"),
        },
        Expr::Exists { .. } => strong("exists"),
        Expr::Subquery(query) => match items(&query.body)?.first()? {
            SelectItem::ExprWithAlias { alias, .. } => strong(without_suffix(&folded(alias))),
            SelectItem::UnnamedExpr(expr) => figure(expr),
            _ => None,
        },
        Expr::Array(_) => strong("array"),
        Expr::Tuple(_) | Expr::Struct { .. } => strong("row"),
        Expr::Extract { .. } => strong("extract"),
        Expr::Ceil { .. } => strong("ceil"),
        Expr::Floor { .. } => strong("floor"),
        Expr::Position { .. } => strong("position"),
        Expr::Substring { shorthand, .. } => strong(if *shorthand { "substr" } else { "substring" }),
        Expr::Overlay { .. } => strong("overlay"),
        Expr::AtTimeZone { .. } => strong("timezone"),
        Expr::Trim { trim_where, .. } => strong(match trim_where {
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
            Some(TrimWhereField::Both) | None => "btrim",
        }),
        _ => None,
    }
}

fn function_name(name: &ObjectName) -> Option<String> {
    name.0.last().and_then(|part| part.as_ident()).map(folded)
}

/// Internal name of a type, by which Postgres names a cast.
fn type_name(data_type: &DataType) -> String {
    let name = match data_type {
        DataType::Boolean | DataType::Bool => "bool",
        DataType::SmallInt(_) | DataType::Int2(_) => "int2",
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) => "int4",
        DataType::BigInt(_) | DataType::Int8(_) => "int8",
        DataType::Real | DataType::Float4 => "float4",
        DataType::Double(_) | DataType::DoublePrecision | DataType::Float8 | DataType::Float(_) => "float8",
        DataType::Numeric(_) | DataType::Decimal(_) | DataType::Dec(_) => "numeric",
        DataType::Varchar(_) | DataType::CharacterVarying(_) | DataType::CharVarying(_) => "varchar",
        DataType::Char(_) | DataType::Character(_) => "bpchar",
        DataType::Timestamp(_, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => "timestamptz",
        DataType::Timestamp(..) => "timestamp",
        DataType::Time(_, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => "timetz",
        DataType::Time(..) => "time",
        DataType::Interval { .. } => "interval",
        DataType::Custom(name, _) => return function_name(name).unwrap_or_default(),
        DataType::Array(datafusion::sql::sqlparser::ast::ArrayElemTypeDef::SquareBracket(inner, _)) => {
            return type_name(inner);
        }
        other => return other.to_string().to_lowercase(),
    };
    name.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::{self, Statement};

    fn names(text: &str) -> Vec<String> {
        let parsed = parser::parse(text).unwrap().remove(0);
        let Statement::Query(query) = parsed.statement.as_ref() else { panic!() };
        items(&query.body).unwrap().iter().map(|item| of_item(item).unwrap_or("*".into())).collect()
    }

    #[test]
    fn names_are_those_of_postgres() {
        assert_eq!(
            names(
                "select 1, a, t.B, count(*), sum(x)+1, x::int, 1::text, 'a'::varchar(3), now(), coalesce(a, b), \
                   case when a then 1 end, case when a then 1 else b end, (select max(q) from t), true, \
                   date '2020-01-01', exists (select 1), array[1], pg_catalog.version(), a as \"X y\", extract(year from d), \
                   a is null, arr[1], interval '1 day', upper(a)::text"
            ),
            [
                "?column?", "a", "b", "count", "?column?", "x", "text", "varchar", "now", "coalesce", "case",
                "b", "max", "bool", "date", "exists", "array", "version", "X y", "extract", "?column?",
                "arr", "interval", "upper"
            ]
        );
    }
}
