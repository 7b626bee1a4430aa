//! An answer, and the collecting of one while its client gets it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::session_state::SessionState;
use tokio::sync::watch;

use super::{AnswerName, Outcome, Piece, ResultCache};
use crate::engine::Engine;
use crate::planner::Scope;
use crate::statement::{CommandTag, OutputColumn};
use crate::table_function::FilesRead;

/// Rows as they went to a client.
#[derive(Debug)]
pub struct Answer {
    /// Whole messages, with the number of rows in them.
    chunks: Vec<(Bytes, u64)>,
    bytes: usize,
}

impl Answer {
    pub fn chunks(&self) -> &[(Bytes, u64)] {
        &self.chunks
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.chunks.iter().map(|(_, rows)| rows).sum()
    }

    pub(super) fn new(chunks: Vec<(Bytes, u64)>) -> Arc<Self> {
        let bytes = chunks.iter().map(|(bytes, _)| bytes.len()).sum();
        Arc::new(Self { chunks, bytes })
    }
}

/// An answer and what describes its columns.
#[derive(Debug, Clone)]
pub struct CachedOutput {
    pub columns: Arc<Vec<OutputColumn>>,
    pub answer: Arc<Answer>,
    /// What of it is asked for.
    pub part: Part,
    pub tag: CommandTag,
}

/// Rows of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    All,
    /// So many rows from `first` (from 0) on.
    Rows {
        first: u64,
        rows: u64,
    },
    /// The same, the last of them first.
    Backward {
        first: u64,
        rows: u64,
    },
}

impl CachedOutput {
    pub(crate) fn whole(columns: Arc<Vec<OutputColumn>>, answer: Arc<Answer>) -> Self {
        Self { columns, answer, part: Part::All, tag: CommandTag::Select }
    }

    /// Number of rows that are asked for.
    pub(crate) fn rows(&self) -> u64 {
        match self.part {
            Part::All => self.answer.rows(),
            Part::Rows { rows, .. } | Part::Backward { rows, .. } => rows,
        }
    }
}

/// What takes rows that go to a client.
#[derive(Debug)]
pub enum Taking {
    Answer(Collecting),
    Piece(Piece),
}

impl Taking {
    /// Takes a chunk. `None`: nothing more is wanted.
    #[must_use]
    pub fn push(self, bytes: &Bytes, rows: u64) -> Option<Self> {
        match self {
            Self::Answer(collecting) => collecting.push(bytes, rows).map(Self::Answer),
            Self::Piece(piece) => piece.push(bytes, rows).map(Self::Piece),
        }
    }

    /// All rows are here.
    pub async fn complete(self) {
        match self {
            Self::Answer(collecting) => collecting.complete().await,
            Self::Piece(piece) => piece.complete().await,
        }
    }
}

/// Takes the rows of a query that runs. Whoever drops it unfinished gives its turn to another.
#[derive(Debug)]
pub struct Collecting {
    cache: Arc<ResultCache>,
    name: AnswerName,
    chunks: Vec<(Bytes, u64)>,
    bytes: usize,
    outcome: watch::Sender<Option<Outcome>>,
    files: Option<ReadFiles>,
    /// Of what is collected: answers that are kept have a budget of their own.
    memory: Option<MemoryReservation>,
}

/// Files that an answer is of. They may change while they are read, and then what was read is of no state.
pub(super) struct ReadFiles {
    files: Vec<Arc<FilesRead>>,
    engine: Arc<Engine>,
    state: Arc<SessionState>,
}

impl fmt::Debug for ReadFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.files).finish()
    }
}

impl ReadFiles {
    /// `None`: no files are read.
    pub fn of(files: Vec<Arc<FilesRead>>, scope: &Scope) -> Option<Self> {
        let (engine, state) = (scope.engine.clone(), scope.state.clone());
        (!files.is_empty()).then_some(Self { files, engine, state })
    }

    pub async fn are_unchanged(&self) -> bool {
        for files in &self.files {
            let now = self.engine.clock.now();
            if !files.is_unchanged(&self.state, &self.engine.results, now).await {
                return false;
            }
        }
        true
    }
}

impl Collecting {
    pub(super) fn new(
        cache: Arc<ResultCache>,
        name: AnswerName,
        outcome: watch::Sender<Option<Outcome>>,
    ) -> Self {
        Self { cache, name, chunks: Vec::new(), bytes: 0, outcome, files: None, memory: None }
    }

    /// To be called with the files that the query reads.
    pub(crate) fn reading(mut self, files: Vec<Arc<FilesRead>>, scope: &Scope) -> Self {
        self.files = ReadFiles::of(files, scope);
        let consumer = MemoryConsumer::new("answer to be kept");
        self.memory = Some(consumer.register(&scope.engine.runtime.memory_pool));
        self
    }

    /// `None`: the answer is too long to be kept, or queries need the memory; nobody waits for it any more.
    fn push(mut self, bytes: &Bytes, rows: u64) -> Option<Self> {
        self.bytes = self.bytes.saturating_add(bytes.len());
        let fits = self.bytes <= self.cache.options.longest
            && self.memory.as_ref().is_none_or(|memory| memory.try_grow(bytes.len()).is_ok());
        if !fits {
            self.cache.statistics.too_long.inc();
            self.finish(Outcome::NotKept);
            return None;
        }
        // A copy takes no more than its length; what was encoded may have room to spare.
        self.chunks.push((Bytes::copy_from_slice(bytes), rows));
        Some(self)
    }

    async fn complete(mut self) {
        if let Some(files) = &self.files
            && !files.are_unchanged().await
        {
            return self.finish(Outcome::NotKept);
        }
        let answer = Answer::new(std::mem::take(&mut self.chunks));
        self.cache.keep(self.name, &answer);
        self.finish(Outcome::Answered(answer));
    }

    pub(super) fn answered(self, answer: Arc<Answer>) {
        self.finish(Outcome::Answered(answer));
    }

    fn finish(self, outcome: Outcome) {
        self.outcome.send_replace(Some(outcome));
    }
}

impl Drop for Collecting {
    fn drop(&mut self) {
        self.cache.land(&self.name);
    }
}
