//! What is due: a pure function of what there is, what is remembered of it, and the time.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::super::hash;
use super::backoff;
use super::node::{Graph, Node, NodeKey, NodeKind, Versions, When};
use super::state::{Last, Outcome, Retry, State};

/// A run is not expected to take longer, milliseconds.
const MAX_TAKING: i64 = 86_400_000;

/// How failures are dealt with.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Further attempts at a run that fails, where its definition does not say.
    pub retries: u32,
    /// Pause before the first of them.
    pub retry_pause: TimeDelta,
    /// Runs that may fail in a row before no more are begun; 0: any number.
    pub suspend_after: u32,
}

/// A version of a table, and when it was first seen or committed, in milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub version: String,
    pub since: i64,
}

/// Everything that decides what is due.
#[derive(Debug, Clone, Copy)]
pub struct World<'a> {
    pub graph: &'a Graph,
    pub states: &'a BTreeMap<NodeKey, State>,
    /// Current versions by `catalog.schema.table`.
    pub versions: &'a BTreeMap<String, Seen>,
    pub running: &'a BTreeSet<NodeKey>,
    /// Not to be begun before what follows from their last runs is over.
    pub held: &'a BTreeSet<NodeKey>,
    /// What was due at the last look and not begun.
    pub pending: &'a BTreeSet<NodeKey>,
    pub now: DateTime<Utc>,
}

/// A run that is due.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    pub key: NodeKey,
    /// Tells it from all other runs of the same node.
    pub slot: String,
    /// When it was due, milliseconds since the epoch.
    pub slot_at: i64,
    /// From 1.
    pub attempt: u32,
    /// What is read, as it is now.
    pub seen: Option<Versions>,
    /// Of the nodes that it comes after, the runs that it follows.
    pub followed: Option<BTreeMap<String, String>>,
}

/// What is to be done now.
#[derive(Debug, Default)]
pub struct Plan {
    /// To be begun, in the order of being due.
    pub ready: Vec<Due>,
    /// Due, but something before it is not done.
    pub waiting: Vec<Due>,
    /// Not to be begun, as what is named failed.
    pub skipped: Vec<(Due, NodeKey)>,
    /// When there is something to do again, if nothing else happens.
    pub wake: Option<DateTime<Utc>>,
}

/// What one node has to do.
pub(super) enum Ask {
    Run(Due),
    /// Nothing before then; `None`: before something happens.
    Wait(Option<DateTime<Utc>>),
}

/// The state that a node begins with, or that its being suspended or resumed leads to. `None`: it stays.
pub fn settled(world: World<'_>, node: &Node) -> Option<State> {
    let known = world.states.get(&node.key);
    let Some(state) = known.filter(|state| state.of == node.id) else {
        let now = world.now.timestamp_millis();
        // Slots of a schedule that was not there yet are none that were missed.
        let slot_at = if node.since == 0 || known.is_some() { now } else { node.since };
        let followed = matches!(node.when, When::After(_)).then(|| world.completions(node));
        return Some(State {
            of: node.id.clone(),
            slot_at,
            suspended: node.suspended,
            // Runs that ended before there was anything after them count for nothing.
            followed,
            ..State::default()
        });
    };
    match (state.suspended, node.suspended) {
        (false, true) => Some(State { suspended: true, retry: None, ..state.clone() }),
        (true, false) => {
            let failed = state.last.as_ref().is_some_and(|last| last.outcome == Outcome::Failed);
            Some(State {
                suspended: false,
                failures: 0,
                // What was due while it rested is not made up for; what failed is tried anew.
                slot_at: state.slot_at.max(world.now.timestamp_millis()),
                seen: state.seen.clone().filter(|_| !failed),
                ..state.clone()
            })
        }
        _ => None,
    }
}

