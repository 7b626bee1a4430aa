//! Which files of a version an overwrite takes out, and which rows it lets in.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::{Column, ToDFSchema};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr_rewriter::unnormalize_cols;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::scalar::ScalarValue;
use futures::StreamExt;

use super::live_files::{canonical, lists, partition_of, with_deletes};
use super::{Replaced, evolved};
use crate::error::{Error, Result};
use crate::registry::Table;
use crate::table::{
    Alteration, FileList, LiveFile, Operation, PartitionSpec, ReadSet, TableChange, TableSnapshot, Transform,
};

/// A planned replacement.
#[derive(Debug)]
pub(in crate::dml) struct Replacement {
    pub operation: Operation,
    replaced: Replaced,
    filters: Arc<Vec<Filter>>,
    /// The predicates, for people.
    pub predicate: String,
    /// Whatever is changed meanwhile conflicts.
    pub reads_everything: bool,
    /// Identity columns begin anew.
    pub restarts_identity: bool,
    /// What the table's history shows of the statement; `None`: the predicate.
    pub parameters: Option<BTreeMap<String, String>>,
}

/// A predicate over identity partition columns.
#[derive(Debug)]
struct Filter {
    /// Positions in the table's schema of the columns used, and how the predicate sees them.
    columns: Vec<usize>,
    schema: SchemaRef,
    physical: Arc<dyn PhysicalExpr>,
}

impl fmt::Display for Replacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.replaced {
            Replaced::PartitionsOfRows => f.write_str("partitions of the new rows"),
            Replaced::Where(_) if self.filters.is_empty() => f.write_str("all"),
            Replaced::Where(_) => f.write_str(&self.predicate),
        }
    }
}

impl Replacement {
    /// Fails with `Invalid` for a predicate that is not over identity partition columns.
    pub fn new(table: &Table, state: &dyn Session, replaced: Replaced, operation: Operation) -> Result<Self> {
        let expressions = match &replaced {
            Replaced::PartitionsOfRows => vec![],
            Replaced::Where(expressions) => unnormalize_cols(expressions.iter().cloned()),
        };
        let texts = expressions.iter().map(|expr| expr.human_display().to_string());
        let predicate = texts.collect::<Vec<_>>().join(" AND ");
        let filters = expressions.iter().map(|expr| Filter::new(table, state, expr));
        let filters = Arc::new(filters.collect::<Result<Vec<_>>>()?);
        let replaced = match replaced {
            Replaced::Where(_) => Replaced::Where(expressions),
            replaced => replaced,
        };
        Ok(Self {
            operation,
            replaced,
            filters,
            predicate,
            reads_everything: false,
            restarts_identity: false,
            parameters: None,
        })
    }

