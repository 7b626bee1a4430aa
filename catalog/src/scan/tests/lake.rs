//! A table made by hand: Parquet files in a temporary directory and the snapshot that lists them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::util::pretty::pretty_format_batches;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::{ExecutionPlan, displayable};
use datafusion::prelude::{SessionConfig, SessionContext, col};
use datafusion::scalar::ScalarValue;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use tempfile::TempDir;

use crate::scan::may_be_key;
use crate::scan::plan::{ScanRequest, plan};
use crate::storage::Storage;
use crate::table::deletes::DeleteIndex;
use crate::table::deletion_vector::DeletionVectorRef;
use crate::table::schema::{ColumnResolution, FIELD_ID};
use crate::table::snapshot::{FileListIndex, SnapshotFiles};
use crate::table::statistics::{ColumnBounds, PartitionBounds, StatisticsTable};
use crate::table::{
    DataFile, FieldId, FileList, PartitionField, PartitionSpec, RowLineage, SortOrder, TableFormat,
    TableSchema, TableSnapshot, TableVersion, Transform,
};

pub fn field(id: FieldId, name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true).with_metadata(HashMap::from([(FIELD_ID.to_string(), id.to_string())]))
}

pub fn batch(columns: Vec<(Field, ArrayRef)>) -> RecordBatch {
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

pub fn table_schema(fields: Vec<Field>) -> TableSchema {
    let id = |f: &Field| f.metadata()[FIELD_ID].parse().unwrap();
    TableSchema {
        schema_id: 0,
        field_ids: fields.iter().map(id).collect(),
        arrow: Arc::new(Schema::new(fields)),
        resolution: ColumnResolution::FieldId { name_mapping: None },
        initial_defaults: HashMap::new(),
        write_defaults: HashMap::new(),
        identifier_field_ids: vec![],
        identity: Default::default(),
    }
}

pub fn spec(fields: Vec<(FieldId, Transform, DataType)>) -> PartitionSpec {
    let fields = fields.into_iter().enumerate().map(|(i, (source_id, transform, result_type))| {
        PartitionField { source_id, field_id: 1000 + i as i32, name: format!("p{i}"), transform, result_type }
    });
    PartitionSpec { spec_id: 0, fields: fields.collect() }
}

/// A file to list.
pub struct TestFile {
    pub name: String,
    pub batch: RecordBatch,
    pub partition: Vec<ScalarValue>,
    pub sequence_number: i64,
    pub first_row_id: Option<i64>,
    pub deletion_vector: Option<DeletionVectorRef>,
    pub sort_order_id: Option<i32>,
    pub rows_per_group: usize,
    /// Bounds that the metadata gives; `None`: those of the batch.
    pub bounds: Option<Vec<(FieldId, ScalarValue, ScalarValue)>>,
    pub exact: bool,
    pub nan_counts: bool,
}

impl TestFile {
    pub fn new(name: &str, batch: RecordBatch) -> Self {
        Self {
            name: name.to_string(),
            batch,
            partition: vec![],
            sequence_number: 1,
            first_row_id: None,
            deletion_vector: None,
            sort_order_id: None,
            rows_per_group: 1_000_000,
            bounds: None,
            exact: true,
            nan_counts: true,
        }
    }

    pub fn partition(mut self, values: Vec<ScalarValue>) -> Self {
        self.partition = values;
        self
    }

    pub fn sequence(mut self, n: i64) -> Self {
        self.sequence_number = n;
        self
    }

    pub fn groups_of(mut self, rows: usize) -> Self {
        self.rows_per_group = rows;
        self
    }
}

#[derive(Debug)]
pub struct TestFiles {
    index: Arc<FileListIndex>,
    lists: Vec<Arc<FileList>>,
    deletes: Arc<DeleteIndex>,
}

#[async_trait]
impl SnapshotFiles for TestFiles {
    async fn index(&self) -> crate::Result<Arc<FileListIndex>> {
        Ok(self.index.clone())
    }
    async fn file_list(&self, number: usize) -> crate::Result<Arc<FileList>> {
        Ok(self.lists[number].clone())
    }
    async fn deletes(&self) -> crate::Result<Arc<DeleteIndex>> {
        Ok(self.deletes.clone())
    }
}

pub struct Lake {
    pub dir: TempDir,
    pub schema: TableSchema,
    pub lists: Vec<Arc<FileList>>,
    pub deletes: DeleteIndex,
    pub sort_order: SortOrder,
    pub ctx: SessionContext,
    /// One for all statements, which keep what they read there.
    storage: Storage,
}

impl Lake {
    pub fn new(schema: TableSchema) -> Self {
        Self::with_config(schema, SessionConfig::new().with_target_partitions(2))
    }

    pub fn with_config(schema: TableSchema, config: SessionConfig) -> Self {
        let ctx = SessionContext::new_with_config(config);
        Self {
            dir: tempfile::tempdir().unwrap(),
            schema,
            lists: vec![],
            deletes: DeleteIndex::default(),
            sort_order: SortOrder::default(),
            storage: Storage::new(ctx.runtime_env().object_store_registry.clone()),
            ctx,
        }
    }

    pub fn location(&self, name: &str) -> String {
        format!("file://{}/{name}.parquet", self.dir.path().display())
    }

    pub fn storage(&self) -> Storage {
        self.storage.clone()
    }

    /// Writes a Parquet file; returns its size.
    pub fn write(&self, name: &str, batch: &RecordBatch, rows_per_group: usize) -> u64 {
        let path = self.dir.path().join(format!("{name}.parquet"));
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(rows_per_group));
        // Pages small enough for a row group to have several.
        let properties = properties.set_data_page_row_count_limit(20).set_write_batch_size(10).build();
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
        writer.write(batch).unwrap();
        writer.close().unwrap();
        std::fs::metadata(path).unwrap().len()
    }

    pub fn add(&mut self, files: Vec<TestFile>) {
        self.add_partitioned(PartitionSpec::default(), files);
    }

    pub fn add_partitioned(&mut self, spec: PartitionSpec, files: Vec<TestFile>) {
        let listed = files.iter().map(|f| DataFile {
            path: self.location(&f.name),
            size_bytes: self.write(&f.name, &f.batch, f.rows_per_group),
            record_count: Some(f.batch.num_rows() as u64),
            sequence_number: f.sequence_number,
            first_row_id: f.first_row_id,
            deletion_vector: f.deletion_vector.clone(),
            sort_order_id: f.sort_order_id,
            split_offsets: vec![],
        });
        let listed: Vec<_> = listed.collect();
        let partitions = spec.fields.iter().enumerate().map(|(i, field)| {
            let values = files.iter().map(|f| f.partition[i].cast_to(&field.result_type).unwrap());
            let array = ScalarValue::iter_to_array(values).unwrap();
            PartitionBounds {
                may_contain_null: (0..array.len()).map(|i| array.is_null(i)).collect(),
                lower: array.clone(),
                upper: array,
            }
        });
        let stats = StatisticsTable {
            len: files.len(),
            row_counts: files.iter().map(|f| Some(f.batch.num_rows() as u64)).collect(),
            columns: columns_of(&files),
            partitions: partitions.collect(),
            spec: Arc::new(spec),
        };
        self.lists.push(Arc::new(FileList { files: listed, stats, state: None }));
    }

    pub fn snapshot(&self) -> Arc<TableSnapshot> {
        let groups = self.lists.iter().enumerate().map(|(i, list)| {
            let partitions = list.stats.partitions.iter().map(summary);
            let summaries = StatisticsTable {
                len: 1,
                row_counts: UInt64Array::from(vec![None]),
                columns: HashMap::new(),
                spec: list.stats.spec.clone(),
                partitions: partitions.collect(),
            };
            (summaries, vec![i])
        });
        let index = Arc::new(FileListIndex { groups: groups.collect() });
        let files =
            TestFiles { index, lists: self.lists.clone(), deletes: Arc::new(clone_of(&self.deletes)) };
        Arc::new(TableSnapshot {
            format: TableFormat::Iceberg,
            format_version: "v2".into(),
            location: format!("file://{}", self.dir.path().display()),
            table_id: "t".into(),
            version: TableVersion::Unpublished,
            schema: Arc::new(self.schema.clone()),
            partition_specs: BTreeMap::new(),
            default_spec: Arc::default(),
            sort_order: Arc::new(self.sort_order.clone()),
            properties: BTreeMap::new(),
            comment: None,
            row_lineage: Some(RowLineage::by_reserved_ids()),
            constraints: Vec::new(),
            timestamp_ms: None,
            files: Arc::new(files),
            state: Arc::new(()),
        })
    }

    fn register(&self) {
        let table = TestTable { snapshot: self.snapshot(), storage: self.storage() };
        self.ctx.deregister_table("t").unwrap();
        self.ctx.register_table("t", Arc::new(table)).unwrap();
    }

    pub async fn try_rows(&self, sql: &str) -> Result<Vec<String>> {
        self.register();
        let batches = self.ctx.sql(sql).await?.collect().await?;
        let text = pretty_format_batches(&batches)?.to_string();
        let rows = text.lines().filter(|l| l.starts_with('|')).skip(1);
        Ok(rows
            .map(|l| l.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join(","))
            .collect())
    }

    /// The rows of a query, values separated by commas.
    pub async fn rows(&self, sql: &str) -> Vec<String> {
        self.try_rows(sql).await.unwrap()
    }

    pub async fn physical(&self, sql: &str) -> Arc<dyn ExecutionPlan> {
        self.register();
        self.ctx.sql(sql).await.unwrap().create_physical_plan().await.unwrap()
    }

    pub async fn plan(&self, sql: &str) -> String {
        displayable(self.physical(sql).await.as_ref()).indent(true).to_string()
    }

    /// Names of the files that a query reads, sorted.
    pub async fn scanned(&self, sql: &str) -> Vec<String> {
        self.files_in(&self.plan(sql).await)
    }

    /// Names of the files that a search for keys reads, sorted.
    pub async fn scanned_by_keys(&self, column: &str, keys: &[ArrayRef]) -> Vec<String> {
        self.register();
        let default_spec = self.lists[0].stats.spec.clone();
        let snapshot = TableSnapshot { default_spec, ..Arc::into_inner(self.snapshot()).unwrap() };
        let filter = may_be_key(&snapshot, &col(column), keys).unwrap();
        let rows = self.ctx.table("t").await.unwrap();
        let rows = filter.map_or(Ok(rows.clone()), |filter| rows.filter(filter)).unwrap();
        self.files_in(
            &displayable(rows.create_physical_plan().await.unwrap().as_ref()).indent(true).to_string(),
        )
    }

    fn files_in(&self, plan: &str) -> Vec<String> {
        let mut names: Vec<String> = self
            .lists
            .iter()
            .flat_map(|l| &l.files)
            .map(|f| f.path.rsplit('/').next().unwrap().to_string())
            .filter(|name| plan.contains(&format!("/{name}")))
            .map(|name| name.trim_end_matches(".parquet").to_string())
            .collect();
        names.sort();
        names
    }
}

