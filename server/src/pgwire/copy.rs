//! COPY: the client's data to a writer on the query pool, and encoded rows to the client.

use auric_sql::{CommandTag, CopyIn, Error, Result, SqlState};
use bytes::{BufMut, Bytes, BytesMut};
use pgwire::messages::copy::{CopyDone, CopyInResponse, CopyOutResponse};
use tokio::sync::mpsc;

use super::connection::{Connection, Watch};
use super::copy_binary::{BinaryInput, HEADER, TRAILER};
use super::error::{Step, Stop, lost_task};
use super::frontend;
use super::run::Chunk;
use super::wire::Frame;
use crate::runtime::{Scoped, scoped};

/// CopyData messages are gathered into pieces of about this size before they are handed on, bytes.
const PIECE: usize = 256 * 1024;
/// Pieces that may wait for the writer.
const PIECES_AHEAD: usize = 2;

enum Input {
    Data(Bytes),
    Finish,
    Abort,
}

impl Connection {
    pub(super) fn begin_copy_out(&mut self, columns: usize, binary: bool) {
        let format = i8::from(binary);
        let formats = vec![i16::from(binary); columns];
        self.wire.put(&CopyOutResponse::new(format, columns as i16, formats));
    }

    pub(super) fn end_copy_out(&mut self) {
        self.wire.put(&CopyDone::new());
    }

    /// Feeds the client's data to `copy` until it is done, fails or gives up.
    pub(super) async fn copy_in(&mut self, copy: Box<dyn CopyIn>, watch: &Watch) -> Step<CommandTag> {
        let (columns, binary) = (copy.columns().len(), copy.is_binary());
        let (input, receiver) = mpsc::channel(PIECES_AHEAD);
        let mut writer = scoped(&self.server.runtimes.query, "copy", write_all(copy, receiver));
        self.wire.put(&CopyInResponse::new(
            i8::from(binary),
            columns as i16,
            vec![i16::from(binary); columns],
        ));
        self.flush().await?;
        let outcome = self.feed(&input, &mut writer, watch).await;
        if outcome.is_err() && !writer.is_finished() {
            // The writer removes what it wrote. If it is stuck, it is dropped with the task.
            let _ = input.try_send(Input::Abort);
            drop(input);
            let _ = tokio::time::timeout(std::time::Duration::from_millis(100), &mut writer).await;
        }
        outcome
    }

    async fn feed(
        &mut self,
        input: &mpsc::Sender<Input>,
        writer: &mut Scoped<Result<CommandTag>>,
        watch: &Watch,
    ) -> Step<CommandTag> {
        loop {
            let piece = match self.copy_message(writer, watch).await? {
                CopyMessage::Data(data) => self.gather(data),
                CopyMessage::Done => {
                    // If the writer failed, its result says why.
                    let _ = input.send(Input::Finish).await;
                    let result = async { writer.await.unwrap_or_else(|_| Err(lost_task())) };
                    return self.interruptible(watch, result).await;
                }
            };
            tokio::select! {
                biased;
                stop = watch.interrupted(&self.slot) => return Err(stop),
                sent = input.send(Input::Data(piece)) => if sent.is_err() {
                    let result = (&mut *writer).await.unwrap_or_else(|_| Err(lost_task()));
                    return Err(result.err().unwrap_or_else(lost_task).into());
                },
            }
        }
    }

    /// Adds the CopyData messages that have already arrived.
    fn gather(&mut self, first: Bytes) -> Bytes {
        if first.len() >= PIECE / 4 {
            return first;
        }
        let mut piece = BytesMut::from(&first[..]);
        while piece.len() < PIECE
            && let Some(data) = self.wire.next_frame_of(b'd')
        {
            piece.extend_from_slice(&data);
        }
        piece.freeze()
    }

