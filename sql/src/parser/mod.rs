//! Text to statements, once.
//!
//! sqlparser's tokenizer splits the text; each statement is parsed from its own tokens, by this
//! module's grammar for what Auric adds or sees differently, by sqlparser's for the rest. Text is
//! never rewritten and never parsed twice.

mod alter_table;
mod analyze;
mod between;
mod comment;
mod copy;
mod create_table;
mod data_type;
mod delete;
mod dialect;
mod dml;
mod error;
mod identity;
mod json_constructor;
mod known;
pub(crate) mod materialized_view;
mod merge;
pub(crate) mod reserved;
pub(crate) mod row_target;
mod session;
pub mod statement;
pub(crate) mod table_version;
mod task;
mod update;
pub(crate) mod view;
pub(crate) mod walk;

use std::sync::{Arc, OnceLock};

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

pub use dialect::AuricDialect;
pub(crate) use dml::folded;
pub(crate) use known::KnownTexts;
pub use statement::Statement;

use self::dml::word_is;
use crate::error::{Error, Result, SqlState};
use crate::introspection::Shape;

/// Longest query text, bytes.
const MAX_TEXT_BYTES: usize = 32 * 1024 * 1024;
/// Deepest nesting of expressions and queries. The parser grows its stack as needed, but what walks
/// the tree later is recursive too.
const MAX_DEPTH: usize = 300;
/// Most operators in one chain (`a + b + …`, `a OR b OR …`): each makes the tree one level deeper.
const MAX_CHAIN: usize = 2_000;

type ParseResult<T> = std::result::Result<T, ParserError>;

/// One statement of a query string.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// The statement's own text.
    pub text: String,
    pub(crate) statement: Arc<Statement>,
    /// The whole query string, which positions refer to.
    pub(crate) source: Arc<str>,
    /// The statement without its constants, once somebody has asked for it.
    shape: Arc<OnceLock<Option<Arc<Shape>>>>,
}

impl Parsed {
    pub(crate) fn new(text: String, statement: Arc<Statement>, source: Arc<str>) -> Self {
        Self { text, statement, source, shape: Arc::default() }
    }

    /// `None`: it asks for more than system relations.
    pub(crate) fn shape(&self) -> Option<&Arc<Shape>> {
        self.shape.get_or_init(|| Shape::of(&self.statement).map(Arc::new)).as_ref()
    }

    /// Position in characters from 1 of a place that the syntax tree knows by line and column.
    pub(crate) fn position(&self, line: u64, column: u64) -> u32 {
        Lines::new(&self.source).position(&self.source, Location { line, column })
    }
}

/// Splits and parses a query string.
pub fn parse(text: &str) -> Result<Vec<Parsed>> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "the query text is too long")
            .with_detail(format!("{} bytes; at most {MAX_TEXT_BYTES} are read", text.len())));
    }
    let dialect = AuricDialect::default();
    let lines = Lines::new(text);
    let tokens = Tokenizer::new(&dialect, text)
        .tokenize_with_location()
        .map_err(|e| error::from_tokenizer(&e, text, &lines))?;
    let source: Arc<str> = Arc::from(text);
    let mut statements = Vec::new();
    for tokens in tokens.split(|token| token.token == Token::SemiColon) {
        let words =
            || tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF));
        let (Some(first), Some(last)) = (words().next(), words().next_back()) else {
            continue;
        };
        check_chains(tokens)?;
        let own = text
            .get(lines.offset(text, first.span.start)..lines.offset(text, last.span.end))
            .unwrap_or(text)
            .to_string();
        let mut parser = Parser::new(&dialect)
            .with_recursion_limit(MAX_DEPTH)
            .with_tokens_with_locations(table_version::normalized(tokens));
        let statement = parse_one(&mut parser, text, &lines)
            .and_then(|statement| expect_end(&mut parser).map(|()| statement))
            .map_err(|e| error::from_parser(&e, text, &lines))?;
        statements.push(Parsed::new(own, Arc::new(statement), source.clone()));
    }
    Ok(statements)
}

