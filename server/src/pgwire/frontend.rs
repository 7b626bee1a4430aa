//! The client's messages, decoded strictly: a body that is too short, too long, not UTF-8 or that
//! promises more elements than it holds is an error (08P01, 22021), never a panic.

use auric_sql::{Error, Result, SqlState};
use bytes::Bytes;

/// Parse: a statement to be prepared.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parse {
    pub name: String,
    pub query: String,
    /// Declared parameter types; 0: to be inferred.
    pub parameter_types: Vec<u32>,
}

/// Bind: a prepared statement, its parameters, and the formats of its result.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bind {
    pub portal: String,
    pub statement: String,
    pub parameter_formats: Vec<i16>,
    /// `None`: NULL.
    pub parameters: Vec<Option<Bytes>>,
    pub result_formats: Vec<i16>,
}

/// What Describe and Close speak of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    Statement(String),
    Portal(String),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Execute {
    pub portal: String,
    /// 0: no limit.
    pub max_rows: usize,
}

pub(super) fn query(body: Bytes) -> Result<String> {
    let mut reader = Reader(body);
    let text = reader.string()?;
    reader.end().map(|()| text)
}

pub(super) fn parse(body: Bytes) -> Result<Parse> {
    let mut reader = Reader(body);
    let name = reader.string()?;
    let query = reader.string()?;
    let count = reader.count(4)?;
    let parameter_types = (0..count).map(|_| reader.u32()).collect::<Result<_>>()?;
    reader.end()?;
    Ok(Parse { name, query, parameter_types })
}

pub(super) fn bind(body: Bytes) -> Result<Bind> {
    let mut reader = Reader(body);
    let portal = reader.string()?;
    let statement = reader.string()?;
    let count = reader.count(2)?;
    let parameter_formats = (0..count).map(|_| reader.i16()).collect::<Result<_>>()?;
    let count = reader.count(4)?;
    let parameters = (0..count).map(|_| reader.value()).collect::<Result<_>>()?;
    let count = reader.count(2)?;
    let result_formats = (0..count).map(|_| reader.i16()).collect::<Result<_>>()?;
    reader.end()?;
    Ok(Bind { portal, statement, parameter_formats, parameters, result_formats })
}

/// Body of Describe and of Close.
pub(super) fn target(body: Bytes) -> Result<Target> {
    let mut reader = Reader(body);
    let kind = reader.u8()?;
    let name = reader.string()?;
    reader.end()?;
    match kind {
        b'S' => Ok(Target::Statement(name)),
        b'P' => Ok(Target::Portal(name)),
        other => Err(protocol_violation(format!("invalid target type {other}"))),
    }
}

pub(super) fn execute(body: Bytes) -> Result<Execute> {
    let mut reader = Reader(body);
    let portal = reader.string()?;
    let max_rows = reader.u32()? as i32;
    reader.end()?;
    Ok(Execute { portal, max_rows: usize::try_from(max_rows).unwrap_or(0) })
}

/// Body of CopyFail: the client's reason.
pub(super) fn copy_fail(body: Bytes) -> Result<String> {
    Reader(body).string()
}

/// SASLInitialResponse: the mechanism that the client chose, and its first message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SaslInitialResponse {
    pub mechanism: String,
    pub data: String,
}

/// Body of SASLInitialResponse.
pub(super) fn sasl_initial_response(body: Bytes) -> Result<SaslInitialResponse> {
    let mut reader = Reader(body);
    let mechanism = reader.string()?;
    // Without data the client would wait to be asked; SCRAM's clients speak first.
    let data = reader.value()?.ok_or_else(|| protocol_violation("malformed SCRAM message"))?;
    reader.end()?;
    Ok(SaslInitialResponse { mechanism, data: utf8(&data)?.to_string() })
}

/// Key and value pairs of the startup message, after the protocol version.
pub(super) fn startup_parameters(body: Bytes) -> Result<Vec<(String, String)>> {
    let mut reader = Reader(body);
    let mut parameters = Vec::new();
    while !reader.0.is_empty() {
        let name = reader.string()?;
        if name.is_empty() {
            break;
        }
        parameters.push((name, reader.string()?));
    }
    Ok(parameters)
}

