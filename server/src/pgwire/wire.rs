//! The socket of one connection: frames in, buffered bytes out.
//!
//! Invariants: at most one message of the permitted size is held in memory, longer ones are skipped
//! without being stored; every method that waits may be dropped at any await without losing a byte, so
//! that a cancel, a timeout or a vanished client can interrupt it.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use pgwire::messages::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::stream::{Encrypted, Stream};
use crate::security::tls::Tls;

/// Output is written to the socket when this much of it waits.
pub(super) const FLUSH_AT: usize = 64 * 1024;
/// Chunks of rows of at least this size are not copied into the output buffer.
const DIRECT_AT: usize = 8 * 1024;
/// How far a client may pipeline ahead while a statement runs.
const READ_AHEAD: usize = 1024 * 1024;
/// The protocol's own limit on the length of a message.
const PROTOCOL_LIMIT: usize = 0x3fff_ffff;

/// A message of the client.
#[derive(Debug)]
pub(super) enum Frame {
    Message {
        kind: u8,
        body: Bytes,
    },
    /// Longer than this server accepts; its body is being skipped.
    TooLong {
        kind: u8,
        length: usize,
    },
}

/// The client's bytes are no protocol message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InvalidLength;

/// Bytes on their way to the client.
#[derive(Debug, Default)]
struct Outgoing {
    segments: VecDeque<Bytes>,
    tail: BytesMut,
    /// Bytes in `segments`.
    queued: usize,
}

#[derive(Debug)]
pub(super) struct Wire {
    /// This end of the connection.
    local_address: Option<SocketAddr>,
    stream: Stream,
    input: BytesMut,
    outgoing: Outgoing,
    /// Bytes of a refused message that are still to be discarded.
    skip: usize,
    max_message: usize,
}

impl Wire {
    /// `max_message`: longest message accepted, bytes.
    pub(super) fn new(stream: TcpStream, max_message: usize) -> Self {
        Self {
            local_address: stream.local_addr().ok(),
            stream: Stream::Plain(stream),
            input: BytesMut::new(),
            outgoing: Outgoing::default(),
            skip: 0,
            max_message: max_message.min(PROTOCOL_LIMIT),
        }
    }

    /// The address that the client has connected to.
    pub(super) fn local_address(&self) -> Option<SocketAddr> {
        self.local_address
    }

    /// Accepts messages of this length from now on, bytes.
    pub(super) fn set_max_message(&mut self, max_message: usize) {
        self.max_message = max_message.min(PROTOCOL_LIMIT);
    }

    /// Does the client begin with this byte? Nothing is read.
    pub(super) async fn begins_with(&self, byte: u8) -> io::Result<bool> {
        self.stream.begins_with(byte).await
    }

    /// Encrypts everything from here on. Nothing may have been read that was not asked for.
    pub(super) async fn encrypt(&mut self, tls: Arc<Tls>) -> io::Result<()> {
        self.stream.encrypt(tls).await
    }

    pub(super) fn encrypted(&self) -> Option<&Encrypted> {
        self.stream.encrypted()
    }

    /// Reads some bytes. 0: the client closed the connection.
    async fn read_more(&mut self) -> io::Result<usize> {
        if self.input.capacity() - self.input.len() < 4096 {
            self.input.reserve(16 * 1024);
        }
        let read = self.stream.read_buf(&mut self.input).await?;
        let skipped = self.skip.min(self.input.len());
        self.input.advance(skipped);
        self.skip -= skipped;
        Ok(read)
    }

    /// The next message, if all of it has arrived.
    pub(super) fn next_frame(&mut self) -> Result<Option<Frame>, InvalidLength> {
        let [kind, a, b, c, d, ..] = self.input[..] else { return Ok(None) };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if !(4..=PROTOCOL_LIMIT).contains(&length) {
            return Err(InvalidLength);
        }
        if length > self.max_message {
            let skipped = self.input.len().min(length + 1);
            self.input.advance(skipped);
            self.skip = length + 1 - skipped;
            return Ok(Some(Frame::TooLong { kind, length }));
        }
        if self.input.len() <= length {
            return Ok(None);
        }
        self.input.advance(5);
        let body = self.input.split_to(length - 4).freeze();
        if self.input.is_empty() && self.input.capacity() > READ_AHEAD {
            self.input = BytesMut::new();
        }
        Ok(Some(Frame::Message { kind, body }))
    }

