//! COPY … FROM STDIN: parsed as it arrives, converted batch by batch, written while more comes,
//! committed once at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{ArrayRef, AsArray, StringBuilder};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use auric_catalog::registry::Table;
use auric_catalog::table::Operation;
use bytes::Bytes;
use datafusion::catalog::{Session as PlannerSession, TableProvider};
use datafusion::datasource::provider_as_source;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::sql::sqlparser::ast::{Ident, ObjectName};
use parking_lot::Mutex;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

use super::super::dml::{assign, check, execute, insert, told_rows, write};
use super::super::{CommandTag, CopyIn, Output, OutputColumn, rows};
use super::records::{Record, Records};
use super::text_value::{Origin, cast_exactly, convert};
use crate::error::{Error, Result, SqlState};
use crate::parser::Parsed;
use crate::parser::statement::{CopyFormat, CopyOptions, Header};
use crate::planner::Scope;
use crate::session::Session;

/// Most rows and bytes of text in a batch.
const BATCH_ROWS: usize = 8192;
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Batches that may wait for the writer.
const WAITING: usize = 2;

pub async fn execute(
    session: &mut Session,
    name: &ObjectName,
    columns: &[Ident],
    options: &CopyOptions,
    parsed: &Parsed,
) -> Result<Output> {
    if matches!(options.format, CopyFormat::Json | CopyFormat::Parquet) {
        return Err(super::files_only());
    }
    let scope = session.scope().await?;
    let into = Into::find(session, &scope, name, columns, parsed).await?;
    Ok(Output::CopyIn(Box::new(begin(scope, into, options))))
}

/// What is copied into.
pub(super) struct Into {
    pub table: Table,
    /// Names of the columns, in the order of the data.
    pub columns: Vec<String>,
}

impl Into {
    pub async fn find(
        session: &Session,
        scope: &Scope,
        name: &ObjectName,
        columns: &[Ident],
        parsed: &Parsed,
    ) -> Result<Self> {
        session.check_writable("COPY FROM")?;
        let (table, _) = scope.changeable_table(name, parsed).await?;
        table.check_writable(Operation::Append)?;
        let mut columns = insert::explicit_columns(&table, columns, parsed)?;
        if columns.is_empty() {
            let fields = table.snapshot.schema.arrow.fields();
            columns = fields.iter().map(|field| field.name().clone()).collect();
        }
        Ok(Self { table, columns })
    }
}

/// A COPY of text whose data is still to come.
pub(super) fn begin(scope: Scope, into: Into, options: &CopyOptions) -> CopyFrom {
    let Into { table, columns: targets } = into;
    let arrow = table.snapshot.schema.arrow.clone();
    let fields: Vec<Field> = targets
        .iter()
        .filter_map(|target| arrow.field_with_name(target).ok())
        .map(|field| Field::new(field.name(), field.data_type().clone(), true))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let (sender, receiver) = channel(WAITING);
    let complete = Arc::new(AtomicBool::new(false));
    let source = Incoming {
        schema: schema.clone(),
        receiver: Arc::new(Mutex::new(Some(receiver))),
        complete: complete.clone(),
    };
    let writer = tokio::spawn(write_rows(scope, table.clone(), source));
    CopyFrom {
        origin: table.ident.name.clone(),
        table: table.ident.name.clone(),
        columns: schema.fields().iter().map(|field| OutputColumn::of(field.name(), field)).collect(),
        builders: schema.fields().iter().map(|_| StringBuilder::new()).collect(),
        schema,
        records: Records::new(options.clone()),
        options: options.clone(),
        lines: Vec::new(),
        bytes: 0,
        rows: 0,
        header: options.header != Header::None,
        sender: Some(sender),
        writer: Some(writer),
        complete,
    }
}

/// The write that runs beside the parsing.
async fn write_rows(scope: Scope, table: Table, source: Incoming) -> Result<u64> {
    let targets: Vec<String> = source.schema.fields().iter().map(|field| field.name().clone()).collect();
    let plan = LogicalPlanBuilder::scan("copy", provider_as_source(Arc::new(source)), None)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|e| Error::from(&e))?;
    let plan = assign::text_to_table(&scope, &table, plan, &targets)?;
    insert_rows(&scope, &table, plan).await
}

