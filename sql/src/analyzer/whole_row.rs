//! The name of a relation as an argument of a JSON function is its whole row: `row_to_json(t)`. What
//! columns that has is known to the planner ([`crate::planner::json_operators`]), which is asked by an
//! operator that nobody can write.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Query, Select, SetExpr,
    TableFactor, VisitorMut,
};

use super::ast::{call, folded, null, parts, string, table_factors};

use crate::parser::walk::WalkMut;

/// Between the name of the relation and NULL.
pub const WHOLE_ROW: &str = "\u{1}row";

const FUNCTIONS: &[&str] = &[
    "to_json",
    "to_jsonb",
    "row_to_json",
    "json_agg",
    "jsonb_agg",
    "json_build_object",
    "jsonb_build_object",
    "json_build_array",
    "jsonb_build_array",
    "json_object_agg",
    "jsonb_object_agg",
];

/// The rewrite.
pub struct WholeRow;

impl VisitorMut for WholeRow {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let SetExpr::Select(select) = query.body.as_ref() else { return ControlFlow::Continue(()) };
        let names = relations(select);
        query.walk_mut(&mut Arguments { names, depth: 0 })
    }
}

fn relations(select: &Select) -> Vec<String> {
    let name = |factor: &TableFactor| match factor {
        TableFactor::Derived { alias, .. } => alias.as_ref().map(|alias| folded(&alias.name)),
        TableFactor::Table { name, alias, args: None, .. } => match alias {
            Some(alias) => Some(folded(&alias.name)),
            None => parts(name)?.pop(),
        },
        _ => None,
    };
    table_factors(&select.from).into_iter().filter_map(name).collect()
}

struct Arguments {
    names: Vec<String>,
    /// Queries around an expression: those within the one that is looked at have relations of their own.
    depth: usize,
}

impl VisitorMut for Arguments {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let known = parts(&function.name)
            .and_then(|mut parts| parts.pop())
            .is_some_and(|name| FUNCTIONS.contains(&name.as_str()));
        let FunctionArguments::List(list) = &mut function.args else { return ControlFlow::Continue(()) };
        if self.depth > 1 || !known {
            return ControlFlow::Continue(());
        }
        for argument in &mut list.args {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = argument else { continue };
            if let Some(row) = anonymous(expr) {
                *expr = row;
            } else if let Expr::Identifier(ident) = expr
                && self.names.contains(&folded(ident))
            {
                *expr = Expr::BinaryOp {
                    left: Box::new(string(folded(ident))),
                    op: BinaryOperator::PGCustomBinaryOperator(vec![WHOLE_ROW.to_string()]),
                    right: Box::new(null()),
                };
            }
        }
        ControlFlow::Continue(())
    }
}

/// `ROW(a, b)`: its fields are called `f1`, `f2`, ….
fn anonymous(expr: &Expr) -> Option<Expr> {
    let fields: Vec<Expr> = match expr {
        Expr::Tuple(fields) => fields.clone(),
        Expr::Function(function) if parts(&function.name)? == ["row"] => {
            let FunctionArguments::List(list) = &function.args else { return None };
            let field = |argument: &FunctionArg| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
                _ => None,
            };
            list.args.iter().map(field).collect::<Option<_>>()?
        }
        _ => return None,
    };
    let named = fields.into_iter().enumerate().flat_map(|(i, field)| [string(format!("f{}", i + 1)), field]);
    Some(call("named_struct", named.collect()))
}
