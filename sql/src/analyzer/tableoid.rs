//! System columns of system relations: `tableoid` is the OID of the relation that a row is from, hence a
//! constant; `xmin`, by which tools tell what has changed, the transaction that asks: all may have.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Select, SelectItem, TableFactor, VisitorMut};

use super::ast::{call, folded, number, system_name, table_factors};
use crate::parser::walk::WalkMut;
use crate::pg_catalog::shape;

/// The rewrite.
pub struct TableOid;

impl VisitorMut for TableOid {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let mut oids = HashMap::new();
        for factor in table_factors(&select.from) {
            if let TableFactor::Table { name, alias, args: None, .. } = factor
                && let Some((schema, table)) = system_name(name)
                && let Some(shape) = shape::find(&schema, &table)
            {
                let label = alias.as_ref().map_or(table, |alias| folded(&alias.name));
                oids.insert(label, shape.oid);
            }
        }
        if !oids.is_empty() {
            for item in &mut select.projection {
                name_column(item, &oids);
            }
            let _ = select.walk_mut(&mut Replace { oids });
        }
        ControlFlow::Continue(())
    }
}

/// The name of the system column that an expression names, and what it stands for.
fn constant(expr: &Expr, oids: &HashMap<String, u32>) -> Option<(&'static str, Expr)> {
    let (oid, column) = match expr {
        Expr::CompoundIdentifier(idents) => match idents.as_slice() {
            [table, column] => (oids.get(&folded(table))?, column),
            _ => return None,
        },
        Expr::Identifier(column) if oids.len() == 1 => (oids.values().next()?, column),
        _ => return None,
    };
    match folded(column).as_str() {
        "tableoid" => Some(("tableoid", call("oid", vec![number(oid)]))),
        "xmin" => Some(("xmin", call("current_xid", Vec::new()))),
        _ => None,
    }
}

/// Keeps the column's name.
fn name_column(item: &mut SelectItem, oids: &HashMap<String, u32>) {
    if let SelectItem::UnnamedExpr(expr) = item
        && let Some((name, expr)) = constant(expr, oids)
    {
        *item = SelectItem::ExprWithAlias { expr, alias: name.into() };
    }
}

struct Replace {
    oids: HashMap<String, u32>,
}

impl VisitorMut for Replace {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some((_, constant)) = constant(expr, &self.oids) {
            *expr = constant;
        }
        ControlFlow::Continue(())
    }
}