fn clone_of(d: &DeleteIndex) -> DeleteIndex {
    DeleteIndex {
        deletion_vectors: d.deletion_vectors.clone(),
        positions_by_path: d.positions_by_path.clone(),
        positions_by_partition: d.positions_by_partition.clone(),
        equality_by_partition: d.equality_by_partition.clone(),
        equality_global: d.equality_global.clone(),
    }
}

/// Smallest and largest of an array's values, NaN left out; null when there is none.
fn bounds(array: &dyn Array) -> (ScalarValue, ScalarValue) {
    let null = ScalarValue::try_from(array.data_type()).unwrap();
    let is_nan = |v: &ScalarValue| matches!(v, ScalarValue::Float64(Some(f)) if f.is_nan());
    let values = (0..array.len()).map(|i| ScalarValue::try_from_array(array, i).unwrap());
    values.filter(|v| !v.is_null() && !is_nan(v)).fold((null.clone(), null), |(low, high), v| {
        let lower = if low.is_null() || v < low { v.clone() } else { low };
        (lower, if high.is_null() || v > high { v } else { high })
    })
}

fn summary(p: &PartitionBounds) -> PartitionBounds {
    let ((lower, _), (_, upper)) = (bounds(&p.lower), bounds(&p.upper));
    PartitionBounds {
        lower: lower.to_array().unwrap(),
        upper: upper.to_array().unwrap(),
        may_contain_null: vec![p.may_contain_null.iter().any(|n| *n)],
    }
}