/// What is due now.
pub fn plan(world: World<'_>) -> Plan {
    let mut plan = Plan::default();
    let mut due: BTreeMap<NodeKey, Due> = BTreeMap::new();
    let mut wake = |at: Option<DateTime<Utc>>| {
        if let Some(at) = at {
            plan.wake = Some(plan.wake.map_or(at, |first| first.min(at)));
        }
    };
    for node in world.graph.nodes.values() {
        let busy = world.running.contains(&node.key) || world.held.contains(&node.key);
        let idle = !node.suspended && !busy;
        let Some(state) = world.states.get(&node.key).filter(|_| idle) else { continue };
        match world.ask(node, state) {
            Ask::Run(run) => _ = due.insert(node.key.clone(), run),
            Ask::Wait(until) => wake(until),
        }
    }
    for pulled in world.pulled(&due) {
        due.entry(pulled.key.clone()).or_insert(pulled);
    }
    let mut skipped: BTreeSet<NodeKey> = BTreeSet::new();
    for (key, run) in &due {
        let before = world.graph.all_before(key);
        if let Some(failed) = before.into_iter().find(|before| world.failed_since(before, run.slot_at)) {
            skipped.insert(key.clone());
            plan.skipped.push((run.clone(), failed.clone()));
        }
    }
    for (key, run) in due.iter().filter(|(key, _)| !skipped.contains(*key)) {
        let blocks = |before: &NodeKey| {
            let busy =
                world.running.contains(before) || (due.contains_key(before) && !skipped.contains(before));
            let again = || {
                let waits = world.states.get(before).is_some_and(|state| state.retry.is_some());
                waits && world.graph.nodes.get(before).is_some_and(|node| !node.suspended)
            };
            // In a ring the first by name begins.
            let ring = || key < before && world.graph.all_before(before).contains(&key);
            (busy || again()) && !ring()
        };
        match world.graph.all_before(key).into_iter().any(blocks) {
            true => plan.waiting.push(run.clone()),
            false => plan.ready.push(run.clone()),
        }
    }
    plan.ready.sort_by_key(|run| run.slot_at);
    plan
}

impl Plan {
    /// Leaves out what waits for runs of others. It is due again when these are over, and reads then what
    /// they have made.
    pub fn leave_to(&mut self, graph: &Graph, others: &BTreeSet<NodeKey>) {
        if !others.is_empty() {
            let waits = |due: &Due| graph.all_before(&due.key).into_iter().any(|key| others.contains(key));
            self.waiting.retain(|due| !waits(due));
        }
    }
}