pub(super) fn protocol_violation(message: impl Into<String>) -> Error {
    Error::new(SqlState("08P01"), message)
}

/// Reads the fields of a message.
struct Reader(Bytes);

impl Reader {
    fn take(&mut self, length: usize) -> Result<Bytes> {
        if length > self.0.len() {
            return Err(protocol_violation("insufficient data left in message"));
        }
        Ok(self.0.split_to(length))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.take(N)?;
        <[u8; N]>::try_from(&bytes[..]).map_err(|_| protocol_violation("insufficient data left in message"))
    }

    fn u8(&mut self) -> Result<u8> {
        self.array::<1>().map(|[b]| b)
    }

    fn i16(&mut self) -> Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// A number of elements that take at least `element` bytes each.
    fn count(&mut self, element: usize) -> Result<usize> {
        let count = self.array().map(u16::from_be_bytes)? as usize;
        if count * element > self.0.len() {
            return Err(protocol_violation("insufficient data left in message"));
        }
        Ok(count)
    }

    /// Length and bytes of a parameter.
    fn value(&mut self) -> Result<Option<Bytes>> {
        match self.array().map(i32::from_be_bytes)? {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(length) => self.take(length).map(Some),
                Err(_) => Err(protocol_violation("invalid length of a parameter")),
            },
        }
    }

    /// A zero-terminated string.
    fn string(&mut self) -> Result<String> {
        let Some(length) = self.0.iter().position(|b| *b == 0) else {
            return Err(protocol_violation("invalid string in message"));
        };
        let bytes = self.take(length)?;
        self.take(1)?;
        utf8(&bytes).map(str::to_string)
    }

    fn end(&self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(protocol_violation("invalid message format")) }
    }
}

/// Text sent by a client (22021 if it is not UTF-8).
pub(super) fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|e| {
        let at = e.valid_up_to();
        let shown: Vec<String> = bytes.iter().skip(at).take(3).map(|b| format!("0x{b:02x}")).collect();
        Error::new(
            SqlState("22021"),
            format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" ")),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncated_messages_are_protocol_violations() {
        let whole = b"p\0s\0\0\x01\0\x01\0\x01\0\0\0\x02hi\0\x01\0\0".to_vec();
        assert!(bind(Bytes::from(whole.clone())).is_ok());
        for length in 0..whole.len() {
            let error = bind(Bytes::copy_from_slice(&whole[..length])).unwrap_err();
            assert_eq!(error.code, SqlState("08P01"), "at {length}");
        }
        let mut longer = whole;
        longer.push(0);
        assert_eq!(bind(Bytes::from(longer)).unwrap_err().code, SqlState("08P01"));
    }

    #[test]
    fn promised_elements_must_be_there() {
        assert!(parse(Bytes::from_static(b"\0select 1\0\xff\xff")).is_err());
        assert!(bind(Bytes::from_static(b"\0\0\0\0\0\x01\x7f\xff\xff\xff\0\0")).is_err());
    }

    #[test]
    fn sasl_responses() {
        let whole = b"SCRAM-SHA-256\0\0\0\0\x09n,,n=,r=a".to_vec();
        let response = sasl_initial_response(Bytes::from(whole.clone())).unwrap();
        assert_eq!((response.mechanism.as_str(), response.data.as_str()), ("SCRAM-SHA-256", "n,,n=,r=a"));
        for length in 0..whole.len() {
            let error = sasl_initial_response(Bytes::copy_from_slice(&whole[..length])).unwrap_err();
            assert_eq!(error.code, SqlState("08P01"), "at {length}");
        }
        let nothing = b"SCRAM-SHA-256\0\xff\xff\xff\xff";
        assert!(sasl_initial_response(Bytes::from_static(nothing)).is_err());
    }

    #[test]
    fn text_must_be_utf8() {
        assert_eq!(query(Bytes::from_static(b"select '\xff'\0")).unwrap_err().code, SqlState("22021"));
    }
}
