//! Values of identity columns: those that a statement leaves to the table.
//!
//! The rows that get values are counted in the order in which they are inserted; the nth gets the nth value
//! beyond the mark of the version that the statement has read. Two statements that have read the same mark
//! conflict when they are committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int16Array, Int32Array, Int64Array};
use arrow::datatypes::{DataType, Field, UInt64Type};
use auric_catalog::registry::Table;
use auric_catalog::table::IdentityColumn;
use datafusion::common::Column;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprFunctionExt, Limit, LogicalPlan, LogicalPlanBuilder, Projection,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, SortExpr, Volatility, WindowFrame,
    WindowFrameBound, WindowFrameUnits,
};
use datafusion::scalar::ScalarValue;

use super::super::not_supported;
use crate::error::{Error, Result, SqlState};
use crate::pg_catalog::types::format_type;

/// Column: number of a row among those that are inserted, from 1.
const ORDINAL: &str = "__auric_identity_ordinal";

/// Which rows of a statement leave an identity column to the table although they have a value for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Left {
    All,
    /// The numbers of these rows, from 1.
    Rows(BTreeSet<u64>),
}

/// By column. Those that are no target of the statement are not in it.
pub type LeftToTable = BTreeMap<String, Left>;

/// The identity column of this name.
pub fn of<'t>(table: &'t Table, name: &str) -> Option<&'t IdentityColumn> {
    let schema = &table.snapshot.schema;
    schema.identity.get(&schema.id_of(name)?)
}

/// 428C9 for a value given for a column that takes none.
pub fn not_insertable(column: &str) -> Error {
    let message = format!("cannot insert a non-DEFAULT value into column \"{column}\"");
    always(column, message).with_hint("Use OVERRIDING SYSTEM VALUE to override.")
}

/// 428C9 for an update of such a column.
pub fn not_updatable(column: &str) -> Error {
    always(column, format!("column \"{column}\" can only be updated to DEFAULT"))
}

/// 0A000 for an update that asks for the next value.
pub fn next_value_in_update(column: &str) -> Error {
    not_supported(format!("updating identity column \"{column}\" to DEFAULT"))
}

fn always(column: &str, message: String) -> Error {
    let detail = format!("Column \"{column}\" is an identity column defined as GENERATED ALWAYS.");
    Error::new(SqlState("428C9"), message).with_detail(detail)
}

/// The plan with the number of each row as a column more, the last, in the order that the plan asks for.
pub fn numbered(plan: LogicalPlan) -> Result<LogicalPlan> {
    with_number(plan).map_err(|e| Error::from(&e))
}

/// The same with the number of each row among those for which `counted` is not null; it means nothing in others.
pub fn counted(plan: LogicalPlan, counted: Expr) -> Result<LogicalPlan> {
    let mut number = WindowFunction::new(count_udaf(), vec![counted]);
    number.params.window_frame = WindowFrame::new_bounds(
        WindowFrameUnits::Rows,
        WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
        WindowFrameBound::CurrentRow,
    );
    with_column(plan, number.into()).map_err(|e| Error::from(&e))
}

/// The number that [`numbered`] or [`counted`] gives a row.
pub fn ordinal() -> Expr {
    Expr::Column(Column::new_unqualified(ORDINAL))
}

fn with_number(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    match &plan {
        // What the rows are ordered by may not be among the columns.
        LogicalPlan::Projection(projection) if is_ordered(&projection.input) => {
            let input = with_number(projection.input.as_ref().clone())?;
            let columns = projection.expr.iter().cloned().chain([ordinal()]);
            LogicalPlanBuilder::from(input).project(columns.collect::<Vec<_>>())?.build()
        }
        LogicalPlan::Limit(limit) => match limit.input.as_ref() {
            LogicalPlan::Projection(projection) => {
                let input = Arc::clone(&projection.input);
                let few = LogicalPlan::Limit(Limit { input, ..limit.clone() });
                let columns = Projection::try_new(projection.expr.clone(), Arc::new(few))?;
                with_number(LogicalPlan::Projection(columns))
            }
            _ => with_row_number(plan),
        },
        _ => with_row_number(plan),
    }
}

fn with_row_number(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let number = match order(&plan) {
        Some(order) => row_number().order_by(order.to_vec()).build()?,
        None => row_number(),
    };
    with_column(plan, number)
}

/// The plan with a window function's value as [`ordinal`].
fn with_column(plan: LogicalPlan, number: Expr) -> DataFusionResult<LogicalPlan> {
    let mut columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
    let window = LogicalPlanBuilder::from(plan).window(vec![number])?.build()?;
    if let Some(number) = window.schema().columns().pop() {
        columns.push(Expr::Column(number).alias(ORDINAL));
    }
    LogicalPlanBuilder::from(window).project(columns)?.build()
}

