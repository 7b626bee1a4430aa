//! Answers that were given before, for as long as they are the answer.
//!
//! What names an answer ([`fingerprint`]) is the optimized plan with its parameters, the settings and the
//! role that can show in it, and **the version of every table that it reads**: a commit, whoever makes it,
//! changes the name. So nothing is ever invalidated, and a query that read an old version can only store
//! its answer under that version's name.
//!
//! A second store remembers what a statement's *text* came to ([`recall`]): names and versions of its
//! tables, and its answer's name. If the tables are found at these versions again, the statement needs no
//! plan.
//!
//! The bytes of an answer are those that went to the client; this crate does not look into them.

mod answer;
mod dependence;
mod fingerprint;
mod recall;

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use moka::sync::Cache;
use parking_lot::Mutex;
use tokio::sync::watch;

pub use self::answer::{Answer, CachedOutput, Collecting};
pub(crate) use self::dependence::{Dependence, of_expr, of_plan};
pub(crate) use self::fingerprint::{name_of, wide};
pub(crate) use self::recall::{Remembered, Request};

/// Limits of the cache.
#[derive(Debug, Clone, Copy)]
pub struct ResultCacheOptions {
    /// Bytes of all answers together; 0: none is kept.
    pub budget: u64,
    /// Bytes of the longest answer that is kept.
    pub longest: usize,
}

/// What names an answer: with the same name, it is the same to the byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AnswerName {
    pub(crate) rows: u128,
    /// How the client wants its values; the caller's number.
    pub(crate) encoding: u64,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub(crate) fn inc(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What became of the queries that asked.
#[derive(Debug, Default)]
pub struct Statistics {
    /// Answered without running.
    pub hits: Count,
    /// Of these, such as waited for another session's equal query.
    pub shared: Count,
    /// Run, and the answer kept if it was short enough.
    pub misses: Count,
    /// Not asked for: what they read has no version, or they are not the same twice.
    pub bypassed: Count,
    /// Answers that were too long to be kept.
    pub too_long: Count,
}

/// Outcome of a query that others wait for.
#[derive(Debug, Clone)]
enum Outcome {
    Answered(Arc<Answer>),
    /// Too long to be kept: who waits runs it himself.
    TooLong,
}

type Flight = watch::Receiver<Option<Outcome>>;

/// What a query is to do.
pub(crate) enum Turn {
    Answered(Arc<Answer>),
    /// Run, and hand over what comes.
    Lead(Collecting),
    /// Run for itself.
    Alone,
}

/// The answers and the statements of all sessions.
pub struct ResultCache {
    options: ResultCacheOptions,
    answers: Cache<AnswerName, Arc<Answer>>,
    pub(crate) statements: Cache<u128, Arc<Remembered>>,
    flights: Mutex<HashMap<AnswerName, Flight>>,
    pub(crate) keys: [RandomState; 2],
    pub statistics: Statistics,
}

/// The part of the budget that what is remembered of statements may take beside it.
const STATEMENTS: u64 = 8;
/// What an answer takes beside its bytes.
const OVERHEAD: usize = 256;

impl fmt::Debug for ResultCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResultCache").field("options", &self.options).finish_non_exhaustive()
    }
}

impl ResultCache {
    pub fn new(options: ResultCacheOptions) -> Arc<Self> {
        let weight = |_: &AnswerName, answer: &Arc<Answer>| {
            u32::try_from(answer.bytes().saturating_add(OVERHEAD)).unwrap_or(u32::MAX)
        };
        Arc::new(Self {
            options,
            answers: Cache::builder().max_capacity(options.budget).weigher(weight).build(),
            statements: Cache::builder()
                .max_capacity(options.budget / STATEMENTS)
                .weigher(|_, remembered: &Arc<Remembered>| remembered.weight())
                .build(),
            flights: Mutex::default(),
            keys: [RandomState::new(), RandomState::new()],
            statistics: Statistics::default(),
        })
    }

    pub fn is_enabled(&self) -> bool {
        self.options.budget > 0
    }

    pub fn options(&self) -> ResultCacheOptions {
        self.options
    }

    /// Answers that are kept, and their bytes. They may lag behind by a moment.
    pub fn size(&self) -> (u64, u64) {
        self.answers.run_pending_tasks();
        (self.answers.entry_count(), self.answers.weighted_size())
    }

    /// The answer of that name, if it is kept.
    pub(crate) fn get(&self, name: &AnswerName) -> Option<Arc<Answer>> {
        self.answers.get(name)
    }

    /// Whose turn it is to run the query: one session runs it, the others wait for its answer. If that
    /// session gives up, one of those that wait runs it.
    pub(crate) async fn turn(self: &Arc<Self>, name: AnswerName) -> Turn {
        loop {
            if let Some(answer) = self.get(&name) {
                return Turn::Answered(answer);
            }
            let mut flight = {
                let mut flights = self.flights.lock();
                match flights.get(&name) {
                    Some(flight) => flight.clone(),
                    None => {
                        let (sender, receiver) = watch::channel(None);
                        flights.insert(name, receiver);
                        drop(flights);
                        let collecting = Collecting::new(self.clone(), name, sender);
                        // The one before may have just come home.
                        return match self.get(&name) {
                            Some(answer) => {
                                collecting.answered(answer.clone());
                                Turn::Answered(answer)
                            }
                            None => Turn::Lead(collecting),
                        };
                    }
                }
            };
            match flight.wait_for(Option::is_some).await.map(|outcome| outcome.clone()) {
                Ok(Some(Outcome::Answered(answer))) => {
                    self.statistics.shared.inc();
                    return Turn::Answered(answer);
                }
                Ok(Some(Outcome::TooLong)) => return Turn::Alone,
                // It failed, or nobody waited for it any more.
                Ok(None) | Err(_) => {}
            }
        }
    }

    fn keep(&self, name: AnswerName, answer: &Arc<Answer>) {
        self.answers.insert(name, answer.clone());
    }

    fn land(&self, name: &AnswerName) {
        self.flights.lock().remove(name);
    }
}
