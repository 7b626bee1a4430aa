//! `ANALYZE [VERBOSE] [table [(columns)], …]`.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::ParseResult;
use super::dml::parse_word;
use super::statement::Statement;

pub(super) fn analyze(parser: &mut Parser) -> ParseResult<Statement> {
    parser.expect_keyword(Keyword::ANALYZE)?;
    if parser.peek_token_ref().token == Token::LParen {
        parser.parse_utility_options()?;
    } else {
        parse_word(parser, "verbose");
    }
    let mut tables = Vec::new();
    while !matches!(parser.peek_token_ref().token, Token::EOF | Token::SemiColon) {
        tables.push(parser.parse_object_name(false)?);
        if parser.consume_token(&Token::LParen) {
            parser.parse_comma_separated(Parser::parse_identifier)?;
            parser.expect_token(&Token::RParen)?;
        }
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    Ok(Statement::Analyze(tables))
}
