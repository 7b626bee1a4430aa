//! The object stores in use, opened when first asked for. One registry serves DataFusion's scans
//! and our metadata alike, so that they share connections and credentials.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::object_store::ObjectStoreRegistry;
use object_store::ObjectStore;
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::local::LocalFileSystem;
use parking_lot::RwLock;
use url::Url;

use super::options::{S3Options, StorageOptions};
use crate::error::{Error, Result};

/// Opens `file://` and `s3://bucket` on demand; other stores can be registered.
#[derive(Debug)]
pub struct StoreRegistry {
    options: StorageOptions,
    /// By scheme, host and port.
    stores: RwLock<HashMap<String, Arc<dyn ObjectStore>>>,
}

impl StoreRegistry {
    pub fn new(options: StorageOptions) -> Self {
        Self { options, stores: RwLock::default() }
    }

    /// Fails with `Unsupported` for schemes that we have no store for, `Storage` for settings that
    /// make no store.
    fn store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        let key = key(url);
        if let Some(store) = self.stores.read().get(&key) {
            return Ok(store.clone());
        }
        let opened = self.open(url)?;
        // Somebody may have been faster: all must share one store.
        Ok(self.stores.write().entry(key).or_insert(opened).clone())
    }

    fn open(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        match url.scheme() {
            "file" => Ok(Arc::new(LocalFileSystem::new())),
            "s3" => {
                let bucket = url.host_str().filter(|host| !host.is_empty());
                let bucket = bucket.ok_or_else(|| Error::Invalid(format!("\"{url}\" names no bucket")))?;
                open_s3(url, bucket, self.options.s3_for(bucket))
            }
            scheme @ ("gs" | "gcs" | "az" | "azure" | "abfs" | "abfss" | "wasb" | "wasbs") => {
                let what = if scheme.starts_with('g') { "Google Cloud Storage" } else { "Azure storage" };
                Err(Error::unsupported(format!("location \"{url}\""), what))
            }
            scheme => Err(Error::unsupported(
                format!("location \"{url}\""),
                format!("the scheme \"{scheme}\" (known are file and s3)"),
            )),
        }
    }
}

fn open_s3(url: &Url, bucket: &str, options: &S3Options) -> Result<Arc<dyn ObjectStore>> {
    let mut builder =
        if options.ignore_environment { AmazonS3Builder::new() } else { AmazonS3Builder::from_env() };
    builder = builder.with_bucket_name(bucket).with_conditional_put(S3ConditionalPut::ETagMatch);
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = &options.region {
        builder = builder.with_region(region);
    }
    if let Some(key) = &options.access_key_id {
        builder = builder.with_access_key_id(key);
    }
    if let Some(secret) = &options.secret_access_key {
        builder = builder.with_secret_access_key(secret.reveal());
    }
    if let Some(token) = &options.session_token {
        builder = builder.with_token(token.reveal());
    }
    // Who writes `http://` means it.
    let plain = options.endpoint.as_ref().map(|endpoint| endpoint.starts_with("http://"));
    if let Some(allow) = options.allow_http.or(plain) {
        builder = builder.with_allow_http(allow);
    }
    // object_store's own default is the path style, which Amazon only keeps for old buckets' sake.
    if let Some(path_style) = options.path_style.or_else(|| options.endpoint.as_ref().map(|_| true)) {
        builder = builder.with_virtual_hosted_style_request(!path_style);
    }
    if options.anonymous {
        builder = builder.with_skip_signature(true);
    }
    Ok(Arc::new(builder.build().map_err(|e| Error::storage(url.as_str(), e))?))
}

/// Stores are told apart by scheme, host and port.
fn key(url: &Url) -> String {
    format!("{}://{}", url.scheme(), &url[url::Position::BeforeHost..url::Position::AfterPort])
}

impl ObjectStoreRegistry for StoreRegistry {
    fn register_store(&self, url: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        self.stores.write().insert(key(url), store)
    }

    fn deregister_store(&self, url: &Url) -> DataFusionResult<Arc<dyn ObjectStore>> {
        let removed = self.stores.write().remove(&key(url));
        removed.ok_or_else(|| DataFusionError::Execution(format!("no object store is registered for {url}")))
    }

    fn get_store(&self, url: &Url) -> DataFusionResult<Arc<dyn ObjectStore>> {
        self.store(url).map_err(DataFusionError::from)
    }
}
