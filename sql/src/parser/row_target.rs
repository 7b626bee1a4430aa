//! What UPDATE, DELETE and MERGE have in common: the target, assignments, RETURNING, a leading WITH.

use datafusion::sql::sqlparser::ast::{
    self, AssignmentTarget, Cte, Expr, Ident, ObjectName, SelectItem, TableWithJoins, With,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::dml::{insert, word_is};
use super::statement::Statement;
use super::{ParseResult, delete, merge, table_version, update};
use crate::error::{Error, Result, SqlState};

/// The table that a statement changes.
#[derive(Debug, Clone)]
pub struct Target {
    pub name: ObjectName,
    pub alias: Option<Ident>,
}

/// `column = value`, `(column, …) = value`.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// One name, or several in parentheses.
    pub columns: Vec<ObjectName>,
    pub parenthesized: bool,
    /// `column[…]`: only an element is assigned.
    pub element: bool,
    pub value: Expr,
}

/// Words that end the target, and so are no alias of it.
const AFTER_TARGET: &[Keyword] =
    &[Keyword::USING, Keyword::SET, Keyword::WHERE, Keyword::FROM, Keyword::RETURNING, Keyword::ON];

pub(super) fn target(parser: &mut Parser) -> ParseResult<Target> {
    let _ = parser.parse_keyword(Keyword::ONLY);
    let name = parser.parse_object_name(false)?;
    table_version::refuse(parser)?;
    let _ = parser.consume_token(&Token::Mul);
    let aliased = parser.parse_keyword(Keyword::AS)
        || matches!(&parser.peek_token_ref().token,
            Token::Word(w) if w.quote_style.is_some() || !AFTER_TARGET.contains(&w.keyword));
    let alias = if aliased { Some(parser.parse_identifier()?) } else { None };
    Ok(Target { name, alias })
}

/// `SET …` without the word itself.
pub(super) fn assignments(parser: &mut Parser) -> ParseResult<Vec<Assignment>> {
    parser.parse_comma_separated(assignment)
}

fn assignment(parser: &mut Parser) -> ParseResult<Assignment> {
    let (columns, parenthesized) = match parser.parse_assignment_target()? {
        AssignmentTarget::ColumnName(name) => (vec![name], false),
        AssignmentTarget::Tuple(names) => (names, true),
    };
    let mut element = false;
    while parser.consume_token(&Token::LBracket) {
        element = true;
        parser.parse_expr()?;
        parser.expect_token(&Token::RBracket)?;
    }
    parser.expect_token(&Token::Eq)?;
    Ok(Assignment { columns, parenthesized, element, value: parser.parse_expr()? })
}

/// A list of FROM items, if the keyword is next.
pub(super) fn from_items(parser: &mut Parser, keyword: Keyword) -> ParseResult<Vec<TableWithJoins>> {
    if !parser.parse_keyword(keyword) {
        return Ok(Vec::new());
    }
    parser.parse_comma_separated(Parser::parse_table_and_joins)
}

/// `WHERE condition`. `Err(what)` in the inner result: what is not done.
pub(super) fn selection(parser: &mut Parser) -> ParseResult<std::result::Result<Option<Expr>, String>> {
    if !parser.parse_keyword(Keyword::WHERE) {
        return Ok(Ok(None));
    }
    if word_is(parser, 0, "current") && word_is(parser, 1, "of") {
        while parser.next_token().token != Token::EOF {}
        return Ok(Err("WHERE CURRENT OF".to_string()));
    }
    parser.parse_expr().map(|expr| Ok(Some(expr)))
}

/// `RETURNING …`; empty: there is none.
pub(super) fn returning(parser: &mut Parser) -> ParseResult<Vec<SelectItem>> {
    if !parser.parse_keyword(Keyword::RETURNING) {
        return Ok(Vec::new());
    }
    parser.parse_comma_separated(Parser::parse_select_item)
}

