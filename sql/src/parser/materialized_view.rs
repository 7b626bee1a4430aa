//! `CREATE | REFRESH | ALTER | DROP MATERIALIZED VIEW`, `SHOW CREATE`.
//!
//! What a table can be given (format, partitioning, order, …) is the grammar of CREATE TABLE.

use datafusion::sql::sqlparser::ast::{self, ObjectName};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Span as TokenSpan, Token, TokenWithSpan};

use super::create_table::{begins_query, clause, property};
use super::dml::{folded, parse_word, word_is};
use super::statement::{ColumnClause, CreateTable, RenameTo, Statement};
use super::{AuricDialect, Lines, MAX_DEPTH, ParseResult, expect_end, table_command, whole_query};
use crate::materialize::definition::RefreshPolicy;
use crate::materialize::schedule::{Schedule, Span, Unit};

/// `CREATE MATERIALIZED VIEW`.
#[derive(Debug, Clone)]
pub struct CreateMaterializedView {
    /// The table that it is kept in; its columns are names alone.
    pub table: CreateTable,
    pub expectations: Vec<ExpectationClause>,
    pub schedule: Option<Schedule>,
    pub policy: RefreshPolicy,
    pub retries: Option<u32>,
    /// Text of the query.
    pub text: String,
}

/// `CONSTRAINT name EXPECT (condition) [ON VIOLATION …]`.
#[derive(Debug, Clone)]
pub struct ExpectationClause {
    pub name: String,
    /// Text of the condition.
    pub condition: String,
    pub action: ActionClause,
}

/// What `ON VIOLATION` says.
#[derive(Debug, Clone)]
pub enum ActionClause {
    FailUpdate,
    DropRow,
    QuarantineInto(ObjectName),
    Warn,
}

/// `REFRESH MATERIALIZED VIEW`.
#[derive(Debug, Clone)]
pub struct RefreshMaterializedView {
    pub name: ObjectName,
    /// Even if nothing has changed.
    pub full: bool,
    /// What it is built from first.
    pub cascade: bool,
    pub with_no_data: bool,
}

/// `ALTER MATERIALIZED VIEW`.
#[derive(Debug, Clone)]
pub struct AlterMaterializedView {
    pub name: ObjectName,
    pub if_exists: bool,
    pub action: AlterViewAction,
}

#[derive(Debug, Clone)]
pub enum AlterViewAction {
    Suspend,
    Resume,
    /// `None`: it is refreshed by hand alone.
    Schedule(Option<Schedule>),
    Policy(RefreshPolicy),
    Retries(u32),
    SetProperties(Vec<(String, String)>),
    UnsetProperties(Vec<String>),
    Rename(RenameTo),
}

/// What `SHOW CREATE` is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    Table,
    View,
    MaterializedView,
    Task,
}

/// Reads the words, which need not be keywords, if all of them are next.
pub(super) fn parse_words(parser: &mut Parser, words: &[&str]) -> bool {
    let found = words.iter().enumerate().all(|(n, word)| word_is(parser, n, word));
    if found {
        words.iter().for_each(|_| _ = parser.next_token());
    }
    found
}

/// Reads AT, which may have been kept from being taken for the beginning of a table's version.
pub(super) fn parse_at(parser: &mut Parser) -> bool {
    let found =
        matches!(&parser.peek_token_ref().token, Token::Word(w) if w.value.eq_ignore_ascii_case("at"));
    if found {
        parser.next_token();
    }
    found
}

pub(super) fn expect_words(parser: &mut Parser, words: &[&str]) -> ParseResult<()> {
    for word in words {
        if !parse_word(parser, word) {
            return parser.expected_ref(&word.to_uppercase(), parser.peek_token_ref());
        }
    }
    Ok(())
}

