//! Files all of whose rows satisfy a condition, as far as partition values and statistics tell: a DELETE
//! takes them out of the table without opening them.
//!
//! A file is one if no row of it can satisfy the negation, and no row can make the condition unknown:
//! conditions are made of comparisons of columns with constants, and the columns hold no null. Whatever
//! else a condition is made of, no file is one.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::catalog::Session;
use datafusion::common::ToDFSchema;
use datafusion::logical_expr::expr::{Between, BinaryExpr, InList};
use datafusion::logical_expr::{Expr, Operator, binary_expr};

use super::file_selection::{SelectedFile, Selection};
use super::plan::deletes_of;
use super::pruning::{Containers, Pruner};
use crate::error::Result;
use crate::table::deletes::DeleteIndex;
use crate::table::{FileList, LiveFile, TableSnapshot};

/// A condition held against files.
pub(super) struct WholeFilePredicate {
    /// Of the negation.
    pruner: Pruner,
    columns: BTreeSet<String>,
}

impl WholeFilePredicate {
    /// The condition that all of `filters` are true. `None`: statistics cannot prove it.
    pub fn new(snapshot: &TableSnapshot, state: &dyn Session, filters: &[Expr]) -> Option<Self> {
        let schema = &snapshot.schema.arrow;
        let negations = filters.iter().map(|filter| negation(filter, schema)).collect::<Option<Vec<_>>>()?;
        let negation = negations.into_iter().reduce(|a, b| binary_expr(a, Operator::Or, b))?;
        let columns = negation.column_refs().into_iter().map(|column| column.name.clone()).collect();
        let physical = state.create_physical_expr(negation, &schema.clone().to_dfschema().ok()?).ok()?;
        Some(Self { pruner: Pruner::new(&snapshot.schema, &physical)?, columns })
    }

    /// Takes the files out of a selection whose rows all satisfy the condition. Files of which rows were
    /// deleted before stay, and those whose rows were not counted.
    pub fn take(&self, selection: &mut Selection, deletes: &DeleteIndex) -> Result<Vec<LiveFile>> {
        let (mut taken, mut left) = (Vec::new(), Vec::with_capacity(selection.files.len()));
        let mut list: Option<(Arc<FileList>, Vec<bool>)> = None;
        for selected in std::mem::take(&mut selection.files) {
            let known = list.take().filter(|(known, _)| Arc::ptr_eq(known, &selected.list));
            let (files, whole) =
                known.unwrap_or_else(|| (selected.list.clone(), self.whole_files(&selected.list)));
            match whole.get(selected.row) {
                Some(true) => match as_untouched(&selected, deletes)? {
                    Some(file) => taken.push(file),
                    None => left.push(selected),
                },
                _ => left.push(selected),
            }
            list = Some((files, whole));
        }
        selection.files = left;
        Ok(taken)
    }

    fn whole_files(&self, list: &FileList) -> Vec<bool> {
        if list.stats.len != list.files.len() {
            return Vec::new();
        }
        let mut whole = self.pruner.without_nulls(&list.stats, &self.columns);
        for row in self.pruner.keep(&list.stats, Containers::Files) {
            if let Some(whole) = whole.get_mut(row) {
                *whole = false;
            }
        }
        whole
    }
}

fn as_untouched(selected: &SelectedFile, index: &DeleteIndex) -> Result<Option<LiveFile>> {
    let deletes = deletes_of(index, selected)?;
    let counted = selected.record_count().is_some();
    let file = || LiveFile { list: selected.list.clone(), row: selected.row, deletes: deletes.clone() };
    Ok((counted && deletes.is_empty()).then(file))
}

/// What is true where `condition` is false, and false where it is true, if no column is null. `None`: the
/// condition is not made of comparisons only.
fn negation(condition: &Expr, schema: &Schema) -> Option<Expr> {
    match condition {
        Expr::Not(inner) => affirmation(inner, schema),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            Some(binary_expr(negation(left, schema)?, Operator::Or, negation(right, schema)?))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            Some(binary_expr(negation(left, schema)?, Operator::And, negation(right, schema)?))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(left, right, schema) => {
            Some(binary_expr(left.as_ref().clone(), op.negate()?, right.as_ref().clone()))
        }
        Expr::InList(list) => {
            let constants = list.list.iter().all(is_constant);
            let negated = InList { negated: !list.negated, ..list.clone() };
            (constants && is_plain_column(&list.expr, schema)).then(|| Expr::InList(negated))
        }
        Expr::Between(between) => range(&Between { negated: !between.negated, ..between.clone() }, schema),
        _ => None,
    }
}

