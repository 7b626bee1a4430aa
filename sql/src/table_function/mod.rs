//! Table functions over files: `read_csv`, `read_json`, `read_parquet`.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::sql::sqlparser::ast::{ObjectName, TableFunctionArgs};

use crate::error::Result;
use crate::planner::Scope;

/// The relation of a call; `None`: no function of this module.
pub async fn resolve(
    _scope: &Scope,
    _name: &ObjectName,
    _args: &TableFunctionArgs,
) -> Result<Option<Arc<dyn TableProvider>>> {
    Ok(None)
}
