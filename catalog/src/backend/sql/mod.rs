//! The SQL catalog, in the layout of Iceberg's SQL/JDBC catalog, in a SQLite file or in a PostgreSQL
//! database: pyiceberg's `SqlCatalog` and Java's `JdbcCatalog` open the same database while we run, and
//! each sees the other's commits at its next statement.
//!
//! Delta tables, external marks and object identifiers are in tables of our own. Every change is one
//! transaction. The SQL is the same for both databases; what they do differently is in [`database`].

mod changes;
mod database;
mod documents;
mod layout;
mod namespaces;
mod postgres;
mod reads;
mod sqlite;
mod tables;
mod views;
mod wal_index;
mod writes;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use self::database::{CommitFailure, Database, Write};
use self::layout::Layout;
pub use self::postgres::PostgresOptions;
use super::change::{ApplyOutcome, EntryChange};
use super::document::{Document, DocumentChange, DocumentKey, JournalEntry};
use super::{Backend, ChangeToken, NamespaceEntry, NewTableEntry, Oid, SwapOutcome, TableEntry, ViewEntry};
use crate::TableIdent;
use crate::error::{Error, Result};
use crate::name::check_name;

/// A catalog in an SQL database.
#[derive(Debug)]
pub struct SqlBackend {
    database: Database,
    layout: Layout,
    /// `catalog_name` of all rows that are ours.
    catalog: String,
    warehouse: String,
    /// Those of a state of the database: every statement asks for them.
    namespaces: Mutex<Option<(State, Arc<Vec<NamespaceEntry>>)>>,
}

/// What differs after every change of entries, whoever made it.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Token(ChangeToken),
    Version(i64),
}

impl SqlBackend {
    /// Opens the SQLite database file at `path` and creates what is missing of file, tables and
    /// namespace `public`. `warehouse` is the location below which new tables are placed.
    ///
    /// Fails with `CatalogDatabase`, naming the file.
    pub fn open<'a>(path: &'a Path, warehouse: &'a str, catalog: &'a str) -> BoxFuture<'a, Result<Self>> {
        Box::pin(async move { Self::prepare(Database::open_sqlite(path).await?, warehouse, catalog).await })
    }

    /// As [`Self::open`], in a PostgreSQL database, which other servers use at the same time.
    ///
    /// Fails with `CatalogUnavailable`, `CatalogDatabase` and `Invalid`, naming the database.
    pub fn open_postgres<'a>(
        options: &'a PostgresOptions,
        warehouse: &'a str,
        catalog: &'a str,
    ) -> BoxFuture<'a, Result<Self>> {
        Box::pin(async move {
            Self::prepare(Database::open_postgres(options, catalog).await?, warehouse, catalog).await
        })
    }

    async fn prepare(database: Database, warehouse: &str, catalog: &str) -> Result<Self> {
        let layout = layout::prepare(&database, catalog).await?;
        Ok(Self {
            database,
            layout,
            catalog: catalog.to_string(),
            warehouse: warehouse.trim_end_matches('/').to_string(),
            namespaces: Mutex::default(),
        })
    }

    /// Closes the database. Later calls fail.
    pub async fn close(&self) {
        self.database.close().await;
    }

    fn error(&self, error: sqlx::Error) -> Error {
        self.database.error(error)
    }

    async fn commit(&self, transaction: Write) -> Result<()> {
        Ok(self.database.commit(transaction).await?)
    }
}

#[async_trait]
impl Backend for SqlBackend {
    fn warehouse(&self) -> &str {
        &self.warehouse
    }

    fn change_token(&self) -> Option<ChangeToken> {
        self.database.change_token()
    }

    async fn namespaces(&self) -> Result<Arc<Vec<NamespaceEntry>>> {
        // Before reading: what changes meanwhile makes the list stale, not wrong for ever.
        let state = match self.database.change_token() {
            Some(token) => State::Token(token),
            None => State::Version(self.database.version().await?),
        };
        if let Some((known, entries)) = &*self.namespaces.lock()
            && *known == state
        {
            return Ok(entries.clone());
        }
        let entries = Arc::new(self.namespace_entries().await?);
        *self.namespaces.lock() = Some((state, entries.clone()));
        Ok(entries)
    }

    async fn create_namespace(&self, name: &str, properties: &BTreeMap<String, String>) -> Result<()> {
        check_name("schema", name)?;
        let changed = self.database.changing(|| self.with_namespace(name, properties)).await?;
        self.commit(changed).await
    }

    async fn set_namespace_property(&self, name: &str, key: &str, value: Option<&str>) -> Result<()> {
        let changed = self.database.changing(|| self.with_namespace_property(name, key, value)).await?;
        self.commit(changed).await
    }

    async fn drop_namespace(&self, name: &str) -> Result<()> {
        let changed = self.database.changing(|| self.without_namespace(name)).await?;
        self.commit(changed).await
    }

    async fn tables(&self, namespace: &str) -> Result<Vec<TableEntry>> {
        let entries = self.table_entries(namespace, None).await?;
        if entries.is_empty() && !self.has_namespace(namespace).await? {
            return Err(Error::NamespaceNotFound(namespace.to_string()));
        }
        Ok(entries)
    }

