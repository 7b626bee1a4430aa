//! What was read once is kept: parsed metadata, manifests, file lists, deleted positions, footers of data
//! files. **One budget for all of them**, in which what is used most stays, whatever it is.
//!
//! Keys are paths of files that never change, or numbers that are given out once: nothing here goes stale.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use moka::sync::Cache;

use crate::error::Result;
use crate::turns::Turns;

/// Without a configuration.
pub const DEFAULT_BYTES: u64 = 512 << 20;
/// What an entry takes beside its value and its path.
const OVERHEAD: usize = 192;

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Parsed metadata files of Iceberg and logs of Delta.
    Tables,
    /// Parsed manifest lists.
    ManifestLists,
    /// Data files with their statistics: Iceberg's manifests, file lists of Delta.
    Files,
    /// Parsed manifests of delete files.
    DeleteFiles,
    /// Decoded positions of deleted rows.
    DeletedRows,
    /// Definitions of views.
    Views,
    /// Footers of Parquet files.
    Footers,
}

impl Kind {
    pub const ALL: [Self; 7] = [
        Self::Tables,
        Self::ManifestLists,
        Self::Files,
        Self::DeleteFiles,
        Self::DeletedRows,
        Self::Views,
        Self::Footers,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Tables => "tables",
            Self::ManifestLists => "manifest_lists",
            Self::Files => "files",
            Self::DeleteFiles => "delete_files",
            Self::DeletedRows => "deleted_rows",
            Self::Views => "views",
            Self::Footers => "footers",
        }
    }
}

/// A number for someone whose entries nobody else is to find.
pub fn owner() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

/// Names an entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    kind: Kind,
    /// Who keeps it ([`owner`]); 0: whoever reads the file.
    owner: u64,
    path: String,
    /// Another path, and numbers, where one does not name it.
    part: String,
    numbers: [u64; 2],
}

impl Key {
    pub fn new(kind: Kind, owner: u64, path: impl Into<String>) -> Self {
        Self { kind, owner, path: path.into(), part: String::new(), numbers: [0; 2] }
    }

    pub fn with_part(self, part: impl Into<String>) -> Self {
        Self { part: part.into(), ..self }
    }

    pub fn with_numbers(self, numbers: [u64; 2]) -> Self {
        Self { numbers, ..self }
    }

    pub fn path(&self) -> &str {
        &self.path
    }
}

#[derive(Clone)]
struct Entry {
    value: Arc<dyn Any + Send + Sync>,
    bytes: u32,
}

/// Entries of one kind.
#[derive(Debug, Default)]
struct Tally {
    entries: AtomicU64,
    bytes: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// What a kind takes and does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    pub kind: Kind,
    pub entries: u64,
    pub bytes: u64,
    pub hits: u64,
    pub misses: u64,
}

#[derive(Debug, Default)]
struct Tallies([Tally; Kind::ALL.len()]);

impl Tallies {
    fn of(&self, kind: Kind) -> Option<&Tally> {
        self.0.get(kind as usize)
    }

    fn count(&self, kind: Kind, bytes: u32) {
        if let Some(tally) = self.of(kind) {
            tally.entries.fetch_add(1, Ordering::Relaxed);
            tally.bytes.fetch_add(u64::from(bytes), Ordering::Relaxed);
        }
    }

    fn discount(&self, kind: Kind, bytes: u32) {
        if let Some(tally) = self.of(kind) {
            tally.entries.fetch_sub(1, Ordering::Relaxed);
            tally.bytes.fetch_sub(u64::from(bytes), Ordering::Relaxed);
        }
    }
}

/// All that is kept of files.
pub struct Memory {
    entries: Cache<Key, Entry>,
    tallies: Arc<Tallies>,
    budget: u64,
    /// So that each is read once.
    turns: Turns<Key>,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("budget", &self.budget).finish_non_exhaustive()
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(DEFAULT_BYTES)
    }
}

impl Memory {
    /// With a budget in bytes.
    pub fn new(budget: u64) -> Self {
        let tallies = Arc::new(Tallies::default());
        let gone = tallies.clone();
        let entries = Cache::builder()
            .max_capacity(budget)
            .weigher(|_: &Key, entry: &Entry| entry.bytes)
            .eviction_listener(move |key, entry, _| gone.discount(key.kind, entry.bytes))
            .build();
        Self { entries, tallies, budget, turns: Turns::default() }
    }

    pub fn budget(&self) -> u64 {
        self.budget
    }

    pub fn get<V: Send + Sync + 'static>(&self, key: &Key) -> Option<Arc<V>> {
        let found = self.peek(key);
        if let Some(tally) = self.tallies.of(key.kind) {
            let count = if found.is_some() { &tally.hits } else { &tally.misses };
            count.fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    /// The same without counting it.
    pub fn peek<V: Send + Sync + 'static>(&self, key: &Key) -> Option<Arc<V>> {
        self.entries.get(key)?.value.downcast().ok()
    }

