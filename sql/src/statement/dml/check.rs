//! CHECK constraints, and whatever else every new row has to satisfy: evaluated while rows are
//! written, so that a row that does not comes to light before anything is committed.
//!
//! The conditions are arguments of a function around a column that is written, and nothing else of
//! the plan: there no rule of the optimizer evaluates them for other rows or leaves them out.

use arrow::array::AsArray;
use arrow::datatypes::{DataType, FieldRef};
use auric_catalog::registry::Table;
use auric_catalog::table::{CheckConstraint, TableFormat};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility, lit, when,
};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::parser::Parser;

use crate::error::{Error, Result, SqlState};
use crate::parser::AuricDialect;
use crate::planner::Scope;

/// Which rows of a plan are new rows of a table, and where.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// Position of the table's first column in the plan; the others follow.
    pub first_column: usize,
    /// Only rows for which this is true are checked. `None`: all.
    pub rows: Option<Expr>,
}

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Violation {
    Constraint {
        table: String,
        constraint: String,
    },
    /// It is not one of those that the statement replaces.
    Outside {
        table: String,
        predicate: String,
    },
    /// A second new row with the same key.
    SecondTime(&'static str),
}

impl From<&Violation> for auric_catalog::Error {
    fn from(violation: &Violation) -> Self {
        match violation.clone() {
            Violation::Constraint { table, constraint } => Self::CheckViolation { table, constraint },
            Violation::Outside { table, predicate } => Self::OutsideOfOverwrite { table, predicate },
            Violation::SecondTime(command) => Self::CardinalityViolation { command },
        }
    }
}

/// `plan`, failing with 23514 at the first new row that violates a constraint of the table. Fails
/// with 0A000 for a constraint that cannot be evaluated here.
pub fn enforce(scope: &Scope, table: &Table, plan: LogicalPlan, checked: &Checked) -> Result<LogicalPlan> {
    let constraints = &table.snapshot.constraints;
    let mut conditions = Vec::with_capacity(constraints.len());
    for constraint in constraints {
        let condition = condition(scope, table, constraint, plan.schema(), checked)?;
        let violation =
            Violation::Constraint { table: table.ident.name.clone(), constraint: constraint.name.clone() };
        conditions.push((condition, violation));
    }
    require(plan, checked, conditions)
}

/// `plan`, failing with its violation at the first new row for which a condition over the plan's
/// columns is not true.
pub fn require(
    plan: LogicalPlan,
    checked: &Checked,
    conditions: Vec<(Expr, Violation)>,
) -> Result<LogicalPlan> {
    if conditions.is_empty() {
        return Ok(plan);
    }
    let columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
    let mut arguments = Vec::with_capacity(conditions.len() + 1);
    arguments.extend(columns.get(checked.first_column).cloned());
    let mut violations = Vec::with_capacity(conditions.len());
    for (condition, violation) in conditions {
        arguments.push(match &checked.rows {
            None => condition.is_true(),
            // Other rows may not even have values to compute the condition from.
            Some(rows) => {
                when(rows.clone(), condition.is_true()).otherwise(lit(true)).map_err(|e| Error::from(&e))?
            }
        });
        violations.push(violation);
    }
    let signature = Signature::any(arguments.len(), Volatility::Volatile);
    let function = ScalarUDF::new_from_impl(Check { violations, signature });
    let mut projected = Vec::with_capacity(columns.len());
    for (i, column) in columns.into_iter().enumerate() {
        projected.push(match &column {
            Expr::Column(Column { relation, name, .. }) if i == checked.first_column => {
                function.call(arguments.clone()).alias_qualified(relation.clone(), name)
            }
            _ => column,
        });
    }
    LogicalPlanBuilder::from(plan)
        .project(projected)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|e| Error::from(&e))
}

/// A constraint over the plan's columns, true for rows that satisfy it.
fn condition(
    scope: &Scope,
    table: &Table,
    constraint: &CheckConstraint,
    plan: &DFSchema,
    checked: &Checked,
) -> Result<Expr> {
    let arrow = &table.snapshot.schema.arrow;
    let unreadable = |e: &dyn std::fmt::Display| {
        let message = format!(
            "relation \"{}\" has a check constraint \"{}\" that cannot be evaluated here: {}",
            table.ident.name, constraint.name, constraint.expression
        );
        Error::new(SqlState::FEATURE_NOT_SUPPORTED, message).with_detail(e.to_string())
    };
    let dialect = AuricDialect::default();
    // Spark quotes names with backticks.
    let text = constraint.expression.replace('`', "\"");
    let mut parser = Parser::new(&dialect).try_with_sql(&text).map_err(|e| unreadable(&e))?;
    let parsed = parser.parse_expr().map_err(|e| unreadable(&e))?;
    if parser.peek_token_ref().token != datafusion::sql::sqlparser::tokenizer::Token::EOF {
        return Err(unreadable(&"there is more than one expression"));
    }
    let schema = DFSchema::try_from(arrow.as_ref().clone()).map_err(|e| Error::from(&e))?;
    let planned = scope.row_expr(&parsed, &schema).map_err(|e| unreadable(&e))?;
    let planned = planned.transform(|expr| {
        let Expr::Column(column) = &expr else { return Ok(Transformed::no(expr)) };
        let index = arrow.index_of(&column.name)?;
        let (relation, field) = plan.qualified_field(checked.first_column + index);
        Ok(Transformed::yes(Expr::Column(Column::new(relation.cloned(), field.name()))))
    });
    let planned = planned.map_err(|e| unreadable(&e))?.data;
    Ok(match table.snapshot.format {
        // Delta protocol, "CHECK Constraints": satisfied only if the expression evaluates to true.
        TableFormat::Delta => planned.is_true(),
        TableFormat::Iceberg => planned.is_not_false(),
    })
}

/// Returns its first argument; fails where one of the others is not true.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Check {
    /// For each argument but the first.
    violations: Vec<Violation>,
    signature: Signature,
}

impl ScalarUDFImpl for Check {
    fn name(&self) -> &'static str {
        "auric_check"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        let first = arguments.first().cloned();
        first.ok_or_else(|| DataFusionError::Internal("auric_check needs a value".into()))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let first = arguments.arg_fields.first().cloned();
        first.ok_or_else(|| DataFusionError::Internal("auric_check needs a value".into()))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let mut values = arguments.args.into_iter();
        let value = values.next();
        for (condition, violation) in values.zip(&self.violations) {
            let satisfied = match &condition {
                ColumnarValue::Scalar(value) => {
                    *value == ScalarValue::Boolean(Some(true)) || arguments.number_rows == 0
                }
                ColumnarValue::Array(values) => {
                    values.as_boolean_opt().is_some_and(|v| v.true_count() == v.len())
                }
            };
            if !satisfied {
                return Err(auric_catalog::Error::from(violation).into());
            }
        }
        value.ok_or_else(|| DataFusionError::Internal("auric_check needs a value".into()))
    }
}
