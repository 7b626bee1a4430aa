//! Foreign keys as tables keep them: each in a property of its own, so that two that are declared at once are
//! both kept. Nothing enforces them; they tell tools and people how tables are joined.
//!
//! The table that is referred to is known by its id, so that it may get another name or schema. One that is
//! gone, or has lost the columns, has no keys to it.

use std::collections::BTreeMap;

use auric_catalog::table::TableSnapshot;
use auric_catalog::table::schema::FOREIGN_KEY_PROPERTY;

use crate::error::Result;
use crate::functions::string::quote_ident;
use crate::materialize::json;

const COLUMNS: &str = "columns";
const TABLE_ID: &str = "table-id";
const SCHEMA: &str = "schema";
const TABLE: &str = "table";
const REFERENCES: &str = "references";
const ON_UPDATE: &str = "on-update";
const ON_DELETE: &str = "on-delete";
const MATCH: &str = "match";

/// What was to happen to rows that refer to one that changes or goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReferentialAction {
    #[default]
    NoAction,
    Restrict,
    Cascade,
    SetNull,
    SetDefault,
}

impl ReferentialAction {
    const ALL: [Self; 5] = [Self::NoAction, Self::Restrict, Self::Cascade, Self::SetNull, Self::SetDefault];

    /// As `pg_constraint` has it.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoAction => "a",
            Self::Restrict => "r",
            Self::Cascade => "c",
            Self::SetNull => "n",
            Self::SetDefault => "d",
        }
    }

    /// As SQL has it.
    pub fn words(self) -> &'static str {
        match self {
            Self::NoAction => "NO ACTION",
            Self::Restrict => "RESTRICT",
            Self::Cascade => "CASCADE",
            Self::SetNull => "SET NULL",
            Self::SetDefault => "SET DEFAULT",
        }
    }

    /// What is not known is no action.
    fn of_words(words: Option<String>) -> Self {
        let is = |action: &Self| words.as_deref() == Some(action.words());
        Self::ALL.into_iter().find(is).unwrap_or_default()
    }
}

/// A foreign key of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredKey {
    pub columns: Vec<String>,
    /// `None`: the table refers to itself.
    pub table_id: Option<String>,
    /// Where the table was that is referred to, for people and other programs.
    pub schema: String,
    pub table: String,
    pub references: Vec<String>,
    pub on_update: ReferentialAction,
    pub on_delete: ReferentialAction,
    pub match_full: bool,
}

impl StoredKey {
    /// The value of the property.
    pub fn to_json(&self) -> String {
        let names = |names: &[String]| json::array(names.iter().map(|name| json::string(name)));
        let mut members = vec![(COLUMNS, names(&self.columns))];
        members.extend(self.table_id.iter().map(|id| (TABLE_ID, json::string(id))));
        members.extend([
            (SCHEMA, json::string(&self.schema)),
            (TABLE, json::string(&self.table)),
            (REFERENCES, names(&self.references)),
        ]);
        for (member, action) in [(ON_UPDATE, self.on_update), (ON_DELETE, self.on_delete)] {
            if action != ReferentialAction::NoAction {
                members.push((member, json::string(action.words())));
            }
        }
        if self.match_full {
            members.push((MATCH, json::string("FULL")));
        }
        json::object(members)
    }

    /// Fails with XX001.
    pub fn of_json(text: &str) -> Result<Self> {
        let names = |member: &str| -> Result<Vec<String>> {
            let all = json::members(text)?;
            let found = all.iter().find(|(key, _)| key == member).map(|(_, value)| *value);
            let items = json::items(found.unwrap_or("[]"))?;
            Ok(items.into_iter().map(json::text).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
        };
        Ok(Self {
            columns: names(COLUMNS)?,
            table_id: json::member(text, TABLE_ID)?,
            schema: json::member(text, SCHEMA)?.unwrap_or_default(),
            table: json::member(text, TABLE)?.unwrap_or_default(),
            references: names(REFERENCES)?,
            on_update: ReferentialAction::of_words(json::member(text, ON_UPDATE)?),
            on_delete: ReferentialAction::of_words(json::member(text, ON_DELETE)?),
            match_full: json::member(text, MATCH)?.as_deref() == Some("FULL"),
        })
    }

    /// Whether this table of those there are is the one that is referred to, and all columns are there. `own`: the
    /// table that has the key.
    pub fn refers_to(&self, own: &TableSnapshot, table: &TableSnapshot) -> bool {
        let id = self.table_id.as_ref().unwrap_or(&own.table_id);
        let has_all = |table: &TableSnapshot, names: &[String]| {
            names.iter().all(|name| table.schema.arrow.column_with_name(name).is_some())
        };
        *id == table.table_id && has_all(table, &self.references) && has_all(own, &self.columns)
    }

    /// The constraint as SQL has it. `to`: the table that is referred to, quoted as needed.
    pub fn definition(&self, to: &str) -> String {
        let list =
            |names: &[String]| names.iter().map(|name| quote_ident(name)).collect::<Vec<_>>().join(", ");
        let mut text =
            format!("FOREIGN KEY ({}) REFERENCES {to}({})", list(&self.columns), list(&self.references));
        if self.match_full {
            text.push_str(" MATCH FULL");
        }
        for (event, action) in [("UPDATE", self.on_update), ("DELETE", self.on_delete)] {
            if action != ReferentialAction::NoAction {
                text.push_str(&format!(" ON {event} {}", action.words()));
            }
        }
        text.push_str(" NOT ENFORCED");
        text
    }
}

/// The foreign keys among a table's properties, by name. Those that cannot be read are none.
pub fn of(properties: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, StoredKey)> {
    properties.iter().filter_map(|(key, value)| {
        let name = key.strip_prefix(FOREIGN_KEY_PROPERTY)?;
        match StoredKey::of_json(value) {
            Ok(key) => Some((name, key)),
            Err(error) => {
                tracing::warn!(constraint = name, %error, "foreign key cannot be read");
                None
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let key = StoredKey {
            columns: vec!["a".into(), "B \"c\"".into()],
            table_id: Some("7".into()),
            schema: "s".into(),
            table: "t".into(),
            references: vec!["x".into(), "y".into()],
            on_update: ReferentialAction::SetNull,
            on_delete: ReferentialAction::Cascade,
            match_full: true,
        };
        let itself = StoredKey { table_id: None, columns: vec!["up".into()], ..StoredKey::default() };
        for key in [key, itself] {
            assert_eq!(StoredKey::of_json(&key.to_json()).unwrap(), key);
        }
        assert!(StoredKey::of_json("[]").is_err() && StoredKey::of_json("{").is_err());
    }
}
