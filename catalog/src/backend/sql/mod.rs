//! The embedded SQL catalog, in the layout of Iceberg's SQL/JDBC catalog: pyiceberg's `SqlCatalog`
//! and Java's `JdbcCatalog` open the same database while we run, and each sees the other's commits
//! at its next statement.
//!
//! Delta tables, external marks and object identifiers are in tables of our own. Every change is one
//! transaction. The SQL is portable; what is SQLite's alone is in [`sqlite`].

mod changes;
mod documents;
mod layout;
mod namespaces;
mod sqlite;
mod tables;
mod views;

use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;

use self::changes::{Changes, Refused};
use self::layout::{EXISTS_PROPERTY, Layout};
use self::sqlite::{Database, Driver, Write};
use self::tables::TableRow;
use self::views::ViewRow;
use super::change::{ApplyOutcome, EntryChange};
use super::document::{Document, DocumentChange, DocumentKey, JournalEntry, TASK};
use super::{Backend, NamespaceEntry, NewTableEntry, Oid, SwapOutcome, TableEntry, ViewEntry};
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
}

impl SqlBackend {
    /// Opens the SQLite database file at `path` and creates what is missing of file, tables and
    /// namespace `public`. `warehouse` is the location below which new tables are placed.
    ///
    /// Fails with `CatalogDatabase`, naming the file.
    pub async fn open(path: impl AsRef<Path>, warehouse: &str, catalog: &str) -> Result<Self> {
        let database = Database::open(path.as_ref()).await?;
        let layout = layout::prepare(&database, catalog).await?;
        Ok(Self {
            database,
            layout,
            catalog: catalog.to_string(),
            warehouse: warehouse.trim_end_matches('/').to_string(),
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
        transaction.commit().await.map_err(|e| self.error(e))
    }

    /// Gives OIDs to everything that other programs have created since the last look.
    async fn assign_oids(&self) -> Result<()> {
        let mut t = self.database.write().await?;
        for statement in [namespaces::ASSIGN_OIDS, tables::ASSIGN_OIDS] {
            tables::run(&mut t, statement, &[&self.catalog]).await.map_err(|e| self.error(e))?;
        }
        self.commit(t).await
    }

    async fn namespace_rows(&self) -> Result<Vec<(String, Option<i64>)>> {
        sqlx::query_as::<Driver, (String, Option<i64>)>(namespaces::LIST)
            .bind(&self.catalog)
            .fetch_all(self.database.readers())
            .await
            .map_err(|e| self.error(e))
    }

    /// Tables of a namespace, or the one called `name`; one row for each name.
    async fn table_rows(&self, namespace: &str, name: Option<&str>) -> Result<Vec<TableRow>> {
        let typed = self.layout.typed;
        let statement = if name.is_some() { tables::select_one(typed) } else { tables::select_all(typed) };
        let mut query = sqlx::query::<Driver>(statement).bind(&self.catalog).bind(namespace);
        if let Some(name) = name {
            query = query.bind(name);
        }
        let rows = query.fetch_all(self.database.readers()).await.map_err(|e| self.error(e))?;
        let rows: sqlx::Result<Vec<_>> = rows.iter().map(TableRow::read).collect();
        let mut rows = rows.map_err(|e| self.error(e))?;
        rows.dedup_by(|later, first| later.name == first.name);
        Ok(rows)
    }

    /// As [`Self::table_rows`], every table with an OID.
    async fn table_entries(&self, namespace: &str, name: Option<&str>) -> Result<Vec<TableEntry>> {
        let mut rows = self.table_rows(namespace, name).await?;
        if rows.iter().any(|row| row.oid.is_none()) {
            self.assign_oids().await?;
            rows = self.table_rows(namespace, name).await?;
        }
        // A table without an OID now was created since: it will be seen at the next look.
        let entries = rows.into_iter().filter_map(|row| row.oid.map(|oid| (row, oid)));
        entries
            .map(|(row, oid)| {
                Ok(TableEntry {
                    ident: TableIdent::new(namespace, row.name),
                    format: row.format,
                    pointer: row.pointer,
                    external: row.external,
                    oid: to_oid(oid)?,
                })
            })
            .collect()
    }

    async fn view_rows(&self, namespace: &str, name: Option<&str>) -> Result<Vec<ViewRow>> {
        let statement = if name.is_some() { views::SELECT_ONE } else { views::SELECT_ALL };
        let mut query = sqlx::query::<Driver>(statement).bind(&self.catalog).bind(namespace);
        if let Some(name) = name {
            query = query.bind(name);
        }
        let rows = query.fetch_all(self.database.readers()).await.map_err(|e| self.error(e))?;
        rows.iter().map(ViewRow::read).collect::<sqlx::Result<_>>().map_err(|e| self.error(e))
    }

    /// As [`Self::view_rows`], every view with an OID.
    async fn view_entries(&self, namespace: &str, name: Option<&str>) -> Result<Vec<ViewEntry>> {
        if !self.layout.typed {
            return Ok(Vec::new());
        }
        let mut rows = self.view_rows(namespace, name).await?;
        if rows.iter().any(|row| row.oid.is_none()) {
            self.assign_oids().await?;
            rows = self.view_rows(namespace, name).await?;
        }
        let entries = rows.into_iter().filter_map(|row| row.oid.map(|oid| (row, oid)));
        entries
            .map(|(row, oid)| {
                let ident = TableIdent::new(namespace, row.name);
                Ok(ViewEntry { ident, pointer: row.pointer, oid: to_oid(oid)? })
            })
            .collect()
    }

    async fn require_namespace(&self, t: &mut Write, name: &str) -> Result<()> {
        match namespaces::exists(t, &self.catalog, name).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::NamespaceNotFound(name.to_string())),
            Err(e) => Err(self.error(e)),
        }
    }

