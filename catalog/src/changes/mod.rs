//! What happened to the rows of a table between two of its versions, told by its metadata: which files
//! were added, which removed, and which rows were deleted from those that stayed. No data file is read
//! before the rows themselves are asked for.
//!
//! As a multiset, the later version is the earlier one, without [`RowChanges::removed_rows`], with
//! [`RowChanges::added_rows`]. A row that a statement only copied may be in both. Commits that lay out
//! files anew (Iceberg `replace`, Delta `dataChange` false) are passed over: what is added or removed
//! besides is read from the files that held it before.

mod empty;

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use futures::{StreamExt, TryStreamExt, stream};
use roaring::RoaringTreemap;

use self::empty::NoFiles;
use crate::commit::conflict::difference::{Difference, same};
use crate::commit::conflict::shape::{physical_name, same_type};
use crate::error::{Error, Result};
use crate::format::{Step, VersionSpec};
use crate::registry::Table;
use crate::scan::{ChangedRows, LakeTable, Part, PartRows, deleted_positions};
use crate::storage::Storage;
use crate::table::{LiveFile, TableSchema, TableSnapshot, TableVersion};

/// Files looked for at the same time.
const CONCURRENT_LOOKUPS: usize = 16;
/// Most commits that are looked at one by one.
const MAX_STEPS: usize = 10_000;

/// What is known of the way from a version to a later one.
#[derive(Debug)]
pub enum Changes {
    Known(RowChanges),
    /// Nothing, for this reason.
    Unknown(String),
}

/// What was added and what was removed.
#[derive(Debug)]
pub struct RowChanges {
    table: Table,
    earlier: Arc<TableSnapshot>,
    added: Vec<Part>,
    removed: Vec<Part>,
}

impl RowChanges {
    /// Whether no row is known to have changed.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }

    /// Whether all rows of the earlier version are in the later one.
    pub fn only_adds(&self) -> bool {
        self.removed.is_empty()
    }

    /// Whether all rows of the later version are in the earlier one.
    pub fn only_removes(&self) -> bool {
        self.added.is_empty()
    }

    /// Most rows that are to be read for all changes; `None`: the metadata does not tell.
    pub fn rows(&self) -> Option<u64> {
        let rows = |part: &Part| match &part.rows {
            PartRows::At(positions) => Some(positions.len()),
            PartRows::Live => part.file.file().ok().and_then(|file| file.record_count),
        };
        self.added.iter().chain(&self.removed).map(rows).sum()
    }

    /// Data files that hold changed rows.
    pub fn files(&self) -> usize {
        self.added.len() + self.removed.len()
    }

    /// The earlier version as a relation with the columns of the later one.
    pub fn earlier(&self) -> Arc<dyn TableProvider> {
        Arc::new(LakeTable::new(Table { snapshot: self.earlier.clone(), ..self.table.clone() }))
    }

    /// Rows that the later version has and the earlier one has not.
    pub fn added_rows(&self) -> Arc<dyn TableProvider> {
        self.relation(&self.added)
    }

    /// Rows that the earlier version has and the later one has not.
    pub fn removed_rows(&self) -> Arc<dyn TableProvider> {
        self.relation(&self.removed)
    }

    fn relation(&self, parts: &[Part]) -> Arc<dyn TableProvider> {
        Arc::new(ChangedRows {
            storage: self.table.catalog.storage().clone(),
            schema: self.table.snapshot.schema.clone(),
            parts: parts.to_vec(),
        })
    }
}

/// What happened to `table` since its version `earlier` (Iceberg snapshot id, Delta version; `None`: it
/// never had rows). Fails as reading its metadata does.
pub async fn since(table: &Table, earlier: Option<i64>) -> Result<Changes> {
    let (Some(_), false) = (&table.entry, table.snapshot.version == TableVersion::Unpublished) else {
        return Ok(Changes::Unknown(format!("changes of {} are not committed", table.ident)));
    };
    let Some(first) = version(table, earlier).await? else {
        let id = earlier.unwrap_or_default();
        return Ok(Changes::Unknown(format!("version {id} of {} has expired", table.ident)));
    };
    if first.table_id != table.snapshot.table_id {
        return Ok(Changes::Unknown(format!("{} was replaced", table.ident)));
    }
    if !same_columns(&first.schema, &table.snapshot.schema) {
        return Ok(Changes::Unknown(format!("the columns of {} have changed", table.ident)));
    }
    let first = Arc::new(first);
    let whole = || vec![(first.clone(), Arc::new(copy(&table.snapshot, &table.snapshot)))];
    let mut parts = Parts::default();
    for (from, to) in stretches(table, &first, earlier).await?.unwrap_or_else(whole) {
        parts.add(table, &from, &to).await?;
    }
    if let Some(path) = missing(table, &parts).await? {
        return Ok(Changes::Unknown(format!("{path} of an earlier version of {} is gone", table.ident)));
    }
    let Parts { added, removed } = parts;
    Ok(Changes::Known(RowChanges { table: table.clone(), earlier: first, added, removed }))
}

