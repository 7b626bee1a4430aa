//! `CREATE TABLE`: Postgres' columns and constraints, then the lakehouse clauses in any order.

use auric_catalog::table::definition::{PartitionFieldDefinition, SortFieldDefinition};
use auric_catalog::table::{TableFormat, Transform};
use datafusion::sql::sqlparser::ast::{Ident, ObjectName, Query, SelectInto, SetExpr};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::ParseResult;
use super::data_type::data_type;
use super::dml::folded;
use super::identity;
use super::statement::{
    CheckClause, ColumnClause, CreateTable, ForeignKey, IdentityClause, OnCommit, Statement,
};
use crate::pg_catalog::foreign_key::ReferentialAction;

/// Precedence of IS, and of `NOT NULL` as a test, in the dialect.
const IS_PRECEDENCE: u8 = 40;

pub(super) fn create_table(parser: &mut Parser) -> ParseResult<Statement> {
    parser.expect_keyword(Keyword::CREATE)?;
    let or_replace = parser.parse_keywords(&[Keyword::OR, Keyword::REPLACE]);
    // UNLOGGED gives up what a crash may cost; here it costs nothing.
    let kind = parser.parse_one_of_keywords(&[
        Keyword::LOCAL,
        Keyword::GLOBAL,
        Keyword::TEMP,
        Keyword::TEMPORARY,
        Keyword::UNLOGGED,
    ]);
    if matches!(kind, Some(Keyword::LOCAL | Keyword::GLOBAL)) {
        parser.expect_one_of_keywords(&[Keyword::TEMP, Keyword::TEMPORARY])?;
    }
    parser.expect_keyword(Keyword::TABLE)?;
    let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    let name = parser.parse_object_name(false)?;
    let mut table = CreateTable {
        or_replace,
        if_not_exists,
        temporary: !matches!(kind, None | Some(Keyword::UNLOGGED)),
        ..CreateTable::named(name)
    };
    if parser.peek_token_ref().token == Token::LParen
        && !begins_query(parser, 1)
        && let Some(unsupported) = elements(parser, &mut table)?
    {
        return Ok(Statement::Unsupported(unsupported));
    }
    while clause(parser, &mut table)? {}
    Ok(Statement::CreateTable(Box::new(table)))
}

/// Whether a query begins at the nth token.
pub(super) fn begins_query(parser: &Parser, n: usize) -> bool {
    match &parser.peek_nth_token_ref(n).token {
        Token::Word(w) => {
            matches!(w.keyword, Keyword::SELECT | Keyword::WITH | Keyword::VALUES | Keyword::TABLE)
        }
        Token::LParen => begins_query(parser, n + 1),
        _ => false,
    }
}

/// Columns and table constraints. `Some`: names what we do not do.
fn elements(parser: &mut Parser, table: &mut CreateTable) -> ParseResult<Option<String>> {
    parser.expect_token(&Token::LParen)?;
    loop {
        if parser.consume_token(&Token::RParen) {
            return Ok(None);
        }
        let keyword = match &parser.peek_token_ref().token {
            Token::Word(w) if w.quote_style.is_none() => w.keyword,
            _ => Keyword::NoKeyword,
        };
        match keyword {
            Keyword::LIKE => return skip(parser, "CREATE TABLE (LIKE …)").map(Some),
            Keyword::FOREIGN => table.foreign_keys.push(foreign_key(parser, None)?),
            Keyword::UNIQUE | Keyword::EXCLUDE => return skip(parser, "this table constraint").map(Some),
            Keyword::CONSTRAINT => {
                parser.next_token();
                let name = parser.parse_identifier()?;
                if parser.peek_keyword(Keyword::PRIMARY) {
                    primary_key(parser, table)?;
                } else if parser.peek_keyword(Keyword::CHECK) {
                    table.checks.push(check(parser, Some(name))?);
                } else if parser.peek_keyword(Keyword::FOREIGN) {
                    table.foreign_keys.push(foreign_key(parser, Some(name))?);
                } else {
                    return skip(parser, "this table constraint").map(Some);
                }
            }
            Keyword::CHECK => table.checks.push(check(parser, None)?),
            Keyword::PRIMARY => primary_key(parser, table)?,
            _ => {
                if let Some(unsupported) = column(parser, table)? {
                    return skip(parser, unsupported).map(Some);
                }
            }
        }
        if !parser.consume_token(&Token::Comma) {
            parser.expect_token(&Token::RParen)?;
            return Ok(None);
        }
    }
}

