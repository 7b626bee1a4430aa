//! A statement on its way: the task that runs it on the pools, and the events it sends back.
//!
//! Rows cross from the query pool to the connection's task already encoded, through a bounded channel:
//! a slow client holds the plan back, and a result of any size takes a few hundred kilobytes. Dropping
//! a [`Run`] aborts the task, which drops the row stream, which stops the plan.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use auric_sql::parser::Parsed;
use auric_sql::result_cache::CachedOutput;
use auric_sql::{
    Abandoned, CommandTag, Committing, CopyIn, CopyLines, Error, Output, OutputColumn, Prepared, Result,
    Session, SqlState,
};
use bytes::Bytes;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, mpsc};

use super::Server;
use super::copy;
use super::copy_binary;
use super::encode::{BatchEncoder, Formats, Shown};
use super::result_rows;
use crate::runtime::{Scoped, scoped};

/// Chunks of encoded rows that may wait for the connection.
const CHUNKS_AHEAD: usize = 4;

/// The session, shared between the connection's task and the tasks that run its statements. Only one
/// of them uses it at a time.
#[derive(Debug)]
pub(super) struct SharedSession {
    session: Arc<Mutex<Session>>,
    /// A statement was abandoned and the session does not know yet.
    failed: AtomicBool,
    /// The client's portals have gone and the session does not know yet.
    portals_ended: AtomicBool,
    committing: Committing,
}

/// What a task is to do.
#[derive(Debug)]
pub(super) enum Work {
    /// Simple protocol.
    Statement(Parsed),
    /// Simple protocol, in a query string of several statements.
    OneOfSeveral(Parsed),
    /// The end of such a string.
    EndOfSeveral,
    /// Extended protocol.
    Portal { prepared: Arc<Prepared>, parameters: Vec<ScalarValue> },
}

/// What a running statement tells the connection.
pub(super) enum Event {
    /// Rows follow.
    Columns(Arc<Vec<OutputColumn>>, Formats),
    /// COPY TO STDOUT: data follows.
    CopyOut {
        columns: usize,
        binary: bool,
    },
    /// COPY FROM STDIN: the connection feeds it; nothing follows.
    CopyIn(Box<dyn CopyIn>),
    /// Encoded DataRow or CopyData messages.
    Rows(Chunk),
    /// The end of COPY TO STDOUT's data.
    CopyOutDone,
    /// Success. `None`: empty query.
    Done(Option<CommandTag>),
    Failed(Error),
}

/// Whole encoded messages.
#[derive(Debug)]
pub(super) struct Chunk {
    pub bytes: Bytes,
    /// Number of messages.
    pub rows: u64,
}

/// A statement's task.
pub(super) struct Run {
    /// Events that are here already.
    pub ready: VecDeque<Event>,
    /// Those that come; `None`: all are here.
    events: Option<mpsc::Receiver<Event>>,
    _task: Option<Scoped<()>>,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("ready", &self.ready.len()).finish_non_exhaustive()
    }
}

impl SharedSession {
    pub(super) fn new(session: Session) -> Arc<Self> {
        let committing = session.committing();
        Arc::new(Self {
            session: Arc::new(Mutex::new(session)),
            failed: AtomicBool::new(false),
            portals_ended: AtomicBool::new(false),
            committing,
        })
    }

    /// Whether COMMIT has begun, which nothing stops.
    pub(super) fn is_committing(&self) -> bool {
        self.committing.is_on()
    }

    /// Waits for its turn.
    pub(super) async fn lock(&self) -> OwnedMutexGuard<Session> {
        let mut session = self.session.clone().lock_owned().await;
        self.settle(&mut session);
        session
    }

    /// `None`: a statement that was abandoned has not let go of it yet.
    pub(super) fn try_lock(&self) -> Option<OwnedMutexGuard<Session>> {
        let mut session = self.session.clone().try_lock_owned().ok()?;
        self.settle(&mut session);
        Some(session)
    }

    /// The running statement failed or was abandoned.
    pub(super) fn fail(&self) {
        self.failed.store(true, Ordering::Release);
    }

