//! Statements: one file per statement or family, one exhaustive dispatch.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::execution::SendableRecordBatchStream;
use postgres_types::Type;

use crate::error::{Error, Result, SqlState};

/// A column of a result as RowDescription shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputColumn {
    pub name: String,
    pub pg_type: Type,
    /// `atttypmod` (numeric precision and scale), or -1.
    pub type_modifier: i32,
}

/// A statement with names and types resolved.
#[derive(Debug)]
pub struct Prepared {
    /// Types of `$1`, `$2`, ….
    pub parameters: Vec<Type>,
    /// `None`: returns no rows.
    pub columns: Option<Vec<OutputColumn>>,
}

/// CommandComplete's tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandTag {
    /// `SELECT n`; the server counts the rows it sent.
    Select,
    /// `INSERT 0 n`.
    Insert(u64),
    /// Verb and count: `UPDATE 3`, `DELETE 2`, `MERGE 4`, `COPY 10`.
    Count(&'static str, u64),
    /// Just words: `CREATE TABLE`, `SET`, `BEGIN`.
    Plain(&'static str),
    /// Like `Select` under another verb (`FETCH`, `SHOW` and `EXPLAIN` have no count).
    Rows { verb: &'static str, counted: bool },
}

impl CommandTag {
    /// The tag's text. `rows`: number of rows sent to the client.
    pub fn text(&self, rows: u64) -> String {
        match self {
            Self::Select => format!("SELECT {rows}"),
            Self::Insert(n) => format!("INSERT 0 {n}"),
            Self::Count(verb, n) => format!("{verb} {n}"),
            Self::Plain(words) => (*words).to_string(),
            Self::Rows { verb, counted: true } => format!("{verb} {rows}"),
            Self::Rows { verb, counted: false } => (*verb).to_string(),
        }
    }
}

/// Rows to be sent.
pub struct RowOutput {
    pub columns: Arc<Vec<OutputColumn>>,
    /// Columns in the order of `columns`. Arrow types are those of
    /// [`types`](crate::types): the encoder downcasts by the batch's schema.
    pub stream: SendableRecordBatchStream,
    pub tag: CommandTag,
}

/// COPY … FROM STDIN in progress: the client's bytes go in, one commit comes out.
#[async_trait::async_trait]
pub trait CopyIn: Send + fmt::Debug {
    /// Number of columns (CopyInResponse).
    fn column_count(&self) -> usize;
    /// `true` for the binary format.
    fn is_binary(&self) -> bool;
    /// Takes some of the client's bytes; waits while the writer is behind.
    async fn write(&mut self, data: Bytes) -> Result<()>;
    /// The client sent all: commit.
    async fn finish(self: Box<Self>) -> Result<CommandTag>;
    /// The client gave up, or the connection broke: nothing is committed.
    async fn abort(self: Box<Self>);
}

/// What running a statement gives.
pub enum Output {
    Rows(RowOutput),
    /// COPY … TO STDOUT: each batch of the stream has one Binary column of encoded rows.
    CopyOut {
        columns: usize,
        binary: bool,
        stream: SendableRecordBatchStream,
    },
    CopyIn(Box<dyn CopyIn>),
    Complete(CommandTag),
    /// The empty query.
    Empty,
}

/// The error for what a statement asks and Auric does not do.
pub fn not_supported(what: impl fmt::Display) -> Error {
    Error::new(SqlState("0A000"), format!("{what} is not supported"))
}
