//! Statements: one file per statement or family, one exhaustive dispatch.

pub(crate) mod copy;
mod cursor;
pub(crate) mod ddl;
pub(crate) mod dml;
mod explain;
mod immediate;
pub mod interrupt;
pub(crate) mod join_memory;
pub(crate) mod materialized_view;
pub(crate) mod parameters;
mod plan_text;
mod prepared;
mod query;
pub(crate) mod rows;
mod set;
mod show;
pub(crate) mod task;
pub(crate) mod transaction;
mod trivial;

pub use self::copy::lines::CopyLines;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::Field;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::scalar::ScalarValue;
use parking_lot::Mutex;
use postgres_types::Type;

use crate::analyzer::plan_reads_catalog_only;
use crate::error::{Error, Result, SqlState};
use crate::introspection::{Plan, Question};
use crate::parser::statement::Shown;
use crate::parser::{Parsed, Statement};
use crate::planner::{Parameter, PlannedQuery};
use crate::result_cache::{CachedOutput, Remembered, Taking};
use crate::session::Session;
use crate::types;
use dml::row_statement::RowStatement;
pub(crate) use dml::{condition, failing_row, new_rows};
pub use query::CHANGED_RESULT;
pub use trivial::TrivialAnswer;

/// A column of a result as RowDescription shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputColumn {
    pub name: String,
    pub pg_type: Type,
    /// `atttypmod` (numeric precision and scale), or -1.
    pub type_modifier: i32,
    /// Of a `numeric` that is shown with as many digits as Postgres shows of a quotient: the fewest after the
    /// point.
    pub quotient_scale: Option<u8>,
    /// `None`: it is computed.
    pub origin: Option<Origin>,
}

/// A column of a table or system relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// OID of the relation.
    pub relation: u32,
    /// Its `attnum`.
    pub column: i16,
}

impl OutputColumn {
    /// A column of that name whose values are as the field says.
    pub fn of(name: impl Into<String>, field: &Field) -> Self {
        let (pg_type, type_modifier) = types::pg_type(field);
        let quotient_scale = types::quotient_scale(field);
        Self { name: name.into(), pg_type, type_modifier, quotient_scale, origin: None }
    }
}

/// A statement with names and types resolved.
#[derive(Debug)]
pub struct Prepared {
    /// Types of `$1`, `$2`, ….
    pub parameters: Vec<Type>,
    /// `None`: returns no rows.
    pub columns: Option<Vec<OutputColumn>>,
    pub(crate) parsed: Parsed,
    /// What the client or the plan says of the parameters.
    pub(crate) given: Vec<Option<Parameter>>,
    /// Reused as long as the tables it reads have not changed.
    pub(crate) planned: Mutex<Option<Arc<PlannedQuery>>>,
    /// Of a query that needs no plan.
    pub(crate) trivial: Option<TrivialAnswer>,
    /// Of a query that may have a kept plan, with that plan.
    pub(crate) question: Option<(Arc<Question>, Arc<Plan>)>,
}

impl Prepared {
    /// A statement without parameters and plan.
    pub(crate) fn plain(parsed: &Parsed, columns: Option<Vec<OutputColumn>>) -> Self {
        Self {
            parameters: Vec::new(),
            columns,
            parsed: parsed.clone(),
            given: Vec::new(),
            planned: Mutex::new(None),
            trivial: None,
            question: None,
        }
    }

    /// A query that needs no plan.
    pub(crate) fn trivial(parsed: &Parsed, answer: TrivialAnswer) -> Self {
        let columns = Some(answer.columns.as_ref().clone());
        Self { trivial: Some(answer), ..Self::plain(parsed, columns) }
    }

    /// Whether its rows are those of a cursor, which may be another at each execution.
    pub fn is_fetch(&self) -> bool {
        matches!(*self.parsed.statement, Statement::Fetch(_))
    }

