//! Object stores: one I/O stack for DataFusion, Iceberg and Delta.
//!
//! **A location is a raw string**, as Iceberg metadata stores it: `scheme://authority/path` or an
//! absolute local path, *not* percent-encoded (a `%41` in it is three characters of a file name).
//! [`to_url`] encodes it into a URL, [`from_url`] takes a URL (as Delta's log and its kernel use
//! them) back to a location. Every error names the location it is about.

mod memory;
mod options;
pub mod readers;
mod stores;

use std::sync::Arc;

use bytes::Bytes;
use datafusion::error::DataFusionError;
use datafusion::execution::object_store::{ObjectStoreRegistry, ObjectStoreUrl};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use url::Url;

pub use self::memory::{Key, Kind, Memory, Share, owner};
pub use self::options::{S3Options, Secret, StorageOptions};
use self::readers::Readers;
pub use self::stores::StoreRegistry;
use crate::error::{Error, Result};

/// Access to every object store by location. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Storage {
    registry: Arc<dyn ObjectStoreRegistry>,
    readers: Arc<Readers>,
    memory: Arc<Memory>,
}

/// A location taken apart: the store and the path inside it.
#[derive(Debug, Clone)]
pub struct Located {
    pub store: Arc<dyn ObjectStore>,
    pub store_url: ObjectStoreUrl,
    pub path: Path,
}

/// What is directly inside a directory. Names only, without the path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    pub directories: Vec<String>,
    pub files: Vec<String>,
}

impl Storage {
    /// `registry` is the one of DataFusion's `RuntimeEnv`, so that scans and metadata share stores.
    pub fn new(registry: Arc<dyn ObjectStoreRegistry>) -> Self {
        Self { registry, readers: Arc::default(), memory: Arc::default() }
    }

    /// Storage that opens stores on demand ([`StoreRegistry`]).
    pub fn with_options(options: StorageOptions) -> Self {
        Self::new(Arc::new(StoreRegistry::new(options)))
    }

    /// The same, keeping what was read in the memory of others.
    pub fn with_memory(self, memory: Arc<Memory>) -> Self {
        Self { memory, ..self }
    }

    /// What was read of files that never change.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Who reads what.
    pub fn readers(&self) -> &Arc<Readers> {
        &self.readers
    }

    /// To be handed to DataFusion's `RuntimeEnvBuilder::with_object_store_registry`.
    pub fn registry(&self) -> &Arc<dyn ObjectStoreRegistry> {
        &self.registry
    }

    /// Finds the store of a location.
    pub fn locate(&self, location: &str) -> Result<Located> {
        let url = to_url(location)?;
        let store = self.registry.get_store(&url).map_err(|e| store_error(location, e))?;
        let base = match url.scheme() {
            "file" => "file://".to_string(),
            scheme => format!("{scheme}://{}", &url[url::Position::BeforeHost..url::Position::AfterPort]),
        };
        let store_url = ObjectStoreUrl::parse(base)?;
        let path = Path::from_url_path(url.path()).map_err(|e| Error::storage(location, e))?;
        Ok(Located { store, store_url, path })
    }

    pub async fn read(&self, location: &str) -> Result<Bytes> {
        let at = self.locate(location)?;
        let result = at.store.get(&at.path).await.map_err(|e| Error::storage(location, e))?;
        result.bytes().await.map_err(|e| Error::storage(location, e))
    }

    pub async fn read_range(&self, location: &str, offset: u64, length: u64) -> Result<Bytes> {
        let at = self.locate(location)?;
        let end =
            offset.checked_add(length).ok_or_else(|| Error::corrupt(location, "byte range overflows"))?;
        at.store.get_range(&at.path, offset..end).await.map_err(|e| Error::storage(location, e))
    }

