//! The select list of a subquery that is put to another use.

use datafusion::sql::sqlparser::ast::{Expr, GroupByExpr, Ident, Query, Select, SelectItem, SetExpr};

/// What is selected, without the names. `None`: there are wildcards.
pub(crate) fn exprs(select: &Select) -> Option<Vec<Expr>> {
    let expr = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr.clone()),
        _ => None,
    };
    select.projection.iter().map(expr).collect()
}

/// Whether other clauses may use the names or positions of what is selected.
pub(crate) fn are_referred_to(query: &Query) -> bool {
    let grouped = match query.body.as_ref() {
        SetExpr::Select(select) => {
            !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty())
        }
        _ => true,
    };
    grouped || query.order_by.is_some()
}

/// Gives the columns of a plain query these names, one for each. `false`: the query is not that plain.
pub(crate) fn rename(query: &mut Query, names: &[Ident]) -> bool {
    if are_referred_to(query) {
        return false;
    }
    let SetExpr::Select(select) = query.body.as_mut() else { return false };
    let Some(exprs) = exprs(select).filter(|exprs| exprs.len() == names.len()) else { return false };
    let named = exprs.into_iter().zip(names.iter().cloned());
    select.projection = named.map(|(expr, alias)| SelectItem::ExprWithAlias { expr, alias }).collect();
    true
}