/// Statistics of all top-level primitive columns, each typed as in the first file that has it.
fn columns_of(files: &[TestFile]) -> HashMap<FieldId, ColumnBounds> {
    let mut fields: BTreeMap<FieldId, FieldRef> = BTreeMap::new();
    for f in files.iter().flat_map(|f| f.batch.schema().fields().to_vec()) {
        if let Some(id) = f.metadata().get(FIELD_ID).filter(|_| !f.data_type().is_nested()) {
            fields.entry(id.parse().unwrap()).or_insert(f);
        }
    }
    let mut columns = HashMap::new();
    for (id, field) in fields {
        let null = ScalarValue::try_from(field.data_type()).unwrap();
        let (mut lower, mut upper, mut nulls, mut nans) = (vec![], vec![], vec![], vec![]);
        for file in files {
            let column = position(&file.batch.schema(), id).map(|i| file.batch.column(i).clone());
            let given = file.bounds.as_ref().and_then(|b| b.iter().find(|b| b.0 == id));
            let (low, high) = match (given, &column) {
                (Some((_, low, high)), _) => (low.clone(), high.clone()),
                (None, Some(column)) => bounds(column),
                (None, None) => (null.clone(), null.clone()),
            };
            lower.push(low);
            upper.push(high);
            nulls.push(column.as_ref().map(|c| c.null_count() as u64));
            nans.push(file.nan_counts.then_some(0));
        }
        columns.insert(
            id,
            ColumnBounds {
                lower: ScalarValue::iter_to_array(lower).unwrap(),
                upper: ScalarValue::iter_to_array(upper).unwrap(),
                null_count: nulls.into_iter().collect(),
                nan_count: Some(nans.into_iter().collect()),
                exact: files.iter().all(|f| f.exact && f.bounds.is_none()),
            },
        );
    }
    columns
}

fn position(schema: &SchemaRef, id: FieldId) -> Option<usize> {
    schema.fields().iter().position(|f| f.metadata().get(FIELD_ID) == Some(&id.to_string()))
}

#[derive(Debug)]
struct TestTable {
    snapshot: Arc<TableSnapshot>,
    storage: Storage,
}

#[async_trait]
impl TableProvider for TestTable {
    fn schema(&self) -> SchemaRef {
        self.snapshot.schema.arrow.clone()
    }
    fn table_type(&self) -> TableType {
        TableType::Base
    }
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }
    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let request =
            ScanRequest { snapshot: &self.snapshot, storage: &self.storage, projection, filters, limit };
        Ok(plan(request, state).await?)
    }
}