/// Reads the rest of the statement, which is not going to be run.
pub(super) fn skip(parser: &mut Parser, what: &str) -> ParseResult<String> {
    while parser.next_token().token != Token::EOF {}
    Ok(what.to_string())
}

fn primary_key(parser: &mut Parser, table: &mut CreateTable) -> ParseResult<()> {
    parser.expect_keywords(&[Keyword::PRIMARY, Keyword::KEY])?;
    parser.expect_token(&Token::LParen)?;
    table.key_columns = parser.parse_comma_separated(|p| p.parse_identifier().map(folded))?;
    parser.expect_token(&Token::RParen).map(|_| ())
}

/// `FOREIGN KEY (columns) REFERENCES …`.
pub(super) fn foreign_key(parser: &mut Parser, name: Option<Ident>) -> ParseResult<ForeignKey> {
    parser.expect_keywords(&[Keyword::FOREIGN, Keyword::KEY])?;
    let columns = names(parser)?;
    references(parser, name, columns)
}

fn names(parser: &mut Parser) -> ParseResult<Vec<String>> {
    parser.expect_token(&Token::LParen)?;
    let names = parser.parse_comma_separated(|p| p.parse_identifier().map(folded))?;
    parser.expect_token(&Token::RParen)?;
    Ok(names)
}

/// `REFERENCES table [(columns)]` and what is to be done when these change.
fn references(parser: &mut Parser, name: Option<Ident>, columns: Vec<String>) -> ParseResult<ForeignKey> {
    parser.expect_keyword(Keyword::REFERENCES)?;
    let mut key = ForeignKey {
        name: name.map(folded),
        columns,
        table: parser.parse_object_name(false)?,
        references: None,
        on_update: ReferentialAction::NoAction,
        on_delete: ReferentialAction::NoAction,
        match_full: false,
        enforced: true,
    };
    if parser.peek_token_ref().token == Token::LParen {
        key.references = Some(names(parser)?);
    }
    loop {
        if parser.parse_keyword(Keyword::MATCH) {
            key.match_full = folded(parser.parse_identifier()?) == "full";
        } else if parser.parse_keywords(&[Keyword::ON, Keyword::DELETE]) {
            key.on_delete = action(parser)?;
        } else if parser.parse_keywords(&[Keyword::ON, Keyword::UPDATE]) {
            key.on_update = action(parser)?;
        } else if parser.parse_keywords(&[Keyword::NOT, Keyword::ENFORCED]) {
            key.enforced = false;
        } else if parser.parse_keyword(Keyword::ENFORCED)
            || parser.parse_keywords(&[Keyword::NOT, Keyword::DEFERRABLE])
            || parser.parse_keyword(Keyword::DEFERRABLE)
            || parser.parse_keywords(&[Keyword::NOT, Keyword::VALID])
        {
        } else if parser.parse_keyword(Keyword::INITIALLY) {
            parser.expect_one_of_keywords(&[Keyword::DEFERRED, Keyword::IMMEDIATE])?;
        } else {
            return Ok(key);
        }
    }
}

/// What happens to rows that refer to one that goes.
fn action(parser: &mut Parser) -> ParseResult<ReferentialAction> {
    if parser.parse_keyword(Keyword::NO) {
        return parser.expect_keyword(Keyword::ACTION).map(|_| ReferentialAction::NoAction);
    }
    if parser.parse_keyword(Keyword::SET) {
        return Ok(match parser.expect_one_of_keywords(&[Keyword::NULL, Keyword::DEFAULT])? {
            Keyword::NULL => ReferentialAction::SetNull,
            _ => ReferentialAction::SetDefault,
        });
    }
    Ok(match parser.expect_one_of_keywords(&[Keyword::CASCADE, Keyword::RESTRICT])? {
        Keyword::CASCADE => ReferentialAction::Cascade,
        _ => ReferentialAction::Restrict,
    })
}

