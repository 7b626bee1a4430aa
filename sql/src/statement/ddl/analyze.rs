//! `ANALYZE`: accepted for the sake of the tools that send it after each load, with a warning.

use datafusion::sql::sqlparser::ast::ObjectName;

use super::super::{CommandTag, Output};
use crate::error::{Result, SqlState};
use crate::parser::Parsed;
use crate::session::Session;

pub async fn execute(session: &mut Session, tables: &[ObjectName], parsed: &Parsed) -> Result<Output> {
    let scope = session.scope().await?;
    for table in tables {
        scope.table(table, parsed).await?;
    }
    let message = "statistics are kept by the data files: ANALYZE does nothing";
    session.warning(SqlState::WARNING, message);
    Ok(Output::Complete(CommandTag::Plain("ANALYZE")))
}
