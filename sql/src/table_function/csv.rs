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
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, cast, lit, when};
use datafusion::scalar::ScalarValue;

use super::Files;
use super::options::Options;
use crate::error::{Error, Result, SqlState};
use crate::planner::Scope;

/// Records looked at to find the types.
const SAMPLE: i64 = 20_480;

pub async fn open(scope: &Scope, mut options: Options) -> Result<Arc<dyn TableProvider>> {
    let nulls = options.texts(&["nullstr", "null", "na", "null_padding_text"]);
    let all_text = options.bool(&["all_varchar", "all_text"])?.unwrap_or(false);
    let format = format(&mut options, &nulls, all_text)?;
    options.finish()?;
    let mut files = Files::find(scope, &options.paths, Arc::new(format)).await?;
    let found = files.schema.clone();
    if nulls.iter().all(String::is_empty) && !all_text {
        return Ok(Arc::new(files.table()?));
    }
    // The reader knows no other NULL than the empty field: read text, then convert.
    let text: Vec<Field> =
        found.fields().iter().map(|field| Field::new(field.name(), DataType::Utf8View, true)).collect();
    files.schema = Arc::new(Schema::new(text));
    let table: Arc<dyn TableProvider> = Arc::new(files.table()?);
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