    /// The transaction of the client's portals is over. A statement that was abandoned and still holds the
    /// session is not waited for.
    pub(super) fn end_portals(&self) {
        self.portals_ended.store(true, Ordering::Release);
        drop(self.try_lock());
    }

    fn settle(&self, session: &mut Session) {
        if self.portals_ended.swap(false, Ordering::AcqRel) {
            session.end_portals();
        }
        if self.failed.swap(false, Ordering::AcqRel) {
            session.fail();
        }
    }
}

impl Run {
    /// Starts the work. `immediate`: it needs no plan. `formats`: of the result's columns.
    pub(super) fn start(
        server: &Arc<Server>,
        session: &Arc<SharedSession>,
        work: Work,
        immediate: bool,
        formats: Formats,
    ) -> Self {
        let (sender, events) = mpsc::channel(CHUNKS_AHEAD);
        let unformatted = matches!(work, Work::Statement(_) | Work::OneOfSeveral(_));
        let task =
            Task { server: server.clone(), session: session.clone(), formats, unformatted, events: sender };
        let handle = match (&work, immediate) {
            (_, true) => &server.runtimes.io,
            (Work::Statement(_) | Work::OneOfSeveral(_), false) => &server.runtimes.plan,
            (Work::Portal { prepared, .. }, false) if prepared.reads_catalog_only() => &server.runtimes.plan,
            (Work::Portal { .. } | Work::EndOfSeveral, false) => &server.runtimes.query,
        };
        let task = scoped(handle, "statement", task.run(work, immediate));
        Self { ready: VecDeque::new(), events: Some(events), _task: Some(task) }
    }

    /// The answer that the cache has to a query, if that is certain on the spot.
    pub(super) fn recalled(session: &SharedSession, work: &Work, formats: &Formats) -> Option<Self> {
        let mut session = session.try_lock()?;
        session.set_encoding(formats.number());
        let output = match work {
            Work::Statement(parsed) => session.recall_parsed(parsed)?,
            Work::Portal { prepared, parameters } => session.recall_prepared(prepared, parameters)?,
            Work::OneOfSeveral(_) | Work::EndOfSeveral => return None,
        };
        Some(Self::of(result_rows::of_cache(&output, formats)))
    }

    /// The same for a query string that is not parsed yet.
    pub(super) fn recalled_text(session: &SharedSession, text: &str) -> Option<Self> {
        let mut session = session.try_lock()?;
        session.set_encoding(Formats::TEXT.number());
        let output = session.recall_text(text)?;
        Some(Self::of(result_rows::of_cache(&output, &Formats::TEXT)))
    }

    fn of(ready: VecDeque<Event>) -> Self {
        Self { ready, events: None, _task: None }
    }

    /// Does work that takes microseconds on the spot, if the session is free; gives it back if not.
    pub(super) async fn at_once(
        session: &SharedSession,
        work: Work,
        formats: &Formats,
    ) -> std::result::Result<Result<Self>, Work> {
        let Some(mut session) = session.try_lock() else { return Err(work) };
        if let Some(answered) = trivial(&session, &work, formats).transpose() {
            return Ok(answered.map(Self::of));
        }
        // Boxed, as its state is that of any statement: kilobytes to move about.
        Ok(Box::pin(answer(&mut session, work, formats)).await.map(Self::of))
    }

    /// The next event that is not here yet. `None`: there are no more.
    pub(super) async fn next(&mut self) -> Option<Event> {
        match &mut self.events {
            Some(events) => events.recv().await,
            None => None,
        }
    }
}

/// The answer to a query of constants.
fn trivial(session: &Session, work: &Work, formats: &Formats) -> Result<Option<VecDeque<Event>>> {
    let prepared_now;
    let prepared = match work {
        Work::Portal { prepared, .. } => prepared.as_ref(),
        Work::Statement(parsed) => match session.prepare_trivial(parsed)? {
            Some(prepared) => {
                prepared_now = prepared;
                &prepared_now
            }
            None => return Ok(None),
        },
        Work::OneOfSeveral(_) | Work::EndOfSeveral => return Ok(None),
    };
    let Some(answer) = session.trivial_answer(prepared)? else { return Ok(None) };
    let mut events = VecDeque::with_capacity(3);
    events.push_back(Event::Columns(answer.columns.clone(), formats.clone()));
    let mut encoder = BatchEncoder::new(&answer.row, &answer.columns, formats, &Shown::plain())?;
    while let Some((bytes, rows)) = encoder.next_chunk()? {
        events.push_back(Event::Rows(Chunk { bytes, rows }));
    }
    events.push_back(Event::Done(Some(CommandTag::Select)));
    Ok(Some(events))
}

