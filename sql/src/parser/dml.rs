//! `INSERT`.

use datafusion::sql::sqlparser::ast::Ident;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::ParseResult;
use super::create_table::begins_query;
use super::statement::{Insert, Statement};

/// An identifier as Postgres folds it: unquoted ones to lower case.
pub(crate) fn folded(ident: Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value,
        None => ident.value.to_lowercase(),
    }
}

/// Whether the next word is this one, which need not be a keyword.
pub(super) fn word_is(parser: &Parser, n: usize, word: &str) -> bool {
    matches!(&parser.peek_nth_token_ref(n).token,
        Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

/// Reads the word if it is next.
pub(super) fn parse_word(parser: &mut Parser, word: &str) -> bool {
    let found = word_is(parser, 0, word);
    if found {
        parser.next_token();
    }
    found
}

fn rest_unsupported(parser: &mut Parser, what: &str) -> Statement {
    while parser.next_token().token != Token::EOF {}
    Statement::Unsupported(what.to_string())
}

pub(super) fn insert(parser: &mut Parser) -> ParseResult<Statement> {
    parser.expect_keyword(Keyword::INSERT)?;
    if parser.parse_keyword(Keyword::OVERWRITE) {
        return Ok(rest_unsupported(parser, "INSERT OVERWRITE"));
    }
    parser.expect_keyword(Keyword::INTO)?;
    let table = parser.parse_object_name(false)?;
    if parser.parse_keyword(Keyword::AS) {
        parser.parse_identifier()?;
    }
    let mut insert = Insert { table, columns: Vec::new(), by_name: false, query: None };
    if parser.peek_token_ref().token == Token::LParen && !begins_query(parser, 0) {
        parser.next_token();
        insert.columns = parser.parse_comma_separated(Parser::parse_identifier)?;
        parser.expect_token(&Token::RParen)?;
    }
    if word_is(parser, 0, "by") && word_is(parser, 1, "name") {
        parser.next_token();
        parser.next_token();
        insert.by_name = true;
    }
    if parser.parse_keyword(Keyword::REPLACE) {
        return Ok(rest_unsupported(parser, "INSERT … REPLACE WHERE"));
    }
    if parse_word(parser, "overriding") {
        parser.next_token();
        parser.expect_keyword(Keyword::VALUE)?;
    }
    if !parser.parse_keywords(&[Keyword::DEFAULT, Keyword::VALUES]) {
        insert.query = Some(match super::table_command(parser)? {
            Some(query) => query,
            None => super::whole_query(parser)?,
        });
    }
    if parser.parse_keyword(Keyword::ON) {
        return Ok(rest_unsupported(parser, "INSERT … ON CONFLICT"));
    }
    if parser.parse_keyword(Keyword::RETURNING) {
        return Ok(rest_unsupported(parser, "INSERT … RETURNING"));
    }
    Ok(Statement::Insert(Box::new(insert)))
}