/// Rows of a table as its metadata counts them, deleted ones included. Fails as reading it does.
pub async fn row_count(table: &Table) -> Result<u64> {
    let files = &table.snapshot.files;
    let mut rows = 0_u64;
    for number in files.index().await?.groups.iter().flat_map(|(_, numbers)| numbers) {
        let list = files.file_list(*number).await?;
        rows += list.files.iter().filter_map(|file| file.record_count).sum::<u64>();
    }
    Ok(rows)
}

/// The table at a version. `None`: it has expired.
async fn version(table: &Table, id: Option<i64>) -> Result<Option<TableSnapshot>> {
    let now = &table.snapshot;
    let Some(id) = id else {
        return Ok(Some(TableSnapshot { files: Arc::new(NoFiles), ..copy(now, now) }));
    };
    let Some(entry) = &table.entry else { return Ok(None) };
    let format = table.catalog.format(now.format);
    match format.load_at(table.catalog.storage(), entry, &VersionSpec::Id(id)).await {
        Ok(then) => Ok(Some(copy(&then, now))),
        Err(Error::VersionNotFound { .. }) => Ok(None),
        // The metadata names it, and its own files are gone.
        Err(e) if e.is_not_found() => Ok(None),
        Err(e) => Err(e),
    }
}

/// A version with the columns of the later one, if they are the same: names and comments of what is
/// nested may differ.
fn copy(then: &TableSnapshot, now: &TableSnapshot) -> TableSnapshot {
    let schema = match same_columns(&then.schema, &now.schema) {
        true => now.schema.clone(),
        false => then.schema.clone(),
    };
    TableSnapshot {
        format: then.format,
        format_version: then.format_version.clone(),
        location: then.location.clone(),
        table_id: then.table_id.clone(),
        version: then.version.clone(),
        schema,
        partition_specs: then.partition_specs.clone(),
        default_spec: then.default_spec.clone(),
        sort_order: then.sort_order.clone(),
        properties: then.properties.clone(),
        constraints: then.constraints.clone(),
        comment: then.comment.clone(),
        row_lineage: then.row_lineage.clone(),
        timestamp_ms: then.timestamp_ms,
        files: then.files.clone(),
        state: then.state.clone(),
    }
}

fn same_columns(then: &TableSchema, now: &TableSchema) -> bool {
    let (before, after) = (then.arrow.fields(), now.arrow.fields());
    let same = |(a, b): (&arrow::datatypes::FieldRef, &arrow::datatypes::FieldRef)| {
        a.name() == b.name()
            && physical_name(a) == physical_name(b)
            && a.is_nullable() == b.is_nullable()
            && same_type(a.data_type(), b.data_type())
    };
    then.field_ids == now.field_ids && before.len() == after.len() && before.iter().zip(after).all(same)
}

/// Two versions of a table, the later one second.
type Stretch = (Arc<TableSnapshot>, Arc<TableSnapshot>);

/// The parts of the way on which rows may have changed. `None`: the whole, or nobody knows.
async fn stretches(
    table: &Table,
    first: &TableSnapshot,
    earlier: Option<i64>,
) -> Result<Option<Vec<Stretch>>> {
    let format = table.catalog.format(table.snapshot.format);
    let steps = format.steps_since(table.catalog.storage(), earlier, &table.snapshot).await?;
    let Some(steps) = steps.filter(|steps| steps.len() <= MAX_STEPS) else { return Ok(None) };
    if steps.iter().all(|step| step.changes_rows) {
        return Ok(None);
    }
    let mut stretches = Vec::new();
    for (from, to) in bounds(earlier, steps) {
        let (from, to) = (version(table, from).await?, version(table, Some(to)).await?);
        let (Some(from), Some(to)) = (from, to) else { return Ok(None) };
        // Columns may have come and gone.
        if !same_columns(&from.schema, &first.schema) || !same_columns(&to.schema, &first.schema) {
            return Ok(None);
        }
        stretches.push((Arc::new(from), Arc::new(to)));
    }
    Ok(Some(stretches))
}

