//! DROP SCHEMA.

use datafusion::sql::sqlparser::ast::ObjectName;

use super::super::{CommandTag, Output};
use crate::error::{Result, SqlState};
use crate::session::Session;

pub async fn execute(
    session: &mut Session,
    names: &[ObjectName],
    if_exists: bool,
    cascade: bool,
) -> Result<Output> {
    session.check_writable("DROP SCHEMA")?;
    for name in names {
        let (catalog, schema) = super::schema_name(session, name)?;
        let catalog = session.catalog(&catalog)?;
        match catalog.drop_namespace(&schema, cascade).await {
            Ok(()) => {}
            Err(auric_catalog::Error::NamespaceNotFound(_)) if if_exists => {
                let message = format!("schema \"{schema}\" does not exist, skipping");
                session.notice("NOTICE", SqlState::SUCCESSFUL_COMPLETION, message);
            }
            Err(e) => return Err(e.into()),
        }
    }
    Ok(Output::Complete(CommandTag::Plain("DROP SCHEMA")))
}