/// Inserts rows with the table's columns. Returns their number.
pub(super) async fn insert_rows(scope: &Scope, table: &Table, plan: LogicalPlan) -> Result<u64> {
    let plan = check::enforce(scope, table, plan, &check::Checked::default())?;
    if let Some(told) = told_rows::of_block(scope, table, &plan, 0, false)? {
        let changed = execute::execute_change(scope, &told.target, &told.plan, told.options).await?;
        return Ok(match changed {
            execute::Changed::Impact(impact) => impact.rows_changed(),
            execute::Changed::Rows(_) => 0,
        });
    }
    let input = rows::physical(scope, &plan).await?;
    write::append(scope, table, input).await
}

/// A COPY in progress.
pub(super) struct CopyFrom {
    table: String,
    /// What is copied, for messages.
    origin: String,
    columns: Vec<OutputColumn>,
    schema: SchemaRef,
    records: Records,
    options: CopyOptions,
    builders: Vec<StringBuilder>,
    /// Line of each row that is in the builders.
    lines: Vec<u64>,
    bytes: usize,
    /// Rows that came decoded.
    rows: u64,
    /// The next record is the header.
    header: bool,
    sender: Option<Sender<RecordBatch>>,
    writer: Option<JoinHandle<Result<u64>>>,
    complete: Arc<AtomicBool>,
}

impl std::fmt::Debug for CopyFrom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CopyFrom").field("table", &self.table).finish_non_exhaustive()
    }
}

impl CopyFrom {
    /// What comes next is another file.
    pub(super) async fn next_file(&mut self, file: &str) -> Result<()> {
        self.parse(true).await?;
        self.flush().await?;
        self.origin = format!("{} from \"{file}\"", self.table);
        self.records = Records::new(self.options.clone());
        self.header = self.options.header != Header::None;
        Ok(())
    }

    async fn parse(&mut self, last: bool) -> Result<()> {
        while let Some(record) = self.records.next(last)? {
            if std::mem::take(&mut self.header) {
                self.check_header(&record)?;
                continue;
            }
            self.add(record)?;
            if self.lines.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
                self.flush().await?;
            }
        }
        Ok(())
    }

    fn at(&self, error: Error, line: u64) -> Error {
        error.with_detail(format!("COPY {}, line {line}", self.origin))
    }

    fn check_header(&self, record: &Record) -> Result<()> {
        if self.options.header != Header::Match {
            return Ok(());
        }
        for (i, field) in self.schema.fields().iter().enumerate() {
            let found = record.fields.get(i).cloned().flatten().unwrap_or_default();
            if found != *field.name() {
                let message = format!(
                    "column name mismatch in header line field {}: got \"{found}\", expected \"{}\"",
                    i + 1,
                    field.name()
                );
                return Err(self.at(Error::new(SqlState::BAD_COPY_FORMAT, message), record.line));
            }
        }
        Ok(())
    }

    fn add(&mut self, record: Record) -> Result<()> {
        let width = self.schema.fields().len();
        if record.fields.len() > width {
            let error = Error::new(SqlState::BAD_COPY_FORMAT, "extra data after last expected column");
            return Err(self.at(error, record.line));
        }
        if let Some(missing) = self.schema.fields().get(record.fields.len()) {
            let message = format!("missing data for column \"{}\"", missing.name());
            return Err(self.at(Error::new(SqlState::BAD_COPY_FORMAT, message), record.line));
        }
        for (i, field) in record.fields.into_iter().enumerate() {
            let Some(builder) = self.builders.get_mut(i) else { continue };
            let name = self.schema.field(i).name();
            let quoted = record.quoted.get(i).copied().unwrap_or(false);
            let field = match field {
                None if self.options.force_not_null.contains(name) => Some(self.options.null.clone()),
                Some(text)
                    if quoted && text == self.options.null && self.options.force_null.contains(name) =>
                {
                    None
                }
                other => other,
            };
            self.bytes += field.as_ref().map_or(1, String::len);
            builder.append_option(field);
        }
        self.lines.push(record.line);
        Ok(())
    }

    /// Converts what is there and sends it.
    async fn flush(&mut self) -> Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let lines = std::mem::take(&mut self.lines);
        self.bytes = 0;
        let arrays = self
            .schema
            .fields()
            .iter()
            .zip(&mut self.builders)
            .map(|(field, builder)| {
                let origin = Origin { table: &self.origin, column: field.name(), lines: &lines };
                convert(&builder.finish(), field.data_type(), &origin)
            })
            .collect::<Result<Vec<ArrayRef>>>()?;
        self.send(arrays).await
    }

    /// Hands rows to the writer; waits while that is behind.
    async fn send(&mut self, columns: Vec<ArrayRef>) -> Result<()> {
        let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(|e| Error::from(&e))?;
        let sent = match &self.sender {
            Some(sender) => sender.send(batch).await.is_ok(),
            None => false,
        };
        if sent { Ok(()) } else { Err(self.writer_error().await) }
    }

    async fn convert_rows(&mut self, rows: RecordBatch) -> Result<()> {
        let first = self.rows + 1;
        self.rows += rows.num_rows() as u64;
        let lines: Vec<u64> = (first..=self.rows).collect();
        let fields = self.schema.fields().iter().zip(rows.columns());
        let columns = fields
            .map(|(field, column)| match column.as_string_opt::<i32>() {
                Some(texts) => {
                    let origin = Origin { table: &self.origin, column: field.name(), lines: &lines };
                    convert(texts, field.data_type(), &origin)
                }
                None => cast_exactly(column, field.data_type()),
            })
            .collect::<Result<Vec<ArrayRef>>>()?;
        self.send(columns).await
    }

    /// Why the writer stopped taking rows.
    async fn writer_error(&mut self) -> Error {
        self.sender = None;
        match self.join().await {
            Err(e) => e,
            Ok(_) => Error::new(SqlState::INTERNAL_ERROR, "the writer of COPY ended before its input"),
        }
    }

    async fn join(&mut self) -> Result<u64> {
        match self.writer.take() {
            Some(writer) => writer.await.map_err(|e| {
                Error::new(SqlState::INTERNAL_ERROR, "the writer of COPY failed").with_detail(e.to_string())
            })?,
            None => Err(Error::new(SqlState::INTERNAL_ERROR, "COPY has already ended")),
        }
    }

    /// Makes the writer fail, so that nothing is committed, and waits until it has cleaned up.
    async fn give_up(&mut self) {
        self.sender = None;
        let _ = self.join().await;
    }
}

