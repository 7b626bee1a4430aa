//! The simple protocol: a query string of any number of statements, run in order; the first error
//! skips the rest. Several statements are one transaction, unless they say otherwise. Results go out as
//! they come, always as text.

use auric_sql::parser::Parsed;
use auric_sql::{CommandTag, Error, OutputColumn, Result, Session};
use bytes::Bytes;
use pgwire::messages::data::{FieldDescription, RowDescription};

use super::connection::{Connection, Watch};
use super::encode::Formats;
use super::error::{Step, lost_task};
use super::frontend;
use super::run::{Event, Run, Work};
use crate::runtime::scoped;

/// Longer texts are parsed away from the threads that serve sockets, bytes.
const PARSE_HERE: usize = 16 * 1024;

/// One statement of a query string.
#[derive(Debug)]
pub(super) struct ParsedStatement {
    pub parsed: Parsed,
    /// It is answered in microseconds.
    pub immediate: bool,
}

/// Where a statement stands in its query string.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Only,
    OneOfSeveral,
    Last,
}

fn parse(session: &Session, text: &str) -> Result<Vec<ParsedStatement>> {
    let statements = session.parse(text)?.into_iter();
    Ok(statements
        .map(|parsed| ParsedStatement { immediate: session.answers_at_once(&parsed), parsed })
        .collect())
}

impl Connection {
    pub(super) async fn simple_query(&mut self, body: Bytes) -> Step<()> {
        let text = frontend::query(body)?;
        // A simple query ends what the extended protocol left unnamed.
        self.statements.remove("");
        self.portals.remove("");
        let watch = self.watch(&text);
        if let Some(mut run) = Run::recalled_text(&self.session, &text) {
            self.send_statement(&mut run, Place::Only, &watch).await?;
            return self.ready().await;
        }
        let statements = self.parse_text(&text, &watch).await?;
        if statements.is_empty() {
            self.complete(None, 0);
        }
        let mut watch = Some(watch);
        let number = statements.len();
        for (at, parsed) in (1..).zip(statements) {
            // Each statement has the whole timeout.
            let watch = watch.take().unwrap_or_else(|| self.watch(""));
            let place = match (number, at == number) {
                (1, _) => Place::Only,
                (_, false) => Place::OneOfSeveral,
                (_, true) => Place::Last,
            };
            if self.deallocate(&parsed.parsed).await {
                self.end_if_last(place, &watch).await?;
                continue;
            }
            let work = match place {
                Place::Only => Work::Statement(parsed.parsed),
                Place::OneOfSeveral | Place::Last => Work::OneOfSeveral(parsed.parsed),
            };
            let mut run = self.start(work, parsed.immediate, &Formats::TEXT).await?;
            self.send_statement(&mut run, place, &watch).await?;
        }
        self.ready().await
    }

    /// Commits what several statements have done, before the last of them is reported as done.
    async fn end_if_last(&mut self, place: Place, watch: &Watch) -> Step<()> {
        if place != Place::Last {
            return Ok(());
        }
        let mut run = Run::start(&self.server, &self.session, Work::EndOfSeveral, false, Formats::TEXT);
        match self.next_event(&mut run, watch).await? {
            Event::Failed(error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Starts a statement, or runs it if that is a matter of microseconds.
    pub(super) async fn start(&mut self, work: Work, immediate: bool, formats: &Formats) -> Step<Run> {
        let work = match immediate {
            true => match Run::at_once(&self.session, work, formats).await {
                Ok(run) => return Ok(run?),
                Err(work) => work,
            },
            false => match Run::recalled(&self.session, &work, formats) {
                Some(run) => return Ok(run),
                None => work,
            },
        };
        Ok(Run::start(&self.server, &self.session, work, immediate, formats.clone()))
    }

    /// Parses a query string, on the spot if that is quick.
    pub(super) async fn parse_text(&mut self, text: &str, watch: &Watch) -> Step<Vec<ParsedStatement>> {
        if text.len() <= PARSE_HERE
            && let Some(session) = self.session.try_lock()
        {
            return Ok(parse(&session, text)?);
        }
        let (session, text) = (self.session.clone(), text.to_string());
        let parse = async move { parse(&*session.lock().await, &text) };
        let task = scoped(&self.server.runtimes.plan, "parse", parse);
        self.interruptible(watch, async { task.await.unwrap_or_else(|_| Err(lost_task())) }).await
    }

    /// `DEALLOCATE name` of a statement that the protocol prepared. `false`: it is something else.
    async fn deallocate(&mut self, parsed: &Parsed) -> bool {
        let Some(name) = parsed.deallocates().filter(|name| self.statements.remove(*name).is_some()) else {
            return false;
        };
        self.session.lock().await.forget_named(name);
        self.complete(Some(CommandTag::Plain("DEALLOCATE")), 0);
        true
    }

    /// Sends all that one statement gives.
    async fn send_statement(&mut self, run: &mut Run, place: Place, watch: &Watch) -> Step<()> {
        let mut rows = 0;
        loop {
            match self.next_event(run, watch).await? {
                Event::Columns(columns, formats) => self.wire.put(&row_description(&columns, &formats)),
                Event::CopyOut { columns, binary } => self.begin_copy_out(columns, binary),
                Event::Rows(chunk) => {
                    rows += chunk.rows;
                    self.wire.put_encoded(chunk.bytes);
                    self.flush_if_full(watch).await?;
                }
                Event::CopyIn(copy) => {
                    let tag = self.copy_in(copy, watch).await?;
                    self.end_if_last(place, watch).await?;
                    self.complete(Some(tag), 0);
                    return Ok(());
                }
                Event::CopyOutDone => self.end_copy_out(),
                Event::Done(tag) => {
                    self.end_if_last(place, watch).await?;
                    self.complete(tag, rows);
                    return Ok(());
                }
                Event::Failed(error) => return Err(error.into()),
            }
        }
    }
}

/// Describes a result. Columns show the type's size as Postgres' catalog has it.
pub(super) fn row_description(columns: &[OutputColumn], formats: &Formats) -> RowDescription {
    let fields = columns.iter().enumerate().map(|(i, column)| {
        FieldDescription::new(
            column.name.clone(),
            column.origin.map_or(0, |origin| origin.relation.cast_signed()),
            column.origin.map_or(0, |origin| origin.column),
            column.pg_type.oid(),
            type_size(&column.pg_type),
            column.type_modifier,
            formats.code(i),
        )
    });
    RowDescription::new(fields.collect())
}

/// `pg_type.typlen`: bytes, -1 for types of variable length.
fn type_size(pg: &postgres_types::Type) -> i16 {
    use postgres_types::Type;
    match *pg {
        Type::BOOL | Type::CHAR => 1,
        Type::INT2 => 2,
        Type::INT4 | Type::OID | Type::FLOAT4 | Type::DATE | Type::XID | Type::CID | Type::VOID => 4,
        Type::REGCLASS | Type::REGTYPE | Type::REGPROC | Type::REGNAMESPACE | Type::REGROLE => 4,
        Type::INT8 | Type::FLOAT8 | Type::TIME | Type::TIMESTAMP | Type::TIMESTAMPTZ | Type::PG_LSN => 8,
        Type::TID => 6,
        Type::INTERVAL | Type::UUID => 16,
        Type::NAME => 64,
        Type::UNKNOWN => -2,
        _ => -1,
    }
}

/// The error for a query string of several statements where one is allowed.
pub(super) fn several_statements() -> Error {
    Error::new(auric_sql::SqlState("42601"), "cannot insert multiple commands into a prepared statement")
}
