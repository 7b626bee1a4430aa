//! Files written but not yet committed, and their removal when nothing comes of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::upload::Upload;
use crate::error::Result;
use crate::storage::Storage;

/// Every file that a statement has begun to write. Clones share one list; when the last clone is
/// dropped without [`WrittenFiles::keep`], the files are deleted by a task of their own, as well as
/// it can be done.
#[derive(Debug, Clone)]
pub struct WrittenFiles {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    storage: Storage,
    paths: Mutex<Vec<String>>,
    keep: AtomicBool,
    /// Where to run the removal: the last clone may be dropped outside any runtime.
    runtime: Option<Handle>,
}

impl WrittenFiles {
    /// To be called inside the runtime that writes.
    pub fn new(storage: Storage) -> Self {
        let runtime = Handle::try_current().ok();
        let inner = Inner { storage, paths: Mutex::default(), keep: AtomicBool::new(false), runtime };
        Self { inner: Arc::new(inner) }
    }

    /// Begins a file. Nothing is sent yet.
    pub fn upload(&self, path: &str) -> Result<Upload> {
        let upload = Upload::new(&self.inner.storage, path, self.clone())?;
        self.add(path.to_string());
        Ok(upload)
    }

    /// A file that is not uploaded part by part; to be called before its first byte is sent.
    pub fn add(&self, path: String) {
        self.inner.paths.lock().push(path);
    }

    /// From now on somebody else answers for the files.
    pub fn keep(&self) {
        self.inner.keep.store(true, Ordering::Release);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let paths = std::mem::take(self.paths.get_mut());
        if paths.is_empty() || *self.keep.get_mut() {
            return;
        }
        let Some(runtime) = &self.runtime else {
            tracing::warn!(files = paths.len(), "no runtime to delete unused data files");
            return;
        };
        let storage = self.storage.clone();
        runtime.spawn(async move { delete_files(&storage, &paths).await });
    }
}

/// Deletes files that no table refers to. Failures are logged: an unused file does no harm, and
/// VACUUM finds it.
pub async fn delete_files(storage: &Storage, paths: &[String]) {
    for path in paths {
        match storage.exists(path).await {
            Ok(false) => continue,
            Ok(true) => {}
            Err(error) => tracing::debug!(path, %error, "looking for an unused data file"),
        }
        if let Err(error) = storage.delete(path).await {
            tracing::warn!(path, %error, "could not delete an unused data file");
        }
    }
}
