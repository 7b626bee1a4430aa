//! `ARRAY(SELECT …)`: an aggregate over the query, or, over an array of the outer row, a transform.

use datafusion::sql::sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, GroupByExpr, Ident, LambdaFunction, LambdaFunctionParameter, LambdaSyntax,
    OneOrManyWithParens, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr, TableAlias,
    TableFactor, TableFunctionArgs, TableWithJoins, Value, ValueWithSpan,
};

use super::ast::{call, function, function_name, parts};
use super::function_in_from;

/// Name of the only column of a query that is aggregated as a whole.
const ITEM: &str = "item";

/// The expression that gives the array.
pub fn rewrite(mut query: Query) -> Expr {
    if let Some(expr) = transform(&query) {
        return expr;
    }
    if !fold_into_select(&mut query) {
        query = aggregate_over(query);
    }
    call("array_or_empty", vec![Expr::Subquery(Box::new(query))])
}

fn item_expr(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}

fn is_plain(select: &Select) -> bool {
    let ungrouped = matches!(&select.group_by, GroupByExpr::Expressions(exprs, _) if exprs.is_empty());
    ungrouped && select.having.is_none() && select.top.is_none() && select.projection.len() == 1
}

/// `SELECT e FROM unnest(a) x [WHERE p]` becomes `array_transform(array_filter(a, x -> p), x -> e)`.
fn transform(query: &Query) -> Option<Expr> {
    let SetExpr::Select(select) = &*query.body else { return None };
    let simple = is_plain(select)
        && select.distinct.is_none()
        && query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none();
    let ([from], true) = (select.from.as_slice(), simple) else { return None };
    if !from.joins.is_empty() {
        return None;
    }
    let (array, alias) = unnested(&from.relation)?;
    let expr = item_expr(select.projection.first()?)?.clone();
    let lambda = |body: Expr| {
        Expr::Lambda(LambdaFunction {
            params: OneOrManyWithParens::One(LambdaFunctionParameter {
                name: alias.clone(),
                data_type: None,
            }),
            body: Box::new(body),
            syntax: LambdaSyntax::Arrow,
        })
    };
    let filtered = match &select.selection {
        Some(predicate) => call("array_filter", vec![array, lambda(predicate.clone())]),
        None => array,
    };
    Some(call("array_or_empty", vec![call("array_transform", vec![filtered, lambda(expr)])]))
}

/// Array and alias of `unnest(array) alias`.
fn unnested(factor: &TableFactor) -> Option<(Expr, Ident)> {
    let (array, alias): (Expr, &TableAlias) = match factor {
        TableFactor::Table { name, args: Some(TableFunctionArgs { args, .. }), alias, .. }
        | TableFactor::Function { name, args, alias, .. } => {
            let name = parts(name)?;
            if name.last().map(String::as_str) != Some("unnest") {
                return None;
            }
            match args.as_slice() {
                [FunctionArg::Unnamed(FunctionArgExpr::Expr(array))] => (array.clone(), alias.as_ref()?),
                _ => return None,
            }
        }
        TableFactor::UNNEST { array_exprs, alias, with_offset: false, with_ordinality: false, .. } => {
            match array_exprs.as_slice() {
                [array] => (array.clone(), alias.as_ref()?),
                _ => return None,
            }
        }
        _ => return None,
    };
    let name = match alias.columns.as_slice() {
        [] => alias.name.clone(),
        [column] => column.name.clone(),
        _ => return None,
    };
    Some((array, name))
}

/// Puts the aggregate into the query's own select list. `false`: the query is not that simple.
fn fold_into_select(query: &mut Query) -> bool {
    if query.limit_clause.is_some() || query.fetch.is_some() {
        return false;
    }
    let order = match query.order_by.as_ref().map(|order| &order.kind) {
        None => Vec::new(),
        Some(OrderByKind::Expressions(exprs)) => exprs.clone(),
        Some(OrderByKind::All(_)) => return false,
    };
    let SetExpr::Select(select) = &mut *query.body else { return false };
    let distinct = match &select.distinct {
        None => false,
        Some(datafusion::sql::sqlparser::ast::Distinct::Distinct) => true,
        Some(_) => return false,
    };
    if !is_plain(select) {
        return false;
    }
    let Some(expr) = select.projection.first().and_then(item_expr).cloned() else { return false };
    if returns_set(&expr) {
        return false;
    }
    let order = order.into_iter().map(|by| resolve(by, &expr)).collect();
    let mut aggregate = array_agg(expr, order);
    if distinct && let FunctionArguments::List(list) = &mut aggregate.args {
        list.duplicate_treatment = Some(DuplicateTreatment::Distinct);
    }
    select.distinct = None;
    select.projection = vec![SelectItem::UnnamedExpr(Expr::Function(aggregate))];
    query.order_by = None;
    true
}

/// An aggregate over what a set-returning function gives needs a query of its own.
fn returns_set(expr: &Expr) -> bool {
    let name = function_name(expr);
    name.is_some_and(|name| name == "unnest" || function_in_from::of_one_column(&name).is_some())
}

/// `ORDER BY 1` orders by the item.
fn resolve(mut by: OrderByExpr, item: &Expr) -> OrderByExpr {
    if let Expr::Value(ValueWithSpan { value: Value::Number(n, _), .. }) = &by.expr
        && n == "1"
    {
        by.expr = item.clone();
    }
    by
}

fn array_agg(expr: Expr, order: Vec<OrderByExpr>) -> Function {
    let clauses = if order.is_empty() { Vec::new() } else { vec![FunctionArgumentClause::OrderBy(order)] };
    function("array_agg", vec![expr], clauses)
}

/// `SELECT array_agg(item) FROM (query) AS q(item)`.
fn aggregate_over(query: Query) -> Query {
    let alias = TableAlias {
        explicit: true,
        name: Ident::new("q"),
        columns: vec![datafusion::sql::sqlparser::ast::TableAliasColumnDef::from_name(ITEM)],
        at: None,
    };
    let aggregate = array_agg(Expr::Identifier(Ident::new(ITEM)), Vec::new());
    let mut outer = query.clone();
    let select = Select {
        projection: vec![SelectItem::UnnamedExpr(Expr::Function(aggregate))],
        from: vec![TableWithJoins {
            relation: TableFactor::Derived {
                lateral: false,
                subquery: Box::new(query),
                alias: Some(alias),
                sample: None,
            },
            joins: Vec::new(),
        }],
        ..empty_select()
    };
    outer.with = None;
    outer.body = Box::new(SetExpr::Select(Box::new(select)));
    outer.order_by = None;
    outer.limit_clause = None;
    outer.fetch = None;
    outer
}

fn empty_select() -> Select {
    Select {
        select_token: datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection: Vec::new(),
        exclude: None,
        into: None,
        from: Vec::new(),
        lateral_views: Vec::new(),
        prewhere: None,
        selection: None,
        connect_by: Vec::new(),
        group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: datafusion::sql::sqlparser::ast::SelectFlavor::Standard,
    }
}
