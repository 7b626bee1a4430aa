//! CHECK constraints as they are declared: checked, named as Postgres names them, and written so that
//! every engine that reads the table takes them for the same.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use arrow::datatypes::{DataType, Field, Schema};
use auric_catalog::table::{CheckConstraint, ColumnDefinition};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::{Expr, ExprSchemable};
use datafusion::sql::sqlparser::ast;

use super::super::dml::condition::for_nulls;
use super::super::not_supported;
use super::portable::Portable;
use crate::error::{Error, Result, SqlState};
use crate::parser::folded;
use crate::parser::statement::CheckClause;
use crate::parser::walk::WalkMut;
use crate::pg_catalog::types;
use crate::planner::Scope;

/// Longest name of an object (Postgres: NAMEDATALEN - 1), bytes.
const MAX_NAME_BYTES: usize = 63;

/// The error for a constraint of an Iceberg table.
pub fn not_in_iceberg() -> Error {
    not_supported("CHECK in an Iceberg table")
        .with_detail("The Iceberg specification has no place for check constraints.")
        .with_hint("Use a Delta table (USING DELTA), whose constraints other engines enforce too.")
}

/// The table that constraints are declared for.
pub struct Declaring<'a> {
    pub scope: &'a Scope,
    pub table: &'a str,
    pub schema: Schema,
    /// Names that are taken.
    pub taken: BTreeSet<String>,
}

impl<'a> Declaring<'a> {
    /// For a table to be.
    pub fn new(scope: &'a Scope, table: &'a str, columns: &[ColumnDefinition]) -> Self {
        let fields = columns.iter().map(|c| Field::new(&c.name, c.data_type.clone(), c.nullable));
        Self { scope, table, schema: Schema::new(fields.collect::<Vec<_>>()), taken: BTreeSet::new() }
    }

    /// The constraints of a statement, in order. Fails with 42804 for a condition that is none, 42703
    /// for an unknown column, 42710 for a name given twice, 0A000 for what a constraint cannot hold.
    pub fn all(mut self, clauses: &[CheckClause]) -> Result<Vec<CheckConstraint>> {
        // A name that is given goes before one that is made.
        for name in clauses.iter().filter_map(|clause| clause.name.clone()) {
            self.take(&folded(name))?;
        }
        clauses.iter().map(|clause| self.one(clause)).collect()
    }

    fn take(&mut self, name: &str) -> Result<()> {
        // Delta's names differ by more than letter case.
        match self.taken.insert(name.to_lowercase()) {
            true => Ok(()),
            false => Err(Error::new(
                SqlState::DUPLICATE_OBJECT,
                format!("constraint \"{name}\" for relation \"{}\" already exists", self.table),
            )),
        }
    }

    fn one(&mut self, clause: &CheckClause) -> Result<CheckConstraint> {
        let mut condition = clause.condition.clone();
        if let ControlFlow::Break(error) =
            condition.walk_mut(&mut Portable::over_row(self.table, &self.schema))
        {
            return Err(error);
        }
        let planned = self.planned(&clause.condition)?;
        let name = match &clause.name {
            Some(name) => folded(name.clone()),
            None => self.chosen_name(&planned),
        };
        let row = DFSchema::try_from(self.schema.clone()).map_err(|e| Error::from(&e))?;
        let text = match planned.nullable(&row) {
            Ok(false) => condition.to_string(),
            _ => for_nulls(&condition.to_string()),
        };
        Ok(CheckConstraint { name, expression: text })
    }

    /// The condition over the table's columns, coerced.
    fn planned(&self, condition: &ast::Expr) -> Result<Expr> {
        let failed = |e: datafusion::error::DataFusionError| Error::from(&e);
        let qualified = DFSchema::try_from_qualified_schema(self.table, &self.schema).map_err(failed)?;
        let planned = self.scope.row_expr(condition, &qualified)?;
        let uses = |kind: fn(&Expr) -> bool| planned.exists(|e| Ok(kind(e))).unwrap_or(true);
        if uses(|e| matches!(e, Expr::AggregateFunction(_))) {
            let message = "aggregate functions are not allowed in check constraints";
            return Err(Error::new(SqlState::GROUPING_ERROR, message));
        }
        if uses(|e| matches!(e, Expr::WindowFunction(_))) {
            let message = "window functions are not allowed in check constraints";
            return Err(Error::new(SqlState("42P20"), message));
        }
        let found = planned.get_type(&qualified).map_err(failed)?;
        if !matches!(found, DataType::Boolean | DataType::Null) {
            let (found, _) = crate::types::pg_type(&Field::new("", found, true));
            let found = types::format_type(found.oid(), None);
            let message = format!("argument of CHECK must be type boolean, not type {found}");
            return Err(Error::new(SqlState::DATATYPE_MISMATCH, message));
        }
        // Functions and casts that there are none of.
        self.scope.state.create_physical_expr(planned.clone(), &qualified).map_err(failed)?;
        let unqualified = planned.transform(|e| {
            Ok(match e {
                Expr::Column(column) => {
                    let name = datafusion::common::Column::new_unqualified(column.name);
                    datafusion::common::tree_node::Transformed::yes(Expr::Column(name))
                }
                other => datafusion::common::tree_node::Transformed::no(other),
            })
        });
        Ok(unqualified.map_err(failed)?.data)
    }

    /// `table_column_check`, or `table_check` if the condition is over none or several columns; a
    /// number follows if that is taken.
    fn chosen_name(&mut self, condition: &Expr) -> String {
        let columns: BTreeSet<&str> = condition.column_refs().into_iter().map(|c| c.name.as_str()).collect();
        let column = match columns.into_iter().collect::<Vec<_>>().as_slice() {
            [column] => Some(*column),
            _ => None,
        };
        let mut number = 0;
        loop {
            let label = if number == 0 { "check".to_string() } else { format!("check{number}") };
            let name = object_name(self.table, column, &label);
            if self.taken.insert(name.to_lowercase()) {
                return name;
            }
            number += 1;
        }
    }
}

/// `first_second_label`, shortened to what a name may have (Postgres: `makeObjectName`).
pub fn object_name(first: &str, second: Option<&str>, label: &str) -> String {
    let (mut first, mut second) = (first, second);
    let overhead = label.len() + 1 + second.map_or(0, |_| 1);
    while first.len() + second.map_or(0, str::len) + overhead > MAX_NAME_BYTES {
        match second {
            Some(longer) if longer.len() >= first.len() => second = Some(without_last(longer)),
            _ => first = without_last(first),
        }
    }
    match second {
        Some(second) => format!("{first}_{second}_{label}"),
        None => format!("{first}_{label}"),
    }
}

fn without_last(text: &str) -> &str {
    text.char_indices().next_back().and_then(|(at, _)| text.get(..at)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shortened_like_those_of_postgres() {
        assert_eq!(object_name("t", Some("a"), "check"), "t_a_check");
        assert_eq!(object_name("t", None, "check1"), "t_check1");
        let (table, column) = ("t".repeat(60), "c".repeat(60));
        let name = object_name(&table, Some(&column), "check");
        assert_eq!(name, format!("{}_{}_check", "t".repeat(28), "c".repeat(28)));
        assert_eq!(object_name(&"ä".repeat(40), None, "check"), format!("{}_check", "ä".repeat(28)));
    }
}