/// Comparisons, under which statistics tell more than under a negated BETWEEN.
fn range(between: &Between, schema: &Schema) -> Option<Expr> {
    let Between { expr, negated, low, high } = between;
    if !is_constant(low) || !is_constant(high) || !is_plain_column(expr, schema) {
        return None;
    }
    let (below, op, above) = match negated {
        true => (Operator::Lt, Operator::Or, Operator::Gt),
        false => (Operator::GtEq, Operator::And, Operator::LtEq),
    };
    let side = |op, bound: &Expr| binary_expr(expr.as_ref().clone(), op, bound.clone());
    Some(binary_expr(side(below, low), op, side(above, high)))
}

/// The condition without [`Expr::Not`], under which statistics tell nothing.
fn affirmation(condition: &Expr, schema: &Schema) -> Option<Expr> {
    match condition {
        Expr::Not(inner) => negation(inner, schema),
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
            Some(binary_expr(affirmation(left, schema)?, *op, affirmation(right, schema)?))
        }
        Expr::Between(between) => range(between, schema),
        _ => negation(condition, schema).map(|_| condition.clone()),
    }
}

fn is_comparison(left: &Expr, right: &Expr, schema: &Schema) -> bool {
    (is_plain_column(left, schema) && is_constant(right))
        || (is_constant(left) && is_plain_column(right, schema))
}

fn is_constant(expr: &Expr) -> bool {
    expr.column_refs().is_empty() && !expr.is_volatile()
}

/// A column, maybe as a wider integer, of a type whose bounds say it all: NaN and the sign of zero are not
/// in the bounds of floating point numbers.
fn is_plain_column(expr: &Expr, schema: &Schema) -> bool {
    let data_type = |name: &str| schema.field_with_name(name).map(|field| field.data_type().clone()).ok();
    match expr {
        Expr::Column(column) => data_type(&column.name).is_some_and(|found| {
            found.is_integer()
                || matches!(
                    found,
                    DataType::Utf8View
                        | DataType::Date32
                        | DataType::Timestamp(..)
                        | DataType::Decimal128(..)
                        | DataType::Time64(_)
                )
        }),
        Expr::Cast(cast) => match (cast.expr.as_ref(), cast.field.data_type()) {
            (Expr::Column(column), DataType::Int64) => {
                data_type(&column.name).is_some_and(|found| found == DataType::Int32)
            }
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::Field;
    use datafusion::prelude::{col, lit};

    fn negated(condition: &Expr) -> Option<String> {
        let schema = Schema::new(vec![
            Field::new("a", DataType::Int32, true),
            Field::new("s", DataType::Utf8View, true),
            Field::new("f", DataType::Float64, true),
        ]);
        negation(condition, &schema).map(|expr| expr.to_string())
    }

    #[test]
    fn what_is_made_of_comparisons_has_a_negation() {
        let (a, s) = (col("a"), col("s"));
        assert_eq!(negated(&a.clone().lt(lit(3))).unwrap(), "a >= Int32(3)");
        assert_eq!(
            negated(&a.clone().eq(lit(3)).and(lit("x").gt_eq(s.clone()))).unwrap(),
            "a != Int32(3) OR Utf8(\"x\") < s"
        );
        let not = Expr::Not(Box::new(a.clone().gt(lit(3)).or(s.clone().not_eq(lit("x")))));
        assert_eq!(negated(&not).unwrap(), "a > Int32(3) OR s != Utf8(\"x\")");
        assert_eq!(negated(&Expr::Not(Box::new(not.clone()))).unwrap(), "a <= Int32(3) AND s = Utf8(\"x\")");
        assert_eq!(
            negated(&a.clone().in_list(vec![lit(1), lit(2)], true)).unwrap(),
            "a IN ([Int32(1), Int32(2)])"
        );
        assert_eq!(negated(&a.clone().between(lit(1), lit(2))).unwrap(), "a < Int32(1) OR a > Int32(2)");
        assert_eq!(
            negated(&Expr::Not(Box::new(a.clone().between(lit(1), lit(2))))).unwrap(),
            "a >= Int32(1) AND a <= Int32(2)"
        );
    }

    #[test]
    fn nothing_else_has() {
        let a = col("a");
        for condition in [
            a.clone().is_null(),
            a.clone().lt(col("s")),
            col("f").lt(lit(1.0)),
            (a.clone() + lit(1)).eq(lit(3)),
            a.clone().eq(lit(3)).and(col("f").eq(col("f"))),
            col("s").like(lit("x%")),
            lit(true),
        ] {
            assert_eq!(negated(&condition), None, "{condition}");
        }
    }
}
