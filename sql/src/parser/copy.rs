//! `COPY`, with the options of both its syntaxes (Postgres manual, COPY).

use datafusion::sql::sqlparser::ast::Ident;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::ParseResult;
use super::dml::{folded, parse_word};
use super::statement::{
    ColumnChoice, Copy, CopyFormat, CopyOptions, CopySource, CopyTarget, Header, Statement,
};
use crate::session::vars::parse_bool;

/// Options as written.
#[derive(Default)]
struct Written {
    format: Option<CopyFormat>,
    delimiter: Option<String>,
    null: Option<String>,
    default: Option<String>,
    header: Header,
    quote: Option<String>,
    escape: Option<String>,
    force_quote: ColumnChoice,
    force_not_null: ColumnChoice,
    force_null: ColumnChoice,
}

fn invalid<T>(message: impl Into<String>) -> ParseResult<T> {
    Err(ParserError::ParserError(message.into()))
}

pub(super) fn copy(parser: &mut Parser) -> ParseResult<Statement> {
    parser.expect_keyword(Keyword::COPY)?;
    let source = if parser.consume_token(&Token::LParen) {
        let query = super::whole_query(parser)?;
        parser.expect_token(&Token::RParen)?;
        CopySource::Query(query)
    } else {
        let name = parser.parse_object_name(false)?;
        super::table_version::refuse(parser)?;
        let mut columns: Vec<Ident> = Vec::new();
        if parser.consume_token(&Token::LParen) {
            columns = parser.parse_comma_separated(Parser::parse_identifier)?;
            parser.expect_token(&Token::RParen)?;
        }
        CopySource::Table { name, columns }
    };
    let from = parser.expect_one_of_keywords(&[Keyword::FROM, Keyword::TO])? == Keyword::FROM;
    if from && matches!(source, CopySource::Query(_)) {
        return parser.expected_ref("TO", parser.peek_token_ref());
    }
    // As in Postgres' grammar, both words mean the client; some write `TO STDIN`.
    let target = if parser.parse_one_of_keywords(&[Keyword::STDIN, Keyword::STDOUT]).is_some() {
        if from { CopyTarget::Stdin } else { CopyTarget::Stdout }
    } else if parser.parse_keyword(Keyword::PROGRAM) {
        parser.parse_literal_string()?;
        return Ok(Statement::Unsupported("COPY … PROGRAM".into()));
    } else {
        let name = parser.parse_literal_string()?;
        if from { CopyTarget::FromFile(name) } else { CopyTarget::File(name) }
    };
    let mut written = Written::default();
    let with = parser.parse_keyword(Keyword::WITH);
    if parser.consume_token(&Token::LParen) {
        loop {
            option(parser, &mut written)?;
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        parser.expect_token(&Token::RParen)?;
    } else {
        let mut any = false;
        while legacy_option(parser, &mut written)? {
            any = true;
        }
        if with && !any {
            return parser.expected_ref("a COPY option", parser.peek_token_ref());
        }
    }
    if parser.peek_keyword(Keyword::WHERE) {
        while parser.next_token().token != Token::EOF {}
        return Ok(Statement::Unsupported("COPY … WHERE".into()));
    }
    let options = finish(written)?;
    Ok(Statement::Copy(Box::new(Copy { source, target, options })))
}

fn format_named(name: &str) -> ParseResult<CopyFormat> {
    match name.to_ascii_lowercase().as_str() {
        "text" => Ok(CopyFormat::Text),
        "csv" => Ok(CopyFormat::Csv),
        "binary" => Ok(CopyFormat::Binary),
        "json" => Ok(CopyFormat::Json),
        "parquet" => Ok(CopyFormat::Parquet),
        _ => invalid(format!("COPY format \"{name}\" not recognized")),
    }
}

/// A string, word or number.
fn value(parser: &mut Parser) -> ParseResult<String> {
    let token = parser.next_token();
    match token.token {
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) | Token::Number(text, _) => {
            Ok(text)
        }
        Token::Word(word) => Ok(word.value),
        _ => parser.expected("an option value", token),
    }
}

fn boolean(parser: &mut Parser) -> ParseResult<bool> {
    if matches!(parser.peek_token_ref().token, Token::Comma | Token::RParen) {
        return Ok(true);
    }
    let text = value(parser)?;
    match parse_bool(&text) {
        Some(on) => Ok(on),
        None => invalid(format!("\"{text}\" is not a Boolean value")),
    }
}

fn columns(parser: &mut Parser) -> ParseResult<ColumnChoice> {
    if parser.consume_token(&Token::Mul) {
        return Ok(ColumnChoice::All);
    }
    let parenthesized = parser.consume_token(&Token::LParen);
    if parenthesized && parser.consume_token(&Token::Mul) {
        parser.expect_token(&Token::RParen)?;
        return Ok(ColumnChoice::All);
    }
    let names = parser.parse_comma_separated(|p| p.parse_identifier().map(folded))?;
    if parenthesized {
        parser.expect_token(&Token::RParen)?;
    }
    Ok(ColumnChoice::Columns(names))
}

