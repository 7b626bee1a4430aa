//! Views: looked up, made, replaced, renamed and dropped.

use std::sync::Arc;

use super::Catalog;
use crate::TableIdent;
use crate::backend::{SwapOutcome, ViewEntry};
use crate::error::{Error, Result};
use crate::format::iceberg::view as metadata;
use crate::name::check_name;
use crate::storage::{Key, Kind};
use crate::table::Comment;
use crate::view::{NewView, View, ViewDefinition};

/// About what a definition takes beside its text.
const VIEW_BYTES: usize = 4096;

impl Catalog {
    /// The view as it is now. `None`: no such view. Fails with `Corrupt`.
    pub async fn view(self: &Arc<Self>, ident: &TableIdent) -> Result<Option<View>> {
        let Some(entry) = self.backend.view(ident).await? else { return Ok(None) };
        let definition = self.view_definition(&entry).await?;
        Ok(Some(View { catalog: self.clone(), entry, definition }))
    }

    pub(super) async fn view_definition(&self, entry: &ViewEntry) -> Result<Arc<ViewDefinition>> {
        // By the path of its metadata file, which never changes.
        let key = Key::new(Kind::Views, 0, entry.pointer.as_str());
        let read = async {
            let definition = metadata::read(&self.storage, &entry.pointer).await?;
            let bytes = definition.sql.len() + VIEW_BYTES;
            Ok((Arc::new(definition), bytes))
        };
        self.storage.memory().get_or_read(key, read).await
    }

    /// Fails with `TableExists`, `NamespaceNotFound`, `Unsupported`, `Invalid`.
    pub async fn create_view(&self, ident: &TableIdent, view: &NewView) -> Result<()> {
        check_name("view", &ident.name)?;
        self.require_free(ident).await?;
        let location = self.free_location(ident).await?;
        let pointer = metadata::write(&self.storage, &location, None, &self.name, view).await?;
        let created = self.backend.create_view(ident, &pointer).await;
        self.contents_changed();
        if matches!(
            created,
            Err(Error::TableExists(_) | Error::NamespaceNotFound(_) | Error::Unsupported { .. })
        ) {
            self.remove_unused(&pointer).await;
        }
        created
    }

    /// Replaces the view's query. Fails with `Conflict` if somebody else has replaced it since it was
    /// read, `CommitUnknown`.
    pub async fn replace_view(&self, view: &View, new: &NewView) -> Result<()> {
        let (ident, expected) = (view.ident(), &view.entry.pointer);
        let root = metadata::root_of(expected).unwrap_or(expected);
        let pointer = metadata::write(&self.storage, root, Some(expected), &self.name, new).await?;
        self.swap_view(ident, expected, pointer).await
    }

    /// Replaces the comment of the view, or of a column of it. Fails as [`Catalog::replace_view`] does, and
    /// with `Invalid` if there is no such column.
    pub async fn comment_on_view(&self, view: &View, comment: &Comment) -> Result<()> {
        let pointer = metadata::write_comment(&self.storage, &view.entry.pointer, comment).await?;
        self.swap_view(view.ident(), &view.entry.pointer, pointer).await
    }

    async fn swap_view(&self, ident: &TableIdent, expected: &str, pointer: String) -> Result<()> {
        let swapped = self.backend.swap_pointer(ident, expected, &pointer).await;
        self.contents_changed();
        match swapped? {
            SwapOutcome::Swapped => Ok(()),
            SwapOutcome::Moved => {
                self.remove_unused(&pointer).await;
                let winner = "another statement replaced, renamed or dropped the view".to_string();
                Err(Error::Conflict { table: ident.to_string(), winner })
            }
            SwapOutcome::Unknown(source) => Err(Error::CommitUnknown { table: ident.to_string(), source }),
        }
    }

    /// Fails with `TableNotFound`; failing to remove its metadata files is only logged.
    pub async fn drop_view(&self, ident: &TableIdent) -> Result<()> {
        if self.backend.is_view_of_transaction() {
            // COMMIT drops it, and removes its files.
            return self.backend.drop_view(ident).await;
        }
        let entry = self.backend.view(ident).await?.ok_or_else(|| Error::TableNotFound(ident.clone()))?;
        let dropped = self.backend.drop_view(ident).await;
        self.contents_changed();
        dropped?;
        if let Some(root) = metadata::root_of(&entry.pointer) {
            self.remove_if_ours(ident, root.to_string()).await;
        }
        Ok(())
    }

    /// Keeps the OID. Fails with `TableNotFound`, `TableExists`, `NamespaceNotFound`.
    pub async fn rename_view(&self, from: &TableIdent, to: &TableIdent) -> Result<()> {
        let renamed = self.backend.rename_view(from, to).await;
        self.contents_changed();
        renamed
    }

    async fn remove_unused(&self, pointer: &str) {
        if let Err(error) = self.storage.delete(pointer).await {
            tracing::warn!(path = pointer, %error, "could not remove the metadata of a view that was not made");
        }
    }
}
