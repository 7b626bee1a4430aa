//! `DELETE FROM t [USING …] [WHERE …] [RETURNING …]`.

use datafusion::sql::sqlparser::ast::{Expr, SelectItem, TableWithJoins, With};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;

use super::ParseResult;
use super::row_target::{self, Target};
use super::statement::Statement;

#[derive(Debug, Clone)]
pub struct Delete {
    pub with: Option<With>,
    pub target: Target,
    pub using: Vec<TableWithJoins>,
    pub selection: Option<Expr>,
    /// Empty: none.
    pub returning: Vec<SelectItem>,
}

pub(super) fn delete(parser: &mut Parser) -> ParseResult<Statement> {
    parser.expect_keywords(&[Keyword::DELETE, Keyword::FROM])?;
    let target = row_target::target(parser)?;
    let using = row_target::from_items(parser, Keyword::USING)?;
    let selection = match row_target::selection(parser)? {
        Ok(selection) => selection,
        Err(what) => return Ok(Statement::Unsupported(what)),
    };
    let returning = row_target::returning(parser)?;
    Ok(Statement::Delete(Box::new(Delete { with: None, target, using, selection, returning })))
}