/// `CREATE [OR REPLACE] MATERIALIZED VIEW [IF NOT EXISTS] name [(columns, constraints)] clauses AS query
/// [WITH [NO] DATA]`.
pub(super) fn create(parser: &mut Parser, text: &str, lines: &Lines) -> ParseResult<Statement> {
    parser.expect_keyword(Keyword::CREATE)?;
    let or_replace = parser.parse_keywords(&[Keyword::OR, Keyword::REPLACE]);
    expect_words(parser, &["materialized", "view"])?;
    let at = parser.peek_token_ref().span.start;
    let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    if or_replace && if_not_exists {
        return Err(ParserError::ParserError(format!(
            "Expected: a name, as OR REPLACE and IF NOT EXISTS exclude each other{at}"
        )));
    }
    let name = parser.parse_object_name(false)?;
    let mut view = CreateMaterializedView {
        table: CreateTable { or_replace, if_not_exists, ..CreateTable::named(name) },
        expectations: Vec::new(),
        schedule: None,
        policy: RefreshPolicy::default(),
        retries: None,
        text: String::new(),
    };
    if parser.consume_token(&Token::LParen) {
        parser.parse_comma_separated(|parser| element(parser, &mut view, text, lines))?;
        parser.expect_token(&Token::RParen)?;
    }
    while !parser.peek_keyword(Keyword::AS) && own_clause(parser, &mut view)? {}
    parser.expect_keyword(Keyword::AS)?;
    if !begins_query(parser, 0) {
        return parser.expected_ref("a query", parser.peek_token_ref());
    }
    let start = parser.peek_token_ref().span.start;
    let (mut tokens, no_data) = without_data_clause(parser);
    let is_word = |token: &TokenWithSpan| !matches!(token.token, Token::Whitespace(_));
    let end = tokens.iter().rev().find(|token| is_word(token)).map_or(start, |token| token.span.end);
    tokens.push(TokenWithSpan::new(Token::EOF, TokenSpan::new(end, end)));
    let dialect = AuricDialect::default();
    let mut inner = Parser::new(&dialect).with_recursion_limit(MAX_DEPTH).with_tokens_with_locations(tokens);
    view.table.query = Some(match table_command(&mut inner)? {
        Some(query) => query,
        None => whole_query(&mut inner)?,
    });
    expect_end(&mut inner)?;
    while parser.next_token().token != Token::EOF {}
    view.text = text.get(lines.offset(text, start)..lines.offset(text, end)).unwrap_or_default().to_string();
    view.table.with_no_data = no_data;
    Ok(Statement::CreateMaterializedView(Box::new(view)))
}

/// The rest of the statement without `WITH [NO] DATA` at its end, and whether that says NO: after GROUP BY,
/// the parser would take WITH for a part of the query.
fn without_data_clause(parser: &Parser) -> (Vec<TokenWithSpan>, bool) {
    let rest = (parser.get_current_index() + 1..).map(|i| parser.token_at(i));
    let tokens: Vec<TokenWithSpan> = rest.take_while(|token| token.token != Token::EOF).cloned().collect();
    let words: Vec<(usize, &str)> = tokens
        .iter()
        .enumerate()
        .filter(|(_, token)| !matches!(token.token, Token::Whitespace(_)))
        .map(|(i, token)| match &token.token {
            Token::Word(word) if word.quote_style.is_none() => (i, word.value.as_str()),
            _ => (i, ""),
        })
        .collect();
    let ends_with = |end: &[&str]| {
        let from = words.len().checked_sub(end.len())?;
        let last = words.get(from..)?;
        let same = last.iter().zip(end).all(|((_, word), end)| word.eq_ignore_ascii_case(end));
        same.then(|| last.first().map_or(0, |(i, _)| *i))
    };
    let (kept, no_data) = match (ends_with(&["with", "no", "data"]), ends_with(&["with", "data"])) {
        (Some(at), _) => (at, true),
        (None, Some(at)) => (at, false),
        (None, None) => (tokens.len(), false),
    };
    (tokens.into_iter().take(kept).collect(), no_data)
}

/// Text from a place to the last token that was read.
fn text_since(parser: &Parser, start: Location, text: &str, lines: &Lines) -> String {
    let mut last = parser.get_current_index();
    while last > 0 && matches!(parser.token_at(last).token, Token::Whitespace(_) | Token::EOF) {
        last -= 1;
    }
    let end = parser.token_at(last).span.end;
    text.get(lines.offset(text, start)..lines.offset(text, end)).unwrap_or_default().trim().to_string()
}

