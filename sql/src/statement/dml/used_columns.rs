//! The columns that expressions use.

use std::collections::HashSet;

use datafusion::common::Column;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::Expr;

/// Columns that expressions use, those that their subqueries refer to included.
pub fn columns_of<'a>(exprs: impl IntoIterator<Item = &'a Expr>) -> HashSet<Column> {
    let mut found = HashSet::new();
    for expr in exprs {
        // The closure cannot fail.
        let _ = expr.apply(|e| {
            let outer = match e {
                Expr::Column(column) => {
                    found.insert(column.clone());
                    None
                }
                Expr::ScalarSubquery(subquery) => Some(&subquery.outer_ref_columns),
                Expr::Exists(exists) => Some(&exists.subquery.outer_ref_columns),
                Expr::InSubquery(inside) => Some(&inside.subquery.outer_ref_columns),
                Expr::SetComparison(comparison) => Some(&comparison.subquery.outer_ref_columns),
                _ => None,
            };
            for reference in outer.into_iter().flatten() {
                if let Expr::OuterReferenceColumn(_, column) = reference {
                    found.insert(column.clone());
                }
            }
            Ok(TreeNodeRecursion::Continue)
        });
    }
    found
}
