//! One connection after its startup: the loop over the client's messages, and how a running
//! statement is waited for, interrupted and reported.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use auric_sql::{CommandTag, Error, SqlState, TransactionStatus};
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse, ReadyForQuery};
use pgwire::messages::startup::ParameterStatus;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Server;
use super::error::{
    Step, Stop, administrator_command, canceled_by_user, error_response, lost_task, notice_response,
    statement_timeout,
};
use super::extended_query::{Portal, Statement};
use super::frontend;
use super::run::{Event, Run, SharedSession};
use super::wire::{FLUSH_AT, Frame, Wire};
use crate::activity::Slot;

#[derive(Debug)]
pub(super) struct Connection {
    pub wire: Wire,
    pub server: Arc<Server>,
    pub slot: Arc<Slot>,
    pub session: Arc<SharedSession>,
    /// Prepared statements of the extended protocol by name; `""` is the unnamed one.
    pub statements: HashMap<String, Statement>,
    pub portals: HashMap<String, Portal>,
    pub status: TransactionStatus,
    statement_timeout: Duration,
    idle_session_timeout: Duration,
    idle_in_transaction_timeout: Duration,
    /// The session's settings that the timeouts are of.
    settings_generation: Option<u64>,
    /// An extended-protocol message failed: everything up to the next Sync is skipped.
    skip_until_sync: bool,
}

/// What ends a wait for a running statement.
#[derive(Debug)]
pub(super) struct Watch {
    token: CancellationToken,
    deadline: Option<Instant>,
}

impl Connection {
    pub(super) fn new(wire: Wire, server: Arc<Server>, slot: Arc<Slot>, session: Arc<SharedSession>) -> Self {
        Self {
            wire,
            server,
            slot,
            session,
            statements: HashMap::new(),
            portals: HashMap::new(),
            status: TransactionStatus::Idle,
            statement_timeout: Duration::ZERO,
            idle_session_timeout: Duration::ZERO,
            idle_in_transaction_timeout: Duration::ZERO,
            settings_generation: None,
            skip_until_sync: false,
        }
    }

    /// Serves the client until one of the two leaves.
    pub(super) async fn serve(mut self) {
        let stop = loop {
            if let Err(stop) = self.serve_message().await {
                break stop;
            }
        };
        if let Stop::Fatal(error) = stop {
            tracing::debug!(code = %error.code, message = %error.message, "connection ended");
            self.wire.put(&error_response("FATAL", &error));
            let _ = tokio::time::timeout(Duration::from_secs(5), self.wire.close()).await;
        }
    }

    async fn serve_message(&mut self) -> Step<()> {
        let frame = self.next_message().await?;
        let (kind, result) = match frame {
            Frame::TooLong { kind, length } => (kind, Err(self.too_long(length))),
            Frame::Message { kind, body } => (kind, self.dispatch(kind, body).await),
        };
        match result {
            Err(Stop::Error(error)) => self.report(error, kind).await,
            other => other,
        }
    }

    async fn dispatch(&mut self, kind: u8, body: bytes::Bytes) -> Step<()> {
        match kind {
            b'S' => self.sync().await,
            b'X' => Err(Stop::Closed),
            // What is left of a COPY that failed.
            b'd' | b'c' | b'f' => Ok(()),
            b'Q' => self.simple_query(body).await,
            _ if self.skip_until_sync => Ok(()),
            b'P' => self.parse(body).await,
            b'B' => self.bind(body).await,
            b'D' => self.describe(body).await,
            b'E' => self.execute(body).await,
            b'C' => self.close_target(body).await,
            b'H' => self.flush().await,
            b'F' => Err(Error::new(SqlState("0A000"), "function calls by message are not supported").into()),
            other => Err(Stop::Fatal(frontend::protocol_violation(format!("invalid message type {other}")))),
        }
    }

