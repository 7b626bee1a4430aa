//! NOT NULL and CHECK constraints, and whatever else every new row has to satisfy: evaluated while
//! rows are written, so that a row that does not comes to light before anything is committed.
//!
//! The conditions are arguments of a function around a column that is written, and nothing else of
//! the plan: there no rule of the optimizer evaluates them for other rows or leaves them out.

use arrow::array::{ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::{DataType, FieldRef};
use auric_catalog::registry::Table;
use datafusion::common::Column;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility, lit, when,
};

use super::condition;
use super::failing_row;
use crate::error::{Error, ErrorObject, Result, SqlState};
use crate::planner::Scope;

/// Which rows of a plan are new rows of a table, and where.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// Position of the table's first column in the plan; the others follow.
    pub first_column: usize,
    /// Position of a column that is written whatever becomes of the others: the checks are made with it.
    pub carrier: usize,
    /// Only rows for which this is true are checked. `None`: all.
    pub rows: Option<Expr>,
}

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Violation {
    /// A null in this column.
    Null(ErrorObject),
    Constraint(ErrorObject),
    /// It is not one of those that the statement replaces.
    Outside {
        table: String,
        predicate: String,
    },
    /// A second new row with the same key.
    SecondTime(&'static str),
}

impl Violation {
    /// `row`: the values of the row that is at fault.
    fn error(&self, row: Option<String>) -> Error {
        let error = match self.clone() {
            Self::Null(object) => {
                let column = object.column.clone().unwrap_or_default();
                let null = auric_catalog::Error::NotNullViolation { table: object.table.clone(), column };
                Error::from(null).with_object(object)
            }
            Self::Constraint(object) => {
                let constraint = object.constraint.as_deref().unwrap_or_default();
                let message = format!(
                    "new row for relation \"{}\" violates check constraint \"{constraint}\"",
                    object.table
                );
                Error::new(SqlState::CHECK_VIOLATION, message).with_object(object)
            }
            Self::Outside { table, predicate } => {
                auric_catalog::Error::OutsideOfOverwrite { table, predicate }.into()
            }
            Self::SecondTime(command) => auric_catalog::Error::CardinalityViolation { command }.into(),
        };
        match row {
            Some(row) => error.with_detail(format!("Failing row contains {row}.")),
            None => error,
        }
    }
}

/// `plan`, failing at the first new row with a null where the table has none (23502) or that violates
/// a constraint (23514). Fails with 0A000 for a constraint that cannot be evaluated here.
pub fn enforce(scope: &Scope, table: &Table, plan: LogicalPlan, checked: &Checked) -> Result<LogicalPlan> {
    let snapshot = &table.snapshot;
    let object = |column: Option<&String>, constraint: Option<&String>| ErrorObject {
        schema: table.ident.namespace.clone(),
        table: table.ident.name.clone(),
        column: column.cloned(),
        constraint: constraint.cloned(),
    };
    let mut conditions = Vec::with_capacity(snapshot.constraints.len());
    for (i, field) in snapshot.schema.arrow.fields().iter().enumerate() {
        let (relation, given) = plan.schema().qualified_field(checked.first_column + i);
        if !field.is_nullable() && given.is_nullable() {
            let condition = Expr::Column(Column::new(relation.cloned(), given.name())).is_not_null();
            let violation = Violation::Null(object(Some(field.name()), None));
            conditions.push((condition, violation));
        }
    }
    for constraint in &snapshot.constraints {
        let condition = condition::of_row(scope, table, constraint, plan.schema(), checked.first_column)?;
        let violation = Violation::Constraint(object(None, Some(&constraint.name)));
        conditions.push((condition, violation));
    }
    check(plan, checked, conditions, snapshot.schema.arrow.fields().len())
}

/// `plan`, failing with its violation at the first new row for which a condition over the plan's
/// columns is not true.
pub fn require(
    plan: LogicalPlan,
    checked: &Checked,
    conditions: Vec<(Expr, Violation)>,
) -> Result<LogicalPlan> {
    check(plan, checked, conditions, 0)
}

/// `shown`: how many columns, from the first, a message shows of a row.
fn check(
    plan: LogicalPlan,
    checked: &Checked,
    conditions: Vec<(Expr, Violation)>,
    shown: usize,
) -> Result<LogicalPlan> {
    if conditions.is_empty() {
        return Ok(plan);
    }
    let columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
    let mut arguments = Vec::with_capacity(conditions.len() + shown + 1);
    arguments.extend(columns.get(checked.carrier).cloned());
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
    arguments.extend(columns.iter().skip(checked.first_column).take(shown).cloned());
    let signature = Signature::any(arguments.len(), Volatility::Volatile);
    let function = ScalarUDF::new_from_impl(Check { violations, signature });
    let mut projected = Vec::with_capacity(columns.len());
    for (i, column) in columns.into_iter().enumerate() {
        projected.push(match &column {
            Expr::Column(Column { relation, name, .. }) if i == checked.carrier => {
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

/// Returns its first argument; fails where one of those for its violations is not true. What comes
/// after them is shown of the row.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Check {
    violations: Vec<Violation>,
    signature: Signature,
}

impl Check {
    /// The first row that is at fault, and what is wrong with it first.
    fn fault(&self, conditions: &[ArrayRef]) -> Option<(usize, &Violation)> {
        let first_false = |condition: &ArrayRef| match condition.as_boolean_opt() {
            Some(values) if values.true_count() == values.len() => None,
            Some(values) => first_not_true(values),
            None => Some(0),
        };
        let faults = conditions.iter().zip(&self.violations);
        let faults = faults.filter_map(|(condition, violation)| Some((first_false(condition)?, violation)));
        faults.min_by_key(|(row, _)| *row)
    }
}

fn first_not_true(values: &BooleanArray) -> Option<usize> {
    values.iter().position(|value| value != Some(true))
}

fn without_value() -> DataFusionError {
    DataFusionError::Internal("auric_check needs a value".into())
}

impl ScalarUDFImpl for Check {
    fn name(&self) -> &'static str {
        "auric_check"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        arguments.first().cloned().ok_or_else(without_value)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        arguments.arg_fields.first().cloned().ok_or_else(without_value)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let rows = arguments.number_rows;
        let mut values = arguments.args.into_iter();
        let value = values.next().ok_or_else(without_value)?;
        let conditions = values.by_ref().take(self.violations.len());
        let conditions =
            conditions.map(|condition| condition.into_array(rows)).collect::<DataFusionResult<Vec<_>>>()?;
        let Some((row, violation)) = self.fault(&conditions) else { return Ok(value) };
        let shown = values.map(|value| value.into_array(rows)).collect::<DataFusionResult<Vec<_>>>()?;
        Err(violation.error(failing_row::text(&shown, row)).into())
    }
}
