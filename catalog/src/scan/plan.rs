//! From a table version and a filter to a physical plan.
//!
//! Lists and files are pruned, deletes looked up, and the rest becomes one `DataSourceExec`; several
//! under a union only where files cannot share one (another object store, other constant columns) or
//! where equality deletes apply.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::{DataType, FieldRef, Fields};
use datafusion::catalog::Session;
use datafusion::common::ToDFSchema;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;

use super::address_book::AddressBook;
use super::column_adapter::Defaults;
use super::column_resolution::{ColumnResolver, field_id};
use super::equality_deletes::{self, EqualityDeletes};
use super::file_order::file_groups;
use super::file_selection::{SelectedFile, Selection, cut_to_limit, select_files};
use super::filter_barrier::FilterBarrierExec;
use super::nan_bounds::NanFreeColumns;
use super::parquet_scan::{ParquetScan, ScanContext, in_ranges, partitioned_file};
use super::planned_file::{PlannedFile, ScanColumn, constant_columns};
use super::pruning::Pruner;
use super::row_selection::remaining_rows;
use super::scan_output::{FileConstant, ScanOutput};
use super::statistics::scan_statistics;
use super::whole_files::WholeFilePredicate;
use super::{footer, row_deletes};
use crate::error::{Error, Result};
use crate::storage::Storage;
use crate::table::TableSnapshot;
use crate::table::deletes::{DeleteIndex, FileDeletes};

/// What is asked of a table version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScanRequest<'a> {
    pub snapshot: &'a TableSnapshot,
    pub storage: &'a Storage,
    /// Positions of the columns wanted, in order. `None`: all.
    pub projection: Option<&'a Vec<usize>>,
    /// Used to leave out what cannot match; the rows left are not filtered.
    pub filters: &'a [Expr],
    /// Rows that are enough, if there are no filters.
    pub limit: Option<usize>,
}

/// The plan of a scan.
pub(crate) async fn plan(request: ScanRequest<'_>, state: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
    let output = ScanOutput::of_columns(projected_columns(request)?);
    plan_output(request, state, &output, None).await
}

/// The plan of a scan that gives `output` instead of the request's projection. `book`: takes the files
/// that a DELETE need not read.
pub(super) async fn plan_output(
    request: ScanRequest<'_>,
    state: &dyn Session,
    output: &ScanOutput,
    book: Option<&AddressBook>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = &request.snapshot.schema;
    let filter = physical_filter(request, state)?;
    let pruner = filter.as_ref().and_then(|f| Pruner::new(schema, f));
    let mut selection = select_files(request.snapshot.files.as_ref(), pruner.as_ref()).await?;
    tracing::debug!(
        table = %request.snapshot.location,
        lists = selection.lists_total,
        lists_pruned = selection.lists_pruned,
        files = selection.files_seen,
        files_pruned = selection.files_pruned(),
        "pruned",
    );
    if let Some(book) = book
        && let Some(condition) = book.condition()
        && let Some(whole) = WholeFilePredicate::new(request.snapshot, state, &condition)
    {
        book.note_whole(whole.take(&mut selection, &*request.snapshot.files.deletes().await?)?);
    }
    let scan = Scan { request, state, filter };
    scan.plan(selection, output).await
}

fn projected_columns(request: ScanRequest<'_>) -> Result<Vec<ScanColumn>> {
    let schema = &request.snapshot.schema;
    let column = |i: usize| match (schema.arrow.fields().get(i), schema.field_ids.get(i)) {
        (Some(field), Some(id)) => Ok(ScanColumn { id: *id, field: field.clone() }),
        _ => Err(Error::Internal(format!("the table has no column {i}"))),
    };
    match request.projection {
        Some(projection) => projection.iter().map(|i| column(*i)).collect(),
        None => Ok(ScanColumn::all(schema).collect()),
    }
}

fn physical_filter(request: ScanRequest<'_>, state: &dyn Session) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    let Some(filter) = conjunction(request.filters.to_vec()) else { return Ok(None) };
    let schema = request.snapshot.schema.arrow.clone().to_dfschema()?;
    Ok(Some(state.create_physical_expr(filter, &schema)?))
}

/// A scan on its way to a plan.
pub(super) struct Scan<'a> {
    pub request: ScanRequest<'a>,
    pub state: &'a dyn Session,
    pub filter: Option<Arc<dyn PhysicalExpr>>,
}

/// Files that can share one plan node.
type GroupKey = (String, Vec<bool>);

