//! Where tables are found and where an Iceberg table's pointer is swapped. One file per catalog
//! type; every implementation passes the conformance suite (`conformance.rs`).

pub mod change;
pub mod delta_directory;
pub mod document;
pub mod sql;
pub mod temporary;

#[cfg(test)]
mod conformance;
#[cfg(test)]
pub(crate) mod postgres_server;
#[cfg(test)]
pub(crate) mod python;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use self::change::{ApplyOutcome, EntryChange};
use self::document::{Document, DocumentChange, DocumentKey, JournalEntry};
use crate::TableIdent;
use crate::error::{Error, Result};
use crate::table::{TableFormat, TableSnapshot};

/// Object identifier as Postgres clients see it: stored with the catalog, never reused.
pub type Oid = u32;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceEntry {
    pub name: String,
    pub oid: Oid,
    pub properties: BTreeMap<String, String>,
}

/// What a catalog knows of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableEntry {
    pub ident: TableIdent,
    pub format: TableFormat,
    /// Iceberg: location of the current metadata file. Delta: root location of the table.
    pub pointer: String,
    /// The files belong to somebody else (registered by LOCATION): DROP leaves them alone.
    pub external: bool,
    pub oid: Oid,
}

/// What a catalog knows of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewEntry {
    pub ident: TableIdent,
    /// Location of the current view metadata file.
    pub pointer: String,
    pub oid: Oid,
}

/// A new entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTableEntry {
    pub ident: TableIdent,
    pub format: TableFormat,
    pub pointer: String,
    pub external: bool,
}

/// Result of a compare-and-swap of an Iceberg metadata pointer.
#[derive(Debug)]
pub enum SwapOutcome {
    Swapped,
    /// The pointer was not what was expected; nothing changed.
    Moved,
    /// The connection broke while swapping.
    Unknown(Box<dyn std::error::Error + Send + Sync>),
}

/// A state of a catalog, to be compared with another one of the same catalog.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ChangeToken(pub(crate) Box<[u8]>);

/// A catalog of namespaces and tables.
#[async_trait]
pub trait Backend: Debug + Send + Sync {
    /// Root under which new tables are placed (URL without trailing slash).
    fn warehouse(&self) -> &str;

    /// Where a new table must be, if its name decides that; `None`: anywhere below the warehouse.
    fn fixed_location(&self, _ident: &TableIdent) -> Result<Option<String>> {
        Ok(None)
    }

    /// The format that all of its tables have; `None`: each has its own.
    fn only_format(&self) -> Option<TableFormat> {
        None
    }

    /// Whether its tables are temporary ones of a session.
    fn is_temporary(&self) -> bool {
        false
    }

    /// The same as before only if no entry has changed in between, whoever changes entries. To be had in
    /// microseconds; `None`: it cannot be told so quickly.
    fn change_token(&self) -> Option<ChangeToken> {
        None
    }

    async fn namespaces(&self) -> Result<Arc<Vec<NamespaceEntry>>>;
    /// Fails with `NamespaceExists`.
    async fn create_namespace(&self, name: &str, properties: &BTreeMap<String, String>) -> Result<()>;
    /// Gives a property of a namespace a value, or takes it away. Fails with `NamespaceNotFound`,
    /// `Unsupported`.
    async fn set_namespace_property(&self, name: &str, key: &str, _value: Option<&str>) -> Result<()> {
        let what = format!("the property \"{key}\" of a schema, which this type of catalog does not hold");
        Err(Error::unsupported(name, what))
    }
    /// Fails with `NamespaceNotFound`, `NamespaceNotEmpty`.
    async fn drop_namespace(&self, name: &str) -> Result<()>;

