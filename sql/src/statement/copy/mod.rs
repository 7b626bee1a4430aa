//! COPY.

mod csv;
mod from_file;
mod from_stdin;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;
pub mod lines;
mod records;
mod text;
mod text_value;
mod to_stdout;

use super::{Output, not_supported};
use crate::error::{Error, Result};
use crate::parser::Parsed;
use crate::parser::statement::{Copy, CopySource, CopyTarget};
use crate::session::Session;

pub async fn execute(session: &mut Session, copy: &Copy, parsed: &Parsed) -> Result<Output> {
    match (&copy.source, &copy.target) {
        (CopySource::Table { name, columns }, CopyTarget::Stdin) => {
            from_stdin::execute(session, name, columns, &copy.options, parsed).await
        }
        (source, CopyTarget::Stdout) => to_stdout::execute(session, source, &copy.options, parsed).await,
        (CopySource::Table { name, columns }, CopyTarget::FromFile(location)) => {
            from_file::execute(session, name, columns, location, &copy.options, parsed).await
        }
        (CopySource::Query(_), CopyTarget::FromFile(_)) => Err(not_supported("COPY FROM into a query")),
        (_, CopyTarget::File(_)) => Err(not_supported("COPY TO a file")),
        (CopySource::Query(_), CopyTarget::Stdin) => Err(not_supported("COPY FROM into a query")),
    }
}

/// Of a format that clients do not speak.
fn files_only() -> Error {
    not_supported("COPY in JSON or Parquet format from or to the client")
        .with_hint("Use COPY … FROM 'location', or CSV.")
}
