//! Table functions over files: `read_csv`, `read_json`, `read_parquet`.
//!
//! A call names a file, a directory, a glob or a list of them, local or in an object store, and
//! options by name: `read_csv('s3://b/x/*.csv', delim => ';', nullstr => 'NA')` (`name = value` is
//! taken as well). The files' schema is found before planning, as that needs I/O.

mod csv;
mod files_read;
mod json;
mod options;
mod parquet;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::error::DataFusionError;
use datafusion::object_store::{ObjectMeta, ObjectStore};
use datafusion::sql::sqlparser::ast::{ObjectName, TableFunctionArgs};
use futures::{StreamExt, TryStreamExt};
use url::Url;

pub use self::files_read::{FilesRead, FilesTable};
use self::options::Options;
use crate::error::{Error, Result, SqlState};
use crate::planner::{Scope, names};

/// A call's relation, and its files as they were before that was made of them.
#[derive(Debug, Clone)]
pub struct Opened {
    pub provider: Arc<dyn TableProvider>,
    pub read: Arc<FilesRead>,
}

/// The relation of a call; `None`: no function of this module.
pub async fn resolve(scope: &Scope, name: &ObjectName, args: &TableFunctionArgs) -> Result<Option<Opened>> {
    let Some(function) = name.0.last().and_then(|part| part.as_ident()).map(names::folded) else {
        return Ok(None);
    };
    let format = match function.as_str() {
        "read_csv" | "read_csv_auto" => "read_csv",
        "read_json" | "read_json_auto" | "read_ndjson" => "read_json",
        "read_parquet" | "parquet_scan" => "read_parquet",
        _ => return Ok(None),
    };
    opened(scope, format, Options::parse(scope, &function, args)?).await.map(Some)
}

/// The rows of files, with the options that the function of that name has when none are given.
pub async fn open(scope: &Scope, function: &str, location: &str) -> Result<Arc<dyn TableProvider>> {
    let options = Options::of_location(function, location);
    Ok(opened(scope, function, options).await?.provider)
}

async fn opened(scope: &Scope, format: &str, options: Options) -> Result<Opened> {
    let read = FilesRead::look(scope, &options).await;
    let provider = match format {
        "read_json" => json::open(scope, options, &read).await?,
        "read_parquet" => parquet::open(scope, options, &read).await?,
        _ => csv::open(scope, options, &read).await?,
    };
    Ok(Opened { provider, read })
}

/// The files that a location names, by name, with the store that they are in.
pub async fn files(scope: &Scope, path: &str) -> Result<(Arc<dyn ObjectStore>, Vec<ObjectMeta>)> {
    let url = location(path)?;
    let state: &dyn Session = scope.state.as_ref();
    let read = async {
        let store = state.runtime_env().object_store(&url)?;
        let found = url.list_prefixed_files(state, store.as_ref(), None, "").await?;
        let files = found.try_collect::<Vec<_>>().await?;
        Ok((store, files))
    };
    let (store, mut files) = read.await.map_err(|e: DataFusionError| unreadable(&Error::from(&e), path))?;
    if files.is_empty() {
        return Err(undefined(path));
    }
    files.sort_by(|a, b| a.location.cmp(&b.location));
    Ok((store, files))
}

/// Files of one format, with the schema that was found in them.
struct Files {
    urls: Vec<ListingTableUrl>,
    listing: ListingOptions,
    schema: SchemaRef,
}

impl Files {
    async fn find(scope: &Scope, paths: &[String], format: Arc<dyn FileFormat>) -> Result<Self> {
        let urls = paths.iter().map(|path| location(path)).collect::<Result<Vec<_>>>()?;
        let listing = ListingOptions::new(format).with_file_extension("");
        let mut schemas: Vec<Schema> = Vec::new();
        for (url, path) in urls.iter().zip(paths) {
            if !any_file(scope, url).await.map_err(|e| unreadable(&e, path))? {
                return Err(undefined(path));
            }
            let found = listing
                .infer_schema(scope.state.as_ref(), url)
                .await
                .map_err(|e| unreadable(&e.into(), path))?;
            if found.fields().is_empty() {
                return Err(undefined(path));
            }
            schemas.push(found.as_ref().clone());
        }
        let schema = Schema::try_merge(schemas).map_err(|e| Error::from(&e))?;
        Ok(Self::of(urls, listing, &schema))
    }