/// A statement that begins with WITH: a query, or one that changes rows.
pub(super) fn with(parser: &mut Parser) -> ParseResult<Statement> {
    let with_token = parser.peek_token_ref().clone();
    parser.expect_keyword(Keyword::WITH)?;
    let with = With {
        with_token: with_token.into(),
        recursive: parser.parse_keyword(Keyword::RECURSIVE),
        cte_tables: parser.parse_comma_separated(Parser::parse_cte)?,
    };
    let keyword = match &parser.peek_token_ref().token {
        Token::Word(word) => word.keyword,
        _ => Keyword::NoKeyword,
    };
    let mut statement = match keyword {
        Keyword::INSERT => insert(parser)?,
        Keyword::UPDATE => update::update(parser)?,
        Keyword::DELETE => delete::delete(parser)?,
        Keyword::MERGE => merge::merge(parser)?,
        _ => Statement::Query(super::whole_query(parser)?),
    };
    match &mut statement {
        Statement::Query(query) => prepend(&mut query.with, with),
        Statement::Insert(insert) => {
            if let Some(query) = &mut insert.query {
                prepend(&mut query.with, with);
            }
        }
        Statement::Update(update) => update.with = Some(with),
        Statement::Delete(delete) => delete.with = Some(with),
        Statement::Merge(merge) => merge.with = Some(with),
        _ => {}
    }
    Ok(statement)
}

/// Puts common table expressions before those that a query has itself.
fn prepend(slot: &mut Option<With>, mut with: With) {
    if let Some(own) = slot.take() {
        // A name of the query itself hides the same name before it.
        let hidden = |cte: &Cte| {
            let name = |cte: &Cte| super::folded(cte.alias.name.clone());
            own.cte_tables.iter().any(|inner| name(inner) == name(cte))
        };
        with.cte_tables.retain(|cte| !hidden(cte));
        with.recursive |= own.recursive;
        with.cte_tables.extend(own.cte_tables);
    }
    *slot = Some(with);
}

/// `SELECT … FROM …` out of its parts.
pub(crate) fn select(
    with: Option<With>,
    items: Vec<SelectItem>,
    from: Vec<TableWithJoins>,
    selection: Option<Expr>,
) -> Result<ast::Query> {
    let dialect = super::AuricDialect::default();
    let template = Parser::new(&dialect).try_with_sql("SELECT 1").and_then(|mut parser| parser.parse_query());
    let mut query = template.map_err(|e| Error::new(SqlState::INTERNAL_ERROR, e.to_string()))?;
    query.with = with;
    if let ast::SetExpr::Select(select) = query.body.as_mut() {
        select.projection = items;
        select.from = from;
        select.selection = selection;
    }
    Ok(*query)
}

/// All parts of a statement in one query, which is never planned.
pub(crate) fn everything(
    with: Option<With>,
    mut items: Vec<SelectItem>,
    from: Vec<TableWithJoins>,
    selection: Option<Expr>,
) -> Result<ast::Query> {
    if items.is_empty() {
        items.push(SelectItem::Wildcard(ast::WildcardAdditionalOptions::default()));
    }
    select(with, items, from, selection)
}

/// Whether a function is the row constructor.
pub(crate) fn is_row(name: &ObjectName) -> bool {
    let ident = match name.0.as_slice() {
        [part] => part.as_ident(),
        _ => None,
    };
    ident.is_some_and(|ident| ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("row"))
}

/// `name` as a FROM item.
pub(crate) fn table(name: ObjectName) -> TableWithJoins {
    let relation = ast::TableFactor::Table {
        name,
        alias: None,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    };
    TableWithJoins { relation, joins: Vec::new() }
}

/// `(query) AS alias (columns…)` as a FROM item.
pub(crate) fn derived(query: ast::Query, alias: Ident, columns: Vec<Ident>) -> TableWithJoins {
    let columns =
        columns.into_iter().map(|name| ast::TableAliasColumnDef { name, data_type: None }).collect();
    let alias = ast::TableAlias { explicit: true, name: alias, columns, at: None };
    let relation = ast::TableFactor::Derived {
        lateral: false,
        subquery: Box::new(query),
        alias: Some(alias),
        sample: None,
    };
    TableWithJoins { relation, joins: Vec::new() }
}