/// Where commits that change rows follow each other: the version before the first, and the last one.
fn bounds(earlier: Option<i64>, steps: Vec<Step>) -> Vec<(Option<i64>, i64)> {
    let mut bounds: Vec<(Option<i64>, i64)> = Vec::new();
    let mut at = earlier;
    for Step { version, changes_rows } in steps {
        match bounds.last_mut() {
            Some((_, to)) if changes_rows && Some(*to) == at => *to = version,
            _ if changes_rows => bounds.push((at, version)),
            _ => {}
        }
        at = Some(version);
    }
    bounds
}

#[derive(Default)]
struct Parts {
    added: Vec<Part>,
    removed: Vec<Part>,
}

impl Parts {
    async fn add(&mut self, table: &Table, from: &Arc<TableSnapshot>, to: &Arc<TableSnapshot>) -> Result<()> {
        let difference = Difference::between(from, to).await?;
        let part = |snapshot: &Arc<TableSnapshot>, file: LiveFile, rows: PartRows| Part {
            snapshot: snapshot.clone(),
            file,
            rows,
        };
        self.added.extend(difference.added.into_iter().map(|file| part(to, file, PartRows::Live)));
        for file in difference.removed {
            // Added on the way, as it is now: it was never there.
            let came = self.added.iter().position(|known| {
                known.file.path() == file.path()
                    && matches!(known.rows, PartRows::Live)
                    && same(&known.file.deletes, &file.deletes)
            });
            match came {
                Some(at) => drop(self.added.swap_remove(at)),
                None => self.removed.push(part(from, file, PartRows::Live)),
            }
        }
        let (marked, remarked) = (difference.marked, difference.remarked);
        let storage = table.catalog.storage();
        let (before, after) = (positions(storage, &marked).await?, positions(storage, &remarked).await?);
        for (((old, new), was), is) in marked.into_iter().zip(remarked).zip(before).zip(after) {
            if !same_equality(&old, &new) {
                self.removed.push(part(from, old, PartRows::Live));
                self.added.push(part(to, new, PartRows::Live));
                continue;
            }
            let (gone, back) = (&is - &was, &was - &is);
            if !gone.is_empty() {
                self.removed.push(part(from, old, PartRows::At(Arc::new(gone))));
            }
            if !back.is_empty() {
                self.added.push(part(to, new, PartRows::At(Arc::new(back))));
            }
        }
        Ok(())
    }
}

/// Positions that are deleted from each file.
async fn positions(storage: &Storage, files: &[LiveFile]) -> Result<Vec<RoaringTreemap>> {
    let wanted: Vec<_> = files.iter().map(|file| (file.path(), &file.deletes)).collect();
    let deleted = deleted_positions(storage, &wanted).await?;
    Ok(deleted.into_iter().map(|at| at.map(|at| at.as_ref().clone()).unwrap_or_default()).collect())
}

fn same_equality(a: &LiveFile, b: &LiveFile) -> bool {
    fn paths(file: &LiveFile) -> HashSet<&str> {
        file.deletes.equality.iter().map(|file| file.path.as_str()).collect()
    }
    paths(a) == paths(b)
}

/// A file that holds changed rows and no longer exists: the later version does not need it.
async fn missing(table: &Table, parts: &Parts) -> Result<Option<String>> {
    let storage = table.catalog.storage();
    let is_now = |part: &&Part| part.snapshot.version == table.snapshot.version;
    let wanted = parts.removed.iter().chain(parts.added.iter().filter(|part| !is_now(part)));
    let paths: Vec<String> = wanted.map(|part| part.file.path().to_string()).collect();
    let look = |path: String| async move {
        let there = storage.exists(&path).await?;
        Ok::<_, Error>((!there).then_some(path))
    };
    let found: Vec<Option<String>> =
        stream::iter(paths).map(look).buffer_unordered(CONCURRENT_LOOKUPS).try_collect().await?;
    Ok(found.into_iter().flatten().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_no_row_is_passed_over() {
        let step = |version, changes_rows| Step { version, changes_rows };
        let steps = vec![step(2, true), step(3, true), step(4, false), step(5, false), step(6, true)];
        assert_eq!(bounds(Some(1), steps), [(Some(1), 3), (Some(5), 6)]);
        assert_eq!(bounds(None, vec![step(1, false)]), []);
        assert_eq!(bounds(None, vec![step(7, true)]), [(None, 7)]);
    }
}
