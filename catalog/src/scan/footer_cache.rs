//! Footers of Parquet files, kept in the memory of all that is read of files.

use std::sync::Arc;
use std::time::Duration;

use datafusion::common::{HashMap, TableReference};
use datafusion::execution::cache::cache_manager::CachedFileMetadataEntry;
use datafusion::execution::cache::{Cache, CacheEntryInfo, CacheValue};
use object_store::path::Path;

use crate::storage::{Key, Kind, Memory};

/// What DataFusion's readers ask for footers. They check that the file is as it was.
#[derive(Debug, Clone)]
pub struct FooterCache {
    memory: Arc<Memory>,
}

impl FooterCache {
    pub fn new(memory: Arc<Memory>) -> Self {
        Self { memory }
    }
}

fn key(path: &Path) -> Key {
    Key::new(Kind::Footers, 0, path.as_ref())
}

impl Cache<Path, CachedFileMetadataEntry> for FooterCache {
    fn get(&self, path: &Path) -> Option<CachedFileMetadataEntry> {
        self.memory.get::<CachedFileMetadataEntry>(&key(path)).map(Arc::unwrap_or_clone)
    }

    fn put(&self, path: &Path, value: CachedFileMetadataEntry) -> Option<CachedFileMetadataEntry> {
        let (key, bytes) = (key(path), value.size());
        let before = self.memory.peek::<CachedFileMetadataEntry>(&key);
        self.memory.insert(key, Arc::new(value), bytes);
        before.map(Arc::unwrap_or_clone)
    }

    fn remove(&self, path: &Path) -> Option<CachedFileMetadataEntry> {
        let key = key(path);
        let before = self.memory.peek::<CachedFileMetadataEntry>(&key);
        self.memory.remove(&key);
        before.map(Arc::unwrap_or_clone)
    }

    fn contains_key(&self, path: &Path) -> bool {
        self.memory.peek::<CachedFileMetadataEntry>(&key(path)).is_some()
    }

    fn len(&self) -> usize {
        self.memory.list::<CachedFileMetadataEntry>(Kind::Footers).len()
    }

    fn clear(&self) {
        for (key, _) in self.memory.list::<CachedFileMetadataEntry>(Kind::Footers) {
            self.memory.remove(&key);
        }
    }

    fn name(&self) -> String {
        Kind::Footers.name().to_string()
    }

    /// That of all kinds together.
    fn cache_limit(&self) -> usize {
        usize::try_from(self.memory.budget()).unwrap_or(usize::MAX)
    }

    /// The budget is not footers' alone to change.
    fn update_cache_limit(&self, _limit: usize) {}

    fn cache_ttl(&self) -> Option<Duration> {
        None
    }

    fn update_cache_ttl(&self, _ttl: Option<Duration>) {}

    /// Files belong to no table here.
    fn drop_table_entries(&self, _table: &TableReference) -> datafusion::error::Result<()> {
        Ok(())
    }

    fn list_entries(&self) -> HashMap<Path, CacheEntryInfo<CachedFileMetadataEntry>> {
        let all = self.memory.list::<CachedFileMetadataEntry>(Kind::Footers).into_iter();
        let entry = |(key, value): (Arc<Key>, Arc<CachedFileMetadataEntry>)| {
            let size_bytes = value.size();
            let info =
                CacheEntryInfo { value: Arc::unwrap_or_clone(value), size_bytes, hits: 0, expires: None };
            Some((Path::parse(key.path()).ok()?, info))
        };
        all.filter_map(entry).collect()
    }
}
