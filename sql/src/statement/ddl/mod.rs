//! Statements that define schemas, tables and views.

mod add_column;
pub mod alter_table;
pub mod analyze;
mod column_default;
pub mod comment;
mod constraint;
pub mod create_index;
pub mod create_schema;
pub mod create_table;
pub mod create_view;
pub mod dependents;
pub mod drop_schema;
pub mod drop_table;
pub mod drop_view;
mod foreign_key;
mod identity_column;
mod portable;
pub mod rename;
mod replace_table;

use datafusion::sql::sqlparser::ast::ObjectName;

use crate::error::{Error, Result, SqlState};
use crate::parser::folded;
use crate::session::Session;

/// A schema's name, perhaps with its catalog's before it: catalog, schema.
pub(crate) fn schema_name(session: &Session, name: &ObjectName) -> Result<(String, String)> {
    let mut parts = name.0.iter().filter_map(|part| part.as_ident().cloned()).map(folded);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(schema), None, _) => Ok((session.parameters.database.clone(), schema)),
        (Some(catalog), Some(schema), None) => Ok((catalog, schema)),
        _ => Err(Error::new(SqlState::SYNTAX_ERROR, format!("improper qualified name: {name}"))),
    }
}
