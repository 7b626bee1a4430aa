//! From a change to a committed version: per-table queue, attempts, rebase, and finding out what
//! became of an unknown outcome.

use crate::error::{Error, Result};
use crate::registry::Table;
use crate::table::{TableChange, TableVersion};

/// Commits `change` to `table`.
pub async fn commit(_table: &Table, _change: TableChange) -> Result<TableVersion> {
    Err(Error::Internal("not written".into()))
}
