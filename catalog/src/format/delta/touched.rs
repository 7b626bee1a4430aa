//! The files that a change removes or marks, as the version has them that it is committed on.
//!
//! The change was made against an earlier version, perhaps. A file that is not there any more, or
//! has another deletion vector by now, is a conflict whatever else was checked: removing it would
//! leave a live file behind, or bring deleted rows back.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::scan::StatsOptions;
use object_store::ObjectStoreExt;

use super::action::{Add, DeletionVectorDescriptor, Remove};
use super::engine::{InTable, blocking};
use super::logged::{AddRows, LoggedAdd, LoggedAdds};
use super::{snapshot, stats_json, vectors};
use crate::error::{Error, Result};
use crate::storage::Storage;
use crate::table::deletes::{NewRowDeletes, StoredDeletes};
use crate::table::{FileList, LiveFile, TableChange, TableSnapshot};

/// What becomes of the touched files.
#[derive(Debug, Default)]
pub(super) struct Touched {
    removed: Vec<LoggedAdd>,
    marked: Vec<Marked>,
}

#[derive(Debug)]
struct Marked {
    logged: LoggedAdd,
    vector: DeletionVectorDescriptor,
    /// Rows in the file, deleted ones counted.
    rows: u64,
}

/// A touched file that is no longer what it was.
#[derive(Debug)]
pub(super) struct Changed(pub String);

impl Touched {
    pub async fn find(
        storage: &Storage,
        base: &TableSnapshot,
        change: &TableChange,
    ) -> Result<Result<Self, Changed>> {
        if change.touched().next().is_none() {
            return Ok(Ok(Self::default()));
        }
        let list = base.files.file_list(0).await?;
        let rows = rows_of(&list, change);
        let adds = LoggedAdds::of(&list)?;
        let mut touched = Self::default();
        for file in &change.removed {
            match row(&list, &rows, file) {
                Ok(row) => touched.removed.push(adds.get(&base.location, row)?),
                Err(changed) => return Ok(Err(changed)),
            }
        }
        for one in &change.deletes {
            match row(&list, &rows, &one.file) {
                Ok(row) => touched.marked.push(mark(storage, base, &list, &adds, row, one).await?),
                Err(changed) => return Ok(Err(changed)),
            }
        }
        touched.read_missing_stats(storage, base).await?;
        Ok(Ok(touched))
    }

    /// Every file of a version goes.
    pub async fn all(base: &TableSnapshot) -> Result<Self> {
        let list = base.files.file_list(0).await?;
        let adds = LoggedAdds::of(&list)?;
        let removed =
            (0..list.files.len()).map(|row| adds.get(&base.location, row)).collect::<Result<_>>()?;
        Ok(Self { removed, marked: Vec::new() })
    }

    /// Statistics that were not kept with the file list are read from the log.
    async fn read_missing_stats(&mut self, storage: &Storage, base: &TableSnapshot) -> Result<()> {
        let mut missing: HashMap<String, &mut Marked> = self
            .marked
            .iter_mut()
            .filter(|marked| marked.logged.stats.is_none())
            .map(|marked| (marked.logged.path.clone(), marked))
            .collect();
        let Some(kernel) = snapshot::state(base)?.kernel.clone().filter(|_| !missing.is_empty()) else {
            return Ok(());
        };
        let paths: HashSet<String> = missing.keys().cloned().collect();
        let root = base.location.clone();
        let found = blocking(storage, &base.location, move |engine| {
            let scan = kernel.scan_builder().with_stats(StatsOptions::all()).without_row_transforms();
            let scan = scan.build().in_table(&root)?;
            let mut found = Vec::with_capacity(paths.len());
            for batch in scan.scan_metadata(engine).in_table(&root)? {
                let files = batch.in_table(&root)?.scan_files.apply_selection_vector().in_table(&root)?;
                let files: RecordBatch = ArrowEngineData::try_from_engine_data(files).in_table(&root)?.into();
                let rows = AddRows::new(&root, &files)?;
                let stats = (0..files.num_rows()).filter_map(|row| rows.stats(row));
                found.extend(
                    stats
                        .filter(|(path, _)| paths.contains(*path))
                        .map(|(path, stats)| (path.to_string(), stats.to_string())),
                );
            }
            Ok(found)
        });
        for (path, stats) in found.await? {
            if let Some(marked) = missing.get_mut(&path) {
                marked.logged.stats = Some(stats);
            }
        }
        Ok(())
    }

