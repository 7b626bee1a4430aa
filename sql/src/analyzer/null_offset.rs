//! `lag(a, NULL)` and `lead(a, NULL)`: NULL in each row, as in Postgres, where DataFusion takes the offset that
//! is there without one.

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    CaseWhen, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value, ValueWithSpan,
};

use super::ast::{boolean, number, parts};

/// What they look at becomes NULL, of its own type.
pub fn rewrite(function: &mut Function) {
    let named = parts(&function.name);
    if function.over.is_none() || !named.is_some_and(|parts| parts == ["lag"] || parts == ["lead"]) {
        return;
    }
    let FunctionArguments::List(list) = &mut function.args else { return };
    let [value, offset, default @ ..] = list.args.as_slice() else { return };
    if !is_null(offset) || default.len() > 1 {
        return;
    }
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) = value else { return };
    let never = CaseWhen { condition: boolean(false), result: value.clone() };
    let nothing = Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![never],
        else_result: None,
    };
    list.args = [nothing, number(1)].map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).to_vec();
}

fn is_null(argument: &FunctionArg) -> bool {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => is_null_expr(expr),
        _ => false,
    }
}

fn is_null_expr(expr: &Expr) -> bool {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::Null, .. }) => true,
        Expr::Cast { expr, .. } | Expr::Nested(expr) => is_null_expr(expr),
        _ => false,
    }
}
