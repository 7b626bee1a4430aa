//! The rows of a query on their way to the connection, and into the cache of results.

use std::collections::VecDeque;

use arrow::record_batch::RecordBatch;
use auric_sql::result_cache::{CachedOutput, Part, RowCoder, ShownAs, Taking};
use auric_sql::{Error, OutputColumn, Result, RowOutput, SqlState};
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::encode::{BatchEncoder, Formats, Shown};
use super::run::{Chunk, Event, abandoned};

/// Sends what is asked for of an answer that was kept.
pub(super) fn of_cache(output: &CachedOutput, formats: &Formats) -> VecDeque<Event> {
    let chunks = output.answer.chunks();
    let mut events = VecDeque::with_capacity(chunks.len() + 2);
    events.push_back(Event::Columns(output.columns.clone(), formats.clone()));
    let all = chunks.iter().map(|(bytes, rows)| Chunk { bytes: bytes.clone(), rows: *rows });
    match output.part {
        Part::All => events.extend(all.map(Event::Rows)),
        Part::Rows { first, rows } => events.extend(part(all, first, rows).map(Event::Rows)),
        Part::Backward { first, rows } => {
            let mut messages: Vec<Bytes> =
                part(all, first, rows).flat_map(|chunk| Messages(chunk.bytes)).collect();
            messages.reverse();
            let bytes = Bytes::from(messages.concat());
            events.extend((rows > 0).then_some(Event::Rows(Chunk { bytes, rows })));
        }
    }
    events.push_back(Event::Done(Some(output.tag.clone())));
    events
}

/// So many rows from `first` on.
fn part(chunks: impl Iterator<Item = Chunk>, first: u64, rows: u64) -> impl Iterator<Item = Chunk> {
    let (mut skip, mut left) = (first, rows);
    chunks
        .map_while(move |chunk| {
            if left == 0 {
                return None;
            }
            let skipped = skip.min(chunk.rows);
            skip -= skipped;
            let taken = left.min(chunk.rows - skipped);
            left -= taken;
            let rest = if skipped == 0 { Some(chunk) } else { chunk.split(skipped).1 };
            Some(rest.map(|rest| rest.split(taken).0))
        })
        .flatten()
}

/// Splits encoded rows.
struct Messages(Bytes);

impl Iterator for Messages {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let length = message_length(&self.0, 0)?;
        Some(self.0.split_to(length.min(self.0.len())))
    }
}

/// Length of the message at a place. `None`: there is none.
fn message_length(bytes: &Bytes, at: usize) -> Option<usize> {
    // Type byte, then a length that counts itself.
    let length = bytes.get(at + 1..at + 5)?.try_into().map(u32::from_be_bytes).ok()?;
    Some(1 + length as usize)
}

impl Chunk {
    /// The first `limit` messages, and the rest.
    pub(super) fn split(mut self, limit: u64) -> (Self, Option<Self>) {
        if self.rows <= limit {
            return (self, None);
        }
        let mut at = 0;
        for _ in 0..limit {
            at += message_length(&self.bytes, at).unwrap_or_default();
        }
        let head = self.bytes.split_to(at.min(self.bytes.len()));
        let rest = Self { bytes: self.bytes, rows: self.rows - limit };
        (Self { bytes: head, rows: limit }, Some(rest))
    }
}

/// The encoding of rows, for who compares them.
#[derive(Debug)]
pub(super) struct Coding;

impl RowCoder for Coding {
    fn encode(&self, batch: &RecordBatch, columns: &[OutputColumn], shown: &ShownAs) -> Result<Vec<Bytes>> {
        let formats = Formats::of_number(shown.encoding).ok_or_else(too_many_columns)?;
        let shown = Shown::named(shown.time_zone.clone(), &shown.interval_style, shown.text_style);
        let mut encoder = BatchEncoder::new(batch, columns, &formats, &shown)?;
        let mut rows = Vec::with_capacity(batch.num_rows());
        while let Some((bytes, _)) = encoder.next_chunk()? {
            rows.extend(Messages(bytes));
        }
        Ok(rows)
    }

    fn messages(&self, chunk: &Bytes) -> Vec<Bytes> {
        Messages(chunk.clone()).collect()
    }
}

