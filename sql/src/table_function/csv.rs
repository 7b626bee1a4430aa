//! `read_csv`.
//!
//! Header line expected unless `header => false`; types are found from a sample; an empty field is
//! NULL, and so is any text of `nullstr`. Quoted fields may hold line ends.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::TableProvider;
use datafusion::common::Column;
use datafusion::common::config::CsvOptions;
use datafusion::datasource::ViewTable;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, cast, lit, when};
use datafusion::object_store::ObjectMeta;
use datafusion::scalar::ScalarValue;
use futures::{StreamExt, TryStreamExt};

use super::options::Options;
use super::{Files, FilesRead};
use crate::error::{Error, Result, SqlState};
use crate::planner::Scope;

/// Records looked at to find the types.
const SAMPLE: i64 = 20_480;
/// Records looked at in each of many files, at least.
const LEAST_SAMPLE: usize = 100;
/// Files looked into at the same time.
const FILES_AT_ONCE: usize = 16;

pub async fn open(
    scope: &Scope,
    mut options: Options,
    read: &Arc<FilesRead>,
) -> Result<Arc<dyn TableProvider>> {
    let nulls = options.texts(&["nullstr", "null", "na", "null_padding_text"]);
    let all_text = options.bool(&["all_varchar", "all_text"])?.unwrap_or(false);
    let format = format(&mut options, &nulls, all_text)?;
    options.finish()?;
    let columns = columns(scope, &options.paths, &format).await?;
    let mut files = Files::with_schema(&options.paths, Arc::new(format), &columns)?;
    let found = files.schema.clone();
    if nulls.iter().all(String::is_empty) && !all_text {
        return files.table(read);
    }
    // The reader knows no other NULL than the empty field: read text, then convert.
    let text: Vec<Field> =
        found.fields().iter().map(|field| Field::new(field.name(), DataType::Utf8View, true)).collect();
    files.schema = Arc::new(Schema::new(text));
    let table = files.table(read)?;
    if all_text && nulls.is_empty() {
        return Ok(table);
    }
    converted(table, &found, &nulls, all_text)
}