/// `WITH [NO] DATA`, if it is there.
fn with_no_data(parser: &mut Parser) -> ParseResult<bool> {
    if !parser.parse_keyword(Keyword::WITH) {
        return Ok(false);
    }
    let no = parser.parse_keyword(Keyword::NO);
    parser.expect_keyword(Keyword::DATA)?;
    Ok(no)
}

/// A column's name or a constraint.
fn element(
    parser: &mut Parser,
    view: &mut CreateMaterializedView,
    text: &str,
    lines: &Lines,
) -> ParseResult<()> {
    if !parser.peek_keyword(Keyword::CONSTRAINT) {
        let name = folded(parser.parse_identifier()?);
        view.table.columns.push(ColumnClause {
            name,
            data_type: None,
            text_type: None,
            not_null: false,
            default: None,
            identity: None,
            comment: None,
        });
        return Ok(());
    }
    parser.next_token();
    let token = parser.peek_token_ref().clone();
    let name = folded(parser.parse_identifier()?);
    if view.expectations.iter().any(|known| known.name == name) {
        return parser.expected("a constraint of another name", token);
    }
    expect_words(parser, &["expect"])?;
    parser.expect_token(&Token::LParen)?;
    let start = parser.peek_token_ref().span.start;
    parser.parse_expr()?;
    let condition = text_since(parser, start, text, lines);
    parser.expect_token(&Token::RParen)?;
    let mut action = ActionClause::Warn;
    if parse_words(parser, &["on", "violation"]) {
        action = on_violation(parser)?;
    }
    view.expectations.push(ExpectationClause { name, condition, action });
    Ok(())
}

fn on_violation(parser: &mut Parser) -> ParseResult<ActionClause> {
    if parse_words(parser, &["fail", "update"]) {
        return Ok(ActionClause::FailUpdate);
    }
    if parse_words(parser, &["drop", "row"]) {
        return Ok(ActionClause::DropRow);
    }
    if parse_words(parser, &["quarantine", "into"]) {
        return Ok(ActionClause::QuarantineInto(parser.parse_object_name(false)?));
    }
    match parse_word(parser, "warn") {
        true => Ok(ActionClause::Warn),
        false => {
            parser.expected_ref("FAIL UPDATE, DROP ROW, QUARANTINE INTO or WARN", parser.peek_token_ref())
        }
    }
}

/// One clause before AS. `false`: there is none.
fn own_clause(parser: &mut Parser, view: &mut CreateMaterializedView) -> ParseResult<bool> {
    if let Some(schedule) = schedule(parser)? {
        if view.schedule.is_some() {
            return parser.expected_ref("one schedule", parser.peek_token_ref());
        }
        view.schedule = Some(schedule);
    } else if parse_words(parser, &["refresh", "policy"]) {
        view.policy = policy(parser)?;
    } else if parse_word(parser, "retries") {
        view.retries = Some(retries(parser)?);
    } else if word_is(parser, 0, "on") {
        return Ok(false);
    } else {
        return clause(parser, &mut view.table);
    }
    Ok(true)
}

fn policy(parser: &mut Parser) -> ParseResult<RefreshPolicy> {
    if parse_word(parser, "auto") {
        return Ok(RefreshPolicy::Auto);
    }
    if parse_word(parser, "full") {
        return Ok(RefreshPolicy::Full);
    }
    if parse_word(parser, "incremental") {
        let strict = parse_word(parser, "strict");
        return Ok(if strict { RefreshPolicy::IncrementalStrict } else { RefreshPolicy::Incremental });
    }
    parser.expected_ref("AUTO, INCREMENTAL, INCREMENTAL STRICT or FULL", parser.peek_token_ref())
}

pub(super) fn retries(parser: &mut Parser) -> ParseResult<u32> {
    let token = parser.peek_token_ref().clone();
    match u32::try_from(parser.parse_literal_uint()?) {
        Ok(number) if number <= 1000 => Ok(number),
        _ => parser.expected("a number of retries up to 1000", token),
    }
}

