//! Names of what is kept in memory of metadata files, manifest lists and manifests. They are immutable files,
//! so they are kept by path.

use crate::error::{Error, Result};
use crate::storage::{Key, Kind, owner};

/// Identifies a parsed manifest. The path is not enough: what files inherit from the manifest list
/// (first row id) and the types that partition values are cast to may differ between snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ManifestKey {
    pub path: String,
    pub first_row_id: Option<u64>,
    pub partition_types: u64,
}

/// What one [`IcebergFormat`](super::IcebergFormat) keeps.
#[derive(Debug)]
pub struct Caches {
    owner: u64,
}

impl Default for Caches {
    fn default() -> Self {
        Self { owner: owner() }
    }
}

/// Parsed metadata takes about three times the room of its JSON.
pub const METADATA_FACTOR: usize = 3;

impl Caches {
    /// A table, by the location of its metadata file.
    pub fn table(&self, location: &str) -> Key {
        Key::new(Kind::Tables, self.owner, location)
    }

    /// A manifest list by its path.
    pub fn listing(&self, path: &str) -> Key {
        Key::new(Kind::ManifestLists, self.owner, path)
    }

    pub fn data_manifest(&self, manifest: ManifestKey) -> Key {
        self.manifest(Kind::Files, manifest)
    }

    pub fn delete_manifest(&self, manifest: ManifestKey) -> Key {
        self.manifest(Kind::DeleteFiles, manifest)
    }

    fn manifest(&self, kind: Kind, manifest: ManifestKey) -> Key {
        let ManifestKey { path, first_row_id, partition_types } = manifest;
        let part = first_row_id.map(|id| id.to_string()).unwrap_or_default();
        Key::new(kind, self.owner, path).with_part(part).with_numbers([partition_types, 0])
    }
}

/// Parses on a thread of its own: a large file must not hold up other queries, and a file so broken
/// that a parser panics must not take the server with it.
pub async fn parse_aside<T: Send + 'static>(
    path: &str,
    parse: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(parse).await {
        Ok(parsed) => parsed,
        Err(e) if e.is_panic() => Err(Error::corrupt(path, "it cannot be parsed")),
        Err(e) => Err(Error::Internal(e.to_string())),
    }
}
