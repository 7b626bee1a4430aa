//! Where a cursor stands, and how it moves (Postgres manual, FETCH; `DoPortalRunFetch` and
//! `PortalRunSelect` in Postgres' sources are the behaviour).
//!
//! Rows are numbered from 1. A cursor stands before the first (0), on a row, or behind the last. Where
//! rows come from may change while it is read ([`kept`](super::kept)); where it stands does not.

use std::sync::{Arc, OnceLock};

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::runtime_env::RuntimeEnv;
use futures::StreamExt;
use parking_lot::Mutex;

use super::Scroll;
use super::kept::{Answered, Deferred};
use super::store::Store;
use crate::error::{Error, Result, SqlState};
use crate::parser::statement::Movement;
use crate::statement::interrupt::Abandoned;

/// A cursor of which nobody said whether it scrolls does so until this much has passed, bytes.
const SCROLLS_WITHIN: usize = 16 * 1024 * 1024;

/// The query of a cursor, and what of it has passed.
pub struct CursorRows {
    scroll: Scroll,
    runtime: Arc<RuntimeEnv>,
    /// The query, as long as it does not run.
    pub(super) deferred: Option<Box<Deferred>>,
    /// Where rows come from as long as the query does not run.
    pub(super) answered: Option<Answered>,
    /// Of the query that runs.
    schema: SchemaRef,
    /// `None`: it has given all its rows, or does not run. Never locked, only reached by `&mut`: it makes a
    /// session with cursors shareable (`Sync`).
    stream: Option<Mutex<SendableRecordBatchStream>>,
    kept: Kept,
    /// Number of rows, once that is known.
    total: Arc<OnceLock<u64>>,
    /// Number of the row it stands on; behind the last, one more than there are.
    position: u64,
    /// It stands behind the last row.
    at_end: bool,
    broken: bool,
    reader: Reader,
}

/// Whether the FETCH that reads is abandoned. Between two of them nobody is asked.
#[derive(Debug, Clone, Default)]
pub struct Reader(Arc<Mutex<Option<Abandoned>>>);

impl Reader {
    /// For the plan, which outlives the statement that made it.
    pub fn abandoned(&self) -> Abandoned {
        let reader = self.0.clone();
        Abandoned::new(move || reader.lock().as_ref().is_some_and(Abandoned::is_abandoned))
    }
}

/// Rows that were received.
enum Kept {
    /// All of them; `true`: whatever it takes.
    All(Store, bool),
    /// What of the last batch has not passed.
    Nothing(Option<RecordBatch>),
}

/// What is left to do when a cursor stands where the rows of a movement begin. `None`: all rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    Forward(Option<u64>),
    Backward(Option<u64>),
    /// The row that it stands on, once more.
    Here,
}

impl Pass {
    const NOTHING: Self = Self::Forward(Some(0));
    const NEXT: Self = Self::Forward(Some(1));
}

fn only_forward() -> Error {
    Error::new(SqlState::NOT_IN_PREREQUISITE_STATE, "cursor can only scan forward")
        .with_hint("Declare it with SCROLL option to enable backward scan.")
}

impl CursorRows {
    /// `reader`: whom the query's plan asks. `total`: told when it is known.
    fn new(scroll: Scroll, reader: Reader, runtime: &Arc<RuntimeEnv>, total: Arc<OnceLock<u64>>) -> Self {
        Self {
            scroll,
            runtime: runtime.clone(),
            deferred: None,
            answered: None,
            schema: Arc::new(Schema::empty()),
            stream: None,
            kept: Kept::Nothing(None),
            total,
            position: 0,
            at_end: false,
            broken: false,
            reader,
        }
    }

    /// Of a query that runs.
    pub fn running(
        stream: SendableRecordBatchStream,
        scroll: Scroll,
        reader: Reader,
        runtime: &Arc<RuntimeEnv>,
    ) -> Self {
        let mut rows = Self::new(scroll, reader, runtime, Arc::default());
        rows.begin_stream(stream);
        rows
    }

    /// Of a query that runs when there is no answer.
    pub fn deferred(deferred: Deferred, scroll: Scroll, reader: Reader, total: Arc<OnceLock<u64>>) -> Self {
        let runtime = deferred.runtime().clone();
        let rows = Self::new(scroll, reader, &runtime, total);
        Self { deferred: Some(Box::new(deferred)), ..rows }
    }