    async fn require_free_name(&self, t: &mut Write, ident: &TableIdent) -> Result<()> {
        match tables::name_is_taken(t, &self.catalog, ident).await {
            Ok(false) => Ok(()),
            Ok(true) => Err(Error::TableExists(ident.clone())),
            Err(e) => Err(self.error(e)),
        }
    }
}

#[async_trait]
impl Backend for SqlBackend {
    fn warehouse(&self) -> &str {
        &self.warehouse
    }

    async fn namespaces(&self) -> Result<Vec<NamespaceEntry>> {
        let mut rows = self.namespace_rows().await?;
        if rows.iter().any(|(_, oid)| oid.is_none()) {
            self.assign_oids().await?;
            rows = self.namespace_rows().await?;
        }
        let mut entries: BTreeMap<String, NamespaceEntry> = BTreeMap::new();
        for (name, oid) in rows {
            if let Some(oid) = oid {
                let entry =
                    NamespaceEntry { name: name.clone(), oid: to_oid(oid)?, properties: BTreeMap::new() };
                entries.insert(name, entry);
            }
        }
        let properties = sqlx::query_as::<Driver, (String, String, String)>(namespaces::PROPERTIES)
            .bind(&self.catalog)
            .fetch_all(self.database.readers())
            .await
            .map_err(|e| self.error(e))?;
        for (namespace, key, value) in properties {
            if let Some(entry) = entries.get_mut(&namespace)
                && key != EXISTS_PROPERTY
            {
                entry.properties.insert(key, value);
            }
        }
        Ok(entries.into_values().collect())
    }

    async fn create_namespace(&self, name: &str, properties: &BTreeMap<String, String>) -> Result<()> {
        check_name("schema", name)?;
        let mut t = self.database.write().await?;
        if namespaces::exists(&mut t, &self.catalog, name).await.map_err(|e| self.error(e))? {
            return Err(Error::NamespaceExists(name.to_string()));
        }
        namespaces::insert(&mut t, &self.catalog, name, properties).await.map_err(|e| self.error(e))?;
        self.commit(t).await
    }

    async fn set_namespace_property(&self, name: &str, key: &str, value: Option<&str>) -> Result<()> {
        let mut t = self.database.write().await?;
        self.require_namespace(&mut t, name).await?;
        // The row that says that it exists may be the only one.
        let recorded = namespaces::set_property(&mut t, &self.catalog, name, key, value).await;
        recorded.map_err(|e| self.error(e))?;
        self.commit(t).await
    }