    /// The next message whose type byte is `kind`, if all of it has arrived and it is the next one.
    pub(super) fn next_frame_of(&mut self, kind: u8) -> Option<Bytes> {
        if self.input.first() != Some(&kind) {
            return None;
        }
        match self.next_frame() {
            Ok(Some(Frame::Message { body, .. })) => Some(body),
            _ => None,
        }
    }

    /// Waits for more of the client's bytes. `false`: it closed the connection.
    pub(super) async fn fill(&mut self) -> io::Result<bool> {
        Ok(self.read_more().await? > 0)
    }

    /// The first packet of a connection, which has no type byte: its body. `None`: connection closed.
    /// The inner error: not a startup packet.
    pub(super) async fn startup_packet(
        &mut self,
        max_length: usize,
    ) -> io::Result<Option<Result<Bytes, InvalidLength>>> {
        loop {
            if let [a, b, c, d, ..] = self.input[..] {
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                if !(8..=max_length).contains(&length) {
                    return Ok(Some(Err(InvalidLength)));
                }
                if self.input.len() >= length {
                    self.input.advance(4);
                    return Ok(Some(Ok(self.input.split_to(length - 4).freeze())));
                }
            }
            if self.read_more().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Has the client sent bytes that were not asked for yet?
    pub(super) fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// Reads ahead, within bounds, until the client closes the connection or it breaks.
    pub(super) async fn watch(&mut self) {
        loop {
            if self.input.len() >= READ_AHEAD {
                std::future::pending::<()>().await;
            }
            match self.read_more().await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    /// Buffer for messages to the client.
    pub(super) fn out(&mut self) -> &mut BytesMut {
        &mut self.outgoing.tail
    }

    /// Appends a message. Fails only for messages that the protocol cannot carry (longer than its
    /// own limits), which are then left out.
    pub(super) fn put(&mut self, message: &impl Message) {
        let tail = &mut self.outgoing.tail;
        let start = tail.len();
        if let Err(error) = message.encode(tail) {
            tail.truncate(start);
            tracing::warn!(%error, "message not sent");
        }
    }

    /// Appends encoded messages.
    pub(super) fn put_encoded(&mut self, bytes: Bytes) {
        let outgoing = &mut self.outgoing;
        if bytes.len() < DIRECT_AT {
            outgoing.tail.extend_from_slice(&bytes);
            return;
        }
        outgoing.seal();
        outgoing.queued += bytes.len();
        outgoing.segments.push_back(bytes);
    }

    /// Bytes that wait to be written.
    pub(super) fn pending(&self) -> usize {
        self.outgoing.queued + self.outgoing.tail.len()
    }

    /// Writes everything that waits.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        let outgoing = &mut self.outgoing;
        outgoing.seal();
        while let Some(front) = outgoing.segments.front_mut() {
            let written = self.stream.write(front).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            front.advance(written);
            outgoing.queued -= written;
            if front.is_empty() {
                outgoing.segments.pop_front();
            }
        }
        // TLS keeps records back that the socket had no room for.
        self.stream.flush().await
    }

    /// Ends the output in good order.
    pub(super) async fn end(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Sends what waits and says goodbye. Reads what the client is still sending, for a moment, so
    /// that the kernel does not throw the last message away with a reset.
    pub(super) async fn close(&mut self) {
        if self.flush().await.is_err() || self.stream.shutdown().await.is_err() {
            return;
        }
        let mut scratch = vec![0u8; 16 * 1024];
        while let Ok(1..) = self.stream.read(&mut scratch).await {}
    }
}

impl Outgoing {
    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.queued += self.tail.len();
            self.segments.push_back(self.tail.split().freeze());
        }
    }
}