impl Scan<'_> {
    async fn plan(self, selection: Selection, output: &ScanOutput) -> Result<Arc<dyn ExecutionPlan>> {
        let counts = PruningCounts::of(&selection);
        if selection.files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(output.schema())));
        }
        let index = self.request.snapshot.files.deletes().await?;
        let mut files = Vec::with_capacity(selection.files.len());
        for selected in selection.files {
            let deletes = deletes_of(&index, &selected)?;
            files.push((selected, deletes));
        }
        if let (Some(limit), None) = (self.request.limit, &self.filter) {
            cut_to_limit(&mut files, limit, |(selected, deletes)| {
                deletes.is_empty().then(|| selected.record_count()).flatten()
            });
        }
        let files = self.with_row_deletes(files).await?;
        self.plan_files(files, output, ScanMode::Filtered(counts)).await
    }

    /// The plan that reads `files` without their deleted rows; `mode` counts where nothing is joined.
    pub async fn plan_files(
        &self,
        files: Vec<PlannedFile>,
        output: &ScanOutput,
        mode: ScanMode,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (by_equality, plain): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|f| !f.deletes.equality.is_empty());

        let mut plans = Vec::new();
        if !plain.is_empty() {
            plans = self.scans(plain, output, &[], &self.context(output), mode)?;
        }
        if !by_equality.is_empty() {
            let index = self.request.snapshot.files.deletes().await?;
            let deletes = EqualityDeletes::collect(&by_equality, &index);
            plans.push(equality_deletes::plan(self, by_equality, deletes, output).await?);
        }
        union(plans)
    }

    /// What scans of data files share that give `output`.
    pub fn context(&self, output: &ScanOutput) -> ScanContext {
        let schema = &self.request.snapshot.schema;
        let hidden = output.hidden_fields(schema);
        let fields: Fields = schema.arrow.fields().iter().cloned().chain(hidden).collect();
        ScanContext {
            resolver: Arc::new(ColumnResolver::new(fields, schema.resolution.clone())),
            defaults: Arc::new(schema.initial_defaults.clone()),
            reading: self.request.storage.readers().begin(&self.request.snapshot.location),
        }
    }

    async fn with_row_deletes(&self, files: Vec<(SelectedFile, FileDeletes)>) -> Result<Vec<PlannedFile>> {
        let storage = self.request.storage;
        let mut paths = Vec::with_capacity(files.len());
        for (selected, deletes) in &files {
            paths.push((selected.file()?.path.as_str(), deletes));
        }
        let deleted = match files.iter().any(|(_, d)| d.deletion_vector.is_some() || !d.positions.is_empty())
        {
            true => row_deletes::load(storage, &paths).await?,
            false => vec![None; files.len()],
        };
        let mut planned = Vec::with_capacity(files.len());
        for ((selected, deletes), deleted) in files.into_iter().zip(deleted) {
            let file = selected.file()?;
            let located = storage.locate(&file.path)?;
            let (size, mut rows) = (file.size_bytes, file.record_count);
            if deleted.is_some() && rows.is_none() {
                rows = Some(footer::row_count(self.state, &located, size).await?);
            }
            planned.push(PlannedFile {
                selected,
                store_url: located.store_url,
                path: located.path,
                size,
                rows,
                deleted,
                deletes,
                is_constant: Vec::new(),
                constants: Vec::new(),
            });
        }
        Ok(planned)
    }

    /// Plans that together read `files`; each gives the columns and constants of `output`, then `extra`,
    /// whose values are the constants that the files have already, then the position, if asked for.
    pub fn scans(
        &self,
        files: Vec<PlannedFile>,
        output: &ScanOutput,
        extra: &[FieldRef],
        context: &ScanContext,
        mode: ScanMode,
    ) -> Result<Vec<Arc<dyn ExecutionPlan>>> {
        let mut groups: BTreeMap<GroupKey, Vec<PlannedFile>> = BTreeMap::new();
        for mut file in files {
            let (mut is_constant, mut constants) = constant_columns(&file.selected, &output.columns)?;
            for constant in &output.constants {
                constants.push(constant.value(&file)?);
            }
            is_constant.resize(is_constant.len() + output.constants.len() + extra.len(), true);
            constants.append(&mut file.constants);
            file.is_constant = is_constant.clone();
            file.constants = constants;
            groups.entry((file.store_url.as_str().to_string(), is_constant)).or_default().push(file);
        }
        let mut plans = Vec::with_capacity(groups.len());
        for ((_, is_constant), files) in groups {
            plans.push(self.scan_group(files, output, extra, is_constant, context, &mode)?);
        }
        Ok(plans)
    }

    fn scan_group(
        &self,
        files: Vec<PlannedFile>,
        output: &ScanOutput,
        extra: &[FieldRef],
        is_constant: Vec<bool>,
        context: &ScanContext,
        mode: &ScanMode,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(first) = files.first() else { return Err(Error::Internal("a scan without files".into())) };
        let store_url = first.store_url.clone();
        let in_files: Vec<&ScanColumn> =
            output.columns.iter().zip(&is_constant).filter(|(_, c)| !**c).map(|(c, _)| c).collect();
        let position = output.position_field();
        let constants = is_constant.iter().filter(|c| **c).count();
        let statistics = scan_statistics(&files, &in_files, constants, position.iter().len());
        let mut partitioned = Vec::with_capacity(files.len());
        for (file, statistics) in files.iter().zip(statistics.files) {
            let mut entry: PartitionedFile = partitioned_file(&store_url, file.path.clone(), file.size);
            entry.partition_values = file.constants.clone();
            // Not `with_statistics`, which takes every partition value for not null.
            entry.statistics = statistics;
            if let (Some(deleted), Some(rows)) = (&file.deleted, file.rows) {
                entry = entry.with_extension(remaining_rows(deleted, rows));
            }
            if let Some(nan_free) = nan_free_columns(file, &in_files) {
                entry = entry.with_extension(nan_free);
            }
            partitioned.push(entry);
        }
        let constants = output.constants.iter().map(FileConstant::field).chain(extra.iter().cloned());
        let columns: Vec<FieldRef> =
            output.columns.iter().map(|c| c.field.clone()).chain(constants).collect();
        let target = self.state.config().target_partitions();
        let (groups, ordering) =
            file_groups(self.request.snapshot, &files, partitioned, &columns, &is_constant, target);
        // Of rows that go, or whose new values go to where they are, the order means nothing. Whole ones are written
        // in the order in which they come.
        let is_part = 2 * output.columns.len() <= self.request.snapshot.schema.arrow.fields().len();
        let groups = match &ordering {
            None if output.is_addressed() && is_part => in_ranges(groups, target),
            _ => groups,
        };
        let (counts, limit) = match mode {
            ScanMode::Filtered(counts) => {
                (Some(*counts), self.request.limit.filter(|_| self.filter.is_none()))
            }
            ScanMode::Joined => (None, None),
        };
        let scan = ParquetScan {
            store_url,
            columns,
            is_constant,
            position,
            groups,
            statistics: statistics.total,
            ordering,
            limit,
        };
        let has_nested_defaults =
            scan.columns.iter().any(|c| has_nested_default(c.data_type(), &context.defaults));
        let plan = scan.into_plan(context, self.state, counts)?;
        let pushes = self.state.config_options().execution.parquet.pushdown_filters;
        Ok(if pushes && has_nested_defaults { Arc::new(FilterBarrierExec::new(plan)) } else { plan })
    }
}