    async fn drop_namespace(&self, name: &str) -> Result<()> {
        let mut t = self.database.write().await?;
        self.require_namespace(&mut t, name).await?;
        let has_tables = namespaces::has_tables(&mut t, &self.catalog, name).await;
        let has_tasks = documents::has(&mut t, &self.catalog, TASK, name).await;
        if has_tables.map_err(|e| self.error(e))? || has_tasks.map_err(|e| self.error(e))? {
            return Err(Error::NamespaceNotEmpty(name.to_string()));
        }
        documents::delete_all_in(&mut t, &self.catalog, name).await.map_err(|e| self.error(e))?;
        namespaces::delete(&mut t, &self.catalog, name).await.map_err(|e| self.error(e))?;
        self.commit(t).await
    }

    async fn tables(&self, namespace: &str) -> Result<Vec<TableEntry>> {
        let entries = self.table_entries(namespace, None).await?;
        if entries.is_empty() {
            let exists = sqlx::query::<Driver>(namespaces::EXISTS)
                .bind(&self.catalog)
                .bind(namespace)
                .fetch_optional(self.database.readers())
                .await
                .map_err(|e| self.error(e))?;
            exists.ok_or_else(|| Error::NamespaceNotFound(namespace.to_string()))?;
        }
        Ok(entries)
    }

    async fn table(&self, ident: &TableIdent) -> Result<Option<TableEntry>> {
        let mut entries = self.table_entries(&ident.namespace, Some(&ident.name)).await?;
        Ok(entries.pop())
    }

    async fn create_table(&self, entry: &NewTableEntry) -> Result<()> {
        check_name("table", &entry.ident.name)?;
        let mut t = self.database.write().await?;
        self.require_namespace(&mut t, &entry.ident.namespace).await?;
        self.require_free_name(&mut t, &entry.ident).await?;
        match tables::insert(&mut t, &self.catalog, self.layout.typed, entry).await {
            Ok(()) => self.commit(t).await,
            Err(e) if sqlite::is_constraint_violation(&e) => Err(Error::TableExists(entry.ident.clone())),
            Err(e) => Err(self.error(e)),
        }
    }

    async fn drop_table(&self, ident: &TableIdent) -> Result<()> {
        let mut t = self.database.write().await?;
        match tables::delete(&mut t, &self.catalog, self.layout.typed, ident).await {
            Ok(true) => {}
            Ok(false) => return Err(Error::TableNotFound(ident.clone())),
            Err(e) => return Err(self.error(e)),
        }
        self.keep_namespace(&mut t, &ident.namespace).await?;
        self.commit(t).await
    }

    async fn rename_table(&self, from: &TableIdent, to: &TableIdent) -> Result<()> {
        check_name("table", &to.name)?;
        let mut t = self.database.write().await?;
        if !tables::name_is_taken(&mut t, &self.catalog, from).await.map_err(|e| self.error(e))? {
            return Err(Error::TableNotFound(from.clone()));
        }
        self.require_namespace(&mut t, &to.namespace).await?;
        self.require_free_name(&mut t, to).await?;
        match tables::rename(&mut t, &self.catalog, self.layout.typed, from, to).await {
            Ok(true) => {}
            Ok(false) => return Err(Error::TableNotFound(from.clone())),
            Err(e) if sqlite::is_constraint_violation(&e) => return Err(Error::TableExists(to.clone())),
            Err(e) => return Err(self.error(e)),
        }
        self.keep_namespace(&mut t, &from.namespace).await?;
        self.commit(t).await
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
        let mut t = self.database.write().await?;
        self.require_namespace(&mut t, &ident.namespace).await?;
        self.require_free_name(&mut t, ident).await?;
        tables::forget(&mut t, &self.catalog, ident).await.map_err(|e| self.error(e))?;
        let values = [&*self.catalog, &ident.namespace, &ident.name, pointer];
        match tables::run(&mut t, views::INSERT, &values).await {
            Ok(_) => self.commit(t).await,
            Err(e) if sqlite::is_constraint_violation(&e) => Err(Error::TableExists(ident.clone())),
            Err(e) => Err(self.error(e)),
        }
    }

    async fn drop_view(&self, ident: &TableIdent) -> Result<()> {
        self.check_views(ident)?;
        let mut t = self.database.write().await?;
        let values = [&*self.catalog, &ident.namespace, &ident.name];
        if tables::run(&mut t, views::DELETE, &values).await.map_err(|e| self.error(e))? == 0 {
            return Err(Error::TableNotFound(ident.clone()));
        }
        self.keep_namespace(&mut t, &ident.namespace).await?;
        self.commit(t).await
    }

