//! CREATE SCHEMA.

use datafusion::sql::sqlparser::ast::ObjectName;

use super::super::{CommandTag, Output};
use crate::error::{Error, Result, SqlState};
use crate::session::Session;

pub async fn execute(session: &mut Session, name: &ObjectName, if_not_exists: bool) -> Result<Output> {
    session.check_writable("CREATE SCHEMA")?;
    let (catalog, schema) = super::schema_name(session, name)?;
    if schema.starts_with("pg_") || schema == "information_schema" {
        return Err(Error::new(SqlState("42939"), format!("unacceptable schema name \"{schema}\""))
            .with_detail("The prefix \"pg_\" is reserved for system schemas."));
    }
    let catalog = session.catalog(&catalog)?;
    if !catalog.create_namespace(&schema, if_not_exists).await? {
        let message = format!("schema \"{schema}\" already exists, skipping");
        session.notice("NOTICE", SqlState::DUPLICATE_SCHEMA, message);
    }
    Ok(Output::Complete(CommandTag::Plain("CREATE SCHEMA")))
}
