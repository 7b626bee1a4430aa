//! Small constructors and questions on sqlparser's tree, shared by the rewrites.

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArgumentList, FunctionArguments, Ident, ObjectName, ObjectNamePart,
    TableFactor, TableWithJoins, Value,
};

/// `NULL`.
pub fn null() -> Expr {
    Expr::Value(Value::Null.into())
}

/// Whether an operator compares two values.
pub fn compares(op: &BinaryOperator) -> bool {
    matches!(
        op,
        BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq
    )
}

/// A boolean constant.
pub fn boolean(value: bool) -> Expr {
    Expr::Value(Value::Boolean(value).into())
}

/// A number.
pub fn number(value: impl ToString) -> Expr {
    Expr::Value(Value::Number(value.to_string(), false).into())
}

/// A text.
pub fn string(value: impl Into<String>) -> Expr {
    Expr::Value(Value::SingleQuotedString(value.into()).into())
}

/// `CAST(expr AS data_type)`.
pub fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

/// `data_type[]`.
pub fn array_of(data_type: DataType) -> DataType {
    DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(data_type), None))
}

/// `name(arguments…)`.
pub fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    Expr::Function(function(name, arguments, Vec::new()))
}

/// A function call with clauses (`ORDER BY`) inside its parentheses.
pub fn function(name: &str, arguments: Vec<Expr>, clauses: Vec<FunctionArgumentClause>) -> Function {
    let args = arguments.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect();
    Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    }
}

/// An identifier as Postgres compares it.
pub fn folded(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// The parts of a name; `None` when one is not an identifier.
pub fn parts(name: &ObjectName) -> Option<Vec<String>> {
    name.0.iter().map(|part| part.as_ident().map(folded)).collect()
}

/// Schema and name of what may be a system relation. A bare name that starts with `pg_` is looked up in
/// `pg_catalog` first, as by Postgres.
pub fn system_name(name: &ObjectName) -> Option<(String, String)> {
    match parts(name)?.as_slice() {
        [name] if name.starts_with("pg_") => Some(("pg_catalog".to_string(), name.clone())),
        [schema, name] | [_, schema, name] if schema == "pg_catalog" || schema == "information_schema" => {
            Some((schema.clone(), name.clone()))
        }
        _ => None,
    }
}

/// Drops a leading `pg_catalog`.
pub fn strip_pg_catalog(name: &mut ObjectName) {
    let qualified = name.0.len() == 2;
    let first = name.0.first().and_then(ObjectNamePart::as_ident).map(folded);
    if qualified && first.as_deref() == Some("pg_catalog") {
        name.0.remove(0);
    }
}

/// The folded name of an unqualified function call.
pub fn function_name(expr: &Expr) -> Option<String> {
    let Expr::Function(function) = expr else { return None };
    match parts(&function.name)?.as_slice() {
        [name] => Some(name.clone()),
        _ => None,
    }
}

/// All table factors of a FROM list, joined ones and those in parentheses included.
pub fn table_factors(from: &[TableWithJoins]) -> Vec<&TableFactor> {
    fn add<'a>(factor: &'a TableFactor, all: &mut Vec<&'a TableFactor>) {
        if let TableFactor::NestedJoin { table_with_joins, .. } = factor {
            all.extend(table_factors(std::slice::from_ref(table_with_joins)));
        } else {
            all.push(factor);
        }
    }
    let mut all = Vec::new();
    for table in from {
        add(&table.relation, &mut all);
        for join in &table.joins {
            add(&join.relation, &mut all);
        }
    }
    all
}
