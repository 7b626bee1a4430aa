//! The first packets of a connection: encryption requests, CancelRequest, the startup message and
//! what answers it.

use std::net::SocketAddr;
use std::sync::Arc;

use auric_sql::{ConnectParameters, Error, SqlState};
use bytes::{Buf, BufMut, Bytes};
use pgwire::messages::startup::{Authentication, BackendKeyData, NegotiateProtocolVersion, SecretKey};

use super::Server;
use super::connection::Connection;
use super::error::{Step, Stop};
use super::frontend;
use super::run::SharedSession;
use super::wire::Wire;

/// Longest startup packet, bytes (`MAX_STARTUP_PACKET_LENGTH` in Postgres' sources).
const MAX_STARTUP_PACKET: usize = 10_000;
const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
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
    let request = match request(&mut wire, server).await {
        Ok(Some(request)) => request,
        Ok(None) => return Ok(Started::Nothing),
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

/// Answers encryption requests until the startup message comes. `None`: there is nothing to start.
async fn request(wire: &mut Wire, server: &Server) -> Step<Option<Request>> {
    loop {
        let Some(packet) = wire.startup_packet(MAX_STARTUP_PACKET).await? else { return Ok(None) };
        let mut body = packet.map_err(|_| {
            Stop::Fatal(
                frontend::protocol_violation("invalid length of startup packet")
                    .with_hint("This port speaks the PostgreSQL protocol; HTTP is on another one."),
            )
        })?;
        match body.get_u32() {
            SSL_REQUEST | GSS_REQUEST => {
                if wire.has_input() {
                    // Bytes that came before encryption could be another's (CVE-2021-23214).
                    return Err(Stop::Fatal(frontend::protocol_violation(
                        "received unencrypted data after an encryption request",
                    )));
                }
                wire.out().put_u8(b'N');
                wire.flush().await?;
            }
            CANCEL_REQUEST => {
                if body.len() >= 8 {
                    let pid = body.get_i32();
                    server.connections.cancel_with_secret(pid, &body);
                }
                return Ok(None);
            }
            version => return startup_message(version, body).map(Some).map_err(Stop::Fatal),
        }
    }
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

/// Authenticates and opens the session; the answer is in the wire's buffer.
fn open(
    mut wire: Wire,
    server: &Arc<Server>,
    peer: SocketAddr,
    request: Request,
) -> Result<Box<Connection>, Box<(Wire, Error)>> {
    if !peer.ip().to_canonical().is_loopback() {
        let text = format!("connections from {} are not allowed", peer.ip());
        let error = Error::new(SqlState("28000"), text)
            .with_hint("Without authentication only clients on the server's own machine are trusted.");
        return Err(Box::new((wire, error)));
    }
    if request.minor_version > MINOR_VERSION || !request.unsupported_options.is_empty() {
        let newest = i32::from(request.minor_version.min(MINOR_VERSION));
        wire.put(&NegotiateProtocolVersion::new((3 << 16) | newest, request.unsupported_options));
    }
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
        Ok(session) => session,
        Err(error) => {
            server.connections.remove(slot.pid);
            return Err(Box::new((wire, error)));
        }
    };
    slot.set_application_name(session.application_name());
    wire.put(&Authentication::Ok);
    let secret = match request.minor_version {
        2.. => SecretKey::Bytes(slot.secret().clone()),
        _ => SecretKey::I32(slot.secret().slice(..4).get_i32()),
    };
    let pid = slot.pid;
    let mut connection = Box::new(Connection::new(wire, server.clone(), slot, SharedSession::new(session)));
    // ParameterStatus messages come first, as in Postgres.
    connection.refresh();
    connection.wire.put(&BackendKeyData::new(pid, secret));
    Ok(connection)
}
