//! Postgres' lexical rules and grammar, plus the type forms that lakehouse users write
//! (`struct<…>`, `map<…>`, `array<…>`).

use std::any::TypeId;

use datafusion::sql::sqlparser::ast::{Expr, TrimWhereField};
use datafusion::sql::sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

/// Dialect of every statement. Behaves as sqlparser's Postgres dialect where not overridden.
#[derive(Debug, Default)]
pub struct AuricDialect {
    postgres: PostgreSqlDialect,
}

/// Methods in which this dialect is Postgres.
macro_rules! as_postgres {
    ($($method:ident),* $(,)?) => {
        $(fn $method(&self) -> bool {
            self.postgres.$method()
        })*
    };
}

impl Dialect for AuricDialect {
    fn dialect(&self) -> TypeId {
        self.postgres.dialect()
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        self.postgres.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        self.postgres.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        self.postgres.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        self.postgres.is_identifier_part(ch)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        self.postgres.is_reserved_for_identifier(keyword)
    }

    fn is_custom_operator_part(&self, ch: char) -> bool {
        self.postgres.is_custom_operator_part(ch)
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        self.postgres.get_next_precedence(parser)
    }

    /// `BETWEEN SYMMETRIC`; `a IS DISTINCT FROM b AND c`: the parser's own rule would read `b AND c` as one operand.
    fn parse_infix(
        &self,
        parser: &mut Parser,
        left: &Expr,
        _precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        if let Some(between) = super::between::symmetric(parser, left) {
            return Some(between);
        }
        let make: fn(Box<Expr>, Box<Expr>) -> Expr =
            if parser.parse_keywords(&[Keyword::IS, Keyword::DISTINCT, Keyword::FROM]) {
                Expr::IsDistinctFrom
            } else if parser.parse_keywords(&[Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM]) {
                Expr::IsNotDistinctFrom
            } else {
                return None;
            };
        let right = parser.parse_subexpr(self.prec_value(Precedence::Is));
        Some(right.map(|right| make(Box::new(left.clone()), Box::new(right))))
    }

    /// `JSON_OBJECT(k VALUE v)`; `TRIM([BOTH | LEADING | TRAILING] FROM x)`: the parser wants to be told what to
    /// trim.
    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        if let Some(object) = super::json_constructor::json_object(parser) {
            return Some(object);
        }
        let keyword = |n: usize| match &parser.peek_nth_token_ref(n).token {
            Token::Word(word) if word.quote_style.is_none() => Some(word.keyword),
            _ => None,
        };
        if keyword(0) != Some(Keyword::TRIM) || parser.peek_nth_token_ref(1).token != Token::LParen {
            return None;
        }
        let (side, words) = match keyword(2) {
            Some(Keyword::BOTH) => (Some(TrimWhereField::Both), 3),
            Some(Keyword::LEADING) => (Some(TrimWhereField::Leading), 3),
            Some(Keyword::TRAILING) => (Some(TrimWhereField::Trailing), 3),
            _ => (None, 2),
        };
        if keyword(words) != Some(Keyword::FROM) {
            return None;
        }
        for _ in 0..=words {
            parser.next_token();
        }
        Some(parser.parse_expr().and_then(|expr| {
            parser.expect_token(&Token::RParen)?;
            let expr = Box::new(expr);
            Ok(Expr::Trim { trim_where: side, trim_what: None, expr, trim_characters: None })
        }))
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        self.postgres.prec_value(precedence)
    }

    as_postgres!(
        supports_unicode_string_literal,
        supports_filter_during_aggregation,
        supports_group_by_expr,
        allow_extract_custom,
        allow_extract_single_quotes,
        supports_explain_with_utility_options,
        supports_listen_notify,
        supports_factorial_operator,
        supports_bitwise_shift_operators,
        supports_comment_on,
        supports_load_extension,
        supports_empty_projections,
        supports_nested_comments,
        supports_string_escape_constant,
        supports_numeric_literal_underscores,
        supports_array_typedef_with_brackets,
        supports_geometric_types,
        supports_alter_column_type_using,
        supports_notnull_operator,
        supports_interval_options,
        supports_insert_table_alias,
        supports_create_table_like_parenthesized,
        supports_comma_separated_trim,
        supports_xml_expressions,
        supports_create_index_with_clause,
    );

    fn supports_named_fn_args_with_rarrow_operator(&self) -> bool {
        true
    }

    fn supports_named_fn_args_with_eq_operator(&self) -> bool {
        // `read_csv('x', header = true)`; a comparison as a function argument would be ambiguous
        // with it, and Postgres reads `f(a = b)` as a comparison.
        false
    }

    fn supports_named_fn_args_with_assignment_operator(&self) -> bool {
        true
    }

    fn supports_string_literal_concatenation_with_newline(&self) -> bool {
        true
    }

    fn supports_group_by_with_modifier(&self) -> bool {
        true
    }

    fn supports_order_by_all(&self) -> bool {
        false
    }

    fn supports_table_versioning(&self) -> bool {
        true
    }

    fn supports_window_clause_named_window_reference(&self) -> bool {
        true
    }

    fn supports_select_wildcard_exclude(&self) -> bool {
        true
    }

    fn supports_select_wildcard_except(&self) -> bool {
        true
    }
}
