//! What a materialized view is, as the properties of its table keep it.

use std::collections::BTreeMap;

use auric_catalog::table::PropertyChange;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::expectation::Expectation;
use super::publish::lost;
use super::schedule::Schedule;
use super::{hash, json};
use crate::error::{Error, Result, SqlState};
use crate::parser::AuricDialect;

/// Prefix of all properties of a table that belong to the view, and of the entries of its commits'
/// summaries.
pub const PREFIX: &str = "auric.materialized-view.";

const QUERY: &str = "auric.materialized-view.query";
const SEARCH_PATH: &str = "auric.materialized-view.search-path";
const QUERY_COLUMNS: &str = "auric.materialized-view.query-columns";
const EXPECTATIONS: &str = "auric.materialized-view.expectations";
const SCHEDULE: &str = "auric.materialized-view.schedule";
const POLICY: &str = "auric.materialized-view.refresh-policy";
const RETRIES: &str = "auric.materialized-view.retries";
const SUSPENDED: &str = "auric.materialized-view.suspended";
const HASH: &str = "auric.materialized-view.definition-hash";
/// `false` until the view is refreshed for the first time.
pub const POPULATED: &str = "auric.materialized-view.populated";

/// Which ways of computing a refresh are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RefreshPolicy {
    /// The cheapest that gives the same rows.
    #[default]
    Auto,
    /// Incremental where that gives the same rows, else full.
    Incremental,
    /// Incremental, or an error.
    IncrementalStrict,
    Full,
}

impl RefreshPolicy {
    /// As in SQL, and in the table's property.
    pub fn words(self) -> &'static str {
        match self {
            Self::Auto => "AUTO",
            Self::Incremental => "INCREMENTAL",
            Self::IncrementalStrict => "INCREMENTAL STRICT",
            Self::Full => "FULL",
        }
    }

    fn parse(words: &str) -> Option<Self> {
        let all = [Self::Auto, Self::Incremental, Self::IncrementalStrict, Self::Full];
        all.into_iter().find(|policy| policy.words() == words)
    }
}

/// What a materialized view is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// SQL text.
    pub query: String,
    /// Schemas in which unqualified names are looked up.
    pub search_path: Vec<String>,
    /// Names that the query gives its columns, in the order of the table's columns.
    pub query_columns: Vec<String>,
    pub expectations: Vec<Expectation>,
    /// `None`: it is refreshed by hand alone.
    pub schedule: Option<Schedule>,
    pub policy: RefreshPolicy,
    /// Of a scheduled refresh that fails; `None`: as the scheduler has it.
    pub retries: Option<u32>,
    /// The schedule rests.
    pub suspended: bool,
    /// It has been refreshed.
    pub populated: bool,
}

/// Whether properties are those of a materialized view's table.
pub fn is_materialized_view(properties: &BTreeMap<String, String>) -> bool {
    properties.contains_key(QUERY)
}

/// Whether a materialized view with these properties has rows to be read.
pub fn is_populated(properties: &BTreeMap<String, String>) -> bool {
    properties.get(POPULATED).is_none_or(|value| value != "false")
}

/// Fails with 22023 if a property is one that the statements on materialized views alone change.
pub fn check_own<'a>(keys: impl IntoIterator<Item = &'a String>) -> Result<()> {
    match keys.into_iter().find(|key| key.starts_with(PREFIX)) {
        Some(key) => {
            let message = format!("property \"{key}\" cannot be changed directly");
            Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
                .with_hint("Use CREATE OR REPLACE MATERIALIZED VIEW or ALTER MATERIALIZED VIEW."))
        }
        None => Ok(()),
    }
}

