//! Set-returning functions in FROM: `f(x) AS a(b)` becomes `unnest(f(x)) AS a(b)`, where `f` gives an
//! array, with the column names that Postgres gives; `WITH ORDINALITY` adds an array of numbers.
//! A function of one value is a row of one column.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DataType, Expr, FunctionArg, FunctionArgExpr, Ident, Query, Select, SelectItem, SetExpr, TableAlias,
    TableAliasColumnDef, TableFactor, TableFunctionArgs, UnaryOperator, Value, VisitorMut,
};

use super::ast::{call, cast, folded, number, parts, table_factors};
use crate::functions::is_single_valued;
use crate::parser::row_target;
use crate::parser::walk::WalkMut;
use crate::planner::unique_name as unique;

/// How one column of a function comes about.
struct Output {
    /// Its name in Postgres; `None`: that of the alias or the function.
    name: Option<&'static str>,
    /// The function that gives the array.
    array: &'static str,
    /// The function that gives each item its type; empty: none is needed.
    typed: &'static str,
}

const fn output(name: Option<&'static str>, array: &'static str, typed: &'static str) -> Output {
    Output { name, array, typed }
}

const FUNCTIONS: &[(&str, &[Output])] = &[
    ("generate_series", &[output(None, "generate_series", "")]),
    ("generate_subscripts", &[output(None, "generate_subscripts", "")]),
    ("regexp_matches", &[output(None, "regexp_matches", "")]),
    ("regexp_split_to_table", &[output(None, "regexp_split_to_array", "")]),
    ("string_to_table", &[output(None, "string_to_array", "")]),
    ("json_array_elements", &[output(Some("value"), "json_array_elements", "json_typed")]),
    ("jsonb_array_elements", &[output(Some("value"), "jsonb_array_elements", "jsonb_typed")]),
    ("json_array_elements_text", &[output(Some("value"), "json_array_elements_text", "")]),
    ("jsonb_array_elements_text", &[output(Some("value"), "jsonb_array_elements_text", "")]),
    ("json_object_keys", &[output(None, "json_object_keys", "")]),
    ("jsonb_object_keys", &[output(None, "jsonb_object_keys", "")]),
    (
        "json_each",
        &[output(Some("key"), "json_each_keys", ""), output(Some("value"), "json_each_values", "json_typed")],
    ),
    (
        "jsonb_each",
        &[
            output(Some("key"), "jsonb_each_keys", ""),
            output(Some("value"), "jsonb_each_values", "jsonb_typed"),
        ],
    ),
    (
        "json_each_text",
        &[output(Some("key"), "json_each_keys", ""), output(Some("value"), "json_each_texts", "")],
    ),
    (
        "jsonb_each_text",
        &[output(Some("key"), "jsonb_each_keys", ""), output(Some("value"), "jsonb_each_texts", "")],
    ),
];

/// Array function and, where the items forget their type, the function that gives it back, of a
/// function with one column.
pub fn of_one_column(name: &str) -> Option<(&'static str, &'static str)> {
    match FUNCTIONS.iter().find(|(known, _)| *known == name)?.1 {
        [output] => Some((output.array, output.typed)),
        _ => None,
    }
}

/// The rewrite.
pub struct FunctionInFrom;

impl VisitorMut for FunctionInFrom {
    type Break = ();

    /// The name of a function with one column stands for that column: `FROM f(x) AS e` lets `e` be used.
    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let mut found = Vec::new();
        if let SetExpr::Select(select) = query.body.as_ref() {
            found.extend(table_factors(&select.from).into_iter().filter_map(scalar_alias));
        }
        if found.is_empty() {
            return ControlFlow::Continue(());
        }
        query.walk_mut(&mut WholeRow { columns: &found })
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        // The functions that give the arrays of rows are single-valued here.
        if let Some(rows) = rows(factor).or_else(|| single_row(factor)) {
            *factor = rows;
        }
        ControlFlow::Continue(())
    }
}