/// `CHECK (condition)`; Postgres' NO INHERIT means nothing without inheritance.
pub(super) fn check(parser: &mut Parser, name: Option<Ident>) -> ParseResult<CheckClause> {
    parser.expect_keyword(Keyword::CHECK)?;
    parser.expect_token(&Token::LParen)?;
    let condition = parser.parse_expr()?;
    parser.expect_token(&Token::RParen)?;
    let _ = parser.parse_keywords(&[Keyword::NO, Keyword::INHERIT]);
    let _ = parser.parse_keyword(Keyword::ENFORCED);
    Ok(CheckClause { name, condition })
}

/// A column with its constraints. `Some`: names what we do not do.
pub(super) fn column(parser: &mut Parser, table: &mut CreateTable) -> ParseResult<Option<&'static str>> {
    let name = folded(parser.parse_identifier()?);
    let typed = !matches!(parser.peek_token_ref().token, Token::Comma | Token::RParen);
    let serial = if typed { identity::serial(parser) } else { None };
    let identity = serial.is_some().then(IdentityClause::default);
    let (data_type, text_type) = match serial {
        Some(data_type) => (Some(Ok(data_type)), None),
        None if typed => {
            let (data_type, text_type) = data_type(parser)?;
            (Some(data_type), text_type)
        }
        None => (None, None),
    };
    let not_null = identity.is_some();
    let mut column =
        ColumnClause { name, data_type, text_type, not_null, default: None, identity, comment: None };
    let mut constraint = None;
    loop {
        if parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]) {
            column.not_null = true;
        } else if parser.parse_keyword(Keyword::NULL) {
            if column.identity.is_some() {
                let message =
                    format!("conflicting NULL/NOT NULL declarations for column \"{}\"", column.name);
                return Err(ParserError::ParserError(message));
            }
            column.not_null = false;
        } else if parser.parse_keyword(Keyword::DEFAULT) {
            // A column option may follow, so that `DEFAULT 1 NOT NULL` is no comparison.
            column.default = Some(parser.parse_subexpr(IS_PRECEDENCE + 1)?);
        } else if parser.parse_keyword(Keyword::COMMENT) {
            column.comment = Some(parser.parse_literal_string()?);
        } else if parser.parse_keywords(&[Keyword::PRIMARY, Keyword::KEY]) {
            column.not_null = true;
            table.key_columns.push(column.name.clone());
        } else if parser.parse_keyword(Keyword::COLLATE) {
            parser.parse_object_name(false)?;
        } else if parser.parse_keyword(Keyword::CONSTRAINT) {
            constraint = Some(parser.parse_identifier()?);
            continue;
        } else if parser.peek_keyword(Keyword::CHECK) {
            table.checks.push(check(parser, constraint.take())?);
        } else if parser.peek_keyword(Keyword::REFERENCES) {
            table.foreign_keys.push(references(parser, constraint.take(), vec![column.name.clone()])?);
        } else if parser.parse_keyword(Keyword::UNIQUE) {
            return Ok(Some("this column constraint"));
        } else if parser.parse_keyword(Keyword::GENERATED) {
            match identity::generated(parser)? {
                Ok(_) if column.identity.is_some() => return Err(identity::given_twice(&column.name)),
                Ok(clause) => column.identity = Some(clause),
                Err(unsupported) => return Ok(Some(unsupported)),
            }
            column.not_null = true;
        } else {
            break;
        }
        // A name is that of the constraint right after it.
        constraint = None;
    }
    table.columns.push(column);
    Ok(None)
}

