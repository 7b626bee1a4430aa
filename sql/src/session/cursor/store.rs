//! Rows that a cursor has passed and may come back to: in the memory pool, and on disk when that has
//! no room or when they are many.
//!
//! Rows are kept in pages of whole batches. A page on disk is a file, read as a whole; the last one
//! read stays in memory. Fails with 53200 when there is room neither in memory nor on disk.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::execution::SpillFile;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::SpillManager;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, SpillMetrics};
use datafusion::physical_plan::spill::get_record_batch_memory_size;
use futures::TryStreamExt;

use crate::error::{Error, Result, SqlState};

/// A page takes no more batches when it has this many bytes.
const PAGE: usize = 1024 * 1024;
/// A cursor keeps this many bytes in memory, then goes to disk.
const IN_MEMORY: usize = 64 * 1024 * 1024;

pub(super) struct Store {
    pages: Vec<Page>,
    rows: u64,
    /// For the pages in memory.
    memory: MemoryReservation,
    spill: SpillManager,
    /// The page that was read from disk last.
    read: Option<ReadPage>,
}

struct Page {
    /// Number of its first row, from 0.
    first: u64,
    rows: u64,
    bytes: usize,
    data: Data,
}

enum Data {
    Memory(Vec<RecordBatch>),
    Disk(Arc<dyn SpillFile>),
}

struct ReadPage {
    page: usize,
    batches: Vec<RecordBatch>,
    _memory: MemoryReservation,
}

impl Store {
    pub fn new(runtime: &Arc<RuntimeEnv>, schema: SchemaRef) -> Self {
        let metrics = SpillMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
        Self {
            pages: Vec::new(),
            rows: 0,
            memory: MemoryConsumer::new("cursor").register(&runtime.memory_pool),
            spill: SpillManager::new(runtime.clone(), metrics, schema),
            read: None,
        }
    }

    pub fn rows(&self) -> u64 {
        self.rows
    }

    pub fn push(&mut self, batch: RecordBatch) -> Result<()> {
        let bytes = get_record_batch_memory_size(&batch);
        if self.memory.size() + bytes <= IN_MEMORY && self.memory.try_grow(bytes).is_ok() {
            self.add(batch, bytes);
            return Ok(());
        }
        self.add(batch, bytes);
        self.spill_pages()
    }

    /// Keeps a batch in memory, if all of them together have at most `limit` bytes. `false`: it does not.
    pub fn push_small(&mut self, batch: &RecordBatch, limit: usize) -> bool {
        let bytes = get_record_batch_memory_size(batch);
        if self.memory.size() + bytes > limit || self.memory.try_grow(bytes).is_err() {
            return false;
        }
        self.add(batch.clone(), bytes);
        true
    }

    fn add(&mut self, batch: RecordBatch, bytes: usize) {
        let rows = batch.num_rows() as u64;
        match self.pages.last_mut() {
            Some(Page { data: Data::Memory(batches), rows: all, bytes: size, .. }) if *size < PAGE => {
                batches.push(batch);
                *all += rows;
                *size += bytes;
            }
            _ => self.pages.push(Page { first: self.rows, rows, bytes, data: Data::Memory(vec![batch]) }),
        }
        self.rows += rows;
    }

    /// Writes the pages that are in memory.
    fn spill_pages(&mut self) -> Result<()> {
        for page in &mut self.pages {
            if let Data::Memory(batches) = &page.data {
                let file = self.spill.spill_record_batch_and_finish(batches, "rows of a cursor");
                if let Some(file) = file.map_err(|e| Error::from(&e))? {
                    page.data = Data::Disk(file);
                }
            }
        }
        self.memory.free();
        Ok(())
    }

    /// Rows from `row` (from 0) on: at most `limit`, of one batch.
    pub async fn from(&mut self, row: u64, limit: u64) -> Result<RecordBatch> {
        let (batch, at) = self.find(row).await?;
        let rows =
            usize::try_from(limit).map_or(batch.num_rows() - at, |limit| limit.min(batch.num_rows() - at));
        Ok(batch.slice(at, rows))
    }

    /// Rows up to `row` (from 0), itself included: at most `limit`, of one batch.
    pub async fn up_to(&mut self, row: u64, limit: u64) -> Result<RecordBatch> {
        let (batch, at) = self.find(row).await?;
        let rows = usize::try_from(limit).map_or(at + 1, |limit| limit.min(at + 1));
        Ok(batch.slice(at + 1 - rows, rows))
    }