/// Whether a field inside a type has an initial default.
fn has_nested_default(data_type: &DataType, defaults: &Defaults) -> bool {
    let of_field = |f: &FieldRef| {
        field_id(f).is_some_and(|id| defaults.contains_key(&id))
            || has_nested_default(f.data_type(), defaults)
    };
    match data_type {
        DataType::Struct(fields) => fields.iter().any(of_field),
        DataType::List(f) | DataType::LargeList(f) | DataType::FixedSizeList(f, _) | DataType::Map(f, _) => {
            of_field(f)
        }
        _ => false,
    }
}

/// The floating point columns that hold no NaN in a file. `None`: there are none.
fn nan_free_columns(file: &PlannedFile, columns: &[&ScanColumn]) -> Option<NanFreeColumns> {
    let stats = &file.selected.list.stats;
    let row = file.selected.row;
    let is_free = |column: &ScanColumn| {
        let counts = stats.columns.get(&column.id).and_then(|b| b.nan_count.as_ref());
        counts.is_some_and(|n| row < n.len() && n.is_valid(row) && n.value(row) == 0)
    };
    let floating = columns.iter().filter(|c| c.field.data_type().is_floating() && is_free(c));
    let names: Vec<String> = floating.map(|c| c.field.name().clone()).collect();
    (!names.is_empty()).then_some(NanFreeColumns(names))
}

/// What is above the scans.
#[derive(Debug, Clone, Copy)]
pub(super) enum ScanMode {
    /// Nothing: the scan's limit is the query's.
    Filtered(PruningCounts),
    /// An anti-join: a limit above it is none below.
    Joined,
}

/// How much pruning left out, for EXPLAIN ANALYZE.
#[derive(Debug, Clone, Copy)]
pub(super) struct PruningCounts {
    pub files_seen: usize,
    pub files_pruned: usize,
    pub lists_pruned: usize,
}

impl PruningCounts {
    fn of(selection: &Selection) -> Self {
        Self {
            files_seen: selection.files_seen,
            files_pruned: selection.files_pruned(),
            lists_pruned: selection.lists_pruned,
        }
    }
}

pub(super) fn deletes_of(index: &DeleteIndex, selected: &SelectedFile) -> Result<FileDeletes> {
    let file = selected.file()?;
    if index.is_empty() {
        return Ok(FileDeletes { deletion_vector: file.deletion_vector.clone(), ..Default::default() });
    }
    let spec_id = selected.list.spec().spec_id;
    match equality_deletes::partition_key(selected)? {
        Some(partition) => Ok(index.for_file(file, &partition)),
        None if index.is_scoped_by(spec_id) => {
            Err(Error::unsupported(&file.path, "deletes of a partition whose values are not known"))
        }
        None => Ok(index.for_file(file, &(spec_id, Vec::new()))),
    }
}

pub(super) fn union(mut plans: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
    match plans.pop() {
        Some(only) if plans.is_empty() => Ok(only),
        Some(last) => {
            plans.push(last);
            Ok(UnionExec::try_new(plans)?)
        }
        None => Err(Error::Internal("a scan without plans".into())),
    }
}
