//! A version before any rows.

use std::sync::Arc;

use async_trait::async_trait;

use crate::error::{Error, Result};
use crate::table::FileList;
use crate::table::deletes::DeleteIndex;
use crate::table::snapshot::{FileListIndex, SnapshotFiles};

/// No files.
#[derive(Debug)]
pub struct NoFiles;

#[async_trait]
impl SnapshotFiles for NoFiles {
    async fn index(&self) -> Result<Arc<FileListIndex>> {
        Ok(Arc::new(FileListIndex { groups: Vec::new() }))
    }

    async fn file_list(&self, number: usize) -> Result<Arc<FileList>> {
        Err(Error::Internal(format!("there is no list {number}")))
    }

    async fn deletes(&self) -> Result<Arc<DeleteIndex>> {
        Ok(Arc::default())
    }
}
