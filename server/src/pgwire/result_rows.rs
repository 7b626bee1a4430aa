//! The rows of a query on their way to the connection, and into the cache of results.

use std::collections::VecDeque;

use auric_sql::result_cache::{CachedOutput, Collecting};
use auric_sql::{CommandTag, Error, OutputColumn, Result, RowOutput};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::encode::{BatchEncoder, Formats, Shown};
use super::run::{Chunk, Event, abandoned};

/// Sends all that an answer says that was kept.
pub(super) fn of_cache(output: &CachedOutput, formats: &Formats) -> VecDeque<Event> {
    let chunks = output.answer.chunks();
    let mut events = VecDeque::with_capacity(chunks.len() + 2);
    events.push_back(Event::Columns(output.columns.clone(), formats.clone()));
    let chunks = chunks.iter().map(|(bytes, rows)| Event::Rows(Chunk { bytes: bytes.clone(), rows: *rows }));
    events.extend(chunks);
    events.push_back(Event::Done(Some(CommandTag::Select)));
    events
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
    collecting: Option<Collecting>,
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
