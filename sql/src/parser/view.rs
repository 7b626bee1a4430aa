//! `CREATE VIEW`, and the statements that name a relation anew: `ALTER … RENAME TO`, `SET SCHEMA`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::dml::folded;
use super::statement::{CreateView, Rename, RenameTo, Statement};
use super::{Lines, ParseResult, rest_of_text, whole_query};

use crate::parser::walk::Walk;

/// `CREATE [OR REPLACE] VIEW [IF NOT EXISTS] name [(columns)] [WITH (…)] [COMMENT '…'] AS query`.
pub(super) fn create_view(parser: &mut Parser, text: &str, lines: &Lines) -> ParseResult<Statement> {
    parser.expect_keyword(Keyword::CREATE)?;
    let or_replace = parser.parse_keywords(&[Keyword::OR, Keyword::REPLACE]);
    parser.expect_keyword(Keyword::VIEW)?;
    let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    let name = parser.parse_object_name(false)?;
    let mut columns = Vec::new();
    if parser.consume_token(&Token::LParen) {
        columns = parser.parse_comma_separated(Parser::parse_identifier)?.into_iter().map(folded).collect();
        parser.expect_token(&Token::RParen)?;
    }
    if parser.parse_keyword(Keyword::WITH) {
        // `security_barrier`, `security_invoker`: who may look through a view. Nobody is kept out yet.
        parser.expect_token(&Token::LParen)?;
        parser.parse_comma_separated(Parser::parse_sql_option)?;
        parser.expect_token(&Token::RParen)?;
    }
    let comment = match parser.parse_keyword(Keyword::COMMENT) {
        true => Some(parser.parse_literal_string()?),
        false => None,
    };
    parser.expect_keyword(Keyword::AS)?;
    let query_text = rest_of_text(parser, text, lines);
    let query = whole_query(parser)?;
    if parser.parse_keyword(Keyword::WITH) {
        while parser.peek_token_ref().token != Token::EOF {
            parser.next_token();
        }
        return Ok(Statement::Unsupported("CREATE VIEW … WITH CHECK OPTION".to_string()));
    }
    let view = CreateView { name, or_replace, if_not_exists, columns, comment, query, text: query_text };
    Ok(Statement::CreateView(Box::new(view)))
}

/// `ALTER {TABLE | VIEW} [IF EXISTS] [ONLY] name {RENAME TO name | SET SCHEMA name}`. `None`: it is
/// another ALTER; nothing was consumed.
pub(super) fn rename(parser: &mut Parser) -> ParseResult<Option<Statement>> {
    parser.maybe_parse(|parser| {
        parser.expect_keyword(Keyword::ALTER)?;
        let view = parser.expect_one_of_keywords(&[Keyword::TABLE, Keyword::VIEW])? == Keyword::VIEW;
        let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
        let _ = parser.parse_keyword(Keyword::ONLY);
        let name = parser.parse_object_name(false)?;
        let to = match parser.expect_one_of_keywords(&[Keyword::RENAME, Keyword::SET])? {
            Keyword::RENAME => {
                parser.expect_keyword(Keyword::TO)?;
                let to = parser.parse_object_name(false)?;
                RenameTo::Name(to)
            }
            _ => {
                parser.expect_keyword(Keyword::SCHEMA)?;
                RenameTo::Schema(folded(parser.parse_identifier()?))
            }
        };
        Ok(Statement::Rename(Box::new(Rename { view, name, to, if_exists })))
    })
}

/// Relations that a query names, without its common table expressions.
pub(crate) fn relations_of(query: &ast::Query) -> Vec<ast::ObjectName> {
    let mut found = Relations::default();
    found.of(query);
    found.names()
}

/// Collects the relations that pieces of a statement name.
#[derive(Default)]
pub(super) struct Relations {
    names: Vec<ast::ObjectName>,
    expressions: Vec<ast::ObjectName>,
}

impl Relations {
    pub fn of(&mut self, piece: &impl Walk) {
        let _ = piece.walk(self);
    }

    /// Those of the common table expressions in front of a statement, whose names are then no relations.
    pub fn of_with(&mut self, with: Option<&ast::With>) {
        let tables = with.into_iter().flat_map(|with| &with.cte_tables);
        self.expressions.extend(tables.map(|cte| ast::ObjectName::from(vec![cte.alias.name.clone()])));
        with.into_iter().for_each(|with| self.of(with));
    }

    pub fn names(self) -> Vec<ast::ObjectName> {
        let Self { mut names, expressions } = self;
        names.retain(|name| !expressions.iter().any(|expression| name == expression));
        names
    }
}

impl ast::Visitor for Relations {
    type Break = ();

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        self.expressions.extend(tables.map(|cte| ast::ObjectName::from(vec![cte.alias.name.clone()])));
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &ast::ObjectName) -> ControlFlow<()> {
        self.names.push(name.clone());
        ControlFlow::Continue(())
    }
}