/// Refuses what would make a tree too deep to walk: the parser itself builds chains in a loop.
fn check_chains(tokens: &[TokenWithSpan]) -> Result<()> {
    let mut chains = vec![0_usize];
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket => chains.push(0),
            Token::RParen | Token::RBracket if chains.len() > 1 => {
                chains.pop();
            }
            Token::Comma => {
                if let Some(chain) = chains.last_mut() {
                    *chain = 0;
                }
            }
            Token::Word(word)
                if !matches!(word.keyword, Keyword::AND | Keyword::OR | Keyword::UNION | Keyword::JOIN) => {}
            Token::Whitespace(_) | Token::Number(..) | Token::SingleQuotedString(_) | Token::Period => {}
            _ => {
                if let Some(chain) = chains.last_mut() {
                    *chain += 1;
                    if *chain > MAX_CHAIN {
                        return Err(too_complex());
                    }
                }
            }
        }
    }
    Ok(())
}

fn too_complex() -> Error {
    Error::new(SqlState::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded")
        .with_hint("simplify the statement: it is nested too deeply, or one expression is too long")
}

fn expect_end(parser: &mut Parser) -> ParseResult<()> {
    match parser.peek_token_ref().token {
        Token::EOF => Ok(()),
        _ => parser.expected_ref("end of statement", parser.peek_token_ref()),
    }
}

/// Text of the tokens from the parser's position to the end of the statement.
fn rest_of_text(parser: &Parser, text: &str, lines: &Lines) -> String {
    let start = parser.peek_token_ref().span.start;
    let mut end = start;
    let mut n = 0;
    loop {
        let token = parser.peek_nth_token_ref(n);
        if token.token == Token::EOF {
            break;
        }
        end = token.span.end;
        n += 1;
    }
    text.get(lines.offset(text, start)..lines.offset(text, end)).unwrap_or_default().to_string()
}

fn parse_one(parser: &mut Parser, text: &str, lines: &Lines) -> ParseResult<Statement> {
    let Token::Word(word) = &parser.peek_token_ref().token else {
        return query(parser);
    };
    match word.keyword {
        Keyword::SELECT | Keyword::VALUES | Keyword::TABLE => query(parser),
        Keyword::WITH => match row_target::with(parser)? {
            Statement::Query(query) => Ok(create_table::select_into(query)),
            statement => Ok(statement),
        },
        Keyword::UPDATE => update::update(parser),
        Keyword::DELETE => delete::delete(parser),
        Keyword::MERGE => merge::merge(parser),
        Keyword::EXPLAIN => explain(parser, text, lines),
        Keyword::CREATE if task::is_next(parser) => task::create(parser, text, lines),
        Keyword::CREATE => create(parser, text, lines),
        Keyword::ALTER if word_is(parser, 1, "task") => task::alter(parser),
        Keyword::ALTER => match materialized_view::alter(parser)?
            .map_or_else(|| view::rename(parser), |alter| Ok(Some(alter)))?
        {
            Some(rename) => Ok(rename),
            None => match alter_table::alter_table(parser)? {
                Some(alter) => Ok(alter),
                None => other(parser),
            },
        },
        Keyword::COMMENT => match comment::comment(parser)? {
            Some(comment) => Ok(comment),
            None => other(parser),
        },
        Keyword::DROP if word_is(parser, 1, "task") => task::drop_task(parser),
        Keyword::DROP => drop_object(parser),
        Keyword::INSERT => dml::insert(parser),
        Keyword::TRUNCATE => dml::truncate(parser),
        Keyword::COPY => copy::copy(parser),
        Keyword::SET => session::set(parser),
        Keyword::SHOW => session::show(parser),
        Keyword::RESET => session::reset(parser),
        Keyword::DISCARD => session::discard(parser),
        Keyword::BEGIN | Keyword::START => session::begin(parser),
        Keyword::COMMIT | Keyword::END => session::commit(parser),
        Keyword::ROLLBACK => session::rollback(parser),
        Keyword::SAVEPOINT | Keyword::RELEASE => session::savepoint(parser),
        Keyword::PREPARE => {
            let (name, types) = session::prepare_head(parser)?;
            let inner = rest_of_text(parser, text, lines);
            let statement = Box::new(parse_one(parser, text, lines)?);
            Ok(Statement::Prepare { name, types, statement, text: inner })
        }
        Keyword::EXECUTE => match task::execute(parser)? {
            Some(execute) => Ok(execute),
            None => session::execute(parser),
        },
        Keyword::DEALLOCATE => session::deallocate(parser),
        Keyword::DECLARE => {
            let (name, options) = session::declare_head(parser)?;
            let text = rest_of_text(parser, text, lines);
            let query = whole_query(parser)?;
            Ok(Statement::Declare(Box::new(statement::Declare { name, options, query, text })))
        }
        Keyword::ANALYZE => analyze::analyze(parser),
        Keyword::FETCH => session::fetch(parser),
        Keyword::CLOSE => session::close(parser),
        Keyword::LISTEN => session::accepted(parser, "LISTEN"),
        Keyword::UNLISTEN => session::accepted(parser, "UNLISTEN"),
        _ if word.value.eq_ignore_ascii_case("refresh") => materialized_view::refresh(parser),
        _ if word.value.eq_ignore_ascii_case("abort") => session::abort(parser),
        _ if word.value.eq_ignore_ascii_case("move") => session::fetch(parser),
        _ => other(parser),
    }
}

fn query(parser: &mut Parser) -> ParseResult<Statement> {
    if let Some(table) = table_command(parser)? {
        return Ok(Statement::Query(table));
    }
    Ok(create_table::select_into(parser.parse_statement_query()?))
}

/// A query, checked for what sqlparser lets pass.
fn whole_query(parser: &mut Parser) -> ParseResult<Box<ast::Query>> {
    let query = parser.parse_query()?;
    reserved::check_relations(&query)?;
    Ok(query)
}

/// What sqlparser calls a query, checked to begin like one.
trait QueryStatement {
    fn parse_statement_query(&mut self) -> ParseResult<Box<ast::Query>>;
}

impl QueryStatement for Parser<'_> {
    fn parse_statement_query(&mut self) -> ParseResult<Box<ast::Query>> {
        match &self.peek_token_ref().token {
            Token::LParen | Token::Word(_) => whole_query(self),
            _ => self.expected_ref("an SQL statement", self.peek_token_ref()),
        }
    }
}

