//! `CREATE INDEX`: accepted for the sake of the clients that send it beside every table (pandas, Django, dbt),
//! with a warning. Tables have no indexes, and nothing keeps values unique.

use datafusion::sql::sqlparser::ast::{CreateIndex, Expr};

use super::super::{CommandTag, Output};
use crate::error::{Error, Result, SqlState};
use crate::parser::{Parsed, folded};
use crate::session::Session;

pub async fn execute(session: &mut Session, index: &CreateIndex, parsed: &Parsed) -> Result<Output> {
    session.check_writable("CREATE INDEX")?;
    let scope = session.scope().await?;
    let table = scope.table(&index.table_name, parsed).await?;
    for column in &index.columns {
        if let Expr::Identifier(ident) = &column.column.expr {
            let name = folded(ident.clone());
            if table.snapshot.schema.arrow.field_with_name(&name).is_err() {
                let message = format!("column \"{name}\" does not exist");
                return Err(Error::new(SqlState::UNDEFINED_COLUMN, message));
            }
        }
    }
    session.warning(
        SqlState::WARNING,
        match index.unique {
            true => {
                "tables have no indexes: CREATE UNIQUE INDEX does nothing, and nothing keeps values unique"
            }
            false => "tables have no indexes: CREATE INDEX does nothing",
        },
    );
    Ok(Output::Complete(CommandTag::Plain("CREATE INDEX")))
}