/// `SCHEDULE …`, `TRIGGER ON UPDATE …`, `TARGET LAG …`. `None`: another clause is next.
pub(super) fn schedule(parser: &mut Parser) -> ParseResult<Option<Schedule>> {
    if parse_word(parser, "schedule") {
        let _ = parse_word(parser, "refresh");
        return scheduled(parser).map(Some);
    }
    if parse_word(parser, "trigger") {
        expect_words(parser, &["on", "update"])?;
        let mut at_most_every = None;
        if parse_at(parser) {
            expect_words(parser, &["most", "every"])?;
            at_most_every = Some(span(parser)?);
        }
        return Ok(Some(Schedule::OnUpdate { at_most_every }));
    }
    if parse_words(parser, &["target", "lag"]) {
        let _ = parser.consume_token(&Token::Eq);
        return Ok(Some(Schedule::TargetLag(span(parser)?)));
    }
    Ok(None)
}

/// After SCHEDULE.
fn scheduled(parser: &mut Parser) -> ParseResult<Schedule> {
    if parse_word(parser, "every") {
        return Ok(Schedule::Every(span(parser)?));
    }
    expect_words(parser, &["cron"])?;
    let expression = parser.parse_literal_string()?;
    let mut time_zone = None;
    if parse_at(parser) {
        expect_words(parser, &["time", "zone"])?;
        time_zone = Some(parser.parse_literal_string()?);
    }
    Ok(Schedule::Cron { expression, time_zone })
}

/// `n UNIT`, `'n units'`, `INTERVAL 'n units'`.
fn span(parser: &mut Parser) -> ParseResult<Span> {
    let _ = parser.parse_keyword(Keyword::INTERVAL);
    let token = parser.peek_token_ref().clone();
    let found = match &token.token {
        Token::SingleQuotedString(text) => {
            let found = Span::parse(text);
            parser.next_token();
            found
        }
        Token::Number(digits, _) => {
            let count = digits.parse().ok();
            parser.next_token();
            let unit = match &parser.peek_token_ref().token {
                Token::Word(word) => Unit::parse(&word.value),
                _ => None,
            };
            if unit.is_some() {
                parser.next_token();
            }
            count.zip(unit).and_then(|(count, unit)| Span::new(count, unit))
        }
        _ => None,
    };
    match found {
        Some(span) => Ok(span),
        None => parser.expected("a time like 10 MINUTES", token),
    }
}

/// `REFRESH MATERIALIZED VIEW [CONCURRENTLY] name [FULL] [CASCADE] [WITH [NO] DATA]`.
pub(super) fn refresh(parser: &mut Parser) -> ParseResult<Statement> {
    expect_words(parser, &["refresh", "materialized", "view"])?;
    // Readers are never kept waiting, so that there is no other way to refresh.
    let concurrently = parse_word(parser, "concurrently");
    let name = parser.parse_object_name(false)?;
    let (mut full, mut cascade) = (false, false);
    loop {
        if !full && parse_word(parser, "full") {
            full = true;
        } else if !cascade && parse_word(parser, "cascade") {
            cascade = true;
        } else {
            break;
        }
    }
    let token = parser.peek_token_ref().clone();
    let with_no_data = with_no_data(parser)?;
    if with_no_data && (concurrently || full || cascade) {
        return parser.expected("end of statement, as WITH NO DATA stands alone", token);
    }
    let refresh = RefreshMaterializedView { name, full, cascade, with_no_data };
    Ok(Statement::RefreshMaterializedView(Box::new(refresh)))
}

/// `ALTER MATERIALIZED VIEW`. `None`: another ALTER; nothing was consumed.
pub(super) fn alter(parser: &mut Parser) -> ParseResult<Option<Statement>> {
    if !(word_is(parser, 1, "materialized") && word_is(parser, 2, "view")) {
        return Ok(None);
    }
    expect_words(parser, &["alter", "materialized", "view"])?;
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let name = parser.parse_object_name(false)?;
    let action = action(parser)?;
    let alter = AlterMaterializedView { name, if_exists, action };
    Ok(Some(Statement::AlterMaterializedView(Box::new(alter))))
}