/// `TABLE name [ORDER BY …] [LIMIT …] [OFFSET …] [FETCH …]`, as `SELECT * FROM name …`.
fn table_command(parser: &mut Parser) -> ParseResult<Option<Box<ast::Query>>> {
    if !parser.parse_keyword(Keyword::TABLE) {
        return Ok(None);
    }
    let _ = parser.parse_keyword(Keyword::ONLY);
    let name = parser.parse_object_name(false)?;
    let dialect = AuricDialect::default();
    let mut query = Parser::new(&dialect).try_with_sql("SELECT * FROM t")?.parse_query()?;
    if let ast::SetExpr::Select(select) = query.body.as_mut()
        && let Some(from) = select.from.first_mut()
        && let ast::TableFactor::Table { name: target, .. } = &mut from.relation
    {
        *target = name;
    }
    query.order_by = parser.parse_optional_order_by()?;
    let (mut limit, mut offset) = (None, None);
    loop {
        if limit.is_none() && parser.parse_keyword(Keyword::LIMIT) {
            limit = parser.parse_limit()?;
        } else if offset.is_none() && parser.parse_keyword(Keyword::OFFSET) {
            offset = Some(parser.parse_offset()?);
        } else {
            break;
        }
    }
    if limit.is_some() || offset.is_some() {
        query.limit_clause = Some(ast::LimitClause::LimitOffset { limit, offset, limit_by: Vec::new() });
    }
    if parser.parse_keyword(Keyword::FETCH) {
        query.fetch = Some(parser.parse_fetch()?);
    }
    Ok(Some(query))
}

