//! Who is the client, and may it come in? The access list says how it has to prove itself; here it
//! does. Messages are worded as Postgres words them.

use std::net::SocketAddr;

use auric_sql::{Error, SqlState};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use pgwire::messages::startup::Authentication;
use rand::RngCore;
use tokio::time::Instant;

use super::Server;
use super::error::{Step, Stop};
use super::frontend::{self, protocol_violation};
use super::wire::{Frame, Wire};
use crate::security::access::{Client, Method};
use crate::security::scram::{self, Exchange, ScramError};
use crate::security::tls;

const INVALID_AUTHORIZATION: SqlState = SqlState("28000");
/// Random bytes in a nonce, as many as in Postgres (`SCRAM_RAW_NONCE_LEN`).
const NONCE_LENGTH: usize = 18;

/// Lets the client in, or tells why not.
pub(super) async fn authenticate(
    wire: &mut Wire,
    server: &Server,
    peer: SocketAddr,
    user: &str,
    database: &str,
) -> Step<()> {
    let encrypted = wire.encrypted().is_some();
    let client = Client { address: peer.ip(), encrypted, database, user };
    let method = server.security.policy().decide(&client);
    tracing::debug!(%peer, user, database, encrypted, ?method, "access decided");
    match method {
        Some(Method::Trust) => Ok(()),
        Some(Method::Scram) => password(wire, server, peer, user).await,
        Some(Method::Certificate) => certificate(wire, user),
        Some(Method::Reject) => Err(refused("pg_hba.conf rejects connection", &client)),
        None => Err(refused("no pg_hba.conf entry", &client)),
    }
}

fn refused(why: &str, client: &Client<'_>) -> Stop {
    let encryption = if client.encrypted { "SSL encryption" } else { "no encryption" };
    let (address, user, database) = (client.address.to_canonical(), client.user, client.database);
    let text =
        format!("{why} for host \"{address}\", user \"{user}\", database \"{database}\", {encryption}");
    let hint = "The entries are [[access]] of the server's configuration.";
    Stop::Fatal(Error::new(INVALID_AUTHORIZATION, text).with_hint(hint))
}

/// The client's certificate must carry the user's name.
fn certificate(wire: &Wire, user: &str) -> Step<()> {
    let Some(certificate) = wire.encrypted().and_then(|encrypted| encrypted.client_certificate()) else {
        let text = "connection requires a valid client certificate";
        return Err(Stop::Fatal(Error::new(INVALID_AUTHORIZATION, text)));
    };
    if tls::common_name(certificate).as_deref() == Some(user) {
        return Ok(());
    }
    // Whose it is instead is for the log, not for the client.
    tracing::warn!(user, common_name = ?tls::common_name(certificate), "certificate of another user");
    let text = format!("certificate authentication failed for user \"{user}\"");
    Err(Stop::Fatal(Error::new(INVALID_AUTHORIZATION, text)))
}

/// SCRAM-SHA-256, with channel binding where there is a channel.
async fn password(wire: &mut Wire, server: &Server, peer: SocketAddr, user: &str) -> Step<()> {
    let end_point = wire.encrypted().and_then(|encrypted| encrypted.tls().end_point.clone());
    wire.put(&Authentication::SASL(scram::mechanisms(end_point.as_ref())));
    wire.flush().await?;

    let initial = frontend::sasl_initial_response(message(wire).await?).map_err(Stop::Fatal)?;
    let credentials = server.security.policy().credentials(user);
    let nonce = nonce();
    let exchange =
        Exchange::begin(credentials.verifier, end_point.as_ref(), &initial.mechanism, &initial.data, &nonce)
            .map_err(broken_exchange)?;
    wire.put(&Authentication::SASLContinue(Bytes::from(exchange.server_first().to_owned())));
    wire.flush().await?;

    let response = message(wire).await?;
    let response = frontend::utf8(&response).map_err(Stop::Fatal)?;
    wait_for_turn(server, peer).await?;
    match exchange.finish(response).map_err(broken_exchange)? {
        Some(server_final) if credentials.known => {
            wire.put(&Authentication::SASLFinal(Bytes::from(server_final)));
            Ok(())
        }
        _ => {
            server.metrics.authentication_failures.inc();
            let failures = server.security.throttle.failed(peer.ip(), Instant::now());
            tracing::warn!(%peer, user, failures, "wrong password or unknown user");
            let text = format!("password authentication failed for user \"{user}\"");
            Err(Stop::Fatal(Error::new(SqlState("28P01"), text)))
        }
    }
}

/// Waits as long as wrong passwords from this address have earned.
async fn wait_for_turn(server: &Server, peer: SocketAddr) -> Step<()> {
    match server.security.throttle.admit(peer.ip(), Instant::now()) {
        Ok(wait) if wait.is_zero() => Ok(()),
        Ok(wait) => {
            tracing::debug!(%peer, wait_ms = wait.as_millis() as u64, "authentication delayed");
            tokio::time::sleep(wait).await;
            Ok(())
        }
        Err(wait) => {
            let text = "too many failed authentication attempts from this address";
            let hint = format!("Try again in {} s.", wait.as_secs() + 1);
            Err(Stop::Fatal(Error::new(INVALID_AUTHORIZATION, text).with_hint(hint)))
        }
    }
}

/// The client's next message, which must be a response to what it was asked.
async fn message(wire: &mut Wire) -> Step<Bytes> {
    loop {
        match wire.next_frame() {
            Ok(Some(Frame::Message { kind: b'p', body })) => return Ok(body),
            Ok(Some(Frame::TooLong { kind: b'p', .. })) | Err(_) => {
                return Err(Stop::Fatal(protocol_violation("invalid message length")));
            }
            Ok(Some(Frame::Message { kind, .. } | Frame::TooLong { kind, .. })) => {
                let text = format!("expected SASL response, got message type {kind}");
                return Err(Stop::Fatal(protocol_violation(text)));
            }
            Ok(None) => {}
        }
        if !wire.fill().await? {
            return Err(Stop::Closed);
        }
    }
}

fn nonce() -> String {
    let mut bytes = [0; NONCE_LENGTH];
    rand::rng().fill_bytes(&mut bytes);
    STANDARD.encode(bytes)
}

fn broken_exchange(error: ScramError) -> Stop {
    let code = match error {
        ScramError::AuthorizationIdentity | ScramError::Extension => SqlState("0A000"),
        ScramError::BindingMismatch | ScramError::Downgrade => INVALID_AUTHORIZATION,
        ScramError::Malformed(_) | ScramError::Mechanism | ScramError::BindingType | ScramError::Nonce => {
            SqlState("08P01")
        }
    };
    let told = Error::new(code, error.to_string());
    Stop::Fatal(match error {
        ScramError::Malformed(what) => told.with_detail(what),
        ScramError::Nonce => told.with_detail("Nonce does not match."),
        _ => told,
    })
}
