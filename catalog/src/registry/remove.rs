//! DROP TABLE: first the entry, then the files, if they are ours alone.

use super::Catalog;
use crate::TableIdent;
use crate::backend::change::Entry;
use crate::backend::{Backend, TableEntry};
use crate::error::{Error, Result};
use crate::format::iceberg;
use crate::storage::{Storage, to_url};
use crate::table::TableFormat;

impl Catalog {
    /// Drops the entry; removes the files unless they are external, outside the warehouse or shared
    /// with another table. Fails with `TableNotFound`; failing to remove files is only logged.
    pub async fn drop_table(&self, ident: &TableIdent) -> Result<()> {
        if self.backend.is_view_of_transaction() {
            // COMMIT drops it, and removes its files.
            return self.backend.drop_table(ident).await;
        }
        let entry = self.backend.table(ident).await?.ok_or_else(|| Error::TableNotFound(ident.clone()))?;
        let root = self.root_of_dropped(&Entry::Table(entry)).await;
        let dropped = self.backend.drop_table(ident).await;
        self.contents_changed();
        dropped?;
        if let Some(root) = root {
            self.remove_if_ours(ident, root).await;
        }
        Ok(())
    }

    /// Removes what is below `root`, if that is inside the warehouse and no other table's, once nobody
    /// reads it any more. In a task of its own, so that a cancelled statement does not leave half of the
    /// files behind.
    pub(crate) async fn remove_if_ours(&self, ident: &TableIdent, root: String) {
        let (backend, storage, ident) = (self.backend.clone(), self.storage.clone(), ident.clone());
        let is_needed = storage.readers().is_needed(&root);
        let task = tokio::spawn(async move {
            storage.readers().wait(&root).await;
            // Only now: another table may have come to be there meanwhile.
            match is_removable(backend.as_ref(), &root).await {
                Ok(true) => remove_files(&storage, &ident, &root).await,
                Ok(false) => tracing::info!(table = %ident, root, "dropped table's files are kept"),
                Err(error) => tracing::warn!(table = %ident, root, %error, "dropped table's files are kept"),
            }
        });
        // Queries that began before the drop may take their time, and may be the caller's own.
        if !is_needed {
            let _ = task.await;
        }
    }

    /// Where the files of what is to be dropped are, if they are not somebody else's.
    pub(crate) async fn root_of_dropped(&self, entry: &Entry) -> Option<String> {
        match entry {
            Entry::Table(entry) if entry.external => None,
            Entry::Table(entry) => self.root_of(entry).await,
            Entry::View(entry) => iceberg::view::root_of(&entry.pointer).map(str::to_string),
        }
    }

    /// Root location. Of an Iceberg table that cannot be read, what its pointer tells.
    async fn root_of(&self, entry: &TableEntry) -> Option<String> {
        if entry.format == TableFormat::Delta {
            return Some(entry.pointer.clone());
        }
        match self.format(entry.format).load(&self.storage, entry).await {
            Ok(snapshot) => Some(snapshot.location.clone()),
            Err(_) => {
                let (directory, _) = entry.pointer.rsplit_once('/')?;
                directory.strip_suffix("/metadata").map(str::to_string)
            }
        }
    }
}

/// Is the location inside the warehouse, and used by no table that is (still) in the catalog?
async fn is_removable(backend: &dyn Backend, root: &str) -> Result<bool> {
    let root = directory_url(root)?;
    let warehouse = directory_url(backend.warehouse())?;
    if root == warehouse || !root.starts_with(&warehouse) {
        return Ok(false);
    }
    for namespace in backend.namespaces().await?.iter() {
        let entries = match backend.tables(&namespace.name).await {
            Ok(entries) => entries,
            Err(Error::NamespaceNotFound(_)) => continue,
            Err(e) => return Err(e),
        };
        for entry in entries {
            let other = directory_url(&entry.pointer)?;
            let inside = other.starts_with(&root);
            let around = entry.format == TableFormat::Delta && root.starts_with(&other);
            if inside || around {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

async fn remove_files(storage: &Storage, ident: &TableIdent, root: &str) {
    match storage.delete_all(root).await {
        Ok(files) => tracing::debug!(table = %ident, root, files, "removed files of dropped table"),
        Err(error) => {
            tracing::warn!(table = %ident, root, %error, "could not remove files of dropped table");
        }
    }
}

/// URL of a location with exactly one slash at the end, so that prefixes end between names.
fn directory_url(location: &str) -> Result<String> {
    let url = to_url(location)?;
    Ok(format!("{}/", url.as_str().trim_end_matches('/')))
}
