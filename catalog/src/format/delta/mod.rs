//! Delta tables.

use std::sync::Arc;

use async_trait::async_trait;

use super::{CommitOutcome, Format};
use crate::TableIdent;
use crate::backend::{Backend, TableEntry};
use crate::error::{Error, Result};
use crate::storage::Storage;
use crate::table::{TableChange, TableDefinition, TableSnapshot};

#[derive(Debug, Default)]
pub struct DeltaFormat {}

#[async_trait]
impl Format for DeltaFormat {
    async fn load(&self, _storage: &Storage, _entry: &TableEntry) -> Result<Arc<TableSnapshot>> {
        Err(Error::Internal("not written".into()))
    }

    fn stage(
        &self,
        _ident: &TableIdent,
        _definition: &TableDefinition,
        _location: &str,
    ) -> Result<Arc<TableSnapshot>> {
        Err(Error::Internal("not written".into()))
    }

    async fn commit(
        &self,
        _storage: &Storage,
        _backend: &dyn Backend,
        _ident: &TableIdent,
        _base: &TableSnapshot,
        _change: &TableChange,
    ) -> Result<CommitOutcome> {
        Err(Error::Internal("not written".into()))
    }
}

/// Is there a Delta table at `root`?
pub async fn is_delta_table(_storage: &Storage, _root: &str) -> Result<bool> {
    Err(Error::Internal("not written".into()))
}