fn explain(parser: &mut Parser, text: &str, lines: &Lines) -> ParseResult<Statement> {
    parser.expect_keyword(Keyword::EXPLAIN)?;
    let (mut analyze, mut verbose, mut impact, mut costs, mut json) = (false, false, false, true, false);
    let options = parser.peek_token_ref().token == Token::LParen
        && !matches!(&parser.peek_nth_token_ref(1).token,
            Token::Word(w) if matches!(w.keyword, Keyword::SELECT | Keyword::VALUES | Keyword::WITH))
        && parser.peek_nth_token_ref(1).token != Token::LParen;
    if options {
        for option in parser.parse_utility_options()? {
            let on = match &option.arg {
                None => true,
                Some(value) => !matches!(
                    value.to_string().to_ascii_lowercase().as_str(),
                    "off" | "false" | "0" | "'off'"
                ),
            };
            match option.name.value.to_ascii_lowercase().as_str() {
                "analyze" => analyze = on,
                "verbose" => verbose = on,
                "impact" => impact = on,
                "costs" => costs = on,
                "settings" | "buffers" | "wal" | "timing" | "summary" | "generic_plan" | "memory"
                | "serialize" => {}
                "format" => {
                    let format = option.arg.map(|value| value.to_string()).unwrap_or_default();
                    match format.trim_matches('\'').to_ascii_lowercase().as_str() {
                        "text" => {}
                        "json" => json = true,
                        _ => return Ok(Statement::Unsupported(format!("EXPLAIN (FORMAT {format})"))),
                    }
                }
                other => {
                    return Err(ParserError::ParserError(format!("unrecognized EXPLAIN option \"{other}\"")));
                }
            }
        }
    } else {
        analyze = parser.parse_one_of_keywords(&[Keyword::ANALYZE]).is_some();
        verbose = parser.parse_keyword(Keyword::VERBOSE);
    }
    let statement = parse_one(parser, text, lines)?;
    Ok(match statement {
        Statement::Unsupported(what) => Statement::Unsupported(what),
        statement => {
            let explain = statement::Explain { statement, analyze, verbose, impact, costs, json };
            Statement::Explain(Box::new(explain))
        }
    })
}

fn create(parser: &mut Parser, text: &str, lines: &Lines) -> ParseResult<Statement> {
    let second = parser.peek_nth_token_ref(1).token.clone();
    let replace = matches!(&second, Token::Word(w) if w.keyword == Keyword::OR);
    let mut at = if replace { 3 } else { 1 };
    let is_modifier = |token: &Token| {
        matches!(token, Token::Word(w) if matches!(w.keyword,
            Keyword::LOCAL | Keyword::GLOBAL | Keyword::TEMP | Keyword::TEMPORARY | Keyword::UNLOGGED))
    };
    let modified = is_modifier(&parser.peek_nth_token_ref(at).token);
    while is_modifier(&parser.peek_nth_token_ref(at).token) {
        at += 1;
    }
    let object = parser.peek_nth_token_ref(at).token.clone();
    match &object {
        Token::Word(w) if w.keyword == Keyword::TABLE => create_table::create_table(parser),
        Token::Word(w) if w.keyword == Keyword::MATERIALIZED && !modified => {
            materialized_view::create(parser, text, lines)
        }
        Token::Word(w) if w.keyword == Keyword::VIEW && !modified => view::create_view(parser, text, lines),
        Token::Word(w) if w.keyword == Keyword::INDEX && !modified && !replace => {
            parser.expect_keywords(&[Keyword::CREATE, Keyword::INDEX])?;
            Ok(Statement::CreateIndex(Box::new(parser.parse_create_index(false)?)))
        }
        Token::Word(w) if w.keyword == Keyword::UNIQUE && !modified && !replace => {
            parser.expect_keywords(&[Keyword::CREATE, Keyword::UNIQUE, Keyword::INDEX])?;
            Ok(Statement::CreateIndex(Box::new(parser.parse_create_index(true)?)))
        }
        Token::Word(w) if w.keyword == Keyword::SCHEMA && !replace => {
            parser.expect_keywords(&[Keyword::CREATE, Keyword::SCHEMA])?;
            let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
            let name = if parser.parse_keyword(Keyword::AUTHORIZATION) {
                ast::ObjectName::from(vec![parser.parse_identifier()?])
            } else {
                let name = parser.parse_object_name(false)?;
                if parser.parse_keyword(Keyword::AUTHORIZATION) {
                    parser.parse_identifier()?;
                }
                name
            };
            Ok(Statement::CreateSchema { name, if_not_exists })
        }
        _ => other(parser),
    }
}

