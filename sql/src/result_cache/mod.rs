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

mod again;
mod answer;
mod cursor;
mod dependence;
mod fingerprint;
mod own_writes;
mod recall;

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use auric_catalog::turns::Turns;
use moka::sync::Cache;
use parking_lot::Mutex;
use tokio::sync::watch;

pub(crate) use self::again::Asked;
pub use self::again::Question;
pub use self::answer::{Answer, CachedOutput, Collecting, Part, Taking};
pub(crate) use self::cursor::Declared;
pub use self::cursor::{Piece, RowCoder, ShownAs};
pub(crate) use self::dependence::{Dependence, of_expr, of_plan};
pub(crate) use self::fingerprint::{RowsName, name_of, wide};
pub(crate) use self::own_writes::OwnWrites;
pub(crate) use self::recall::{Asks, Remembered, Request, States};

/// Limits of the cache.
#[derive(Debug, Clone, Copy)]
pub struct ResultCacheOptions {
    /// Bytes of all answers together; 0: none is kept.
    pub budget: u64,
    /// Bytes of the longest answer that is kept.
    pub longest: usize,
    /// Hits after which a query is asked again when its tables have changed; 0: none is.
    pub again_after: u64,
}

/// What names an answer: with the same name, it is the same to the byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AnswerName {
    pub(crate) rows: u128,
    /// How the client wants its values; the caller's number.
    pub(crate) encoding: u64,
}

/// Hashes names, which are hashes under secret keys already.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Names;

/// Of one name.
#[derive(Debug, Default)]
pub(crate) struct NameHasher(u64);

impl BuildHasher for Names {
    type Hasher = NameHasher;

    fn build_hasher(&self) -> NameHasher {
        NameHasher::default()
    }
}

impl Hasher for NameHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        // Small numbers, which tell encodings apart, are to change many bits (the golden ratio's).
        self.0 ^= number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(5);
    }

    fn write_u128(&mut self, name: u128) {
        // One of its two hashes.
        self.0 ^= u64::try_from(name >> 64).unwrap_or_default();
    }
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
    /// Queries that were asked again after a commit, before anybody did.
    pub again: Count,
}

/// Outcome of a query that others wait for.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    Answered(Arc<Answer>),
    /// Not to be kept: who waits runs it himself.
    NotKept,
}

pub(crate) type Flight = watch::Receiver<Option<Outcome>>;

/// A run that others wait for failed, or nobody waited for it any more.
#[derive(Debug)]
struct Crashed;

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
    answers: Cache<AnswerName, Arc<Answer>, Names>,
    pub(crate) statements: Cache<u128, Arc<Remembered>, Names>,
    /// What is asked often, by the name of the statement and the encoding of the answer.
    questions: Cache<(u128, u64), Arc<Question>>,
    flights: Mutex<HashMap<AnswerName, Flight>>,
    /// To find out what a statement comes to: one session does, others that ask for the same then know it.
    pub(crate) turns: Turns<u128>,
    /// Queries that wait for another's answer.
    waiting: AtomicUsize,
    pub(crate) keys: [RandomState; 2],
    pub statistics: Statistics,
}

/// The part of the budget that what is remembered of statements may take beside it.
const STATEMENTS: u64 = 8;
/// The same of what is asked often.
const QUESTIONS: u64 = 64;
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
            answers: Cache::builder().max_capacity(options.budget).weigher(weight).build_with_hasher(Names),
            statements: Cache::builder()
                .max_capacity(options.budget / STATEMENTS)
                .weigher(|_, remembered: &Arc<Remembered>| remembered.weight())
                .build_with_hasher(Names),
            questions: Cache::builder()
                .max_capacity(options.budget / QUESTIONS)
                .weigher(|_, question: &Arc<Question>| question.weight())
                .build(),
            flights: Mutex::default(),
            turns: Turns::default(),
            waiting: AtomicUsize::new(0),
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

    /// How many queries wait for another's answer.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
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
            match self.landed(&mut flight).await {
                Ok(Some(answer)) => return Turn::Answered(answer),
                Ok(None) => return Turn::Alone,
                Err(Crashed) => {}
            }
        }
    }

    /// The run of a query, if one is on its way.
    fn flight(&self, name: &AnswerName) -> Option<Flight> {
        self.flights.lock().get(name).cloned()
    }

    /// Waits for the answer of another session's run. `None`: it is not kept.
    async fn landed(&self, flight: &mut Flight) -> Result<Option<Arc<Answer>>, Crashed> {
        let _waiting = Waiting::among(&self.waiting);
        match flight.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(Outcome::Answered(answer))) => {
                self.statistics.shared.inc();
                Ok(Some(answer.clone()))
            }
            Ok(Some(Outcome::NotKept)) => Ok(None),
            Ok(None) | Err(_) => Err(Crashed),
        }
    }

    fn keep(&self, name: AnswerName, answer: &Arc<Answer>) {
        self.answers.insert(name, answer.clone());
    }

    fn land(&self, name: &AnswerName) {
        self.flights.lock().remove(name);
    }
}

/// One that waits, for as long as it does.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn among(all: &'a AtomicUsize) -> Self {
        all.fetch_add(1, Ordering::Relaxed);
        Self(all)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
