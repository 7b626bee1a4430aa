//! DECLARE, FETCH, MOVE, CLOSE.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::Query;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{CommandTag, Output, OutputColumn, Prepared, RowOutput, join_memory, parameters, query};
use crate::error::{Error, Result, SqlState};
use crate::parser::statement::{Declare, Fetch};
use crate::parser::{Parsed, Statement};
use crate::planner::{Parameter, Scope};
use crate::result_cache::{Asked, CachedOutput, Declared, Taking, name_of};
use crate::session::Session;
use crate::session::cursor::{
    Bound, Cursor, CursorOptions, CursorRows, Deferred, PORTAL, Pass, Reader, Standing, cannot_be_run,
};

fn undefined(name: &str) -> Error {
    Error::new(SqlState::INVALID_CURSOR_NAME, format!("cursor \"{name}\" does not exist"))
}

/// The error for what FETCH cannot read.
fn unreadable(session: &Session, name: &str) -> Error {
    if session.cursors.contains(name) { cannot_be_run(name) } else { undefined(name) }
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
    if session.cursors.contains(&declare.name) {
        let message = format!("cursor \"{}\" already exists", declare.name);
        return Err(Error::new(SqlState::DUPLICATE_CURSOR, message));
    }
    let opening = Opening {
        query: &declare.query,
        text: &declare.text,
        prepared,
        options: declare.options,
        reader: Reader::default(),
    };
    let cursor = open(session, opening, values).await?;
    let savepoints = session.block.as_ref().map(|block| block.savepoints.len());
    session.cursors.insert(declare.name.clone(), cursor, savepoints);
    Ok(Output::Complete(CommandTag::Plain("DECLARE CURSOR")))
}

/// A query that is to be read piece by piece.
struct Opening<'a> {
    query: &'a Query,
    /// The query's own text.
    text: &'a str,
    prepared: &'a Arc<Prepared>,
    options: CursorOptions,
    reader: Reader,
}

async fn open(session: &mut Session, opening: Opening<'_>, values: Vec<ScalarValue>) -> Result<Cursor> {
    let Opening { query, text, prepared, options, reader } = opening;
    let request = session.request(text, &prepared.parameters, Some(&values));
    let scope = Scope { abandoned: Some(reader.abandoned()), ..session.scope().await? };
    // Until the plan has its files.
    let _looking = scope.database()?.storage().readers().look();
    let given = request.map(|_| values.clone()).unwrap_or_default();
    let (planned, values) = query::current_plan(&scope, query, prepared, values).await?;
    let plan = parameters::substitute(&planned.plan, values)?;
    let state = scope.state_for(&plan).await?;
    let optimized = state.optimize(&plan).map_err(|e| Error::from(&e))?;
    let asked = request.map(|request| {
        let types = prepared.parameters.as_slice();
        Asked { request, text, types, values: &given }
    });
    let declared = named(session, &scope, asked.as_ref(), &optimized, &planned.columns)?;
    let scroll = options.scroll;
    let rows = match &declared {
        Some(declared) => {
            let deferred = Deferred::new(scope.clone(), state, optimized)?;
            CursorRows::deferred(deferred, scroll, reader, declared.total.clone())
        }
        None => {
            let stream = join_memory::start(&scope, &state, optimized).await?;
            CursorRows::running(stream, scroll, reader, &scope.engine.runtime)
        }
    };
    Ok(Cursor {
        columns: planned.columns.clone(),
        options,
        statement: prepared.parsed.text.clone(),
        created: scope.info.statement_start,
        rows: Arc::new(Mutex::new(rows)),
        declared,
        tables: scope.tables.clone(),
    })
}

/// Starts the query of a portal that Bind has made, if nobody has read from it before.
async fn open_bound(session: &mut Session, name: &str) -> Result<()> {
    let Some(Bound { prepared, values, created, .. }) = session.cursors.start_bound(name) else {
        return Ok(());
    };
    let Statement::Query(query) = prepared.parsed.statement.as_ref() else { return Ok(()) };
    let reader = Reader::default();
    let cursor = match without_plan(session, &prepared, &values, &reader).await? {
        Some(found) => Cursor {
            columns: found.columns,
            options: PORTAL,
            statement: prepared.parsed.text.clone(),
            created,
            rows: Arc::new(Mutex::new(CursorRows::running(
                found.stream,
                PORTAL.scroll,
                reader,
                &session.engine.runtime,
            ))),
            declared: None,
            tables: Arc::default(),
        },
        None => {
            let text = prepared.parsed.text.as_str();
            let opening = Opening { query, text, prepared: &prepared, options: PORTAL, reader };
            Cursor { created, ..open(session, opening, values).await? }
        }
    };
    session.cursors.opened(name, cursor);
    Ok(())
}

