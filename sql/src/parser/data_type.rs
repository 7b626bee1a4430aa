//! Type names: Postgres', plus the nested forms `struct<a int, b: text>`, `row(a int)`,
//! `map<k, v>`, `array<e>`.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::ParseResult;
use crate::error::{Error, Result};
use crate::types::sql_type;
use crate::types::text_type::TextType;

/// Deepest nesting of a type.
const MAX_DEPTH: usize = 32;

/// Parses a type of a column definition. The inner error: the syntax is right, but there is no such
/// type. Beside it, the length of a text.
pub(super) fn data_type(parser: &mut Parser) -> ParseResult<(Result<DataType>, Option<TextType>)> {
    let mut types = TypeParser { parser, pending: 0, failure: None, text_type: None };
    let result = types.parse(0)?;
    if types.pending > 0 {
        return types.parser.expected_ref("end of type", types.parser.peek_token_ref());
    }
    Ok((types.failure.map_or(Ok(result), Err), types.text_type))
}

struct TypeParser<'p, 'a> {
    parser: &'p mut Parser<'a>,
    /// Closing `>` that were read as part of a `>>` and not used yet.
    pending: usize,
    /// Why the type as a whole is none.
    failure: Option<Error>,
    /// What the type as a whole is, if it is a text with a length.
    text_type: Option<TextType>,
}

impl TypeParser<'_, '_> {
    fn parse(&mut self, depth: usize) -> ParseResult<DataType> {
        if depth > MAX_DEPTH {
            return Err(ParserError::RecursionLimitExceeded);
        }
        let word = match &self.parser.peek_token_ref().token {
            Token::Word(w) if w.quote_style.is_none() => w.value.to_ascii_lowercase(),
            _ => String::new(),
        };
        let opens = self.parser.peek_nth_token_ref(1).token.clone();
        let nested = match (word.as_str(), &opens) {
            ("struct" | "row", Token::Lt | Token::LParen) => Some(self.structure(depth)?),
            ("map", Token::Lt | Token::LParen) => Some(self.map(depth)?),
            ("array", Token::Lt | Token::LParen) => {
                let close = self.open()?;
                let element = self.parse(depth + 1)?;
                self.close(&close)?;
                Some(list_of(element))
            }
            _ => None,
        };
        let Some(mut result) = nested else {
            let ast = self.parser.parse_data_type()?;
            let item = sql_type::from_sql(&ast).unwrap_or_else(|e| {
                self.failure.get_or_insert(e);
                DataType::Null
            });
            // `integer ARRAY`, `integer ARRAY[4]`: one dimension, whose length means nothing.
            if self.parser.parse_keyword(Keyword::ARRAY) {
                if self.parser.consume_token(&Token::LBracket) {
                    self.parser.parse_literal_uint()?;
                    self.parser.expect_token(&Token::RBracket)?;
                }
                return Ok(list_of(item));
            }
            if depth == 0 {
                self.text_type = TextType::of_sql(&ast);
            }
            return Ok(item);
        };
        while self.pending == 0 && self.parser.consume_token(&Token::LBracket) {
            self.parser.expect_token(&Token::RBracket)?;
            result = list_of(result);
        }
        Ok(result)
    }

    /// Reads the type's word and the bracket after it; gives the closing one.
    fn open(&mut self) -> ParseResult<Token> {
        self.parser.next_token();
        match self.parser.next_token().token {
            Token::Lt => Ok(Token::Gt),
            _ => Ok(Token::RParen),
        }
    }

    fn close(&mut self, bracket: &Token) -> ParseResult<()> {
        if *bracket == Token::Gt {
            if self.pending > 0 {
                self.pending -= 1;
                return Ok(());
            }
            // `>>` and more are read as one operator.
            let run = match &self.parser.peek_token_ref().token {
                Token::ShiftRight => 2,
                Token::CustomBinaryOperator(text) if text.bytes().all(|byte| byte == b'>') => text.len(),
                _ => 0,
            };
            if run > 0 {
                self.parser.next_token();
                self.pending = run - 1;
                return Ok(());
            }
        }
        self.parser.expect_token(bracket).map(|_| ())
    }

    fn structure(&mut self, depth: usize) -> ParseResult<DataType> {
        let close = self.open()?;
        let mut fields = Vec::new();
        loop {
            let name = super::dml::folded(self.parser.parse_identifier()?);
            let _ = self.parser.consume_token(&Token::Colon);
            let data_type = self.parse(depth + 1)?;
            let not_null = self.parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]);
            if self.parser.parse_keyword(Keyword::COMMENT) {
                self.parser.parse_literal_string()?;
            }
            fields.push(Field::new(name, data_type, !not_null));
            // A pending `>` closes this type: the comma after it is not ours.
            if self.pending > 0 || !self.parser.consume_token(&Token::Comma) {
                break;
            }
        }
        self.close(&close)?;
        Ok(DataType::Struct(Fields::from(fields)))
    }

    fn map(&mut self, depth: usize) -> ParseResult<DataType> {
        let close = self.open()?;
        let key = self.parse(depth + 1)?;
        self.parser.expect_token(&Token::Comma)?;
        let value = self.parse(depth + 1)?;
        self.close(&close)?;
        let entries = Fields::from(vec![Field::new("key", key, false), Field::new("value", value, true)]);
        Ok(DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entries), false)), false))
    }
}

fn list_of(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(element, true)))
}
