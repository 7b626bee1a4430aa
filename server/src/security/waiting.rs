//! The connections that have not proved who they are: bounded, and where there are too many the oldest
//! has to go, not the newest. Sockets that are opened and say nothing keep nobody out that way.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
pub struct Waiting {
    max: usize,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    /// In the order in which they were given out.
    taken: BTreeMap<u64, CancellationToken>,
    next: u64,
}

/// A place of one connection, until it is dropped.
#[derive(Debug)]
pub struct Place {
    waiting: Arc<Waiting>,
    number: u64,
    lost: CancellationToken,
}

impl Waiting {
    /// `max`: connections at once.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max: max.max(1), places: Mutex::default() })
    }

    /// Gives a place to a new connection, at the cost of the oldest one if there are too many.
    pub fn enter(self: &Arc<Self>) -> Place {
        let lost = CancellationToken::new();
        let mut places = self.places.lock();
        if places.taken.len() >= self.max
            && let Some((_, oldest)) = places.taken.pop_first()
        {
            oldest.cancel();
        }
        let number = places.next;
        places.next += 1;
        places.taken.insert(number, lost.clone());
        Place { waiting: self.clone(), number, lost }
    }
}

impl Place {
    /// Resolves when another connection has got it.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.places.lock().taken.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_gives_way() {
        let waiting = Waiting::new(2);
        let (first, second) = (waiting.enter(), waiting.enter());
        assert!(!first.lost.is_cancelled());
        let third = waiting.enter();
        assert!(first.lost.is_cancelled() && !second.lost.is_cancelled());
        drop(second);
        let fourth = waiting.enter();
        assert!(!third.lost.is_cancelled() && !fourth.lost.is_cancelled());
        drop(first);
        let _fifth = waiting.enter();
        assert!(third.lost.is_cancelled() && !fourth.lost.is_cancelled());
        assert_eq!(waiting.places.lock().taken.len(), 2);
    }
}
