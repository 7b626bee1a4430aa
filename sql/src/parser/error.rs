//! Errors of sqlparser as Postgres words them.
//!
//! sqlparser reports strings; where it stopped is the ` at Line: l, Column: c` at their end.

use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, Tokenizer, TokenizerError};

use super::{AuricDialect, Lines, too_complex};
use crate::error::{Error, SqlState};

pub(super) fn from_tokenizer(e: &TokenizerError, text: &str, lines: &Lines) -> Error {
    let message = e.message.to_ascii_lowercase();
    let what = if message.contains("string literal") {
        "unterminated quoted string"
    } else if message.contains("comment") {
        "unterminated /* comment"
    } else if message.contains("close delimiter") {
        "unterminated quoted identifier"
    } else if message.contains("dollar") {
        "unterminated dollar-quoted string"
    } else {
        "syntax error"
    };
    let near: String =
        text.get(lines.offset(text, e.location)..).unwrap_or_default().chars().take(40).collect();
    Error::new(SqlState::SYNTAX_ERROR, format!("{what} at or near \"{near}\""))
        .with_position(lines.position(text, e.location))
}

pub(super) fn from_parser(e: &ParserError, text: &str, lines: &Lines) -> Error {
    let message = match e {
        ParserError::RecursionLimitExceeded => return too_complex(),
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
    };
    let (what, location) = match message.rsplit_once(" at Line: ") {
        Some((what, at)) => (what, location(at)),
        None => (message.as_str(), None),
    };
    let Some(location) = location else {
        return if what.contains("found: EOF") {
            let end = u32::try_from(text.chars().count()).unwrap_or(u32::MAX - 1) + 1;
            Error::new(SqlState::SYNTAX_ERROR, "syntax error at end of input").with_position(end)
        } else {
            Error::new(SqlState::SYNTAX_ERROR, what)
        };
    };
    let near = token_at(text, lines, location);
    let error = Error::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{near}\""))
        .with_position(lines.position(text, location));
    match what.split_once(", found: ") {
        Some((expected, _)) => error.with_detail(expected.to_string()),
        None => error.with_detail(what.to_string()),
    }
}

fn location(text: &str) -> Option<Location> {
    let (line, column) = text.split_once(", Column: ")?;
    let digits: String = column.chars().take_while(char::is_ascii_digit).collect();
    Some(Location { line: line.trim().parse().ok()?, column: digits.parse().ok()? })
}

/// The token that begins at `location`.
fn token_at(text: &str, lines: &Lines, location: Location) -> String {
    let rest = text.get(lines.offset(text, location)..).unwrap_or_default();
    let dialect = AuricDialect::default();
    // A prefix is enough, and keeps an error near the start of a huge text cheap.
    let prefix: String = rest.chars().take(200).collect();
    let token = Tokenizer::new(&dialect, &prefix)
        .tokenize()
        .ok()
        .and_then(|tokens| tokens.into_iter().find(|token| !matches!(token, Token::Whitespace(_))));
    match token {
        Some(token) => {
            let shown = token.to_string();
            // Keep the user's spelling of the word.
            prefix.get(..shown.len()).map_or(shown.clone(), |own| {
                if own.eq_ignore_ascii_case(&shown) { own.to_string() } else { shown }
            })
        }
        None => prefix.split_whitespace().next().unwrap_or_default().to_string(),
    }
}
