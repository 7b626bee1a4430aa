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
    /// How many read below each root.
    roots: Mutex<BTreeMap<String, usize>>,
    ended: Notify,
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
        *self.roots.lock().entry(root.to_string()).or_default() += 1;
        Arc::new(Reading { readers: self.clone(), root: root.to_string() })
    }

    /// Whether anybody reads a table at `root`, or below it.
    pub fn is_read(&self, root: &str) -> bool {
        let root = root.trim_end_matches('/');
        let is_below = |other: &str| other.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'));
        let roots = self.roots.lock();
        roots.range(root.to_string()..).take_while(|(other, _)| other.starts_with(root)).any(|(other, _)| {
            let other = other.trim_end_matches('/');
            other == root || is_below(other)
        })
    }

    /// Waits until nobody reads below `root`, or patience ends.
    pub async fn wait(&self, root: &str) {
        let unread = async {
            loop {
                let ended = self.ended.notified();
                if !self.is_read(root) {
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
        let mut roots = self.readers.roots.lock();
        if let Some(count) = roots.get_mut(&self.root) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                roots.remove(&self.root);
            }
        }
        drop(roots);
        self.readers.ended.notify_waiters();
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
}
