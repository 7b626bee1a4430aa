//! DECLARE, FETCH, MOVE, CLOSE.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::scalar::ScalarValue;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{CommandTag, Output, OutputColumn, Prepared, RowOutput, parameters, query, rows};
use crate::error::{Error, Result, SqlState};
use crate::parser::Parsed;
use crate::parser::statement::{Declare, Fetch};
use crate::planner::{Parameter, Scope};
use crate::session::Session;
use crate::session::cursor::{Cursor, CursorRows, Pass, Reader};

fn undefined(name: &str) -> Error {
    Error::new(SqlState::INVALID_CURSOR_NAME, format!("cursor \"{name}\" does not exist"))
}

pub async fn prepare(
    session: &mut Session,
    declare: &Declare,
    given: &[Option<Parameter>],
    parsed: &Parsed,
) -> Result<Prepared> {
    let scope = session.scope().await?;
    let planned = scope.plan_result(&declare.query, given, parsed).await?;
    Ok(Prepared::planned(parsed, planned, None))
}

pub async fn declare(
    session: &mut Session,
    declare: &Declare,
    prepared: &Arc<Prepared>,
    values: Vec<ScalarValue>,
) -> Result<Output> {
    if session.block.is_none() && !declare.options.hold {
        let message = "DECLARE CURSOR can only be used in transaction blocks";
        return Err(Error::new(SqlState::NO_ACTIVE_TRANSACTION, message));
    }
    if session.cursors.get(&declare.name).is_some() {
        let message = format!("cursor \"{}\" already exists", declare.name);
        return Err(Error::new(SqlState::DUPLICATE_CURSOR, message));
    }
    let reader = Reader::default();
    let scope = Scope { abandoned: Some(reader.abandoned()), ..session.scope().await? };
    // Until the plan has its files.
    let _looking = scope.database()?.storage().readers().look();
    let (planned, values) = query::current_plan(&scope, &declare.query, prepared, values).await?;
    let plan = parameters::substitute(&planned.plan, values)?;
    let physical = rows::physical(&scope, &plan).await?;
    let stream = rows::stream(&scope, physical)?;
    let passed = CursorRows::new(stream, declare.options.scroll, reader, &scope.engine.runtime);
    let cursor = Cursor {
        columns: planned.columns.clone(),
        options: declare.options,
        statement: prepared.parsed.text.clone(),
        created: scope.info.statement_start,
        rows: Arc::new(Mutex::new(passed)),
        tables: scope.tables.clone(),
    };
    let savepoints = session.block.as_ref().map(|block| block.savepoints.len());
    session.cursors.insert(declare.name.clone(), cursor, savepoints);
    Ok(Output::Complete(CommandTag::Plain("DECLARE CURSOR")))
}

pub fn columns(session: &Session, fetch: &Fetch) -> Result<Option<Vec<OutputColumn>>> {
    let cursor = session.cursors.get(&fetch.cursor).ok_or_else(|| undefined(&fetch.cursor))?;
    Ok((!fetch.discard).then(|| cursor.columns.as_ref().clone()))
}

pub async fn fetch(session: &mut Session, fetch: &Fetch) -> Result<Output> {
    let cursor = session.cursors.get(&fetch.cursor).ok_or_else(|| undefined(&fetch.cursor))?;
    let mut rows = cursor.start(&fetch.cursor)?;
    rows.unsettle(session.abandoned.clone());
    let mut pass = rows.begin(fetch.movement).await?;
    if fetch.discard {
        let passed = rows.pass(pass).await?;
        rows.settle();
        return Ok(Output::Complete(CommandTag::Count("MOVE", passed)));
    }
    if pass == Pass::Here {
        rows.step_back()?;
        pass = Pass::Forward(Some(1));
    }
    Ok(Output::Rows(RowOutput {
        columns: cursor.columns.clone(),
        stream: Reading { rows, pass }.stream(),
        tag: CommandTag::Rows { verb: "FETCH", counted: true },
        binary: cursor.options.binary,
        collecting: None,
    }))
}

/// A FETCH whose rows go out as they come.
struct Reading {
    rows: OwnedMutexGuard<CursorRows>,
    pass: Pass,
}

impl Reading {
    fn stream(self) -> SendableRecordBatchStream {
        let schema = self.rows.schema();
        let stream = futures::stream::try_unfold(self, |mut reading| async move {
            let batch = reading.next().await.map_err(DataFusionError::from)?;
            Ok(batch.map(|batch| (batch, reading)))
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, stream))
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let batch = match self.pass {
            Pass::Forward(Some(0)) | Pass::Backward(Some(0)) | Pass::Here => None,
            Pass::Forward(count) => self.rows.advance(count.unwrap_or(u64::MAX)).await?,
            Pass::Backward(count) => self.rows.retreat(count.unwrap_or(u64::MAX)).await?,
        };
        let Some(batch) = batch else {
            self.rows.settle();
            return Ok(None);
        };
        if let Pass::Forward(Some(left)) | Pass::Backward(Some(left)) = &mut self.pass {
            *left -= batch.num_rows() as u64;
            if *left == 0 {
                // Whoever has all that he asked for need not ask for the end.
                self.rows.settle();
            }
        }
        Ok(Some(batch))
    }
}

pub fn close(session: &mut Session, name: Option<&str>) -> Result<Output> {
    match name {
        None => {
            session.cursors.clear();
            Ok(Output::Complete(CommandTag::Plain("CLOSE CURSOR ALL")))
        }
        Some(name) if session.cursors.remove(name) => Ok(Output::Complete(CommandTag::Plain("CLOSE CURSOR"))),
        Some(name) => Err(undefined(name)),
    }
}