    async fn table(&self, ident: &TableIdent) -> Result<Option<TableEntry>> {
        let mut entries = self.table_entries(&ident.namespace, Some(&ident.name)).await?;
        Ok(entries.pop())
    }

    async fn create_table(&self, entry: &NewTableEntry) -> Result<()> {
        check_name("table", &entry.ident.name)?;
        let changed = self.database.changing(|| self.with_table(entry)).await?;
        self.commit(changed).await
    }

    async fn drop_table(&self, ident: &TableIdent) -> Result<()> {
        let changed = self.database.changing(|| self.without_table(ident)).await?;
        self.commit(changed).await
    }

    async fn rename_table(&self, from: &TableIdent, to: &TableIdent) -> Result<()> {
        check_name("table", &to.name)?;
        let changed = self.database.changing(|| self.with_renamed_table(from, to)).await?;
        self.commit(changed).await
    }

    async fn views(&self, namespace: &str) -> Result<Vec<ViewEntry>> {
        self.view_entries(namespace, None).await
    }

    async fn view(&self, ident: &TableIdent) -> Result<Option<ViewEntry>> {
        Ok(self.view_entries(&ident.namespace, Some(&ident.name)).await?.pop())
    }

    fn check_views(&self, ident: &TableIdent) -> Result<()> {
        if self.layout.typed {
            return Ok(());
        }
        let feature = "a view, in a catalog database of the older layout without the column iceberg_type";
        Err(Error::unsupported(ident, feature))
    }

    async fn create_view(&self, ident: &TableIdent, pointer: &str) -> Result<()> {
        check_name("view", &ident.name)?;
        self.check_views(ident)?;
        let changed = self.database.changing(|| self.with_view(ident, pointer)).await?;
        self.commit(changed).await
    }

    async fn drop_view(&self, ident: &TableIdent) -> Result<()> {
        self.check_views(ident)?;
        let changed = self.database.changing(|| self.without_view(ident)).await?;
        self.commit(changed).await
    }

    async fn rename_view(&self, from: &TableIdent, to: &TableIdent) -> Result<()> {
        check_name("view", &to.name)?;
        self.check_views(from)?;
        let changed = self.database.changing(|| self.with_renamed_view(from, to)).await?;
        self.commit(changed).await
    }

    async fn swap_pointer(&self, ident: &TableIdent, expected: &str, new: &str) -> Result<SwapOutcome> {
        // Until COMMIT is sent, an error undoes the transaction: certainly nothing happened.
        let swapped = self.database.changing(|| self.with_pointer(ident, expected, new)).await?;
        let Some(swapped) = swapped else { return Ok(SwapOutcome::Moved) };
        match self.database.commit(swapped).await {
            Ok(()) => Ok(SwapOutcome::Swapped),
            Err(CommitFailure::Undone(e)) => Err(e),
            Err(CommitFailure::Unknown(e)) => Ok(SwapOutcome::Unknown(Box::new(e))),
        }
    }

    async fn documents(&self, kind: &str) -> Result<Vec<Document>> {
        self.list_documents(kind).await
    }

    async fn document(&self, key: &DocumentKey) -> Result<Option<String>> {
        self.find_document(key).await
    }

    async fn swap_document(&self, change: &DocumentChange) -> Result<bool> {
        let changed = self.database.changing(|| self.with_document(change)).await?;
        let Some(changed) = changed else { return Ok(false) };
        self.commit(changed).await.map(|()| true)
    }

    async fn journal(&self, kind: &str) -> Result<Vec<JournalEntry>> {
        self.read_journal(kind).await
    }

    async fn add_to_journal(&self, entry: &JournalEntry, keep: u32) -> Result<()> {
        let changed = self.database.changing(|| self.with_entry(entry, keep)).await?;
        self.commit(changed).await
    }

    fn is_transactional(&self) -> bool {
        true
    }

    async fn reserve_oid(&self, _ident: &TableIdent) -> Result<Oid> {
        let (changed, oid) = self.database.changing(|| self.with_reserved_oid()).await?;
        self.commit(changed).await?;
        reads::to_oid(oid)
    }

    async fn apply(&self, changes: &[EntryChange]) -> Result<ApplyOutcome> {
        // Until COMMIT is sent, an error undoes the transaction: certainly nothing happened.
        let changed = match self.database.changing(|| self.with_changes(changes)).await? {
            Ok(changed) => changed,
            Err(lost) => return Ok(ApplyOutcome::Lost(lost)),
        };
        match self.database.commit(changed).await {
            Ok(()) => Ok(ApplyOutcome::Applied),
            Err(CommitFailure::Undone(e)) => Err(e),
            Err(CommitFailure::Unknown(e)) => Ok(ApplyOutcome::Unknown(Box::new(e))),
        }
    }

    async fn change_counter(&self) -> Result<Option<i64>> {
        self.database.version().await.map(Some)
    }

    async fn count_change(&self) -> Result<()> {
        let changed = self.database.changing(|| self.with_counted_change()).await?;
        self.commit(changed).await
    }
}

#[cfg(test)]
mod tests;
