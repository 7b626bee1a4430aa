//! `LATERAL (SELECT … FROM t WHERE t.k = o.k ORDER BY x LIMIT n)`: the first rows of each group, which
//! DataFusion does not join. They are numbered within their group first:
//! `LATERAL (SELECT … FROM (SELECT …, t.k, row_number() OVER (PARTITION BY t.k ORDER BY x) FROM t) WHERE k = o.k
//! AND number <= n)`.
//!
//! What is of the subquery is told by its qualifier; a name without one is taken for the subquery's own. What
//! does not fit is left as it is, and refused by DataFusion.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, ExcludeSelectItem, Expr, Function, FunctionArguments, GroupByExpr, Ident, LimitClause,
    ObjectName, OrderBy, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor, Value,
    Visitor, VisitorMut, WildcardAdditionalOptions, WindowSpec, WindowType,
};

use super::names;
use crate::analyzer::{any_own_expr, number};
use crate::parser::row_target;
use crate::parser::walk::{Walk, WalkMut};

const NUMBER: &str = "\u{1}number";

/// The rewrite.
pub fn rewrite(query: &mut Query) {
    let _ = query.walk_mut(&mut LateralTop);
}

struct LateralTop;

impl VisitorMut for LateralTop {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Derived { lateral: true, subquery, .. } = factor
            && let Some(numbered) = numbered(subquery)
        {
            **subquery = numbered;
        }
        ControlFlow::Continue(())
    }
}

fn whole_number(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// LIMIT and OFFSET, or FETCH FIRST.
fn limits(query: &Query) -> Option<(Option<i64>, i64)> {
    let (limit, offset) = match &query.limit_clause {
        Some(LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
            (limit.as_ref(), offset.as_ref().map(|offset| &offset.value))
        }
        None => (None, None),
        _ => return None,
    };
    let offset = offset.map_or(Some(0), whole_number)?;
    let limit = match (&query.fetch, limit) {
        (None, limit) => limit.map(whole_number).map_or(Some(None), |limit| limit.map(Some))?,
        (Some(fetch), None) if !fetch.with_ties && !fetch.percent => {
            Some(fetch.quantity.as_ref().map_or(Some(1), whole_number)?)
        }
        _ => return None,
    };
    (limit.is_some() || offset > 0).then_some((limit, offset))
}

/// Qualifiers of the relations in FROM. `None`: one that is not told by a name.
fn qualifiers(select: &Select) -> Option<Vec<String>> {
    let factors = select
        .from
        .iter()
        .flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)));
    let name = |factor: &TableFactor| match factor {
        TableFactor::Table { name, alias, args: None, .. } => match alias {
            Some(alias) => Some(names::folded(&alias.name)),
            None => name.0.last().and_then(|part| part.as_ident()).map(names::folded),
        },
        _ => None,
    };
    factors.map(name).collect()
}

/// Whether an expression is of the subquery's own relations.
fn is_own(expr: &Expr, own: &[String]) -> bool {
    expr.walk(&mut Foreign { own }).is_continue()
}

/// Finds a column of another relation, or a subquery, which may have one in it.
struct Foreign<'a> {
    own: &'a [String],
}

impl Visitor for Foreign<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        ControlFlow::Break(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::CompoundIdentifier(idents) => {
                let qualifier = idents.len().checked_sub(2).and_then(|place| idents.get(place));
                let is_own = qualifier.is_none_or(|ident| self.own.contains(&names::folded(ident)));
                if is_own { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

fn conjuncts(expr: Expr, all: &mut Vec<Expr>) {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            conjuncts(*left, all);
            conjuncts(*right, all);
        }
        Expr::Nested(inner) if matches!(*inner, Expr::BinaryOp { op: BinaryOperator::And, .. }) => {
            conjuncts(*inner, all);
        }
        other => all.push(other),
    }
}

fn and(all: Vec<Expr>) -> Option<Expr> {
    let join = |left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::And,
        right: Box::new(right),
    };
    all.into_iter().reduce(join)
}

