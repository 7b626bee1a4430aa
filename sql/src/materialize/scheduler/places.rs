//! What may be refreshed at once on this server, by schedule and by hand: how many, and which views.
//!
//! The budget leaves room for queries. Whoever finds no place waits, or does one thing after another; so a
//! statement always goes on. Of one view there is one run at a time: what is claimed by hand the scheduler
//! leaves alone, and what the scheduler works on a claim waits for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::node::NodeKey;

#[derive(Debug)]
pub struct Places {
    free: Arc<Semaphore>,
    taken: Mutex<Taken>,
    /// Told whenever something is let go.
    moved: Notify,
    /// Told whenever something is claimed, or is no more.
    claims: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    scheduled: BTreeSet<NodeKey>,
    by_hand: BTreeSet<NodeKey>,
    /// Who waits for a claim, in the order in which they came, and what for.
    waiting: BTreeMap<u64, BTreeSet<NodeKey>>,
    /// How many have come so far.
    came: u64,
}

/// Somebody's place among those who wait for a claim, until this is dropped.
struct Turn<'a> {
    places: &'a Places,
    number: u64,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.places.taken.lock().waiting.remove(&self.number).is_some() {
            self.places.moved.notify_waiters();
        }
    }
}

/// One of the places; it is free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Places {
    /// `count`: runs at once.
    pub fn new(count: usize) -> Self {
        let free = Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS)));
        Self { free, taken: Mutex::default(), moved: Notify::new(), claims: Notify::new() }
    }

    /// A free place. `None`: there is none.
    pub fn take(&self) -> Option<Place> {
        self.free.clone().try_acquire_owned().ok().map(|permit| Place { _permit: permit })
    }

    /// Waits for a free place.
    pub async fn free(&self) -> Option<Place> {
        self.free.clone().acquire_owned().await.ok().map(|permit| Place { _permit: permit })
    }

    /// Waits until there are other claims than there were at the last call.
    pub async fn claims_changed(&self) {
        self.claims.notified().await;
    }

    /// What is claimed.
    pub fn by_hand(&self) -> BTreeSet<NodeKey> {
        self.taken.lock().by_hand.clone()
    }

    /// The scheduler begins a run. `false`: it must not, as that is claimed.
    pub fn begin(&self, key: &NodeKey) -> bool {
        let mut taken = self.taken.lock();
        let free = !taken.by_hand.contains(key);
        if free {
            taken.scheduled.insert(key.clone());
        }
        free
    }

    /// All that the scheduler works on now.
    pub fn set_scheduled(&self, keys: BTreeSet<NodeKey>) {
        let mut taken = self.taken.lock();
        let let_go = !taken.scheduled.is_subset(&keys);
        taken.scheduled = keys;
        drop(taken);
        if let_go {
            self.moved.notify_waiters();
        }
    }

    /// Has nobody else refresh these until the claim is dropped. Waits for whoever does now.
    pub async fn claim(self: &Arc<Self>, keys: BTreeSet<NodeKey>) -> Claim {
        let turn = Turn { places: self, number: self.taken.lock().wait(&keys) };
        // All or none: of two that wait, neither has what the other one wants.
        let waited = self.until(|taken| taken.claim(turn.number)).await;
        let mut claim = Claim { places: self.clone(), keys, waited };
        // The scheduler lets go of what it has not begun.
        self.claims.notify_one();
        claim.waited |= self.until(|taken| taken.scheduled.is_disjoint(&claim.keys)).await;
        claim
    }

    /// Waits until something is done. Whether that took time.
    async fn until(&self, mut done: impl FnMut(&mut Taken) -> bool) -> bool {
        let mut waited = false;
        loop {
            let mut moved = std::pin::pin!(self.moved.notified());
            // Before the look, so that nothing is missed.
            moved.as_mut().enable();
            if done(&mut self.taken.lock()) {
                return waited;
            }
            waited = true;
            moved.await;
        }
    }
}

impl Taken {
    fn wait(&mut self, keys: &BTreeSet<NodeKey>) -> u64 {
        self.came += 1;
        self.waiting.insert(self.came, keys.clone());
        self.came
    }

