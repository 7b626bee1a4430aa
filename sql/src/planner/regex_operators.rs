//! `~ ~* !~ !~*`: DataFusion's operators, with the regular expression in its syntax.

use std::sync::{Arc, LazyLock};

use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ScalarUDF, lit};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::functions::columnar::ColumnarFunction;
use crate::functions::regexp;
use crate::functions::regexp::pattern::{Options, compile, translate};

/// The planner extension.
#[derive(Debug)]
pub struct RegexOperators;

static REGEX_IN: LazyLock<Option<Arc<ScalarUDF>>> = LazyLock::new(|| {
    let definition = regexp::FUNCTIONS.iter().find(|definition| definition.name == "regex_in")?;
    Some(Arc::new(ScalarUDF::new_from_impl(ColumnarFunction::new(definition))))
});

impl ExprPlanner for RegexOperators {
    fn plan_binary_op(
        &self,
        mut expr: RawBinaryExpr,
        _schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let matches = matches!(
            expr.op,
            BinaryOperator::PGRegexMatch
                | BinaryOperator::PGRegexIMatch
                | BinaryOperator::PGRegexNotMatch
                | BinaryOperator::PGRegexNotIMatch
        );
        if matches {
            expr.right = in_other_syntax(expr.right)?;
        }
        Ok(PlannerResult::Original(expr))
    }
}

fn in_other_syntax(pattern: Expr) -> Result<Expr> {
    if let Expr::Literal(value, _) = &pattern
        && let Some(text) = value.try_as_str().flatten()
    {
        compile(text, Options::default())?;
        return Ok(lit(translate(text, Options::default())?.0));
    }
    let translated = matches!(&pattern, Expr::ScalarFunction(call) if call.name() == "similar_to_escape");
    Ok(match REGEX_IN.as_ref() {
        Some(function) if !translated => {
            Expr::ScalarFunction(ScalarFunction::new_udf(function.clone(), vec![pattern]))
        }
        _ => pattern,
    })
}
