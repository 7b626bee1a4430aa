//! What the rows of a materialized view are expected to be, and what happens to those that are not.

use std::fmt;

use auric_catalog::TableIdent;

use super::json;
use crate::error::{Error, Result, SqlState};
use crate::functions::string::quote_ident;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    pub name: String,
    /// SQL text over the view's columns. What is not true, null included, violates it.
    pub condition: String,
    pub action: OnViolation,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnViolation {
    /// Nothing is published.
    FailUpdate,
    /// The row is not part of the view.
    DropRow,
    /// The row goes into this table of the view's catalog instead.
    QuarantineInto(TableIdent),
    /// It is counted and told.
    Warn,
}

impl fmt::Display for OnViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailUpdate => f.write_str("FAIL UPDATE"),
            Self::DropRow => f.write_str("DROP ROW"),
            Self::QuarantineInto(table) => {
                let (schema, name) = (quote_ident(&table.namespace), quote_ident(&table.name));
                write!(f, "QUARANTINE INTO {schema}.{name}")
            }
            Self::Warn => f.write_str("WARN"),
        }
    }
}

/// As in SQL.
impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, condition, action } = self;
        write!(f, "CONSTRAINT {} EXPECT ({condition}) ON VIOLATION {action}", quote_ident(name))
    }
}

impl Expectation {
    /// An object of the property's array.
    pub fn to_json(&self) -> String {
        let (action, table) = match &self.action {
            OnViolation::FailUpdate => ("fail-update", None),
            OnViolation::DropRow => ("drop-row", None),
            OnViolation::QuarantineInto(table) => ("quarantine", Some(table)),
            OnViolation::Warn => ("warn", None),
        };
        let mut members = vec![
            ("name", json::string(&self.name)),
            ("expect", json::string(&self.condition)),
            ("on-violation", json::string(action)),
        ];
        if let Some(table) = table {
            members.push(("schema", json::string(&table.namespace)));
            members.push(("table", json::string(&table.name)));
        }
        json::object(members)
    }

    /// Fails with XX001.
    pub fn from_json(text: &str) -> Result<Self> {
        json::members(text)?;
        let required = |key: &str| {
            json::member(text, key)?.ok_or_else(|| {
                let message = format!("an expectation without \"{key}\" cannot be read: {text}");
                Error::new(SqlState::DATA_CORRUPTED, message)
            })
        };
        let action = match required("on-violation")?.as_str() {
            "fail-update" => OnViolation::FailUpdate,
            "drop-row" => OnViolation::DropRow,
            "quarantine" => {
                OnViolation::QuarantineInto(TableIdent::new(required("schema")?, required("table")?))
            }
            "warn" => OnViolation::Warn,
            other => {
                let message = format!("an expectation with \"{other}\" on violation cannot be read");
                return Err(Error::new(SqlState::DATA_CORRUPTED, message));
            }
        };
        Ok(Self { name: required("name")?, condition: required("expect")?, action })
    }
}

/// How an expectation fared in one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub expectation: Expectation,
    /// Rows that violate it; 1 for one over the whole result.
    pub violations: u64,
    /// Rows that it was asked of; 1 for one over the whole result.
    pub checked: u64,
}

impl Outcome {
    /// An object of the summary's array.
    pub fn to_json(&self) -> String {
        json::object([
            ("name", json::string(&self.expectation.name)),
            ("on-violation", json::string(&self.expectation.action.to_string())),
            ("checked", self.checked.to_string()),
            ("violations", self.violations.to_string()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_are_read_back_as_they_were_written() {
        for action in [
            OnViolation::FailUpdate,
            OnViolation::DropRow,
            OnViolation::QuarantineInto(TableIdent::new("gold", "bad \"rows\"")),
            OnViolation::Warn,
        ] {
            let one = Expectation { name: "p".into(), condition: "a <> '\\\"'\n".into(), action };
            assert_eq!(Expectation::from_json(&one.to_json()).unwrap(), one);
        }
        for wrong in ["{}", "1", "{\"name\":\"a\",\"expect\":\"b\",\"on-violation\":\"c\"}"] {
            assert_eq!(Expectation::from_json(wrong).unwrap_err().code, SqlState::DATA_CORRUPTED);
        }
    }
}
