//! Statements that were seen before, by their text: what they came to, and whether they still would.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use auric_catalog::backend::ChangeToken;
use auric_catalog::registry::{Catalog, Registry};
use auric_catalog::table::{CommitWatch, TableVersion};
use datafusion::scalar::ScalarValue;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use postgres_types::Type;

use super::{Answer, AnswerName, Asked, CachedOutput, Flight, wide};
use crate::error::Result;
use crate::parser::{Parsed, Statement};
use crate::planner::{Dependencies, Dependency, Parameter, Read, Scope, still_current};
use crate::session::Session;
use crate::statement::{OutputColumn, Prepared};

/// What a statement came to.
#[derive(Debug)]
pub(crate) struct Remembered {
    pub columns: Arc<Vec<OutputColumn>>,
    /// What its parameters are.
    pub parameters: Vec<Parameter>,
    /// What its names meant, and at which versions.
    pub dependencies: Dependencies,
    /// Name of its rows. `None`: only its description is remembered, for whoever has not bound it yet.
    pub rows: Option<u128>,
    /// When this was last found to be so, milliseconds since the epoch.
    current_at: AtomicI64,
    /// The states of its catalogs when it was; empty if that tells nothing.
    seen: Mutex<Arc<States>>,
    hits: AtomicU64,
}

/// Of some catalogs.
pub(crate) type States = Vec<(Arc<Catalog>, ChangeToken)>;

impl Remembered {
    pub fn new(
        columns: Arc<Vec<OutputColumn>>,
        parameters: Vec<Parameter>,
        dependencies: Dependencies,
        rows: Option<u128>,
        now: i64,
    ) -> Self {
        Self {
            columns,
            parameters,
            dependencies,
            rows,
            current_at: AtomicI64::new(now),
            seen: Mutex::default(),
            hits: AtomicU64::new(0),
        }
    }

    /// About the bytes that it takes.
    pub fn weight(&self) -> u32 {
        let columns: usize =
            self.columns.iter().map(|column| size_of::<OutputColumn>() + column.name.len()).sum();
        // With the names, the location of the version, and the state of the catalog.
        let Dependencies { relations, files } = &self.dependencies;
        let dependencies = relations.len() * (size_of::<Dependency>() + 512) + files.len() * 1024;
        let parameters = self.parameters.len() * size_of::<Parameter>();
        u32::try_from(256 + columns + dependencies + parameters).unwrap_or(u32::MAX)
    }

    /// Whether its tables are those that it was planned for, at their versions. `states`: of the catalogs,
    /// from before the scope was made, so that whatever is committed after that counts as later.
    pub async fn is_current(&self, scope: &Scope, states: Option<States>) -> Result<bool> {
        let now = scope.info.statement_start.timestamp_millis();
        let current = still_current(scope, &self.dependencies).await?;
        if current {
            self.current_at.fetch_max(now, Ordering::Relaxed);
            // A block sees what was so at its start.
            if !scope.tables.is_of_block() {
                *self.seen.lock() = Arc::new(states.unwrap_or_default());
            }
        }
        Ok(current)
    }

    /// Of every catalog that names were looked up in. `None`: one of them cannot tell, or has tables whose
    /// versions it does not know.
    pub fn states(&self, registry: &Registry, database: &str) -> Option<States> {
        let state = |name: &str| {
            let catalog = registry.catalog(name).ok()?;
            Some((catalog.clone(), catalog.change_token()?))
        };
        self.catalogs(database)?.into_iter().map(state).collect()
    }

    /// Those whose states tell of every change. `None`: there are others.
    fn catalogs<'a>(&'a self, database: &'a str) -> Option<Vec<&'a str>> {
        let told = |dependency: &Dependency| {
            dependency.watch.is_some()
                || !matches!(dependency.read, Read::Current(TableVersion::Delta { .. }, _))
        };
        // Files are looked at one by one.
        let Dependencies { relations, files } = &self.dependencies;
        if !files.is_empty() || !relations.iter().all(told) {
            return None;
        }
        let mut names: Vec<&str> = relations.iter().map(|d| d.catalog.as_str()).collect();
        names.push(database);
        names.sort_unstable();
        names.dedup();
        Some(names)
    }

    /// The same, of states that were taken before its tables were looked up.
    pub fn seen_with(self, before: &States, database: &str) -> Self {
        let found = |name: &str| before.iter().find(|(catalog, _)| catalog.name() == name).cloned();
        let seen: Option<States> =
            self.catalogs(database).and_then(|all| all.into_iter().map(found).collect());
        *self.seen.lock() = Arc::new(seen.unwrap_or_default());
        self
    }