struct Called<'a> {
    name: String,
    args: Vec<Expr>,
    alias: Option<&'a TableAlias>,
    ordinality: bool,
}

fn plain(args: &[FunctionArg]) -> Option<Vec<Expr>> {
    args.iter()
        .map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        })
        .collect()
}

fn called(factor: &TableFactor) -> Option<Called<'_>> {
    let (name, args, alias, ordinality) = match factor {
        TableFactor::Table {
            name,
            args: Some(TableFunctionArgs { args, .. }),
            alias,
            with_ordinality,
            ..
        } => (name, plain(args)?, alias, *with_ordinality),
        TableFactor::Function { name, args, alias, with_ordinality, .. } => {
            (name, plain(args)?, alias, *with_ordinality)
        }
        TableFactor::UNNEST { array_exprs, alias, with_offset: false, with_ordinality, .. } => {
            let name = "unnest".to_string();
            let (args, ordinality) = (array_exprs.clone(), *with_ordinality);
            return Some(Called { name, args, alias: alias.as_ref(), ordinality });
        }
        _ => return None,
    };
    let name = match parts(name)?.as_slice() {
        [name] => name.clone(),
        [schema, name] if schema == "pg_catalog" => name.clone(),
        _ => return None,
    };
    Some(Called { name, args, alias: alias.as_ref(), ordinality })
}

/// `FROM current_schema() AS s`.
fn single_row(factor: &TableFactor) -> Option<TableFactor> {
    let called = called(factor).filter(|called| !called.ordinality && is_single_valued(&called.name))?;
    let name = called.alias.map_or_else(|| Ident::with_quote('"', &called.name), |alias| alias.name.clone());
    let column = called.alias.and_then(|alias| alias.columns.first());
    let column = column.map_or_else(|| name.clone(), |column| column.name.clone());
    let item = SelectItem::ExprWithAlias { expr: call(&called.name, called.args), alias: column };
    let query = row_target::select(None, vec![item], Vec::new(), None).ok()?;
    let alias = Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None });
    Some(TableFactor::Derived { lateral: false, subquery: Box::new(query), alias, sample: None })
}

/// DataFusion's own table function, which makes the numbers as they are needed.
fn counts_only(called: &Called<'_>) -> bool {
    let number = |expr: &Expr| match expr {
        Expr::Value(value) => matches!(&value.value, Value::Number(n, _) if n.parse::<i64>().is_ok()),
        _ => false,
    };
    called.name == "generate_series"
        && !called.ordinality
        && called.args.iter().all(|arg| match arg {
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => number(expr),
            other => number(other),
        })
}

