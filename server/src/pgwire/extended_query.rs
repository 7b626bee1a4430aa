//! The extended protocol: Parse, Bind, Describe, Execute, Close, Flush, Sync.
//!
//! Invariants: Describe never runs anything; after an error every message up to the next Sync is
//! skipped; a portal that was given a row limit keeps its place, and its plan waits, until it is
//! executed again, closed, or its transaction ends.
//!
//! A query in a portal with a name is a cursor of the session: FETCH, MOVE and CLOSE find it, and Execute reads
//! from it as FETCH does, as it does from a cursor of DECLARE.

use std::sync::Arc;

use auric_sql::{CommandTag, Error, Prepared, Result, SqlState, TransactionStatus};
use bytes::Bytes;
use datafusion::scalar::ScalarValue;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{BindComplete, CloseComplete, ParseComplete, PortalSuspended};
use postgres_types::Type;

use super::connection::{Connection, Watch};
use super::encode::Formats;
use super::error::{Step, lost_task};
use super::frontend::{self, Target};
use super::parameter;
use super::run::{Chunk, Event, Run, Work};
use super::simple_query::{ParsedStatement, row_description, several_statements};
use crate::runtime::scoped;

/// A prepared statement of the protocol.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    text: Arc<str>,
    /// `None`: the empty query.
    prepared: Option<Arc<Prepared>>,
    /// It is answered in microseconds.
    immediate: bool,
}

/// A statement with its parameters, and how far it got.
#[derive(Debug)]
pub(super) struct Portal {
    statement: Statement,
    formats: Formats,
    state: PortalState,
}

#[derive(Debug)]
enum PortalState {
    /// It is a cursor of the session, which knows how far it got.
    Cursor,
    Ready(Vec<ScalarValue>),
    /// Some rows were sent; `left`: received, not sent.
    Suspended {
        run: Run,
        left: Option<Chunk>,
    },
    /// All rows were sent: executing it again gives none.
    Exhausted(CommandTag),
    /// It ran, and does not run again.
    Done,
}

impl Connection {
    pub(super) async fn parse(&mut self, body: Bytes) -> Step<()> {
        let message = frontend::parse(body)?;
        if !message.name.is_empty()
            && (self.statements.contains_key(&message.name)
                || self.session.lock().await.has_named(&message.name))
        {
            let text = format!("prepared statement \"{}\" already exists", message.name);
            return Err(Error::new(SqlState("42P05"), text).into());
        }
        if self.statements.len() >= self.server.limits.max_prepared_statements {
            return Err(Error::new(SqlState("53400"), "too many prepared statements in this session")
                .with_hint("Close some, or run DEALLOCATE ALL.")
                .into());
        }
        self.statements.remove(&message.name);
        let watch = self.watch(&message.query);
        let mut parsed = self.parse_text(&message.query, &watch).await?.into_iter();
        let (prepared, immediate) = match (parsed.next(), parsed.next()) {
            (None, _) => (None, true),
            (Some(_), Some(_)) => return Err(several_statements().into()),
            (Some(statement), None) => {
                let immediate = statement.immediate;
                let types = message.parameter_types.iter().map(|oid| declared_type(*oid));
                (Some(self.prepare(statement, types.collect::<Result<_>>()?, &watch).await?), immediate)
            }
        };
        let text = message.query.into();
        if let Some(prepared) = prepared.as_ref().filter(|_| !message.name.is_empty()) {
            self.session.lock().await.keep_named(&message.name, prepared.clone());
        }
        self.statements.insert(message.name, Statement { text, prepared, immediate });
        self.wire.put(&ParseComplete::new());
        Ok(())
    }

    async fn prepare(
        &mut self,
        statement: ParsedStatement,
        types: Vec<Option<Type>>,
        watch: &Watch,
    ) -> Step<Arc<Prepared>> {
        if statement.immediate
            && let Some(mut session) = self.session.try_lock()
        {
            return Ok(session.prepare(&statement.parsed, &types).await?);
        }
        if let Some(mut session) = self.session.try_lock()
            && let Some(prepared) = session.describe_at_once(&statement.parsed, &types)
        {
            return Ok(prepared);
        }
        let session = self.session.clone();
        let prepare = async move { session.lock().await.prepare(&statement.parsed, &types).await };
        let task = scoped(&self.server.runtimes.plan, "prepare", prepare);
        self.interruptible(watch, async { task.await.unwrap_or_else(|_| Err(lost_task())) }).await
    }