    /// Whether it certainly still is, found out in microseconds: nothing was committed to its catalogs since
    /// it was, nor to its Delta tables.
    pub(crate) fn is_current_at_once(&self) -> bool {
        let seen = self.seen.lock().clone();
        !seen.is_empty()
            && seen.iter().all(|(catalog, token)| catalog.change_token().as_ref() == Some(token))
            && self
                .dependencies
                .relations
                .iter()
                .all(|d| d.watch.as_ref().is_none_or(CommitWatch::is_current))
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

/// What there is of a query that was seen before, at the versions that its tables have.
pub(crate) enum Found {
    Kept(Arc<Remembered>, Arc<Answer>),
    /// Another session runs it.
    Running(Arc<Remembered>, Flight),
}

/// How a session asks, as long as its settings stay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asks {
    generation: u64,
    /// A name for everything of the session that can show in rows: its user, its database, its settings.
    pub name: u128,
    is_cached: bool,
    /// It wants to be told what the cache had.
    is_told: bool,
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
        text: &str,
        types: &[Type],
        values: Option<&[ScalarValue]>,
    ) -> Option<Request> {
        if !self.engine.results.is_enabled() || self.sees_its_own() {
            return None;
        }
        let asks = self.asks();
        if !asks.is_cached {
            return None;
        }
        let session = asks.name;
        let statement = wide(&self.engine.results.keys, &StatementName { session, text, types, values });
        Some(Request { statement, session })
    }

    /// Whether this session may see what nobody else does.
    pub(crate) fn sees_its_own(&self) -> bool {
        self.run.is_some()
            || self.temporary.opened().is_some()
            || self.block.as_ref().is_some_and(|block| block.tables.has_any_changes())
    }

    /// Whether it may be answered from the cache now.
    pub(crate) fn uses_cache(&mut self) -> bool {
        self.engine.results.is_enabled() && self.asks().is_cached
    }

    /// How the session asks with the settings that it has now.
    pub(crate) fn asks(&mut self) -> Asks {
        let settings = self.settings.read();
        match self.asks {
            Some(asks) if asks.generation == settings.generation() => asks,
            _ => {
                let facts = (&self.parameters.user, &self.parameters.database, settings.deciding());
                *self.asks.insert(Asks {
                    generation: settings.generation(),
                    name: wide(&self.engine.results.keys, &facts),
                    is_cached: settings.bool("result_cache"),
                    is_told: settings.get("client_min_messages").is_some_and(|s| s.starts_with("debug")),
                })
            }
        }
    }

    /// The answer to a query string that was seen before, without even parsing it, if that takes no more
    /// than microseconds. `None`: it has to be looked at.
    pub fn recall_text(&mut self, text: &str) -> Option<CachedOutput> {
        let text = text.trim();
        let text = text.strip_suffix(';').map_or(text, str::trim_end);
        self.recall_at_once(text, &[], &[], None)
    }

    /// The same for a statement that was parsed.
    pub fn recall_parsed(&mut self, parsed: &Parsed) -> Option<CachedOutput> {
        self.recall_at_once(&parsed.text, &[], &[], None)
    }

    /// The same for a prepared statement with its parameters' values.
    pub fn recall_prepared(&mut self, prepared: &Prepared, values: &[ScalarValue]) -> Option<CachedOutput> {
        let described = prepared.columns.as_deref();
        self.recall_at_once(&prepared.parsed.text, &prepared.parameters, values, described)
    }

    fn recall_at_once(
        &mut self,
        text: &str,
        types: &[Type],
        values: &[ScalarValue],
        described: Option<&[OutputColumn]>,
    ) -> Option<CachedOutput> {
        if self.block.is_some() {
            return None;
        }
        let request = self.request(text, types, Some(values))?;
        match self.found(request, described)? {
            Found::Kept(remembered, answer) => {
                Some(self.hit(&remembered, answer, &Asked { request, text, types, values }))
            }
            Found::Running(..) => None,
        }
    }

    /// What is certain without a look at the tables.
    pub(crate) fn found(&self, request: Request, described: Option<&[OutputColumn]>) -> Option<Found> {
        if self.block.is_some() {
            return None;
        }
        let cache = &self.engine.results;
        let remembered = cache.statements.get(&request.statement)?;
        if described.is_some_and(|described| described != remembered.columns.as_slice()) {
            return None;
        }
        let now = self.engine.clock.now().timestamp_millis();
        if remembered.is_current_at_once() {
            remembered.current_at.fetch_max(now, Ordering::Relaxed);
        } else if !remembered.was_current(now, self.staleness(now)) {
            return None;
        }
        let name = AnswerName { rows: remembered.rows?, encoding: self.encoding };
        match cache.get(&name) {
            Some(answer) => Some(Found::Kept(remembered, answer)),
            None => Some(Found::Running(remembered, cache.flight(&name)?)),
        }
    }

    /// The answer, waited for if it has to be. `None`: there will be none.
    pub(crate) async fn taken(&mut self, found: Found, asked: &Asked<'_>) -> Option<CachedOutput> {
        let (remembered, answer) = match found {
            Found::Kept(remembered, answer) => (remembered, answer),
            Found::Running(remembered, mut flight) => {
                let answer = self.engine.results.landed(&mut flight).await.ok()??;
                (remembered, answer)
            }
        };
        Some(self.hit(&remembered, answer, asked))
    }

