//! Casts to Postgres' own types.

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, DataType, ExactNumberInfo, Expr, TimezoneInfo, Value, ValueWithSpan,
};

use super::ast::{call, folded, function_name, number, string};
use super::expression::array;
use super::number_literal::without_exponent;
use crate::pg_catalog::value::parse_array_literal;
use crate::types::text_type::TextType;

/// Functions that are casts, and the output function of each (none: the number is the text).
const CASTS: &[(&str, Option<&str>)] = &[
    ("oid", None),
    ("json", None),
    ("jsonb", None),
    ("regclass", Some("regclassout")),
    ("regtype", Some("regtypeout")),
    ("regproc", Some("regprocout")),
    ("regprocedure", Some("regprocedureout")),
    ("regnamespace", Some("regnamespaceout")),
    ("regrole", Some("regroleout")),
    ("tid", Some("tidout")),
];

/// The function that casts to a type, for the types that need one.
pub fn function_of(data_type: &DataType) -> Option<&'static str> {
    let name = match data_type {
        DataType::Regclass => "regclass".to_string(),
        DataType::JSON => "json".to_string(),
        DataType::JSONB => "jsonb".to_string(),
        DataType::Custom(..) => custom_name(data_type)?,
        _ => return None,
    };
    CASTS.iter().find(|(cast, _)| *cast == name).map(|(cast, _)| *cast)
}

/// Name of a type that the parser does not know, without `pg_catalog`.
fn custom_name(data_type: &DataType) -> Option<String> {
    let DataType::Custom(name, _) = data_type else { return None };
    let idents: Vec<_> = name.0.iter().filter_map(|part| part.as_ident()).collect();
    match idents.as_slice() {
        [ident] => Some(folded(ident)),
        [schema, ident] if folded(schema) == "pg_catalog" => Some(folded(ident)),
        _ => None,
    }
}

/// Digits of a second that a type asks for, where it has fewer than there are.
pub fn precision(data_type: &DataType) -> Option<u64> {
    let digits = match data_type {
        DataType::Timestamp(digits, _) | DataType::Time(digits, _) => *digits,
        DataType::Interval { precision, .. } => *precision,
        DataType::Custom(_, modifiers) => match custom_name(data_type)?.as_str() {
            "timestamptz" | "timestamp" | "time" => modifiers.first()?.parse().ok(),
            _ => None,
        },
        _ => None,
    };
    digits.filter(|digits| *digits < 6)
}

/// Rewrites a cast whose operand is already rewritten.
pub fn rewrite(expr: &mut Expr) {
    let Expr::Cast { data_type, .. } = expr else { return };
    let precision = precision(data_type);
    rewrite_type(expr);
    if let Some(digits) = precision {
        let whole = std::mem::replace(expr, super::ast::null());
        *expr = call("time_scale", vec![whole, number(digits)]);
    }
}

fn rewrite_type(expr: &mut Expr) {
    let Expr::Cast { expr: inner, data_type, .. } = expr else { return };
    if let Some(text) = text_type(data_type) {
        *data_type = DataType::Text;
        rewrite(expr);
        let (function, length) = text.cast_function();
        let value = std::mem::replace(expr, super::ast::null());
        *expr = call(function, std::iter::once(value).chain(length.map(number)).collect());
        return;
    }
    if let Some(function) = function_of(data_type) {
        *expr = call(function, vec![(**inner).clone()]);
        return;
    }
    if let Some(known) = known_type(data_type) {
        *data_type = known;
    }
    // Exact digits are read better than decimals are converted.
    if let Expr::Value(value) = inner.as_ref()
        && let Value::Number(digits, _) = &value.value
        && matches!(
            data_type,
            DataType::Real
                | DataType::Float4
                | DataType::Float8
                | DataType::DoublePrecision
                | DataType::Double(_)
                | DataType::Float(_)
        )
    {
        **inner = string(digits.clone());
        return;
    }
    if is_plain_numeric(data_type) {
        if let Some(exact) = exact_numeric(inner) {
            *expr = exact;
        }
        return;
    }
    if let DataType::Array(_) = data_type
        && let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) = &**inner
        && let Some(items) = parse_array_literal(text)
    {
        **inner = array(items);
        return;
    }
    let is_text = matches!(data_type, DataType::Text | DataType::Varchar(_) | DataType::String(_));
    if is_text
        && let Some(name) = function_name(inner)
        && let Some((_, Some(output))) = CASTS.iter().find(|(cast, _)| *cast == name)
    {
        *expr = call(output, vec![(**inner).clone()]);
    }
}

