//! Words that Postgres reserves, which sqlparser takes as names of relations.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use datafusion::sql::sqlparser::ast::{Query, TableFactor, Visitor};
use datafusion::sql::sqlparser::parser::ParserError;

use super::ParseResult;

use crate::parser::walk::Walk;

/// Postgres' `pg_get_keywords()`: word, category, and more.
pub(crate) const KEYWORDS: &str = include_str!("../pg_catalog/data/keywords.tsv");

static CATEGORIES: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| {
    KEYWORDS
        .lines()
        .filter_map(|line| line.split_once('\t')?.1.get(..1).zip(line.split('\t').next()))
        .map(|(category, word)| (word, category))
        .collect()
});

/// Category of a lower-case keyword as Postgres lists them: `U` unreserved, `C` no name of a function
/// or type, `T` only that, `R` reserved. `None`: no keyword.
pub(crate) fn category(word: &str) -> Option<&'static str> {
    CATEGORIES.get(word).copied()
}

/// Fails where FROM names a relation by a reserved word.
pub(super) fn check_relations(query: &Query) -> ParseResult<()> {
    match query.walk(&mut Relations) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Relations;

impl Visitor for Relations {
    type Break = ParserError;

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<ParserError> {
        let TableFactor::Table { name, args: None, .. } = factor else { return ControlFlow::Continue(()) };
        let word = name.0.first().and_then(|part| part.as_ident()).filter(|word| word.quote_style.is_none());
        match word {
            Some(word) if matches!(category(&word.value.to_ascii_lowercase()), Some("R" | "T")) => {
                ControlFlow::Break(ParserError::ParserError(format!(
                    "Expected: a relation, found: {}{}",
                    word.value, word.span.start
                )))
            }
            _ => ControlFlow::Continue(()),
        }
    }
}
