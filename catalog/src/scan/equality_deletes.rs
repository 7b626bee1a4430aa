//! Equality deletes: rows that equal a deleted key are joined away.
//!
//! Whatever the number of data files and delete files, there is one anti-join for each set of key
//! columns (two, where both global and partition-scoped deletes exist), with one build side. What
//! applies to what is part of the join: delete rows and data rows carry the sequence number of their
//! file, a delete hits rows of older files only, and partition-scoped deletes carry their partition's
//! number (Iceberg spec, "Scan Planning").

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{JoinSide, JoinType, NullEquality, Statistics};
use datafusion::functions::core::get_field;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, lit};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter};
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::scalar::ScalarValue;

use super::column_resolution::field_id;
use super::file_selection::SelectedFile;
use super::footer;
use super::parquet_scan::{ParquetScan, ScanContext, balanced_groups, partitioned_file};
use super::plan::{Scan, ScanMode, union};
use super::planned_file::{PlannedFile, ScanColumn};
use super::scan_output::ScanOutput;
use super::type_promotion::is_readable_as;
use crate::error::{Error, Result};
use crate::storage::Located;
use crate::table::FieldId;
use crate::table::deletes::{DeleteIndex, EqualityDeleteFile, PartitionKey};
use crate::table::schema::FIELD_ID;

/// Names of columns that no table has.
const SEQUENCE: &str = "\u{1}sequence";
const SCOPE: &str = "\u{1}scope";
/// A data file in whose partition nothing is deleted.
const NO_SCOPE: i32 = -1;

/// Partition that a data file belongs to, as delete files are scoped by it. `None`: a partition value of
/// the file is not known, which is not the same as null.
pub(super) fn partition_key(selected: &SelectedFile) -> Result<Option<PartitionKey>> {
    let (stats, row) = (&selected.list.stats, selected.row);
    let mut values = Vec::with_capacity(stats.partitions.len());
    for bounds in &stats.partitions {
        let known = row < bounds.lower.len()
            && (bounds.lower.is_valid(row) || bounds.may_contain_null.get(row) == Some(&true));
        if !known {
            return Ok(None);
        }
        values.push(ScalarValue::try_from_array(&bounds.lower, row)?);
    }
    Ok(Some((stats.spec.spec_id, values)))
}

/// Deletes on the same key columns and of the same kind of scope.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct KeySet {
    field_ids: Vec<FieldId>,
    global: bool,
}

/// The equality deletes of some data files.
#[derive(Debug)]
pub(super) struct EqualityDeletes {
    /// With the number of the partition that each delete file is scoped to.
    sets: BTreeMap<KeySet, Vec<(Arc<EqualityDeleteFile>, i32)>>,
    /// Number of each data file's partition, in the order of the files.
    scopes: Vec<i32>,
}

impl EqualityDeletes {
    pub fn collect(files: &[PlannedFile], index: &DeleteIndex) -> Self {
        let global: HashSet<&str> = index.equality_global.iter().map(|d| d.path.as_str()).collect();
        let mut sets: BTreeMap<KeySet, Vec<(Arc<EqualityDeleteFile>, i32)>> = BTreeMap::new();
        let mut numbers: HashMap<PartitionKey, i32> = HashMap::new();
        let mut seen: HashSet<(&str, i32)> = HashSet::new();
        let mut scopes = Vec::with_capacity(files.len());
        for file in files {
            let scoped = file.deletes.equality.iter().any(|d| !global.contains(d.path.as_str()));
            let scope = match partition_key(&file.selected) {
                Ok(Some(key)) if scoped => {
                    let next = i32::try_from(numbers.len()).unwrap_or(i32::MAX);
                    *numbers.entry(key).or_insert(next)
                }
                _ => NO_SCOPE,
            };
            scopes.push(scope);
            for delete in &file.deletes.equality {
                let global = global.contains(delete.path.as_str());
                let scope = if global { NO_SCOPE } else { scope };
                if seen.insert((&delete.path, scope)) {
                    let mut field_ids = delete.field_ids.clone();
                    field_ids.sort_unstable();
                    field_ids.dedup();
                    sets.entry(KeySet { field_ids, global }).or_default().push((delete.clone(), scope));
                }
            }
        }
        Self { sets, scopes }
    }

    fn key_ids(&self) -> HashSet<FieldId> {
        self.sets.keys().flat_map(|s| s.field_ids.iter().copied()).collect()
    }
}

