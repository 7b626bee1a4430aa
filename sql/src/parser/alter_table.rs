//! `ALTER TABLE`: what of it is done here.

use datafusion::sql::sqlparser::ast::{Ident, ObjectName};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;

use super::ParseResult;
use super::create_table::check;
use super::dml::folded;
use super::statement::{AlterAction, AlterTable, Statement};

/// The statement up to what tells that it is about a constraint that can be one of ours.
struct Head {
    if_exists: bool,
    name: ObjectName,
    action: Action,
}

enum Action {
    /// `CHECK` follows.
    Add(Option<Ident>),
    Drop,
}

/// `None`: another form of the statement; the parser is where it was.
pub(super) fn alter_table(parser: &mut Parser) -> ParseResult<Option<Statement>> {
    let Some(Head { if_exists, name, action }) = parser.maybe_parse(head)? else {
        return Ok(None);
    };
    let action = match action {
        Action::Add(name) => AlterAction::AddConstraint(Box::new(check(parser, name)?)),
        Action::Drop => {
            let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
            let name = folded(parser.parse_identifier()?);
            let _ = parser.parse_one_of_keywords(&[Keyword::RESTRICT, Keyword::CASCADE]);
            AlterAction::DropConstraint { name, if_exists }
        }
    };
    Ok(Some(Statement::AlterTable(Box::new(AlterTable { name, if_exists, action }))))
}

fn head(parser: &mut Parser) -> ParseResult<Head> {
    parser.expect_keywords(&[Keyword::ALTER, Keyword::TABLE])?;
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let _ = parser.parse_keyword(Keyword::ONLY);
    let name = parser.parse_object_name(false)?;
    if parser.parse_keywords(&[Keyword::DROP, Keyword::CONSTRAINT]) {
        return Ok(Head { if_exists, name, action: Action::Drop });
    }
    parser.expect_keyword(Keyword::ADD)?;
    let constraint = match parser.parse_keyword(Keyword::CONSTRAINT) {
        true => Some(parser.parse_identifier()?),
        false => None,
    };
    match parser.peek_keyword(Keyword::CHECK) {
        true => Ok(Head { if_exists, name, action: Action::Add(constraint) }),
        false => parser.expected_ref("CHECK", parser.peek_token_ref()),
    }
}