fn option(parser: &mut Parser, written: &mut Written) -> ParseResult<()> {
    let name = parser.parse_identifier()?.value.to_ascii_lowercase();
    match name.as_str() {
        "format" => written.format = Some(format_named(&value(parser)?)?),
        "delimiter" => written.delimiter = Some(value(parser)?),
        "null" => written.null = Some(value(parser)?),
        "default" => written.default = Some(value(parser)?),
        "quote" => written.quote = Some(value(parser)?),
        "escape" => written.escape = Some(value(parser)?),
        "header" => {
            written.header = if parse_word(parser, "match") {
                Header::Match
            } else if boolean(parser)? {
                Header::Present
            } else {
                Header::None
            };
        }
        "force_quote" => written.force_quote = columns(parser)?,
        "force_not_null" => written.force_not_null = columns(parser)?,
        "force_null" => written.force_null = columns(parser)?,
        "freeze" => {
            boolean(parser)?;
        }
        "encoding" => encoding(&value(parser)?)?,
        _ => return invalid(format!("option \"{name}\" not recognized")),
    }
    Ok(())
}

fn encoding(name: &str) -> ParseResult<()> {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    match plain.to_ascii_lowercase().as_str() {
        "utf8" | "unicode" => Ok(()),
        _ => invalid(format!("COPY encoding \"{name}\" is not supported: use UTF8")),
    }
}

/// One option of the syntax before Postgres 9.0. `false`: there is none.
fn legacy_option(parser: &mut Parser, written: &mut Written) -> ParseResult<bool> {
    if parse_word(parser, "binary") {
        written.format = Some(CopyFormat::Binary);
    } else if parse_word(parser, "csv") {
        written.format = Some(CopyFormat::Csv);
    } else if parse_word(parser, "header") {
        written.header = Header::Present;
    } else if parse_word(parser, "delimiter") || parse_word(parser, "delimiters") {
        let _ = parser.parse_keyword(Keyword::AS);
        written.delimiter = Some(value(parser)?);
    } else if parse_word(parser, "null") {
        let _ = parser.parse_keyword(Keyword::AS);
        written.null = Some(value(parser)?);
    } else if parse_word(parser, "quote") {
        let _ = parser.parse_keyword(Keyword::AS);
        written.quote = Some(value(parser)?);
    } else if parse_word(parser, "escape") {
        let _ = parser.parse_keyword(Keyword::AS);
        written.escape = Some(value(parser)?);
    } else if parse_word(parser, "encoding") {
        encoding(&value(parser)?)?;
    } else if parse_word(parser, "force") {
        if parse_word(parser, "quote") {
            written.force_quote = columns(parser)?;
        } else if parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]) {
            written.force_not_null = columns(parser)?;
        } else {
            parser.expect_keyword(Keyword::NULL)?;
            written.force_null = columns(parser)?;
        }
    } else {
        return Ok(false);
    }
    Ok(true)
}

/// Fills in the format's defaults and checks that the options fit together.
fn finish(written: Written) -> ParseResult<CopyOptions> {
    let format = written.format.unwrap_or(CopyFormat::Text);
    let csv = format == CopyFormat::Csv;
    if !format.is_text() {
        let textual = [
            ("DELIMITER", written.delimiter.is_some()),
            ("NULL", written.null.is_some()),
            ("DEFAULT", written.default.is_some()),
            ("HEADER", written.header != Header::None),
        ];
        if let Some((option, _)) = textual.iter().find(|(_, given)| *given) {
            let mode = format!("{format:?}").to_uppercase();
            return invalid(format!("cannot specify {option} in {mode} mode"));
        }
    }
    let one_byte = |what: &str, text: Option<String>, default: u8| match text {
        None => Ok(default),
        Some(text) => match text.as_bytes() {
            [byte] if *byte != b'\n' && *byte != b'\r' => Ok(*byte),
            _ => invalid(format!("COPY {what} must be a single one-byte character")),
        },
    };
    if !csv && (written.quote.is_some() || written.escape.is_some()) {
        return invalid("COPY quote and escape available only in CSV mode");
    }
    let delimiter = one_byte("delimiter", written.delimiter, if csv { b',' } else { b'\t' })?;
    let quote = one_byte("quote", written.quote, b'"')?;
    let escape = one_byte("escape", written.escape, quote)?;
    let null = written.null.unwrap_or_else(|| if csv { String::new() } else { "\\N".to_string() });
    if null.contains(['\n', '\r']) {
        return invalid("COPY null representation cannot use newline or carriage return");
    }
    if null.as_bytes().contains(&delimiter) {
        return invalid("COPY delimiter must not appear in the NULL specification");
    }
    if csv && delimiter == quote {
        return invalid("COPY delimiter and quote must be different");
    }
    if !csv && (delimiter == b'\\' || delimiter == b'.' || delimiter.is_ascii_alphanumeric()) {
        return invalid(format!("COPY delimiter cannot be \"{}\"", char::from(delimiter)));
    }
    Ok(CopyOptions {
        format,
        delimiter,
        null,
        default: written.default,
        header: written.header,
        quote,
        escape,
        force_quote: written.force_quote,
        force_not_null: written.force_not_null,
        force_null: written.force_null,
    })
}
