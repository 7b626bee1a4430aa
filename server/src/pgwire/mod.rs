//! The PostgreSQL wire protocol: listening, startup, the simple and the extended protocol, COPY.
//!
//! Built on pgwire's messages with a connection loop of its own (`docs/adr/0004-own-connection-loop.md`
//! has the reasons). One task per connection on the I/O pool reads the client's messages and drives
//! its session; statements run on other pools ([`run`]).

mod authentication;
mod connection;
mod copy;
mod copy_binary;
mod encode;
mod error;
mod extended_query;
mod frontend;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod parameter;
mod result_rows;
mod run;
mod simple_query;
mod startup;
mod stream;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use auric_sql::result_cache::Question;
use auric_sql::{Abandoned, Engine, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use self::encode::{Formats, Shown};
use self::error::{Stop, error_response};
use self::startup::Started;
use self::wire::Wire;
use crate::activity::Connections;
use crate::limits::{Admission, Limits};
use crate::metrics::Metrics;
use crate::runtime::{Runtimes, spawn};
use crate::security::Security;
use crate::security::waiting::Place;
use crate::temporary::TemporaryDirectory;

/// What all connections share.
#[derive(Debug)]
pub struct Server {
    pub engine: Arc<Engine>,
    pub connections: Arc<Connections>,
    pub limits: Limits,
    pub security: Security,
    pub admission: Admission,
    pub metrics: Arc<Metrics>,
    pub runtimes: Runtimes,
    /// Cancelled when the server stops accepting; idle connections end.
    pub draining: CancellationToken,
    /// Where the engine keeps temporary tables.
    pub temporary: TemporaryDirectory,
}

/// Asks a question again for the cache of results, as user and settings that asked it.
pub(crate) async fn ask_again(
    server: &Server,
    question: &Question,
    pid: i32,
    abandoned: Abandoned,
) -> Result<()> {
    let Some(formats) = Formats::of_number(question.encoding) else {
        server.engine.results().forget(question);
        return Ok(());
    };
    let mut session = server.engine.connect(question.connect_as(pid))?;
    session.set_abandoned(abandoned);
    let output = session.ask_again(question).await?;
    let shown = Shown::of(&session);
    drop(session);
    match output {
        Some(rows) => result_rows::keep(rows, &formats, &shown).await,
        None => Ok(()),
    }
}

/// Accepts connections until the server drains.
pub async fn listen(server: Arc<Server>, listener: TcpListener) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = server.draining.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                server.metrics.connections_accepted.inc();
                let place = server.security.waiting.enter();
                let task = connection(server.clone(), stream, peer, place);
                spawn(&server.runtimes.io, "connection", task);
            }
            Err(error) => {
                // Out of file descriptors, usually: those in use go on being served.
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// One connection from its first byte to its last. `place`: given back when the client has proved who
/// it is.
async fn connection(server: Arc<Server>, stream: TcpStream, peer: SocketAddr, place: Place) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY not set");
    }
    let wire = Wire::new(stream, startup::MAX_AUTH_MESSAGE);
    let startup = startup::start(wire, &server, peer);
    let started = tokio::select! {
        biased;
        () = place.lost() => {
            server.metrics.connections_displaced.inc();
            tracing::debug!(%peer, "too many unauthenticated connections: the oldest is closed");
            return;
        }
        started = tokio::time::timeout(server.limits.auth_timeout, startup) => started,
    };
    drop(place);
    match started {
        // Silent for too long: closed without a word, as by Postgres.
        Err(_) => tracing::debug!(%peer, "startup timed out"),
        Ok(Ok(Started::Connection(connection))) => connection.serve().await,
        Ok(Ok(Started::Nothing)) => {}
        Ok(Err(refused)) => {
            let (mut wire, stop) = *refused;
            let (Stop::Fatal(error) | Stop::Error(error)) = stop else { return };
            tracing::info!(%peer, code = %error.code, message = %error.message, "connection refused");
            wire.put(&error_response("FATAL", &error));
            let _ = tokio::time::timeout(Duration::from_secs(5), wire.close()).await;
        }
    }
}
