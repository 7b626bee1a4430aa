//! How tables come into a catalog: staged and committed, or registered where they are.

use std::sync::Arc;

use super::{Catalog, Table};
use crate::TableIdent;
use crate::backend::{NewTableEntry, TableEntry};
use crate::error::{Error, Result};
use crate::format::{delta, iceberg};
use crate::name::{check_name, directory_name};
use crate::storage::{from_url, to_url};
use crate::table::{Operation, TableChange, TableDefinition, TableFormat};

impl Catalog {
    /// A table that does not exist yet, ready to have its first rows written; the INSERT through its
    /// provider (or [`Catalog::create_staged`], for no rows) makes it exist, in one commit.
    /// Fails with `TableExists`, `NamespaceNotFound`, `Invalid`.
    pub async fn stage_table(
        self: &Arc<Self>,
        ident: &TableIdent,
        definition: &TableDefinition,
        location: Option<&str>,
    ) -> Result<Table> {
        check_name("table", &ident.name)?;
        self.require_free(ident).await?;
        let location = match location {
            Some(given) => {
                let location = from_url(&to_url(given)?)?;
                if self.storage.has_files(&location).await? {
                    return Err(Error::Invalid(format!("location \"{location}\" is not empty")));
                }
                location
            }
            None => self.new_location(ident).await?,
        };
        let snapshot = self.format(definition.format).stage(ident, definition, &location)?;
        Ok(Table { catalog: self.clone(), ident: ident.clone(), entry: None, snapshot })
    }

    /// Commits a staged table without rows.
    pub async fn create_staged(self: &Arc<Self>, table: &Table) -> Result<()> {
        crate::commit::commit(table, TableChange::new(Operation::Create, Vec::new())).await.map(|_| ())
    }

    /// What a table becomes by `CREATE OR REPLACE TABLE`, ready to have its first rows written
    /// ([`plan_replacing`](crate::dml::insert::plan_replacing)), or to be committed without any
    /// ([`Catalog::replace_staged`]). Fails with `Invalid`, `ColumnNotFound`, `Unsupported`.
    pub fn stage_replacement(&self, table: &Table, definition: &TableDefinition) -> Result<Table> {
        let format = table.snapshot.format;
        if format != definition.format {
            let what = format!("replacing it by a table in {} format", definition.format);
            return Err(Error::unsupported(format!("table \"{}\" in {format} format", table.ident), what));
        }
        let snapshot = self.format(format).stage_replacement(&table.ident, &table.snapshot, definition)?;
        Ok(Table { snapshot, ..table.clone() })
    }

    /// Commits a staged replacement without rows.
    pub async fn replace_staged(&self, staged: &Table) -> Result<()> {
        let change = TableChange {
            replacement: Some(staged.snapshot.clone()),
            ..TableChange::new(Operation::Replace, Vec::new())
        };
        crate::commit::commit(staged, change).await.map(|_| ())
    }

    /// Registers the existing table at `location` (an Iceberg metadata file, or the root of an Iceberg
    /// or Delta table); its files stay external. `format`: `None` to find out.
    /// `Ok(None)`: there is no table at that location.
    ///
    /// A table that cannot be read is not registered: fails with what reading it fails with.
    pub async fn register_table(
        self: &Arc<Self>,
        ident: &TableIdent,
        location: &str,
        format: Option<TableFormat>,
    ) -> Result<Option<Table>> {
        check_name("table", &ident.name)?;
        let location = from_url(&to_url(location)?)?;
        let Some((found, pointer)) = self.find_table(&location).await? else { return Ok(None) };
        if let Some(asked) = format
            && asked != found
        {
            return Err(Error::Invalid(format!("the table at \"{location}\" is in {found} format")));
        }
        self.require_free(ident).await?;
        let new = NewTableEntry { ident: ident.clone(), format: found, pointer, external: true };
        let tried = TableEntry {
            ident: ident.clone(),
            format: found,
            pointer: new.pointer.clone(),
            external: true,
            oid: 0,
        };
        self.format(found).load(&self.storage, &tried).await?;
        let created = self.backend.create_table(&new).await;
        self.contents_changed();
        created?;
        self.table(ident).await
    }

    /// Format and pointer of the table at a location. A root with both logs is a Delta table: the
    /// Iceberg metadata beside it is a translation that its writer keeps for other readers.
    async fn find_table(&self, location: &str) -> Result<Option<(TableFormat, String)>> {
        if location.ends_with(".metadata.json") || location.ends_with(".metadata.json.gz") {
            let exists = self.storage.exists(location).await?;
            return Ok(exists.then(|| (TableFormat::Iceberg, location.to_string())));
        }
        if delta::is_delta_table(&self.storage, location).await? {
            return Ok(Some((TableFormat::Delta, location.to_string())));
        }
        let metadata = iceberg::find_metadata(&self.storage, location).await?;
        Ok(metadata.map(|pointer| (TableFormat::Iceberg, pointer)))
    }

    pub(super) async fn require_free(&self, ident: &TableIdent) -> Result<()> {
        if self.backend.table(ident).await?.is_some() || self.backend.view(ident).await?.is_some() {
            return Err(Error::TableExists(ident.clone()));
        }
        let namespaces = self.backend.namespaces().await?;
        if !namespaces.iter().any(|namespace| namespace.name == ident.namespace) {
            return Err(Error::NamespaceNotFound(ident.namespace.clone()));
        }
        Ok(())
    }

    async fn new_location(&self, ident: &TableIdent) -> Result<String> {
        match self.backend.fixed_location(ident)? {
            Some(location) => Ok(location),
            None => self.free_location(ident).await,
        }
    }

    /// `warehouse/schema/table`; with a random suffix when something is left there of a table that
    /// was dropped without its files, or renamed.
    pub(super) async fn free_location(&self, ident: &TableIdent) -> Result<String> {
        let namespace = directory_name(&ident.namespace);
        let location = format!("{}/{namespace}/{}", self.backend.warehouse(), directory_name(&ident.name));
        let taken = self.backend.is_location_taken(&location);
        if !taken && !self.storage.has_files(&location).await? {
            return Ok(location);
        }
        let suffix = uuid::Uuid::new_v4().simple().to_string();
        Ok(format!("{location}-{}", suffix.get(..8).unwrap_or(&suffix)))
    }
}
