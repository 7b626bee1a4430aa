//! The state that files are in, so that what was said of them is not said of others.
//!
//! Files have no versions. What tells one state from the next is all that their store tells of them: which
//! there are, their sizes, tags and times; on a local disk also inode and time of change, which nobody can
//! set. A file that was changed a moment ago can change again without a sign of it, as times have only so
//! many digits: **its state is none** until that moment is past (as of git's index, "racy git").

use std::borrow::Cow;
use std::fmt;
use std::hash::Hash;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{ScanArgs, ScanResult, Session, TableProvider};
use datafusion::common::Statistics;
use datafusion::datasource::listing::ListingTable;
use datafusion::error::Result;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, TableProviderFilterPushDown, TableType};
use datafusion::object_store::ObjectMeta;
use datafusion::object_store::local::LocalFileSystem;
use datafusion::physical_plan::ExecutionPlan;
use futures::TryStreamExt;

use super::location;
use super::options::Options;
use crate::planner::Scope;
use crate::result_cache::{ResultCache, wide};

/// How long ago a file must have been changed for its times to tell it from the next state. File systems
/// count them in up to two seconds.
const SETTLED: TimeDelta = TimeDelta::milliseconds(2_500);

/// The files of one call, as they were before any of them was looked into.
#[derive(Debug, Clone, PartialEq)]
pub struct FilesRead {
    /// Function and arguments, with their values.
    pub call: String,
    paths: Vec<String>,
    /// `None`: it cannot be told.
    pub state: Option<u128>,
    /// The arguments are the same each time.
    pub is_fixed: bool,
}

/// What tells the states of a file apart.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
struct FileState {
    path: String,
    size: u64,
    modified: DateTime<Utc>,
    tag: Option<String>,
    version: Option<String>,
    /// Of a local file: device, inode, time of change in nanoseconds.
    local: Option<(u64, u64, i128)>,
}

impl FilesRead {
    pub(super) async fn look(scope: &Scope, options: &Options) -> Arc<Self> {
        let paths = options.paths.clone();
        let cache = &scope.engine.results;
        let state = match cache.is_enabled() {
            true => state_of(&scope.state, cache, &paths, scope.info.statement_start).await,
            false => None,
        };
        Arc::new(Self { call: format!("{options:?}"), paths, state, is_fixed: options.is_fixed })
    }

    /// Whether they are still what they were.
    pub async fn is_unchanged(&self, state: &SessionState, cache: &ResultCache, now: DateTime<Utc>) -> bool {
        self.state.is_some() && state_of(state, cache, &self.paths, now).await == self.state
    }
}

/// `now`: from before the look.
async fn state_of(
    state: &SessionState,
    cache: &ResultCache,
    paths: &[String],
    now: DateTime<Utc>,
) -> Option<u128> {
    let mut all: Vec<(usize, FileState)> = Vec::new();
    for (number, path) in paths.iter().enumerate() {
        let url = location(path).ok()?;
        let store = state.runtime_env().object_store(&url).ok()?;
        let found = url.list_prefixed_files(state, store.as_ref(), None, "").await.ok()?;
        let found: Vec<ObjectMeta> = found.try_collect().await.ok()?;
        let states = match url.scheme() {
            "file" => tokio::task::spawn_blocking(move || local_states(found, now)).await.ok()??,
            _ => stored_states(found, now)?,
        };
        all.extend(states.into_iter().map(|file| (number, file)));
    }
    all.sort_unstable();
    Some(wide(&cache.keys, &all))
}

fn local_states(found: Vec<ObjectMeta>, now: DateTime<Utc>) -> Option<Vec<FileState>> {
    let disk = LocalFileSystem::new();
    let state = |file: ObjectMeta| {
        let metadata = std::fs::metadata(disk.path_to_filesystem(&file.location).ok()?).ok()?;
        let changed = DateTime::from_timestamp(metadata.ctime(), u32::try_from(metadata.ctime_nsec()).ok()?)?;
        let nanoseconds = i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec());
        let local = Some((metadata.dev(), metadata.ino(), nanoseconds));
        (now - changed >= SETTLED).then(|| FileState { size: metadata.len(), local, ..FileState::of(file) })
    };
    found.into_iter().map(state).collect()
}

fn stored_states(found: Vec<ObjectMeta>, now: DateTime<Utc>) -> Option<Vec<FileState>> {
    let state = |file: ObjectMeta| (now - file.last_modified >= SETTLED).then(|| FileState::of(file));
    found.into_iter().map(state).collect()
}

impl FileState {
    fn of(file: ObjectMeta) -> Self {
        Self {
            path: file.location.to_string(),
            size: file.size,
            modified: file.last_modified,
            tag: file.e_tag,
            version: file.version,
            local: None,
        }
    }
}

/// Files as a relation that tells their state.
pub struct FilesTable {
    pub(super) listing: ListingTable,
    pub read: Arc<FilesRead>,
}

impl fmt::Debug for FilesTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilesTable").field("read", &self.read).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for FilesTable {
    fn schema(&self) -> SchemaRef {
        self.listing.schema()
    }

    fn table_type(&self) -> TableType {
        self.listing.table_type()
    }

    fn get_logical_plan(&'_ self) -> Option<Cow<'_, LogicalPlan>> {
        self.listing.get_logical_plan()
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.listing.scan(state, projection, filters, limit).await
    }

    async fn scan_with_args<'a>(&self, state: &dyn Session, args: ScanArgs<'a>) -> Result<ScanResult> {
        self.listing.scan_with_args(state, args).await
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        self.listing.supports_filters_pushdown(filters)
    }

    fn statistics(&self) -> Option<Statistics> {
        self.listing.statistics()
    }
}
