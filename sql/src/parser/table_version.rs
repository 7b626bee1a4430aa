//! Versions of tables in FROM: `{VERSION | FOR VERSION} AS OF v`, `{TIMESTAMP | FOR TIMESTAMP | FOR
//! SYSTEM_TIME} AS OF t`, `AT (VERSION => v)`, `AT (TIMESTAMP => t)`.
//!
//! sqlparser knows a part of these, and of the words `AT`, `BEFORE` and `CHANGES` it thinks that they
//! always begin one. So the tokens are brought into the form that it knows before it sees them.

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArgOperator, FunctionArguments, TableVersion,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};

use super::folded;

/// What a version is asked for by.
#[derive(Debug, Clone, PartialEq)]
pub enum VersionClause<'a> {
    Version(&'a Expr),
    Timestamp(&'a Expr),
    /// A form of other engines.
    Unknown,
}

/// The tokens of a statement in sqlparser's form.
pub(super) fn normalized(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let is_word = |t: &TokenWithSpan| !matches!(t.token, Token::Whitespace(_));
    let (places, words): (Vec<usize>, Vec<&TokenWithSpan>) =
        tokens.iter().enumerate().filter(|(_, token)| is_word(token)).unzip();
    let mut result = Vec::with_capacity(tokens.len() + 8);
    let (mut next, mut rest) = (0, words.as_slice());
    while let Some(first) = rest.first() {
        let (normalized, tail) = normalized_start(first, rest);
        let consumed = words.len() - tail.len();
        let start = places.get(words.len() - rest.len()).copied().unwrap_or(next);
        // What is between words means something between two string literals.
        result.extend(tokens.get(next..start).unwrap_or_default().iter().cloned());
        result.extend(normalized);
        next = consumed.checked_sub(1).and_then(|last| places.get(last)).map_or(next, |place| place + 1);
        rest = tail;
    }
    result.extend(tokens.get(next..).unwrap_or_default().iter().cloned());
    result
}

/// Refuses a version after the name of a table that a statement changes.
pub(super) fn refuse(parser: &Parser) -> Result<(), ParserError> {
    let token = |n: usize| parser.peek_nth_token_ref(n);
    let next = |n: usize, keyword| is(token(n), keyword);
    let begins = (next(0, Keyword::AT)
        && token(1).token == Token::LParen
        && (next(2, Keyword::VERSION) || next(2, Keyword::TIMESTAMP)))
        || (next(0, Keyword::VERSION) || next(0, Keyword::TIMESTAMP))
            && next(1, Keyword::AS)
            && next(2, Keyword::OF)
        || next(0, Keyword::FOR)
            && (next(1, Keyword::SYSTEM_TIME) || next(1, Keyword::VERSION) || next(1, Keyword::TIMESTAMP));
    match begins {
        true => Err(ParserError::ParserError("only the current version of a table can be changed".into())),
        false => Ok(()),
    }
}

type Words<'a, 't> = &'a [&'t TokenWithSpan];

/// What `words`, of which `first` is the first, begin with, and what follows that.
fn normalized_start<'a, 't>(
    first: &TokenWithSpan,
    words: Words<'a, 't>,
) -> (Vec<TokenWithSpan>, Words<'a, 't>) {
    if let Some((literal, tail)) = version_as_of(words) {
        return (at_version(first.span, literal), tail);
    }
    let tail = words.get(1..).unwrap_or_default();
    let is_next = |n: usize, keyword| tail.get(n).is_some_and(|token| is(token, keyword));
    if is(first, Keyword::FOR) && (as_of(tail, Keyword::TIMESTAMP).is_some() || version_as_of(tail).is_some())
    {
        return (Vec::new(), tail);
    }
    let begins_version = || {
        tail.first().is_some_and(|open| open.token == Token::LParen)
            && (is_next(1, Keyword::VERSION) || is_next(1, Keyword::TIMESTAMP))
            && tail.get(2).is_some_and(|arrow| arrow.token == Token::RArrow)
    };
    let kept = is(first, Keyword::AT) && (is_next(0, Keyword::TIME) || begins_version());
    (vec![if kept { first.clone() } else { plain(first) }], tail)
}

fn is(token: &TokenWithSpan, keyword: Keyword) -> bool {
    matches!(&token.token, Token::Word(w) if w.keyword == keyword && w.quote_style.is_none())
}

/// What follows `kind AS OF`.
fn as_of<'a, 't>(words: Words<'a, 't>, kind: Keyword) -> Option<Words<'a, 't>> {
    match words {
        [first, as_, of, rest @ ..] if is(first, kind) && is(as_, Keyword::AS) && is(of, Keyword::OF) => {
            Some(rest)
        }
        _ => None,
    }
}

