//! What can be asked of a row: columns of the table, its address, its lineage.
//!
//! Address and lineage are computed by a projection above the scan, from what the file says of itself
//! and from the row's position (Iceberg spec, "Row Lineage").

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, Column, IsNotNullExpr, IsNullExpr, Literal,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::scalar::ScalarValue;

use super::address_book::AddressBook;
use super::planned_file::ScanColumn;
use super::scan_output::{FileConstant, POSITION, RowPosition, ScanOutput};
use crate::dml::rows;
use crate::error::{Error, Result};
use crate::table::data_file::ROW_IDS_TO_COME;
use crate::table::{FieldId, LineageColumn, RowLineage};

/// Lineage column: the row's `_row_id`.
pub(crate) const ROW_ID: &str = "__auric_row_id";
/// Lineage column: the row's `_last_updated_sequence_number`.
pub(crate) const ROW_SEQUENCE: &str = "__auric_row_sequence";

/// One column of the result.
#[derive(Debug, Clone)]
pub(super) enum RowColumn {
    Table(ScanColumn),
    /// The file's number in this book.
    File(Arc<AddressBook>),
    Position,
    RowId(LineageColumn),
    RowSequence(LineageColumn),
}

impl RowColumn {
    /// Row id and sequence number.
    pub fn lineage(lineage: &RowLineage) -> [Self; 2] {
        [Self::RowId(lineage.row_id.clone()), Self::RowSequence(lineage.last_change.clone())]
    }

    pub fn field(&self) -> FieldRef {
        Arc::new(match self {
            Self::Table(column) => return column.field.clone(),
            Self::File(_) => Field::new(rows::FILE, DataType::Int32, false),
            Self::Position => Field::new(rows::POSITION, DataType::Int64, false),
            Self::RowId(_) => Field::new(ROW_ID, DataType::Int64, true),
            Self::RowSequence(_) => Field::new(ROW_SEQUENCE, DataType::Int64, true),
        })
    }
}

/// The columns of a result, in order.
#[derive(Debug, Clone)]
pub(super) struct RowColumns(pub Vec<RowColumn>);

impl RowColumns {
    /// What a scan must give so that [`Self::project`] can make the columns of it: the table's columns
    /// in order, and then the rest.
    pub fn scan_output(&self) -> ScanOutput {
        let mut output = ScanOutput::default();
        let mut in_files = Vec::new();
        let (mut first_row_id, mut sequence) = (None, None);
        for column in &self.0 {
            match column {
                RowColumn::Table(column) => output.columns.push(column.clone()),
                RowColumn::File(book) => output.constants.push(FileConstant::Number(book.clone())),
                RowColumn::Position => output.position = RowPosition::Given,
                RowColumn::RowId(column) => {
                    in_files.push(stored(column));
                    output.position = RowPosition::Given;
                    first_row_id = Some(FileConstant::FirstRowId);
                }
                RowColumn::RowSequence(column) => {
                    in_files.push(stored(column));
                    first_row_id = Some(FileConstant::FirstRowId);
                    sequence = Some(FileConstant::SequenceNumber);
                }
            }
        }
        output.columns.extend(in_files);
        output.constants.extend(first_row_id.into_iter().chain(sequence));
        output
    }

    /// The columns from a plan that gives [`Self::scan_output`].
    pub fn project(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let given = plan.schema();
        if self.0.iter().all(|c| matches!(c, RowColumn::Table(_))) {
            return Ok(plan);
        }
        let mut exprs = Vec::with_capacity(self.0.len());
        let mut table_columns = 0;
        for column in &self.0 {
            let expr: Arc<dyn PhysicalExpr> = match column {
                RowColumn::Table(_) => {
                    table_columns += 1;
                    Arc::new(Column::new(column.field().name(), table_columns - 1))
                }
                RowColumn::File(book) => by_name(FileConstant::Number(book.clone()).field().name(), &given)?,
                RowColumn::Position => position(&given)?,
                RowColumn::RowId(stored) => {
                    let first = by_name(FileConstant::FirstRowId.field().name(), &given)?;
                    let inherited = BinaryExpr::new(first.clone(), Operator::Plus, position(&given)?);
                    inherited_unless_stored(first, stored.id, Arc::new(inherited), &given)?
                }
                RowColumn::RowSequence(stored) => {
                    let first = by_name(FileConstant::FirstRowId.field().name(), &given)?;
                    let inherited = by_name(FileConstant::SequenceNumber.field().name(), &given)?;
                    inherited_unless_stored(first, stored.id, inherited, &given)?
                }
            };
            exprs.push((expr, column.field().name().clone()));
        }
        Ok(Arc::new(ProjectionExec::try_new(exprs, plan)?))
    }
}

/// A lineage column as files store it.
fn stored(column: &LineageColumn) -> ScanColumn {
    ScanColumn { id: column.id, field: Arc::new(column.named(&stored_name(column.id))) }
}

fn stored_name(id: FieldId) -> String {
    format!("\u{1}stored:{id}")
}

fn by_name(name: &str, schema: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
    Ok(Arc::new(Column::new_with_schema(name, schema)?))
}

fn position(schema: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
    Ok(Arc::new(PositionExpr { column: by_name(POSITION, schema)? }))
}

/// Null without a first row id: then the file's rows have no lineage, whatever it stores. Of a file
/// that is not committed, rows have the lineage that is stored, and the others none yet.
fn inherited_unless_stored(
    first_row_id: Arc<dyn PhysicalExpr>,
    id: FieldId,
    inherited: Arc<dyn PhysicalExpr>,
    schema: &Schema,
) -> Result<Arc<dyn PhysicalExpr>> {
    let stored = by_name(&stored_name(id), schema)?;
    let null: Arc<dyn PhysicalExpr> = Arc::new(Literal::new(ScalarValue::Int64(None)));
    let to_come = Arc::new(Literal::new(ScalarValue::Int64(Some(ROW_IDS_TO_COME))));
    let is_to_come = BinaryExpr::new(first_row_id.clone(), Operator::Eq, to_come);
    let branches = vec![
        (Arc::new(IsNullExpr::new(first_row_id)) as Arc<dyn PhysicalExpr>, null.clone()),
        (Arc::new(IsNotNullExpr::new(stored.clone())) as Arc<dyn PhysicalExpr>, stored),
        (Arc::new(is_to_come) as Arc<dyn PhysicalExpr>, null),
    ];
    Ok(Arc::new(CaseExpr::try_new(None, branches, Some(inherited))?))
}

/// A row's position without the mark on its field by which the Parquet reader knows it: what plans make
/// of the column should not depend on that.
#[derive(Debug, Clone, Eq)]
struct PositionExpr {
    column: Arc<dyn PhysicalExpr>,
}

impl PartialEq for PositionExpr {
    fn eq(&self, other: &Self) -> bool {
        self.column.eq(&other.column)
    }
}

impl Hash for PositionExpr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.column.hash(state);
    }
}

impl fmt::Display for PositionExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("row_position()")
    }
}

impl PhysicalExpr for PositionExpr {
    fn return_field(&self, _input: &Schema) -> DataFusionResult<FieldRef> {
        Ok(RowColumn::Position.field())
    }

    fn evaluate(&self, batch: &RecordBatch) -> DataFusionResult<ColumnarValue> {
        self.column.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.column]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> DataFusionResult<Arc<dyn PhysicalExpr>> {
        let [column] = <[_; 1]>::try_from(children)
            .map_err(|_| Error::Internal("a row's position is one column".into()))?;
        Ok(Arc::new(Self { column }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
