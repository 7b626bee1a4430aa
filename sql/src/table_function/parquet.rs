//! `read_parquet`.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::datasource::file_format::parquet::ParquetFormat;

use super::options::Options;
use super::{Files, FilesRead};
use crate::error::Result;
use crate::planner::Scope;

pub async fn open(scope: &Scope, options: Options, read: &Arc<FilesRead>) -> Result<Arc<dyn TableProvider>> {
    options.finish()?;
    let format = ParquetFormat::new().with_options(scope.state.table_options().parquet.clone());
    Files::find(scope, &options.paths, Arc::new(format)).await?.table(read)
}