fn action(parser: &mut Parser) -> ParseResult<AlterViewAction> {
    if parse_word(parser, "suspend") {
        return Ok(AlterViewAction::Suspend);
    }
    if parse_word(parser, "resume") {
        return Ok(AlterViewAction::Resume);
    }
    if parse_words(parser, &["rename", "to"]) {
        return Ok(AlterViewAction::Rename(RenameTo::Name(parser.parse_object_name(false)?)));
    }
    if parse_words(parser, &["drop", "schedule"]) {
        return Ok(AlterViewAction::Schedule(None));
    }
    if word_is(parser, 0, "reset") || word_is(parser, 0, "unset") {
        parser.next_token();
        let _ = parse_word(parser, "tblproperties");
        let keys = properties(parser)?.into_iter().map(|(key, _)| key).collect();
        return Ok(AlterViewAction::UnsetProperties(keys));
    }
    if !parse_word(parser, "set") {
        return parser.expected_ref(
            "SUSPEND, RESUME, RENAME TO, SET, RESET or DROP SCHEDULE",
            parser.peek_token_ref(),
        );
    }
    if parse_word(parser, "schema") {
        return Ok(AlterViewAction::Rename(RenameTo::Schema(folded(parser.parse_identifier()?))));
    }
    if let Some(schedule) = schedule(parser)? {
        return Ok(AlterViewAction::Schedule(Some(schedule)));
    }
    if parse_words(parser, &["refresh", "policy"]) {
        return Ok(AlterViewAction::Policy(policy(parser)?));
    }
    if parse_word(parser, "retries") {
        return Ok(AlterViewAction::Retries(retries(parser)?));
    }
    let _ = parse_word(parser, "tblproperties");
    Ok(AlterViewAction::SetProperties(properties(parser)?))
}

fn properties(parser: &mut Parser) -> ParseResult<Vec<(String, String)>> {
    parser.expect_token(&Token::LParen)?;
    let properties = parser.parse_comma_separated(property)?;
    parser.expect_token(&Token::RParen)?;
    Ok(properties)
}

/// `DROP MATERIALIZED VIEW [IF EXISTS] names [CASCADE | RESTRICT]`.
pub(super) fn drop_view(parser: &mut Parser) -> ParseResult<Statement> {
    expect_words(parser, &["drop", "materialized", "view"])?;
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let names = parser.parse_comma_separated(|p| p.parse_object_name(false))?;
    let cascade =
        parser.parse_one_of_keywords(&[Keyword::CASCADE, Keyword::RESTRICT]) == Some(Keyword::CASCADE);
    Ok(Statement::DropMaterializedView { names, if_exists, cascade })
}

/// After SHOW: `CREATE {TABLE | VIEW | MATERIALIZED VIEW | TASK} name`. `None`: it shows something else.
pub(super) fn show_create(parser: &mut Parser) -> ParseResult<Option<Statement>> {
    if !word_is(parser, 0, "create") {
        return Ok(None);
    }
    parser.next_token();
    let kind = if parse_words(parser, &["materialized", "view"]) {
        Shown::MaterializedView
    } else if parse_word(parser, "table") {
        Shown::Table
    } else if parse_word(parser, "view") {
        Shown::View
    } else if parse_word(parser, "task") {
        Shown::Task
    } else {
        return parser.expected_ref("TABLE, VIEW, MATERIALIZED VIEW or TASK", parser.peek_token_ref());
    };
    Ok(Some(Statement::ShowCreate { kind, name: parser.parse_object_name(false)? }))
}

/// The expression that a text is.
pub(crate) fn parse_condition(text: &str) -> ParseResult<ast::Expr> {
    let dialect = AuricDialect::default();
    let mut parser = Parser::new(&dialect).try_with_sql(text)?;
    let expr = parser.parse_expr()?;
    expect_end(&mut parser)?;
    Ok(expr)
}