impl World<'_> {
    pub(super) fn ask(&self, node: &Node, state: &State) -> Ask {
        if let Some(retry) = &state.retry {
            let at = time(retry.at);
            if at > self.now {
                return Ask::Wait(Some(at));
            }
            return Ask::Run(Due {
                key: node.key.clone(),
                slot: retry.slot.clone(),
                slot_at: retry.slot_at,
                attempt: retry.failed.saturating_add(1),
                seen: self.current(node),
                followed: Some(self.completions(node)).filter(|_| matches!(node.when, When::After(_))),
            });
        }
        match &node.when {
            When::Never => Ask::Wait(None),
            When::Slots(slots) => match slots.due(time(state.slot_at.max(node.since)), self.now) {
                Some(slot) => {
                    let text = slot.to_rfc3339_opts(SecondsFormat::Millis, true);
                    Ask::Run(self.due(node, format!("at {text}"), slot.timestamp_millis()))
                }
                None => Ask::Wait(slots.next(self.now)),
            },
            When::OnUpdate { at_most_every } => {
                self.on_update(node, state, at_most_every.map(|s| s.seconds()))
            }
            When::Lag(lag) => self.lag(node, state, lag.seconds()),
            When::After(keys) => self.after(node, state, keys),
        }
    }

    fn due(&self, node: &Node, slot: String, slot_at: i64) -> Due {
        Due { key: node.key.clone(), slot, slot_at, attempt: 1, seen: self.current(node), followed: None }
    }

    /// Versions of what a node reads.
    fn current(&self, node: &Node) -> Option<Versions> {
        let watched = node.when.watches();
        watched.then(|| {
            let mut names = BTreeSet::new();
            self.bases(node, &mut names);
            let known = names.into_iter().filter_map(|name| {
                let version = self.versions.get(&name)?.version.clone();
                Some((name, version))
            });
            known.collect()
        })
    }

    /// What a node reads, and if it has to be no older than something also what is read for it.
    fn bases(&self, node: &Node, names: &mut BTreeSet<String>) {
        for name in &node.reads {
            if names.insert(name.clone())
                && matches!(node.when, When::Lag(_))
                && let Some(view) = self.graph.view(name).filter(|view| is_pulled(view))
            {
                self.bases(view, names);
            }
        }
    }

    fn on_update(&self, node: &Node, state: &State, at_most_every: Option<u64>) -> Ask {
        let current = self.current(node).unwrap_or_default();
        let changed = |name: &String, version: &String| match (&node.built, node.key.kind) {
            (Some(built), NodeKind::View) => built.get(name).is_some_and(|built| built != version),
            _ => true,
        };
        let changed: Vec<&String> =
            current.iter().filter(|(name, version)| changed(name, version)).map(|(name, _)| name).collect();
        // What was tried with these versions is not tried again with them.
        if changed.is_empty() || state.seen.as_ref() == Some(&current) {
            return Ask::Wait(None);
        }
        if let (Some(span), Some(last)) = (at_most_every, &state.last) {
            let earliest = time(last.started) + seconds(span);
            if earliest > self.now {
                return Ask::Wait(Some(earliest));
            }
        }
        let now = self.now.timestamp_millis();
        let since = changed.iter().filter_map(|name| self.versions.get(*name)).map(|seen| seen.since).min();
        Ask::Run(self.due(node, format!("update {}", digest(&current)), since.unwrap_or(now).min(now)))
    }

    fn lag(&self, node: &Node, state: &State, lag: u64) -> Ask {
        let Some(since) = self.stale_since(node, &mut BTreeSet::new()) else { return Ask::Wait(None) };
        let current = self.current(node).unwrap_or_default();
        let tried = state.last.as_ref().is_some_and(|last| last.outcome != Outcome::Done);
        if tried && state.seen.as_ref() == Some(&current) {
            return Ask::Wait(None);
        }
        let chain = self.graph.all_before(&node.key);
        let durations = chain.into_iter().chain([&node.key]).filter_map(|key| self.states.get(key));
        let taking = durations.fold(0_i64, |all, state| all.saturating_add(state.duration_ms));
        let margin = TimeDelta::milliseconds(taking.clamp(0, MAX_TAKING) * 2) + TimeDelta::seconds(1);
        let due = time(since) + (seconds(lag) - margin).max(TimeDelta::zero());
        // What was refreshed for it meanwhile is newer, and what it is refreshed for is not.
        if due > self.now && !self.pending.contains(&node.key) {
            return Ask::Wait(Some(due));
        }
        let due = due.min(self.now);
        Ask::Run(self.due(node, format!("lag {}", digest(&current)), due.timestamp_millis()))
    }

    /// When the first change came that a view's rows do not show, those of the views that are refreshed
    /// for it counted. `None`: they show all.
    fn stale_since(&self, view: &Node, visited: &mut BTreeSet<NodeKey>) -> Option<i64> {
        if !visited.insert(view.key.clone()) {
            return None;
        }
        // Without rows it is as old as can be.
        let Some(built) = &view.built else { return Some(0) };
        let own = view.reads.iter().filter_map(|name| {
            let seen = self.versions.get(name)?;
            (built.get(name)? != &seen.version).then_some(seen.since)
        });
        let mut first = own.min();
        for upstream in
            view.reads.iter().filter_map(|name| self.graph.view(name)).filter(|view| is_pulled(view))
        {
            let since = self.stale_since(upstream, visited);
            first = match (first, since) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
        first
    }

    /// The views before those that have to be no older than something, to be refreshed with them.
    fn pulled(&self, due: &BTreeMap<NodeKey, Due>) -> Vec<Due> {
        let mut pulled = Vec::new();
        for (key, run) in due {
            let is_lag = |node: &&Node| matches!(node.when, When::Lag(_));
            if self.graph.nodes.get(key).filter(is_lag).is_none() {
                continue;
            }
            for before in self.graph.all_before(key) {
                let Some(view) = self.graph.nodes.get(before).filter(|view| is_pulled(view)) else {
                    continue;
                };
                let busy = self.running.contains(before) || self.held.contains(before);
                let idle = !busy && self.states.contains_key(before);
                if idle && self.stale_since(view, &mut BTreeSet::new()).is_some() {
                    pulled.push(self.due(view, run.slot.clone(), run.slot_at));
                }
            }
        }
        pulled
    }

    fn after(&self, node: &Node, state: &State, keys: &[NodeKey]) -> Ask {
        let completions = self.completions(node);
        let nothing = BTreeMap::new();
        let followed = state.followed.as_ref().unwrap_or(&nothing);
        let is_new = |key: &NodeKey| {
            let name = key.to_string();
            completions.get(&name).is_some_and(|run| followed.get(&name) != Some(run))
        };
        if keys.is_empty() || !keys.iter().all(is_new) {
            return Ask::Wait(None);
        }
        let finished =
            keys.iter().filter_map(|key| self.states.get(key)?.last.as_ref()).map(|last| last.finished);
        let at = finished.max().unwrap_or_else(|| self.now.timestamp_millis());
        let slot = format!("after {}", digest(&completions));
        Ask::Run(Due { followed: Some(completions), ..self.due(node, slot, at) })
    }

    /// Of each node that one comes after, its last run that did something.
    fn completions(&self, node: &Node) -> BTreeMap<String, String> {
        let When::After(keys) = &node.when else { return BTreeMap::new() };
        let completed = keys.iter().filter_map(|key| {
            let run = match key.kind {
                NodeKind::View => self.graph.nodes.get(key)?.published.clone(),
                NodeKind::Task => self.states.get(key)?.completed.clone(),
            };
            Some((key.to_string(), run?))
        });
        completed.collect()
    }

    /// Whether the last run of a node failed, or was skipped, after a time.
    fn failed_since(&self, key: &NodeKey, since: i64) -> bool {
        let Some(state) = self.states.get(key) else { return false };
        let resting = self.graph.nodes.get(key).is_none_or(|node| node.suspended);
        let failed = |last: &Last| {
            matches!(last.outcome, Outcome::Failed | Outcome::Skipped) && last.finished >= since
        };
        !resting && state.retry.is_none() && state.last.as_ref().is_some_and(failed)
    }
}