    /// Files whose columns are known.
    fn with_schema(paths: &[String], format: Arc<dyn FileFormat>, schema: &Schema) -> Result<Self> {
        let urls = paths.iter().map(|path| location(path)).collect::<Result<Vec<_>>>()?;
        Ok(Self::of(urls, ListingOptions::new(format).with_file_extension(""), schema))
    }

    fn of(urls: Vec<ListingTableUrl>, listing: ListingOptions, schema: &Schema) -> Self {
        // A column without a single value in the sample may still get some.
        let fields: Vec<Field> = schema
            .fields()
            .iter()
            .map(|field| match field.data_type() {
                DataType::Null => Field::new(field.name(), DataType::Utf8View, true),
                _ => field.as_ref().clone(),
            })
            .collect();
        Self { urls, listing, schema: Arc::new(Schema::new(fields)) }
    }

    fn table(self, read: &Arc<FilesRead>) -> Result<Arc<dyn TableProvider>> {
        let config = ListingTableConfig::new_with_multi_paths(self.urls)
            .with_listing_options(self.listing)
            .with_schema(self.schema);
        let listing = ListingTable::try_new(config).map_err(|e| Error::from(&e))?;
        Ok(Arc::new(FilesTable { listing, read: read.clone() }))
    }
}

fn undefined(path: &str) -> Error {
    let message =
        format!("could not open file \"{path}\" for reading: there is no such file, or it is empty");
    Error::new(SqlState::UNDEFINED_FILE, message)
}

/// Whether a location names any file that is not empty.
async fn any_file(scope: &Scope, url: &ListingTableUrl) -> Result<bool> {
    let state: &dyn Session = scope.state.as_ref();
    let store = state.runtime_env().object_store(url).map_err(|e| Error::from(&e))?;
    let mut files =
        url.list_prefixed_files(state, store.as_ref(), None, "").await.map_err(|e| Error::from(&e))?;
    while let Some(file) = files.next().await {
        if file.map_err(|e| Error::from(&e))?.size > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// An error while the files were looked at, naming what was asked for.
fn unreadable(e: &Error, path: &str) -> Error {
    match e.code {
        SqlState::IO_ERROR | SqlState::INTERNAL_ERROR => {
            let detail = e.detail.clone().unwrap_or_else(|| e.message.clone());
            Error::new(SqlState::IO_ERROR, format!("could not open file \"{path}\" for reading"))
                .with_detail(detail)
        }
        _ => e.clone().with_detail(format!("while reading \"{path}\"")),
    }
}

/// A path or URL, with a glob in it or not.
fn location(path: &str) -> Result<ListingTableUrl> {
    let invalid = |e: &dyn std::fmt::Display| {
        Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("invalid file location \"{path}\": {e}"))
    };
    if !path.contains("://") {
        return ListingTableUrl::parse(path).map_err(|e| invalid(&e));
    }
    let glob_at = path.find(['*', '?', '[']);
    let (base, glob) = match glob_at.and_then(|at| path.get(..at)).and_then(|head| head.rfind('/')) {
        Some(slash) if glob_at.is_some() => path.split_at(slash + 1),
        _ => (path, ""),
    };
    let url = Url::parse(base).map_err(|e| invalid(&e))?;
    let url = ListingTableUrl::try_new(url, None).map_err(|e| invalid(&e))?;
    if glob.is_empty() { Ok(url) } else { url.with_glob(glob).map_err(|e| invalid(&e)) }
}