/// All that a statement says that needs no plan.
async fn answer(session: &mut Session, work: Work, formats: &Formats) -> Result<VecDeque<Event>> {
    let (prepared, parameters) = match work {
        Work::Statement(parsed) => (session.prepare(&parsed, &[]).await?, Vec::new()),
        Work::OneOfSeveral(parsed) => {
            session.begin_implicit()?;
            (session.prepare(&parsed, &[]).await?, Vec::new())
        }
        Work::Portal { prepared, parameters } => (prepared, parameters),
        Work::EndOfSeveral => {
            session.commit_implicit().await?;
            return Ok(VecDeque::from([Event::Done(None)]));
        }
    };
    let mut events = VecDeque::with_capacity(3);
    session.set_encoding(formats.number());
    let output = session.execute(&prepared, parameters).await?;
    let shown = Shown::of(session);
    match output {
        Output::Rows(mut rows) => {
            events.push_back(Event::Columns(rows.columns.clone(), formats.clone()));
            while let Some(batch) = rows.stream.next().await {
                let batch = batch.map_err(Error::from)?;
                let mut encoder = BatchEncoder::new(&batch, &rows.columns, formats, &shown)?;
                while let Some((bytes, rows)) = encoder.next_chunk()? {
                    events.push_back(Event::Rows(Chunk { bytes, rows }));
                }
            }
            events.push_back(Event::Done(Some(rows.tag)));
        }
        Output::Cached(output) => events.extend(result_rows::of_cache(&output, formats)),
        Output::Complete(tag) => events.push_back(Event::Done(Some(tag))),
        Output::Empty => events.push_back(Event::Done(None)),
        Output::CopyOut { .. } | Output::CopyOutBinary { .. } | Output::CopyIn(_) => {
            return Err(Error::new(SqlState("XX000"), "COPY is not answered at once"));
        }
    }
    Ok(events)
}

struct Task {
    server: Arc<Server>,
    session: Arc<SharedSession>,
    formats: Formats,
    /// Nobody has asked for the formats: a binary cursor's rows go out in binary.
    unformatted: bool,
    events: mpsc::Sender<Event>,
}

impl Task {
    async fn run(self, work: Work, immediate: bool) {
        let events = self.events.clone();
        if let Err(error) = self.try_run(work, immediate).await {
            // Nobody listens any more: nothing is lost.
            let _ = events.send(Event::Failed(error)).await;
        }
    }

    async fn try_run(self, work: Work, immediate: bool) -> Result<()> {
        let mut session = self.session.lock().await;
        session.set_encoding(self.formats.number());
        if let Work::OneOfSeveral(_) = &work {
            session.begin_implicit()?;
        }
        if let Work::Statement(parsed) | Work::OneOfSeveral(parsed) = &work
            && let Some(output) = session.recall(parsed).await?
        {
            drop(session);
            return self.send_cached(&output).await;
        }
        let (prepared, parameters, planned_here) = match work {
            Work::Statement(parsed) | Work::OneOfSeveral(parsed) => {
                (session.prepare(&parsed, &[]).await?, Vec::new(), true)
            }
            Work::EndOfSeveral => {
                session.commit_implicit().await?;
                // Whoever hears of it asks the session for its status.
                drop(session);
                return self.send(Event::Done(None)).await;
            }
            Work::Portal { prepared, parameters } => (prepared, parameters, false),
        };
        if immediate {
            return self.execute(session, prepared, parameters, None).await;
        }
        let permit = self.server.admission.admit().await?;
        // What is going on, and which tables there are, can be asked while the query pool is busy.
        let elsewhere = planned_here && !prepared.reads_catalog_only();
        let query = self.server.runtimes.query.clone();
        let execution = self.execute(session, prepared, parameters, Some(permit));
        if elsewhere {
            scoped(&query, "execution", execution).await.unwrap_or_else(|_| Err(super::error::lost_task()))
        } else {
            execution.await
        }
    }

