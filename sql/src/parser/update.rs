//! `UPDATE t SET … [FROM …] [WHERE …] [RETURNING …]`.

use datafusion::sql::sqlparser::ast::{Expr, SelectItem, TableWithJoins, With};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;

use super::ParseResult;
use super::row_target::{self, Assignment, Target};
use super::statement::Statement;

#[derive(Debug, Clone)]
pub struct Update {
    pub with: Option<With>,
    pub target: Target,
    pub assignments: Vec<Assignment>,
    pub from: Vec<TableWithJoins>,
    pub selection: Option<Expr>,
    /// Empty: none.
    pub returning: Vec<SelectItem>,
}

pub(super) fn update(parser: &mut Parser) -> ParseResult<Statement> {
    parser.expect_keyword(Keyword::UPDATE)?;
    let target = row_target::target(parser)?;
    parser.expect_keyword(Keyword::SET)?;
    let assignments = row_target::assignments(parser)?;
    let from = row_target::from_items(parser, Keyword::FROM)?;
    let selection = match row_target::selection(parser)? {
        Ok(selection) => selection,
        Err(what) => return Ok(Statement::Unsupported(what)),
    };
    let returning = row_target::returning(parser)?;
    let update = Update { with: None, target, assignments, from, selection, returning };
    Ok(Statement::Update(Box::new(update)))
}
