//! An answer, and the collecting of one while its client gets it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::execution::session_state::SessionState;
use tokio::sync::watch;

use super::{AnswerName, Outcome, ResultCache};
use crate::engine::Engine;
use crate::planner::Scope;
use crate::statement::OutputColumn;
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
}

/// An answer and what describes its columns.
#[derive(Debug, Clone)]
pub struct CachedOutput {
    pub columns: Arc<Vec<OutputColumn>>,
    pub answer: Arc<Answer>,
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
}

/// Files that an answer is of. They may change while they are read, and then what was read is of no state.
struct ReadFiles {
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
    async fn are_unchanged(&self) -> bool {
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
        Self { cache, name, chunks: Vec::new(), bytes: 0, outcome, files: None }
    }

    /// To be called with the files that the query reads.
    pub(crate) fn reading(mut self, files: Vec<Arc<FilesRead>>, scope: &Scope) -> Self {
        let (engine, state) = (scope.engine.clone(), scope.state.clone());
        self.files = (!files.is_empty()).then_some(ReadFiles { files, engine, state });
        self
    }

    /// Takes a chunk. `None`: the answer is too long to be kept, and nobody waits for it any more.
    #[must_use]
    pub fn push(mut self, bytes: &Bytes, rows: u64) -> Option<Self> {
        self.bytes = self.bytes.saturating_add(bytes.len());
        if self.bytes > self.cache.options.longest {
            self.cache.statistics.too_long.inc();
            self.finish(Outcome::NotKept);
            return None;
        }
        // A copy takes no more than its length; what was encoded may have room to spare.
        self.chunks.push((Bytes::copy_from_slice(bytes), rows));
        Some(self)
    }

    /// All rows are here.
    pub async fn complete(mut self) {
        if let Some(files) = &self.files
            && !files.are_unchanged().await
        {
            return self.finish(Outcome::NotKept);
        }
        let chunks = std::mem::take(&mut self.chunks);
        let answer = Arc::new(Answer { chunks, bytes: self.bytes });
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
