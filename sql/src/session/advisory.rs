//! Advisory locks (manual 13.3.5): numbers that sessions hold by agreement. One table for the whole server,
//! which other servers of the same catalog know nothing of.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::error::{Error, Result, SqlState};

/// What is locked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    pub database: String,
    pub number: Number,
}

/// One `bigint` and two `integer` are different numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Number {
    One(i64),
    Two(i32, i32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Exclusive,
    Shared,
}

/// Until when a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// It is unlocked, as often as it was locked, or the session ends.
    Unlocked,
    TransactionEnd,
}

#[derive(Debug)]
struct Held {
    session: u64,
    mode: Mode,
    until: Until,
    times: u32,
}

/// The locks of all sessions.
#[derive(Debug, Default)]
pub struct AdvisoryLocks {
    state: Mutex<State>,
    released: Notify,
    last_session: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    held: HashMap<Key, Vec<Held>>,
    waiting: HashMap<u64, (Key, Mode)>,
}

impl State {
    /// Sessions whose locks keep this one from the key.
    fn in_the_way<'a>(&'a self, session: u64, key: &Key, mode: Mode) -> impl Iterator<Item = u64> + 'a {
        let held = self.held.get(key).map_or(&[][..], Vec::as_slice);
        held.iter()
            .filter(move |held| {
                held.session != session && (mode == Mode::Exclusive || held.mode == Mode::Exclusive)
            })
            .map(|held| held.session)
    }

    fn take(&mut self, session: u64, key: &Key, mode: Mode, until: Until) -> bool {
        if self.in_the_way(session, key, mode).next().is_some() {
            return false;
        }
        let all = self.held.entry(key.clone()).or_default();
        match all.iter_mut().find(|h| h.session == session && h.mode == mode && h.until == until) {
            Some(held) => held.times += 1,
            None => all.push(Held { session, mode, until, times: 1 }),
        }
        true
    }

    /// Whether those that a session waits for wait for that session.
    fn is_deadlock(&self, session: u64) -> bool {
        let mut seen = HashSet::new();
        let mut open = vec![session];
        while let Some(waits) = open.pop() {
            let Some((key, mode)) = self.waiting.get(&waits) else { continue };
            for other in self.in_the_way(waits, key, *mode) {
                if other == session {
                    return true;
                }
                if seen.insert(other) {
                    open.push(other);
                }
            }
        }
        false
    }

    fn release(&mut self, goes: impl Fn(&Held) -> bool) {
        self.held.retain(|_, all| {
            all.retain(|held| !goes(held));
            !all.is_empty()
        });
    }
}

/// What one session has to do with the locks. Dropping the session's own releases them.
#[derive(Debug)]
pub struct SessionLocks {
    table: Arc<AdvisoryLocks>,
    session: u64,
}

impl SessionLocks {
    pub fn new(table: Arc<AdvisoryLocks>) -> Self {
        let session = table.last_session.fetch_add(1, Ordering::Relaxed);
        Self { table, session }
    }

    /// `false`: another session has it.
    pub fn try_lock(&self, key: &Key, mode: Mode, until: Until) -> bool {
        self.table.state.lock().take(self.session, key, mode, until)
    }

    /// Waits for the lock. Fails with 40P01 where sessions would wait for each other, and with 55P03 after
    /// `timeout`. Whoever drops the future waits no more.
    pub async fn lock(&self, key: Key, mode: Mode, until: Until, timeout: Option<Duration>) -> Result<()> {
        let waiting = self.wait(key, mode, until);
        let Some(timeout) = timeout else { return waiting.await };
        tokio::time::timeout(timeout, waiting)
            .await
            .unwrap_or_else(|_| Err(Error::new(SqlState("55P03"), "canceling statement due to lock timeout")))
    }

    async fn wait(&self, key: Key, mode: Mode, until: Until) -> Result<()> {
        let mut turn = std::pin::pin!(self.table.released.notified());
        let mut waits = None;
        loop {
            // Before the look at the table, so that no release is missed.
            turn.as_mut().enable();
            {
                let mut state = self.table.state.lock();
                if state.take(self.session, &key, mode, until) {
                    return Ok(());
                }
                if waits.is_none() {
                    state.waiting.insert(self.session, (key.clone(), mode));
                    waits = Some(Waits(self));
                }
                if state.is_deadlock(self.session) {
                    drop(state);
                    return Err(Error::new(SqlState("40P01"), "deadlock detected")
                        .with_detail("Sessions wait for advisory locks of each other."));
                }
            }
            turn.as_mut().await;
            turn.set(self.table.released.notified());
        }
    }