    /// The rows, failing at the first that would not be replaced by the same statement.
    pub fn check_rows(&self, table: &Table, input: SendableRecordBatchStream) -> SendableRecordBatchStream {
        if self.filters.is_empty() {
            return input;
        }
        let filters = self.filters.clone();
        let (table, predicate) = (table.ident.name.clone(), self.predicate.clone());
        let schema = input.schema();
        let rows = input.map(move |batch| {
            let batch = batch?;
            for filter in filters.iter() {
                if !filter.holds(&batch)? {
                    let (table, predicate) = (table.clone(), predicate.clone());
                    return Err(Error::OutsideOfOverwrite { table, predicate }.into());
                }
            }
            Ok(batch)
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }

    /// Makes `change`, which holds the files just written, a replacement of files of `table`.
    pub async fn apply(&self, table: &Table, change: &mut TableChange) -> Result<()> {
        let snapshot = &table.snapshot;
        let written = written_partitions(change)?;
        change.isolation = table.catalog.format(snapshot.format).isolation(snapshot, self.operation)?;
        change.read = self.read_set(snapshot, &written);
        match &self.parameters {
            Some(parameters) => change.parameters = parameters.clone(),
            None if self.filters.is_empty() => {}
            None => {
                change.parameters.insert("predicate".into(), self.predicate.clone());
            }
        }
        change.removed = self.files(table, &written).await?;
        if self.restarts_identity && !snapshot.schema.identity.is_empty() {
            change.alterations.push(Alteration::RestartIdentity);
        }
        change.rows.deleted = change.removed.iter().map(|file| live_rows(file)).sum();
        Ok(())
    }

    /// The files that go, for new rows in these partitions.
    pub async fn files(
        &self,
        table: &Table,
        written: &HashSet<Vec<ScalarValue>>,
    ) -> Result<Vec<Arc<LiveFile>>> {
        let snapshot = &table.snapshot;
        let removed = match &self.replaced {
            Replaced::PartitionsOfRows if snapshot.default_spec.is_unpartitioned() => {
                every_file(lists(snapshot).await?)
            }
            Replaced::PartitionsOfRows if written.is_empty() => vec![],
            Replaced::PartitionsOfRows => {
                let mut removed = vec![];
                for list in lists(snapshot).await? {
                    in_partitions(table, &list, written, &mut removed)?;
                }
                removed
            }
            Replaced::Where(_) if self.filters.is_empty() => every_file(lists(snapshot).await?),
            Replaced::Where(_) => {
                let mut removed = vec![];
                for list in lists(snapshot).await? {
                    self.satisfying(table, &list, &mut removed)?;
                }
                removed
            }
        };
        with_deletes(snapshot, removed).await
    }

    fn read_set(&self, snapshot: &TableSnapshot, written: &HashSet<Vec<ScalarValue>>) -> ReadSet {
        if self.reads_everything {
            return ReadSet::Filters(vec![]);
        }
        match &self.replaced {
            Replaced::PartitionsOfRows if snapshot.default_spec.is_unpartitioned() => {
                ReadSet::Filters(vec![])
            }
            Replaced::PartitionsOfRows => {
                let id = snapshot.default_spec.spec_id;
                ReadSet::Partitions(written.iter().map(|values| (id, values.clone())).collect())
            }
            Replaced::Where(expressions) => ReadSet::Filters(expressions.clone()),
        }
    }

    /// Files of a list of which every row satisfies the predicates.
    fn satisfying(
        &self,
        table: &Table,
        list: &Arc<FileList>,
        removed: &mut Vec<(Arc<FileList>, usize)>,
    ) -> Result<()> {
        let mut outside = vec![false; list.files.len()];
        let mut untold = false;
        for filter in self.filters.iter() {
            match filter.of_files(&table.snapshot, list)? {
                None => untold = true,
                Some(satisfied) => {
                    for (row, outside) in outside.iter_mut().enumerate() {
                        *outside |= !is_true(&satisfied, row);
                    }
                }
            }
        }
        let inside = outside.iter().enumerate().filter(|(_, outside)| !**outside);
        let mut inside = inside.map(|(row, _)| (list.clone(), row)).peekable();
        if untold && inside.peek().is_some() {
            return Err(mixed_file(table));
        }
        removed.extend(inside);
        Ok(())
    }
}

impl Filter {
    fn new(table: &Table, state: &dyn Session, expr: &Expr) -> Result<Self> {
        let snapshot = &table.snapshot;
        let mut columns = BTreeSet::new();
        for Column { name, .. } in expr.column_refs() {
            let index = snapshot.schema.arrow.index_of(name).ok();
            let id = index.and_then(|i| snapshot.schema.field_ids.get(i).copied());
            let identity = |f: &crate::table::PartitionField| {
                Some(f.source_id) == id && f.transform == Transform::Identity
            };
            match index {
                None => {
                    return Err(Error::ColumnNotFound {
                        table: table.ident.name.clone(),
                        column: name.clone(),
                    });
                }
                Some(index) if snapshot.default_spec.fields.iter().any(identity) => {
                    columns.insert(index);
                }
                Some(_) => {
                    return Err(Error::Invalid(format!(
                        "\"{}\" is not partitioned by the values of column \"{name}\"",
                        table.ident.name
                    )));
                }
            }
        }
        let columns: Vec<usize> = columns.into_iter().collect();
        let schema =
            Arc::new(snapshot.schema.arrow.project(&columns).map_err(|e| Error::Internal(e.to_string()))?);
        let fields = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
        let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let physical = state.create_physical_expr(expr.clone(), &schema.clone().to_dfschema()?)?;
        Ok(Self { columns, schema, physical })
    }

    fn evaluate(&self, columns: Vec<arrow::array::ArrayRef>, rows: usize) -> Result<BooleanArray> {
        let columns = columns.iter().zip(self.schema.fields()).map(|(values, field)| {
            cast(values, field.data_type()).map_err(|e| Error::Internal(e.to_string()))
        });
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch =
            RecordBatch::try_new_with_options(self.schema.clone(), columns.collect::<Result<_>>()?, &options)
                .map_err(|e| Error::Internal(e.to_string()))?;
        let values = self.physical.evaluate(&batch)?.into_array(rows)?;
        let values = values.as_boolean_opt();
        values.cloned().ok_or_else(|| Error::Invalid(format!("{} is not a condition", self.physical)))
    }

    /// Whether all rows satisfy the predicate.
    fn holds(&self, batch: &RecordBatch) -> Result<bool> {
        let columns = self.columns.iter().map(|i| {
            batch
                .columns()
                .get(*i)
                .cloned()
                .ok_or_else(|| Error::Internal("partition column is missing".into()))
        });
        let satisfied = self.evaluate(columns.collect::<Result<_>>()?, batch.num_rows())?;
        Ok((0..satisfied.len()).all(|row| is_true(&satisfied, row)))
    }

    /// Whether the rows of each file satisfy the predicate; `None` if the partitions do not tell.
    fn of_files(&self, snapshot: &TableSnapshot, list: &FileList) -> Result<Option<BooleanArray>> {
        let mut columns = Vec::with_capacity(self.columns.len());
        for index in &self.columns {
            let id = snapshot.schema.field_ids.get(*index);
            let field = list
                .spec()
                .fields
                .iter()
                .position(|field| Some(&field.source_id) == id && field.transform == Transform::Identity);
            match field.and_then(|field| list.stats.partitions.get(field)) {
                Some(bounds) => columns.push(bounds.lower.clone()),
                None => return Ok(None),
            }
        }
        self.evaluate(columns, list.files.len()).map(Some)
    }
}

fn is_true(values: &BooleanArray, row: usize) -> bool {
    values.is_valid(row) && values.value(row)
}

fn every_file(lists: Vec<Arc<FileList>>) -> Vec<(Arc<FileList>, usize)> {
    lists.into_iter().flat_map(|list| (0..list.files.len()).map(move |row| (list.clone(), row))).collect()
}

/// Partitions of the new files, as they are compared.
fn written_partitions(change: &TableChange) -> Result<HashSet<Vec<ScalarValue>>> {
    let mut partitions = HashSet::new();
    for file in &change.added {
        let values = file.partition.iter().zip(&file.spec.fields);
        let values = values.map(|(value, field)| Ok(canonical(value.cast_to(&field.result_type)?)));
        partitions.insert(values.collect::<Result<Vec<_>>>()?);
    }
    Ok(partitions)
}

/// Files of a list that are in one of these partitions of the current spec.
fn in_partitions(
    table: &Table,
    list: &Arc<FileList>,
    partitions: &HashSet<Vec<ScalarValue>>,
    removed: &mut Vec<(Arc<FileList>, usize)>,
) -> Result<()> {
    let current: &PartitionSpec = &table.snapshot.default_spec;
    let same = list.spec().fields == current.fields;
    for row in 0..list.files.len() {
        let values = partition_of(list, row)?;
        let inside = if same {
            partitions.contains(&values)
        } else {
            is_in_partition(table, list, &values, partitions)?
        };
        if inside {
            removed.push((list.clone(), row));
        }
    }
    Ok(())
}

/// Whether a file of another spec is in one of the partitions.
fn is_in_partition(
    table: &Table,
    list: &FileList,
    values: &[ScalarValue],
    partitions: &HashSet<Vec<ScalarValue>>,
) -> Result<bool> {
    let snapshot = &table.snapshot;
    let fields = &snapshot.default_spec.fields;
    let known = fields.iter().map(|field| evolved::value_of(field, snapshot, list.spec(), values));
    let known = known.collect::<Result<Vec<_>>>()?;
    let possible = |partition: &Vec<ScalarValue>| {
        known.iter().zip(partition).all(|(known, wanted)| known.as_ref().is_none_or(|known| known == wanted))
    };
    if !partitions.iter().any(possible) {
        return Ok(false);
    }
    if known.iter().all(Option::is_some) {
        return Ok(true);
    }
    Err(mixed_file(table))
}

fn mixed_file(table: &Table) -> Error {
    let feature = "files of an earlier partitioning that may hold rows inside and outside of the partitions \
                   to overwrite";
    Error::unsupported(format!("\"{}\"", table.ident), feature)
}

/// Rows of a file that are not deleted, as far as the metadata tells: equality deletes are not
/// counted, nor position deletes shared with other files.
fn live_rows(file: &LiveFile) -> u64 {
    let rows = file.file().ok().and_then(|file| file.record_count).unwrap_or(0);
    let by_vector = file.deletes.deletion_vector.as_ref().map_or(0, |vector| vector.cardinality);
    let own = file.deletes.positions.iter().filter(|d| d.referenced_data_file.is_some());
    let by_position: u64 = own.map(|d| d.record_count).sum();
    rows.saturating_sub(by_vector + by_position)
}