fn rows(factor: &TableFactor) -> Option<TableFactor> {
    let called = called(factor)?;
    if counts_only(&called) {
        return None;
    }
    let default = |name: Option<&str>| match (name, called.alias) {
        (Some(name), _) => name.to_string(),
        (None, Some(alias)) => folded(&alias.name),
        (None, None) => called.name.clone(),
    };
    let mut arrays = Vec::new();
    if called.name == "unnest" {
        let single = called.args.len() == 1;
        for array in &called.args {
            let name = if single { default(None) } else { unique("unnest", arrays.len()) };
            arrays.push((name, array.clone(), ""));
        }
    } else {
        let (_, outputs) = FUNCTIONS.iter().find(|(name, _)| *name == called.name)?;
        for output in *outputs {
            arrays.push((default(output.name), call(output.array, called.args.clone()), output.typed));
        }
    }
    if called.ordinality {
        let ordinals = match arrays.as_slice() {
            [(_, array, _), _, ..] if called.name != "unnest" => call("array_ordinals", vec![array.clone()]),
            [(_, array, _)] => call("array_ordinals", vec![array.clone()]),
            several => up_to_longest(several.iter().map(|(_, array, _)| array.clone())),
        };
        arrays.push(("ordinality".to_string(), ordinals, ""));
    }
    let given = called.alias.map(|alias| alias.columns.as_slice()).unwrap_or_default();
    let names = arrays.iter().enumerate().map(|(i, (name, ..))| match given.get(i) {
        Some(column) => column.name.clone(),
        None => Ident::with_quote('"', name),
    });
    let names: Vec<Ident> = names.collect();
    let name = called.alias.map_or_else(|| Ident::with_quote('"', &called.name), |alias| alias.name.clone());
    let alias = |name: Ident, columns: Vec<Ident>| {
        let columns = columns.into_iter().map(|name| TableAliasColumnDef { name, data_type: None }).collect();
        Some(TableAlias { explicit: true, name, columns, at: None })
    };
    let unnest = |alias: Option<TableAlias>| TableFactor::UNNEST {
        alias,
        array_exprs: arrays.iter().map(|(_, array, _)| array.clone()).collect(),
        with_offset: false,
        with_offset_alias: None,
        with_ordinality: false,
    };
    if arrays.iter().all(|(.., typed)| typed.is_empty()) {
        return Some(unnest(alias(name, names)));
    }
    let inner: Vec<Ident> = (0..arrays.len()).map(|i| Ident::with_quote('"', format!("\u{1}{i}"))).collect();
    let items = arrays.iter().zip(&inner).zip(&names).map(|(((.., typed), column), name)| {
        let column = Expr::Identifier(column.clone());
        let expr = if typed.is_empty() { column } else { call(typed, vec![column]) };
        SelectItem::ExprWithAlias { expr, alias: name.clone() }
    });
    let relation = unnest(alias(Ident::with_quote('"', "\u{1}rows"), inner.clone()));
    let from = vec![datafusion::sql::sqlparser::ast::TableWithJoins { relation, joins: Vec::new() }];
    let query = row_target::select(None, items.collect(), from, None).ok()?;
    Some(TableFactor::Derived {
        lateral: true,
        subquery: Box::new(query),
        alias: alias(name, names.clone()),
        sample: None,
    })
}

/// The numbers from 1 to the length of the longest of several arrays.
fn up_to_longest(arrays: impl Iterator<Item = Expr>) -> Expr {
    let lengths = arrays.map(|array| {
        let length = cast(call("cardinality", vec![array]), DataType::BigInt(None));
        call("coalesce", vec![length, number(0)])
    });
    call("generate_series", vec![number(1), call("greatest", lengths.collect())])
}

/// Alias and column of a function with one column, where they have different names.
fn scalar_alias(factor: &TableFactor) -> Option<(String, Ident)> {
    let called = called(factor)?;
    let alias = called.alias?;
    let name = folded(&alias.name);
    let column = match alias.columns.as_slice() {
        [column] => column.name.clone(),
        [] => {
            let (_, outputs) = FUNCTIONS.iter().find(|(name, _)| *name == called.name)?;
            let [Output { name: Some(column), .. }] = outputs else { return None };
            Ident::with_quote('"', *column)
        }
        _ => return None,
    };
    (!called.ordinality && folded(&column) != name).then_some((name, column))
}

struct WholeRow<'a> {
    columns: &'a [(String, Ident)],
}

impl VisitorMut for WholeRow<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        // Its name stays that of the alias.
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(Expr::Identifier(ident)) = item
                && let Some((name, _)) = self.columns.iter().find(|(name, _)| *name == folded(ident))
            {
                let alias = Ident::with_quote('"', name);
                *item = SelectItem::ExprWithAlias { expr: Expr::Identifier(ident.clone()), alias };
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(ident) = expr
            && let Some((name, column)) = self.columns.iter().find(|(name, _)| *name == folded(ident))
        {
            *expr = Expr::CompoundIdentifier(vec![Ident::with_quote('"', name), column.clone()]);
        }
        ControlFlow::Continue(())
    }
}
