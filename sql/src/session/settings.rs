//! Values of a session's settings, with the transaction rules of Postgres: `SET` inside a
//! transaction is undone by ROLLBACK, `SET LOCAL` by the end of the transaction.

use std::collections::{BTreeMap, HashMap};

use super::vars::{self, Context, DEFINITIONS, Definition};
use crate::pg_catalog::pg_roles;

/// Why a setting was not changed or shown.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SettingsError {
    #[error("unrecognized configuration parameter \"{0}\"")]
    Unknown(String),
    #[error("parameter \"{0}\" cannot be changed")]
    Internal(&'static str),
    #[error("parameter \"{0}\" cannot be changed without restarting the server")]
    NeedsRestart(&'static str),
    #[error("invalid value for parameter \"{name}\": \"{value}\"")]
    InvalidValue { name: &'static str, value: String },
    #[error("{value} as the value of parameter \"{name}\" is not supported")]
    Unsupported { name: &'static str, value: String },
    /// For `role`: there is no such one.
    #[error("role \"{0}\" does not exist")]
    NoRole(String),
    /// Another user that exists.
    #[error("becoming the role \"{0}\" is not supported")]
    OtherRole(String),
    #[error("{0}")]
    AfterQuery(&'static str),
    #[error("parameter \"{name}\" requires a Boolean value")]
    NotBool { name: &'static str },
    #[error("{value} is outside the valid range for parameter \"{name}\" ({low} .. {high})")]
    OutOfRange { name: &'static str, value: i64, low: i64, high: i64 },
}

/// How long a change lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// `SET`: until the session ends, unless the transaction is rolled back.
    Session,
    /// `SET LOCAL`: until the transaction ends.
    Transaction,
}

/// One line of `SHOW ALL` and `pg_settings`.
#[derive(Debug, Clone)]
pub struct Shown {
    pub name: String,
    pub value: String,
    /// `None`: a custom setting (`a.b`).
    pub definition: Option<&'static Definition>,
}

type Values = HashMap<String, String>;

#[derive(Debug, Clone)]
struct Saved {
    /// `None`: the transaction itself.
    savepoint: Option<String>,
    session: Values,
    local: Values,
}

/// A session's settings. Keys are lower case.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// What the session started with, where it differs from the definitions.
    startup: Values,
    session: Values,
    local: Values,
    saved: Vec<Saved>,
    told: HashMap<&'static str, String>,
    /// Grows whenever a value may have changed.
    generation: u64,
    /// That of the last [`Settings::take_changes`].
    told_generation: Option<u64>,
    /// The transaction block has had a query: what it may do is settled.
    has_queried: bool,
}

impl Settings {
    /// Sets what the server or the connection start decides; also settings that nobody may change.
    pub fn set_startup(&mut self, name: &str, value: &str) -> Result<(), SettingsError> {
        let value = match vars::definition(name) {
            Some(definition) => definition.canonical(value)?,
            None if is_custom(name) => value.to_string(),
            None => return Err(SettingsError::Unknown(name.to_string())),
        };
        self.startup.insert(name.to_ascii_lowercase(), value);
        self.generation += 1;
        Ok(())
    }

    /// What a client asks for at connection start: like SET, but RESET comes back to it.
    pub fn set_by_client(&mut self, name: &str, value: &str) -> Result<(), SettingsError> {
        if let Some(definition) = vars::definition(name) {
            changeable(definition)?;
            self.check_role(definition.name, value)?;
        }
        self.set_startup(name, value)
    }

    /// Canonical value. `None`: there is no such setting.
    pub fn get(&self, name: &str) -> Option<&str> {
        let key = name.to_ascii_lowercase();
        let value =
            self.local.get(&key).or_else(|| self.session.get(&key)).or_else(|| self.startup.get(&key));
        value.map(String::as_str).or_else(|| vars::definition(&key).map(|definition| definition.default))
    }

    /// Value as `SHOW` prints it. `None`: there is no such setting.
    pub fn show(&self, name: &str) -> Option<String> {
        let value = self.get(name)?;
        Some(vars::definition(name).map_or_else(|| value.to_string(), |definition| definition.shown(value)))
    }

    pub fn bool(&self, name: &str) -> bool {
        self.get(name) == Some("on")
    }

    /// 0 for anything that is not a whole number.
    pub fn integer(&self, name: &str) -> i64 {
        self.get(name).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// `SET`. Returns the value as `SHOW` prints it.
    pub fn set(&mut self, name: &str, value: &str, scope: Scope) -> Result<String, SettingsError> {
        let canonical = match vars::definition(name) {
            Some(definition) => {
                changeable(definition)?;
                definition.canonical(value)?
            }
            None if is_custom(name) => value.to_string(),
            None => return Err(SettingsError::Unknown(name.to_string())),
        };
        let key = name.to_ascii_lowercase();
        self.check_transaction(&key, &canonical)?;
        self.check_role(&key, &canonical)?;
        self.generation += 1;
        match scope {
            Scope::Session => {
                self.local.remove(&key);
                self.session.insert(key, canonical);
            }
            Scope::Transaction => {
                self.local.insert(key, canonical);
            }
        }
        Ok(self.show(name).unwrap_or_default())
    }

    /// Refuses to change what a transaction is after it has begun to read (`check_XactReadOnly` and its like
    /// in Postgres' sources).
    fn check_transaction(&self, key: &str, value: &str) -> Result<(), SettingsError> {
        let is_nested = self.saved.len() > 1;
        let is_changed = self.get(key) != Some(value);
        let refused = match key {
            "transaction_read_only" if value == "off" && is_changed && is_nested => {
                "cannot set transaction read-write mode inside a read-only transaction"
            }
            "transaction_read_only" if value == "off" && is_changed && self.has_queried => {
                "transaction read-write mode must be set before any query"
            }
            "transaction_isolation" if is_changed && self.has_queried => {
                "SET TRANSACTION ISOLATION LEVEL must be called before any query"
            }
            "transaction_isolation" if is_changed && is_nested => {
                "SET TRANSACTION ISOLATION LEVEL must not be called in a subtransaction"
            }
            "transaction_deferrable" if is_changed && is_nested => {
                "SET TRANSACTION [NOT] DEFERRABLE cannot be called within a subtransaction"
            }
            "transaction_deferrable" if is_changed && self.has_queried => {
                "SET TRANSACTION [NOT] DEFERRABLE must be called before any query"
            }
            _ => return Ok(()),
        };
        Err(SettingsError::AfterQuery(refused))
    }

    /// `SET ROLE` and `SET SESSION AUTHORIZATION` may name oneself, and the first one nobody.
    fn check_role(&self, key: &str, name: &str) -> Result<(), SettingsError> {
        let is_role = matches!(key, "role" | "session_authorization");
        let own = self.get("session_authorization").unwrap_or_default();
        if !is_role || name == own || (key == "role" && name == "none") {
            return Ok(());
        }
        match pg_roles::is_role(name) {
            true => Err(SettingsError::OtherRole(name.to_string())),
            false => Err(SettingsError::NoRole(name.to_string())),
        }
    }

    /// A query is about to be planned or run in a transaction block.
    pub fn note_query(&mut self) {
        self.has_queried |= !self.saved.is_empty();
    }

    /// `RESET name`, `SET name TO DEFAULT`.
    pub fn reset(&mut self, name: &str, scope: Scope) -> Result<(), SettingsError> {
        let key = name.to_ascii_lowercase();
        match vars::definition(name) {
            Some(definition) => changeable(definition)?,
            None if is_custom(name) => {}
            None => return Err(SettingsError::Unknown(name.to_string())),
        }
        if let Some(definition) = vars::definition(name) {
            self.check_transaction(&key, &self.reset_value(definition))?;
        }
        self.local.remove(&key);
        self.generation += 1;
        match scope {
            Scope::Session => {
                self.session.remove(&key);
            }
            Scope::Transaction => {
                let default = self.startup.get(&key).cloned();
                let default = default.or_else(|| vars::definition(&key).map(|d| d.default.to_string()));
                if let Some(default) = default {
                    self.local.insert(key, default);
                }
            }
        }
        Ok(())
    }

    /// `RESET ALL`.
    pub fn reset_all(&mut self) {
        self.generation += 1;
        self.session.retain(|name, _| vars::stays(name));
        self.local.retain(|name, _| vars::stays(name));
    }

    pub fn begin(&mut self) {
        self.has_queried = false;
        self.saved = vec![Saved { savepoint: None, session: self.session.clone(), local: Values::new() }];
    }

    pub fn commit(&mut self) {
        self.saved.clear();
        self.clear_local();
    }

    pub fn rollback(&mut self) {
        if let Some(saved) = self.saved.drain(..).next() {
            if self.session != saved.session {
                self.generation += 1;
            }
            self.session = saved.session;
        }
        self.clear_local();
    }

    fn clear_local(&mut self) {
        self.has_queried = false;
        if !self.local.is_empty() {
            self.generation += 1;
            self.local.clear();
        }
    }

    /// Values that differ from the definitions' defaults and can show in the rows of a query, by name.
    pub fn deciding(&self) -> BTreeMap<&str, &str> {
        let keys = self.startup.keys().chain(self.session.keys()).chain(self.local.keys());
        let deciding = keys.filter(|key| !vars::decides_nothing(key));
        let values = deciding.filter_map(|key| Some((key.as_str(), self.get(key)?)));
        let is_default = |key: &str, value: &str| vars::definition(key).is_some_and(|d| d.default == value);
        values.filter(|(key, value)| !is_default(key, value)).collect()
    }

    /// A number that is another one when a value may have changed.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn savepoint(&mut self, name: &str) {
        self.saved.push(Saved {
            savepoint: Some(name.to_string()),
            session: self.session.clone(),
            local: self.local.clone(),
        });
    }

    /// Forgets a savepoint and those after it. `false`: no such savepoint.
    pub fn release(&mut self, name: &str) -> bool {
        match self.saved.iter().rposition(|saved| saved.savepoint.as_deref() == Some(name)) {
            Some(index) => {
                self.saved.truncate(index);
                true
            }
            None => false,
        }
    }

    /// Comes back to a savepoint, which stays. `false`: no such savepoint.
    pub fn rollback_to(&mut self, name: &str) -> bool {
        let Some(index) = self.saved.iter().rposition(|saved| saved.savepoint.as_deref() == Some(name))
        else {
            return false;
        };
        self.saved.truncate(index + 1);
        self.generation += 1;
        if let Some(saved) = self.saved.last() {
            self.session = saved.session.clone();
            self.local = saved.local.clone();
        }
        true
    }

    /// Everything, ordered by name without regard to case.
    pub fn all(&self) -> Vec<Shown> {
        let mut all = BTreeMap::new();
        for definition in DEFINITIONS {
            let value = self.get(definition.name).unwrap_or(definition.default);
            let shown = Shown {
                name: definition.name.to_string(),
                value: definition.shown(value),
                definition: Some(definition),
            };
            all.insert(definition.name.to_ascii_lowercase(), shown);
        }
        for key in self.startup.keys().chain(self.session.keys()).chain(self.local.keys()) {
            if vars::definition(key).is_none() {
                let value = self.get(key).unwrap_or_default().to_string();
                all.insert(key.clone(), Shown { name: key.clone(), value, definition: None });
            }
        }
        all.into_values().collect()
    }

    /// Value that RESET would give, canonical.
    pub fn reset_value(&self, definition: &Definition) -> String {
        let key = definition.name.to_ascii_lowercase();
        self.startup.get(&key).cloned().unwrap_or_else(|| definition.default.to_string())
    }

    /// Reported settings whose value differs from what the client was told last.
    pub fn take_changes(&mut self) -> Vec<(&'static str, String)> {
        let mut changes = Vec::new();
        if self.told_generation == Some(self.generation) {
            return changes;
        }
        self.told_generation = Some(self.generation);
        for definition in DEFINITIONS.iter().filter(|definition| definition.reported) {
            let value = self.get(definition.name).unwrap_or(definition.default);
            if self.told.get(definition.name).map(String::as_str) != Some(value) {
                changes.push((definition.name, value.to_string()));
            }
        }
        self.told.extend(changes.iter().cloned());
        changes
    }
}

/// Names with a dot belong to extensions and applications: any value is kept.
fn is_custom(name: &str) -> bool {
    matches!(name.split_once('.'), Some((class, rest)) if !class.is_empty() && !rest.is_empty())
}

fn changeable(definition: &Definition) -> Result<(), SettingsError> {
    match definition.context {
        Context::User => Ok(()),
        Context::Internal => Err(SettingsError::Internal(definition.name)),
        Context::Postmaster => Err(SettingsError::NeedsRestart(definition.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_is_undone_by_rollback_and_local_by_commit() {
        let mut s = Settings::default();
        s.begin();
        s.set("search_path", "a", Scope::Session).unwrap();
        s.set("statement_timeout", "5s", Scope::Transaction).unwrap();
        assert_eq!(s.show("STATEMENT_TIMEOUT").as_deref(), Some("5s"));
        s.commit();
        assert_eq!(s.get("search_path"), Some("a"));
        assert_eq!(s.get("statement_timeout"), Some("0"));
        s.begin();
        s.set("search_path", "b", Scope::Session).unwrap();
        s.rollback();
        assert_eq!(s.get("search_path"), Some("a"));
    }

    #[test]
    fn unknown_and_fixed_names_are_refused() {
        let mut s = Settings::default();
        assert_eq!(s.set("nope", "1", Scope::Session), Err(SettingsError::Unknown("nope".into())));
        assert_eq!(
            s.set("server_version", "1", Scope::Session),
            Err(SettingsError::Internal("server_version"))
        );
        assert!(s.set("my.own", "1", Scope::Session).is_ok());
        assert!(s.set("statement_timeout", "-2", Scope::Session).is_err());
        assert_eq!(s.set("work_mem", "1GB", Scope::Session).unwrap(), "1GB");
        assert_eq!(s.get("work_mem"), Some("1048576"));
        assert_eq!(s.set("datestyle", "iso, dmy", Scope::Session).unwrap(), "ISO, DMY");
        assert!(s.set("timezone", "Europe/Paris", Scope::Session).is_ok());
        assert!(s.set("timezone", "Nowhere/Land", Scope::Session).is_err());
    }

    #[test]
    fn changes_are_told_once() {
        let mut s = Settings::default();
        assert!(s.take_changes().iter().any(|(name, _)| *name == "server_version"));
        assert!(s.take_changes().is_empty());
        s.set("application_name", "x", Scope::Session).unwrap();
        assert_eq!(s.take_changes(), vec![("application_name", "x".to_string())]);
        s.begin();
        s.set("application_name", "y", Scope::Transaction).unwrap();
        assert_eq!(s.take_changes(), vec![("application_name", "y".to_string())]);
        s.savepoint("p");
        s.set("application_name", "z", Scope::Session).unwrap();
        assert_eq!(s.take_changes(), vec![("application_name", "z".to_string())]);
        s.rollback_to("p");
        assert_eq!(s.take_changes(), vec![("application_name", "y".to_string())]);
        s.rollback();
        assert_eq!(s.take_changes(), vec![("application_name", "x".to_string())]);
        s.reset("application_name", Scope::Session).unwrap();
        assert_eq!(s.take_changes(), vec![("application_name", String::new())]);
    }

    #[test]
    fn what_a_transaction_is_stays() {
        let mut s = Settings::default();
        s.begin();
        s.set("transaction_read_only", "on", Scope::Transaction).unwrap();
        s.reset_all();
        assert!(s.bool("transaction_read_only"));
        s.note_query();
        assert!(s.set("transaction_read_only", "off", Scope::Transaction).is_err());
        assert!(s.reset("transaction_read_only", Scope::Session).is_err());
        assert!(s.set("transaction_isolation", "serializable", Scope::Transaction).is_err());
        s.set("transaction_isolation", "read committed", Scope::Transaction).unwrap();
        s.commit();
        s.begin();
        s.set("transaction_isolation", "serializable", Scope::Transaction).unwrap();
    }

    #[test]
    fn definitions_are_ordered_and_valid() {
        let names: Vec<String> = DEFINITIONS.iter().map(|d| d.name.to_ascii_lowercase()).collect();
        assert!(names.is_sorted(), "{names:?}");
        for d in DEFINITIONS {
            assert_eq!(d.canonical(d.default).unwrap(), d.default, "{}", d.name);
            let found = vars::definition(&d.name.to_ascii_uppercase()).unwrap();
            assert_eq!(found.name, d.name);
        }
    }
}
