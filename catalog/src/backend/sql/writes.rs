//! The changes of the catalog, each in a transaction that is handed back before its COMMIT.

use std::collections::BTreeMap;

use super::changes::{self, Changes, Refused};
use super::database::{Driver, Write, is_constraint_violation};
use super::{SqlBackend, documents, namespaces, tables, views};
use crate::TableIdent;
use crate::backend::NewTableEntry;
use crate::backend::change::EntryChange;
use crate::backend::document::TASK;
use crate::error::{Error, Result};

const COUNT_CHANGE: &str = "INSERT INTO auric_changes AS c (slot, changes) VALUES (CAST($1 AS INTEGER), 1) \
     ON CONFLICT (slot) DO UPDATE SET changes = c.changes + 1";

impl SqlBackend {
    pub(super) async fn with_oids(&self) -> Result<Write> {
        let mut t = self.database.write().await?;
        for statement in [namespaces::ASSIGN_OIDS, tables::ASSIGN_OIDS] {
            tables::run(&mut t, statement, &[&self.catalog]).await.map_err(|e| self.error(e))?;
        }
        Ok(t)
    }

    pub(super) async fn with_namespace(
        &self,
        name: &str,
        properties: &BTreeMap<String, String>,
    ) -> Result<Write> {
        let mut t = self.database.write().await?;
        if namespaces::exists(&mut t, &self.catalog, name).await.map_err(|e| self.error(e))? {
            return Err(Error::NamespaceExists(name.to_string()));
        }
        namespaces::insert(&mut t, &self.catalog, name, properties).await.map_err(|e| self.error(e))?;
        Ok(t)
    }

    pub(super) async fn with_namespace_property(
        &self,
        name: &str,
        key: &str,
        value: Option<&str>,
    ) -> Result<Write> {
        let mut t = self.database.write().await?;
        self.require_namespace(&mut t, name).await?;
        // The row that says that it exists may be the only one.
        let recorded = namespaces::set_property(&mut t, &self.catalog, name, key, value).await;
        recorded.map_err(|e| self.error(e))?;
        Ok(t)
    }

    pub(super) async fn without_namespace(&self, name: &str) -> Result<Write> {
        let mut t = self.database.write().await?;
        self.require_namespace(&mut t, name).await?;
        let has_tables = namespaces::has_tables(&mut t, &self.catalog, name).await;
        let has_tasks = documents::has(&mut t, &self.catalog, TASK, name).await;
        if has_tables.map_err(|e| self.error(e))? || has_tasks.map_err(|e| self.error(e))? {
            return Err(Error::NamespaceNotEmpty(name.to_string()));
        }
        documents::delete_all_in(&mut t, &self.catalog, name).await.map_err(|e| self.error(e))?;
        namespaces::delete(&mut t, &self.catalog, name).await.map_err(|e| self.error(e))?;
        Ok(t)
    }

    pub(super) async fn with_table(&self, entry: &NewTableEntry) -> Result<Write> {
        let mut t = self.database.write().await?;
        self.require_namespace(&mut t, &entry.ident.namespace).await?;
        self.require_free_name(&mut t, &entry.ident).await?;
        match tables::insert(&mut t, &self.catalog, self.layout.typed, entry).await {
            Ok(()) => Ok(t),
            Err(e) if is_constraint_violation(&e) => Err(Error::TableExists(entry.ident.clone())),
            Err(e) => Err(self.error(e)),
        }
    }

    pub(super) async fn without_table(&self, ident: &TableIdent) -> Result<Write> {
        let mut t = self.database.write().await?;
        match tables::delete(&mut t, &self.catalog, self.layout.typed, ident).await {
            Ok(true) => {}
            Ok(false) => return Err(Error::TableNotFound(ident.clone())),
            Err(e) => return Err(self.error(e)),
        }
        self.keep_namespace(&mut t, &ident.namespace).await?;
        Ok(t)
    }