    /// Takes rows from a query, from the first on.
    pub(super) fn begin_stream(&mut self, stream: SendableRecordBatchStream) {
        self.schema = stream.schema();
        self.kept = match self.scroll {
            Scroll::No => Kept::Nothing(None),
            scroll => Kept::All(Store::new(&self.runtime, self.schema.clone()), scroll == Scroll::Yes),
        };
        self.stream = Some(Mutex::new(stream));
    }

    /// Goes to where it stands by other rows than those that it is to take now.
    pub(super) async fn catch_up(&mut self) -> Result<()> {
        let (position, at_end) = (self.position, self.at_end);
        self.stand_on(0);
        self.skip_forward(position - u64::from(at_end)).await?;
        if at_end {
            self.advance(1).await?;
        }
        Ok(())
    }

    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    pub fn is_scrollable(&self) -> bool {
        match self.deferred {
            Some(_) => self.scroll != Scroll::No,
            None => matches!(self.kept, Kept::All(..)),
        }
    }

    /// Whether nothing has been given or passed.
    pub fn is_at_start(&self) -> bool {
        self.position == 0
    }

    pub fn position(&self) -> u64 {
        self.position
    }

    /// A FETCH has failed or was given up: where it stands is not known.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// From here to [`CursorRows::settle`], an error or an end of the caller leaves it broken.
    pub fn unsettle(&mut self, abandoned: Option<Abandoned>) {
        self.broken = true;
        *self.reader.0.lock() = abandoned;
    }

    pub fn settle(&mut self) {
        self.broken = false;
        *self.reader.0.lock() = None;
    }

    fn store(&mut self) -> Result<&mut Store> {
        match &mut self.kept {
            Kept::All(store, _) => Ok(store),
            Kept::Nothing(_) => Err(only_forward()),
        }
    }

    fn check_scrolls(&self) -> Result<()> {
        if self.is_scrollable() { Ok(()) } else { Err(only_forward()) }
    }

    /// How many rows have come and can be gone to.
    fn at_hand(&self) -> u64 {
        match (&self.answered, &self.kept) {
            (Some(answered), _) => answered.rows(),
            (None, Kept::All(store, _)) => store.rows(),
            (None, Kept::Nothing(_)) => 0,
        }
    }

    /// Goes to where the rows of a movement begin.
    pub async fn begin(&mut self, movement: Movement) -> Result<Pass> {
        match movement {
            Movement::Forward(Some(0)) | Movement::Relative(0) => Ok(self.here()),
            Movement::Backward(Some(0)) => {
                self.check_scrolls()?;
                Ok(self.here())
            }
            Movement::Forward(Some(count)) if count < 0 => self.backward(Some(count.unsigned_abs())),
            Movement::Forward(count) => Ok(Pass::Forward(count.map(i64::unsigned_abs))),
            Movement::Backward(Some(count)) if count < 0 => Ok(Pass::Forward(Some(count.unsigned_abs()))),
            Movement::Backward(count) => self.backward(count.map(i64::unsigned_abs)),
            Movement::Absolute(row) if row > 0 => self.move_to_row(row.unsigned_abs()).await,
            Movement::Absolute(0) => {
                if self.position > 0 {
                    self.check_scrolls()?;
                }
                self.stand_on(0);
                Ok(Pass::NOTHING)
            }
            Movement::Absolute(row) => {
                self.check_scrolls()?;
                self.skip_forward(u64::MAX).await?;
                self.move_back(row.unsigned_abs())
            }
            Movement::Relative(rows) if rows > 0 => {
                self.skip_forward(rows.unsigned_abs() - 1).await?;
                Ok(Pass::NEXT)
            }
            Movement::Relative(rows) => {
                self.check_scrolls()?;
                self.move_back(rows.unsigned_abs())
            }
        }
    }

    fn backward(&mut self, count: Option<u64>) -> Result<Pass> {
        self.check_scrolls()?;
        Ok(Pass::Backward(count))
    }

    fn here(&self) -> Pass {
        if self.position == 0 || self.at_end { Pass::NOTHING } else { Pass::Here }
    }

    /// Back by one, so that the row that it stands on comes next.
    pub fn step_back(&mut self) -> Result<()> {
        self.check_scrolls()?;
        self.stand_on(self.position.saturating_sub(1));
        Ok(())
    }

    async fn move_to_row(&mut self, row: u64) -> Result<Pass> {
        if row > self.position {
            self.skip_forward(row - self.position - 1).await?;
        } else {
            self.check_scrolls()?;
            self.stand_on(self.at_hand().min(row - 1));
        }
        Ok(Pass::NEXT)
    }