    /// The batch with a row, and the row's place in it.
    async fn find(&mut self, row: u64) -> Result<(RecordBatch, usize)> {
        let missing = || Error::new(SqlState::INTERNAL_ERROR, "a row of the cursor is missing");
        let index = self.pages.partition_point(|page| page.first + page.rows <= row);
        let page = self.pages.get(index).ok_or_else(missing)?;
        let mut at = usize::try_from(row - page.first).map_err(|_| missing())?;
        if matches!(page.data, Data::Disk(_)) {
            self.read(index).await?;
        }
        let batches = match (self.pages.get(index).map(|page| &page.data), &self.read) {
            (Some(Data::Memory(batches)), _) | (Some(Data::Disk(_)), Some(ReadPage { batches, .. })) => {
                batches
            }
            _ => return Err(missing()),
        };
        for batch in batches {
            if at < batch.num_rows() {
                return Ok((batch.clone(), at));
            }
            at -= batch.num_rows();
        }
        Err(missing())
    }

    /// Makes `self.read` the page of that index.
    async fn read(&mut self, index: usize) -> Result<()> {
        if self.read.as_ref().is_some_and(|read| read.page == index) {
            return Ok(());
        }
        self.read = None;
        let bytes = self.pages.get(index).map_or(0, |page| page.bytes);
        let memory = self.memory.new_empty();
        if memory.try_grow(bytes).is_err() {
            self.spill_pages()?;
            memory.try_grow(bytes).map_err(|e| Error::from(&e))?;
        }
        let Some(Page { data: Data::Disk(file), .. }) = self.pages.get(index) else {
            return Err(Error::new(SqlState::INTERNAL_ERROR, "a page of the cursor is missing"));
        };
        let stream = self.spill.read_spill_as_stream_unbuffered(file.clone(), None);
        let batches = stream.map_err(|e| Error::from(&e))?.try_collect().await;
        let batches = batches.map_err(|e| Error::from(&e))?;
        self.read = Some(ReadPage { page: index, batches, _memory: memory });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array, StringViewArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;

    use super::*;

    fn schema() -> SchemaRef {
        let number = Field::new("n", DataType::Int64, false);
        Arc::new(Schema::new(vec![number, Field::new("t", DataType::Utf8View, false)]))
    }

    /// Rows `from..to`.
    fn batch(from: i64, to: i64) -> RecordBatch {
        let numbers: Int64Array = (from..to).collect::<Vec<_>>().into();
        let texts: StringViewArray = (from..to).map(|n| Some(format!("a text for number {n}"))).collect();
        RecordBatch::try_new(schema(), vec![Arc::new(numbers), Arc::new(texts)]).unwrap()
    }

    fn numbers(batch: &RecordBatch) -> Vec<i64> {
        batch.column(0).as_primitive::<Int64Type>().values().to_vec()
    }

    #[tokio::test]
    async fn rows_come_back_from_memory_and_disk() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(2 * 1024 * 1024));
        let runtime = Arc::new(RuntimeEnvBuilder::new().with_memory_pool(pool.clone()).build().unwrap());
        let mut store = Store::new(&runtime, schema());
        for n in 0..100 {
            store.push(batch(n * 1000, (n + 1) * 1000)).unwrap();
        }
        assert_eq!(store.rows(), 100_000);
        assert!(runtime.disk_manager.used_disk_space() > 0, "it has spilled");
        for row in [0, 1, 999, 1000, 54_321, 99_999, 0] {
            let found = store.from(row, 3).await.unwrap();
            let end = (row + 3).min(row / 1000 * 1000 + 1000);
            assert_eq!(numbers(&found), (row as i64..end as i64).collect::<Vec<_>>());
            let texts = found.column(1).as_string_view();
            assert_eq!(texts.value(0), format!("a text for number {row}"));
            let found = store.up_to(row, 2).await.unwrap();
            let start = row.saturating_sub(1).max(row / 1000 * 1000);
            assert_eq!(numbers(&found), (start as i64..=row as i64).collect::<Vec<_>>());
        }
        drop(store);
        assert_eq!((pool.reserved(), runtime.disk_manager.used_disk_space()), (0, 0));
    }

    #[tokio::test]
    async fn without_room_anywhere_it_is_an_error() {
        let disk = datafusion::execution::disk_manager::DiskManager::builder()
            .with_max_temp_directory_size(64 * 1024);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(GreedyMemoryPool::new(64 * 1024)))
            .with_disk_manager_builder(disk)
            .build()
            .unwrap();
        let mut store = Store::new(&Arc::new(runtime), schema());
        let failed = (0..100).find_map(|n| store.push(batch(n * 1000, (n + 1) * 1000)).err());
        assert_eq!(failed.unwrap().code, SqlState::OUT_OF_MEMORY);
    }
}