/// One clause after the columns. `false`: there is none left.
pub(super) fn clause(parser: &mut Parser, table: &mut CreateTable) -> ParseResult<bool> {
    let word = match &parser.peek_token_ref().token {
        Token::Word(w) if w.quote_style.is_none() => w.value.to_ascii_lowercase(),
        _ => return query_in_parentheses(parser, table),
    };
    match word.as_str() {
        "using" => {
            parser.next_token();
            let name = parser.parse_identifier()?.value;
            table.format = Some(match name.to_ascii_lowercase().as_str() {
                "iceberg" => TableFormat::Iceberg,
                "delta" => TableFormat::Delta,
                // Postgres' table access method.
                "heap" => return Ok(true),
                _ => {
                    return Err(ParserError::ParserError(format!(
                        "access method \"{name}\" does not exist: use ICEBERG or DELTA"
                    )));
                }
            });
        }
        "partitioned" => {
            parser.next_token();
            expect_by(parser)?;
            parser.expect_token(&Token::LParen)?;
            table.partitioning = parser.parse_comma_separated(partition_field)?;
            parser.expect_token(&Token::RParen)?;
        }
        "sorted" => {
            parser.next_token();
            expect_by(parser)?;
            parser.expect_token(&Token::LParen)?;
            table.sorting = parser.parse_comma_separated(sort_field)?;
            parser.expect_token(&Token::RParen)?;
        }
        "location" => {
            parser.next_token();
            table.location = Some(parser.parse_literal_string()?);
        }
        "comment" => {
            parser.next_token();
            let _ = parser.consume_token(&Token::Eq);
            table.comment = Some(parser.parse_literal_string()?);
        }
        "on" => {
            parser.expect_keywords(&[Keyword::ON, Keyword::COMMIT])?;
            table.on_commit = Some(on_commit(parser)?);
        }
        "tblproperties" | "with" => {
            parser.next_token();
            parser.expect_token(&Token::LParen)?;
            let properties = parser.parse_comma_separated(property)?;
            parser.expect_token(&Token::RParen)?;
            table.properties.extend(properties);
        }
        "as" => {
            parser.next_token();
            query(parser, table)?;
            return Ok(false);
        }
        "select" | "values" => {
            query(parser, table)?;
            return Ok(false);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// After `ON COMMIT`.
fn on_commit(parser: &mut Parser) -> ParseResult<OnCommit> {
    if parser.parse_keyword(Keyword::DROP) {
        return Ok(OnCommit::Drop);
    }
    let kept = parser.expect_one_of_keywords(&[Keyword::PRESERVE, Keyword::DELETE])? == Keyword::PRESERVE;
    parser.expect_keyword(Keyword::ROWS)?;
    Ok(if kept { OnCommit::PreserveRows } else { OnCommit::DeleteRows })
}

/// `SELECT … INTO [TEMP] [TABLE] name …`, as the `CREATE TABLE AS` that it means. Gives any other
/// query back.
pub(super) fn select_into(mut query: Box<Query>) -> Statement {
    let into = match query.body.as_mut() {
        SetExpr::Select(select) => select.into.take(),
        _ => None,
    };
    match into {
        None => Statement::Query(query),
        Some(SelectInto { temporary, name, .. }) => Statement::CreateTable(Box::new(CreateTable {
            temporary,
            query: Some(query),
            ..CreateTable::named(name)
        })),
    }
}

impl CreateTable {
    /// Without anything but its name.
    pub(super) fn named(name: ObjectName) -> Self {
        Self {
            name,
            or_replace: false,
            if_not_exists: false,
            temporary: false,
            on_commit: None,
            columns: Vec::new(),
            key_columns: Vec::new(),
            foreign_keys: Vec::new(),
            checks: Vec::new(),
            format: None,
            partitioning: Vec::new(),
            sorting: Vec::new(),
            location: None,
            comment: None,
            properties: Vec::new(),
            query: None,
            with_no_data: false,
        }
    }
}

fn query_in_parentheses(parser: &mut Parser, table: &mut CreateTable) -> ParseResult<bool> {
    if parser.peek_token_ref().token == Token::LParen && begins_query(parser, 0) {
        query(parser, table)?;
    }
    Ok(false)
}

fn query(parser: &mut Parser, table: &mut CreateTable) -> ParseResult<()> {
    table.query = Some(match super::table_command(parser)? {
        Some(query) => query,
        None => super::whole_query(parser)?,
    });
    if parser.parse_keywords(&[Keyword::WITH, Keyword::NO, Keyword::DATA]) {
        table.with_no_data = true;
    } else {
        let _ = parser.parse_keywords(&[Keyword::WITH, Keyword::DATA]);
    }
    Ok(())
}

fn expect_by(parser: &mut Parser) -> ParseResult<()> {
    parser.expect_keyword(Keyword::BY).map(|_| ())
}

/// `column` or `transform(…)`.
fn partition_field(parser: &mut Parser) -> ParseResult<PartitionFieldDefinition> {
    let (column, transform) = transformed(parser)?;
    Ok(PartitionFieldDefinition { column, transform })
}

fn sort_field(parser: &mut Parser) -> ParseResult<SortFieldDefinition> {
    let (column, transform) = transformed(parser)?;
    let descending = parser.parse_asc_desc() == Some(false);
    let nulls_first = if parser.parse_keywords(&[Keyword::NULLS, Keyword::FIRST]) {
        true
    } else if parser.parse_keywords(&[Keyword::NULLS, Keyword::LAST]) {
        false
    } else {
        // As in Postgres: nulls sort as if larger than any value.
        descending
    };
    Ok(SortFieldDefinition { column, transform, descending, nulls_first })
}

fn transformed(parser: &mut Parser) -> ParseResult<(String, Transform)> {
    let start = parser.peek_token_ref().clone();
    let name = parser.parse_identifier()?;
    if parser.peek_token_ref().token != Token::LParen {
        return Ok((folded(name), Transform::Identity));
    }
    parser.expect_token(&Token::LParen)?;
    let transform = match name.value.to_ascii_lowercase().as_str() {
        "identity" => Transform::Identity,
        "year" | "years" => Transform::Year,
        "month" | "months" => Transform::Month,
        "day" | "days" | "date" => Transform::Day,
        "hour" | "hours" | "date_hour" => Transform::Hour,
        word @ ("bucket" | "truncate") => {
            // The number is first in Iceberg's DDL; `truncate(col, width)` is written as well.
            let (column, number) = if matches!(parser.peek_token_ref().token, Token::Number(..)) {
                let number = parser.parse_literal_uint()?;
                parser.expect_token(&Token::Comma)?;
                (folded(parser.parse_identifier()?), number)
            } else {
                let column = folded(parser.parse_identifier()?);
                parser.expect_token(&Token::Comma)?;
                (column, parser.parse_literal_uint()?)
            };
            parser.expect_token(&Token::RParen)?;
            let number = match u32::try_from(number) {
                Ok(number) if number > 0 && i32::try_from(number).is_ok() => number,
                _ => {
                    return Err(ParserError::ParserError(format!(
                        "the number of {word} must be between 1 and 2147483647"
                    )));
                }
            };
            let transform =
                if word == "bucket" { Transform::Bucket(number) } else { Transform::Truncate(number) };
            return Ok((column, transform));
        }
        _ => {
            return parser
                .expected("a partition transform (days, months, years, hours, bucket, truncate)", start);
        }
    };
    let column = folded(parser.parse_identifier()?);
    parser.expect_token(&Token::RParen)?;
    Ok((column, transform))
}

/// `'key' = 'value'`, `key = value`, `'key' 'value'`, or a bare key (true).
pub(super) fn property(parser: &mut Parser) -> ParseResult<(String, String)> {
    let mut key = String::new();
    loop {
        match parser.next_token() {
            token if matches!(token.token, Token::SingleQuotedString(_)) => {
                if let Token::SingleQuotedString(text) = token.token {
                    key.push_str(&text);
                }
            }
            token => match token.token {
                Token::Word(w) => key.push_str(&w.value),
                _ => return parser.expected("a property name", token),
            },
        }
        if parser.consume_token(&Token::Period) {
            key.push('.');
        } else if parser.consume_token(&Token::Minus) {
            key.push('-');
        } else {
            break;
        }
    }
    let _ = parser.consume_token(&Token::Eq);
    if matches!(parser.peek_token_ref().token, Token::Comma | Token::RParen) {
        return Ok((key, "true".to_string()));
    }
    let negative = if parser.consume_token(&Token::Minus) { "-" } else { "" };
    let token = parser.next_token();
    let value = match token.token {
        Token::SingleQuotedString(text) | Token::Number(text, _) => text,
        Token::Word(w) => w.value,
        _ => return parser.expected("a property value", token),
    };
    Ok((key, format!("{negative}{value}")))
}