    fn too_long(&self, length: usize) -> Stop {
        let limit = self.server.limits.max_message_size;
        Stop::Error(
            Error::new(
                SqlState("54000"),
                format!("message of {length} bytes exceeds the limit of {limit} bytes"),
            )
            .with_hint("The limit is server.max_message_size."),
        )
    }

    /// The next message of an idle client.
    async fn next_message(&mut self) -> Step<Frame> {
        loop {
            match self.wire.next_frame() {
                Ok(Some(frame)) => return Ok(frame),
                Ok(None) => {}
                Err(_) => return Err(Stop::Fatal(frontend::protocol_violation("invalid message length"))),
            }
            let (timeout, error) = self.idle_limit();
            let draining = &self.server.draining;
            let leaving = self.status == TransactionStatus::Idle && !self.wire.has_input();
            tokio::select! {
                biased;
                () = self.slot.terminate.cancelled() => return Err(Stop::Fatal(administrator_command())),
                filled = self.wire.fill() => if !filled? { return Err(Stop::Closed) },
                () = draining.cancelled(), if leaving => return Err(Stop::Fatal(administrator_command())),
                () = tokio::time::sleep(timeout), if !timeout.is_zero() => return Err(Stop::Fatal(error)),
            }
        }
    }

    /// How long the client may be silent, and what it is told after that.
    fn idle_limit(&self) -> (Duration, Error) {
        if self.status == TransactionStatus::Idle {
            let error = Error::new(SqlState("57P05"), "terminating connection due to idle-session timeout");
            (self.idle_session_timeout, error)
        } else {
            let error =
                Error::new(SqlState("25P03"), "terminating connection due to idle-in-transaction timeout");
            (self.idle_in_transaction_timeout, error)
        }
    }

    /// A statement begins: it can be cancelled from now on, and its time runs.
    pub(super) fn watch(&self, query: &str) -> Watch {
        let timeout = self.statement_timeout;
        let deadline = if timeout.is_zero() { None } else { Instant::now().checked_add(timeout) };
        Watch { token: self.slot.begin(query), deadline }
    }

    /// Waits for the statement's next event, or for what interrupts it: cancel, timeout, shutdown, or
    /// the client's leaving.
    pub(super) async fn next_event(&mut self, run: &mut Run, watch: &Watch) -> Step<Event> {
        if let Some(event) = run.ready.pop_front() {
            return Ok(event);
        }
        let session = &self.session;
        let stopped = async {
            let stop = watch.interrupted(&self.slot).await;
            // Its outcome is the only answer: what was asked for came too late.
            if session.is_committing() { std::future::pending().await } else { stop }
        };
        tokio::select! {
            biased;
            stop = stopped => Err(stop),
            event = run.next() => match event {
                Some(Event::Failed(error)) => Err(error.into()),
                Some(event) => Ok(event),
                None => Err(lost_task().into()),
            },
            () = self.wire.watch() => Err(Stop::Closed),
        }
    }