/// What the rows of a plan are ordered by, as far as it is told in terms of its own columns.
fn order(plan: &LogicalPlan) -> Option<&[SortExpr]> {
    match plan {
        LogicalPlan::Sort(sort) => Some(&sort.expr),
        LogicalPlan::Limit(limit) => order(&limit.input),
        _ => None,
    }
}

/// Whether the rows of a plan are ordered by what is told right above them.
fn is_ordered(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        LogicalPlan::Limit(limit) => is_ordered(&limit.input),
        LogicalPlan::Projection(projection) => is_ordered(&projection.input),
        _ => false,
    }
}

/// The value of the row that `ordinal` is the number of. Rows with a null there get none.
pub fn value(column: &IdentityColumn, field: &Field, ordinal: Expr) -> Expr {
    function(column, field, Left::All).call(vec![ordinal])
}

/// [`value`] for the rows that leave the column to the table, `given` for all others.
pub fn value_or(column: &IdentityColumn, field: &Field, ordinal: Expr, left: Left, given: Expr) -> Expr {
    function(column, field, left).call(vec![ordinal, given])
}

fn function(column: &IdentityColumn, field: &Field, left: Left) -> ScalarUDF {
    let arguments = if left == Left::All { 1 } else { 2 };
    ScalarUDF::new_from_impl(IdentityValue {
        first: column.next(),
        step: column.step,
        left,
        column: field.name().clone(),
        data_type: field.data_type().clone(),
        signature: Signature::any(arguments, Volatility::Immutable),
    })
}

/// From the number of a row to its value.
#[derive(Debug, PartialEq, Eq, Hash)]
struct IdentityValue {
    /// The value of the first row.
    first: i128,
    step: i64,
    left: Left,
    column: String,
    data_type: DataType,
    signature: Signature,
}

impl IdentityValue {
    fn of(&self, ordinal: u64) -> DataFusionResult<i64> {
        let value = self.first + i128::from(self.step) * (i128::from(ordinal) - 1);
        let fits = match self.data_type {
            DataType::Int16 => i16::try_from(value).is_ok(),
            DataType::Int32 => i32::try_from(value).is_ok(),
            _ => true,
        };
        match i64::try_from(value) {
            Ok(value) if fits => Ok(value),
            _ => Err(self.used_up().into()),
        }
    }

    fn used_up(&self) -> Error {
        let (pg_type, _) = crate::types::pg_type(&Field::new(&self.column, self.data_type.clone(), false));
        let message = format!("{} out of range", format_type(pg_type.oid(), None));
        let detail = format!("Identity column \"{}\" has given out all of its values.", self.column);
        Error::new(SqlState::NUMERIC_OUT_OF_RANGE, message).with_detail(detail)
    }

    fn is_left(&self, ordinal: u64) -> bool {
        match &self.left {
            Left::All => true,
            Left::Rows(rows) => rows.contains(&ordinal),
        }
    }

    /// The values as the column has them.
    fn array(&self, values: Vec<Option<i64>>) -> ArrayRef {
        let values = values.into_iter();
        match self.data_type {
            // That they fit was found before.
            DataType::Int16 => Arc::new(Int16Array::from_iter(values.map(|v| v.map(|v| v as i16)))),
            DataType::Int32 => Arc::new(Int32Array::from_iter(values.map(|v| v.map(|v| v as i32)))),
            _ => Arc::new(Int64Array::from_iter(values)),
        }
    }
}

impl ScalarUDFImpl for IdentityValue {
    fn name(&self) -> &'static str {
        "auric_identity_value"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.data_type.clone())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let rows = arguments.number_rows;
        let mut arguments = arguments.args.into_iter();
        let missing = || DataFusionError::Internal("auric_identity_value needs the number of a row".into());
        let ordinals = arguments.next().ok_or_else(missing)?.into_array(rows)?;
        let ordinals = arrow::compute::cast(&ordinals, &DataType::UInt64)?;
        let ordinals = ordinals.as_primitive_opt::<UInt64Type>().ok_or_else(missing)?;
        let given = match arguments.next() {
            Some(given) => Some(arrow::compute::cast(&given.into_array(rows)?, &DataType::Int64)?),
            None => None,
        };
        let given = given.as_ref().and_then(|given| given.as_primitive_opt::<arrow::datatypes::Int64Type>());
        let value = |(row, ordinal): (usize, Option<u64>)| match (ordinal, given) {
            // 0: no row was counted so far.
            (Some(ordinal @ 1..), _) if self.is_left(ordinal) => self.of(ordinal).map(Some),
            (_, Some(given)) if given.is_valid(row) => Ok(Some(given.value(row))),
            _ => Ok(None),
        };
        let values = ordinals.iter().enumerate().map(value).collect::<DataFusionResult<Vec<_>>>()?;
        Ok(ColumnarValue::Array(self.array(values)))
    }
}
