//! One object being uploaded in parts, which disappears when it is dropped unfinished.

use bytes::Bytes;
use object_store::buffered::BufWriter;
use tokio::io::AsyncWriteExt;
use tokio::runtime::Handle;

use super::written_files::WrittenFiles;
use crate::error::{Error, Result};
use crate::storage::Storage;

/// Size of a part, and up to this size an object is sent at once.
const PART_BYTES: usize = 8 << 20;
/// Parts on their way at a time.
const PARTS_IN_FLIGHT: usize = 4;

/// An object that appears when [`Upload::finish`] succeeds.
#[derive(Debug)]
pub struct Upload {
    location: String,
    /// Taken when finished or broken.
    writer: Option<BufWriter>,
    /// Held until nothing of the upload is on its way: what is deleted before could still appear.
    files: WrittenFiles,
}

impl Upload {
    /// The object is one of `files`, which deletes it if nothing comes of it.
    pub(super) fn new(storage: &Storage, location: &str, files: WrittenFiles) -> Result<Self> {
        let at = storage.locate(location)?;
        let writer =
            BufWriter::with_capacity(at.store, at.path, PART_BYTES).with_max_concurrency(PARTS_IN_FLIGHT);
        Ok(Self { location: location.to_string(), writer: Some(writer), files })
    }

    pub async fn put(&mut self, bytes: Bytes) -> Result<()> {
        let writer = self.writer.as_mut();
        let writer = writer.ok_or_else(|| Error::Internal(format!("{} is already closed", self.location)))?;
        writer.put(bytes).await.map_err(|e| Error::storage(&self.location, e))
    }

    /// Goes on to the end even if the caller stops waiting: what is half shut down can neither be
    /// aborted nor left, or its parts would stay for ever. The object is deleted afterwards if its
    /// statement gave up.
    pub async fn finish(mut self) -> Result<()> {
        let Some(mut writer) = self.writer.take() else {
            return Err(Error::Internal(format!("{} is already closed", self.location)));
        };
        let files = self.files.clone();
        let shutdown = tokio::spawn(async move {
            let _files = files;
            writer.shutdown().await
        });
        match shutdown.await {
            Ok(done) => done.map_err(|e| Error::storage(&self.location, e)),
            Err(e) => Err(Error::storage(&self.location, e)),
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let (Some(mut writer), Ok(runtime)) = (self.writer.take(), Handle::try_current()) else { return };
        let location = std::mem::take(&mut self.location);
        let files = self.files.clone();
        runtime.spawn(async move {
            let _files = files;
            if let Err(error) = writer.abort().await {
                tracing::warn!(location, %error, "could not abort an upload");
            }
        });
    }
}