    /// What a statement would be prepared to, if it was seen before and that takes no more than
    /// microseconds.
    pub fn describe_at_once(&mut self, parsed: &Parsed, declared: &[Option<Type>]) -> Option<Arc<Prepared>> {
        if self.block.is_some() || !matches!(parsed.statement.as_ref(), Statement::Query(_)) {
            return None;
        }
        let declared: Vec<Type> = declared.iter().map(|t| t.clone().unwrap_or(Type::UNKNOWN)).collect();
        let request = self.request(&parsed.text, &declared, None)?;
        let remembered = self.engine.results.statements.get(&request.statement)?;
        let current = remembered.is_current_at_once();
        current.then(|| Arc::new(Prepared::described(parsed, &remembered)))
    }

    /// The answer to a query whose text was seen before, without a plan. `None`: it has to be run. Fails
    /// with 25P02 in a failed transaction.
    pub fn recall<'a>(&'a mut self, parsed: &'a Parsed) -> BoxFuture<'a, Result<Option<CachedOutput>>> {
        Box::pin(async move {
            if !matches!(parsed.statement.as_ref(), Statement::Query(_)) {
                return Ok(None);
            }
            self.refuse_if_failed(&parsed.statement)?;
            let Some(request) = self.request(&parsed.text, &[], Some(&[])) else { return Ok(None) };
            let asked = Asked { request, text: &parsed.text, types: &[], values: &[] };
            if let Some(found) = self.found(request, None) {
                return Ok(self.taken(found, &asked).await);
            }
            if self.is_told(request) {
                // Of many that ask at once, one is to look.
                return Ok(None);
            }
            let found = self.recalled(&asked, None).await;
            if found.is_err() {
                self.fail();
            }
            found
        })
    }

    /// `described`: what the client was told of the columns.
    pub(crate) async fn recalled(
        &mut self,
        asked: &Asked<'_>,
        described: Option<&[OutputColumn]>,
    ) -> Result<Option<CachedOutput>> {
        let Some((remembered, answer)) = self.kept(asked.request, described) else { return Ok(None) };
        let now = self.engine.clock.now().timestamp_millis();
        let old_enough = self.block.is_none() && remembered.was_current(now, self.staleness(now));
        if !old_enough {
            let states = self.states(&remembered);
            if !remembered.is_current(&self.scope().await?, states).await? {
                return Ok(None);
            }
        }
        Ok(Some(self.hit(&remembered, answer, asked)))
    }

    /// Whether the catalogs tell of every change of what a statement reads.
    pub(crate) fn is_told(&self, request: Request) -> bool {
        let remembered = self.engine.results.statements.get(&request.statement);
        self.block.is_none() && remembered.is_some_and(|remembered| self.states(&remembered).is_some())
    }

    /// States of all catalogs that have any, for what is looked up after this. A block sees what was so at its
    /// start.
    pub(crate) fn all_states(&self) -> States {
        let all = self.engine.registry.catalogs().filter(|_| self.block.is_none());
        all.filter_map(|catalog| Some((catalog.clone(), catalog.change_token()?))).collect()
    }

    /// States of the catalogs of what is remembered, as of now.
    pub(crate) fn states(&self, remembered: &Remembered) -> Option<States> {
        remembered.states(self.engine.registry(), &self.parameters.database)
    }

    fn kept(
        &self,
        request: Request,
        described: Option<&[OutputColumn]>,
    ) -> Option<(Arc<Remembered>, Arc<Answer>)> {
        let cache = &self.engine.results;
        let remembered = cache.statements.get(&request.statement)?;
        if described.is_some_and(|described| described != remembered.columns.as_slice()) {
            return None;
        }
        let answer = cache.get(&AnswerName { rows: remembered.rows?, encoding: self.encoding })?;
        Some((remembered, answer))
    }

    /// Milliseconds; 0: none.
    fn staleness(&self, now: i64) -> i64 {
        let wanted = self.settings.read().integer("result_cache_max_staleness");
        if wanted > 0 { self.own_writes.staleness(now, wanted) } else { 0 }
    }

    fn hit(&mut self, remembered: &Remembered, answer: Arc<Answer>, asked: &Asked<'_>) -> CachedOutput {
        if !self.asks_again {
            let cache = &self.engine.results;
            cache.statistics.hits.inc();
            let hits = remembered.hits.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            let step = cache.options.again_after;
            // Not each of them, as all that hit the same would wait for each other.
            if hits == 1 {
                cache.note(self, asked, 1);
            } else if hits.checked_rem(step) == Some(0) {
                cache.note(self, asked, step);
            }
            self.tell_of_cache("hit");
        }
        CachedOutput::whole(remembered.columns.clone(), answer)
    }

    pub(crate) fn tell_of_cache(&mut self, what: &str) {
        if self.asks.is_some_and(|asks| asks.is_told) {
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
