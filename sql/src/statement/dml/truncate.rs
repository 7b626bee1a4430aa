//! `TRUNCATE`: each table in a commit of its own, or by the COMMIT of the transaction.

use auric_catalog::dml::overwrite;
use auric_catalog::table::Operation;
use datafusion::sql::sqlparser::ast::ObjectName;

use super::super::{CommandTag, Output};
use super::execute::Attempts;
use super::write;
use crate::error::Result;
use crate::parser::Parsed;
use crate::parser::statement::Truncate;
use crate::session::Session;

pub async fn execute(session: &mut Session, truncate: &Truncate, parsed: &Parsed) -> Result<Output> {
    session.check_writable("TRUNCATE TABLE")?;
    // An unknown name is found out before anything is done.
    let scope = session.scope().await?;
    for name in &truncate.tables {
        let (table, _) = scope.changeable_table(name, parsed).await?;
        table.check_writable(Operation::Truncate)?;
    }
    for name in &truncate.tables {
        let mut attempts = Attempts::new(session.block.is_some());
        loop {
            if let Some(outcome) = attempts.last(one(session, name, parsed).await) {
                outcome?;
                break;
            }
        }
    }
    Ok(Output::Complete(CommandTag::Plain("TRUNCATE TABLE")))
}

async fn one(session: &mut Session, name: &ObjectName, parsed: &Parsed) -> Result<Output> {
    let scope = session.scope().await?;
    let (table, _) = scope.changeable_table(name, parsed).await?;
    let plan = overwrite::truncate(&table, scope.state.as_ref(), false, scope.tables.publish(&table)?)?;
    write::run(&scope, plan, None).await
}
