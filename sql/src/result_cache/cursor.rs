//! Answers of cursors: they are read piece by piece, and filled so.
//!
//! Nobody waits for a cursor's answer, as its client reads when it likes. What it reads is kept when it
//! has come to the end, if it has read everything once, in order and in one format.

use std::fmt;
use std::sync::{Arc, OnceLock};

use arrow::record_batch::RecordBatch;
use bytes::{Bytes, BytesMut};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::scalar::ScalarValue;
use parking_lot::Mutex;
use postgres_types::Type;

use super::answer::ReadFiles;
use super::{Answer, AnswerName, Asked, Request, ResultCache, RowsName};
use crate::error::Result;
use crate::planner::Scope;
use crate::session::Session;
use crate::statement::OutputColumn;
use crate::types::text_style::TextStyle;

/// Small pieces are put together up to this many bytes.
const CHUNK: usize = 64 * 1024;

/// All that decides how the rows of a cursor are encoded, which may change from one FETCH to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownAs {
    /// The caller's number.
    pub encoding: u64,
    /// As arrow names it.
    pub time_zone: String,
    pub interval_style: String,
    pub text_style: TextStyle,
}

impl ShownAs {
    /// Whether the session's settings are the same; formats may differ.
    fn has_settings_of(&self, other: &Self) -> bool {
        self.time_zone == other.time_zone
            && self.interval_style == other.interval_style
            && self.text_style == other.text_style
    }
}

/// What knows the encoding of rows.
pub trait RowCoder: fmt::Debug + Send + Sync {
    /// One message for each row.
    fn encode(&self, batch: &RecordBatch, columns: &[OutputColumn], shown: &ShownAs) -> Result<Vec<Bytes>>;
    /// The messages of a chunk.
    fn messages(&self, chunk: &Bytes) -> Vec<Bytes>;
}

/// A cursor whose rows have a name.
pub(crate) struct Declared {
    cache: Arc<ResultCache>,
    rows: u128,
    /// The session's settings at DECLARE, which are part of the name.
    shown: ShownAs,
    request: Request,
    text: String,
    types: Vec<Type>,
    values: Vec<ScalarValue>,
    files: Option<ReadFiles>,
    collected: Mutex<Collected>,
    /// How many rows there are, once that is known.
    pub total: Arc<OnceLock<u64>>,
}

impl fmt::Debug for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Declared").field("rows", &self.rows).finish_non_exhaustive()
    }
}

/// What a cursor has given from its first row on.
struct Collected {
    /// How it was encoded. `None`: there is nothing yet.
    encoding: Option<u64>,
    chunks: Vec<(Bytes, u64)>,
    /// What comes after the chunks.
    tail: BytesMut,
    tail_rows: u64,
    rows: u64,
    /// Of all that is collected.
    memory: MemoryReservation,
    /// It is too long, or kept already.
    is_over: bool,
}

impl Collected {
    fn seal(&mut self) {
        if !self.tail.is_empty() {
            // No more than its length.
            self.chunks.push((Bytes::copy_from_slice(&self.tail), self.tail_rows));
            self.tail.clear();
            self.tail_rows = 0;
        }
    }

    fn give_up(&mut self) {
        self.is_over = true;
        self.chunks = Vec::new();
        self.tail = BytesMut::new();
        self.memory.free();
    }
}

impl Declared {
    pub fn new(asked: &Asked<'_>, name: RowsName, session: &Session, scope: &Scope) -> Self {
        let engine = &session.engine;
        let collected = Collected {
            encoding: None,
            chunks: Vec::new(),
            tail: BytesMut::new(),
            tail_rows: 0,
            rows: 0,
            memory: MemoryConsumer::new("answer of a cursor").register(&engine.runtime.memory_pool),
            is_over: false,
        };
        Self {
            cache: engine.results.clone(),
            rows: name.rows,
            shown: session.shown_as(),
            request: asked.request,
            text: asked.text.to_string(),
            types: asked.types.to_vec(),
            values: asked.values.to_vec(),
            files: ReadFiles::of(name.files, scope),
            collected: Mutex::new(collected),
            total: Arc::default(),
        }
    }

    /// The answer that is kept, as such rows.
    pub fn kept(&self, session: &mut Session, shown: &ShownAs) -> Option<Arc<Answer>> {
        if !session.uses_cache() || !shown.has_settings_of(&self.shown) {
            return None;
        }
        self.cache.get(&AnswerName { rows: self.rows, encoding: shown.encoding })
    }

    /// Counts what became of it.
    pub fn count(&self, session: &mut Session, is_hit: bool) {
        if !session.uses_cache() {
            return;
        }
        if is_hit {
            let Self { request, text, types, values, .. } = self;
            self.cache.statistics.hits.inc();
            self.cache.note(session, &Asked { request: *request, text, types, values }, 1);
            session.tell_of_cache("hit");
        } else {
            self.cache.statistics.misses.inc();
            session.tell_of_cache("miss");
        }
    }

    /// To take the rows of a FETCH that goes forward from behind the row with this number. `None`: they do not
    /// follow on what was collected.
    pub fn piece(self: &Arc<Self>, session: &mut Session, shown: &ShownAs, position: u64) -> Option<Piece> {
        if !session.uses_cache() || !shown.has_settings_of(&self.shown) {
            return None;
        }
        let mut collected = self.collected.lock();
        let follows =
            collected.rows == position && *collected.encoding.get_or_insert(shown.encoding) == shown.encoding;
        (follows && !collected.is_over).then(|| Piece(self.clone()))
    }
}

/// Takes the rows of a FETCH.
#[derive(Debug)]
pub struct Piece(Arc<Declared>);

impl Piece {
    /// `None`: the answer is too long to be kept.
    pub(super) fn push(self, bytes: &Bytes, rows: u64) -> Option<Self> {
        let mut collected = self.0.collected.lock();
        let all = collected.memory.size() + bytes.len();
        if all > self.0.cache.options.longest || collected.memory.try_grow(bytes.len()).is_err() {
            self.0.cache.statistics.too_long.inc();
            collected.give_up();
            return None;
        }
        collected.tail.extend_from_slice(bytes);
        collected.tail_rows += rows;
        collected.rows += rows;
        if collected.tail.len() >= CHUNK {
            collected.seal();
        }
        drop(collected);
        Some(self)
    }

    /// All rows of the FETCH are here: keeps them, if they are the last.
    pub(super) async fn complete(self) {
        let Self(declared) = self;
        let is_whole =
            |collected: &Collected| !collected.is_over && declared.total.get() == Some(&collected.rows);
        if !is_whole(&declared.collected.lock()) {
            return;
        }
        let unchanged = match &declared.files {
            Some(files) => files.are_unchanged().await,
            None => true,
        };
        let mut collected = declared.collected.lock();
        if unchanged
            && is_whole(&collected)
            && let Some(encoding) = collected.encoding
        {
            collected.seal();
            let answer = Answer::new(std::mem::take(&mut collected.chunks));
            declared.cache.keep(AnswerName { rows: declared.rows, encoding }, &answer);
        }
        collected.give_up();
    }
}

impl Session {
    /// How rows would be encoded now.
    pub(crate) fn shown_as(&self) -> ShownAs {
        let (time_zone, interval_style) = (self.time_zone(), self.interval_style());
        ShownAs { encoding: self.encoding, time_zone, interval_style, text_style: self.text_style() }
    }

    /// Tells it who encodes rows.
    pub fn set_row_coder(&mut self, coder: &'static dyn RowCoder) {
        self.row_coder = Some(coder);
    }
}
