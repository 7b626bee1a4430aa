//! The files of a version from those of an earlier one and the commits between them: what the log says of
//! all other files is neither read nor parsed again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::Array;
use delta_kernel::log_replay::FileActionKey;
use delta_kernel::log_segment::LogSegment;
use delta_kernel::log_segment_files::LogSegmentFiles;
use delta_kernel::path::ParsedLogPath;
use delta_kernel::snapshot::SnapshotRef;
use delta_kernel::table_features::TableFeature;
use delta_kernel::{Engine, FileMeta, Snapshot};

use super::engine::InTable;
use super::files::read_files;
use super::logged::{AddRows, LoggedAdds};
use super::{commit_location, vectors};
use crate::error::{Error, Result};
use crate::storage::{Key, to_url};
use crate::table::data_file::FileList;
use crate::table::left_files::added_to;
use crate::table::partition::PartitionSpec;
use crate::table::schema::TableSchema;

/// Most commits that are gone through: a checkpoint is quicker to read than many small files.
const MAX_COMMITS: u64 = 100;

/// The name of a list that may be in memory.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub version: u64,
    pub key: Key,
}

/// The list of a version from that of an earlier `version`, whose columns and settings were the same.
/// `None`: it has to be read from the log as a whole. Blocks.
pub(super) fn advanced(
    engine: &dyn Engine,
    root: &str,
    kernel: &SnapshotRef,
    (schema, spec): (&TableSchema, &Arc<PartitionSpec>),
    version: u64,
    earlier: &Arc<FileList>,
) -> Result<Option<Arc<FileList>>> {
    let configuration = kernel.table_configuration();
    let commits = kernel.version().saturating_sub(version);
    // With that feature, deletion vectors have other names.
    if configuration.is_feature_supported(&TableFeature::AdaptiveMetadataPreview)
        || !(1..=MAX_COMMITS).contains(&commits)
    {
        return Ok(None);
    }
    let since = segment(root, kernel, version)?;
    let since = Snapshot::new(since, configuration.clone()).in_table(root)?;
    let since: SnapshotRef = Arc::new(since);
    let touched = since.clone().incremental_scan_builder(version).build(engine).in_table(root)?;
    let Some(touched) = touched else { return Ok(None) };
    let touched = touched.into_summary().in_table(root)?;
    if touched.live_adds.is_empty() && touched.removes.is_empty() {
        return Ok(Some(earlier.clone()));
    }
    let gone = Gone::new([&touched.live_adds, &touched.removes]);
    let added = read_files(engine, root, since, schema, spec.clone())?;
    joined(root, added, earlier, &gone).map(|list| Some(Arc::new(list)))
}

/// The commits after `version` up to that of `kernel`, as a log of their own.
fn segment(root: &str, kernel: &SnapshotRef, version: u64) -> Result<LogSegment> {
    let mut commits = Vec::new();
    for version in version.saturating_add(1)..=kernel.version() {
        let location = to_url(&commit_location(root, version))?;
        // The kernel reads them as they are.
        let file = FileMeta { location, last_modified: 0, size: 0 };
        commits.extend(ParsedLogPath::try_from(file).in_table(root)?);
    }
    let files = LogSegmentFiles {
        latest_commit_file: commits.last().cloned(),
        ascending_commit_files: commits,
        ..Default::default()
    };
    let log = kernel.log_segment().log_root.clone();
    LogSegment::try_new(files, log, Some(kernel.version()), None).in_table(root)
}

/// Files that the commits name: each by its path and its deletion vector, as the log's replay has them.
struct Gone<'a>(HashMap<&'a str, Vec<Option<&'a str>>>);

impl<'a> Gone<'a> {
    fn new(sets: [&'a HashSet<FileActionKey>; 2]) -> Self {
        let mut vectors: HashMap<&str, Vec<Option<&str>>> = HashMap::new();
        for key in sets.into_iter().flatten() {
            vectors.entry(key.path()).or_default().push(key.dv_unique_id());
        }
        Self(vectors)
    }

    fn contains(&self, rows: &AddRows<'_>, row: usize) -> Result<bool> {
        let path = rows.path.value(row);
        let Some(gone) = self.0.get(path) else { return Ok(false) };
        if rows.deletion_vector.is_null(row) {
            return Ok(gone.contains(&None));
        }
        let vector = vectors::descriptor_at(rows.deletion_vector, row);
        let vector = vector.map_err(|reason| Error::corrupt(path, reason))?.unique_id();
        Ok(gone.contains(&Some(vector.as_str())))
    }
}

/// The added files, then those of the earlier list that are left.
fn joined(root: &str, added: FileList, earlier: &FileList, gone: &Gone<'_>) -> Result<FileList> {
    let (new, old) = (LoggedAdds::taken(&added)?, LoggedAdds::of(earlier)?);
    let (logged, stays) = new.before(root, &old, |rows, row| gone.contains(rows, row))?;
    let list = added_to(added, earlier, stays)?;
    Ok(FileList { state: Some(Arc::new(logged)), ..list })
}