    /// Writes a file that must not exist. `Ok(false)`: it exists, nothing was written.
    pub async fn create(&self, location: &str, bytes: Bytes) -> Result<bool> {
        let at = self.locate(location)?;
        let options = PutOptions { mode: PutMode::Create, ..Default::default() };
        match at.store.put_opts(&at.path, PutPayload::from_bytes(bytes), options).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(e) => Err(Error::storage(location, e)),
        }
    }

    /// Writes a file whose name nobody else can have taken. A store may have repeated a request that had
    /// succeeded before its answer was lost: a file with the same bytes is this one. Fails with `Internal` if
    /// it is another.
    pub async fn create_own(&self, location: &str, bytes: Bytes) -> Result<()> {
        if self.create(location, bytes.clone()).await? || self.read(location).await? == bytes {
            return Ok(());
        }
        Err(Error::Internal(format!("{location} exists already")))
    }

    pub async fn delete(&self, location: &str) -> Result<()> {
        let at = self.locate(location)?;
        at.store.delete(&at.path).await.map_err(|e| Error::storage(location, e))
    }

    /// How many hold on to it: statements that still write do.
    #[cfg(test)]
    pub fn users(&self) -> usize {
        Arc::strong_count(&self.memory)
    }

    /// Every file below `prefix`, at any depth.
    pub async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>> {
        let at = self.locate(prefix)?;
        at.store.list(Some(&at.path)).try_collect().await.map_err(|e| Error::storage(prefix, e))
    }

    pub async fn exists(&self, location: &str) -> Result<bool> {
        let at = self.locate(location)?;
        match at.store.head(&at.path).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(e) => Err(Error::storage(location, e)),
        }
    }

    /// Is there any file below `prefix`? Reads at most one page of the listing.
    pub async fn has_files(&self, prefix: &str) -> Result<bool> {
        let at = self.locate(prefix)?;
        match at.store.list(Some(&at.path)).next().await {
            None | Some(Err(object_store::Error::NotFound { .. })) => Ok(false),
            Some(Ok(_)) => Ok(true),
            Some(Err(e)) => Err(Error::storage(prefix, e)),
        }
    }

    /// What is directly inside a directory, in order of name; empty if there is no such directory.
    pub async fn directory(&self, location: &str) -> Result<Directory> {
        let at = self.locate(location)?;
        let listed = match at.store.list_with_delimiter(Some(&at.path)).await {
            Ok(listed) => listed,
            Err(object_store::Error::NotFound { .. }) => return Ok(Directory::default()),
            Err(e) => return Err(Error::storage(location, e)),
        };
        let name = |path: &Path| path.filename().map(str::to_string);
        let mut directories: Vec<String> = listed.common_prefixes.iter().filter_map(name).collect();
        let mut files: Vec<String> = listed.objects.iter().filter_map(|o| name(&o.location)).collect();
        directories.sort();
        files.sort();
        Ok(Directory { directories, files })
    }

    /// Deletes every file below `prefix`, and on a local disk the directories that this leaves
    /// empty. Goes on after a failure and reports the first one. Returns the number of files deleted.
    pub async fn delete_all(&self, prefix: &str) -> Result<u64> {
        let at = self.locate(prefix)?;
        let files = at.store.list(Some(&at.path)).map_ok(|meta| meta.location).boxed();
        let mut deletions = at.store.delete_stream(files);
        let (mut deleted, mut failure) = (0, None);
        while let Some(deletion) = deletions.next().await {
            match deletion {
                Ok(_) => deleted += 1,
                Err(object_store::Error::NotFound { .. }) => {}
                Err(e) => failure = failure.or(Some(e)),
            }
        }
        if let Ok(directory) = to_url(prefix)?.to_file_path() {
            remove_empty_directories(directory).await;
        }
        match failure {
            None => Ok(deleted),
            Some(e) => Err(Error::storage(prefix, e)),
        }
    }
}

/// Removes `root` and the directories below it, deepest first, as far as they are empty. Symbolic
/// links are left alone. Failures do not matter: empty directories mean nothing to a table.
async fn remove_empty_directories(root: std::path::PathBuf) {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(directory) = found.get(next).cloned() {
        next += 1;
        let Ok(mut entries) = tokio::fs::read_dir(&directory).await else { continue };
        while let Ok(Some(entry)) = entries.next_entry().await {
            if entry.file_type().await.is_ok_and(|kind| kind.is_dir()) {
                found.push(entry.path());
            }
        }
    }
    for directory in found.iter().rev() {
        let _ = tokio::fs::remove_dir(directory).await;
    }
}

/// Errors of [`StoreRegistry`] come through DataFusion's trait and are ours already.
fn store_error(location: &str, error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(source) => match source.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(source) => Error::storage(location, source),
        },
        other => Error::storage(location, other),
    }
}

/// URL of a location. `s3a://` and `s3n://` become `s3://`; `file:/x` and `/x` become `file:///x`;
/// empty and `.` segments are dropped; a slash at the end is kept.
///
/// Fails with `Invalid` for relative paths, unknown shapes and `..` segments.
pub fn to_url(location: &str) -> Result<Url> {
    let invalid = |why: &str| Error::Invalid(format!("invalid location \"{location}\": {why}"));
    let (scheme, authority, path) =
        split(location).ok_or_else(|| invalid("not a URL or an absolute path"))?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "s3a" | "s3n" => "s3".to_string(),
        other => other.to_string(),
    };
    if scheme == "file" && !matches!(authority, "" | "localhost") {
        return Err(invalid("a file URL names no host (three slashes)"));
    }
    let authority = if scheme == "file" { "" } else { authority };
    let mut url = Url::parse(&format!("{scheme}://{authority}/")).map_err(|e| invalid(&e.to_string()))?;
    if path.split('/').any(|segment| segment == "..") {
        return Err(invalid("\"..\" is not allowed"));
    }
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.clear().extend(path.split('/').filter(|segment| !matches!(*segment, "" | ".")));
        if path.ends_with('/') {
            segments.push("");
        }
    }
    Ok(url)
}

/// Location of a URL: its path percent-decoded, without a slash at the end.
pub fn from_url(url: &Url) -> Result<String> {
    let path = Path::from_url_path(url.path()).map_err(|e| Error::storage(url.as_str(), e))?;
    Ok(format!("{}://{}/{path}", url.scheme(), &url[url::Position::BeforeHost..url::Position::AfterPort]))
}

/// Scheme, authority and path.
fn split(location: &str) -> Option<(&str, &str, &str)> {
    if location.starts_with('/') {
        return Some(("file", "", location));
    }
    match location.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            Some((scheme, authority, path))
        }
        None => {
            let path = location.strip_prefix("file:").filter(|path| path.starts_with('/'))?;
            Some(("file", "", path))
        }
    }
}

#[cfg(test)]
mod tests;
