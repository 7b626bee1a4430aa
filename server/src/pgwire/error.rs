//! Errors and notices as the wire carries them.

use auric_sql::session::Notice;
use auric_sql::statement::CHANGED_RESULT;
use auric_sql::{Error, SqlState};
use pgwire::messages::response::{ErrorResponse, NoticeResponse};

/// Why the handling of a message stopped.
#[derive(Debug)]
pub(super) enum Stop {
    /// The client is told; the connection goes on.
    Error(Error),
    /// The client is told; the connection ends.
    Fatal(Error),
    /// The client is gone, or nothing can be said to it.
    Closed,
}

/// Result of one step of a connection.
pub(super) type Step<T> = Result<T, Stop>;

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<std::io::Error> for Stop {
    fn from(_: std::io::Error) -> Self {
        Self::Closed
    }
}

pub(super) fn canceled_by_user() -> Error {
    Error::new(SqlState("57014"), "canceling statement due to user request")
}

pub(super) fn statement_timeout() -> Error {
    Error::new(SqlState("57014"), "canceling statement due to statement timeout")
}

pub(super) fn administrator_command() -> Error {
    Error::new(SqlState("57P01"), "terminating connection due to administrator command")
}

/// A task of the server ended without an answer.
pub(super) fn lost_task() -> Error {
    Error::new(SqlState("XX000"), "internal error: the statement's task ended unexpectedly")
        .with_hint("The server's log has the details.")
}

pub(super) fn error_response(severity: &str, error: &Error) -> ErrorResponse {
    let mut fields = fields(severity, error.code, &error.message);
    let optional = [
        (b'D', error.detail.clone()),
        (b'H', error.hint.clone()),
        (b'P', error.position.map(|p| p.to_string())),
        (b's', error.object.as_ref().map(|object| object.schema.clone())),
        (b't', error.object.as_ref().map(|object| object.table.clone())),
        (b'c', error.object.as_ref().and_then(|object| object.column.clone())),
        (b'n', error.object.as_ref().and_then(|object| object.constraint.clone())),
    ];
    if error.message == CHANGED_RESULT {
        // Drivers know the error by the name of the function in Postgres' sources.
        fields.push((b'R', "RevalidateCachedQuery".to_string()));
    }
    fields.extend(optional.into_iter().filter_map(|(key, value)| Some((key, sendable(&value?)))));
    ErrorResponse::new(fields)
}

pub(super) fn notice_response(notice: &Notice) -> NoticeResponse {
    let mut fields = fields(notice.severity, notice.code, &notice.message);
    if let Some(hint) = &notice.hint {
        fields.push((b'H', sendable(hint)));
    }
    NoticeResponse::new(fields)
}

fn fields(severity: &str, code: SqlState, message: &str) -> Vec<(u8, String)> {
    vec![
        (b'S', severity.to_string()),
        (b'V', severity.to_string()),
        (b'C', code.to_string()),
        (b'M', sendable(message)),
    ]
}

/// Fields end at a zero byte, so none may hold one.
fn sendable(text: &str) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text.to_string() }
}
