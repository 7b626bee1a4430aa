//! `JSON_OBJECT(k VALUE v, k: v … [NULL ON NULL] [RETURNING t])` (manual of Postgres 16, 9.16.1), as a call of
//! `json_build_object`. The function `json_object(text[])` has the same name.

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::ParseResult;
use crate::analyzer::{call, cast};

/// Parses the constructor. `None`: what comes is something else.
pub(super) fn json_object(parser: &mut Parser) -> Option<ParseResult<Expr>> {
    let is_name = matches!(&parser.peek_token_ref().token,
        Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("json_object"));
    if !is_name || parser.peek_nth_token_ref(1).token != Token::LParen {
        return None;
    }
    match parser.maybe_parse(first_key) {
        Ok(Some(first)) => Some(rest(parser, first)),
        Ok(None) => None,
        Err(error) => Some(Err(error)),
    }
}

fn first_key(parser: &mut Parser) -> ParseResult<Expr> {
    parser.next_token();
    parser.expect_token(&Token::LParen)?;
    key(parser)
}

/// A key and what separates it from its value.
fn key(parser: &mut Parser) -> ParseResult<Expr> {
    let key = parser.parse_expr()?;
    if parser.consume_token(&Token::Colon) || parser.parse_keyword(Keyword::VALUE) {
        return Ok(key);
    }
    parser.expected_ref("VALUE", parser.peek_token_ref())
}

fn rest(parser: &mut Parser, first: Expr) -> ParseResult<Expr> {
    let mut members = vec![first, parser.parse_expr()?];
    while parser.consume_token(&Token::Comma) {
        members.push(key(parser)?);
        members.push(parser.parse_expr()?);
    }
    let refused =
        |what: &str| Err(ParserError::ParserError(format!("{what} is not supported in JSON_OBJECT")));
    if parser.parse_keywords(&[Keyword::ABSENT, Keyword::ON, Keyword::NULL]) {
        return refused("ABSENT ON NULL");
    }
    let _ = parser.parse_keywords(&[Keyword::NULL, Keyword::ON, Keyword::NULL]);
    if parser.parse_keywords(&[Keyword::WITH, Keyword::UNIQUE]) {
        return refused("WITH UNIQUE");
    }
    let returned =
        if parser.parse_keyword(Keyword::RETURNING) { Some(parser.parse_data_type()?) } else { None };
    parser.expect_token(&Token::RParen)?;
    let object = call("json_build_object", members);
    Ok(returned.into_iter().fold(object, cast))
}
