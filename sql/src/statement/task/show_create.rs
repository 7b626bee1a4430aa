//! `SHOW CREATE TASK`.

use datafusion::sql::sqlparser::ast::ObjectName;

use super::super::materialized_view::show_create::column;
use super::super::{CommandTag, Output, rows};
use super::find;
use crate::error::Result;
use crate::materialize::task::{Task, qualified};
use crate::session::Session;

pub async fn execute(session: &Session, name: &ObjectName) -> Result<Output> {
    let scope = session.scope().await?;
    let (_, stored) = find(&scope, name).await?;
    let tag = CommandTag::Rows { verb: "SHOW", counted: false };
    rows::text_rows(vec![column()], &[vec![Some(statement(&stored.task))]], tag)
}

/// The statement that makes the task as it is.
pub fn statement(task: &Task) -> String {
    let mut lines = vec![format!("CREATE TASK {}", qualified(&task.ident))];
    lines.extend(task.trigger.clause());
    lines.extend(task.retries.map(|retries| format!("RETRIES {retries}")));
    let quoted = |text: &String| format!("COMMENT '{}'", text.replace('\'', "''"));
    lines.extend(task.comment.as_ref().map(quoted));
    lines.push(format!("AS {}", task.statement));
    lines.join("\n")
}