    pub(super) async fn bind(&mut self, body: Bytes) -> Step<()> {
        let message = frontend::bind(body)?;
        let mut statement = self.statement(&message.statement).await?;
        if let Some(prepared) = statement.prepared.as_ref().filter(|prepared| prepared.is_fetch()) {
            let now = self.session.lock().await.fetched_now(prepared);
            statement.prepared = now.map_or(statement.prepared, |now| Some(Arc::new(now)));
        }
        if self.portals.len() >= self.server.limits.max_portals {
            // CLOSE may have taken some away.
            let session = self.session.lock().await;
            self.portals.retain(|name, _| name.is_empty() || session.has_portal(name));
        }
        if self.portals.len() >= self.server.limits.max_portals {
            return Err(Error::new(SqlState("53400"), "too many open cursors in this session").into());
        }
        let types = statement.prepared.as_ref().map_or(&[][..], |prepared| &prepared.parameters);
        let parameters = decode_parameters(&message, types)?;
        let columns = statement.prepared.as_ref().and_then(|p| p.columns.as_ref()).map_or(0, Vec::len);
        if message.result_formats.len() > 1 && message.result_formats.len() != columns {
            let text = format!(
                "bind message has {} result formats but query has {columns} columns",
                message.result_formats.len()
            );
            return Err(frontend::protocol_violation(text).into());
        }
        let formats = Formats::from_codes(&message.result_formats)?;
        let is_cursor = !message.portal.is_empty() && {
            let mut session = self.session.lock().await;
            session.bind_portal(&message.portal, statement.prepared.as_ref(), &parameters)?
        };
        let state = if is_cursor { PortalState::Cursor } else { PortalState::Ready(parameters) };
        self.portals.insert(message.portal, Portal { statement, formats, state });
        self.wire.put(&BindComplete::new());
        Ok(())
    }

    pub(super) async fn describe(&mut self, body: Bytes) -> Step<()> {
        match frontend::target(body)? {
            Target::Statement(name) => {
                let prepared = self.statement(&name).await?.prepared;
                self.refuse_rows_if_failed(prepared.as_ref())?;
                let types = prepared.as_ref().map_or(&[][..], |prepared| &prepared.parameters);
                self.wire.put(&ParameterDescription::new(types.iter().map(Type::oid).collect()));
                self.describe_rows(prepared.as_ref(), &Formats::TEXT);
            }
            Target::Portal(name) => {
                self.forget_closed(&name).await;
                let Some(portal) = self.portals.get(&name) else {
                    // A cursor of DECLARE is a portal too.
                    let columns = self.session.lock().await.cursor_columns(&name);
                    let columns = columns.ok_or_else(|| no_portal(&name))?;
                    self.wire.put(&row_description(&columns, &Formats::TEXT));
                    return Ok(());
                };
                let (prepared, formats) = (portal.statement.prepared.clone(), portal.formats.clone());
                self.refuse_rows_if_failed(prepared.as_ref())?;
                self.describe_rows(prepared.as_ref(), &formats);
            }
        }
        Ok(())
    }

    /// In a failed transaction what gives rows is not described, as in Postgres: what it was planned with may be
    /// gone.
    fn refuse_rows_if_failed(&self, prepared: Option<&Arc<Prepared>>) -> Step<()> {
        let gives_rows = prepared.is_some_and(|prepared| prepared.columns.is_some());
        if gives_rows && self.status == TransactionStatus::Failed {
            return Err(Error::failed_transaction().into());
        }
        Ok(())
    }

    fn describe_rows(&mut self, prepared: Option<&Arc<Prepared>>, formats: &Formats) {
        match prepared.and_then(|prepared| prepared.columns.as_ref()) {
            Some(columns) => self.wire.put(&row_description(columns, formats)),
            None => self.wire.put(&NoData::new()),
        }
    }