    /// What somebody waits for, unless it is taken, or wanted by somebody who has waited for longer.
    fn claim(&mut self, number: u64) -> bool {
        let Some(keys) = self.waiting.get(&number) else { return true };
        let mut before = self.waiting.range(..number).map(|(_, keys)| keys);
        let free = self.by_hand.is_disjoint(keys) && before.all(|wanted| wanted.is_disjoint(keys));
        if free && let Some(keys) = self.waiting.remove(&number) {
            self.by_hand.extend(keys);
        }
        free
    }
}

/// Views that nobody else on this server refreshes, but by a statement of its own.
#[derive(Debug)]
pub struct Claim {
    places: Arc<Places>,
    keys: BTreeSet<NodeKey>,
    waited: bool,
}

impl Claim {
    /// Somebody else has worked on them meanwhile.
    pub fn has_waited(&self) -> bool {
        self.waited
    }

    pub fn covers(&self, keys: &BTreeSet<NodeKey>) -> bool {
        keys.is_subset(&self.keys)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.places.taken.lock().by_hand.retain(|key| !self.keys.contains(key));
        self.places.moved.notify_waiters();
        self.places.claims.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use auric_catalog::TableIdent;
    use futures::poll;

    use super::super::node::NodeKind;
    use super::*;

    fn key(name: &str) -> NodeKey {
        NodeKey { catalog: "lake".into(), kind: NodeKind::View, ident: TableIdent::new("s", name) }
    }

    fn keys(names: &[&str]) -> BTreeSet<NodeKey> {
        names.iter().map(|name| key(name)).collect()
    }

    #[tokio::test]
    async fn places_are_given_back() {
        let places = Places::new(1);
        let place = places.take().unwrap();
        assert!(places.take().is_none());
        let mut next = std::pin::pin!(places.free());
        assert!(poll!(next.as_mut()).is_pending());
        drop(place);
        assert!(next.await.is_some());
        // There is always one.
        assert!(Places::new(0).take().is_some());
    }

    #[tokio::test]
    async fn a_claim_waits_for_the_scheduler_and_keeps_it_away() {
        let places = Arc::new(Places::new(2));
        assert!(places.begin(&key("a")));
        let mut claim = Box::pin(places.claim(keys(&["a", "b"])));
        assert!(poll!(claim.as_mut()).is_pending());
        // It was asked for: nothing of it is begun any more.
        assert!(!places.begin(&key("b")));
        assert!(places.begin(&key("c")));
        places.set_scheduled(keys(&["a", "c"]));
        assert!(poll!(claim.as_mut()).is_pending());
        places.set_scheduled(keys(&["c"]));
        let claim = claim.await;
        assert!(claim.has_waited() && claim.covers(&keys(&["a"])) && !claim.covers(&keys(&["c"])));
        assert!(!places.begin(&key("a")));
        drop(claim);
        assert!(places.begin(&key("a")) && places.by_hand().is_empty());
    }

    #[tokio::test]
    async fn one_claim_after_another() {
        let places = Arc::new(Places::new(1));
        let first = places.claim(keys(&["a", "b"])).await;
        assert!(!first.has_waited());
        let mut second = Box::pin(places.claim(keys(&["b", "c"])));
        assert!(poll!(second.as_mut()).is_pending());
        // It has nothing while it waits, but nobody comes before it.
        let mut third = Box::pin(places.claim(keys(&["c"])));
        assert!(poll!(third.as_mut()).is_pending());
        assert_eq!(places.by_hand(), keys(&["a", "b"]));
        let other = places.claim(keys(&["d"])).await;
        assert!(!other.has_waited());
        drop((first, other));
        let second = second.await;
        assert!(second.has_waited());
        assert!(poll!(third.as_mut()).is_pending());
        drop(second);
        assert!(third.await.has_waited());
        assert!(places.by_hand().is_empty());
        // Nor does anybody wait for one who does no more.
        let first = places.claim(keys(&["a"])).await;
        let mut second = Box::pin(places.claim(keys(&["a", "b"])));
        let mut third = Box::pin(places.claim(keys(&["b"])));
        assert!(poll!(second.as_mut()).is_pending() && poll!(third.as_mut()).is_pending());
        drop(second);
        drop((first, third.await));
        // Who waits no more has asked for nothing.
        places.begin(&key("d"));
        let mut given_up = Box::pin(places.claim(keys(&["d"])));
        assert!(poll!(given_up.as_mut()).is_pending());
        drop(given_up);
        assert!(places.by_hand().is_empty());
    }
}
