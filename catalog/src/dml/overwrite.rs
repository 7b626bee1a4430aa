//! INSERT OVERWRITE and TRUNCATE: whole files are replaced.

use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;

use crate::error::{Error, Result};
use crate::registry::Table;

/// Which files the new rows replace.
#[derive(Debug, Clone, PartialEq)]
pub enum Replaced {
    /// All files of the partitions that the new rows are in (Spark's `dynamic`). Of an
    /// unpartitioned table: all.
    PartitionsOfRows,
    /// All files whose rows satisfy all these predicates, each over identity partition columns only.
    /// New rows must satisfy them too. None: all files.
    Where(Vec<Expr>),
}

#[derive(Debug, Clone, Default)]
pub struct OverwriteOptions {
    /// Trailing columns of the input, after the table's, that are returned instead of the impact.
    pub returning: usize,
    /// Nothing is committed, and the files written are deleted.
    pub dry_run: bool,
}

/// Plan that writes `input` (the table's columns in order, then those of RETURNING) and replaces.
pub fn plan(
    table: &Table,
    _state: &dyn Session,
    _input: Arc<dyn ExecutionPlan>,
    _replaced: Replaced,
    _options: OverwriteOptions,
) -> Result<Arc<dyn ExecutionPlan>> {
    Err(Error::unsupported(&table.ident, "INSERT OVERWRITE"))
}

/// Plan that removes all files.
pub fn truncate(table: &Table, _dry_run: bool) -> Result<Arc<dyn ExecutionPlan>> {
    Err(Error::unsupported(&table.ident, "TRUNCATE"))
}
