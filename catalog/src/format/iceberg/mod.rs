//! Iceberg tables.

use std::sync::Arc;

use async_trait::async_trait;

use super::{CommitOutcome, Format};
use crate::TableIdent;
use crate::backend::{Backend, TableEntry};
use crate::error::{Error, Result};
use crate::storage::Storage;
use crate::table::{TableChange, TableDefinition, TableSnapshot};

#[derive(Debug, Default)]
pub struct IcebergFormat {}

#[async_trait]
impl Format for IcebergFormat {
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

/// Location of the current metadata file of the Iceberg table at `root`, if there is one.
pub async fn find_metadata(_storage: &Storage, _root: &str) -> Result<Option<String>> {
    Err(Error::Internal("not written".into()))
}