    /// Executes and sends what comes. `_permit` is held until the last row is handed over.
    async fn execute(
        mut self,
        mut session: OwnedMutexGuard<Session>,
        prepared: Arc<Prepared>,
        parameters: Vec<ScalarValue>,
        _permit: Option<OwnedSemaphorePermit>,
    ) -> Result<()> {
        // The receiver goes with the `Run`: at once when the statement is cancelled.
        let events = self.events.downgrade();
        session
            .set_abandoned(Abandoned::new(move || events.upgrade().is_none_or(|events| events.is_closed())));
        if self.unformatted && session.fetches_binary(&prepared) {
            self.formats = Formats::All(true);
            session.set_encoding(self.formats.number());
        }
        let output = session.execute(&prepared, parameters).await?;
        let shown = Shown::of(&session);
        // The stream needs no session; other portals of this connection may run beside it.
        drop(session);
        match output {
            Output::Rows(rows) => {
                self.send(Event::Columns(rows.columns.clone(), self.formats.clone())).await?;
                let tag = rows.tag.clone();
                result_rows::send(&self.events, rows, &self.formats, &shown).await?;
                self.send(Event::Done(Some(tag))).await
            }
            Output::Cached(output) => self.send_cached(&output).await,
            Output::CopyOut { columns, lines, stream } => {
                self.send(Event::CopyOut { columns: columns.len(), binary: false }).await?;
                if let Some(header) = lines.header() {
                    self.send(Event::Rows(copy::one_line(&header))).await?;
                }
                let rows = self.send_copy_lines(stream, &columns, &lines, &shown).await?;
                self.send(Event::CopyOutDone).await?;
                self.send(Event::Done(Some(CommandTag::Count("COPY", rows)))).await
            }
            Output::CopyOutBinary { columns, stream } => {
                self.send(Event::CopyOut { columns: columns.len(), binary: true }).await?;
                let rows = self.send_binary_copy_data(stream, &columns).await?;
                self.send(Event::CopyOutDone).await?;
                self.send(Event::Done(Some(CommandTag::Count("COPY", rows)))).await
            }
            Output::CopyIn(copy) => self.send(Event::CopyIn(copy)).await,
            Output::Complete(tag) => self.send(Event::Done(Some(tag))).await,
            Output::Empty => self.send(Event::Done(None)).await,
        }
    }

    async fn send_copy_lines(
        &self,
        mut stream: SendableRecordBatchStream,
        columns: &[OutputColumn],
        lines: &CopyLines,
        shown: &Shown,
    ) -> Result<u64> {
        let mut total = 0;
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(Error::from)?;
            let mut encoder = BatchEncoder::new(&batch, columns, &Formats::TEXT, shown)?;
            while let Some((bytes, rows)) = encoder.next_lines(lines)? {
                total += rows;
                self.send(Event::Rows(Chunk { bytes, rows })).await?;
            }
        }
        Ok(total)
    }

    async fn send_binary_copy_data(
        &self,
        mut stream: SendableRecordBatchStream,
        columns: &[OutputColumn],
    ) -> Result<u64> {
        let mut total = 0;
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(Error::from)?;
            let preamble: &[u8] = if total == 0 { copy_binary::HEADER } else { &[] };
            let mut encoder = BatchEncoder::for_copy(&batch, columns, preamble)?;
            while let Some((bytes, rows)) = encoder.next_chunk()? {
                total += rows;
                self.send(Event::Rows(Chunk { bytes, rows })).await?;
            }
        }
        self.send(Event::Rows(copy::binary_end(total == 0))).await?;
        Ok(total)
    }

    async fn send(&self, event: Event) -> Result<()> {
        self.events.send(event).await.map_err(|_| abandoned())
    }

    async fn send_cached(&self, output: &CachedOutput) -> Result<()> {
        for event in result_rows::of_cache(output, &self.formats) {
            self.send(event).await?;
        }
        Ok(())
    }
}

/// The error of a statement whose client does not wait for it any more.
pub(super) fn abandoned() -> Error {
    Error::new(SqlState("57014"), "the statement was abandoned by its connection")
}
