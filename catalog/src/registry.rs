//! Attached catalogs, and the operations on tables that everything above this crate uses.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;

use crate::TableIdent;
use crate::backend::{Backend, NamespaceEntry, Oid, TableEntry};
use crate::error::{Error, Result};
use crate::format::Format;
use crate::storage::Storage;
use crate::table::{TableDefinition, TableFormat, TableSnapshot};

/// All attached catalogs by name (a Postgres database each).
#[derive(Debug, Clone, Default)]
pub struct Registry {
    catalogs: BTreeMap<String, Arc<Catalog>>,
}

impl Registry {
    pub fn attach(&mut self, catalog: Arc<Catalog>) {
        self.catalogs.insert(catalog.name().to_string(), catalog);
    }

    pub fn catalog(&self, name: &str) -> Result<&Arc<Catalog>> {
        self.catalogs.get(name).ok_or_else(|| Error::CatalogNotFound(name.to_string()))
    }

    pub fn catalogs(&self) -> impl Iterator<Item = &Arc<Catalog>> {
        self.catalogs.values()
    }
}

/// One attached catalog: a backend plus the formats its tables are in.
#[derive(Debug)]
pub struct Catalog {
    name: String,
    /// OID of the database.
    oid: Oid,
    backend: Arc<dyn Backend>,
    storage: Storage,
    iceberg: Arc<dyn Format>,
    delta: Arc<dyn Format>,
}

/// A table as one statement sees it: its entry and one version.
#[derive(Debug, Clone)]
pub struct Table {
    pub catalog: Arc<Catalog>,
    pub ident: TableIdent,
    /// `None` while the table is only staged (CREATE TABLE AS in progress).
    pub entry: Option<TableEntry>,
    pub snapshot: Arc<TableSnapshot>,
}

impl Catalog {
    pub fn new(name: impl Into<String>, oid: Oid, backend: Arc<dyn Backend>, storage: Storage) -> Self {
        Self {
            name: name.into(),
            oid,
            backend,
            storage,
            iceberg: Arc::new(crate::format::iceberg::IcebergFormat::default()),
            delta: Arc::new(crate::format::delta::DeltaFormat::default()),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn oid(&self) -> Oid {
        self.oid
    }

    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    pub fn format(&self, format: TableFormat) -> &Arc<dyn Format> {
        match format {
            TableFormat::Iceberg => &self.iceberg,
            TableFormat::Delta => &self.delta,
        }
    }

    pub async fn namespaces(&self) -> Result<Vec<NamespaceEntry>> {
        self.backend.namespaces().await
    }

    /// `Ok(false)`: it existed and `if_not_exists` was set.
    pub async fn create_namespace(&self, name: &str, if_not_exists: bool) -> Result<bool> {
        match self.backend.create_namespace(name, &BTreeMap::new()).await {
            Ok(()) => Ok(true),
            Err(Error::NamespaceExists(_)) if if_not_exists => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// With `cascade`, drops its tables first.
    pub async fn drop_namespace(&self, _name: &str, _cascade: bool) -> Result<()> {
        Err(Error::Internal("not written".into()))
    }

    /// Entries of a namespace's tables; none is opened.
    pub async fn tables(&self, namespace: &str) -> Result<Vec<TableEntry>> {
        self.backend.tables(namespace).await
    }

    /// The table at its current version, commits of other programs included. `None`: no such table.
    pub async fn table(self: &Arc<Self>, _ident: &TableIdent) -> Result<Option<Table>> {
        Err(Error::Internal("not written".into()))
    }

    /// A table that does not exist yet, ready to have its first rows written; the INSERT through its
    /// provider (or [`Catalog::create_staged`], for no rows) makes it exist, in one commit.
    /// Fails with `TableExists`, `NamespaceNotFound`, `Invalid`.
    pub async fn stage_table(
        self: &Arc<Self>,
        _ident: &TableIdent,
        _definition: &TableDefinition,
        _location: Option<&str>,
    ) -> Result<Table> {
        Err(Error::Internal("not written".into()))
    }

    /// Commits a staged table without rows.
    pub async fn create_staged(self: &Arc<Self>, _table: &Table) -> Result<()> {
        Err(Error::Internal("not written".into()))
    }

    /// Registers the existing table at `location` (an Iceberg metadata file, or the root of an Iceberg
    /// or Delta table); its files stay external. `format`: `None` to find out.
    /// `Ok(None)`: there is no table at that location.
    pub async fn register_table(
        self: &Arc<Self>,
        _ident: &TableIdent,
        _location: &str,
        _format: Option<TableFormat>,
    ) -> Result<Option<Table>> {
        Err(Error::Internal("not written".into()))
    }

    /// Drops the entry; removes the files unless they are external. Fails with `TableNotFound`.
    pub async fn drop_table(self: &Arc<Self>, _ident: &TableIdent) -> Result<()> {
        Err(Error::Internal("not written".into()))
    }
}

impl Table {
    /// The table for DataFusion: scans, and INSERT.
    pub fn provider(&self) -> Arc<dyn TableProvider> {
        Arc::new(crate::scan::LakeTable::new(self.clone()))
    }
}
