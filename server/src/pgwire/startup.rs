//! The first packets of a connection: encryption requests, CancelRequest, the startup message and
//! what answers it.

use std::net::SocketAddr;
use std::sync::Arc;

use auric_sql::{ConnectParameters, Error, SqlState};
use bytes::{Buf, BufMut, Bytes};
use pgwire::messages::startup::{Authentication, BackendKeyData, NegotiateProtocolVersion, SecretKey};

use super::Server;
use super::authentication::authenticate;
use super::connection::Connection;
use super::error::{Step, Stop};
use super::frontend::{self, protocol_violation};
use super::result_rows::Coding;
use super::run::SharedSession;
use super::stream::Encrypted;
use super::wire::Wire;
use crate::security::tls::ALPN;

/// Longest startup packet, bytes (`MAX_STARTUP_PACKET_LENGTH` in Postgres' sources).
const MAX_STARTUP_PACKET: usize = 10_000;
const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
/// First byte of a TLS handshake; a startup packet, being short, begins with zero.
const TLS_HANDSHAKE: u8 = 0x16;
/// Longest message of a client that is not authenticated, bytes (`PG_MAX_AUTH_TOKEN_LENGTH`).
pub(super) const MAX_AUTH_MESSAGE: usize = 65_535;
/// Newest minor version of protocol 3 that is spoken.
const MINOR_VERSION: u16 = 2;

/// What a startup led to.
pub(super) enum Started {
    /// A session.
    Connection(Box<Connection>),
    /// A CancelRequest, or a client that changed its mind: nothing follows.
    Nothing,
}

/// What the client asked for.
struct Request {
    minor_version: u16,
    unsupported_options: Vec<String>,
    user: String,
    database: String,
    settings: Vec<(String, String)>,
}

/// Does the startup. The wire is given back with an error, so that the client can be told.
pub(super) async fn start(
    mut wire: Wire,
    server: &Arc<Server>,
    peer: SocketAddr,
) -> Result<Started, Box<(Wire, Stop)>> {
    let request = match negotiate(&mut wire, server, peer).await {
        Ok(Some(request)) => request,
        Ok(None) => {
            // Over TLS, libpq waits for an end in good order before it believes in its CancelRequest.
            wire.end().await;
            return Ok(Started::Nothing);
        }
        Err(stop) => return Err(Box::new((wire, stop))),
    };
    match open(wire, server, peer, request) {
        Ok(mut connection) => match connection.ready().await {
            Ok(()) => Ok(Started::Connection(connection)),
            Err(_) => Ok(Started::Nothing),
        },
        Err(refused) => {
            let (wire, error) = *refused;
            Err(Box::new((wire, Stop::Fatal(error))))
        }
    }
}

/// Everything that comes before there is a session. `None`: there is nothing to start.
async fn negotiate(wire: &mut Wire, server: &Server, peer: SocketAddr) -> Step<Option<Request>> {
    if wire.begins_with(TLS_HANDSHAKE).await? {
        direct_tls(wire, server, peer).await?;
    }
    let Some(mut request) = request(wire, server, peer).await? else { return Ok(None) };
    if request.minor_version > MINOR_VERSION || !request.unsupported_options.is_empty() {
        let newest = i32::from(request.minor_version.min(MINOR_VERSION));
        let options = std::mem::take(&mut request.unsupported_options);
        wire.put(&NegotiateProtocolVersion::new((3 << 16) | newest, options));
    }
    authenticate(wire, server, peer, &request.user, &request.database).await?;
    Ok(Some(request))
}

/// A handshake without having asked for it (`sslnegotiation=direct`). The protocol must be named in it,
/// so that nobody can make a client of another protocol talk to this port.
async fn direct_tls(wire: &mut Wire, server: &Server, peer: SocketAddr) -> Step<()> {
    handshake(wire, server, peer).await?;
    match wire.encrypted().and_then(|encrypted| encrypted.protocol()) {
        Some(ALPN) => Ok(()),
        _ => Err(Stop::Fatal(protocol_violation(
            "received direct SSL connection request without ALPN protocol negotiation extension",
        ))),
    }
}

/// Encrypts the connection. A failure was told to the client by an alert; nothing can follow it.
async fn handshake(wire: &mut Wire, server: &Server, peer: SocketAddr) -> Step<()> {
    let Some(tls) = server.security.tls() else {
        tracing::info!(%peer, "TLS handshake without TLS being configured");
        return Err(Stop::Closed);
    };
    wire.encrypt(tls).await.map_err(|error| {
        tracing::info!(%peer, %error, "TLS handshake failed");
        Stop::Closed
    })
}