/// The literal after `VERSION AS OF`, and what follows. Without a literal it may be a column called
/// `version` under the alias `of`.
fn version_as_of<'a, 't>(words: Words<'a, 't>) -> Option<(Words<'a, 't>, Words<'a, 't>)> {
    let rest = as_of(words, Keyword::VERSION)?;
    let length = match rest {
        [minus, number, ..] if minus.token == Token::Minus && matches!(number.token, Token::Number(..)) => 2,
        [literal, ..]
            if matches!(
                literal.token,
                Token::Number(..) | Token::SingleQuotedString(_) | Token::Placeholder(_)
            ) =>
        {
            1
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// `AT (VERSION => literal)`.
fn at_version(span: Span, literal: &[&TokenWithSpan]) -> Vec<TokenWithSpan> {
    let word = |keyword: Keyword, value: &str| {
        Token::Word(Word { value: value.to_string(), quote_style: None, keyword })
    };
    let head = [word(Keyword::AT, "AT"), Token::LParen, word(Keyword::VERSION, "VERSION"), Token::RArrow];
    let end = literal.last().map_or(span, |last| last.span);
    let mut tokens: Vec<_> = head.into_iter().map(|token| TokenWithSpan { token, span }).collect();
    tokens.extend(literal.iter().map(|token| (*token).clone()));
    tokens.push(TokenWithSpan { token: Token::RParen, span: end });
    tokens
}

/// The token, with the words that are keywords to sqlparser only as the names they are to Postgres.
fn plain(token: &TokenWithSpan) -> TokenWithSpan {
    match &token.token {
        Token::Word(word)
            if word.quote_style.is_none()
                && matches!(word.keyword, Keyword::AT | Keyword::BEFORE | Keyword::CHANGES) =>
        {
            let name = Word {
                value: word.value.to_lowercase(),
                quote_style: Some('"'),
                keyword: Keyword::NoKeyword,
            };
            TokenWithSpan { token: Token::Word(name), span: token.span }
        }
        _ => token.clone(),
    }
}

/// What a parsed version asks for.
pub fn clause(version: &TableVersion) -> VersionClause<'_> {
    match version {
        TableVersion::ForSystemTimeAsOf(expr) | TableVersion::TimestampAsOf(expr) => {
            VersionClause::Timestamp(expr)
        }
        TableVersion::VersionAsOf(expr) => VersionClause::Version(expr),
        TableVersion::Function(Expr::Function(function)) => match &function.args {
            FunctionArguments::List(list) => match list.args.as_slice() {
                [
                    FunctionArg::Named {
                        name,
                        arg: FunctionArgExpr::Expr(expr),
                        operator: FunctionArgOperator::RightArrow,
                    },
                ] => match folded(name.clone()).as_str() {
                    "version" => VersionClause::Version(expr),
                    "timestamp" => VersionClause::Timestamp(expr),
                    _ => VersionClause::Unknown,
                },
                _ => VersionClause::Unknown,
            },
            _ => VersionClause::Unknown,
        },
        _ => VersionClause::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::{SetExpr, TableFactor};

    use super::super::{Statement, parse};
    use super::*;

    /// Version and alias of the first relation.
    fn first(text: &str) -> (Option<String>, Option<String>) {
        let parsed = parse(text).unwrap().remove(0);
        let Statement::Query(query) = parsed.statement.as_ref() else { panic!("{text}") };
        let SetExpr::Select(select) = query.body.as_ref() else { panic!("{text}") };
        let TableFactor::Table { version, alias, .. } = &select.from[0].relation else { panic!("{text}") };
        let version = version.as_ref().map(|version| match clause(version) {
            VersionClause::Version(expr) => format!("version {expr}"),
            VersionClause::Timestamp(expr) => format!("timestamp {expr}"),
            VersionClause::Unknown => "unknown".into(),
        });
        (version, alias.as_ref().map(|alias| folded(alias.name.clone())))
    }

    #[test]
    fn all_forms() {
        for (form, version) in [
            ("VERSION AS OF 3", "version 3"),
            ("version as of -3", "version -3"),
            ("VERSION AS OF 'main'", "version 'main'"),
            ("VERSION AS OF $1", "version $1"),
            ("FOR VERSION AS OF 3", "version 3"),
            ("FOR /* a */ VERSION AS OF 'a b'", "version 'a b'"),
            ("AT (VERSION => 3)", "version 3"),
            ("at (version => 'b')", "version 'b'"),
            ("AT (TIMESTAMP => now() - interval '1 day')", "timestamp now() - INTERVAL '1 day'"),
            ("TIMESTAMP AS OF '2024-01-01'", "timestamp '2024-01-01'"),
            ("FOR TIMESTAMP AS OF TIMESTAMP '2024-01-01'", "timestamp TIMESTAMP '2024-01-01'"),
            ("FOR SYSTEM_TIME AS OF '2024-01-01'", "timestamp '2024-01-01'"),
        ] {
            let version = Some(version.to_string());
            assert_eq!(first(&format!("SELECT * FROM s.t {form}")), (version.clone(), None), "{form}");
            let alias = Some("x".to_string());
            assert_eq!(
                first(&format!("SELECT 1 FROM t {form} AS x WHERE 1 = 1")),
                (version.clone(), alias.clone())
            );
            assert_eq!(first(&format!("SELECT 1 FROM t {form} X JOIN t USING (a)")), (version, alias));
        }
    }

    #[test]
    fn words_stay_words() {
        for name in ["at", "before", "changes", "version", "timestamp", "of"] {
            assert_eq!(first(&format!("SELECT * FROM t {name}")), (None, Some(name.to_string())), "{name}");
            assert_eq!(
                first(&format!("SELECT {name}.a FROM t AS {name} WHERE {name}.b > 1")).1.as_deref(),
                Some(name)
            );
        }
        assert_eq!(first("SELECT version AS of, At FROM t at (a, b)").1.as_deref(), Some("at"));
        assert_eq!(first("SELECT ts AT TIME ZONE 'UTC' FROM t").0, None);
        assert_eq!(first("SELECT * FROM t FOR UPDATE").0, None);
        assert_eq!(first("SELECT 'a'\n'b' FROM t VERSION AS OF 1").0.as_deref(), Some("version 1"));
    }

    #[test]
    fn errors_keep_their_place() {
        let e = parse("SELECT * FROM t FOR VERSION AS OF 3 WHERE )").unwrap_err();
        assert_eq!(e.position, Some(43));
        assert!(parse("SELECT * FROM t VERSION AS OF 3 4").is_err());
    }
}
