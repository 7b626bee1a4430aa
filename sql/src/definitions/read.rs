//! Reading definitions from text.

use std::fmt;

use auric_catalog::TableIdent;
use datafusion::sql::sqlparser::ast::ObjectName;
use futures::future::BoxFuture;

use super::{File, Located, defined_twice, no_definition, order};
use crate::error::{Error, Result};
use crate::functions::string::quote_ident;
use crate::parser::statement::{Statement, TriggerClause};
use crate::parser::view::relations_of;
use crate::parser::{self, Parsed};
use crate::planner::Scope;
use crate::session::Session;
use crate::statement::ddl::schema_name;

/// What is defined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    Schema {
        catalog: String,
        name: String,
    },
    Relation {
        catalog: String,
        ident: TableIdent,
    },
    /// Its name shares nothing with those of relations.
    Task {
        catalog: String,
        ident: TableIdent,
    },
}

impl Key {
    /// The database that it is in.
    pub fn catalog(&self) -> &str {
        match self {
            Self::Schema { catalog, .. } | Self::Relation { catalog, .. } | Self::Task { catalog, .. } => {
                catalog
            }
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Schema { name, .. } => f.write_str(&quote_ident(name)),
            Self::Relation { ident, .. } | Self::Task { ident, .. } => {
                write!(f, "{}.{}", quote_ident(&ident.namespace), quote_ident(&ident.name))
            }
        }
    }
}

/// One definition.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub file: String,
    /// Where its statement begins, from 1.
    pub line: usize,
    pub key: Key,
    pub parsed: Parsed,
    /// What it is made of, in the files or not.
    pub uses: Vec<Key>,
}

/// Definitions in the order in which they can be made.
#[derive(Debug)]
pub struct Definitions {
    pub(super) items: Vec<Item>,
}

impl Definitions {
    /// Reads files. Fails with 42601 for what cannot be parsed and for statements that define nothing,
    /// 42710 for two definitions of one thing, 42P17 for such that are made of each other.
    pub fn read<'a>(session: &'a Session, files: &'a [File]) -> BoxFuture<'a, Result<Self, Located>> {
        Box::pin(async move {
            let begin = |error: Error| {
                let file = files.first().map(|file| file.name.clone()).unwrap_or_default();
                Located { file, line: 1, error: error.into() }
            };
            let scope = session.scope().await.map_err(begin)?;
            let mut items: Vec<Item> = Vec::new();
            for file in files {
                for item in statements(session, &scope, file)? {
                    if let Some(first) = items.iter().find(|other| other.key == item.key) {
                        return Err(item.located(defined_twice(&item.key, first)));
                    }
                    items.push(item);
                }
            }
            Ok(Self { items: order::by_use(items)? })
        })
    }
}

fn statements(session: &Session, scope: &Scope, file: &File) -> Result<Vec<Item>, Located> {
    let at = |line: usize, error: Error| Located { file: file.name.clone(), line, error: error.into() };
    let parsed = parser::parse(&file.text).map_err(|error| {
        let line = error.position.map_or(1, |position| line_of(&file.text, position));
        at(line, error)
    })?;
    let mut offset = 0;
    let mut items = Vec::with_capacity(parsed.len());
    for parsed in parsed {
        let rest = file.text.get(offset..).unwrap_or_default();
        let begin = offset + rest.find(&parsed.text).unwrap_or(0);
        offset = begin + parsed.text.len();
        let line = file.text.get(..begin).unwrap_or_default().matches('\n').count() + 1;
        let (key, uses) = names(session, scope, &parsed).map_err(|error| {
            let line = error.position.map_or(line, |position| line_of(&file.text, position));
            at(line, error)
        })?;
        items.push(Item { file: file.name.clone(), line, key, parsed, uses });
    }
    Ok(items)
}

/// What a statement defines, and what that is made of.
fn names(session: &Session, scope: &Scope, parsed: &Parsed) -> Result<(Key, Vec<Key>)> {
    let relation = |name: &ObjectName| {
        let (catalog, ident) = scope.new_table(name)?;
        Ok::<_, Error>(Key::Relation { catalog: catalog.name().to_string(), ident })
    };
    let of_schema = |catalog: &str, ident: &TableIdent| Key::Schema {
        catalog: catalog.into(),
        name: ident.namespace.clone(),
    };
    let (name, query) = match parsed.statement.as_ref() {
        Statement::CreateSchema { name, .. } => {
            let (catalog, name) = schema_name(session, name)?;
            return Ok((Key::Schema { catalog, name }, Vec::new()));
        }
        Statement::CreateTask(create) => {
            let (catalog, ident) = scope.new_table(&create.name)?;
            let mut uses = vec![of_schema(catalog.name(), &ident)];
            uses.extend(create.relations().iter().filter_map(|name| relation(name).ok()));
            if let TriggerClause::After(names) = &create.trigger {
                for name in names {
                    let (catalog, ident) = scope.new_table(name)?;
                    let catalog = catalog.name().to_string();
                    uses.push(Key::Task { catalog: catalog.clone(), ident: ident.clone() });
                    uses.push(Key::Relation { catalog, ident });
                }
            }
            return Ok((Key::Task { catalog: catalog.name().to_string(), ident }, uses));
        }
        Statement::CreateView(create) => (&create.name, Some(&create.query)),
        Statement::CreateMaterializedView(create) => (&create.table.name, create.table.query.as_ref()),
        _ => return Err(no_definition(&parsed.text)),
    };
    let key = relation(name)?;
    let mut uses = Vec::new();
    if let Key::Relation { catalog, ident } = &key {
        uses.push(of_schema(catalog, ident));
    }
    for name in query.map(|query| relations_of(query)).unwrap_or_default() {
        // Functions of tables and relations of other databases are none that a file defines.
        uses.extend(relation(&name).ok());
    }
    Ok((key, uses))
}

/// The line of a position in characters from 1.
pub(super) fn line_of(text: &str, position: u32) -> usize {
    let before = usize::try_from(position).unwrap_or(usize::MAX).saturating_sub(1);
    text.chars().take(before).filter(|c| *c == '\n').count() + 1
}