    /// `bytes`: about what the value takes.
    pub fn insert<V: Send + Sync + 'static>(&self, key: Key, value: Arc<V>, bytes: usize) {
        let bytes = bytes.saturating_add(key.path.len() + key.part.len() + OVERHEAD);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.tallies.count(key.kind, bytes);
        self.entries.insert(key, Entry { value, bytes });
    }

    pub fn remove(&self, key: &Key) {
        self.entries.invalidate(key);
    }

    /// The value, or what `read` gives with its size; who asks for a key that is being read waits for it.
    pub async fn get_or_read<V: Send + Sync + 'static>(
        &self,
        key: Key,
        read: impl Future<Output = Result<(Arc<V>, usize)>>,
    ) -> Result<Arc<V>> {
        if let Some(found) = self.get(&key) {
            return Ok(found);
        }
        let _turn = self.turns.take(key.clone()).await;
        if let Some(found) = self.peek(&key) {
            return Ok(found);
        }
        let (value, bytes) = read.await?;
        self.insert(key, value.clone(), bytes);
        Ok(value)
    }

    /// By kind, for whoever looks after the server. It may lag behind by a moment.
    pub fn shares(&self) -> Vec<Share> {
        self.entries.run_pending_tasks();
        let share = |kind: Kind| {
            let tally = self.tallies.of(kind)?;
            Some(Share {
                kind,
                entries: tally.entries.load(Ordering::Relaxed),
                bytes: tally.bytes.load(Ordering::Relaxed),
                hits: tally.hits.load(Ordering::Relaxed),
                misses: tally.misses.load(Ordering::Relaxed),
            })
        };
        Kind::ALL.into_iter().filter_map(share).collect()
    }

    /// Those of a kind that are kept, by their keys.
    pub fn list<V: Send + Sync + 'static>(&self, kind: Kind) -> Vec<(Arc<Key>, Arc<V>)> {
        let of_kind = self.entries.iter().filter(|(key, _)| key.kind == kind);
        of_kind.filter_map(|(key, entry)| Some((key, entry.value.downcast().ok()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn share(memory: &Memory, kind: Kind) -> Share {
        memory.shares().into_iter().find(|share| share.kind == kind).unwrap()
    }

    #[test]
    fn all_kinds_share_one_budget() {
        let memory = Memory::new(10_000);
        for number in 0..100 {
            memory.insert(Key::new(Kind::Files, 1, format!("f{number}")), Arc::new(number), 800);
        }
        let files = share(&memory, Kind::Files);
        assert!(files.bytes <= 10_000 && (5..=10).contains(&files.entries), "{files:?}");
        // Others take their room when they are used more.
        for _ in 0..20 {
            for number in 0..4 {
                let key = Key::new(Kind::Footers, 0, format!("f{number}"));
                if memory.get::<u8>(&key).is_none() {
                    memory.insert(key, Arc::new(1u8), 800);
                }
                memory.shares();
            }
        }
        let (files, footers) = (share(&memory, Kind::Files), share(&memory, Kind::Footers));
        assert_eq!(footers.entries, 4, "{footers:?}");
        assert!(files.bytes + footers.bytes <= 10_000);
        memory.remove(&Key::new(Kind::Footers, 0, "f0"));
        assert_eq!(share(&memory, Kind::Footers).entries, 3);
        let bytes: u64 = memory.shares().iter().map(|share| share.bytes).sum();
        assert_eq!(bytes, memory.entries.weighted_size());
    }

    #[test]
    fn owners_and_kinds_do_not_mix() {
        let memory = Memory::default();
        let (one, other) = (owner(), owner());
        memory.insert(Key::new(Kind::Tables, one, "p"), Arc::new(1), 1);
        assert_eq!(memory.get::<i32>(&Key::new(Kind::Tables, other, "p")), None);
        assert_eq!(memory.get::<i32>(&Key::new(Kind::Views, one, "p")), None);
        assert_eq!(memory.get::<i32>(&Key::new(Kind::Tables, one, "p").with_part("x")), None);
        assert_eq!(memory.get::<i32>(&Key::new(Kind::Tables, one, "p").with_numbers([0, 1])), None);
        assert_eq!(memory.get::<i32>(&Key::new(Kind::Tables, one, "p")).as_deref(), Some(&1));
        // Replaced: counted once.
        memory.insert(Key::new(Kind::Tables, one, "p"), Arc::new(2), 1);
        assert_eq!(share(&memory, Kind::Tables).entries, 1);
    }

    #[tokio::test]
    async fn read_once_and_again_after_an_error() {
        let memory = Memory::default();
        let key = Key::new(Kind::Tables, 0, "p");
        let reads = AtomicU64::new(0);
        let read = || async {
            tokio::task::yield_now().await;
            match reads.fetch_add(1, Ordering::Relaxed) {
                0 => Err(Error::Internal("once".into())),
                n => Ok((Arc::new(n), 1)),
            }
        };
        let asked = (0..8).map(|_| memory.get_or_read(key.clone(), read()));
        let answers = futures::future::join_all(asked).await;
        assert!(answers.first().unwrap().is_err());
        assert!(answers.iter().skip(1).all(|answer| matches!(answer, Ok(n) if **n == 1)), "{answers:?}");
        assert!(memory.turns.is_empty());
    }
}