/// `varchar`, `char(n)`, also as `pg_catalog.varchar`.
fn text_type(data_type: &DataType) -> Option<TextType> {
    match custom_name(data_type).as_deref() {
        Some("varchar") => Some(TextType::Varchar(None)),
        Some("bpchar") => Some(TextType::Char(None)),
        _ => TextType::of_sql(data_type).filter(|text| !text.is_document()),
    }
}

/// `numeric` without precision: as many digits as the value has.
fn is_plain_numeric(data_type: &DataType) -> bool {
    match data_type {
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => {
            *info == ExactNumberInfo::None
        }
        DataType::Custom(_, modifiers) => {
            modifiers.is_empty() && matches!(custom_name(data_type).as_deref(), Some("numeric" | "decimal"))
        }
        _ => false,
    }
}

/// `None`: the cast stays, because the value has no type yet.
fn exact_numeric(inner: &Expr) -> Option<Expr> {
    match inner {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => {
                let text = text.trim();
                let plain = text.strip_prefix('-').unwrap_or(text);
                let digits =
                    plain.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'-'));
                let known = digits && plain.bytes().next().is_some_and(|b| b.is_ascii_digit());
                let literal = without_exponent(text).filter(|_| known)?;
                Some(call("numeric", vec![number(literal)]))
            }
            Value::Number(..) => Some(call("numeric", vec![inner.clone()])),
            _ => None,
        },
        _ => Some(call("numeric", vec![inner.clone()])),
    }
}

/// The type as DataFusion's planner knows it; `None`: leave it.
fn known_type(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Array(ArrayElemTypeDef::SquareBracket(item, size)) => {
            let item = item_type(item)?;
            DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(item), *size))
        }
        DataType::Custom(..) => match custom_name(data_type)?.as_str() {
            "text" | "bpchar" | "pg_node_tree" | "unknown" | "cstring" => DataType::Text,
            "bool" | "boolean" => DataType::Boolean,
            "int2" | "smallint" => DataType::SmallInt(None),
            "int4" | "int" | "integer" => DataType::Int(None),
            "int8" | "bigint" | "xid" | "cid" => DataType::BigInt(None),
            "float4" | "real" => DataType::Real,
            "float8" => DataType::DoublePrecision,
            "date" => DataType::Date,
            "timestamp" => DataType::Timestamp(None, TimezoneInfo::None),
            "timestamptz" => DataType::Timestamp(None, TimezoneInfo::Tz),
            "bytea" => DataType::Bytea,
            "uuid" => DataType::Uuid,
            "int2vector" => super::ast::array_of(DataType::SmallInt(None)),
            "oidvector" => super::ast::array_of(DataType::BigInt(None)),
            array if array.starts_with('_') => {
                let item = DataType::Custom(vec![array.trim_start_matches('_').into()].into(), Vec::new());
                super::ast::array_of(item_type(&item)?)
            }
            _ => return None,
        },
        _ => return None,
    })
}

/// The type of an array's items as DataFusion's planner knows it; `None`: leave it.
fn item_type(item: &DataType) -> Option<DataType> {
    match function_of(item) {
        Some("json" | "jsonb") => Some(DataType::Text),
        Some("oid") => Some(DataType::Custom(vec!["oid".into()].into(), Vec::new())),
        // The types that are held as OIDs.
        Some(_) => Some(DataType::BigInt(None)),
        None => known_type(item),
    }
}
