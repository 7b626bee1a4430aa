//! Rewrites expressions over the table's columns into expressions over the columns of one data file.
//!
//! [`super::column_resolution`] has given the file's columns their logical names, so that what is left
//! is: columns that the file lacks (initial default, else null), promoted types, and nested columns
//! whose shape has changed. Comparisons on a single struct field stay visible to the Parquet source as
//! `get_field(column, …)`, because it decides by that form which filters it evaluates while decoding.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::functions::core::getfield::GetFieldFunc;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::expressions::{CastExpr, Column, IsNotNullExpr, IsNullExpr, Literal, lit};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_expr_adapter::{PhysicalExprAdapter, PhysicalExprAdapterFactory};
use datafusion::scalar::ScalarValue;

use super::type_promotion::{STRICT, default_of, is_readable_as, promote};
use crate::Error;
use crate::table::FieldId;

/// Initial defaults by field id.
pub(super) type Defaults = HashMap<FieldId, ScalarValue>;

#[derive(Debug)]
pub(super) struct ColumnAdapterFactory {
    pub defaults: Arc<Defaults>,
}

#[derive(Debug)]
struct ColumnAdapter {
    logical: SchemaRef,
    physical: SchemaRef,
    defaults: Arc<Defaults>,
}

impl PhysicalExprAdapterFactory for ColumnAdapterFactory {
    fn create(&self, logical: SchemaRef, physical: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        Ok(Arc::new(ColumnAdapter { logical, physical, defaults: self.defaults.clone() }))
    }
}

impl PhysicalExprAdapter for ColumnAdapter {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        expr.transform_up(|e| {
            if let Some(column) = e.downcast_ref::<Column>() {
                return self.column(column).map(Transformed::yes);
            }
            if let Some(narrowed) = self.struct_field(&e)? {
                return Ok(Transformed::yes(narrowed));
            }
            Ok(null_check(&e).map_or_else(|| Transformed::no(e), Transformed::yes))
        })
        .data()
    }
}

impl ColumnAdapter {
    fn column(&self, column: &Column) -> Result<Arc<dyn PhysicalExpr>> {
        let Ok(logical) = self.logical.field_with_name(column.name()) else {
            // Not a column of the file: virtual, or added by a rewrite of the source itself.
            let index = self.physical.index_of(column.name())?;
            return Ok(Arc::new(Column::new(column.name(), index)));
        };
        let Ok(index) = self.physical.index_of(column.name()) else {
            return missing(logical, &self.defaults);
        };
        let physical = self.physical.field(index).data_type();
        let in_file = Arc::new(Column::new(column.name(), index));
        adapted(in_file, physical, logical, &self.defaults)
    }

    /// `get_field` over a promoted struct as a promoted `get_field` over the file's struct.
    fn struct_field(&self, expr: &Arc<dyn PhysicalExpr>) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        let Some(get_field) = ScalarFunctionExpr::try_downcast_func::<GetFieldFunc>(expr.as_ref()) else {
            return Ok(None);
        };
        let Some((source, keys)) = get_field.args().split_first() else { return Ok(None) };
        let Some(promoted) = source.downcast_ref::<PromotedColumn>() else { return Ok(None) };
        let path: Option<Vec<&str>> = keys
            .iter()
            .map(|k| k.downcast_ref::<Literal>().and_then(|l| l.value().try_as_str().flatten()))
            .collect();
        let (Some(path), DataType::Struct(logical)) = (path, promoted.target.data_type()) else {
            return Ok(None);
        };
        let Some(target) = leaf(logical, &path) else { return Ok(None) };
        let physical = promoted.input.data_type(&self.physical)?;
        let DataType::Struct(fields) = &physical else { return Ok(None) };
        let Some(found) = leaf(fields, &path) else {
            // A null struct has null fields, whatever the default of a field is.
            return match default_of(target, &self.defaults) {
                None => Ok(Some(missing(target, &self.defaults)?)),
                Some(_) => Ok(None),
            };
        };
        let mut args = vec![promoted.input.clone()];
        args.extend(keys.iter().cloned());
        let narrowed = ScalarFunctionExpr::try_new(
            Arc::new(get_field.fun().clone()),
            args,
            &self.physical,
            Arc::new(get_field.config_options().clone()),
        )?;
        adapted(Arc::new(narrowed), found.data_type(), target, &self.defaults).map(Some)
    }
}

