//! What was read once is kept: metadata, manifest lists and manifests are immutable files, so they
//! are cached by path for ever, within a byte budget each.

use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;

use moka::future::Cache;

use super::manifests::{DataManifest, DeleteManifest, Listing};
use crate::error::{Error, Result};
use crate::table::TableSnapshot;

/// Budget of parsed table metadata, by the size of the files.
const TABLES_BYTES: u64 = 64 << 20;
/// Budget of parsed manifest lists.
const LISTINGS_BYTES: u64 = 32 << 20;
/// Budget of data files with their statistics: about a million files of ten columns.
const DATA_MANIFESTS_BYTES: u64 = 512 << 20;
const DELETE_MANIFESTS_BYTES: u64 = 64 << 20;

/// Identifies a parsed manifest. The path is not enough: what files inherit from the manifest list
/// (first row id) and the types that partition values are cast to may differ between snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ManifestKey {
    pub path: String,
    pub first_row_id: Option<u64>,
    pub partition_types: u64,
}

/// A table as loaded, with the size of its metadata file.
#[derive(Debug, Clone)]
pub struct CachedTable {
    pub snapshot: Arc<TableSnapshot>,
    pub bytes: usize,
}

/// The caches of one [`IcebergFormat`](super::IcebergFormat).
#[derive(Debug)]
pub struct Caches {
    /// By location of the metadata file.
    pub tables: Cache<String, CachedTable>,
    /// By path of the manifest list.
    pub listings: Cache<String, Arc<Listing>>,
    pub data_manifests: Cache<ManifestKey, Arc<DataManifest>>,
    pub delete_manifests: Cache<ManifestKey, Arc<DeleteManifest>>,
}

impl Default for Caches {
    fn default() -> Self {
        Self {
            // Parsed metadata takes about three times the room of its JSON.
            tables: bounded(TABLES_BYTES, |_, table: &CachedTable| table.bytes.saturating_mul(3)),
            listings: bounded(LISTINGS_BYTES, |_, listing: &Arc<Listing>| listing.size_bytes()),
            data_manifests: bounded(DATA_MANIFESTS_BYTES, |_, m: &Arc<DataManifest>| m.size_bytes()),
            delete_manifests: bounded(DELETE_MANIFESTS_BYTES, |_, m: &Arc<DeleteManifest>| m.size_bytes()),
        }
    }
}

fn bounded<K, V>(bytes: u64, weigh: impl Fn(&K, &V) -> usize + Send + Sync + 'static) -> Cache<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    Cache::builder()
        .max_capacity(bytes)
        .weigher(move |key, value| u32::try_from(weigh(key, value)).unwrap_or(u32::MAX).max(1))
        .build()
}

/// The cached value, or what `read` gives; concurrent readers of one key wait for the first.
pub async fn get_or_read<K, V>(
    cache: &Cache<K, V>,
    key: K,
    read: impl Future<Output = Result<V>>,
) -> Result<V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    cache.try_get_with(key, read).await.map_err(unshare)
}

/// All waiting readers get the one error, which cannot be cloned as it is.
fn unshare(shared: Arc<Error>) -> Error {
    match Arc::try_unwrap(shared) {
        Ok(error) => error,
        Err(shared) => match shared.as_ref() {
            Error::Unsupported { object, feature } => Error::unsupported(object, feature),
            Error::Corrupt { path, reason } => Error::corrupt(path, reason),
            Error::Storage { path, source } => Error::storage(path, source.to_string()),
            Error::Invalid(message) => Error::Invalid(message.clone()),
            other => Error::Internal(other.to_string()),
        },
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
