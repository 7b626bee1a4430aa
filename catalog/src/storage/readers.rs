//! Who reads files below a location, so that those of a dropped table are not removed while a query of
//! this process still needs them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// How long the files of a dropped table wait for queries that began before.
const PATIENCE: Duration = Duration::from_secs(600);

/// All that is read through one storage.
#[derive(Debug, Default)]
pub struct Readers {
    now: Mutex<Now>,
    ended: Notify,
}

#[derive(Debug, Default)]
struct Now {
    /// How many read below each root.
    roots: BTreeMap<String, usize>,
    /// Rises with each removal of files.
    generation: u64,
    /// How many of each generation are looking.
    looking: BTreeMap<u64, usize>,
}

/// Somebody looks tables up and does not read them yet, until this is dropped.
#[derive(Debug)]
pub struct Looking {
    readers: Arc<Readers>,
    generation: u64,
}

/// Somebody reads, until this is dropped.
#[derive(Debug)]
pub struct Reading {
    readers: Arc<Readers>,
    root: String,
}

impl Readers {
    /// Begins to read the table at `root`.
    pub fn begin(self: &Arc<Self>, root: &str) -> Arc<Reading> {
        *self.now.lock().roots.entry(root.to_string()).or_default() += 1;
        Arc::new(Reading { readers: self.clone(), root: root.to_string() })
    }

    /// Begins to look tables up: what was found may be read only later.
    pub fn look(self: &Arc<Self>) -> Looking {
        let mut now = self.now.lock();
        let generation = now.generation;
        *now.looking.entry(generation).or_default() += 1;
        Looking { readers: self.clone(), generation }
    }

    /// Whether anybody reads a table at `root`, or below it, or may be about to.
    pub fn is_needed(&self, root: &str) -> bool {
        !self.now.lock().looking.is_empty() || self.is_read(root)
    }

    fn is_read(&self, root: &str) -> bool {
        let root = root.trim_end_matches('/');
        let is_below = |other: &str| other.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'));
        let now = self.now.lock();
        now.roots.range(root.to_string()..).take_while(|(other, _)| other.starts_with(root)).any(
            |(other, _)| {
                let other = other.trim_end_matches('/');
                other == root || is_below(other)
            },
        )
    }

    /// Waits until nobody reads below `root`, nor can do so because he found the table before this was
    /// called, or patience ends.
    pub async fn wait(&self, root: &str) {
        let generation = {
            let mut now = self.now.lock();
            now.generation += 1;
            now.generation
        };
        let is_looked_at = || self.now.lock().looking.range(..generation).next().is_some();
        let unread = async {
            loop {
                let ended = self.ended.notified();
                if !is_looked_at() && !self.is_read(root) {
                    return;
                }
                ended.await;
            }
        };
        if tokio::time::timeout(PATIENCE, unread).await.is_err() {
            tracing::warn!(root, "files of a dropped table are removed although they are being read");
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        less(&mut self.readers.now.lock().roots, &self.root);
        self.readers.ended.notify_waiters();
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        less(&mut self.readers.now.lock().looking, &self.generation);
        self.readers.ended.notify_waiters();
    }
}

/// Counts one down, and forgets what nobody holds.
fn less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_reader_ends_the_wait() {
        let readers = Arc::new(Readers::default());
        let (one, two) = (readers.begin("file:///w/s/t"), readers.begin("file:///w/s/t"));
        let near = readers.begin("file:///w/s/t2");
        assert!(readers.is_read("file:///w/s/t/") && readers.is_read("file:///w/s"));
        assert!(!readers.is_read("file:///w/s/t/x") && !readers.is_read("file:///w/other"));
        let waiting = {
            let readers = readers.clone();
            tokio::spawn(async move { readers.wait("file:///w/s/t").await })
        };
        drop(one);
        tokio::task::yield_now().await;
        assert!(readers.is_read("file:///w/s/t"));
        drop(two);
        waiting.await.unwrap();
        assert!(!readers.is_read("file:///w/s/t") && readers.is_read("file:///w/s/t2"));
        drop(near);
    }

    #[tokio::test]
    async fn who_looks_may_still_read() {
        let readers = Arc::new(Readers::default());
        let looking = readers.look();
        assert!(readers.is_needed("file:///t"));
        let waiting = {
            let readers = readers.clone();
            tokio::spawn(async move { readers.wait("file:///t").await })
        };
        tokio::task::yield_now().await;
        // Who begins to look now finds the table no more.
        let _later = readers.look();
        let reading = readers.begin("file:///t");
        drop(looking);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(reading);
        waiting.await.unwrap();
    }
}