fn too_many_columns() -> Error {
    Error::new(SqlState("54011"), "a cursor of so many columns cannot change their formats between its rows")
        .with_hint("Set result_cache to off before it is declared.")
}

/// Encodes and sends rows.
pub(super) async fn send(
    events: &mpsc::Sender<Event>,
    rows: RowOutput,
    formats: &Formats,
    shown: &Shown,
) -> Result<()> {
    let RowOutput { columns, mut stream, collecting, .. } = rows;
    let columns: &[OutputColumn] = &columns;
    let mut sender = Sender { events, waiting: VecDeque::new(), collecting };
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(Error::from)?;
        let mut encoder = BatchEncoder::new(&batch, columns, formats, shown)?;
        while let Some((bytes, rows)) = encoder.next_chunk()? {
            sender.send(Chunk { bytes, rows }).await?;
        }
    }
    sender.end().await
}

/// Encodes rows for the cache alone.
pub(super) async fn keep(rows: RowOutput, formats: &Formats, shown: &Shown) -> Result<()> {
    let (events, mut nobody) = mpsc::channel(1);
    let sending = async move { send(&events, rows, formats, shown).await };
    let (sent, ()) = tokio::join!(sending, async { while nobody.recv().await.is_some() {} });
    sent
}

struct Sender<'a> {
    events: &'a mpsc::Sender<Event>,
    /// What the connection has no room for yet.
    waiting: VecDeque<Chunk>,
    collecting: Option<Taking>,
}

impl Sender<'_> {
    /// As long as the answer is collected, others may wait for it: they must not wait for this client.
    async fn send(&mut self, chunk: Chunk) -> Result<()> {
        self.collecting = self.collecting.take().and_then(|c| c.push(&chunk.bytes, chunk.rows));
        self.waiting.push_back(chunk);
        match self.collecting {
            Some(_) => self.send_ahead(),
            None => self.flush().await,
        }
    }

    /// Sends what there is room for.
    fn send_ahead(&mut self) -> Result<()> {
        while let Some(chunk) = self.waiting.pop_front() {
            match self.events.try_send(Event::Rows(chunk)) {
                Ok(()) => {}
                Err(TrySendError::Full(Event::Rows(chunk))) => {
                    self.waiting.push_front(chunk);
                    break;
                }
                Err(_) => return Err(abandoned()),
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        while let Some(chunk) = self.waiting.pop_front() {
            self.events.send(Event::Rows(chunk)).await.map_err(|_| abandoned())?;
        }
        Ok(())
    }

    async fn end(mut self) -> Result<()> {
        if let Some(collecting) = self.collecting.take() {
            collecting.complete().await;
        }
        self.flush().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(value: u8) -> Vec<u8> {
        vec![b'D', 0, 0, 0, 5, value]
    }

    fn chunk(values: &[u8]) -> Chunk {
        let bytes: Vec<u8> = values.iter().flat_map(|value| message(*value)).collect();
        Chunk { bytes: Bytes::from(bytes), rows: values.len() as u64 }
    }

    #[test]
    fn chunks_split_between_messages() {
        let (head, rest) = chunk(&[1, 2, 3]).split(2);
        assert_eq!((&head.bytes[..], head.rows), (&[message(1), message(2)].concat()[..], 2));
        let rest = rest.unwrap();
        assert_eq!((&rest.bytes[..], rest.rows), (&message(3)[..], 1));
    }

    #[test]
    fn parts_of_an_answer() {
        let all = || [chunk(&[1, 2, 3]), chunk(&[4]), chunk(&[5, 6, 7, 8])].into_iter();
        for first in 0..=9 {
            for rows in 0..=(8_u64.saturating_sub(first)) {
                let found: Vec<Chunk> = part(all(), first, rows).collect();
                assert_eq!(found.iter().map(|chunk| chunk.rows).sum::<u64>(), rows, "{first} {rows}");
                let values: Vec<u8> =
                    found.into_iter().flat_map(|chunk| Messages(chunk.bytes)).map(|m| m[5]).collect();
                let expected: Vec<u8> = (first + 1..=first + rows).map(|value| value as u8).collect();
                assert_eq!(values, expected, "{first} {rows}");
            }
        }
    }
}
