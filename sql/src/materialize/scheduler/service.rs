//! The scheduler over the catalogs of a server: looks, hands out what is due, and keeps what became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use auric_catalog::backend::document::DocumentChange;
use auric_catalog::registry::{Catalog, Table};
use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use futures::future::{BoxFuture, select};
use futures::stream::FuturesUnordered;

use super::super::hash;
use super::super::sources::SourceVersion;
use super::super::task::{self, Stored, Task, qualified};
use super::history::{self, Attempt};
use super::job::{Job, run_statement};
use super::lease::{self, Lease};
use super::node::{Graph, Node, NodeKey, NodeKind, When};
use super::observe::Observed;
use super::passing;
use super::places::Place;
use super::plan::{self, Due, Ended, Next, Plan, Rules, World};
use super::state::{self, Outcome, State};
use super::waves::Waves;
use crate::engine::Engine;
use crate::error::{Result, SqlState};
use crate::session::transaction::Pins;

/// How the scheduler works.
#[derive(Debug, Clone)]
pub struct Options {
    pub rules: Rules,
    /// How long a server that is gone keeps others from working.
    pub lease: TimeDelta,
    /// Attempts that are kept of each task and view.
    pub history: u32,
    /// Tells this server from others.
    pub holder: String,
}

/// The scheduler of one server.
#[derive(Debug)]
pub struct Scheduler {
    engine: Arc<Engine>,
    options: Options,
    catalogs: BTreeMap<String, Observed>,
    leases: BTreeMap<String, Lease>,
    running: BTreeMap<NodeKey, Place>,
    waves: Waves,
    pending: BTreeSet<NodeKey>,
}

/// What came of a look.
#[derive(Debug, Default)]
pub struct Tick {
    /// To be begun now; each is to be answered by [`Scheduler::finish`].
    pub jobs: Vec<Job>,
    /// When to look again, if nothing happens before.
    pub wake: Option<DateTime<Utc>>,
}

/// What others are told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// A run failed, with all its attempts.
    Failed,
    /// No more runs are begun, as too many failed in a row.
    Suspended,
}

/// Something that somebody should know.
#[derive(Debug, Clone)]
pub struct Event {
    pub kind: EventKind,
    pub node: NodeKey,
    pub run_id: String,
    pub attempts: u32,
    pub failures_in_a_row: u32,
    pub scheduled_for: DateTime<Utc>,
    pub at: DateTime<Utc>,
    pub error: Option<String>,
}

impl Scheduler {
    pub fn new(engine: Arc<Engine>, options: Options) -> Self {
        let (catalogs, leases) = (BTreeMap::new(), BTreeMap::new());
        Self {
            engine,
            options,
            catalogs,
            leases,
            running: BTreeMap::new(),
            waves: Waves::default(),
            pending: BTreeSet::new(),
        }
    }

