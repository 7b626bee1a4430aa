//! `COMMENT ON {TABLE | VIEW | COLUMN | SCHEMA} … IS …`.

use datafusion::sql::sqlparser::ast::ObjectName;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::ParseResult;
use super::dml::{folded, parse_word, word_is};
use super::statement::{CommentOn, Commented, Statement};

/// `None`: a comment on something else; the parser is where it was.
pub(super) fn comment(parser: &mut Parser) -> ParseResult<Option<Statement>> {
    let Some(object) = parser.maybe_parse(object)? else { return Ok(None) };
    parser.expect_keyword(Keyword::IS)?;
    let token = parser.next_token();
    let text = match token.token {
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => Some(text),
        Token::DollarQuotedString(text) => Some(text.value),
        Token::Word(word) if word.keyword == Keyword::NULL => None,
        _ => return parser.expected("a string or NULL", token),
    };
    Ok(Some(Statement::Comment(Box::new(CommentOn { object, text }))))
}

fn object(parser: &mut Parser) -> ParseResult<Commented> {
    parser.expect_keywords(&[Keyword::COMMENT, Keyword::ON])?;
    let kind = parser.peek_token_ref().clone();
    if parser.parse_keyword(Keyword::TABLE) {
        return Ok(Commented::Table(parser.parse_object_name(false)?));
    }
    if word_is(parser, 0, "materialized") && word_is(parser, 1, "view") {
        parser.next_token();
        parser.next_token();
        return Ok(Commented::MaterializedView(parser.parse_object_name(false)?));
    }
    if parser.parse_keyword(Keyword::VIEW) {
        return Ok(Commented::View(parser.parse_object_name(false)?));
    }
    if parser.parse_keyword(Keyword::SCHEMA) {
        return Ok(Commented::Schema(parser.parse_object_name(false)?));
    }
    if !parse_word(parser, "column") {
        return parser.expected("TABLE, VIEW, MATERIALIZED VIEW, COLUMN or SCHEMA", kind);
    }
    let mut parts = parser.parse_object_name(false)?.0;
    let column = parts.pop().and_then(|part| part.as_ident().cloned());
    match column {
        Some(column) if !parts.is_empty() => {
            Ok(Commented::Column { relation: ObjectName(parts), column: folded(column) })
        }
        _ => parser.expected("the name of a relation and, after a dot, of its column", kind),
    }
}
