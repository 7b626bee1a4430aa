//! One at a time: of many that want the same, one does it while the others wait, and then look.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

type Lock = Arc<tokio::sync::Mutex<()>>;

/// Whose turn it is, by key.
#[derive(Debug)]
pub struct Turns<K: Eq + Hash> {
    waiting: Mutex<HashMap<K, Lock>>,
}

/// A turn, over when it is dropped.
#[derive(Debug)]
pub struct Turn<'a, K: Eq + Hash> {
    _place: Place<'a, K>,
    _guard: OwnedMutexGuard<()>,
}

/// A place among those that wait for a key.
#[derive(Debug)]
struct Place<'a, K: Eq + Hash> {
    turns: &'a Turns<K>,
    lock: Lock,
    key: K,
}

impl<K: Eq + Hash> Default for Turns<K> {
    fn default() -> Self {
        Self { waiting: Mutex::default() }
    }
}

impl<K: Clone + Eq + Hash> Turns<K> {
    /// Waits for the turn. Whoever gets it after others should look whether they did what it is for.
    pub async fn take(&self, key: K) -> Turn<'_, K> {
        let lock = self.waiting.lock().entry(key.clone()).or_default().clone();
        let place = Place { turns: self, lock, key };
        let guard = place.lock.clone().lock_owned().await;
        Turn { _place: place, _guard: guard }
    }

    /// Nobody has a turn or waits for one.
    pub fn is_empty(&self) -> bool {
        self.waiting.lock().is_empty()
    }
}

impl<K: Eq + Hash> Drop for Place<'_, K> {
    fn drop(&mut self) {
        let mut waiting = self.turns.waiting.lock();
        // The map has one, this, and the guard of its turn.
        if Arc::strong_count(&self.lock) <= 3 {
            waiting.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn one_at_a_time_and_nothing_stays() {
        let (turns, inside) = (Turns::default(), AtomicUsize::new(0));
        let one = || async {
            let _turn = turns.take("k").await;
            assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
            tokio::task::yield_now().await;
            inside.fetch_sub(1, Ordering::Relaxed);
        };
        // One that gives up waiting.
        let held = turns.take("k").await;
        assert!(tokio::time::timeout(std::time::Duration::from_millis(5), turns.take("k")).await.is_err());
        let other = turns.take("other").await;
        drop((held, other));
        futures::future::join_all((0..20).map(|_| one())).await;
        assert!(turns.is_empty());
    }
}
