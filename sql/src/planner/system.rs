//! Relations of `pg_catalog` and `information_schema` by name.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;

use super::Scope;
use crate::error::Result;

/// The system relation that a name means, if it means one.
pub async fn relation(_scope: &Scope, _name: &TableReference) -> Result<Option<Arc<dyn TableProvider>>> {
    Ok(None)
}