fn drop_object(parser: &mut Parser) -> ParseResult<Statement> {
    let object = match &parser.peek_nth_token_ref(1).token {
        Token::Word(w) => w.keyword,
        _ => Keyword::NoKeyword,
    };
    if object == Keyword::MATERIALIZED {
        return materialized_view::drop_view(parser);
    }
    if !matches!(object, Keyword::TABLE | Keyword::VIEW | Keyword::SCHEMA) {
        return other(parser);
    }
    parser.expect_keyword(Keyword::DROP)?;
    parser.next_token();
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let names = parser.parse_comma_separated(|p| p.parse_object_name(false))?;
    let cascade =
        parser.parse_one_of_keywords(&[Keyword::CASCADE, Keyword::RESTRICT]) == Some(Keyword::CASCADE);
    let _ = parser.parse_keyword(Keyword::PURGE);
    Ok(match object {
        Keyword::TABLE => Statement::DropTable { names, if_exists, cascade },
        Keyword::VIEW => Statement::DropView { names, if_exists, cascade },
        _ => Statement::DropSchema { names, if_exists, cascade },
    })
}

/// A statement that sqlparser knows and we do not do.
fn other(parser: &mut Parser) -> ParseResult<Statement> {
    let mut words = Vec::new();
    for n in 0..3 {
        match &parser.peek_nth_token_ref(n).token {
            Token::Word(w) if w.keyword != Keyword::NoKeyword => words.push(w.value.to_uppercase()),
            _ => break,
        }
    }
    let statement = parser.parse_statement()?;
    let name = match statement {
        ast::Statement::Query(query) => return Ok(Statement::Query(query)),
        ast::Statement::AlterTable(_) => "ALTER TABLE".to_string(),
        ast::Statement::CreateView(_) => "CREATE VIEW".to_string(),
        ast::Statement::Comment { .. } => "COMMENT".to_string(),
        _ => words.join(" "),
    };
    Ok(Statement::Unsupported(name))
}

/// Where the lines of a text start, to turn the tokenizer's line and column into offsets.
pub(crate) struct Lines {
    /// Byte offset of each line.
    bytes: Vec<usize>,
}

impl Lines {
    fn new(text: &str) -> Self {
        let after = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { bytes: std::iter::once(0).chain(after).collect() }
    }

    /// Byte offset of a location. Locations count characters.
    fn offset(&self, text: &str, at: Location) -> usize {
        let line = usize::try_from(at.line).unwrap_or(1).saturating_sub(1);
        let column = usize::try_from(at.column).unwrap_or(1).saturating_sub(1);
        let start = self.bytes.get(line).copied().unwrap_or(text.len());
        let rest = text.get(start..).unwrap_or_default();
        start + rest.char_indices().nth(column).map_or(rest.len(), |(offset, _)| offset)
    }

    /// Position in characters from 1.
    fn position(&self, text: &str, at: Location) -> u32 {
        let before = text.get(..self.offset(text, at)).unwrap_or(text);
        u32::try_from(before.chars().count()).unwrap_or(u32::MAX - 1) + 1
    }
}

#[cfg(test)]
mod tests;