/// Reads `files` without the rows that `deletes` hit.
pub(super) async fn plan(
    scan: &Scan<'_>,
    mut files: Vec<PlannedFile>,
    deletes: EqualityDeletes,
    output: &ScanOutput,
) -> Result<Arc<dyn ExecutionPlan>> {
    let hidden = dropped_columns(scan, &deletes).await?;
    let mut needed = output.clone();
    for id in deletes.key_ids() {
        let column = key(scan, &hidden, id)?.column;
        if !needed.columns.iter().any(|c| c.id == column.id) {
            needed.columns.push(column);
        }
    }
    for (file, scope) in files.iter_mut().zip(&deletes.scopes) {
        let sequence = file.selected.file()?.sequence_number;
        file.constants = vec![ScalarValue::Int64(Some(sequence)), ScalarValue::Int32(Some(*scope))];
    }
    let context = scan.context(&needed);
    let mut plan = union(scan.scans(files, &needed, &marks(), &context, ScanMode::Joined)?)?;
    for (set, delete_files) in &deletes.sets {
        let keys = set.field_ids.iter().map(|id| key(scan, &hidden, *id)).collect::<Result<Vec<_>>>()?;
        let deleted = deleted_keys(scan, delete_files, &keys, &context)?;
        let (deleted, data) = (with_nested(deleted, &keys)?, with_nested(plan, &keys)?);
        plan = anti_join(deleted, data, &keys, set.global)?;
    }
    let given = plan.schema();
    let wanted = output.schema();
    let wanted = wanted.fields().iter().map(|f| {
        let column = Column::new_with_schema(f.name(), &given)?;
        Ok((Arc::new(column) as Arc<dyn PhysicalExpr>, f.name().clone()))
    });
    Ok(Arc::new(ProjectionExec::try_new(wanted.collect::<Result<Vec<_>>>()?, plan)?))
}

/// The columns that say which deletes apply to which rows.
fn marks() -> [FieldRef; 2] {
    [
        Arc::new(Field::new(SEQUENCE, DataType::Int64, false)),
        Arc::new(Field::new(SCOPE, DataType::Int32, false)),
    ]
}

/// A key of equality deletes.
struct Key {
    id: FieldId,
    /// The column that it is, or is in.
    column: ScanColumn,
    /// Names of the fields that lead to it, from the outermost; empty: it is the column.
    path: Vec<String>,
}

impl Key {
    /// Name of the key as a column.
    fn name(&self) -> String {
        match self.path.is_empty() {
            true => self.column.field.name().clone(),
            false => format!("\u{1}key:{}", self.id),
        }
    }

    /// The key's value; null where a struct around it is.
    fn value(&self, schema: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
        let column = Column::new_with_schema(self.column.field.name(), schema)?;
        let mut value: Arc<dyn PhysicalExpr> = Arc::new(column);
        for name in &self.path {
            let arguments = vec![value, lit(name.as_str())];
            let options = Arc::new(ConfigOptions::default());
            value = Arc::new(ScalarFunctionExpr::try_new(get_field(), arguments, schema, options)?);
        }
        Ok(value)
    }
}

fn key(scan: &Scan<'_>, hidden: &BTreeMap<FieldId, ScanColumn>, id: FieldId) -> Result<Key> {
    let schema = &scan.request.snapshot.schema;
    if let Some((_, field)) = schema.column_by_id(id) {
        // A key column missing from a delete file would delete by null; that is the file's fault and shows
        // as an error where the column is required.
        return Ok(Key { id, column: ScanColumn { id, field: field.clone() }, path: Vec::new() });
    }
    for column in ScanColumn::all(schema) {
        if let Some(path) = path_to(column.field.data_type(), id) {
            return Ok(Key { id, column, path });
        }
    }
    let column = hidden.get(&id).cloned().ok_or_else(|| {
        let feature = "equality deletes on fields of lists and maps, or on dropped nested fields";
        Error::unsupported(&scan.request.snapshot.location, feature)
    })?;
    Ok(Key { id, column, path: Vec::new() })
}

/// Names of the fields that lead to the one with this id through structs.
fn path_to(data_type: &DataType, id: FieldId) -> Option<Vec<String>> {
    let DataType::Struct(fields) = data_type else { return None };
    fields.iter().find_map(|field| {
        let rest = match field_id(field) == Some(id) {
            true => Vec::new(),
            false => path_to(field.data_type(), id)?,
        };
        Some([vec![field.name().clone()], rest].concat())
    })
}

/// The plan with nested keys as columns of their own, if there are any.
fn with_nested(plan: Arc<dyn ExecutionPlan>, keys: &[Key]) -> Result<Arc<dyn ExecutionPlan>> {
    if keys.iter().all(|key| key.path.is_empty()) {
        return Ok(plan);
    }
    let schema = plan.schema();
    let own = schema.fields().iter().enumerate().map(|(i, field)| {
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), i));
        Ok((column, field.name().clone()))
    });
    // Another set of keys may have added the same one.
    let nested = keys.iter().filter(|key| schema.index_of(&key.name()).is_err());
    let nested = nested.map(|key| Ok((key.value(&schema)?, key.name())));
    let columns = own.chain(nested).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(ProjectionExec::try_new(columns, plan)?))
}

