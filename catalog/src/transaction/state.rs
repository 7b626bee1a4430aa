//! What a transaction has changed and not committed: names, and what is behind them. A value that a
//! savepoint keeps a copy of.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::TableIdent;
use crate::backend::NamespaceEntry;
use crate::backend::change::Entry;
use crate::backend::document::{DocumentChange, DocumentKey};
use crate::error::{Error, Result};
use crate::registry::Table;
use crate::table::{PendingChange, TableFormat, TableSnapshot, TableVersion};

/// A table or view that the transaction has touched.
#[derive(Debug, Clone, Default)]
pub struct Relation {
    /// As it is in the catalog; `None`: the transaction makes it.
    pub before: Option<Entry>,
    /// As the transaction sees it; `None`: dropped. The pointer of a table to be is empty.
    pub now: Option<Entry>,
    /// The version of a table that its changes are made against, staged if the transaction makes it.
    /// `None`: a view, or a table that was not read.
    pub base: Option<Arc<TableSnapshot>>,
    pub pending: Option<Arc<PendingChange>>,
    /// The table as the next statement sees it.
    pub current: Option<Arc<TableSnapshot>>,
}

impl Relation {
    pub fn is_now(&self, ident: &TableIdent) -> bool {
        self.now.as_ref().is_some_and(|entry| entry.ident() == ident)
    }

    fn was(&self, ident: &TableIdent) -> bool {
        self.before.as_ref().is_some_and(|entry| entry.ident() == ident)
    }

    /// The table's rows or properties are not those of its base.
    pub fn has_pending(&self) -> bool {
        self.now.is_some() && self.pending.as_ref().is_some_and(|pending| !pending.change().is_empty())
    }

    pub fn is_changed(&self) -> bool {
        self.before != self.now || self.has_pending()
    }

    /// A change of it would be a commit of its own: one to the log of a Delta table.
    fn has_own_log(&self) -> bool {
        let published = |base: &Arc<TableSnapshot>| {
            base.format == TableFormat::Delta && base.version != TableVersion::Unpublished
        };
        self.base.as_ref().is_some_and(published)
    }
}

/// A namespace that the transaction has touched.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Namespace {
    pub before: Option<NamespaceEntry>,
    pub now: Option<NamespaceEntry>,
}

/// What a name means to the transaction.
pub enum Known {
    Now(Entry),
    /// What had the name has another one, or none.
    Gone,
    /// What it means to everybody.
    Untouched,
}

#[derive(Debug, Clone, Default)]
pub struct State {
    pub namespaces: BTreeMap<String, Namespace>,
    pub relations: Vec<Relation>,
    /// As they were before, and are now.
    pub documents: BTreeMap<DocumentKey, DocumentChange>,
}

impl State {
    pub fn known(&self, ident: &TableIdent) -> Known {
        if let Some(entry) = self.relations.iter().filter(|r| r.is_now(ident)).find_map(|r| r.now.clone()) {
            return Known::Now(entry);
        }
        let gone = self.relations.iter().any(|r| r.was(ident));
        match gone || self.is_new_namespace(&ident.namespace) {
            true => Known::Gone,
            false => Known::Untouched,
        }
    }

    /// Nothing that the catalog may have in it is seen any more.
    pub fn is_new_namespace(&self, name: &str) -> bool {
        let oid = |entry: &Option<NamespaceEntry>| entry.as_ref().map(|entry| entry.oid);
        self.namespaces.get(name).is_some_and(|namespace| oid(&namespace.before) != oid(&namespace.now))
    }

    /// The relation that an entry is of, touched from now on.
    pub fn touch(&mut self, entry: &Entry, seen: Option<Arc<TableSnapshot>>) -> &mut Relation {
        let at = self.relations.iter().position(|r| r.is_now(entry.ident()));
        let at = at.unwrap_or_else(|| {
            let relation = Relation {
                before: Some(entry.clone()),
                now: Some(entry.clone()),
                base: seen.clone(),
                pending: None,
                current: seen,
            };
            self.relations.push(relation);
            self.relations.len() - 1
        });
        &mut self.relations[at]
    }

    pub fn changed(&self) -> impl Iterator<Item = &Relation> {
        self.relations.iter().filter(|relation| relation.is_changed())
    }

    pub fn changed_namespaces(&self) -> impl Iterator<Item = (&String, &Namespace)> {
        self.namespaces.iter().filter(|(_, namespace)| namespace.before != namespace.now)
    }

    pub fn changed_documents(&self) -> impl Iterator<Item = &DocumentChange> {
        self.documents.values().filter(|change| change.expected != change.new)
    }

    pub fn has_changes(&self) -> bool {
        self.changed().next().is_some()
            || self.changed_namespaces().next().is_some()
            || self.changed_documents().next().is_some()
    }

    /// Whether the changes can be made at once, one of `changing`'s rows or properties among them. Fails
    /// with `Unsupported`.
    pub fn check(&self, changing: Option<&Table>, transactional: bool) -> Result<()> {
        let is_changing = |r: &&Relation| changing.is_some_and(|table| r.is_now(&table.ident));
        let touched = self.relations.iter().filter(|r| r.is_changed() || is_changing(r));
        let mut effects: Vec<Effect> = touched
            .map(|r| Effect {
                ident: r.before.as_ref().or(r.now.as_ref()).map(|entry| entry.ident().clone()),
                pointer: match (&r.before, &r.now) {
                    (before, now) if before == now => Pointer::Stays,
                    (None, Some(now)) if now.pointer().is_empty() => Pointer::Appears,
                    (Some(_), None) => Pointer::Goes,
                    _ => Pointer::Moves,
                },
                logged: (r.has_pending() || is_changing(&r)) && r.has_own_log(),
            })
            .collect();
        if let Some(table) = changing.filter(|_| !self.relations.iter().any(|r| is_changing(&r))) {
            let published = table.snapshot.version != TableVersion::Unpublished;
            let logged = published && table.snapshot.format == TableFormat::Delta;
            effects.push(Effect { ident: Some(table.ident.clone()), pointer: Pointer::Stays, logged });
        }
        let namespaces = self.changed_namespaces();
        effects.extend(namespaces.map(|_| Effect { ident: None, pointer: Pointer::Moves, logged: false }));
        let documents = self.changed_documents();
        effects.extend(documents.map(|_| Effect { ident: None, pointer: Pointer::Moves, logged: false }));
        let several = effects.len() > 1;
        let stands_alone = |effect: &&Effect| match transactional {
            true => effect.logged && (several || effect.pointer != Pointer::Stays),
            false => several || effect.pointer == Pointer::Moves,
        };
        match effects.iter().find(stands_alone) {
            Some(effect) => Err(effect.not_alone()),
            None => Ok(()),
        }
    }
}

/// What COMMIT will do.
struct Effect {
    /// `None`: to a namespace.
    ident: Option<TableIdent>,
    pointer: Pointer,
    /// It will be a commit to the log of a Delta table that others see.
    logged: bool,
}

/// What becomes of an entry.
#[derive(PartialEq)]
enum Pointer {
    Stays,
    Appears,
    Goes,
    /// It is renamed, or replaced, or points to a table that others have made.
    Moves,
}

impl Effect {
    fn not_alone(&self) -> Error {
        let object = match (&self.ident, self.logged) {
            (Some(ident), true) => format!("a transaction that changes Delta table \"{ident}\""),
            _ => "a transaction in a catalog of this type".to_string(),
        };
        Error::unsupported(object, "more than that one change")
    }
}