    async fn copy_message(
        &mut self,
        writer: &mut Scoped<Result<CommandTag>>,
        watch: &Watch,
    ) -> Step<CopyMessage> {
        loop {
            match self.wire.next_frame() {
                Ok(Some(Frame::Message { kind: b'd', body })) => return Ok(CopyMessage::Data(body)),
                Ok(Some(Frame::Message { kind: b'c', .. })) => return Ok(CopyMessage::Done),
                Ok(Some(Frame::Message { kind: b'f', body })) => {
                    let reason = frontend::copy_fail(body)?;
                    let text = format!("COPY from stdin failed: {reason}");
                    return Err(Error::new(SqlState("57014"), text).into());
                }
                // Drivers send Sync right behind the Execute that starts a COPY.
                Ok(Some(Frame::Message { kind: b'H' | b'S', .. })) => continue,
                Ok(Some(Frame::Message { kind, .. })) => {
                    let text = format!("unexpected message type {kind} during COPY from stdin");
                    return Err(Stop::Fatal(frontend::protocol_violation(text)));
                }
                Ok(Some(Frame::TooLong { length, .. })) => {
                    let text = format!("COPY data message of {length} bytes exceeds the limit");
                    return Err(Error::new(SqlState("54000"), text).into());
                }
                Ok(None) => {}
                Err(_) => return Err(Stop::Fatal(frontend::protocol_violation("invalid message length"))),
            }
            tokio::select! {
                biased;
                stop = watch.interrupted(&self.slot) => return Err(stop),
                // Before the end of the data, a writer only returns with an error.
                result = &mut *writer => {
                    let result = result.unwrap_or_else(|_| Err(lost_task()));
                    return Err(result.err().unwrap_or_else(lost_task).into());
                }
                filled = self.wire.fill() => if !filled? { return Err(Stop::Closed) },
            }
        }
    }
}

enum CopyMessage {
    Data(Bytes),
    Done,
}

async fn write_all(mut copy: Box<dyn CopyIn>, mut input: mpsc::Receiver<Input>) -> Result<CommandTag> {
    let mut binary = copy.is_binary().then(|| BinaryInput::new(copy.as_ref()));
    loop {
        let written = match input.recv().await {
            Some(Input::Data(data)) => match &mut binary {
                Some(rows) => write_binary(copy.as_mut(), rows, &data).await,
                None => copy.write(data).await,
            },
            Some(Input::Finish) => match finish_binary(copy.as_mut(), binary.as_mut()).await {
                Ok(()) => return copy.finish().await,
                failed => failed,
            },
            Some(Input::Abort) | None => {
                copy.abort().await;
                return Err(Error::new(SqlState("57014"), "COPY from stdin was given up"));
            }
        };
        if let Err(error) = written {
            copy.abort().await;
            return Err(error);
        }
    }
}

async fn write_binary(copy: &mut dyn CopyIn, input: &mut BinaryInput, data: &[u8]) -> Result<()> {
    input.push(data);
    while let Some(rows) = input.next_batch()? {
        copy.write_rows(rows).await?;
    }
    Ok(())
}

async fn finish_binary(copy: &mut dyn CopyIn, input: Option<&mut BinaryInput>) -> Result<()> {
    match input.map(BinaryInput::finish).transpose()?.flatten() {
        Some(rows) => copy.write_rows(rows).await,
        None => Ok(()),
    }
}

/// What ends COPY TO STDOUT in binary format. `alone`: there were no rows, and the header comes with it,
/// as drivers expect it.
pub(super) fn binary_end(alone: bool) -> Chunk {
    let header: &[u8] = if alone { HEADER } else { &[] };
    let mut out = BytesMut::new();
    out.put_u8(b'd');
    out.put_u32(header.len() as u32 + 6);
    out.extend_from_slice(header);
    out.put_i16(TRAILER);
    Chunk { bytes: out.freeze(), rows: 0 }
}

/// A line of COPY TO STDOUT that is no row.
pub(super) fn one_line(line: &[u8]) -> Chunk {
    let mut out = BytesMut::new();
    out.put_u8(b'd');
    out.put_u32(line.len() as u32 + 4);
    out.extend_from_slice(line);
    Chunk { bytes: out.freeze(), rows: 0 }
}