    /// Waits until this server changes something in one of the catalogs, or a statement begins or ends that
    /// refreshes views by hand.
    pub fn changed<'a>(engine: &'a Arc<Engine>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut waits: FuturesUnordered<_> =
                engine.registry.catalogs().map(|catalog| catalog.changed()).collect();
            select(waits.next(), std::pin::pin!(engine.places.claims_changed())).await;
        })
    }

    /// Looks at all catalogs, and begins what is due as far as there are places for it.
    pub fn tick<'a>(&'a mut self) -> BoxFuture<'a, Tick> {
        Box::pin(async move {
            let now = self.engine.clock.now();
            let mut tick = Tick::default();
            let mut wake = |at: Option<DateTime<Utc>>| {
                if let Some(at) = at {
                    tick.wake = Some(tick.wake.map_or(at, |first: DateTime<Utc>| first.min(at)));
                }
            };
            let engine = self.engine.clone();
            for catalog in engine.registry.catalogs() {
                match self.look(catalog, now).await {
                    Ok(until) => wake(until),
                    Err(error) => {
                        tracing::warn!(catalog = catalog.name(), %error, "scheduler cannot read the catalog");
                        self.leases.remove(catalog.name());
                    }
                }
            }
            let held =
                |name: &String| matches!(self.leases.get(name), Some(Lease::Held { until }) if *until > now);
            let ours: Vec<&Observed> =
                self.catalogs.iter().filter(|(name, _)| held(name)).map(|(_, observed)| observed).collect();
            let graph = Graph::new(ours.iter().flat_map(|observed| observed.nodes.iter().cloned()));
            let mut states: BTreeMap<NodeKey, State> = BTreeMap::new();
            ours.iter().for_each(|observed| states.extend(observed.states.clone()));
            let mut versions = BTreeMap::new();
            self.catalogs.values().for_each(|observed| versions.extend(observed.versions.clone()));
            let own: BTreeSet<NodeKey> = self.running.keys().cloned().collect();
            // What is refreshed by hand runs too.
            let by_hand = engine.places.by_hand();
            let running = &own | &by_hand;
            let (held, pending) = (self.waves.held(&graph), std::mem::take(&mut self.pending));
            let (held, running, pending) = (&held, &running, &pending);
            let (versions, graph) = (&versions, &graph);
            let world = World { graph, states: &states, versions, running, held, pending, now };
            let nodes = graph.nodes.values();
            let settled: Vec<(NodeKey, State)> =
                nodes.filter_map(|node| Some((node.key.clone(), plan::settled(world, node)?))).collect();
            for (key, state) in settled {
                states.insert(key.clone(), state.clone());
                // A node without times of its own has nothing to remember yet.
                let idle = graph.nodes.get(&key).is_none_or(|node| matches!(node.when, When::Never));
                self.keep(&key, state, idle).await;
            }
            let world = World { graph, states: &states, versions, running, held, pending, now };
            let idle = self.catalogs.values().flat_map(|observed| observed.passing.idle()).cloned().collect();
            for (key, state) in passing::passed_over(world, &idle) {
                if let Some(observed) = self.catalogs.get_mut(&key.catalog) {
                    observed.passing.passed(&key, state.slot_at);
                    observed.states.insert(key.clone(), state.clone());
                }
                states.insert(key, state);
            }
            let mut plan =
                plan::plan(World { graph, states: &states, versions, running, held, pending, now });
            plan.leave_to(graph, &by_hand);
            wake(plan.wake);
            for (due, failed) in &plan.skipped {
                self.skip(graph, due, failed, now).await;
            }
            if !plan.skipped.is_empty() {
                wake(Some(now));
            }
            if let Some((pins, members)) = self.waves.sort(graph, &plan, &own) {
                self.pin(graph, &pins, &members).await;
            }
            tick.jobs = self.hand_out(graph, &plan);
            let due = plan.ready.iter().chain(&plan.waiting).map(|due| &due.key);
            self.pending = due.filter(|key| !self.running.contains_key(*key)).cloned().collect();
            let mut busy = self.waves.held(graph);
            busy.extend(self.running.keys().cloned());
            engine.places.set_scheduled(busy);
            tick
        })
    }

    /// Looks at one catalog and sees to its lease. Returns when that has to be seen to again.
    async fn look(&mut self, catalog: &Arc<Catalog>, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
        let observed = self.catalogs.entry(catalog.name().to_string()).or_default();
        observed.look(&self.engine, catalog, now).await?;
        let scheduled = observed.nodes.iter().any(|node| !matches!(node.when, When::Never));
        if !scheduled {
            self.leases.remove(catalog.name());
            return Ok(None);
        }
        let length = self.options.lease;
        let renew = match self.leases.get(catalog.name()) {
            // Early enough that a slow renewal loses nothing.
            Some(Lease::Held { until }) => *until - now < length / 2,
            Some(Lease::Elsewhere { until }) => *until <= now,
            None => true,
        };
        if renew {
            let lease = lease::take(catalog, &self.options.holder, now, length).await?;
            let had = matches!(self.leases.get(catalog.name()), Some(Lease::Held { .. }));
            if matches!(lease, Lease::Held { .. }) && !had {
                // Another server may have written states since.
                observed.forget();
                observed.look(&self.engine, catalog, now).await?;
            }
            self.leases.insert(catalog.name().to_string(), lease);
        }
        if matches!(self.leases.get(catalog.name()), Some(Lease::Held { .. })) {
            for (key, text) in std::mem::take(&mut observed.orphans) {
                let gone = DocumentChange { key: state::key(&key), expected: Some(text), new: None };
                catalog.backend().swap_document(&gone).await?;
            }
        }
        Ok(self.leases.get(catalog.name()).map(|lease| match lease {
            Lease::Held { until } => *until - length / 2,
            Lease::Elsewhere { until } => *until,
        }))
    }

    /// Remembers the state of a node. `memory`: not in the catalog.
    async fn keep(&mut self, key: &NodeKey, state: State, memory: bool) {
        let Some(observed) = self.catalogs.get_mut(&key.catalog) else { return };
        observed.states.insert(key.clone(), state.clone());
        let Ok(catalog) = self.engine.registry.catalog(&key.catalog) else { return };
        if memory && !observed.texts.contains_key(key) {
            return;
        }
        let text = state.to_json();
        let change = DocumentChange {
            key: state::key(key),
            expected: observed.texts.get(key).cloned(),
            new: Some(text.clone()),
        };
        match catalog.backend().swap_document(&change).await {
            Ok(true) => _ = observed.texts.insert(key.clone(), text),
            // Another server has worked on it: what it wrote counts.
            Ok(false) => observed.forget(),
            Err(auric_catalog::Error::Unsupported { .. }) => {}
            Err(error) => tracing::warn!(node = %key, %error, "state of the scheduler was not written"),
        }
    }

    async fn skip(&mut self, graph: &Graph, due: &Due, failed: &NodeKey, now: DateTime<Utc>) {
        let Some(node) = graph.nodes.get(&due.key) else { return };
        let ended = Ended {
            run_id: run_id(node, self.task(&due.key), &due.slot),
            started: now,
            finished: now,
            outcome: Outcome::Skipped,
            error: Some(format!("{failed} failed")),
            expectations: None,
        };
        self.conclude(node, due, &ended, None).await;
    }

    fn task(&self, key: &NodeKey) -> Option<&Task> {
        self.catalogs.get(&key.catalog)?.tasks.get(key).map(|stored| &stored.task)
    }

    /// Reads what a wave reads and does not change, all at once.
    async fn pin(&self, graph: &Graph, pins: &Pins, members: &BTreeSet<NodeKey>) {
        let nodes = || members.iter().filter_map(|key| graph.nodes.get(key));
        let changed: BTreeSet<&str> = nodes().map(|node| node.writes.as_str()).collect();
        let read: BTreeSet<&String> =
            nodes().flat_map(|node| &node.reads).filter(|name| !changed.contains(name.as_str())).collect();
        for name in read {
            match self.table(name).await {
                Ok(Some(table)) => {
                    let key = (table.catalog.name().to_string(), table.ident.clone());
                    pins.lock().insert(key, table);
                }
                Ok(None) => {}
                // Whoever reads it will say so.
                Err(error) => tracing::debug!(table = name, %error, "table cannot be read"),
            }
        }
    }

    /// A table by `catalog.schema.table`.
    async fn table(&self, name: &str) -> Result<Option<Table>> {
        let mut parts = name.splitn(3, '.');
        let (Some(catalog), Some(namespace), Some(table)) = (parts.next(), parts.next(), parts.next()) else {
            return Ok(None);
        };
        let catalog = self.engine.registry.catalog(catalog)?;
        Ok(catalog.table(&auric_catalog::TableIdent::new(namespace, table)).await?)
    }

    fn hand_out(&mut self, graph: &Graph, plan: &Plan) -> Vec<Job> {
        let (mut jobs, places) = (Vec::new(), self.engine.places.clone());
        for due in &plan.ready {
            let Some(node) = graph.nodes.get(&due.key) else { continue };
            let task = self.task(&due.key).cloned();
            if task.is_none() && due.key.kind == NodeKind::Task {
                continue;
            }
            let Some(place) = places.take() else { break };
            // Somebody may have claimed it since it was looked at.
            if !places.begin(&due.key) {
                continue;
            }
            let pins = self.waves.pins(&due.key);
            let fingerprint = self.fingerprint(node, &pins);
            let mut due = due.clone();
            // What it reads, not what there was when it was looked at.
            for (name, version) in due.seen.iter_mut().flatten() {
                let pinned = pins.lock();
                let mut tables =
                    pinned.values().filter(|table| super::super::sources::full_name(table) == *name);
                if let Some(table) = tables.next() {
                    *version = SourceVersion::of(table).to_json();
                }
            }
            self.running.insert(due.key.clone(), place);
            jobs.push(Job {
                run_id: run_id(node, task.as_ref(), &due.slot),
                statement: match &task {
                    Some(task) => task.statement.clone(),
                    None => refresh(node),
                },
                due,
                node: node.clone(),
                task,
                pins,
                fingerprint,
            });
        }
        jobs
    }

    /// What a run that begins now would find, unless it reads earlier versions than those of the last look.
    fn fingerprint(&self, node: &Node, pins: &Pins) -> Option<String> {
        let observed = self.catalogs.get(&node.key.catalog)?;
        let pinned = pins.lock();
        let is_current = |table: &Table| {
            let seen = observed.versions.get(&super::super::sources::full_name(table));
            seen.is_some_and(|seen| seen.version == SourceVersion::of(table).to_json())
        };
        let is_read = |table: &&Table| node.reads.contains(&super::super::sources::full_name(table));
        let current = pinned.values().filter(is_read).all(is_current);
        observed.passing.fingerprints.get(&node.key).filter(|_| current).cloned()
    }

    /// To be told how a run ended. `None`: it was given up before its end, and nobody knows; it will be due
    /// again. Returns what others are to be told of.
    pub fn finish<'a>(
        &'a mut self,
        job: &'a Job,
        ended: Option<&'a (Ended, Option<SqlState>)>,
    ) -> BoxFuture<'a, Vec<Event>> {
        Box::pin(async move {
            self.running.remove(&job.due.key);
            self.waves.ended(&job.due.key);
            if let (Some((Ended { outcome: Outcome::Unchanged, .. }, _)), Some(at)) =
                (ended, &job.fingerprint)
                && let Some(observed) = self.catalogs.get_mut(&job.due.key.catalog)
            {
                observed.passing.found_idle(&job.due.key, at.clone());
            }
            match ended {
                Some((ended, code)) => self.conclude(&job.node, &job.due, ended, *code).await,
                None => Vec::new(),
            }
        })
    }

    async fn conclude(
        &mut self,
        node: &Node,
        due: &Due,
        ended: &Ended,
        code: Option<SqlState>,
    ) -> Vec<Event> {
        let Some(observed) = self.catalogs.get(&node.key.catalog) else { return Vec::new() };
        let state = observed.states.get(&node.key).cloned().unwrap_or_default();
        let Next { state, gave_up, suspend } = plan::after(&self.options.rules, node, &state, due, ended);
        let failures = state.failures;
        self.keep(&node.key, state, false).await;
        self.record(node, due, ended, code).await;
        let event = |kind| Event {
            kind,
            node: node.key.clone(),
            run_id: ended.run_id.clone(),
            attempts: due.attempt,
            failures_in_a_row: failures,
            scheduled_for: DateTime::from_timestamp_millis(due.slot_at).unwrap_or_default(),
            at: ended.finished,
            error: ended.error.clone(),
        };
        let mut events: Vec<Event> = Vec::new();
        if gave_up {
            events.push(event(EventKind::Failed));
        }
        if suspend {
            match self.suspend(node).await {
                Ok(()) => events.push(event(EventKind::Suspended)),
                Err(error) => tracing::error!(node = %node.key, %error, "could not be suspended"),
            }
        }
        events
    }

    async fn record(&self, node: &Node, due: &Due, ended: &Ended, code: Option<SqlState>) {
        // Looks that find nothing to do would drive out what happened.
        if ended.outcome == Outcome::Unchanged {
            return;
        }
        let attempt = Attempt {
            run_id: ended.run_id.clone(),
            number: due.attempt,
            scheduled_for: due.slot_at,
            started: ended.started.timestamp_millis(),
            finished: ended.finished.timestamp_millis(),
            outcome: ended.outcome,
            message: ended.error.clone(),
            sqlstate: code.map(|code| code.to_string()),
            expectations: ended.expectations.clone(),
        };
        let Ok(catalog) = self.engine.registry.catalog(&node.key.catalog) else { return };
        let (kind, ident) = (node.key.kind, &node.key.ident);
        if let Err(error) = history::record(catalog, kind, ident, &attempt, self.options.history).await {
            tracing::warn!(node = %node.key, %error, "history of a run was not written");
        }
    }

    /// Keeps a node from being run until somebody resumes it.
    async fn suspend(&self, node: &Node) -> Result<()> {
        let catalog = self.engine.registry.catalog(&node.key.catalog)?;
        if node.key.kind == NodeKind::View {
            let statement = format!("ALTER MATERIALIZED VIEW {} SUSPEND", qualified(&node.key.ident));
            return run_statement(&self.engine, node, &statement, None, 0, None).await.map(|_| ());
        }
        let Some(Stored { task, text }) = Task::find(catalog, &node.key.ident).await? else { return Ok(()) };
        let new = Task { suspended: true, ..task };
        task::change(catalog, &node.key.ident, Some(text), Some(new.to_json())).await
    }

    /// Lets other servers work at once.
    pub fn stop<'a>(&'a mut self) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            for (name, lease) in std::mem::take(&mut self.leases) {
                let Ok(catalog) = self.engine.registry.catalog(&name) else { continue };
                if matches!(lease, Lease::Held { .. })
                    && let Err(error) = lease::give_back(catalog, &self.options.holder).await
                {
                    tracing::debug!(catalog = name, %error, "lease of the scheduler was not given back");
                }
            }
            self.engine.places.set_scheduled(BTreeSet::new());
        })
    }
}

/// The same for whoever runs the slot.
fn run_id(node: &Node, task: Option<&Task>, slot: &str) -> String {
    let NodeKey { catalog, ident, .. } = &node.key;
    match task {
        Some(task) => task.run_id(catalog, slot),
        None => hash::uuid(hash::of(["view", catalog, &ident.to_string(), &node.hash, slot])),
    }
}

fn refresh(node: &Node) -> String {
    format!("REFRESH MATERIALIZED VIEW {}", qualified(&node.key.ident))
}