    pub(super) async fn with_renamed_table(&self, from: &TableIdent, to: &TableIdent) -> Result<Write> {
        let mut t = self.database.write().await?;
        if !tables::name_is_taken(&mut t, &self.catalog, from).await.map_err(|e| self.error(e))? {
            return Err(Error::TableNotFound(from.clone()));
        }
        self.require_namespace(&mut t, &to.namespace).await?;
        self.require_free_name(&mut t, to).await?;
        match tables::rename(&mut t, &self.catalog, self.layout.typed, from, to).await {
            Ok(true) => {}
            Ok(false) => return Err(Error::TableNotFound(from.clone())),
            Err(e) if is_constraint_violation(&e) => return Err(Error::TableExists(to.clone())),
            Err(e) => return Err(self.error(e)),
        }
        self.keep_namespace(&mut t, &from.namespace).await?;
        Ok(t)
    }

    pub(super) async fn with_view(&self, ident: &TableIdent, pointer: &str) -> Result<Write> {
        let mut t = self.database.write().await?;
        self.require_namespace(&mut t, &ident.namespace).await?;
        self.require_free_name(&mut t, ident).await?;
        tables::forget(&mut t, &self.catalog, ident).await.map_err(|e| self.error(e))?;
        let values = [&*self.catalog, &ident.namespace, &ident.name, pointer];
        match tables::run(&mut t, views::INSERT, &values).await {
            Ok(_) => Ok(t),
            Err(e) if is_constraint_violation(&e) => Err(Error::TableExists(ident.clone())),
            Err(e) => Err(self.error(e)),
        }
    }

    pub(super) async fn without_view(&self, ident: &TableIdent) -> Result<Write> {
        let mut t = self.database.write().await?;
        let values = [&*self.catalog, &ident.namespace, &ident.name];
        if tables::run(&mut t, views::DELETE, &values).await.map_err(|e| self.error(e))? == 0 {
            return Err(Error::TableNotFound(ident.clone()));
        }
        self.keep_namespace(&mut t, &ident.namespace).await?;
        Ok(t)
    }

    pub(super) async fn with_renamed_view(&self, from: &TableIdent, to: &TableIdent) -> Result<Write> {
        let mut t = self.database.write().await?;
        self.require_namespace(&mut t, &to.namespace).await?;
        self.require_free_name(&mut t, to).await?;
        let values = [&*self.catalog, &from.namespace, &from.name, &to.namespace, &to.name];
        match tables::run(&mut t, views::RENAME, &values).await {
            Ok(0) => return Err(Error::TableNotFound(from.clone())),
            Ok(_) => {}
            Err(e) if is_constraint_violation(&e) => return Err(Error::TableExists(to.clone())),
            Err(e) => return Err(self.error(e)),
        }
        self.keep_namespace(&mut t, &from.namespace).await?;
        Ok(t)
    }

    /// `None`: the pointer is not `expected`.
    pub(super) async fn with_pointer(
        &self,
        ident: &TableIdent,
        expected: &str,
        new: &str,
    ) -> Result<Option<Write>> {
        let mut t = self.database.write_beside_others().await?;
        let values = [&*self.catalog, &ident.namespace, &ident.name, expected, new];
        let swapped = tables::run(&mut t, tables::SWAP, &values).await.map_err(|e| self.error(e))?;
        Ok(Some(t).filter(|_| swapped > 0))
    }

    pub(super) async fn with_counted_change(&self) -> Result<Write> {
        let mut t = self.database.write_beside_others().await?;
        let slot = i64::from(std::process::id() % 64);
        let count = sqlx::query::<Driver>(COUNT_CHANGE).bind(slot).execute(&mut *t).await;
        count.map_err(|e| self.error(e))?;
        Ok(t)
    }

    pub(super) async fn with_reserved_oid(&self) -> Result<(Write, i64)> {
        let mut t = self.database.write_beside_others().await?;
        let oid = changes::reserve_oid(&mut t, &self.catalog).await.map_err(|e| self.error(e))?;
        Ok((t, oid))
    }

    /// `Err`: the change of this number found something else than it expected.
    pub(super) async fn with_changes(&self, changes: &[EntryChange]) -> Result<Result<Write, usize>> {
        let mut t = self.database.write().await?;
        let mut making = Changes { t: &mut t, catalog: &self.catalog, typed: self.layout.typed };
        match making.apply(changes).await {
            Ok(()) => Ok(Ok(t)),
            Err(Refused::Lost(number)) => Ok(Err(number)),
            Err(Refused::Certainly(e)) => Err(e),
            Err(Refused::Database(e)) => Err(self.error(e)),
        }
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
