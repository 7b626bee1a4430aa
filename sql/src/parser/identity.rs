//! `SERIAL` and `GENERATED … AS IDENTITY` of a column.

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::ParseResult;
use super::dml::{parse_word, word_is};
use super::statement::IdentityClause;

/// Reads one of the type names that mean an integer that the table gives out.
pub(super) fn serial(parser: &mut Parser) -> Option<DataType> {
    let types = [
        (["smallserial", "serial2"], DataType::Int16),
        (["serial", "serial4"], DataType::Int32),
        (["bigserial", "serial8"], DataType::Int64),
    ];
    let found = types.into_iter().find(|(names, _)| names.iter().any(|name| word_is(parser, 0, name)));
    found.map(|(_, data_type)| {
        parser.next_token();
        data_type
    })
}

/// After `GENERATED`. The inner error names what is not done.
pub(super) fn generated(parser: &mut Parser) -> ParseResult<Result<IdentityClause, &'static str>> {
    let mut clause = IdentityClause { always: parse_word(parser, "always"), ..IdentityClause::default() };
    if !clause.always {
        parser.expect_keywords(&[Keyword::BY, Keyword::DEFAULT])?;
    }
    parser.expect_keyword(Keyword::AS)?;
    if !parser.parse_keyword(Keyword::IDENTITY) {
        return Ok(Err("a generated column"));
    }
    if !parser.consume_token(&Token::LParen) {
        return Ok(Ok(clause));
    }
    while !parser.consume_token(&Token::RParen) {
        if !option(parser, &mut clause)? {
            return Ok(Err("this option of an identity column"));
        }
    }
    Ok(Ok(clause))
}

/// One option of a sequence, as Postgres writes them. `false`: it is one that would change something and is
/// not done.
fn option(parser: &mut Parser, clause: &mut IdentityClause) -> ParseResult<bool> {
    let (slot, particle, name) = if parse_word(parser, "start") {
        (&mut clause.start, Keyword::WITH, "START")
    } else if parse_word(parser, "increment") {
        (&mut clause.increment, Keyword::BY, "INCREMENT")
    } else if parse_word(parser, "cache") {
        return number(parser).map(|_| true);
    } else if parser.parse_keyword(Keyword::NO) {
        let absent = ["minvalue", "maxvalue", "cycle"].iter().any(|word| parse_word(parser, word));
        return match absent {
            true => Ok(true),
            false => parser.expected_ref("MINVALUE, MAXVALUE or CYCLE", parser.peek_token_ref()),
        };
    } else if ["minvalue", "maxvalue", "cycle", "owned", "sequence", "as"]
        .iter()
        .any(|w| word_is(parser, 0, w))
    {
        return Ok(false);
    } else {
        return parser.expected_ref("an option of an identity column", parser.peek_token_ref());
    };
    let _ = parser.parse_keyword(particle);
    if slot.replace(number(parser)?).is_some() {
        return Err(ParserError::ParserError(format!("conflicting or redundant options: {name}")));
    }
    Ok(true)
}

fn number(parser: &mut Parser) -> ParseResult<i64> {
    let sign = match parser.consume_token(&Token::Minus) {
        true => "-",
        false => {
            let _ = parser.consume_token(&Token::Plus);
            ""
        }
    };
    let token = parser.next_token();
    let digits = match &token.token {
        Token::Number(digits, _) => digits,
        _ => return parser.expected("a number", token),
    };
    format!("{sign}{digits}")
        .parse()
        .map_err(|_| ParserError::ParserError(format!("{sign}{digits} is no number of type bigint")))
}

pub(super) fn given_twice(column: &str) -> ParserError {
    ParserError::ParserError(format!("multiple identity specifications for column \"{column}\""))
}