fn compared(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

/// What ORDER BY means in a window: names and numbers of result columns are their expressions.
fn order(query: &Query, items: &[SelectItem]) -> Option<Vec<OrderByExpr>> {
    let exprs = match &query.order_by {
        None => return Some(Vec::new()),
        Some(OrderBy { kind: OrderByKind::Expressions(exprs), interpolate: None }) => exprs,
        Some(_) => return None,
    };
    let meant = |by: &OrderByExpr| {
        let mut by = by.clone();
        if let Some(place) = whole_number(&by.expr) {
            let item = usize::try_from(place).ok().and_then(|place| items.get(place.checked_sub(1)?))?;
            by.expr = match item {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => expr.clone(),
                _ => return None,
            };
        } else if let Expr::Identifier(ident) = &by.expr {
            let name = names::folded(ident);
            let named = items.iter().find_map(|item| match item {
                SelectItem::ExprWithAlias { expr, alias } if names::folded(alias) == name => {
                    Some(expr.clone())
                }
                _ => None,
            });
            by.expr = named.unwrap_or(by.expr);
        }
        Some(by)
    };
    exprs.iter().map(meant).collect()
}

/// The query of numbered rows. `None`: it is none of these.
fn numbered(query: &Query) -> Option<Query> {
    let (limit, offset) = limits(query)?;
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let is_grouped =
        !matches!(&select.group_by, GroupByExpr::Expressions(e, m) if e.is_empty() && m.is_empty());
    let mut items = select.projection.clone();
    let makes_rows = |expr: &Expr| matches!(expr, Expr::Function(function) if function.over.is_some() || is_aggregate(function));
    let is_plain = query.with.is_none()
        && query.locks.is_empty()
        && select.distinct.is_none()
        && select.having.is_none()
        && select.qualify.is_none()
        && !is_grouped
        && !any_own_expr(&items, makes_rows);
    if !is_plain || select.from.is_empty() {
        return None;
    }
    let own = qualifiers(select)?;
    // Conditions of joins are not looked into any further.
    if select.from.iter().any(|from| from.walk(&mut Foreign { own: &own }).is_break()) {
        return None;
    }
    let mut all = Vec::new();
    conjuncts(select.selection.clone()?, &mut all);
    let (kept, foreign): (Vec<Expr>, Vec<Expr>) = all.into_iter().partition(|expr| is_own(expr, &own));
    let mut keys = Vec::new();
    for expr in foreign {
        let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = expr else { return None };
        match (is_own(&left, &own), is_own(&right, &own)) {
            (true, false) => keys.push((*left, *right)),
            (false, true) => keys.push((*right, *left)),
            _ => return None,
        }
    }
    let order = order(query, &items)?;
    let item_is_own = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => is_own(expr, &own),
        SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => true,
        SelectItem::ExprWithAliases { .. } => false,
    };
    let own_order = order.iter().all(|by| is_own(&by.expr, &own));
    if keys.is_empty() || !own_order || !items.iter().all(item_is_own) {
        return None;
    }
    let mut conditions = Vec::new();
    let mut hidden = vec![Ident::with_quote('"', NUMBER)];
    for (place, (inner, outer)) in keys.iter().enumerate() {
        let name = Ident::with_quote('"', format!("\u{1}key{place}"));
        items.push(SelectItem::ExprWithAlias { expr: inner.clone(), alias: name.clone() });
        conditions.push(compared(Expr::Identifier(name.clone()), BinaryOperator::Eq, outer.clone()));
        hidden.push(name);
    }
    let partition = keys.into_iter().map(|(inner, _)| inner).collect();
    items.push(SelectItem::ExprWithAlias {
        expr: row_number(partition, order),
        alias: Ident::with_quote('"', NUMBER),
    });
    let of_row = || Expr::Identifier(Ident::with_quote('"', NUMBER));
    if offset > 0 {
        conditions.push(compared(of_row(), BinaryOperator::Gt, number(offset)));
    }
    if let Some(limit) = limit {
        let last = offset.checked_add(limit)?;
        conditions.push(compared(of_row(), BinaryOperator::LtEq, number(last)));
    }
    let mut inner = query.clone();
    (inner.order_by, inner.limit_clause, inner.fetch) = (None, None, None);
    let SetExpr::Select(rows) = inner.body.as_mut() else { return None };
    (rows.projection, rows.selection) = (items, and(kept));
    let shown = SelectItem::Wildcard(WildcardAdditionalOptions {
        opt_exclude: Some(ExcludeSelectItem::Multiple(hidden.into_iter().map(ObjectName::from).collect())),
        ..WildcardAdditionalOptions::default()
    });
    let relation = TableFactor::Derived {
        lateral: false,
        subquery: Box::new(inner),
        alias: Some(datafusion::sql::sqlparser::ast::TableAlias {
            explicit: true,
            name: Ident::with_quote('"', "\u{1}top"),
            columns: Vec::new(),
            at: None,
        }),
        sample: None,
    };
    let from = vec![datafusion::sql::sqlparser::ast::TableWithJoins { relation, joins: Vec::new() }];
    row_target::select(None, vec![shown], from, and(conditions)).ok()
}

fn is_aggregate(function: &Function) -> bool {
    // Whatever is not known to give one value for each row.
    let name = function.name.to_string().to_lowercase();
    function.filter.is_some()
        || !function.within_group.is_empty()
        || matches!(&function.args, FunctionArguments::List(list) if list.duplicate_treatment.is_some())
        || AGGREGATES.contains(&name.trim_start_matches("pg_catalog."))
}

const AGGREGATES: &[&str] = &[
    "approx_distinct",
    "approx_percentile",
    "array_agg",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar_pop",
    "covar_samp",
    "every",
    "first_value",
    "json_agg",
    "json_object_agg",
    "jsonb_agg",
    "jsonb_object_agg",
    "last_value",
    "max",
    "median",
    "min",
    "mode",
    "percentile_cont",
    "percentile_disc",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "string_agg",
    "sum",
    "var_pop",
    "var_samp",
    "variance",
    "any_value",
    "unnest",
    "generate_series",
    "generate_subscripts",
    "json_array_elements",
    "jsonb_array_elements",
    "json_array_elements_text",
    "jsonb_array_elements_text",
    "regexp_matches",
];

fn row_number(partition_by: Vec<Expr>, order_by: Vec<OrderByExpr>) -> Expr {
    let mut call = crate::analyzer::call("row_number", Vec::new());
    if let Expr::Function(function) = &mut call {
        function.over = Some(WindowType::WindowSpec(WindowSpec {
            window_name: None,
            partition_by,
            order_by,
            window_frame: None,
        }));
    }
    call
}