    /// A query of system relations or of no relation at all (`pg_cancel_backend(…)`): quick, and wanted most when the pool for queries is busy.
    pub fn reads_catalog_only(&self) -> bool {
        if !matches!(*self.parsed.statement, Statement::Query(..)) {
            return false;
        }
        if let Some((_, plan)) = &self.question {
            return plan.reads_catalog_only;
        }
        self.planned.lock().as_ref().is_some_and(|planned| plan_reads_catalog_only(&planned.plan))
    }

    /// A query that was described before, to be planned when it is run.
    pub(crate) fn described(parsed: &Parsed, remembered: &Remembered) -> Self {
        let parameters = &remembered.parameters;
        Self {
            parameters: parameters.iter().map(|parameter| parameter.pg_type.clone()).collect(),
            given: parameters.iter().cloned().map(Some).collect(),
            ..Self::plain(parsed, Some(remembered.columns.as_ref().clone()))
        }
    }

    /// A query that has a kept plan.
    pub(crate) fn kept(parsed: &Parsed, question: Arc<Question>, plan: Arc<Plan>) -> Self {
        let parameters = plan.parameters();
        Self {
            parameters: parameters.iter().map(|parameter| parameter.pg_type.clone()).collect(),
            given: parameters.iter().cloned().map(Some).collect(),
            question: Some((question, plan.clone())),
            ..Self::plain(parsed, Some(plan.columns.as_ref().clone()))
        }
    }

    pub(crate) fn planned(
        parsed: &Parsed,
        planned: PlannedQuery,
        columns: Option<Vec<OutputColumn>>,
    ) -> Self {
        Self {
            parameters: planned.parameters.iter().map(|parameter| parameter.pg_type.clone()).collect(),
            columns,
            parsed: parsed.clone(),
            given: planned.parameters.iter().cloned().map(Some).collect(),
            planned: Mutex::new(Some(Arc::new(planned))),
            trivial: None,
            question: None,
        }
    }
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
    /// [`types`]: the encoder downcasts by the batch's schema.
    pub stream: SendableRecordBatchStream,
    pub tag: CommandTag,
    /// The rows of a binary cursor, which go out in that format if nobody asks for another.
    pub binary: bool,
    /// Takes what is sent, for the next who asks.
    pub collecting: Option<Taking>,
}

/// COPY … FROM STDIN in progress: the client's data goes in, one commit comes out.
#[async_trait::async_trait]
pub trait CopyIn: Send + fmt::Debug {
    /// Name of the table, for messages.
    fn table(&self) -> &str;
    /// The columns that the client sends.
    fn columns(&self) -> &[OutputColumn];
    /// `true` for the binary format: the data comes by [`CopyIn::write_rows`], else by [`CopyIn::write`].
    fn is_binary(&self) -> bool;
    /// Takes some of the client's bytes; waits while the writer is behind.
    async fn write(&mut self, data: Bytes) -> Result<()>;
    /// Takes decoded rows. Columns are of the type that [`arrow_type`](crate::types::arrow_type) gives
    /// for that of [`CopyIn::columns`], or text that Postgres' input function reads.
    async fn write_rows(&mut self, rows: RecordBatch) -> Result<()>;
    /// The client sent all: commit.
    async fn finish(self: Box<Self>) -> Result<CommandTag>;
    /// The client gave up, or the connection broke: nothing is committed.
    async fn abort(self: Box<Self>);
}

