//! DECLARE, FETCH, MOVE, CLOSE.

use arrow::record_batch::RecordBatch;

use super::{CommandTag, Output, OutputColumn, rows};
use crate::error::{Error, Result, SqlState};
use crate::parser::Parsed;
use crate::parser::statement::{Declare, Fetch};
use crate::session::Session;
use crate::session::cursor::Cursor;

fn undefined(name: &str) -> Error {
    Error::new(SqlState::INVALID_CURSOR_NAME, format!("cursor \"{name}\" does not exist"))
}

pub async fn declare(session: &mut Session, declare: &Declare, parsed: &Parsed) -> Result<Output> {
    if declare.binary {
        return Err(super::not_supported("DECLARE … BINARY CURSOR"));
    }
    if session.block.is_none() && !declare.hold {
        let message = "DECLARE CURSOR can only be used in transaction blocks";
        return Err(Error::new(SqlState::NO_ACTIVE_TRANSACTION, message));
    }
    if session.cursors.contains_key(&declare.name) {
        let message = format!("cursor \"{}\" already exists", declare.name);
        return Err(Error::new(SqlState::DUPLICATE_CURSOR, message));
    }
    let scope = session.scope().await?;
    // Until the plan has its files.
    let _looking = scope.database()?.storage().readers().look();
    let planned = scope.plan_query(&declare.query, &[], parsed).await?;
    if !planned.parameters.is_empty() {
        return Err(super::not_supported("a parameter in DECLARE CURSOR"));
    }
    let physical = rows::physical(&scope, &planned.plan).await?;
    let stream = rows::stream(&scope, physical)?;
    session.cursors.insert(
        declare.name.clone(),
        Cursor::new(planned.columns, declare.hold, stream, scope.tables.clone()),
    );
    Ok(Output::Complete(CommandTag::Plain("DECLARE CURSOR")))
}

pub fn columns(session: &Session, fetch: &Fetch) -> Result<Option<Vec<OutputColumn>>> {
    let cursor = session.cursors.get(&fetch.cursor).ok_or_else(|| undefined(&fetch.cursor))?;
    Ok((!fetch.discard).then(|| cursor.columns.as_ref().clone()))
}

pub async fn fetch(session: &mut Session, fetch: &Fetch) -> Result<Output> {
    let cursor = session.cursors.get_mut(&fetch.cursor).ok_or_else(|| undefined(&fetch.cursor))?;
    let batches = cursor.fetch(fetch.count).await?;
    if fetch.discard {
        let skipped: usize = batches.iter().map(RecordBatch::num_rows).sum();
        return Ok(Output::Complete(CommandTag::Count("MOVE", skipped as u64)));
    }
    let tag = CommandTag::Rows { verb: "FETCH", counted: true };
    Ok(rows::batches(cursor.columns.clone(), cursor.schema(), batches, tag))
}

pub fn close(session: &mut Session, name: Option<&str>) -> Result<Output> {
    match name {
        None => {
            session.cursors.clear();
            Ok(Output::Complete(CommandTag::Plain("CLOSE CURSOR ALL")))
        }
        Some(name) => {
            session.cursors.remove(name).ok_or_else(|| undefined(name))?;
            Ok(Output::Complete(CommandTag::Plain("CLOSE CURSOR")))
        }
    }
}
