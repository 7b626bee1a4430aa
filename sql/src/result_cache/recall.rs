//! Statements that were seen before, by their text: what they came to, and whether they still would.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use datafusion::scalar::ScalarValue;
use postgres_types::Type;

use super::{AnswerName, CachedOutput, wide};
use crate::error::Result;
use crate::parser::{Parsed, Statement};
use crate::planner::{Dependency, Parameter, Scope, still_current};
use crate::session::Session;
use crate::statement::OutputColumn;

/// What a statement came to.
#[derive(Debug)]
pub(crate) struct Remembered {
    pub columns: Arc<Vec<OutputColumn>>,
    /// What its parameters are.
    pub parameters: Vec<Parameter>,
    /// What its names meant, and at which versions.
    pub dependencies: Vec<Dependency>,
    /// Name of its rows. `None`: only its description is remembered, for whoever has not bound it yet.
    pub rows: Option<u128>,
    /// When this was last found to be so, milliseconds since the epoch.
    current_at: AtomicI64,
}

impl Remembered {
    pub fn new(
        columns: Arc<Vec<OutputColumn>>,
        parameters: Vec<Parameter>,
        dependencies: Vec<Dependency>,
        rows: Option<u128>,
        now: i64,
    ) -> Self {
        Self { columns, parameters, dependencies, rows, current_at: AtomicI64::new(now) }
    }

    /// Whether its tables are those that it was planned for, at their versions.
    pub async fn is_current(&self, scope: &Scope) -> Result<bool> {
        // From before the look-up: whatever is committed after it counts as later.
        let now = scope.info.statement_start.timestamp_millis();
        let current = still_current(scope, &self.dependencies).await?;
        if current {
            self.current_at.fetch_max(now, Ordering::Relaxed);
        }
        Ok(current)
    }

    /// Whether it was so at most `staleness` milliseconds ago.
    fn was_current(&self, now: i64, staleness: i64) -> bool {
        staleness > 0 && now.saturating_sub(self.current_at.load(Ordering::Relaxed)) <= staleness
    }
}

/// A query that may be answered from the cache.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    /// Its text and its parameters' values, asked by such a session.
    pub statement: u128,
    /// Everything of the session that can show in its rows.
    pub session: u128,
}

/// What is hashed of a statement.
struct StatementName<'a> {
    session: u128,
    text: &'a str,
    types: &'a [Type],
    /// `None`: it is only described.
    values: Option<&'a [ScalarValue]>,
}

impl Hash for StatementName<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.session.hash(state);
        self.text.hash(state);
        self.types.iter().for_each(|pg_type| pg_type.oid().hash(state));
        self.values.hash(state);
    }
}

impl Session {
    /// `None`: the session has switched the cache off, or sees what nobody else does.
    pub(crate) fn request(
        &mut self,
        parsed: &Parsed,
        types: &[Type],
        values: Option<&[ScalarValue]>,
    ) -> Option<Request> {
        let cache = &self.engine.results;
        let sees_its_own = self.temporary.opened().is_some()
            || self.block.as_ref().is_some_and(|block| block.tables.has_any_changes());
        if !cache.is_enabled() || sees_its_own {
            return None;
        }
        let session = {
            let settings = self.settings.read();
            if !settings.bool("result_cache") {
                return None;
            }
            match self.session_name {
                Some((generation, name)) if generation == settings.generation() => name,
                _ => {
                    let facts = (&self.parameters.user, &self.parameters.database, settings.deciding());
                    let name = wide(&cache.keys, &facts);
                    self.session_name = Some((settings.generation(), name));
                    name
                }
            }
        };
        let statement = wide(&cache.keys, &StatementName { session, text: &parsed.text, types, values });
        Some(Request { statement, session })
    }

    /// The answer to a query whose text was seen before, without a plan. `None`: it has to be run. Fails
    /// with 25P02 in a failed transaction.
    pub async fn recall(&mut self, parsed: &Parsed) -> Result<Option<CachedOutput>> {
        if !matches!(parsed.statement.as_ref(), Statement::Query(_)) {
            return Ok(None);
        }
        self.refuse_if_failed(&parsed.statement)?;
        let Some(request) = self.request(parsed, &[], Some(&[])) else { return Ok(None) };
        let found = self.recalled(request).await;
        if found.is_err() {
            self.fail();
        }
        found
    }

    pub(crate) async fn recalled(&mut self, request: Request) -> Result<Option<CachedOutput>> {
        let cache = self.engine.results.clone();
        let Some(remembered) = cache.statements.get(&request.statement) else { return Ok(None) };
        let Some(rows) = remembered.rows else { return Ok(None) };
        let Some(answer) = cache.get(&AnswerName { rows, encoding: self.encoding }) else { return Ok(None) };
        let staleness = match self.block {
            Some(_) => 0,
            None => self.settings.read().integer("result_cache_max_staleness"),
        };
        let now = self.engine.clock.now().timestamp_millis();
        if !remembered.was_current(now, staleness) && !remembered.is_current(&self.scope().await?).await? {
            return Ok(None);
        }
        cache.statistics.hits.inc();
        self.tell_of_cache("hit");
        Ok(Some(CachedOutput { columns: remembered.columns.clone(), answer }))
    }

    pub(crate) fn tell_of_cache(&mut self, what: &str) {
        let told = self.settings.read().get("client_min_messages").is_some_and(|s| s.starts_with("debug"));
        if told {
            let code = crate::error::SqlState::SUCCESSFUL_COMPLETION;
            self.notice("DEBUG", code, format!("result cache: {what}"));
        }
    }

    /// How the client wants the values of the next statements' rows: a number for each way, which tells
    /// answers in the cache apart.
    pub fn set_encoding(&mut self, encoding: u64) {
        self.encoding = encoding;
    }
}