/// What running a statement gives.
pub enum Output {
    Rows(RowOutput),
    /// Rows of a query as they were encoded before.
    Cached(CachedOutput),
    /// COPY … TO STDOUT as text or CSV: the rows themselves, and how their values, which are text as in a
    /// result, make lines.
    CopyOut {
        columns: Arc<Vec<OutputColumn>>,
        lines: CopyLines,
        stream: SendableRecordBatchStream,
    },
    /// COPY … TO STDOUT in binary format: the rows themselves.
    CopyOutBinary {
        columns: Arc<Vec<OutputColumn>>,
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

/// Describes a statement without running it.
pub(crate) async fn prepare(
    session: &mut Session,
    parsed: &Parsed,
    parameter_types: &[Option<Type>],
) -> Result<Prepared> {
    let given: Vec<Option<Parameter>> = parameter_types
        .iter()
        .map(|t| t.as_ref().filter(|t| **t != Type::UNKNOWN && t.oid() != 0).map(Parameter::declared))
        .collect();
    match parsed.statement.as_ref() {
        Statement::Query(query) => query::prepare(session, query, &given, parsed).await,
        Statement::Explain(explain) => explain::prepare(session, explain, &given, parsed).await,
        Statement::Insert(insert) => dml::insert::prepare(session, insert, &given, parsed).await,
        Statement::Update(update) => {
            dml::row_statement::prepare(session, RowStatement::Update(update), &given, parsed).await
        }
        Statement::Delete(delete) => {
            dml::row_statement::prepare(session, RowStatement::Delete(delete), &given, parsed).await
        }
        Statement::Merge(merge) => {
            dml::row_statement::prepare(session, RowStatement::Merge(merge), &given, parsed).await
        }
        Statement::Show(show) => {
            show::columns(session, show).map(|columns| Prepared::plain(parsed, Some(columns)))
        }
        Statement::ShowCreate { .. } => {
            Ok(Prepared::plain(parsed, Some(vec![materialized_view::show_create::column()])))
        }
        Statement::Execute { name, .. } => {
            prepared::columns(session, name).map(|c| Prepared::plain(parsed, c))
        }
        Statement::Declare(declare) => cursor::prepare(session, declare, &given, parsed).await,
        Statement::Fetch(fetch) => cursor::columns(session, fetch).map(|c| Prepared::plain(parsed, c)),
        Statement::CreateSchema { .. }
        | Statement::DropSchema { .. }
        | Statement::CreateTable(_)
        | Statement::AlterTable(_)
        | Statement::Comment(_)
        | Statement::CreateIndex(_)
        | Statement::Analyze(_)
        | Statement::DropTable { .. }
        | Statement::CreateView(_)
        | Statement::DropView { .. }
        | Statement::CreateMaterializedView(_)
        | Statement::RefreshMaterializedView(_)
        | Statement::AlterMaterializedView(_)
        | Statement::DropMaterializedView { .. }
        | Statement::CreateTask(_)
        | Statement::AlterTask(_)
        | Statement::DropTask { .. }
        | Statement::ExecuteTask { .. }
        | Statement::Rename(_)
        | Statement::Truncate(_)
        | Statement::Copy(_)
        | Statement::Set(_)
        | Statement::SetTransaction { .. }
        | Statement::Reset(_)
        | Statement::Discard(_)
        | Statement::Begin { .. }
        | Statement::Commit(_)
        | Statement::Rollback(_)
        | Statement::Savepoint(_)
        | Statement::Release(_)
        | Statement::RollbackTo(_)
        | Statement::Prepare { .. }
        | Statement::Deallocate(_)
        | Statement::Close(_)
        | Statement::Accepted(_) => Ok(Prepared::plain(parsed, None)),
        Statement::Unsupported(what) => Err(not_supported(what)),
    }
}

/// Runs a statement.
pub(crate) async fn execute(
    session: &mut Session,
    prepared: &Arc<Prepared>,
    values: Vec<ScalarValue>,
) -> Result<Output> {
    let parsed = &prepared.parsed;
    match parsed.statement.as_ref() {
        Statement::Query(query) => query::execute(session, query, prepared, values).await,
        Statement::Explain(explain) => explain::execute(session, explain, prepared, values).await,
        Statement::CreateSchema { name, if_not_exists } => {
            ddl::create_schema::execute(session, name, *if_not_exists).await
        }
        Statement::DropSchema { names, if_exists, cascade } => {
            ddl::drop_schema::execute(session, names, *if_exists, *cascade).await
        }
        Statement::CreateTable(create) => ddl::create_table::execute(session, create, parsed).await,
        Statement::AlterTable(alter) => ddl::alter_table::execute(session, alter, parsed).await,
        Statement::Comment(comment) => ddl::comment::execute(session, comment, parsed).await,
        Statement::CreateIndex(index) => ddl::create_index::execute(session, index, parsed).await,
        Statement::Analyze(tables) => ddl::analyze::execute(session, tables, parsed).await,
        Statement::DropTable { names, if_exists, cascade } => {
            ddl::drop_table::execute(session, names, *if_exists, *cascade, parsed).await
        }
        Statement::CreateView(create) => ddl::create_view::execute(session, create, parsed).await,
        Statement::DropView { names, if_exists, cascade } => {
            ddl::drop_view::execute(session, names, *if_exists, *cascade, parsed).await
        }
        Statement::CreateMaterializedView(create) => {
            materialized_view::create::execute(session, create, parsed).await
        }
        Statement::RefreshMaterializedView(refresh) => {
            materialized_view::refresh::execute(session, refresh, parsed).await
        }
        Statement::AlterMaterializedView(alter) => {
            materialized_view::alter::execute(session, alter, parsed).await
        }
        Statement::DropMaterializedView { names, if_exists, cascade } => {
            materialized_view::drop_view::execute(session, names, *if_exists, *cascade, parsed).await
        }
        Statement::CreateTask(create) => task::create::execute(session, create, parsed).await,
        Statement::AlterTask(alter) => task::alter::execute(session, alter).await,
        Statement::DropTask { names, if_exists, cascade } => {
            task::drop_task::execute(session, names, *if_exists, *cascade).await
        }
        Statement::ExecuteTask { name, cascade } => task::execute::execute(session, name, *cascade).await,
        Statement::ShowCreate { kind: Shown::Task, name } => task::show_create::execute(session, name).await,
        Statement::ShowCreate { kind, name } => {
            materialized_view::show_create::execute(session, *kind, name, parsed).await
        }
        Statement::Rename(rename) => ddl::rename::execute(session, rename, parsed).await,
        Statement::Insert(insert) => dml::insert::execute(session, insert, prepared, values).await,
        Statement::Truncate(truncate) => dml::truncate::execute(session, truncate, parsed).await,
        Statement::Update(update) => {
            dml::row_statement::execute(session, RowStatement::Update(update), prepared, values).await
        }
        Statement::Delete(delete) => {
            dml::row_statement::execute(session, RowStatement::Delete(delete), prepared, values).await
        }
        Statement::Merge(merge) => {
            dml::row_statement::execute(session, RowStatement::Merge(merge), prepared, values).await
        }
        Statement::Copy(copy) => copy::execute(session, copy, parsed).await,
        Statement::Set(set) => set::set(session, set),
        Statement::SetTransaction { session: all, modes } => transaction::set_modes(session, *all, modes),
        Statement::Show(show) => show::execute(session, show),
        Statement::Reset(name) => set::reset(session, name.as_deref()),
        Statement::Discard(what) => set::discard(session, *what),
        Statement::Begin { start, modes } => transaction::begin(session, *start, modes),
        Statement::Commit(chain) => transaction::commit(session, *chain).await,
        Statement::Rollback(chain) => transaction::rollback(session, *chain),
        Statement::Savepoint(name) => transaction::savepoint(session, name),
        Statement::Release(name) => transaction::release(session, name),
        Statement::RollbackTo(name) => transaction::rollback_to(session, name),
        Statement::Prepare { name, types, statement, text } => {
            prepared::prepare(session, name, types, statement, text, parsed).await
        }
        Statement::Execute { name, parameters } => prepared::execute(session, name, parameters).await,
        Statement::Deallocate(name) => prepared::deallocate(session, name.as_deref()),
        Statement::Declare(declare) => cursor::declare(session, declare, prepared, values).await,
        Statement::Fetch(fetch) => cursor::fetch(session, fetch).await,
        Statement::Close(name) => cursor::close(session, name.as_deref()),
        Statement::Accepted(tag) => Ok(Output::Complete(CommandTag::Plain(tag))),
        Statement::Unsupported(what) => Err(not_supported(what)),
    }
}
