//! `read_json`: one object per line, or (`format => 'array'`) one array of objects.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::datasource::file_format::json::JsonFormat;

use super::options::Options;
use super::{Files, FilesRead, csv};
use crate::error::{Error, Result, SqlState};
use crate::planner::Scope;

/// Records looked at to find the types.
const SAMPLE: i64 = 20_480;

pub async fn open(
    scope: &Scope,
    mut options: Options,
    read: &Arc<FilesRead>,
) -> Result<Arc<dyn TableProvider>> {
    let lines = match options.text(&["format"]).as_deref() {
        None | Some("auto" | "newline_delimited" | "nd") => true,
        Some("array") => false,
        Some(other) => {
            let message =
                format!("JSON format \"{other}\" is not recognized: use newline_delimited or array");
            return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
        }
    };
    let sample = options.integer(&["sample_size", "infer_rows"])?.unwrap_or(SAMPLE);
    let format = JsonFormat::default()
        .with_schema_infer_max_rec(usize::try_from(sample).unwrap_or(usize::MAX))
        .with_file_compression_type(csv::compression(&mut options)?)
        .with_newline_delimited(lines);
    options.finish()?;
    Files::find(scope, &options.paths, Arc::new(format)).await?.table(read)
}