    pub(super) async fn execute(&mut self, body: Bytes) -> Step<()> {
        let message = frontend::execute(body)?;
        self.forget_closed(&message.portal).await;
        let formats = match self.portals.get(&message.portal) {
            Some(Portal { state: PortalState::Cursor, formats, .. }) => Some(formats.clone()),
            Some(_) => None,
            // Perhaps one of DECLARE, which says nothing of formats to the protocol.
            None => Some(Formats::TEXT),
        };
        if let Some(formats) = formats {
            return self.execute_cursor(&message, &formats).await;
        }
        let portal = self.portals.get_mut(&message.portal).ok_or_else(|| no_portal(&message.portal))?;
        let text = portal.statement.text.clone();
        let Some(prepared) = portal.statement.prepared.clone() else {
            self.complete(None, 0);
            return Ok(());
        };
        let (formats, immediate) = (portal.formats.clone(), portal.statement.immediate);
        // A portal that fails stays unusable.
        let state = std::mem::replace(&mut portal.state, PortalState::Done);
        let watch = self.watch(&text);
        let (run, left, is_query) = match state {
            PortalState::Ready(parameters) => {
                let work = Work::Portal { prepared, parameters };
                (self.start(work, immediate, &formats).await?, None, false)
            }
            PortalState::Suspended { run, left } => (run, left, true),
            PortalState::Exhausted(tag) => {
                self.complete(Some(tag.clone()), 0);
                if let Some(portal) = self.portals.get_mut(&message.portal) {
                    portal.state = PortalState::Exhausted(tag);
                }
                return Ok(());
            }
            PortalState::Done | PortalState::Cursor => {
                let text = format!("portal \"{}\" cannot be run", message.portal);
                return Err(Error::new(SqlState("55000"), text).into());
            }
        };
        let state = self.run_portal(run, left, is_query, message.max_rows, &watch).await?;
        if let Some(portal) = self.portals.get_mut(&message.portal) {
            portal.state = state;
        }
        Ok(())
    }

    /// Sends the next rows of a cursor.
    async fn execute_cursor(&mut self, message: &frontend::Execute, formats: &Formats) -> Step<()> {
        let fetch = self.session.lock().await.portal_fetch(&message.portal, message.max_rows);
        let (prepared, text) = fetch.ok_or_else(|| no_portal(&message.portal))?;
        let watch = self.watch(&text);
        let work = Work::Portal { prepared, parameters: Vec::new() };
        let mut run = self.start(work, false, formats).await?;
        let mut rows = 0;
        loop {
            match self.next_event(&mut run, &watch).await? {
                Event::Rows(chunk) => {
                    rows += chunk.rows;
                    self.wire.put_encoded(chunk.bytes);
                    self.flush_if_full(&watch).await?;
                }
                Event::Done(_) if message.max_rows > 0 && rows == message.max_rows as u64 => {
                    self.refresh();
                    self.wire.put(&PortalSuspended::new());
                    return Ok(());
                }
                Event::Done(_) => {
                    self.complete(Some(CommandTag::Select), rows);
                    return Ok(());
                }
                Event::Failed(error) => return Err(error.into()),
                // The client knows the columns, and COPY is no query.
                Event::Columns(..) | Event::CopyOut { .. } | Event::CopyOutDone | Event::CopyIn(_) => {}
            }
        }
    }

    /// Forgets a portal with a name that the session has no more: by CLOSE, by the end of its transaction.
    async fn forget_closed(&mut self, name: &str) {
        if self.portals.contains_key(name) && !name.is_empty() && !self.session.lock().await.has_portal(name)
        {
            self.portals.remove(name);
        }
    }