/// The field at the end of a path of struct fields.
fn leaf<'a>(fields: &'a Fields, path: &[&str]) -> Option<&'a FieldRef> {
    let (first, rest) = path.split_first()?;
    let field = fields.iter().find(|f| f.name() == first)?;
    match field.data_type() {
        _ if rest.is_empty() => Some(field),
        DataType::Struct(inner) => leaf(inner, rest),
        _ => None,
    }
}

/// Promotion keeps nulls: `promoted IS NULL` is `column IS NULL`.
fn null_check(expr: &Arc<dyn PhysicalExpr>) -> Option<Arc<dyn PhysicalExpr>> {
    let input = |e: &Arc<dyn PhysicalExpr>| e.downcast_ref::<PromotedColumn>().map(|p| p.input.clone());
    if let Some(e) = expr.downcast_ref::<IsNullExpr>() {
        return Some(Arc::new(IsNullExpr::new(input(e.arg())?)));
    }
    let e = expr.downcast_ref::<IsNotNullExpr>()?;
    Some(Arc::new(IsNotNullExpr::new(input(e.arg())?)))
}

fn missing(logical: &Field, defaults: &Defaults) -> Result<Arc<dyn PhysicalExpr>> {
    if let Some(value) = default_of(logical, defaults) {
        return Ok(lit(value));
    }
    if !logical.is_nullable() {
        let column = format!("a data file without column \"{}\"", logical.name());
        return Err(Error::corrupt(column, "the column is required and has no default").into());
    }
    Ok(lit(ScalarValue::try_new_null(logical.data_type())?))
}

fn adapted(
    input: Arc<dyn PhysicalExpr>,
    physical: &DataType,
    logical: &Field,
    defaults: &Arc<Defaults>,
) -> Result<Arc<dyn PhysicalExpr>> {
    if physical == logical.data_type() {
        return Ok(input);
    }
    if !is_readable_as(physical, logical.data_type()) {
        let column = format!("column \"{}\" of a data file", logical.name());
        let reason = format!("its type {physical} cannot be read as {}", logical.data_type());
        return Err(Error::corrupt(column, reason).into());
    }
    if logical.data_type().is_nested() {
        let target = Arc::new(logical.clone());
        return Ok(Arc::new(PromotedColumn { input, target, defaults: defaults.clone() }));
    }
    // A plain cast, which the simplifier can move to the other side of a comparison.
    Ok(Arc::new(CastExpr::new(input, logical.data_type().clone(), Some(STRICT))))
}

/// A nested column of a data file in the shape that the table's schema gives it now.
#[derive(Debug, Clone)]
struct PromotedColumn {
    input: Arc<dyn PhysicalExpr>,
    target: FieldRef,
    defaults: Arc<Defaults>,
}

impl PartialEq for PromotedColumn {
    fn eq(&self, other: &Self) -> bool {
        self.input.eq(&other.input) && self.target == other.target && self.defaults == other.defaults
    }
}

impl Eq for PromotedColumn {}

impl Hash for PromotedColumn {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.input.hash(state);
        self.target.hash(state);
    }
}

impl fmt::Display for PromotedColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "promote({})", self.input)
    }
}

impl PhysicalExpr for PromotedColumn {
    fn data_type(&self, _input: &Schema) -> Result<DataType> {
        Ok(self.target.data_type().clone())
    }

    fn nullable(&self, _input: &Schema) -> Result<bool> {
        Ok(self.target.is_nullable())
    }

    fn return_field(&self, _input: &Schema) -> Result<FieldRef> {
        Ok(self.target.clone())
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let array = self.input.evaluate(batch)?.into_array(batch.num_rows())?;
        Ok(ColumnarValue::Array(promote(&array, self.target.data_type(), &self.defaults)?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.input]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let [input] = <[_; 1]>::try_from(children)
            .map_err(|_| Error::Internal("a promoted column has one input".into()))?;
        Ok(Arc::new(Self { input, target: self.target.clone(), defaults: self.defaults.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