/// Answers encryption requests until the startup message comes. `None`: there is nothing to start.
async fn request(wire: &mut Wire, server: &Server, peer: SocketAddr) -> Step<Option<Request>> {
    let (mut asked_tls, mut asked_gss) = (wire.encrypted().is_some(), false);
    loop {
        let Some(packet) = wire.startup_packet(MAX_STARTUP_PACKET).await? else { return Ok(None) };
        let mut body = packet.map_err(|_| {
            Stop::Fatal(
                protocol_violation("invalid length of startup packet")
                    .with_hint("This port speaks the PostgreSQL protocol; HTTP is on another one."),
            )
        })?;
        match body.get_u32() {
            SSL_REQUEST if !asked_tls => {
                asked_tls = true;
                refuse_early_data(wire, "SSL")?;
                let possible = server.security.tls().is_some();
                wire.out().put_u8(if possible { b'S' } else { b'N' });
                wire.flush().await?;
                if possible {
                    handshake(wire, server, peer).await?;
                }
            }
            GSS_REQUEST if !asked_gss => {
                asked_gss = true;
                refuse_early_data(wire, "GSSAPI encryption")?;
                wire.out().put_u8(b'N');
                wire.flush().await?;
            }
            CANCEL_REQUEST => {
                if body.len() >= 8 {
                    let pid = body.get_i32();
                    server.connections.cancel_with_secret(pid, &body).await;
                }
                return Ok(None);
            }
            version => return startup_message(version, body).map(Some).map_err(Stop::Fatal),
        }
    }
}

/// Bytes that came before encryption could be another's (CVE-2021-23214).
fn refuse_early_data(wire: &Wire, request: &str) -> Step<()> {
    if !wire.has_input() {
        return Ok(());
    }
    let text = format!("received unencrypted data after {request} request");
    let detail = "This could be either a client-software bug or evidence of an attempted \
                  man-in-the-middle attack.";
    Err(Stop::Fatal(protocol_violation(text).with_detail(detail)))
}

fn startup_message(version: u32, body: Bytes) -> Result<Request, Error> {
    let (major, minor_version) = ((version >> 16) as u16, version as u16);
    if major != 3 {
        let text = format!(
            "unsupported frontend protocol {major}.{minor_version}: server supports 3.0 to 3.{MINOR_VERSION}"
        );
        return Err(Error::new(SqlState("0A000"), text));
    }
    let (mut user, mut database) = (None, None);
    let (mut settings, mut unsupported_options) = (Vec::new(), Vec::new());
    for (name, value) in frontend::startup_parameters(body)? {
        match name.as_str() {
            "user" => user = Some(value),
            "database" => database = Some(value),
            "replication" if matches!(value.as_str(), "false" | "off" | "no" | "0") => {}
            "replication" => {
                return Err(Error::new(SqlState("0A000"), "replication connections are not supported"));
            }
            _ if name.starts_with("_pq_.") => unsupported_options.push(name),
            _ => settings.push((name, value)),
        }
    }
    let user = user.filter(|user| !user.is_empty()).ok_or_else(|| {
        Error::new(SqlState("28000"), "no PostgreSQL user name specified in startup packet")
    })?;
    let database = database.filter(|name| !name.is_empty()).unwrap_or_else(|| user.clone());
    Ok(Request { minor_version, unsupported_options, user, database, settings })
}

/// Opens the session of an authenticated client; the answer is in the wire's buffer.
fn open(
    mut wire: Wire,
    server: &Arc<Server>,
    peer: SocketAddr,
    request: Request,
) -> Result<Box<Connection>, Box<(Wire, Error)>> {
    wire.set_max_message(server.limits.max_message_size);
    let slot = match server.connections.add(&request.user, &request.database, Some(peer)) {
        Ok(slot) => slot,
        Err(_) => {
            let error = Error::new(SqlState("53300"), "sorry, too many clients already")
                .with_hint("The limit is server.max_connections.");
            return Err(Box::new((wire, error)));
        }
    };
    let parameters = ConnectParameters {
        user: request.user,
        database: request.database,
        pid: slot.pid,
        settings: request.settings,
    };
    let session = match server.engine.connect(parameters) {
        Ok(mut session) => {
            session.set_row_coder(&Coding);
            session
        }
        Err(error) => {
            server.connections.remove(slot.pid);
            return Err(Box::new((wire, error)));
        }
    };
    slot.set_server_address(wire.local_address());
    slot.set_encryption(wire.encrypted().and_then(Encrypted::encryption));
    slot.set_application_name(session.application_name());
    wire.put(&Authentication::Ok);
    let secret = match request.minor_version {
        2.. => SecretKey::Bytes(slot.secret().clone()),
        _ => SecretKey::I32(slot.secret_of_four().get_i32()),
    };
    let pid = slot.pid;
    let mut connection = Box::new(Connection::new(wire, server.clone(), slot, SharedSession::new(session)));
    // ParameterStatus messages come first, as in Postgres.
    connection.refresh();
    connection.wire.put(&BackendKeyData::new(pid, secret));
    Ok(connection)
}