    /// To the row so many before this place.
    fn move_back(&mut self, rows: u64) -> Result<Pass> {
        let target = self.position.saturating_sub(rows);
        self.stand_on(target.saturating_sub(1));
        Ok(if target == 0 { Pass::NOTHING } else { Pass::NEXT })
    }

    fn stand_on(&mut self, position: u64) {
        self.position = position;
        self.at_end = false;
    }

    /// Does what is left of a MOVE: the number of rows that FETCH would have given.
    pub async fn pass(&mut self, pass: Pass) -> Result<u64> {
        match pass {
            Pass::Here => Ok(1),
            Pass::Forward(count) => self.skip_forward(count.unwrap_or(u64::MAX)).await,
            Pass::Backward(count) => {
                let before = self.position.saturating_sub(1);
                let passed = count.map_or(before, |count| count.min(before));
                let to_start = count.is_none_or(|count| count > before);
                self.stand_on(if to_start { 0 } else { self.position - passed });
                Ok(passed)
            }
        }
    }

    /// Passes rows without looking at them; their number.
    async fn skip_forward(&mut self, count: u64) -> Result<u64> {
        let mut left = count;
        while left > 0 && !self.at_end {
            let at_hand = self.at_hand();
            if self.position < at_hand {
                let step = left.min(at_hand - self.position);
                self.position += step;
                left -= step;
                continue;
            }
            match self.advance(left).await? {
                Some(batch) => left -= batch.num_rows() as u64,
                None => break,
            }
        }
        Ok(count - left)
    }

    /// The next rows: at most `limit`, which is not 0, and of one batch. `None`: there are none, and it
    /// stands behind the last.
    pub async fn advance(&mut self, limit: u64) -> Result<Option<RecordBatch>> {
        while !self.at_end {
            if let Some(batch) = self.received(limit).await? {
                self.position += batch.num_rows() as u64;
                return Ok(Some(batch));
            }
            if !self.receive().await? {
                // Another run would give as many.
                let _ = self.total.set(self.position);
                self.at_end = true;
                self.position += 1;
            }
        }
        Ok(None)
    }

    /// Rows from this place on that have come already.
    async fn received(&mut self, limit: u64) -> Result<Option<RecordBatch>> {
        match &mut self.kept {
            Kept::All(store, _) if self.position < store.rows() => {
                store.from(self.position, limit).await.map(Some)
            }
            Kept::All(..) => Ok(None),
            Kept::Nothing(left_over) => Ok(left_over.take().map(|batch| {
                let rows =
                    usize::try_from(limit).map_or(batch.num_rows(), |limit| limit.min(batch.num_rows()));
                if rows < batch.num_rows() {
                    *left_over = Some(batch.slice(rows, batch.num_rows() - rows));
                }
                batch.slice(0, rows)
            })),
        }
    }

    /// Takes a batch from the query. `false`: there are no more. Called when all that came has passed.
    async fn receive(&mut self) -> Result<bool> {
        let batch = loop {
            let Some(stream) = &mut self.stream else { return Ok(false) };
            match stream.get_mut().next().await {
                None => {
                    self.stream = None;
                    return Ok(false);
                }
                Some(batch) => {
                    let batch = batch.map_err(|e| Error::from(&e))?;
                    if batch.num_rows() > 0 {
                        break batch;
                    }
                }
            }
        };
        let small = match &mut self.kept {
            Kept::All(store, true) => {
                store.push(batch)?;
                return Ok(true);
            }
            Kept::All(store, false) => store.push_small(&batch, SCROLLS_WITHIN),
            Kept::Nothing(_) => false,
        };
        if !small {
            self.kept = Kept::Nothing(Some(batch));
        }
        Ok(true)
    }

    /// The rows before this place, the nearest first: at most `limit`, which is not 0, and of one
    /// batch. `None`: there are none, and it stands before the first.
    pub async fn retreat(&mut self, limit: u64) -> Result<Option<RecordBatch>> {
        if self.position <= 1 {
            self.stand_on(0);
            return Ok(None);
        }
        let last = self.position - 2;
        let batch = self.store()?.up_to(last, limit).await?;
        self.stand_on(self.position - batch.num_rows() as u64);
        let order: UInt32Array = (0..batch.num_rows() as u32).rev().collect::<Vec<_>>().into();
        take_record_batch(&batch, &order).map(Some).map_err(|e| Error::from(&e))
    }
}
