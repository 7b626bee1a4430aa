//! What is asked most is asked again after a commit, before users do.
//!
//! A hit notes down the question: the text, its parameters, and whatever of the session decides the answer.
//! Whoever runs the server asks the session layer which of them are due ([`ResultCache::due`]) and asks
//! them as such a session would ([`Session::ask_again`]). When, and how much of it, is his to decide.

use futures::future::BoxFuture;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use auric_catalog::registry::Registry;
use datafusion::scalar::ScalarValue;
use parking_lot::Mutex;
use postgres_types::Type;

use super::{Request, ResultCache};
use crate::error::Result;
use crate::parser;
use crate::session::{ConnectParameters, Session};
use crate::statement::{Output, RowOutput};

/// A question that was asked again so many times with nobody taking the answer is forgotten.
const UNUSED: u32 = 3;
/// Milliseconds between two looks at what no catalog tells of at once.
const INTERVAL: i64 = 5_000;

/// A query with all that it takes to ask it again.
#[derive(Debug)]
pub struct Question {
    pub user: String,
    pub database: String,
    pub text: String,
    types: Vec<Type>,
    values: Vec<ScalarValue>,
    /// Those that differ from their defaults.
    settings: Vec<(String, String)>,
    /// How the answer is encoded, the caller's number.
    pub encoding: u64,
    /// Name of the statement, which it must have again.
    statement: u128,
    hits: AtomicU64,
    unused: AtomicU32,
    looked: Mutex<Look>,
}

/// When it was last found out whether the answer is kept: milliseconds, and the catalogs as they were.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Look {
    at: i64,
    catalogs: Option<u64>,
}

/// What a session asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub request: Request,
    pub text: &'a str,
    pub types: &'a [Type],
    pub values: &'a [ScalarValue],
}

impl Question {
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    pub(super) fn weight(&self) -> u32 {
        let settings: usize = self.settings.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
        let values: usize = self.values.iter().map(ScalarValue::size).sum();
        let bytes = size_of::<Self>() + self.text.len() + self.user.len() + settings + values + 128;
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    /// For a session that asks it.
    pub fn connect_as(&self, pid: i32) -> ConnectParameters {
        let (user, database) = (self.user.clone(), self.database.clone());
        ConnectParameters { user, database, pid, settings: self.settings.clone() }
    }

    fn note(&self, hits: u64) {
        self.hits.fetch_add(hits, Ordering::Relaxed);
        self.unused.store(0, Ordering::Relaxed);
    }
}

impl ResultCache {
    /// Questions whose answers may be of old versions, the most asked first. `now`: milliseconds.
    pub fn due(&self, registry: &Registry, now: i64) -> Vec<Arc<Question>> {
        if self.options.again_after == 0 {
            return Vec::new();
        }
        let catalogs = Some(states(registry));
        let asked = self.questions.iter().map(|(_, question)| question);
        let often = asked.filter(|question| question.hits() >= self.options.again_after);
        let mut due: Vec<_> =
            often.filter(|question| self.is_due(question, registry, catalogs, now)).collect();
        due.sort_by_key(|question| std::cmp::Reverse(question.hits()));
        due
    }

    fn is_due(&self, question: &Question, registry: &Registry, catalogs: Option<u64>, now: i64) -> bool {
        let remembered = self.statements.get(&question.statement);
        if let Some(remembered) = &remembered
            && remembered.states(registry, &question.database).is_some()
        {
            return !remembered.is_current_at_once();
        }
        let looked = *question.looked.lock();
        looked.catalogs != catalogs || now.saturating_sub(looked.at) >= INTERVAL
    }

    /// A question runs.
    fn asked_again(&self, question: &Question) {
        self.statistics.again.inc();
        // What is not asked any more makes room for what is.
        let hits = question.hits() / 4;
        question.hits.fetch_sub(hits, Ordering::Relaxed);
        if question.unused.fetch_add(1, Ordering::Relaxed) >= UNUSED {
            self.forget(question);
        }
    }

    /// Never asks it again, unless users do so often enough.
    pub fn forget(&self, question: &Question) {
        self.questions.invalidate(&(question.statement, question.encoding));
    }

    /// Notes that something was asked whose answer was kept.
    pub(crate) fn note(&self, session: &Session, asked: &Asked<'_>, hits: u64) {
        if self.options.again_after == 0 {
            return;
        }
        let key = (asked.request.statement, session.encoding);
        let question = self.questions.get_with(key, || Arc::new(question(session, asked)));
        question.note(hits);
    }
}

fn question(session: &Session, asked: &Asked<'_>) -> Question {
    let settings = session.settings.read();
    let settings = settings.deciding().into_iter().map(|(name, value)| (name.to_string(), value.to_string()));
    Question {
        user: session.parameters.user.clone(),
        database: session.parameters.database.clone(),
        text: asked.text.to_string(),
        types: asked.types.to_vec(),
        values: asked.values.to_vec(),
        settings: settings.collect(),
        encoding: session.encoding,
        statement: asked.request.statement,
        hits: AtomicU64::new(0),
        unused: AtomicU32::new(0),
        looked: Mutex::default(),
    }
}

/// Of all catalogs: another number when one of them has changed and tells it.
fn states(registry: &Registry) -> u64 {
    let mut hasher = std::collections::hash_map::DefaultHasher::new();
    for catalog in registry.catalogs() {
        catalog.change_token().hash(&mut hasher);
        catalog.own_commits().hash(&mut hasher);
    }
    hasher.finish()
}

impl Session {
    /// Asks a question once more: its answer goes to the cache as it is read. `None`: it is kept already, or
    /// would not be.
    pub fn ask_again<'a>(&'a mut self, question: &'a Question) -> BoxFuture<'a, Result<Option<RowOutput>>> {
        Box::pin(async move {
            self.asks_again = true;
            self.set_encoding(question.encoding);
            let cache = self.engine.results.clone();
            let request = self.request(&question.text, &question.types, Some(&question.values));
            let parsed = <[_; 1]>::try_from(parser::parse(&question.text)?);
            let (Some(request), Ok([parsed])) = (request, parsed) else { return Ok(None) };
            // To a session made like this it may mean something else.
            if request.statement != question.statement {
                cache.forget(question);
                return Ok(None);
            }
            // What comes after this look is another reason to ask.
            let at = self.engine.clock.now().timestamp_millis();
            *question.looked.lock() = Look { at, catalogs: Some(states(self.engine.registry())) };
            let types: Vec<Option<Type>> = question.types.iter().cloned().map(Some).collect();
            let prepared = self.prepare(&parsed, &types).await?;
            match self.execute(&prepared, question.values.clone()).await? {
                Output::Rows(rows) if rows.collecting.is_some() => {
                    cache.asked_again(question);
                    Ok(Some(rows))
                }
                _ => Ok(None),
            }
        })
    }
}
