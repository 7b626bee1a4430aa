//! Statements about the session: settings, transactions, prepared statements, cursors.

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::dml::{folded, parse_word, word_is};
use super::statement::{Chain, Discard, Fetch, Movement, Set, Show, Statement, TransactionModes};
use super::{ParseResult, materialized_view};
use crate::session::cursor::{CursorOptions, Scroll};

/// `name` or `class.name`.
fn setting_name(parser: &mut Parser) -> ParseResult<String> {
    let mut name = parser.parse_identifier()?.value;
    while parser.consume_token(&Token::Period) {
        name.push('.');
        name.push_str(&parser.parse_identifier()?.value);
    }
    Ok(name)
}

pub(super) fn set(parser: &mut Parser) -> ParseResult<Statement> {
    parser.expect_keyword(Keyword::SET)?;
    if word_is(parser, 0, "transaction") && !matches!(parser.peek_nth_token_ref(1).token, Token::Eq) {
        parser.next_token();
        return Ok(Statement::SetTransaction { session: false, modes: transaction_modes(parser)? });
    }
    if word_is(parser, 0, "session") && word_is(parser, 1, "characteristics") {
        parser.next_token();
        parser.next_token();
        parser.expect_keywords(&[Keyword::AS, Keyword::TRANSACTION])?;
        return Ok(Statement::SetTransaction { session: true, modes: transaction_modes(parser)? });
    }
    let local = parse_word(parser, "local");
    if !local && word_is(parser, 0, "session") {
        parser.next_token();
        if word_is(parser, 0, "authorization") {
            return authorization(parser, local);
        }
    }
    if word_is(parser, 0, "session") && word_is(parser, 1, "authorization") {
        parser.next_token();
        return authorization(parser, local);
    }
    if parse_word(parser, "schema") {
        // `SET SCHEMA 'x'`: a search path of one.
        let schema = SettingValue { text: parser.parse_literal_string()? }.as_identifier();
        return Ok(Statement::Set(Set { name: "search_path".into(), value: Some(schema), local }));
    }
    if word_is(parser, 0, "time") && word_is(parser, 1, "zone") {
        parser.next_token();
        parser.next_token();
        let value = time_zone_value(parser)?;
        return Ok(Statement::Set(Set { name: "TimeZone".into(), value, local }));
    }
    if parse_word(parser, "names") {
        let value = setting_value(parser)?;
        return Ok(Statement::Set(Set {
            name: "client_encoding".into(),
            value: value.map(|v| v.text),
            local,
        }));
    }
    if word_is(parser, 0, "role")
        && !matches!(parser.peek_nth_token_ref(1).token, Token::Eq)
        && !word_is(parser, 1, "to")
    {
        parser.next_token();
        let value = setting_value(parser)?;
        return Ok(Statement::Set(Set { name: "role".into(), value: value.map(|v| v.text), local }));
    }
    let name = setting_name(parser)?;
    if !parser.consume_token(&Token::Eq) {
        parser.expect_keyword(Keyword::TO)?;
    }
    let mut parts = Vec::new();
    loop {
        match setting_value(parser)? {
            None if parts.is_empty() => return Ok(Statement::Set(Set { name, value: None, local })),
            None => return parser.expected_ref("a value", parser.peek_token_ref()),
            Some(value) => parts.push(value),
        }
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    // A search path is a list of identifiers: quote what would not be read back as it was meant.
    let is_list = name.eq_ignore_ascii_case("search_path");
    let texts: Vec<String> =
        parts.into_iter().map(|v| if is_list { v.as_identifier() } else { v.text }).collect();
    Ok(Statement::Set(Set { name, value: Some(texts.join(", ")), local }))
}

/// `AUTHORIZATION {user | DEFAULT}`.
fn authorization(parser: &mut Parser, local: bool) -> ParseResult<Statement> {
    parser.next_token();
    let value = setting_value(parser)?.map(|value| value.text);
    Ok(Statement::Set(Set { name: "session_authorization".into(), value, local }))
}

struct SettingValue {
    text: String,
}

impl SettingValue {
    fn as_identifier(&self) -> String {
        let plain = !self.text.is_empty()
            && self.text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            && !self.text.starts_with(|c: char| c.is_ascii_digit());
        if plain || self.text.is_empty() {
            self.text.clone()
        } else {
            format!("\"{}\"", self.text.replace('"', "\"\""))
        }
    }
}

/// One value; `None`: DEFAULT.
fn setting_value(parser: &mut Parser) -> ParseResult<Option<SettingValue>> {
    if parser.parse_keyword(Keyword::DEFAULT) {
        return Ok(None);
    }
    let negative = if parser.consume_token(&Token::Minus) { "-" } else { "" };
    let _ = parser.consume_token(&Token::Plus);
    let token = parser.next_token();
    let text = match token.token {
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => text,
        Token::Number(text, _) => format!("{negative}{text}"),
        Token::Word(word) if word.quote_style.is_some() => word.value,
        Token::Word(word) => word.value.to_lowercase(),
        _ => return parser.expected("a value", token),
    };
    Ok(Some(SettingValue { text }))
}

/// `+05:30` as hours.
fn hours_east(text: &str) -> Option<String> {
    let text = text.trim();
    let (sign, size) = match text.strip_prefix('-') {
        Some(size) => (-1.0, size),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let (hours, minutes) = size.split_once(':').unwrap_or((size, "0"));
    let (hours, minutes) = (hours.parse::<u8>().ok()?, minutes.parse::<u8>().ok()?);
    Some((sign * (f64::from(hours) + f64::from(minutes) / 60.0)).to_string())
}

fn time_zone_value(parser: &mut Parser) -> ParseResult<Option<String>> {
    if parser.parse_keyword(Keyword::INTERVAL) {
        let text = parser.parse_literal_string()?;
        while parser.parse_one_of_keywords(&[Keyword::HOUR, Keyword::TO, Keyword::MINUTE]).is_some() {}
        return match hours_east(&text) {
            Some(hours) => Ok(Some(hours)),
            None => parser.expected("an interval of hours and minutes", parser.peek_token()),
        };
    }
    if parse_word(parser, "local") {
        return Ok(None);
    }
    Ok(setting_value(parser)?.map(|value| value.text))
}

/// Name of a setting, also in the forms with spaces.
fn shown_name(parser: &mut Parser) -> ParseResult<String> {
    if word_is(parser, 0, "time") && word_is(parser, 1, "zone") {
        parser.next_token();
        parser.next_token();
        return Ok("TimeZone".into());
    }
    if word_is(parser, 0, "transaction") && word_is(parser, 1, "isolation") {
        for _ in 0..3 {
            parser.next_token();
        }
        return Ok("transaction_isolation".into());
    }
    if word_is(parser, 0, "session") && word_is(parser, 1, "authorization") {
        parser.next_token();
        parser.next_token();
        return Ok("session_authorization".into());
    }
    setting_name(parser)
}

pub(super) fn show(parser: &mut Parser) -> ParseResult<Statement> {
    parser.expect_keyword(Keyword::SHOW)?;
    if parser.parse_keyword(Keyword::ALL) {
        return Ok(Statement::Show(Show::All));
    }
    if let Some(shown) = materialized_view::show_create(parser)? {
        return Ok(shown);
    }
    Ok(Statement::Show(Show::Variable(shown_name(parser)?)))
}

pub(super) fn reset(parser: &mut Parser) -> ParseResult<Statement> {
    parser.expect_keyword(Keyword::RESET)?;
    if parser.parse_keyword(Keyword::ALL) {
        return Ok(Statement::Reset(None));
    }
    Ok(Statement::Reset(Some(shown_name(parser)?)))
}

pub(super) fn discard(parser: &mut Parser) -> ParseResult<Statement> {
    parser.expect_keyword(Keyword::DISCARD)?;
    let what = if parse_word(parser, "all") {
        Discard::All
    } else if parse_word(parser, "plans") {
        Discard::Plans
    } else if parse_word(parser, "sequences") {
        Discard::Sequences
    } else if parse_word(parser, "temp") || parse_word(parser, "temporary") {
        Discard::Temp
    } else {
        return parser.expected_ref("ALL, PLANS, SEQUENCES or TEMP", parser.peek_token_ref());
    };
    Ok(Statement::Discard(what))
}

fn transaction_modes(parser: &mut Parser) -> ParseResult<TransactionModes> {
    let mut modes = TransactionModes::default();
    loop {
        if parser.parse_keywords(&[Keyword::ISOLATION, Keyword::LEVEL]) {
            modes.isolation = Some(if parse_word(parser, "serializable") {
                "serializable"
            } else if parse_word(parser, "repeatable") {
                parser.expect_keyword(Keyword::READ)?;
                "repeatable read"
            } else {
                parser.expect_keyword(Keyword::READ)?;
                if parse_word(parser, "uncommitted") {
                    "read uncommitted"
                } else {
                    parser.expect_keyword(Keyword::COMMITTED)?;
                    "read committed"
                }
            });
        } else if parser.parse_keywords(&[Keyword::READ, Keyword::ONLY]) {
            modes.read_only = Some(true);
        } else if parser.parse_keywords(&[Keyword::READ, Keyword::WRITE]) {
            modes.read_only = Some(false);
        } else if word_is(parser, 0, "not") && word_is(parser, 1, "deferrable") {
            parser.next_token();
            parser.next_token();
            modes.deferrable = Some(false);
        } else if parse_word(parser, "deferrable") {
            modes.deferrable = Some(true);
        } else {
            return Ok(modes);
        }
        let _ = parser.consume_token(&Token::Comma);
    }
}

fn skip_work(parser: &mut Parser) {
    if !parse_word(parser, "work") {
        parse_word(parser, "transaction");
    }
}

pub(super) fn begin(parser: &mut Parser) -> ParseResult<Statement> {
    let start = parser.expect_one_of_keywords(&[Keyword::BEGIN, Keyword::START])? == Keyword::START;
    if start {
        parser.expect_keyword(Keyword::TRANSACTION)?;
    } else {
        skip_work(parser);
    }
    Ok(Statement::Begin { start, modes: transaction_modes(parser)? })
}

fn chain(parser: &mut Parser) -> ParseResult<Chain> {
    if !parser.parse_keyword(Keyword::AND) {
        return Ok(Chain::No);
    }
    let no = parser.parse_keyword(Keyword::NO);
    if !parse_word(parser, "chain") {
        return parser.expected_ref("CHAIN", parser.peek_token_ref());
    }
    Ok(if no { Chain::No } else { Chain::Yes })
}

pub(super) fn commit(parser: &mut Parser) -> ParseResult<Statement> {
    parser.next_token();
    if word_is(parser, 0, "prepared") {
        while parser.next_token().token != Token::EOF {}
        return Ok(Statement::Unsupported("COMMIT PREPARED".into()));
    }
    skip_work(parser);
    Ok(Statement::Commit(chain(parser)?))
}

pub(super) fn rollback(parser: &mut Parser) -> ParseResult<Statement> {
    parser.next_token();
    if word_is(parser, 0, "prepared") {
        while parser.next_token().token != Token::EOF {}
        return Ok(Statement::Unsupported("ROLLBACK PREPARED".into()));
    }
    skip_work(parser);
    if parser.parse_keyword(Keyword::TO) {
        parse_word(parser, "savepoint");
        return Ok(Statement::RollbackTo(folded(parser.parse_identifier()?)));
    }
    Ok(Statement::Rollback(chain(parser)?))
}

pub(super) fn abort(parser: &mut Parser) -> ParseResult<Statement> {
    parser.next_token();
    skip_work(parser);
    Ok(Statement::Rollback(chain(parser)?))
}

pub(super) fn savepoint(parser: &mut Parser) -> ParseResult<Statement> {
    if parser.expect_one_of_keywords(&[Keyword::SAVEPOINT, Keyword::RELEASE])? == Keyword::SAVEPOINT {
        return Ok(Statement::Savepoint(folded(parser.parse_identifier()?)));
    }
    parse_word(parser, "savepoint");
    Ok(Statement::Release(folded(parser.parse_identifier()?)))
}

/// `PREPARE name [(types)] AS`.
pub(super) fn prepare_head(parser: &mut Parser) -> ParseResult<(String, Vec<ast::DataType>)> {
    parser.expect_keyword(Keyword::PREPARE)?;
    let name = folded(parser.parse_identifier()?);
    let mut types = Vec::new();
    if parser.consume_token(&Token::LParen) {
        types = parser.parse_comma_separated(Parser::parse_data_type)?;
        parser.expect_token(&Token::RParen)?;
    }
    parser.expect_keyword(Keyword::AS)?;
    Ok((name, types))
}

pub(super) fn execute(parser: &mut Parser) -> ParseResult<Statement> {
    parser.expect_keyword(Keyword::EXECUTE)?;
    let name = folded(parser.parse_identifier()?);
    let mut parameters = Vec::new();
    if parser.consume_token(&Token::LParen) {
        parameters = parser.parse_comma_separated(Parser::parse_expr)?;
        parser.expect_token(&Token::RParen)?;
    }
    Ok(Statement::Execute { name, parameters })
}

pub(super) fn deallocate(parser: &mut Parser) -> ParseResult<Statement> {
    parser.expect_keyword(Keyword::DEALLOCATE)?;
    let _ = parser.parse_keyword(Keyword::PREPARE);
    if parser.parse_keyword(Keyword::ALL) {
        return Ok(Statement::Deallocate(None));
    }
    Ok(Statement::Deallocate(Some(folded(parser.parse_identifier()?))))
}

/// `DECLARE name [options] CURSOR [{WITH | WITHOUT} HOLD] FOR`.
pub(super) fn declare_head(parser: &mut Parser) -> ParseResult<(String, CursorOptions)> {
    parser.expect_keyword(Keyword::DECLARE)?;
    let name = folded(parser.parse_identifier()?);
    let mut options = CursorOptions::default();
    loop {
        let scroll = if parse_word(parser, "binary") {
            options.binary = true;
            continue;
        } else if parse_word(parser, "insensitive") || parse_word(parser, "asensitive") {
            continue;
        } else if word_is(parser, 0, "no") && word_is(parser, 1, "scroll") {
            parser.next_token();
            parser.next_token();
            Scroll::No
        } else if parse_word(parser, "scroll") {
            Scroll::Yes
        } else {
            break;
        };
        if !matches!(options.scroll, Scroll::Maybe) && options.scroll != scroll {
            return Err(ParserError::ParserError("cannot specify both SCROLL and NO SCROLL".into()));
        }
        options.scroll = scroll;
    }
    if !parse_word(parser, "cursor") {
        return parser.expected_ref("CURSOR", parser.peek_token_ref());
    }
    if word_is(parser, 1, "hold") {
        options.hold = parse_word(parser, "with");
        if !options.hold && !parse_word(parser, "without") {
            return parser.expected_ref("WITH or WITHOUT", parser.peek_token_ref());
        }
        parser.next_token();
    }
    parser.expect_keyword(Keyword::FOR)?;
    Ok((name, options))
}

/// A whole number with or without a sign. `None`: there is none.
fn signed_number(parser: &mut Parser) -> ParseResult<Option<i64>> {
    let signed = matches!(parser.peek_token_ref().token, Token::Minus | Token::Plus);
    let negative = parser.consume_token(&Token::Minus);
    if !negative {
        let _ = parser.consume_token(&Token::Plus);
    }
    let token = parser.peek_token_ref().clone();
    let Token::Number(digits, _) = &token.token else {
        return if signed { parser.expected("a number", token) } else { Ok(None) };
    };
    // As Postgres: what is no integer is no number here.
    let Ok(number) = digits.parse::<i32>() else { return parser.expected("an integer", token) };
    parser.next_token();
    Ok(Some(if negative { -i64::from(number) } else { number.into() }))
}

/// What FORWARD and BACKWARD say after themselves.
fn row_count(parser: &mut Parser) -> ParseResult<Option<i64>> {
    if parse_word(parser, "all") {
        return Ok(None);
    }
    Ok(Some(signed_number(parser)?.unwrap_or(1)))
}

fn row_number(parser: &mut Parser) -> ParseResult<i64> {
    match signed_number(parser)? {
        Some(number) => Ok(number),
        None => parser.expected_ref("an integer", parser.peek_token_ref()),
    }
}

fn movement(parser: &mut Parser) -> ParseResult<Movement> {
    // A cursor may have the name of a direction.
    if matches!(parser.peek_nth_token_ref(1).token, Token::EOF | Token::SemiColon) {
        return Ok(Movement::Forward(Some(1)));
    }
    Ok(if parse_word(parser, "next") {
        Movement::Forward(Some(1))
    } else if parse_word(parser, "prior") {
        Movement::Backward(Some(1))
    } else if parse_word(parser, "first") {
        Movement::Absolute(1)
    } else if parse_word(parser, "last") {
        Movement::Absolute(-1)
    } else if parse_word(parser, "absolute") {
        Movement::Absolute(row_number(parser)?)
    } else if parse_word(parser, "relative") {
        Movement::Relative(row_number(parser)?)
    } else if parse_word(parser, "backward") {
        Movement::Backward(row_count(parser)?)
    } else {
        parse_word(parser, "forward");
        Movement::Forward(row_count(parser)?)
    })
}

pub(super) fn fetch(parser: &mut Parser) -> ParseResult<Statement> {
    let discard = word_is(parser, 0, "move");
    parser.next_token();
    let movement = movement(parser)?;
    if !parser.parse_keyword(Keyword::FROM) {
        let _ = parser.parse_keyword(Keyword::IN);
    }
    let cursor = folded(parser.parse_identifier()?);
    Ok(Statement::Fetch(Fetch { cursor, movement, discard }))
}

pub(super) fn close(parser: &mut Parser) -> ParseResult<Statement> {
    parser.expect_keyword(Keyword::CLOSE)?;
    if parser.parse_keyword(Keyword::ALL) {
        return Ok(Statement::Close(None));
    }
    Ok(Statement::Close(Some(folded(parser.parse_identifier()?))))
}

/// A statement whose one argument has no effect here.
pub(super) fn accepted(parser: &mut Parser, tag: &'static str) -> ParseResult<Statement> {
    parser.next_token();
    if !parser.consume_token(&Token::Mul) {
        parser.parse_identifier().map_err(|e| match e {
            ParserError::ParserError(message) => ParserError::ParserError(message),
            other => other,
        })?;
    }
    Ok(Statement::Accepted(tag))
}
