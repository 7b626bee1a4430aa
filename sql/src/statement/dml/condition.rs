//! CHECK conditions as a table holds them: text that other engines read and write too, and its meaning
//! over the columns of a row.

use arrow::datatypes::Schema;
use auric_catalog::registry::Table;
use auric_catalog::table::{CheckConstraint, TableFormat};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::Expr;
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::error::{Error, Result, SqlState};
use crate::parser::AuricDialect;
use crate::planner::Scope;

/// A constraint over a plan's columns, of which the table's begin with `first_column`: true for rows
/// that satisfy it. Fails with 0A000 if it cannot be evaluated here.
pub fn of_row(
    scope: &Scope,
    table: &Table,
    constraint: &CheckConstraint,
    plan: &DFSchema,
    first_column: usize,
) -> Result<Expr> {
    let arrow = &table.snapshot.schema.arrow;
    let unreadable = |e: &dyn std::fmt::Display| {
        let message = format!(
            "relation \"{}\" has a check constraint \"{}\" that cannot be evaluated here: {}",
            table.ident.name, constraint.name, constraint.expression
        );
        Error::new(SqlState::FEATURE_NOT_SUPPORTED, message).with_detail(e.to_string())
    };
    let planned = planned(scope, arrow, &constraint.expression).map_err(|e| unreadable(&e))?;
    let planned = planned.transform(|expr| {
        let Expr::Column(column) = &expr else { return Ok(Transformed::no(expr)) };
        let index = arrow.index_of(&column.name)?;
        let (relation, field) = plan.qualified_field(first_column + index);
        Ok(Transformed::yes(Expr::Column(Column::new(relation.cloned(), field.name()))))
    });
    let planned = planned.map_err(|e| unreadable(&e))?.data;
    Ok(match table.snapshot.format {
        // Delta protocol, "CHECK Constraints": satisfied only if the expression evaluates to true.
        TableFormat::Delta => planned.is_true(),
        TableFormat::Iceberg => planned.is_not_false(),
    })
}

/// The text of a condition, planned over the columns of a table.
fn planned(scope: &Scope, arrow: &Schema, text: &str) -> Result<Expr> {
    let schema = DFSchema::try_from(arrow.clone()).map_err(|e| Error::from(&e))?;
    scope.row_expr(&parse(text)?, &schema)
}

/// Parses an expression that a table's metadata holds.
pub fn parse(text: &str) -> Result<ast::Expr> {
    let dialect = AuricDialect::default();
    let syntax = |e: &dyn std::fmt::Display| Error::new(SqlState::SYNTAX_ERROR, e.to_string());
    let mut parser = Parser::new(&dialect).try_with_sql(&unquoted(text)).map_err(|e| syntax(&e))?;
    let parsed = parser.parse_expr().map_err(|e| syntax(&e))?;
    match parser.peek_token_ref().token {
        Token::EOF => Ok(parsed),
        _ => Err(syntax(&"there is more than one expression")),
    }
}

/// Ends a condition that was declared here and is not false for a null ([`for_nulls`]).
const IS_NOT_FALSE: &str = ") IS NOT FALSE";

/// A condition that is true where this one is null. A row for which it is null satisfies a constraint in
/// SQL, and violates it in Delta.
pub fn for_nulls(condition: &str) -> String {
    format!("({condition}{IS_NOT_FALSE}")
}

/// A condition as its declaration had it.
pub fn shown(text: &str) -> String {
    let text = unquoted(text);
    let inner = text.strip_prefix('(').and_then(|text| text.strip_suffix(IS_NOT_FALSE));
    match inner {
        Some(inner) if is_balanced(inner) => inner.to_string(),
        _ => text,
    }
}

/// Whether no parenthesis is closed that was not opened in here.
fn is_balanced(text: &str) -> bool {
    let (mut depth, mut literal) = (0_i64, false);
    for c in text.chars() {
        match c {
            '\'' => literal = !literal,
            '(' if !literal => depth += 1,
            ')' if !literal => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return false;
        }
    }
    depth == 0
}

/// Names in backticks, as Spark quotes them, in double quotes.
fn unquoted(text: &str) -> String {
    let mut literal = false;
    text.chars()
        .map(|c| match c {
            '\'' => {
                literal = !literal;
                c
            }
            '`' if !literal => '"',
            _ => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_spark_are_read_and_literals_left_alone() {
        assert_eq!(parse("`A b` > 0 AND c <> '`'").unwrap().to_string(), "\"A b\" > 0 AND c <> '`'");
        assert!(parse("a > 0, b").is_err());
        assert_eq!(shown(&for_nulls("`A` > 0")), "\"A\" > 0");
        assert_eq!(shown("(a) OR (b) IS NOT FALSE"), "(a) OR (b) IS NOT FALSE");
        assert_eq!(shown("a > 0"), "a > 0");
        assert!(parse("a >").is_err());
    }
}