#[async_trait]
impl CopyIn for CopyFrom {
    fn table(&self) -> &str {
        &self.table
    }

    fn columns(&self) -> &[OutputColumn] {
        &self.columns
    }

    fn is_binary(&self) -> bool {
        self.options.format == CopyFormat::Binary
    }

    async fn write_rows(&mut self, rows: RecordBatch) -> Result<()> {
        let result = self.convert_rows(rows).await;
        if result.is_err() {
            self.give_up().await;
        }
        result
    }

    async fn write(&mut self, data: Bytes) -> Result<()> {
        self.records.push(&data);
        let result = self.parse(false).await;
        if result.is_err() {
            self.give_up().await;
        }
        result
    }

    async fn finish(mut self: Box<Self>) -> Result<CommandTag> {
        let parsed = match self.parse(true).await {
            Ok(()) => self.flush().await,
            Err(e) => Err(e),
        };
        if let Err(e) = parsed {
            self.give_up().await;
            return Err(e);
        }
        self.complete.store(true, Ordering::Release);
        self.sender = None;
        Ok(CommandTag::Count("COPY", self.join().await?))
    }

    async fn abort(mut self: Box<Self>) {
        self.give_up().await;
    }
}

/// The rows of a COPY as a relation that can be scanned once.
#[derive(Debug, Clone)]
struct Incoming {
    schema: SchemaRef,
    receiver: Arc<Mutex<Option<Receiver<RecordBatch>>>>,
    /// The client has sent all. A channel that closes before is a COPY that failed: the plan fails
    /// too, and nothing is committed.
    complete: Arc<AtomicBool>,
}

#[async_trait]
impl TableProvider for Incoming {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _state: &dyn PlannerSession,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        let partition: Arc<dyn PartitionStream> = Arc::new(self.clone());
        Ok(Arc::new(StreamingTableExec::try_new(
            self.schema.clone(),
            vec![partition],
            projection,
            None,
            false,
            None,
        )?))
    }
}

impl PartitionStream for Incoming {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let receiver = self.receiver.lock().take();
        let complete = self.complete.clone();
        let stream = futures::stream::unfold((receiver, complete), |(receiver, complete)| async move {
            let mut receiver = receiver?;
            match receiver.recv().await {
                Some(batch) => Some((Ok(batch), (Some(receiver), complete))),
                None if complete.load(Ordering::Acquire) => None,
                None => {
                    let canceled = Error::new(SqlState::QUERY_CANCELED, "COPY from stdin failed");
                    Some((Err(canceled.into()), (None, complete)))
                }
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream))
    }
}
