//! COPY … TO STDOUT.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::provider_as_source;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, col};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

use super::super::dml::insert;
use super::super::{Output, OutputColumn, rows};
use super::text_value::shown;
use crate::error::{Error, Result};
use crate::parser::Parsed;
use crate::parser::statement::{CopyFormat, CopyOptions, CopySource, Header};
use crate::session::Session;

/// How values are written: as Postgres writes them.
pub(super) fn format_options() -> FormatOptions<'static> {
    FormatOptions::new()
        .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
        .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f%:::z"))
        .with_date_format(Some("%Y-%m-%d"))
        .with_time_format(Some("%H:%M:%S%.f"))
}

pub async fn execute(
    session: &mut Session,
    source: &CopySource,
    options: &CopyOptions,
    parsed: &Parsed,
) -> Result<Output> {
    let scope = session.scope().await?;
    let (plan, columns) = match source {
        CopySource::Query(query) => {
            let planned = scope.plan_query(query, &[], parsed).await?;
            if !planned.parameters.is_empty() {
                return Err(super::not_supported("a parameter in COPY"));
            }
            (planned.plan, planned.columns)
        }
        CopySource::Table { name, columns } => {
            let table = scope.table(name, parsed).await?;
            let mut names = insert::explicit_columns(&table, columns, parsed)?;
            if names.is_empty() {
                names =
                    table.snapshot.schema.arrow.fields().iter().map(|field| field.name().clone()).collect();
            }
            let arrow = &table.snapshot.schema.arrow;
            let fields = names.iter().filter_map(|name| arrow.field_with_name(name).ok());
            (
                scan(table.provider(), &names)?,
                Arc::new(fields.map(|field| OutputColumn::of(field.name(), field)).collect()),
            )
        }
    };
    let stream = rows::stream(&scope, rows::physical(&scope, &plan).await?)?;
    Ok(match options.format {
        CopyFormat::Binary => Output::CopyOutBinary { columns, stream },
        CopyFormat::Json | CopyFormat::Parquet => return Err(super::files_only()),
        CopyFormat::Text | CopyFormat::Csv => {
            let names = columns.iter().map(|column| column.name.clone()).collect();
            as_text(stream, names, options.clone())
        }
    })
}

fn scan(provider: Arc<dyn datafusion::catalog::TableProvider>, names: &[String]) -> Result<LogicalPlan> {
    let columns = names.iter().map(|name| {
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        col(quoted)
    });
    LogicalPlanBuilder::scan("copied", provider_as_source(provider), None)
        .and_then(|builder| builder.project(columns))
        .and_then(LogicalPlanBuilder::build)
        .map_err(|e| Error::from(&e))
}

fn as_text(stream: SendableRecordBatchStream, names: Vec<String>, options: CopyOptions) -> Output {
    let schema = Arc::new(Schema::new(vec![Field::new("row", DataType::Binary, false)]));
    let columns = names.len();
    let header = options.header != Header::None;
    let first = header.then(|| {
        let mut line = Vec::new();
        for (i, name) in names.iter().enumerate() {
            if i > 0 {
                line.push(options.delimiter);
            }
            field(&mut line, name, &options, false);
        }
        line.push(b'\n');
        line
    });
    let first = first.map(|line| lines_batch(std::iter::once(line)));
    let encoded = stream.map(move |batch| encode(&batch?, &names, &options).map_err(DataFusionError::from));
    let stream = futures::stream::iter(first).chain(encoded);
    let stream = Box::pin(RecordBatchStreamAdapter::new(schema, stream));
    Output::CopyOut { columns, header, stream }
}

fn lines_batch(lines: impl Iterator<Item = Vec<u8>>) -> datafusion::error::Result<RecordBatch> {
    let mut builder = BinaryBuilder::new();
    for line in lines {
        builder.append_value(line);
    }
    let schema = Arc::new(Schema::new(vec![Field::new("row", DataType::Binary, false)]));
    Ok(RecordBatch::try_new(schema, vec![Arc::new(builder.finish())])?)
}

fn encode(batch: &RecordBatch, names: &[String], options: &CopyOptions) -> Result<RecordBatch> {
    let format = format_options();
    let formatters = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &format))
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(|e| Error::from(&e))?;
    let columns: Vec<(&ArrayRef, &ArrayFormatter<'_>, &str)> = batch
        .columns()
        .iter()
        .zip(&formatters)
        .zip(names)
        .map(|((column, formatter), name)| (column, formatter, name.as_str()))
        .collect();
    let mut lines = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let mut line = Vec::new();
        for (i, (column, formatter, name)) in columns.iter().enumerate() {
            if i > 0 {
                line.push(options.delimiter);
            }
            match shown(column, row, formatter)? {
                None => line.extend_from_slice(options.null.as_bytes()),
                Some(text) => field(&mut line, &text, options, options.force_quote.contains(name)),
            }
        }
        line.push(b'\n');
        lines.push(line);
    }
    lines_batch(lines.into_iter()).map_err(|e| Error::from(&e))
}

fn field(line: &mut Vec<u8>, text: &str, options: &CopyOptions, force_quote: bool) {
    if options.format == CopyFormat::Csv {
        let special =
            |byte: u8| byte == options.delimiter || byte == options.quote || byte == b'\n' || byte == b'\r';
        let quote = force_quote || text == options.null || text.bytes().any(special) || text == "\\.";
        if !quote {
            line.extend_from_slice(text.as_bytes());
            return;
        }
        line.push(options.quote);
        for byte in text.bytes() {
            if byte == options.quote || byte == options.escape {
                line.push(options.escape);
            }
            line.push(byte);
        }
        line.push(options.quote);
        return;
    }
    for byte in text.bytes() {
        match byte {
            b'\\' => line.extend_from_slice(b"\\\\"),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            b'\t' => line.extend_from_slice(b"\\t"),
            8 => line.extend_from_slice(b"\\b"),
            12 => line.extend_from_slice(b"\\f"),
            11 => line.extend_from_slice(b"\\v"),
            byte if byte == options.delimiter => line.extend_from_slice(&[b'\\', byte]),
            byte => line.push(byte),
        }
    }
}
