//! Object stores: one I/O stack for DataFusion, Iceberg and Delta.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::execution::object_store::{ObjectStoreRegistry, ObjectStoreUrl};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use url::Url;

use crate::error::{Error, Result};

/// Access to every object store by location. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Storage {
    registry: Arc<dyn ObjectStoreRegistry>,
}

/// A location taken apart: the store and the path inside it.
#[derive(Debug, Clone)]
pub struct Located {
    pub store: Arc<dyn ObjectStore>,
    pub store_url: ObjectStoreUrl,
    pub path: Path,
}

impl Storage {
    /// `registry` is the one of DataFusion's `RuntimeEnv`, so that scans and metadata share stores.
    pub fn new(registry: Arc<dyn ObjectStoreRegistry>) -> Self {
        Self { registry }
    }

    pub fn registry(&self) -> &Arc<dyn ObjectStoreRegistry> {
        &self.registry
    }

    /// Finds the store of a location: a URL, or an absolute local path.
    pub fn locate(&self, location: &str) -> Result<Located> {
        let url = to_url(location)?;
        let store = self.registry.get_store(&url).map_err(|e| Error::storage(location, e))?;
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
        at.store.get_range(&at.path, offset..offset + length).await.map_err(|e| Error::storage(location, e))
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

    pub async fn delete(&self, location: &str) -> Result<()> {
        let at = self.locate(location)?;
        at.store.delete(&at.path).await.map_err(|e| Error::storage(location, e))
    }

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
}

/// Parses a location: a URL, or an absolute local path. `s3a://` and `s3n://` are `s3://`;
/// `file:/x` is `file:///x`.
pub fn to_url(location: &str) -> Result<Url> {
    let invalid = |e: &dyn std::fmt::Display| Error::Invalid(format!("invalid location \"{location}\": {e}"));
    if location.starts_with('/') {
        return Url::from_file_path(location).map_err(|()| invalid(&"not an absolute path"));
    }
    let normalized = match location.split_once("://") {
        Some(("s3a" | "s3n", rest)) => format!("s3://{rest}"),
        _ => location.to_string(),
    };
    Url::parse(&normalized).map_err(|e| invalid(&e))
}