    /// Sends up to `max_rows` rows (0: all).
    async fn run_portal(
        &mut self,
        mut run: Run,
        mut left: Option<Chunk>,
        mut is_query: bool,
        max_rows: usize,
        watch: &Watch,
    ) -> Step<PortalState> {
        let limit = if max_rows == 0 { u64::MAX } else { max_rows as u64 };
        let mut rows = 0;
        loop {
            let event = match left.take() {
                Some(chunk) => Event::Rows(chunk),
                None => self.next_event(&mut run, watch).await?,
            };
            match event {
                Event::Columns(..) => is_query = true,
                Event::Rows(chunk) => {
                    let (now, later) = chunk.split(limit - rows);
                    rows += now.rows;
                    self.wire.put_encoded(now.bytes);
                    self.flush_if_full(watch).await?;
                    if rows == limit {
                        self.refresh();
                        self.wire.put(&PortalSuspended::new());
                        return Ok(PortalState::Suspended { run, left: later });
                    }
                }
                Event::CopyOut { columns, binary } => self.begin_copy_out(columns, binary),
                Event::CopyOutDone => self.end_copy_out(),
                Event::CopyIn(copy) => {
                    let tag = self.copy_in(copy, watch).await?;
                    self.complete(Some(tag), 0);
                    return Ok(PortalState::Done);
                }
                Event::Done(tag) => {
                    self.complete(tag.clone(), rows);
                    return Ok(match tag {
                        Some(tag) if is_query || rows > 0 => PortalState::Exhausted(tag),
                        _ => PortalState::Done,
                    });
                }
                Event::Failed(error) => return Err(error.into()),
            }
        }
    }

    pub(super) async fn close_target(&mut self, body: Bytes) -> Step<()> {
        match frontend::target(body)? {
            Target::Statement(name) => {
                self.statements.remove(&name);
                self.session.lock().await.forget_named(&name);
            }
            Target::Portal(name) => {
                self.portals.remove(&name);
                if !name.is_empty() {
                    self.session.lock().await.close_portal(&name);
                }
            }
        }
        self.wire.put(&CloseComplete::new());
        Ok(())
    }

    pub(super) async fn sync(&mut self) -> Step<()> {
        self.ready().await
    }

    /// A statement of the protocol, or of PREPARE.
    async fn statement(&mut self, name: &str) -> Result<Statement> {
        if let Some(statement) = self.statements.get(name) {
            return Ok(statement.clone());
        }
        let named = self.session.lock().await.named(name);
        let statement = named.map(|(prepared, text, immediate)| Statement {
            text: text.into(),
            prepared: Some(prepared),
            immediate,
        });
        statement.ok_or_else(|| {
            let text = match name {
                "" => "unnamed prepared statement does not exist".to_string(),
                name => format!("prepared statement \"{name}\" does not exist"),
            };
            Error::new(SqlState("26000"), text)
        })
    }
}

fn no_portal(name: &str) -> Error {
    Error::new(SqlState("34000"), format!("portal \"{name}\" does not exist"))
}

/// The type of an OID that a client declared; 0 and `unknown` are to be inferred.
fn declared_type(oid: u32) -> Result<Option<Type>> {
    match oid {
        0 => Ok(None),
        oid => match Type::from_oid(oid) {
            Some(Type::UNKNOWN) => Ok(None),
            Some(pg) => Ok(Some(pg)),
            None => Err(Error::new(SqlState("42704"), format!("type with OID {oid} does not exist"))),
        },
    }
}

fn decode_parameters(message: &frontend::Bind, types: &[Type]) -> Result<Vec<ScalarValue>> {
    let formats = &message.parameter_formats;
    if formats.len() > 1 && formats.len() != message.parameters.len() {
        return Err(frontend::protocol_violation(format!(
            "bind message has {} parameter formats but {} parameters",
            formats.len(),
            message.parameters.len()
        )));
    }
    if message.parameters.len() != types.len() {
        return Err(frontend::protocol_violation(format!(
            "bind message supplies {} parameters, but prepared statement \"{}\" requires {}",
            message.parameters.len(),
            message.statement,
            types.len()
        )));
    }
    let formats = Formats::from_codes(formats)?;
    let values = message.parameters.iter().zip(types).enumerate();
    values.map(|(i, (value, pg))| parameter::decode(pg, value.as_deref(), formats.is_binary(i))).collect()
}