/// The rows of a query that needs no plan, or has a kept one. `None`: it is none of these.
async fn without_plan(
    session: &mut Session,
    prepared: &Prepared,
    values: &[ScalarValue],
    reader: &Reader,
) -> Result<Option<RowOutput>> {
    let found = match query::trivial_rows(prepared) {
        Some(output) => Some(output),
        None => {
            // The plan outlives the statement that starts it.
            let statement = session.abandoned.replace(reader.abandoned());
            let kept = query::kept_rows(session, prepared, values).await;
            session.abandoned = statement;
            kept?
        }
    };
    Ok(match found {
        Some(Output::Rows(rows)) => Some(rows),
        _ => None,
    })
}

pub fn columns(session: &Session, fetch: &Fetch) -> Result<Option<Vec<OutputColumn>>> {
    let columns = session.cursors.columns(&fetch.cursor).ok_or_else(|| unreadable(session, &fetch.cursor))?;
    Ok((!fetch.discard).then(|| columns.as_ref().clone()))
}

pub async fn fetch(session: &mut Session, fetch: &Fetch) -> Result<Output> {
    open_bound(session, &fetch.cursor).await?;
    let cursor = session.cursors.get(&fetch.cursor).ok_or_else(|| unreadable(session, &fetch.cursor))?;
    let mut rows = cursor.start(&fetch.cursor)?;
    let (columns, binary, declared) =
        (cursor.columns.clone(), cursor.options.binary, cursor.declared.clone());
    rows.unsettle(session.abandoned.clone());
    if let Some(declared) = &declared {
        choose(session, declared, &mut rows, &columns).await?;
    }
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
    let tag = CommandTag::Rows { verb: "FETCH", counted: true };
    if let Some((answer, part)) = rows.part(pass).await? {
        rows.settle();
        return Ok(Output::Cached(CachedOutput { columns, answer, part, tag }));
    }
    let shown = session.shown_as();
    let piece = match (&declared, pass) {
        (Some(declared), Pass::Forward(_)) => declared.piece(session, &shown, rows.position()),
        _ => None,
    };
    let collecting = piece.map(Taking::Piece);
    Ok(Output::Rows(RowOutput { columns, stream: Reading { rows, pass }.stream(), tag, binary, collecting }))
}

/// A name for the rows of a cursor. `None`: they have none.
fn named(
    session: &mut Session,
    scope: &Scope,
    asked: Option<&Asked<'_>>,
    optimized: &LogicalPlan,
    columns: &[OutputColumn],
) -> Result<Option<Arc<Declared>>> {
    let Some(asked) = asked else { return Ok(None) };
    let cache = session.engine.results.clone();
    let name = name_of(&cache, optimized, columns, asked.request.session).map_err(|e| Error::from(&e))?;
    let Some(name) = name else {
        cache.statistics.bypassed.inc();
        session.tell_of_cache("bypass");
        return Ok(None);
    };
    Ok(Some(Arc::new(Declared::new(asked, name, session, scope))))
}

/// Takes the rows from an answer, if there is one as the client wants it, or else from the query.
async fn choose(
    session: &mut Session,
    declared: &Declared,
    rows: &mut CursorRows,
    columns: &[OutputColumn],
) -> Result<()> {
    let shown = session.shown_as();
    let is_first = match rows.standing(&shown) {
        Standing::Running | Standing::ThisAnswer => return Ok(()),
        Standing::OtherAnswer(true) => return rows.run_in_order(columns, session.row_coder).await,
        Standing::OtherAnswer(false) => false,
        Standing::Waiting => true,
    };
    let answer = declared.kept(session, &shown);
    if is_first {
        declared.count(session, answer.is_some());
    }
    match answer {
        Some(answer) => rows.answer(answer, shown),
        None => rows.run().await?,
    }
    Ok(())
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