    /// Waits for something that a statement needs done first.
    pub(super) async fn interruptible<T>(
        &mut self,
        watch: &Watch,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Step<T> {
        tokio::select! {
            biased;
            stop = watch.interrupted(&self.slot) => Err(stop),
            result = work => Ok(result?),
            () = self.wire.watch() => Err(Stop::Closed),
        }
    }

    /// Writes what waits, if it is much. An interrupt leaves the rest for later.
    pub(super) async fn flush_if_full(&mut self, watch: &Watch) -> Step<()> {
        if self.wire.pending() < FLUSH_AT {
            return Ok(());
        }
        tokio::select! {
            biased;
            stop = watch.interrupted(&self.slot) => Err(stop),
            result = self.wire.flush() => Ok(result?),
        }
    }

    /// Writes everything that waits.
    pub(super) async fn flush(&mut self) -> Step<()> {
        tokio::select! {
            biased;
            () = self.slot.terminate.cancelled() => Err(Stop::Fatal(administrator_command())),
            result = self.wire.flush() => Ok(result?),
        }
    }

    /// Success of a statement. `rows`: sent to the client.
    pub(super) fn complete(&mut self, tag: Option<CommandTag>, rows: u64) {
        self.refresh();
        self.server.metrics.statements_ok.inc();
        self.server.metrics.rows_sent.add(rows);
        match tag {
            None => self.wire.put(&EmptyQueryResponse::new()),
            Some(tag) => {
                if matches!(tag, CommandTag::Plain("DEALLOCATE ALL" | "DISCARD ALL")) {
                    self.statements.clear();
                }
                if matches!(tag, CommandTag::Plain("DISCARD ALL")) {
                    self.portals.clear();
                }
                self.wire.put(&CommandComplete::new(tag.text(rows)));
            }
        }
    }

    /// Tells the client of an error; the session learns of it too.
    async fn report(&mut self, error: Error, kind: u8) -> Step<()> {
        self.server.metrics.statements_failed.inc();
        if error.code.0.starts_with("XX") {
            tracing::error!(pid = self.slot.pid, code = %error.code, message = %error.message, "internal error");
        } else {
            tracing::debug!(pid = self.slot.pid, code = %error.code, message = %error.message, "statement failed");
        }
        self.session.fail();
        if self.status == TransactionStatus::InTransaction {
            self.status = TransactionStatus::Failed;
        }
        self.refresh();
        self.wire.put(&error_response("ERROR", &error));
        match kind {
            b'Q' | b'F' => self.ready().await,
            b'S' => self.ready().await,
            _ => {
                self.skip_until_sync = true;
                self.slot.idle(self.status);
                // The client need not send Sync before it has seen this; a Flush would be skipped.
                self.flush().await
            }
        }
    }

    /// Takes over what the last statement changed, and the notices it left. A statement that was
    /// abandoned and still holds the session is not waited for.
    pub(super) fn refresh(&mut self) {
        let Some(mut session) = self.session.try_lock() else { return };
        self.status = session.transaction_status();
        session.settle();
        for notice in session.take_notices() {
            self.wire.put(&notice_response(&notice));
        }
        let generation = Some(session.settings_generation());
        if self.settings_generation == generation {
            return;
        }
        self.settings_generation = generation;
        self.statement_timeout = Duration::from_millis(session.statement_timeout_ms());
        self.idle_session_timeout = Duration::from_millis(session.idle_session_timeout_ms());
        self.idle_in_transaction_timeout = Duration::from_millis(session.idle_in_transaction_timeout_ms());
        for (name, value) in session.take_parameter_changes() {
            if name == "application_name" {
                self.slot.set_application_name(value.clone());
            }
            self.wire.put(&ParameterStatus::new(name.to_string(), value));
        }
    }

    /// ReadyForQuery: the client's turn.
    pub(super) async fn ready(&mut self) -> Step<()> {
        self.skip_until_sync = false;
        self.refresh();
        let status = match self.status {
            TransactionStatus::Idle => pgwire::messages::response::TransactionStatus::Idle,
            TransactionStatus::InTransaction => pgwire::messages::response::TransactionStatus::Transaction,
            TransactionStatus::Failed => pgwire::messages::response::TransactionStatus::Error,
        };
        self.slot.idle(self.status);
        if self.status == TransactionStatus::Idle {
            // Portals live until the end of their transaction.
            if self.portals.keys().any(|name| !name.is_empty()) {
                self.session.end_portals();
            }
            self.portals.clear();
        }
        self.wire.put(&ReadyForQuery::new(status));
        self.flush().await
    }
}

impl Watch {
    /// Resolves when the statement has to stop.
    pub(super) async fn interrupted(&self, slot: &Slot) -> Stop {
        let timeout = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = slot.terminate.cancelled() => Stop::Fatal(administrator_command()),
            () = self.token.cancelled() => canceled_by_user().into(),
            () = timeout => statement_timeout().into(),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.server.connections.remove(self.slot.pid);
    }
}
