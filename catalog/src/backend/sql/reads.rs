//! Looking up what is in the catalog. Everything that is seen has an OID: what other programs have made
//! gets one when it is first seen.

use std::collections::BTreeMap;

use super::database::{Driver, Row};
use super::layout::EXISTS_PROPERTY;
use super::tables::TableRow;
use super::views::ViewRow;
use super::{SqlBackend, namespaces, tables, views};
use crate::TableIdent;
use crate::backend::{NamespaceEntry, Oid, TableEntry, ViewEntry};
use crate::error::{Error, Result};

impl SqlBackend {
    /// Gives OIDs to everything that other programs have created since the last look.
    async fn assign_oids(&self) -> Result<()> {
        let changed = self.database.changing(|| self.with_oids()).await?;
        self.commit(changed).await
    }

    async fn namespace_rows(&self) -> Result<Vec<(String, Option<i64>)>> {
        let query = || sqlx::query_as::<Driver, _>(namespaces::LIST).bind(&self.catalog);
        self.database.read(|pool| query().fetch_all(pool)).await
    }

    /// All namespaces with their properties, by name.
    pub(super) async fn namespace_entries(&self) -> Result<Vec<NamespaceEntry>> {
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
        let query = || sqlx::query_as::<Driver, _>(namespaces::PROPERTIES).bind(&self.catalog);
        let properties: Vec<(String, String, String)> =
            self.database.read(|pool| query().fetch_all(pool)).await?;
        for (namespace, key, value) in properties {
            if let Some(entry) = entries.get_mut(&namespace)
                && key != EXISTS_PROPERTY
            {
                entry.properties.insert(key, value);
            }
        }
        Ok(entries.into_values().collect())
    }

    pub(super) async fn has_namespace(&self, name: &str) -> Result<bool> {
        let query = || sqlx::query::<Driver>(namespaces::EXISTS).bind(&self.catalog).bind(name);
        let found = self.database.read(|pool| query().fetch_optional(pool)).await?;
        Ok(found.is_some())
    }

    /// Rows of a namespace, or of the one name in it.
    async fn rows<T>(
        &self,
        statement: &'static str,
        namespace: &str,
        name: Option<&str>,
        read: fn(&Row) -> sqlx::Result<T>,
    ) -> Result<Vec<T>> {
        let query = || {
            let query = sqlx::query::<Driver>(statement).bind(&self.catalog).bind(namespace);
            match name {
                Some(name) => query.bind(name),
                None => query,
            }
        };
        let rows = self.database.read(|pool| query().fetch_all(pool)).await?;
        rows.iter().map(read).collect::<sqlx::Result<_>>().map_err(|e| self.error(e))
    }

    /// Tables of a namespace, or the one called `name`; one row for each name.
    async fn table_rows(&self, namespace: &str, name: Option<&str>) -> Result<Vec<TableRow>> {
        let typed = self.layout.typed;
        let statement = if name.is_some() { tables::select_one(typed) } else { tables::select_all(typed) };
        let mut rows = self.rows(statement, namespace, name, TableRow::read).await?;
        // The database may sort otherwise, as some language does.
        rows.sort_by(|a, b| (&a.name, a.format as u8).cmp(&(&b.name, b.format as u8)));
        rows.dedup_by(|later, first| later.name == first.name);
        Ok(rows)
    }

    /// As [`Self::table_rows`], every table with an OID.
    pub(super) async fn table_entries(&self, namespace: &str, name: Option<&str>) -> Result<Vec<TableEntry>> {
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
        let mut rows = self.rows(statement, namespace, name, ViewRow::read).await?;
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(rows)
    }

    /// As [`Self::view_rows`], every view with an OID.
    pub(super) async fn view_entries(&self, namespace: &str, name: Option<&str>) -> Result<Vec<ViewEntry>> {
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
}

pub(super) fn to_oid(value: i64) -> Result<Oid> {
    Oid::try_from(value).map_err(|_| Error::Internal(format!("object identifier {value} is out of range")))
}