/// Key columns that the table no longer has: deletes on them still count. Their types are in the delete
/// files only.
async fn dropped_columns(
    scan: &Scan<'_>,
    deletes: &EqualityDeletes,
) -> Result<BTreeMap<FieldId, ScanColumn>> {
    let schema = &scan.request.snapshot.schema;
    let mut dropped: BTreeMap<FieldId, ScanColumn> = BTreeMap::new();
    for (set, files) in &deletes.sets {
        let unknown: Vec<FieldId> =
            set.field_ids.iter().copied().filter(|id| schema.column_by_id(*id).is_none()).collect();
        if unknown.is_empty() {
            continue;
        }
        for (file, _) in files {
            let at = scan.request.storage.locate(&file.path)?;
            let columns = footer::schema(scan.state, &at, file.size_bytes).await?;
            for id in &unknown {
                let Some(found) = columns.fields().iter().find(|f| field_id(f) == Some(*id)) else {
                    continue;
                };
                let data_type = found.data_type();
                let known = dropped.get(id);
                if known.is_none_or(|k| !is_readable_as(data_type, k.field.data_type())) {
                    dropped.insert(*id, dropped_column(*id, data_type.clone()));
                }
            }
        }
    }
    Ok(dropped)
}

fn dropped_column(id: FieldId, data_type: DataType) -> ScanColumn {
    let metadata = HashMap::from([(FIELD_ID.to_string(), id.to_string())]);
    let field = Field::new(format!("\u{1}dropped:{id}"), data_type, true).with_metadata(metadata);
    ScanColumn { id, field: Arc::new(field) }
}

/// The rows of delete files: key columns, sequence number, scope.
fn deleted_keys(
    scan: &Scan<'_>,
    files: &[(Arc<EqualityDeleteFile>, i32)],
    keys: &[Key],
    context: &ScanContext,
) -> Result<Arc<dyn ExecutionPlan>> {
    // Two keys may be in one column.
    let mut columns: Vec<FieldRef> = Vec::new();
    for field in keys.iter().map(|key| &key.column.field) {
        if !columns.iter().any(|known| known.name() == field.name()) {
            columns.push(field.clone());
        }
    }
    let is_constant: Vec<bool> = columns.iter().map(|_| false).chain([true, true]).collect();
    columns.extend(marks());
    let mut by_store: BTreeMap<String, (Located, Vec<_>, u64)> = BTreeMap::new();
    for (file, scope) in files {
        let at = scan.request.storage.locate(&file.path)?;
        let mut entry = partitioned_file(&at.store_url, at.path.clone(), file.size_bytes);
        entry.partition_values =
            vec![ScalarValue::Int64(Some(file.sequence_number)), ScalarValue::Int32(Some(*scope))];
        let group = by_store.entry(at.store_url.as_str().to_string()).or_insert_with(|| (at, Vec::new(), 0));
        group.1.push(entry);
        group.2 = group.2.saturating_add(file.record_count);
    }
    let target = scan.state.config().target_partitions();
    let plans = by_store.into_values().map(|(at, files, rows)| {
        let schema = Schema::new(columns.clone());
        let statistics = Statistics::new_unknown(&schema)
            .with_num_rows(datafusion::common::stats::Precision::Inexact(rows as usize));
        let scan_of_deletes = ParquetScan {
            store_url: at.store_url,
            columns: columns.clone(),
            is_constant: is_constant.clone(),
            position: None,
            groups: balanced_groups(files, target),
            statistics,
            ordering: None,
            limit: None,
        };
        Ok(scan_of_deletes.into_plan(context, scan.state, None)?)
    });
    let plan = union(plans.collect::<Result<Vec<_>>>()?)?;
    // The build side is one partition, whoever plans above.
    Ok(match plan.output_partitioning().partition_count() {
        1 => plan,
        _ => Arc::new(CoalescePartitionsExec::new(plan)),
    })
}

/// `data` without the rows that an applicable row of `deleted` equals, null equalling null.
fn anti_join(
    deleted: Arc<dyn ExecutionPlan>,
    data: Arc<dyn ExecutionPlan>,
    keys: &[Key],
    global: bool,
) -> Result<Arc<dyn ExecutionPlan>> {
    let (left, right) = (deleted.schema(), data.schema());
    let mut names: Vec<String> = keys.iter().map(Key::name).collect();
    if !global {
        names.push(SCOPE.to_string());
    }
    let mut on: Vec<(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>)> = Vec::with_capacity(names.len());
    for name in names {
        let columns = (Column::new_with_schema(&name, &left)?, Column::new_with_schema(&name, &right)?);
        on.push((Arc::new(columns.0), Arc::new(columns.1)));
    }
    let sequences = Schema::new(vec![
        Field::new("deleted", DataType::Int64, false),
        Field::new("data", DataType::Int64, false),
    ]);
    let newer =
        BinaryExpr::new(Arc::new(Column::new("deleted", 0)), Operator::Gt, Arc::new(Column::new("data", 1)));
    let sequence = |schema: &Schema, side| {
        Ok::<_, Error>(ColumnIndex { index: Column::new_with_schema(SEQUENCE, schema)?.index(), side })
    };
    let filter = JoinFilter::new(
        Arc::new(newer),
        vec![sequence(&left, JoinSide::Left)?, sequence(&right, JoinSide::Right)?],
        Arc::new(sequences),
    );
    let join = HashJoinExec::try_new(
        deleted,
        data,
        on,
        Some(filter),
        &JoinType::RightAnti,
        None,
        PartitionMode::CollectLeft,
        NullEquality::NullEqualsNull,
        false,
    )?;
    Ok(Arc::new(join))
}
