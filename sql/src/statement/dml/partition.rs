//! `PARTITION (p = value, q)`.

use auric_catalog::dml::overwrite::Replaced;
use auric_catalog::registry::Table;
use auric_catalog::table::{TableFormat, Transform};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{Expr, ExprSchemable, lit};
use datafusion::scalar::ScalarValue;

use super::assign;
use super::source::undefined_column;
use crate::error::{Error, Result, SqlState};
use crate::parser::Parsed;
use crate::parser::statement::PartitionColumn;
use crate::planner::{Scope, names};

/// What a PARTITION clause says.
#[derive(Debug, Default)]
pub struct Partition {
    /// Columns with a value, of the column's type.
    pub values: Vec<(String, ScalarValue)>,
    /// Whether columns without a value are named.
    dynamic: bool,
}

/// Which meaning an INSERT OVERWRITE has where it does not say itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverwriteMode {
    /// Partitions of the new rows.
    Dynamic,
    /// Everything that the values of the PARTITION clause admit.
    Static,
}

impl Partition {
    /// Fails with 42703 for an unknown column, 42701 for one named twice, 22023 for one that the
    /// table is not partitioned by.
    pub fn resolve(
        scope: &Scope,
        table: &Table,
        clause: &[PartitionColumn],
        parsed: &Parsed,
    ) -> Result<Self> {
        let mut partition = Self::default();
        let mut seen: Vec<String> = Vec::new();
        for column in clause {
            let name = names::folded(&column.name);
            let start = column.name.span.start;
            let at = |error: Error| error.with_position(parsed.position(start.line, start.column));
            if seen.contains(&name) {
                let message = format!("column \"{name}\" specified more than once");
                return Err(at(Error::new(SqlState::DUPLICATE_COLUMN, message)));
            }
            let by_value = is_partition_column(table, &name).map_err(at)?;
            match &column.value {
                None => partition.dynamic = true,
                Some(_) if !by_value => {
                    let message = format!(
                        "relation \"{}\" is not partitioned by the values of column \"{name}\"",
                        table.ident.name
                    );
                    return Err(at(Error::new(SqlState::INVALID_PARAMETER_VALUE, message).with_hint(
                        "Only columns that the table is partitioned by as they are can be given a value.",
                    )));
                }
                Some(value) => {
                    let value = scope.constant_expr(value).map_err(at)?;
                    partition.values.push((name.clone(), value_of(scope, table, &name, value)?));
                }
            }
            seen.push(name);
        }
        Ok(partition)
    }

    pub fn has_value(&self, name: &str) -> bool {
        self.values.iter().any(|(column, _)| column == name)
    }

    /// What an INSERT OVERWRITE with this clause replaces: with values, exactly what they name;
    /// without, or where other columns are named too, the partitions of the new rows.
    pub fn replaced(&self, mode: OverwriteMode) -> Replaced {
        let of_rows = self.values.is_empty() || self.dynamic;
        if mode == OverwriteMode::Dynamic && of_rows {
            return Replaced::PartitionsOfRows;
        }
        Replaced::Where(
            self.values
                .iter()
                .map(|(name, value)| {
                    let column = Expr::Column(Column::new_unqualified(name));
                    if value.is_null() { column.is_null() } else { column.eq(lit(value.clone())) }
                })
                .collect(),
        )
    }
}

/// Whether the table is partitioned by the values of the column. Fails for a name that has nothing
/// to do with its partitions.
fn is_partition_column(table: &Table, name: &str) -> Result<bool> {
    let spec = &table.snapshot.default_spec;
    let id = table.snapshot.schema.id_of(name);
    let mut fields = spec.fields.iter().filter(|field| field.transform != Transform::Void);
    let of_column = spec.fields.iter().filter(|field| Some(field.source_id) == id).collect::<Vec<_>>();
    if of_column.iter().any(|field| field.transform == Transform::Identity) {
        return Ok(true);
    }
    if of_column.iter().any(|field| field.transform != Transform::Void) || fields.any(|f| f.name == name) {
        return Ok(false);
    }
    if id.is_none() {
        return Err(undefined_column(table, name));
    }
    let message = format!("column \"{name}\" is not a partition column of relation \"{}\"", table.ident.name);
    Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message))
}

fn value_of(scope: &Scope, table: &Table, name: &str, value: Expr) -> Result<ScalarValue> {
    let schema = DFSchema::empty();
    let (_, from) = value.to_field(&schema).map_err(|e| Error::from(&e))?;
    let to = table.snapshot.schema.arrow.field_with_name(name).map_err(|_| undefined_column(table, name))?;
    let value = {
        let given = assign::Given::of(&value);
        scope.evaluate(assign::convert(value, given, (&from, to), &schema)?)?
    };
    let empty = matches!(&value,
        ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text))
            if text.is_empty());
    if empty && table.snapshot.format == TableFormat::Delta {
        // The log cannot tell an empty partition value from null, and null it is when read.
        return ScalarValue::try_from(to.data_type()).map_err(|e| Error::from(&e));
    }
    Ok(value)
}