    /// Tables of a namespace, ordered by name. Fails with `NamespaceNotFound`.
    async fn tables(&self, namespace: &str) -> Result<Vec<TableEntry>>;
    /// `None`: no such table.
    async fn table(&self, ident: &TableIdent) -> Result<Option<TableEntry>>;
    /// Fails with `TableExists`, `NamespaceNotFound`.
    async fn create_table(&self, entry: &NewTableEntry) -> Result<()>;
    /// Forgets the table; its files stay. Fails with `TableNotFound`.
    async fn drop_table(&self, ident: &TableIdent) -> Result<()>;
    /// Keeps the OID. Fails with `TableNotFound`, `TableExists`, `NamespaceNotFound`.
    async fn rename_table(&self, from: &TableIdent, to: &TableIdent) -> Result<()>;
    /// Views of a namespace, ordered by name: they share their names with tables. A catalog without
    /// views has none, and fails with `Unsupported` when asked to make one.
    async fn views(&self, _namespace: &str) -> Result<Vec<ViewEntry>> {
        Ok(Vec::new())
    }
    /// `None`: no such view.
    async fn view(&self, _ident: &TableIdent) -> Result<Option<ViewEntry>> {
        Ok(None)
    }
    /// Fails with `Unsupported` where it has no place for views.
    fn check_views(&self, ident: &TableIdent) -> Result<()> {
        Err(Error::unsupported(ident, "a view, which this type of catalog does not hold"))
    }
    /// Fails with `TableExists`, `NamespaceNotFound`, `Unsupported`.
    async fn create_view(&self, ident: &TableIdent, _pointer: &str) -> Result<()> {
        self.check_views(ident)
    }
    /// Fails with `TableNotFound`.
    async fn drop_view(&self, ident: &TableIdent) -> Result<()> {
        Err(Error::TableNotFound(ident.clone()))
    }
    /// Keeps the OID. Fails with `TableNotFound`, `TableExists`, `NamespaceNotFound`.
    async fn rename_view(&self, from: &TableIdent, _to: &TableIdent) -> Result<()> {
        Err(Error::TableNotFound(from.clone()))
    }
    /// Replaces the metadata pointer of an Iceberg table or view if it still is `expected`.
    async fn swap_pointer(&self, ident: &TableIdent, expected: &str, new: &str) -> Result<SwapOutcome>;

    /// Documents of a kind, by name. A catalog that keeps none has none, and fails with `Unsupported` when
    /// it is given one.
    async fn documents(&self, _kind: &str) -> Result<Vec<Document>> {
        Ok(Vec::new())
    }
    /// `None`: no such document.
    async fn document(&self, _key: &DocumentKey) -> Result<Option<String>> {
        Ok(None)
    }
    /// `false`: what is there is not what was expected. Fails with `Unsupported`.
    async fn swap_document(&self, change: &DocumentChange) -> Result<bool> {
        let what = format!("a {}, which this type of catalog does not keep", change.key.kind);
        Err(Error::unsupported(&change.key.ident, what))
    }
    /// What was put into the journal under a kind, oldest first.
    async fn journal(&self, _kind: &str) -> Result<Vec<JournalEntry>> {
        Ok(Vec::new())
    }
    /// Of each key, the last `keep` entries stay. Nothing happens in a catalog that keeps no journal.
    async fn add_to_journal(&self, _entry: &JournalEntry, _keep: u32) -> Result<()> {
        Ok(())
    }

    /// Whether it can make several changes at once ([`Backend::apply`]).
    fn is_transactional(&self) -> bool {
        false
    }

    /// An OID for a table, view or namespace to be.
    async fn reserve_oid(&self, ident: &TableIdent) -> Result<Oid> {
        Err(Error::unsupported(ident, "a transaction, which this type of catalog does not know"))
    }

    /// Makes all of the changes or none. Fails with `TableExists`, `NamespaceExists`,
    /// `NamespaceNotFound`, `NamespaceNotEmpty`; then, as after every other error, none is made.
    async fn apply(&self, changes: &[EntryChange]) -> Result<ApplyOutcome> {
        let name = changes.first().map(EntryChange::name).unwrap_or_default();
        Err(Error::unsupported(name, "a transaction, which this type of catalog does not know"))
    }

    /// Whether this is a transaction's own view of a catalog: what is dropped may come back.
    fn is_view_of_transaction(&self) -> bool {
        false
    }

    /// Whether a transaction has changed anything.
    fn has_changes(&self) -> bool {
        false
    }

    /// A table that a transaction has changed, as it sees it.
    fn changed(&self, _entry: &TableEntry) -> Option<Arc<TableSnapshot>> {
        None
    }

    /// The version of a table that a transaction sees, if that is another than its pointer's.
    fn seen(&self, _entry: &TableEntry) -> Option<Arc<TableSnapshot>> {
        None
    }

    /// Told of the version that a table was found at.
    fn see(&self, _entry: &TableEntry, _snapshot: &Arc<TableSnapshot>) {}

    /// Whether a table that is not there yet will be at this location.
    fn is_location_taken(&self, _location: &str) -> bool {
        false
    }

    /// A number that changes when a namespace or table is created, dropped, renamed or swapped by
    /// anyone, as far as that can be told cheaply; `None` if it cannot.
    async fn change_counter(&self) -> Result<Option<i64>>;

    /// Has the number of [`Backend::change_counter`] change, for what happened outside of the catalog's own
    /// database: a Delta table was altered. Nothing happens where nothing is counted.
    async fn count_change(&self) -> Result<()> {
        Ok(())
    }
}