    async fn rename_view(&self, from: &TableIdent, to: &TableIdent) -> Result<()> {
        check_name("view", &to.name)?;
        self.check_views(from)?;
        let mut t = self.database.write().await?;
        self.require_namespace(&mut t, &to.namespace).await?;
        self.require_free_name(&mut t, to).await?;
        let values = [&*self.catalog, &from.namespace, &from.name, &to.namespace, &to.name];
        match tables::run(&mut t, views::RENAME, &values).await {
            Ok(0) => return Err(Error::TableNotFound(from.clone())),
            Ok(_) => {}
            Err(e) if sqlite::is_constraint_violation(&e) => return Err(Error::TableExists(to.clone())),
            Err(e) => return Err(self.error(e)),
        }
        self.keep_namespace(&mut t, &from.namespace).await?;
        self.commit(t).await
    }

    async fn swap_pointer(&self, ident: &TableIdent, expected: &str, new: &str) -> Result<SwapOutcome> {
        let mut t = self.database.write().await?;
        let values = [&*self.catalog, &ident.namespace, &ident.name, expected, new];
        // Until COMMIT is sent, an error undoes the transaction: certainly nothing happened.
        if tables::run(&mut t, tables::SWAP, &values).await.map_err(|e| self.error(e))? == 0 {
            return Ok(SwapOutcome::Moved);
        }
        match t.commit().await {
            Ok(()) => Ok(SwapOutcome::Swapped),
            Err(e) if sqlite::is_certainly_not_written(&e) => Err(self.error(e)),
            Err(e) => Ok(SwapOutcome::Unknown(Box::new(self.error(e)))),
        }
    }

    async fn documents(&self, kind: &str) -> Result<Vec<Document>> {
        self.list_documents(kind).await
    }

    async fn document(&self, key: &DocumentKey) -> Result<Option<String>> {
        self.find_document(key).await
    }

    async fn swap_document(&self, change: &DocumentChange) -> Result<bool> {
        self.change_document(change).await
    }

    async fn journal(&self, kind: &str) -> Result<Vec<JournalEntry>> {
        self.read_journal(kind).await
    }

    async fn add_to_journal(&self, entry: &JournalEntry, keep: u32) -> Result<()> {
        self.write_journal(entry, keep).await
    }

    fn is_transactional(&self) -> bool {
        true
    }

    async fn reserve_oid(&self, _ident: &TableIdent) -> Result<Oid> {
        let mut t = self.database.write().await?;
        let oid = changes::reserve_oid(&mut t, &self.catalog).await.map_err(|e| self.error(e))?;
        self.commit(t).await?;
        to_oid(oid)
    }

    async fn apply(&self, changes: &[EntryChange]) -> Result<ApplyOutcome> {
        let mut t = self.database.write().await?;
        let mut making = Changes { t: &mut t, catalog: &self.catalog, typed: self.layout.typed };
        // Until COMMIT is sent, an error undoes the transaction: certainly nothing happened.
        match making.apply(changes).await {
            Ok(()) => {}
            Err(Refused::Lost(number)) => return Ok(ApplyOutcome::Lost(number)),
            Err(Refused::Certainly(e)) => return Err(e),
            Err(Refused::Database(e)) => return Err(self.error(e)),
        }
        match t.commit().await {
            Ok(()) => Ok(ApplyOutcome::Applied),
            Err(e) if sqlite::is_certainly_not_written(&e) => Err(self.error(e)),
            Err(e) => Ok(ApplyOutcome::Unknown(Box::new(self.error(e)))),
        }
    }

    async fn change_counter(&self) -> Result<Option<i64>> {
        self.database.version().await.map(Some)
    }
}

impl SqlBackend {
    /// A namespace that another program made by putting a table into it must not vanish with its
    /// last table.
    async fn keep_namespace(&self, t: &mut Write, name: &str) -> Result<()> {
        let exists = namespaces::exists(t, &self.catalog, name).await.map_err(|e| self.error(e))?;
        if !exists {
            namespaces::keep(t, &self.catalog, name).await.map_err(|e| self.error(e))?;
        }
        Ok(())
    }
}

fn to_oid(value: i64) -> Result<Oid> {
    Oid::try_from(value).map_err(|_| Error::Internal(format!("object identifier {value} is out of range")))
}

#[cfg(test)]
mod tests;