    /// `false`: the session does not have it.
    pub fn unlock(&self, key: &Key, mode: Mode) -> bool {
        let mut state = self.table.state.lock();
        let Some(all) = state.held.get_mut(key) else { return false };
        let own = |h: &Held| h.session == self.session && h.mode == mode && h.until == Until::Unlocked;
        let Some(place) = all.iter().position(own) else { return false };
        if let Some(held) = all.get_mut(place) {
            held.times -= 1;
            if held.times > 0 {
                return true;
            }
        }
        all.swap_remove(place);
        if all.is_empty() {
            state.held.remove(key);
        }
        drop(state);
        self.table.released.notify_waiters();
        true
    }

    /// `pg_advisory_unlock_all`.
    pub fn unlock_all(&self) {
        self.release(|held| held.until == Until::Unlocked);
    }

    /// The transaction has ended.
    pub fn end_transaction(&self) {
        self.release(|held| held.until == Until::TransactionEnd);
    }

    /// The session has ended.
    pub fn end_session(&self) {
        self.release(|_| true);
    }

    fn release(&self, which: impl Fn(&Held) -> bool) {
        let mut state = self.table.state.lock();
        if state.held.is_empty() {
            return;
        }
        state.release(|held| held.session == self.session && which(held));
        drop(state);
        self.table.released.notify_waiters();
    }
}

/// An entry among those who wait.
struct Waits<'a>(&'a SessionLocks);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.table.state.lock().waiting.remove(&self.0.session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: i64) -> Key {
        Key { database: "lake".into(), number: Number::One(number) }
    }

    fn two() -> (Arc<SessionLocks>, Arc<SessionLocks>) {
        let table = Arc::new(AdvisoryLocks::default());
        (Arc::new(SessionLocks::new(table.clone())), Arc::new(SessionLocks::new(table)))
    }

    #[test]
    fn as_often_unlocked_as_locked() {
        let (one, other) = two();
        assert!(one.try_lock(&key(1), Mode::Exclusive, Until::Unlocked));
        assert!(one.try_lock(&key(1), Mode::Exclusive, Until::Unlocked));
        assert!(!other.try_lock(&key(1), Mode::Shared, Until::Unlocked));
        assert!(one.unlock(&key(1), Mode::Exclusive));
        assert!(!other.try_lock(&key(1), Mode::Shared, Until::Unlocked));
        assert!(!one.unlock(&key(1), Mode::Shared));
        assert!(one.unlock(&key(1), Mode::Exclusive));
        assert!(other.try_lock(&key(1), Mode::Shared, Until::TransactionEnd));
        assert!(one.try_lock(&key(1), Mode::Shared, Until::Unlocked));
        other.end_transaction();
        assert!(one.try_lock(&key(1), Mode::Exclusive, Until::Unlocked));
    }

    #[tokio::test]
    async fn who_waits_gets_it() {
        let (one, other) = two();
        assert!(one.try_lock(&key(1), Mode::Exclusive, Until::Unlocked));
        let waiting = tokio::spawn({
            let other = other.clone();
            async move { other.lock(key(1), Mode::Exclusive, Until::Unlocked, None).await }
        });
        while one.table.state.lock().waiting.is_empty() {
            tokio::task::yield_now().await;
        }
        one.end_session();
        waiting.await.unwrap().unwrap();
        assert!(one.table.state.lock().waiting.is_empty());
        let late = one.lock(key(1), Mode::Shared, Until::Unlocked, Some(Duration::from_millis(1))).await;
        assert_eq!(late.unwrap_err().code, SqlState("55P03"));
    }

    #[tokio::test]
    async fn nobody_waits_for_himself() {
        let (one, other) = two();
        assert!(one.try_lock(&key(1), Mode::Exclusive, Until::Unlocked));
        assert!(other.try_lock(&key(2), Mode::Exclusive, Until::Unlocked));
        let waiting = tokio::spawn({
            let other = other.clone();
            async move { other.lock(key(1), Mode::Exclusive, Until::Unlocked, None).await }
        });
        while one.table.state.lock().waiting.is_empty() {
            tokio::task::yield_now().await;
        }
        let refused = one.lock(key(2), Mode::Exclusive, Until::Unlocked, None).await;
        assert_eq!(refused.unwrap_err().code, SqlState("40P01"));
        one.unlock_all();
        waiting.await.unwrap().unwrap();
    }
}