    /// Every `remove`, then every `add` of a file that stays with more rows deleted.
    pub fn actions(self, now: i64) -> (Vec<Remove>, Vec<Add>) {
        let marked = self.marked.iter().map(|marked| &marked.logged);
        let removes = self.removed.iter().chain(marked).map(|logged| remove(logged.clone(), now)).collect();
        (removes, self.marked.into_iter().map(add).collect())
    }

    pub fn marks_rows(&self) -> bool {
        !self.marked.is_empty()
    }
}

/// Rows of the touched files in `list`, by path.
fn rows_of<'a>(list: &'a Arc<FileList>, change: &'a TableChange) -> HashMap<&'a str, Option<usize>> {
    let elsewhere = change.touched().filter(|file| !Arc::ptr_eq(&file.list, list));
    let mut rows: HashMap<&str, Option<usize>> = elsewhere.map(|file| (file.path(), None)).collect();
    if !rows.is_empty() {
        for (row, file) in list.files.iter().enumerate() {
            if let Some(found) = rows.get_mut(file.path.as_str()) {
                *found = Some(row);
            }
        }
    }
    rows
}

fn row(list: &Arc<FileList>, rows: &HashMap<&str, Option<usize>>, file: &LiveFile) -> Result<usize, Changed> {
    let row = match Arc::ptr_eq(&file.list, list) {
        true => Some(file.row),
        false => rows.get(file.path()).copied().flatten(),
    };
    let now = row.and_then(|row| Some((row, list.files.get(row)?)));
    match now {
        Some((row, now)) if now.deletion_vector == file.deletes.deletion_vector => Ok(row),
        Some(_) => Err(Changed(format!("other rows of {} were deleted", file.path()))),
        None => Err(Changed(format!("{} was removed", file.path()))),
    }
}

async fn mark(
    storage: &Storage,
    base: &TableSnapshot,
    list: &FileList,
    adds: &LoggedAdds,
    row: usize,
    deletes: &NewRowDeletes,
) -> Result<Marked> {
    let StoredDeletes::Vector { vector, .. } = &deletes.stored else {
        return Err(Error::unsupported(&base.location, "position delete files"));
    };
    let path = deletes.file.path();
    let rows = match list.files.get(row).and_then(|file| file.record_count) {
        Some(rows) => rows,
        None => row_count(storage, path).await?,
    };
    if vector.cardinality > rows {
        return Err(Error::Internal(format!("{} of {rows} rows of {path} deleted", vector.cardinality)));
    }
    Ok(Marked {
        logged: adds.get(&base.location, row)?,
        vector: vectors::descriptor(&base.location, vector)?,
        rows,
    })
}

/// Rows of a file whose writer has not recorded them: with a deletion vector they must be.
async fn row_count(storage: &Storage, path: &str) -> Result<u64> {
    let at = storage.locate(path)?;
    let meta = at.store.head(&at.path).await.map_err(|e| Error::storage(path, e))?;
    let footer = DFParquetMetadata::new(at.store.as_ref(), &meta).fetch_metadata().await;
    let footer = footer.map_err(|e| Error::corrupt(path, e))?;
    u64::try_from(footer.file_metadata().num_rows()).map_err(|e| Error::corrupt(path, e))
}

fn remove(logged: LoggedAdd, now: i64) -> Remove {
    Remove {
        path: logged.path,
        deletion_timestamp: now,
        data_change: true,
        extended_file_metadata: true,
        partition_values: logged.partition_values,
        size: logged.size,
        tags: logged.tags,
        deletion_vector: logged.deletion_vector,
        base_row_id: logged.base_row_id,
        default_row_commit_version: logged.default_row_commit_version,
    }
}

fn add(marked: Marked) -> Add {
    let Marked { logged, vector, rows } = marked;
    let kept = stats_json::of_marked_file(logged.stats.as_deref(), rows);
    Add {
        path: logged.path,
        partition_values: logged.partition_values,
        size: logged.size,
        modification_time: logged.modification_time,
        data_change: true,
        // Statistics that are no JSON were never read by anyone.
        stats: kept.or_else(|| stats_json::of_marked_file(None, rows)).unwrap_or_default(),
        tags: logged.tags,
        deletion_vector: Some(vector),
        base_row_id: logged.base_row_id,
        default_row_commit_version: logged.default_row_commit_version,
        clustering_provider: logged.clustering_provider,
        record_count: rows,
    }
}