impl Definition {
    /// `None`: the table is no materialized view. Fails with XX001.
    pub fn of(properties: &BTreeMap<String, String>) -> Result<Option<Self>> {
        let Some(query) = properties.get(QUERY) else { return Ok(None) };
        let list = |key: &str| -> Result<Vec<String>> {
            let Some(value) = properties.get(key) else { return Ok(Vec::new()) };
            let items = json::items(value)?.into_iter().map(json::text);
            Ok(items.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
        };
        let corrupt = |key: &str, value: &String| {
            let message = format!("property \"{key}\" of a materialized view is \"{value}\"");
            Error::new(SqlState::DATA_CORRUPTED, message)
        };
        let expectations = match properties.get(EXPECTATIONS) {
            Some(value) => {
                json::items(value)?.into_iter().map(Expectation::from_json).collect::<Result<_>>()?
            }
            None => Vec::new(),
        };
        let policy = match properties.get(POLICY) {
            Some(words) => RefreshPolicy::parse(words).ok_or_else(|| corrupt(POLICY, words))?,
            None => RefreshPolicy::default(),
        };
        let retries = match properties.get(RETRIES) {
            Some(number) => Some(number.parse().map_err(|_| corrupt(RETRIES, number))?),
            None => None,
        };
        Ok(Some(Self {
            query: query.clone(),
            search_path: list(SEARCH_PATH)?,
            query_columns: list(QUERY_COLUMNS)?,
            expectations,
            schedule: properties.get(SCHEDULE).map(|text| Schedule::from_json(text)).transpose()?,
            policy,
            retries,
            suspended: properties.get(SUSPENDED).is_some_and(|value| value == "true"),
            populated: is_populated(properties),
        }))
    }

    /// The properties that keep it.
    pub fn properties(&self) -> BTreeMap<String, String> {
        let list = |texts: &[String]| json::array(texts.iter().map(|text| json::string(text)));
        let mut properties = BTreeMap::from([
            (QUERY.to_string(), self.query.clone()),
            (SEARCH_PATH.to_string(), list(&self.search_path)),
            (QUERY_COLUMNS.to_string(), list(&self.query_columns)),
            (HASH.to_string(), self.hash()),
        ]);
        let mut set = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                properties.insert(key.to_string(), value);
            }
        };
        let expectations = || json::array(self.expectations.iter().map(Expectation::to_json));
        set(EXPECTATIONS, (!self.expectations.is_empty()).then(expectations));
        set(SCHEDULE, self.schedule.as_ref().map(Schedule::to_json));
        set(POLICY, (self.policy != RefreshPolicy::default()).then(|| self.policy.words().to_string()));
        set(RETRIES, self.retries.map(|number| number.to_string()));
        set(SUSPENDED, self.suspended.then(|| "true".to_string()));
        set(POPULATED, (!self.populated).then(|| "false".to_string()));
        properties
    }

    /// What makes the properties of this definition those of another. `None`: nothing.
    pub fn change_to(&self, other: &Self) -> Option<PropertyChange> {
        let (before, mut set) = (self.properties(), other.properties());
        let unset = lost(before.keys(), &set);
        set.retain(|key, value| before.get(key) != Some(value));
        (!set.is_empty() || !unset.is_empty()).then_some(PropertyChange { set, unset })
    }

    /// Tells definitions that may give other rows apart. Layout, comments and letter case of the text do
    /// not count, nor does when and how it is refreshed.
    pub fn hash(&self) -> String {
        let mut parts = vec![normal_form(&self.query)];
        parts.extend(self.search_path.iter().cloned());
        parts.push(String::new());
        parts.extend(self.query_columns.iter().cloned());
        for Expectation { name, condition, action } in &self.expectations {
            parts.extend([name.clone(), normal_form(condition), action.to_string()]);
        }
        hash::digits(hash::of(parts.iter().map(String::as_str)))
    }
}

/// The tokens of a text with one space between them, words without quotes in lower case.
pub fn normal_form(text: &str) -> String {
    let dialect = AuricDialect::default();
    let Ok(tokens) = Tokenizer::new(&dialect, text).tokenize() else { return text.to_string() };
    let words = tokens.into_iter().filter_map(|token| match token {
        Token::Whitespace(_) => None,
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_lowercase()),
        other => Some(other.to_string()),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::expectation::OnViolation;
    use super::super::schedule::{Span, Unit};
    use super::*;

    fn definition() -> Definition {
        Definition {
            query: "SELECT day, sum(x) AS x FROM t GROUP BY day".into(),
            search_path: vec!["gold".into(), "public".into()],
            query_columns: vec!["day".into(), "x".into()],
            expectations: vec![Expectation {
                name: "positive".into(),
                condition: "x >= 0".into(),
                action: OnViolation::DropRow,
            }],
            schedule: Span::new(5, Unit::Minute).map(Schedule::Every),
            policy: RefreshPolicy::IncrementalStrict,
            retries: Some(3),
            suspended: true,
            populated: false,
        }
    }

    #[test]
    fn properties_keep_all_of_it() {
        let whole = definition();
        assert_eq!(Definition::of(&whole.properties()).unwrap(), Some(whole.clone()));
        let plain = Definition {
            expectations: vec![],
            schedule: None,
            policy: RefreshPolicy::Auto,
            retries: None,
            suspended: false,
            populated: true,
            ..whole
        };
        assert_eq!(plain.properties().len(), 4);
        assert_eq!(Definition::of(&plain.properties()).unwrap(), Some(plain));
        assert_eq!(Definition::of(&BTreeMap::new()).unwrap(), None);
        let wrong = BTreeMap::from([(QUERY.to_string(), "x".to_string()), (RETRIES.to_string(), "-".into())]);
        assert_eq!(Definition::of(&wrong).unwrap_err().code, SqlState::DATA_CORRUPTED);
    }

    #[test]
    fn the_hash_is_of_what_decides_the_rows() {
        let one = definition();
        let same = |other: &Definition| one.hash() == other.hash();
        let query = |text: &str| Definition { query: text.into(), ..one.clone() };
        assert!(same(&query("select  Day, /* all */ SUM( x ) as x\n from T -- end\n group by DAY")));
        assert!(!same(&query("SELECT day, sum(y) AS x FROM t GROUP BY day")));
        assert!(!same(&query("SELECT day, sum(x) AS x FROM \"T\" GROUP BY day")));
        assert!(!same(&query("SELECT day, sum(x) AS x FROM t WHERE c = 'A' GROUP BY day")));
        assert!(same(&Definition { schedule: None, retries: None, suspended: false, ..one.clone() }));
        assert!(!same(&Definition { expectations: vec![], ..one.clone() }));
        assert!(!same(&Definition { search_path: vec!["public".into()], ..one.clone() }));
    }
}
