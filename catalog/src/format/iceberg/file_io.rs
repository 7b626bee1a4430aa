//! The `iceberg` crate's storage traits over ours, so that its manifest writers write through the
//! same object stores as everything else. Reading does not go through here: our own reads give
//! better errors.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use datafusion::execution::object_store::DefaultObjectStoreRegistry;
use futures::StreamExt;
use futures::stream::BoxStream;
use iceberg::io::{
    FileIO, FileIOBuilder, FileMetadata, FileRead, FileWrite, InputFile, OutputFile,
    Storage as IcebergStorage, StorageConfig, StorageFactory,
};
use iceberg::{Error, ErrorKind, Result};
use object_store::ObjectStoreExt;
use serde::{Deserialize, Serialize};

use super::uuid_partitions::UuidPartitions;
use crate::storage::Storage;

/// A `FileIO` that reads and writes through `storage`.
pub fn file_io(storage: &Storage) -> FileIO {
    let handle = Handle { storage: storage.clone(), uuids: None };
    FileIOBuilder::new(Arc::new(AuricStorageFactory { handle })).build()
}

/// The same for manifests with uuids in their partition values.
pub fn file_io_with_uuids(storage: &Storage, uuids: UuidPartitions) -> FileIO {
    let handle = Handle { storage: storage.clone(), uuids: Some(uuids) };
    FileIOBuilder::new(Arc::new(AuricStorageFactory { handle })).build()
}

/// What `typetag` cannot serialize: a deserialized storage would have no object stores. We never
/// serialize one.
#[derive(Debug, Clone)]
struct Handle {
    storage: Storage,
    /// What is put right in the files that are written.
    uuids: Option<UuidPartitions>,
}

impl Default for Handle {
    fn default() -> Self {
        Self { storage: Storage::new(Arc::new(DefaultObjectStoreRegistry::new())), uuids: None }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct AuricStorageFactory {
    #[serde(skip)]
    handle: Handle,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct AuricStorage {
    #[serde(skip)]
    handle: Handle,
}

#[typetag::serde]
impl StorageFactory for AuricStorageFactory {
    fn build(&self, _config: &StorageConfig) -> Result<Arc<dyn IcebergStorage>> {
        Ok(Arc::new(AuricStorage { handle: self.handle.clone() }))
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unexpected, error.to_string()).with_source(error)
}

impl AuricStorage {
    fn storage(&self) -> &Storage {
        &self.handle.storage
    }
}

#[async_trait]
#[typetag::serde]
impl IcebergStorage for AuricStorage {
    async fn exists(&self, path: &str) -> Result<bool> {
        self.storage().exists(path).await.map_err(failed)
    }

    async fn metadata(&self, path: &str) -> Result<FileMetadata> {
        let at = self.storage().locate(path).map_err(failed)?;
        Ok(FileMetadata { size: at.store.head(&at.path).await.map_err(failed)?.size })
    }

    async fn read(&self, path: &str) -> Result<Bytes> {
        self.storage().read(path).await.map_err(failed)
    }

    async fn reader(&self, path: &str) -> Result<Box<dyn FileRead>> {
        Ok(Box::new(Reader { storage: self.storage().clone(), path: path.to_string() }))
    }

    async fn write(&self, path: &str, bytes: Bytes) -> Result<()> {
        create(self.storage(), path, bytes).await
    }

    async fn writer(&self, path: &str) -> Result<Box<dyn FileWrite>> {
        let buffer = Some(BytesMut::new());
        Ok(Box::new(Writer { handle: self.handle.clone(), path: path.to_string(), buffer }))
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.storage().delete(path).await.map_err(failed)
    }

    async fn delete_prefix(&self, path: &str) -> Result<()> {
        let at = self.storage().locate(path).map_err(failed)?;
        for object in self.storage().list(path).await.map_err(failed)? {
            at.store.delete(&object.location).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn delete_stream(&self, mut paths: BoxStream<'static, String>) -> Result<()> {
        while let Some(path) = paths.next().await {
            self.delete(&path).await?;
        }
        Ok(())
    }

    fn new_input(&self, path: &str) -> Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_string()))
    }

    fn new_output(&self, path: &str) -> Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_string()))
    }
}

/// Metadata files are immutable and carry a UUID: one that exists already is never overwritten.
async fn create(storage: &Storage, path: &str, bytes: Bytes) -> Result<()> {
    storage.create_own(path, bytes).await.map_err(failed)
}

struct Reader {
    storage: Storage,
    path: String,
}

#[async_trait]
impl FileRead for Reader {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let length = range.end.saturating_sub(range.start);
        self.storage.read_range(&self.path, range.start, length).await.map_err(failed)
    }
}

/// Collects a file in memory and writes it at once: manifests are a few megabytes at most, and a
/// file that appears whole or not at all needs no cleaning up.
struct Writer {
    handle: Handle,
    path: String,
    buffer: Option<BytesMut>,
}

#[async_trait]
impl FileWrite for Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        match &mut self.buffer {
            Some(buffer) => {
                buffer.extend_from_slice(&bytes);
                Ok(())
            }
            None => Err(Error::new(ErrorKind::Unexpected, format!("{} is closed", self.path))),
        }
    }

    async fn close(&mut self) -> Result<()> {
        match self.buffer.take() {
            Some(buffer) => {
                let bytes: Bytes = match &self.handle.uuids {
                    Some(uuids) => uuids.reveal(&buffer).map_err(failed)?.into(),
                    None => buffer.freeze(),
                };
                create(&self.handle.storage, &self.path, bytes).await
            }
            None => Err(Error::new(ErrorKind::Unexpected, format!("{} is closed", self.path))),
        }
    }
}
