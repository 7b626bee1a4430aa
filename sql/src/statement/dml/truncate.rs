//! `TRUNCATE`: each table in a commit of its own.

use auric_catalog::dml::overwrite;
use auric_catalog::dml::publish::Publish;
use datafusion::sql::sqlparser::ast::ObjectName;

use super::super::{CommandTag, Output, not_supported};
use super::execute::Attempts;
use super::write;
use crate::error::Result;
use crate::parser::Parsed;
use crate::parser::statement::Truncate;
use crate::session::Session;

pub async fn execute(session: &mut Session, truncate: &Truncate, parsed: &Parsed) -> Result<Output> {
    session.check_writable("TRUNCATE TABLE")?;
    if session.block.is_some() {
        return Err(not_supported("TRUNCATE in a transaction block")
            .with_hint("Use autocommit: the statement is atomic by itself."));
    }
    // An unknown name is found out before anything is done.
    let scope = session.scope().await?;
    for name in &truncate.tables {
        scope.changeable_table(name, parsed).await?;
    }
    for name in &truncate.tables {
        let mut attempts = Attempts::new(false);
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
    let plan = overwrite::truncate(&table, scope.state.as_ref(), false, Publish::Now)?;
    write::run(&scope, plan, None).await
}
