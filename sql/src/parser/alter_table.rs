//! `ALTER TABLE`: what of it is done here.

use datafusion::sql::sqlparser::ast::{Ident, ObjectName};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::ParseResult;
use super::create_table::{check, column, foreign_key, property, skip};
use super::dml::{folded, word_is};
use super::statement::{AddColumn, AlterAction, AlterTable, CreateTable, Statement};

/// The statement up to what tells that it is about properties, columns, or a constraint that can be one of
/// ours.
struct Head {
    if_exists: bool,
    name: ObjectName,
    action: Action,
}

enum Action {
    /// `CHECK` follows.
    Add(Option<Ident>),
    /// `[COLUMN]` and a column follow.
    AddColumn,
    /// `FOREIGN KEY` follows.
    AddForeignKey(Option<Ident>),
    Drop,
    SetProperties,
    UnsetProperties,
}

/// `None`: another form of the statement; the parser is where it was.
pub(super) fn alter_table(parser: &mut Parser) -> ParseResult<Option<Statement>> {
    let Some(Head { if_exists, name, action }) = parser.maybe_parse(head)? else {
        return Ok(None);
    };
    let action = match action {
        Action::AddColumn => match added_columns(parser, &name)? {
            Ok(columns) => AlterAction::AddColumns(columns),
            Err(unsupported) => return Ok(Some(Statement::Unsupported(unsupported))),
        },
        Action::Add(name) => AlterAction::AddConstraint(Box::new(check(parser, name)?)),
        Action::AddForeignKey(name) => AlterAction::AddForeignKey(foreign_key(parser, name)?),
        Action::Drop => {
            let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
            let name = folded(parser.parse_identifier()?);
            let _ = parser.parse_one_of_keywords(&[Keyword::RESTRICT, Keyword::CASCADE]);
            AlterAction::DropConstraint { name, if_exists }
        }
        Action::SetProperties => AlterAction::SetProperties(properties(parser)?),
        Action::UnsetProperties => {
            let _ = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
            AlterAction::UnsetProperties(properties(parser)?.into_iter().map(|(key, _)| key).collect())
        }
    };
    Ok(Some(Statement::AlterTable(Box::new(AlterTable { name, if_exists, action }))))
}

/// `ADD [COLUMN] [IF NOT EXISTS] column, ADD …`, after the first ADD. The inner error names what we do not do.
fn added_columns(parser: &mut Parser, table: &ObjectName) -> ParseResult<Result<Vec<AddColumn>, String>> {
    let mut all = Vec::new();
    loop {
        let _ = parser.parse_keyword(Keyword::COLUMN);
        let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
        let mut read = CreateTable::named(table.clone());
        let mut unsupported = column(parser, &mut read)?;
        if !read.checks.is_empty() || !read.key_columns.is_empty() || !read.foreign_keys.is_empty() {
            unsupported = Some("a constraint of a column that is added");
        }
        if let Some(what) = unsupported {
            return Ok(Err(skip(parser, what)?));
        }
        all.extend(read.columns.into_iter().map(|column| AddColumn { column, if_not_exists }));
        if !parser.consume_token(&Token::Comma) {
            return Ok(Ok(all));
        }
        let constrains = |n| {
            let words =
                [Keyword::CONSTRAINT, Keyword::CHECK, Keyword::PRIMARY, Keyword::UNIQUE, Keyword::FOREIGN];
            matches!(&parser.peek_nth_token_ref(n).token, Token::Word(w) if words.contains(&w.keyword))
        };
        if !parser.peek_keyword(Keyword::ADD) || constrains(1) {
            return Ok(Err(skip(parser, "ALTER TABLE with actions of several kinds")?));
        }
        parser.next_token();
    }
}

fn properties(parser: &mut Parser) -> ParseResult<Vec<(String, String)>> {
    parser.expect_token(&Token::LParen)?;
    let properties = parser.parse_comma_separated(property)?;
    parser.expect_token(&Token::RParen)?;
    Ok(properties)
}

/// Reads the words before a list of properties; whether these are set. `None`: they are others.
fn changes_properties(parser: &mut Parser) -> Option<bool> {
    let set =
        ["set", "unset", "reset"].iter().find(|word| word_is(parser, 0, word)).map(|word| *word == "set")?;
    let named = word_is(parser, 1, "tblproperties");
    if !named && parser.peek_nth_token_ref(1).token != Token::LParen {
        return None;
    }
    parser.next_token();
    if named {
        parser.next_token();
    }
    Some(set)
}

fn head(parser: &mut Parser) -> ParseResult<Head> {
    parser.expect_keywords(&[Keyword::ALTER, Keyword::TABLE])?;
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let _ = parser.parse_keyword(Keyword::ONLY);
    let name = parser.parse_object_name(false)?;
    if parser.parse_keywords(&[Keyword::DROP, Keyword::CONSTRAINT]) {
        return Ok(Head { if_exists, name, action: Action::Drop });
    }
    if let Some(set) = changes_properties(parser) {
        let action = if set { Action::SetProperties } else { Action::UnsetProperties };
        return Ok(Head { if_exists, name, action });
    }
    parser.expect_keyword(Keyword::ADD)?;
    let constraint = match parser.parse_keyword(Keyword::CONSTRAINT) {
        true => Some(parser.parse_identifier()?),
        false => None,
    };
    if parser.peek_keyword(Keyword::CHECK) {
        return Ok(Head { if_exists, name, action: Action::Add(constraint) });
    }
    if parser.peek_keyword(Keyword::FOREIGN) {
        return Ok(Head { if_exists, name, action: Action::AddForeignKey(constraint) });
    }
    let others = [Keyword::PRIMARY, Keyword::UNIQUE, Keyword::EXCLUDE];
    match constraint.is_some() || others.iter().any(|word| parser.peek_keyword(*word)) {
        true => parser.expected_ref("CHECK", parser.peek_token_ref()),
        false => Ok(Head { if_exists, name, action: Action::AddColumn }),
    }
}
