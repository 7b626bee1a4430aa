//! Which statements look into the catalog, and so need its contents before they are planned.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, ObjectName, Statement, Visit, Visitor};

use super::ast::{function_name, system_name};

/// Functions that look something up without `pg_` or `reg` in their names.
const FUNCTIONS: &[&str] =
    &["col_description", "obj_description", "has_table_privilege", "format_type"];

/// `true` when a (rewritten) statement reads system relations or calls functions that do.
pub fn needs_catalog(statement: &Statement) -> bool {
    statement.visit(&mut Find).is_break()
}

struct Find;

impl Visitor for Find {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        if system_name(relation).is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match function_name(expr) {
            Some(name)
                if name.starts_with("pg_")
                    || name.starts_with("reg")
                    || name.starts_with("to_reg")
                    || FUNCTIONS.contains(&name.as_str()) =>
            {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}
