//! `GROUP BY ROLLUP ((a, b), c)` and `CUBE` of lists as the grouping sets that they stand for, and
//! `GROUP BY ()` as what an aggregate alone does.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, GroupByExpr, Select, VisitorMut};

/// Most lists of a CUBE, as in Postgres.
const MOST: usize = 12;

/// The rewrite.
pub struct Grouping;

impl VisitorMut for Grouping {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let GroupByExpr::Expressions(exprs, _) = &mut select.group_by else {
            return ControlFlow::Continue(());
        };
        for expr in exprs.iter_mut() {
            let lists = |lists: &[Vec<Expr>]| lists.iter().any(|list| list.len() != 1);
            let sets = match expr {
                Expr::Rollup(list) if lists(list) => {
                    (0..=list.len()).rev().map(|n| list.iter().take(n).flatten().cloned().collect()).collect()
                }
                Expr::Cube(list) if lists(list) && list.len() <= MOST => {
                    let chosen = |mask: usize| {
                        let members =
                            list.iter().enumerate().filter(|(i, _)| mask & (1 << (list.len() - 1 - i)) != 0);
                        members.flat_map(|(_, members)| members.clone()).collect()
                    };
                    (0..1_usize << list.len()).rev().map(chosen).collect()
                }
                _ => continue,
            };
            *expr = Expr::GroupingSets(sets);
        }
        if let [Expr::Tuple(list)] = exprs.as_slice()
            && list.is_empty()
        {
            exprs.clear();
        }
        ControlFlow::Continue(())
    }
}
