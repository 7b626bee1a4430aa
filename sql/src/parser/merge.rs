//! `MERGE INTO t USING s ON … WHEN … [RETURNING …]`: Postgres' grammar and Spark's `SET *`, `INSERT *`.

use datafusion::sql::sqlparser::ast::{Expr, Ident, SelectItem, TableWithJoins, With};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::ParseResult;
use super::dml::{Overriding, overriding, parse_word};
use super::row_target::{self, Assignment, Target};
use super::statement::Statement;

#[derive(Debug, Clone)]
pub struct Merge {
    pub with: Option<With>,
    pub target: Target,
    pub source: TableWithJoins,
    pub on: Expr,
    pub clauses: Vec<MergeClause>,
    /// Empty: none.
    pub returning: Vec<SelectItem>,
}

/// Which rows a WHEN clause is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeKind {
    Matched,
    /// Source rows without a target row.
    NotMatched,
    /// Target rows without a source row.
    NotMatchedBySource,
}

#[derive(Debug, Clone)]
pub struct MergeClause {
    pub kind: MergeKind,
    pub condition: Option<Expr>,
    pub action: MergeAction,
}

#[derive(Debug, Clone)]
pub enum MergeAction {
    Nothing,
    Delete,
    Update(Vec<Assignment>),
    /// `UPDATE SET *`.
    UpdateAll,
    Insert {
        /// None: all, in order.
        columns: Vec<Ident>,
        overriding: Option<Overriding>,
        values: Vec<Expr>,
    },
    /// `INSERT *`.
    InsertAll,
    /// `INSERT DEFAULT VALUES`.
    InsertDefaults,
}

pub(super) fn merge(parser: &mut Parser) -> ParseResult<Statement> {
    parser.expect_keywords(&[Keyword::MERGE, Keyword::INTO])?;
    let target = row_target::target(parser)?;
    parser.expect_keyword(Keyword::USING)?;
    let source = parser.parse_table_and_joins()?;
    parser.expect_keyword(Keyword::ON)?;
    let on = parser.parse_expr()?;
    let mut clauses = Vec::new();
    while parser.parse_keyword(Keyword::WHEN) {
        clauses.push(clause(parser)?);
    }
    if clauses.is_empty() {
        return parser.expected_ref("WHEN", parser.peek_token_ref());
    }
    let returning = row_target::returning(parser)?;
    let merge = Merge { with: None, target, source, on, clauses, returning };
    Ok(Statement::Merge(Box::new(merge)))
}

fn clause(parser: &mut Parser) -> ParseResult<MergeClause> {
    let not = parser.parse_keyword(Keyword::NOT);
    if !parse_word(parser, "matched") {
        return parser.expected_ref("MATCHED", parser.peek_token_ref());
    }
    let kind = if !not {
        MergeKind::Matched
    } else if !parser.parse_keyword(Keyword::BY) || parse_word(parser, "target") {
        MergeKind::NotMatched
    } else if parse_word(parser, "source") {
        MergeKind::NotMatchedBySource
    } else {
        return parser.expected_ref("SOURCE or TARGET", parser.peek_token_ref());
    };
    let condition = if parser.parse_keyword(Keyword::AND) { Some(parser.parse_expr()?) } else { None };
    parser.expect_keyword(Keyword::THEN)?;
    let action = match kind {
        MergeKind::NotMatched => not_matched_action(parser)?,
        MergeKind::Matched | MergeKind::NotMatchedBySource => matched_action(parser)?,
    };
    Ok(MergeClause { kind, condition, action })
}

fn nothing(parser: &mut Parser) -> ParseResult<MergeAction> {
    parser.expect_keyword(Keyword::DO)?;
    if !parse_word(parser, "nothing") {
        return parser.expected_ref("NOTHING", parser.peek_token_ref());
    }
    Ok(MergeAction::Nothing)
}

fn matched_action(parser: &mut Parser) -> ParseResult<MergeAction> {
    if parser.parse_keyword(Keyword::DELETE) {
        return Ok(MergeAction::Delete);
    }
    if parser.parse_keyword(Keyword::UPDATE) {
        parser.expect_keyword(Keyword::SET)?;
        if parser.consume_token(&Token::Mul) {
            return Ok(MergeAction::UpdateAll);
        }
        return row_target::assignments(parser).map(MergeAction::Update);
    }
    if !parser.peek_keyword(Keyword::DO) {
        return parser.expected_ref("UPDATE, DELETE or DO NOTHING", parser.peek_token_ref());
    }
    nothing(parser)
}

fn not_matched_action(parser: &mut Parser) -> ParseResult<MergeAction> {
    if !parser.parse_keyword(Keyword::INSERT) {
        if !parser.peek_keyword(Keyword::DO) {
            return parser.expected_ref("INSERT or DO NOTHING", parser.peek_token_ref());
        }
        return nothing(parser);
    }
    if parser.consume_token(&Token::Mul) {
        return Ok(MergeAction::InsertAll);
    }
    if parser.parse_keywords(&[Keyword::DEFAULT, Keyword::VALUES]) {
        return Ok(MergeAction::InsertDefaults);
    }
    let mut columns = Vec::new();
    if parser.consume_token(&Token::LParen) {
        columns = parser.parse_comma_separated(Parser::parse_identifier)?;
        parser.expect_token(&Token::RParen)?;
    }
    let overriding = overriding(parser)?;
    parser.expect_keyword(Keyword::VALUES)?;
    parser.expect_token(&Token::LParen)?;
    let values = parser.parse_comma_separated(Parser::parse_expr)?;
    parser.expect_token(&Token::RParen)?;
    Ok(MergeAction::Insert { columns, overriding, values })
}