/// Whether a view is refreshed for those after it: one with times of its own is not.
fn is_pulled(view: &Node) -> bool {
    view.key.kind == NodeKind::View && !view.suspended && matches!(view.when, When::Never | When::Lag(_))
}

fn digest(texts: &BTreeMap<String, String>) -> String {
    hash::digits(hash::of(texts.iter().flat_map(|(key, value)| [key.as_str(), value.as_str()])))
}

fn time(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

fn seconds(count: u64) -> TimeDelta {
    i64::try_from(count).ok().and_then(TimeDelta::try_seconds).unwrap_or(TimeDelta::MAX)
}

/// A run that ended.
#[derive(Debug, Clone)]
pub struct Ended {
    pub run_id: String,
    pub started: DateTime<Utc>,
    pub finished: DateTime<Utc>,
    pub outcome: Outcome,
    pub error: Option<String>,
    /// JSON, of a refresh that failed: how the expectations fared that were counted before.
    pub expectations: Option<String>,
}

/// What follows from the end of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Next {
    pub state: State,
    /// It has failed for good, not only this time.
    pub gave_up: bool,
    /// No more are to be begun.
    pub suspend: bool,
}

/// The state after a run.
pub fn after(rules: &Rules, node: &Node, state: &State, due: &Due, ended: &Ended) -> Next {
    let mut next = state.clone();
    next.last = Some(Last {
        run_id: ended.run_id.clone(),
        started: ended.started.timestamp_millis(),
        finished: ended.finished.timestamp_millis(),
        outcome: ended.outcome,
        error: ended.error.clone(),
    });
    next.retry = None;
    let retries = node.retries.unwrap_or(rules.retries);
    if ended.outcome == Outcome::Failed && due.attempt <= retries {
        let pause = backoff::pause(rules.retry_pause, due.attempt, &ended.run_id);
        let (slot, slot_at) = (due.slot.clone(), due.slot_at);
        let at = (ended.finished + pause).timestamp_millis();
        next.retry = Some(Retry { slot, slot_at, failed: due.attempt, at });
        return Next { state: next, gave_up: false, suspend: false };
    }
    next.slot_at = next.slot_at.max(due.slot_at);
    if due.seen.is_some() {
        next.seen.clone_from(&due.seen);
    }
    if due.followed.is_some() && ended.outcome != Outcome::Skipped {
        next.followed.clone_from(&due.followed);
    }
    let mut gave_up = false;
    match ended.outcome {
        Outcome::Done | Outcome::Unchanged => {
            next.failures = 0;
            next.duration_ms = (ended.finished - ended.started).num_milliseconds();
            if ended.outcome == Outcome::Done {
                next.completed = Some(ended.run_id.clone());
            }
        }
        Outcome::Failed => {
            next.failures = next.failures.saturating_add(1);
            gave_up = true;
        }
        Outcome::Skipped | Outcome::Cancelled => {}
    }
    let suspend = gave_up && rules.suspend_after > 0 && next.failures >= rules.suspend_after;
    Next { state: next, gave_up, suspend }
}

#[cfg(test)]
mod tests;