fn converted(
    table: Arc<dyn TableProvider>,
    found: &Schema,
    nulls: &[String],
    all_text: bool,
) -> Result<Arc<dyn TableProvider>> {
    let nulls: Vec<Expr> = nulls.iter().map(|text| lit(text.as_str())).collect();
    let columns = found
        .fields()
        .iter()
        .map(|field| {
            let text = Expr::Column(Column::new(Some("files"), field.name()));
            let null = lit(ScalarValue::Utf8View(None));
            let text = when(text.clone().in_list(nulls.clone(), false), null).otherwise(text)?;
            let value = match field.data_type() {
                DataType::Utf8 | DataType::Utf8View => text,
                _ if all_text => text,
                data_type => cast(text, data_type.clone()),
            };
            Ok(value.alias(field.name()))
        })
        .collect::<datafusion::error::Result<Vec<_>>>()
        .map_err(|e| Error::from(&e))?;
    let plan = LogicalPlanBuilder::scan("files", provider_as_source(table), None)
        .and_then(|builder| builder.project(columns))
        .and_then(LogicalPlanBuilder::build)
        .map_err(|e| Error::from(&e))?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

fn format(options: &mut Options, nulls: &[String], all_text: bool) -> Result<CsvFormat> {
    let mut csv = CsvOptions {
        has_header: Some(options.bool(&["header"])?.unwrap_or(true)),
        newlines_in_values: Some(!options.bool(&["parallel"])?.unwrap_or(false)),
        truncated_rows: options.bool(&["null_padding"])?,
        comment: options.byte(&["comment"])?,
        escape: options.byte(&["escape"])?,
        ..Default::default()
    };
    if let Some(delimiter) = options.byte(&["delim", "delimiter", "sep"])? {
        csv.delimiter = delimiter;
    }
    if let Some(quote) = options.byte(&["quote"])? {
        csv.quote = quote;
    }
    if csv.escape == Some(csv.quote) {
        // A doubled quote is what the reader expects without an escape character.
        csv.escape = None;
    }
    let sample = options.integer(&["sample_size", "infer_rows"])?.unwrap_or(SAMPLE);
    // Where all is text nothing is looked for: files that seem to differ in their types would be refused.
    csv.schema_infer_max_rec = Some(if all_text { 0 } else { usize::try_from(sample).unwrap_or(usize::MAX) });
    if !nulls.is_empty() {
        let words: Vec<String> = nulls.iter().map(|text| regex::escape(text)).collect();
        csv.null_regex = Some(format!("^(?:{}|)$", words.join("|")));
    }
    let format = CsvFormat::default().with_options(csv);
    Ok(format.with_file_compression_type(compression(options)?))
}

/// The columns of all files. Rows are read by position: files with other columns, or the same in another order, are
/// refused. A column for which files suggest different types gets one that all of them can be read as.
async fn columns(scope: &Scope, paths: &[String], format: &CsvFormat) -> Result<Schema> {
    let state = scope.state.as_ref();
    let padded = format.options().truncated_rows.unwrap_or(false);
    let mut columns: Option<Schema> = None;
    for path in paths {
        let (store, files) = super::files(scope, path).await?;
        let files: Vec<ObjectMeta> = files.into_iter().filter(|file| file.size > 0).collect();
        if files.is_empty() {
            return Err(super::undefined(path));
        }
        let mut options = format.options().clone();
        options.schema_infer_max_rec =
            options.schema_infer_max_rec.map(|most| (most / files.len()).max(most.min(LEAST_SAMPLE)));
        let sampling = CsvFormat::default().with_options(options).with_file_compression_type(
            format.compression_type().unwrap_or(FileCompressionType::UNCOMPRESSED),
        );
        let (sampling, store) = (&sampling, &store);
        let found = futures::stream::iter(files.clone())
            .map(|file| async move { sampling.infer_schema(state, store, &[file]).await })
            .buffered(FILES_AT_ONCE)
            .try_collect::<Vec<_>>()
            .await
            .map_err(|e| super::unreadable(&Error::from(&e), path))?;
        for (schema, file) in found.iter().zip(&files) {
            if schema.fields().is_empty() {
                return Err(super::undefined(path));
            }
            columns = Some(match columns.take() {
                None => schema.as_ref().clone(),
                Some(known) => together(&known, schema, padded).map_err(|detail| {
                    let message =
                        format!("file \"{}\" has other columns than the files before it", file.location);
                    Error::new(SqlState::BAD_COPY_FORMAT, message).with_detail(detail)
                })?,
            });
        }
    }
    Ok(columns.unwrap_or_else(Schema::empty))
}

/// The columns of two files; an error says how they differ. `padded`: columns at the end may be missing.
fn together(known: &Schema, other: &Schema, padded: bool) -> std::result::Result<Schema, String> {
    let (few, many) =
        (known.fields().len().min(other.fields().len()), known.fields().len().max(other.fields().len()));
    if few < many && !padded {
        return Err(format!("{} columns instead of {}", other.fields().len(), known.fields().len()));
    }
    let longer = if known.fields().len() == many { known } else { other };
    let mut fields: Vec<Field> = longer.fields().iter().map(|field| field.as_ref().clone()).collect();
    for ((field, a), b) in fields.iter_mut().zip(known.fields()).zip(other.fields()) {
        if a.name() != b.name() {
            return Err(format!("column \"{}\" instead of \"{}\"", b.name(), a.name()));
        }
        field.set_data_type(match (a.data_type(), b.data_type()) {
            (a, b) if a == b => a.clone(),
            (DataType::Null, found) | (found, DataType::Null) => found.clone(),
            (DataType::Int64, DataType::Float64) | (DataType::Float64, DataType::Int64) => DataType::Float64,
            _ => DataType::Utf8,
        });
    }
    Ok(Schema::new(fields))
}

/// How the files are compressed: by option, else by the name of the first.
pub(super) fn compression(options: &mut Options) -> Result<FileCompressionType> {
    let by_name = options
        .paths
        .first()
        .and_then(|path| path.rsplit_once('.'))
        .map(|(_, extension)| extension.to_string());
    let given = options.text(&["compression"]).filter(|name| !name.eq_ignore_ascii_case("auto"));
    let name = given.clone().or(by_name).unwrap_or_default();
    Ok(match name.to_ascii_lowercase().as_str() {
        "gz" | "gzip" => FileCompressionType::GZIP,
        "zst" | "zstd" => FileCompressionType::ZSTD,
        "bz2" | "bzip2" => FileCompressionType::BZIP2,
        "xz" => FileCompressionType::XZ,
        _ if given.is_none() => FileCompressionType::UNCOMPRESSED,
        "none" | "uncompressed" => FileCompressionType::UNCOMPRESSED,
        other => {
            let message = format!("compression \"{other}\" is not recognized");
            return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
        }
    })
}
