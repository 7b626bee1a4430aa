//! `INSERT` in all its forms, `TRUNCATE`.

use datafusion::sql::sqlparser::ast::{Assignment, Expr, Ident, ObjectName, Query, SelectItem};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::ParseResult;
use super::create_table::begins_query;
use super::statement::Statement;

/// An identifier as Postgres folds it: unquoted ones to lower case.
pub(crate) fn folded(ident: Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value,
        None => ident.value.to_lowercase(),
    }
}

/// Whether the next word is this one, which need not be a keyword.
pub(super) fn word_is(parser: &Parser, n: usize, word: &str) -> bool {
    matches!(&parser.peek_nth_token_ref(n).token,
        Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

/// Reads the word if it is next.
pub(super) fn parse_word(parser: &mut Parser, word: &str) -> bool {
    let found = word_is(parser, 0, word);
    if found {
        parser.next_token();
    }
    found
}

/// What an INSERT does with the rows that the table has.
#[derive(Debug, Clone)]
pub enum InsertMode {
    Append,
    Overwrite,
    /// `REPLACE WHERE`: those for which it is true give way.
    ReplaceWhere(Box<Expr>),
    OnConflict(OnConflict),
}

/// One column of `PARTITION (…)`, with its value if there is one.
#[derive(Debug, Clone)]
pub struct PartitionColumn {
    pub name: Ident,
    pub value: Option<Expr>,
}

/// `ON CONFLICT [(columns)] …`.
#[derive(Debug, Clone)]
pub struct OnConflict {
    /// Empty: none named.
    pub columns: Vec<Ident>,
    pub action: ConflictAction,
}

#[derive(Debug, Clone)]
pub enum ConflictAction {
    Nothing,
    Update { assignments: Vec<Assignment>, selection: Option<Box<Expr>> },
}

/// `OVERRIDING {SYSTEM | USER} VALUE`: what becomes of values that are given for identity columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overriding {
    /// They are stored, whatever the column says.
    System,
    /// They are ignored.
    User,
}

#[derive(Debug, Clone)]
pub struct Insert {
    pub table: ObjectName,
    pub alias: Option<Ident>,
    pub mode: InsertMode,
    pub partition: Vec<PartitionColumn>,
    pub columns: Vec<Ident>,
    pub by_name: bool,
    pub overriding: Option<Overriding>,
    /// `None`: DEFAULT VALUES.
    pub query: Option<Box<Query>>,
    /// Empty: none.
    pub returning: Vec<SelectItem>,
}

pub(super) fn insert(parser: &mut Parser) -> ParseResult<Statement> {
    parser.expect_keyword(Keyword::INSERT)?;
    let mut mode = if parser.parse_keyword(Keyword::OVERWRITE) {
        let _ = parser.parse_keyword(Keyword::INTO);
        InsertMode::Overwrite
    } else {
        parser.expect_keyword(Keyword::INTO)?;
        InsertMode::Append
    };
    // A table may be called "table"; the word alone is the keyword.
    if matches!(&parser.peek_nth_token_ref(1).token, Token::Word(_)) {
        let _ = parser.parse_keyword(Keyword::TABLE);
    }
    let table = parser.parse_object_name(false)?;
    super::table_version::refuse(parser)?;
    let alias = if parser.parse_keyword(Keyword::AS) { Some(parser.parse_identifier()?) } else { None };
    let partition = partition(parser)?;
    let mut columns = Vec::new();
    if parser.peek_token_ref().token == Token::LParen && !begins_query(parser, 0) {
        parser.next_token();
        columns = parser.parse_comma_separated(Parser::parse_identifier)?;
        parser.expect_token(&Token::RParen)?;
    }
    let mut by_name = false;
    if word_is(parser, 0, "by") && word_is(parser, 1, "name") {
        parser.next_token();
        parser.next_token();
        by_name = true;
    }
    if matches!(mode, InsertMode::Append) && parser.parse_keyword(Keyword::REPLACE) {
        parser.expect_keyword(Keyword::WHERE)?;
        mode = InsertMode::ReplaceWhere(Box::new(parser.parse_expr()?));
    }
    let overriding = overriding(parser)?;
    let query = if parser.parse_keywords(&[Keyword::DEFAULT, Keyword::VALUES]) {
        None
    } else {
        Some(match super::table_command(parser)? {
            Some(query) => query,
            None => super::whole_query(parser)?,
        })
    };
    if matches!(mode, InsertMode::Append) && parser.parse_keyword(Keyword::ON) {
        match on_conflict(parser)? {
            Ok(clause) => mode = InsertMode::OnConflict(clause),
            Err(what) => return Ok(Statement::Unsupported(what)),
        }
    }
    let mut returning = Vec::new();
    if parser.parse_keyword(Keyword::RETURNING) {
        returning = parser.parse_comma_separated(Parser::parse_select_item)?;
    }
    Ok(Statement::Insert(Box::new(Insert {
        table,
        alias,
        mode,
        partition,
        columns,
        by_name,
        overriding,
        query,
        returning,
    })))
}

pub(super) fn overriding(parser: &mut Parser) -> ParseResult<Option<Overriding>> {
    if !parse_word(parser, "overriding") {
        return Ok(None);
    }
    let overriding = if parse_word(parser, "system") {
        Overriding::System
    } else if parse_word(parser, "user") {
        Overriding::User
    } else {
        return parser.expected_ref("SYSTEM or USER", parser.peek_token_ref());
    };
    parser.expect_keyword(Keyword::VALUE)?;
    Ok(Some(overriding))
}

/// `PARTITION (p = value, q)`.
fn partition(parser: &mut Parser) -> ParseResult<Vec<PartitionColumn>> {
    if !parser.parse_keyword(Keyword::PARTITION) {
        return Ok(Vec::new());
    }
    parser.expect_token(&Token::LParen)?;
    let columns = parser.parse_comma_separated(|parser| {
        let name = parser.parse_identifier()?;
        let value = if parser.consume_token(&Token::Eq) { Some(parser.parse_expr()?) } else { None };
        Ok(PartitionColumn { name, value })
    })?;
    parser.expect_token(&Token::RParen)?;
    Ok(columns)
}

/// After `ON`. `Err(what)` in the inner result: what is not done.
fn on_conflict(parser: &mut Parser) -> ParseResult<Result<OnConflict, String>> {
    parser.expect_keyword(Keyword::CONFLICT)?;
    let unsupported = |parser: &mut Parser, what: &str| {
        while parser.next_token().token != Token::EOF {}
        Ok(Err(what.to_string()))
    };
    let mut columns = Vec::new();
    if parser.consume_token(&Token::LParen) {
        columns = parser.parse_comma_separated(Parser::parse_identifier)?;
        if parser.peek_token_ref().token != Token::RParen {
            return unsupported(parser, "ON CONFLICT on an expression");
        }
        parser.next_token();
        if parser.peek_keyword(Keyword::WHERE) {
            return unsupported(parser, "ON CONFLICT with a predicate on the key");
        }
    } else if parser.peek_keyword(Keyword::ON) {
        return unsupported(parser, "ON CONFLICT ON CONSTRAINT");
    }
    parser.expect_keyword(Keyword::DO)?;
    if parse_word(parser, "nothing") {
        return Ok(Ok(OnConflict { columns, action: ConflictAction::Nothing }));
    }
    parser.expect_keywords(&[Keyword::UPDATE, Keyword::SET])?;
    let assignments = parser.parse_comma_separated(Parser::parse_assignment)?;
    let selection =
        if parser.parse_keyword(Keyword::WHERE) { Some(Box::new(parser.parse_expr()?)) } else { None };
    Ok(Ok(OnConflict { columns, action: ConflictAction::Update { assignments, selection } }))
}

#[derive(Debug, Clone)]
pub struct Truncate {
    pub tables: Vec<ObjectName>,
    /// Identity columns begin anew.
    pub restart_identity: bool,
}

/// `TRUNCATE [TABLE] [ONLY] name [*] [, …] [RESTART IDENTITY | CONTINUE IDENTITY] [CASCADE | RESTRICT]`.
/// There are no foreign keys, so that CASCADE changes nothing.
pub(super) fn truncate(parser: &mut Parser) -> ParseResult<Statement> {
    parser.expect_keyword(Keyword::TRUNCATE)?;
    if matches!(&parser.peek_nth_token_ref(1).token, Token::Word(_)) {
        let _ = parser.parse_keyword(Keyword::TABLE);
    }
    let tables = parser.parse_comma_separated(|parser| {
        let _ = parser.parse_keyword(Keyword::ONLY);
        let name = parser.parse_object_name(false)?;
        super::table_version::refuse(parser)?;
        let _ = parser.consume_token(&Token::Mul);
        Ok(name)
    })?;
    let restart_identity = parser.parse_keyword(Keyword::RESTART);
    if restart_identity || parser.parse_keyword(Keyword::CONTINUE) {
        parser.expect_keyword(Keyword::IDENTITY)?;
    }
    let _ = parser.parse_one_of_keywords(&[Keyword::CASCADE, Keyword::RESTRICT]);
    Ok(Statement::Truncate(Truncate { tables, restart_identity }))
}
