//! Slots that nobody has to run, because nothing has changed since a run found nothing to do: a graph of
//! hundreds of views whose tables rest costs next to nothing.
//!
//! It is remembered in memory only. Whoever has lost it runs once more, and finds nothing to do again.

use std::collections::{BTreeMap, BTreeSet};

use super::node::{NodeKey, When};
use super::plan::{Ask, World};
use super::state::State;

/// What is known of the nodes of a catalog.
#[derive(Debug, Default)]
pub struct Passing {
    /// What decides what a node's run would do, as it is now: its table, those that it reads, and what
    /// names mean. A node that is not here reads something that cannot be told so.
    pub fingerprints: BTreeMap<NodeKey, String>,
    /// The fingerprints with which runs have found nothing to do.
    idle: BTreeMap<NodeKey, String>,
    /// The last slots that were passed over, milliseconds since the epoch.
    slots: BTreeMap<NodeKey, i64>,
}

impl Passing {
    /// A run that was begun with this fingerprint has found nothing to do.
    pub fn found_idle(&mut self, key: &NodeKey, fingerprint: String) {
        self.idle.insert(key.clone(), fingerprint);
    }

    /// The nodes whose runs would find nothing to do.
    pub fn idle(&self) -> impl Iterator<Item = &NodeKey> {
        let is_idle = |(key, at): &(&NodeKey, &String)| self.fingerprints.get(*key) == Some(*at);
        self.idle.iter().filter(is_idle).map(|(key, _)| key)
    }

    pub fn passed(&mut self, key: &NodeKey, slot_at: i64) {
        self.slots.insert(key.clone(), slot_at);
    }

    /// A state as it was read, with the slots that were passed over since it was written.
    pub fn advance(&self, key: &NodeKey, state: &mut State) {
        if let Some(slot_at) = self.slots.get(key) {
            state.slot_at = state.slot_at.max(*slot_at);
        }
    }

    /// Forgets what is gone.
    pub fn retain(&mut self, is_there: impl Fn(&NodeKey) -> bool) {
        self.idle.retain(|key, _| is_there(key));
        self.slots.retain(|key, _| is_there(key));
    }
}

/// The states of nodes whose slots are passed over: those among `idle` that are due by a slot, with nothing
/// before them that is due, runs, or is to be tried again.
pub fn passed_over(world: World<'_>, idle: &BTreeSet<NodeKey>) -> Vec<(NodeKey, State)> {
    let mut candidates: Vec<(NodeKey, State)> = Vec::new();
    let mut busy: BTreeSet<&NodeKey> = world.running.iter().chain(world.held).chain(world.pending).collect();
    for node in world.graph.nodes.values() {
        let Some(state) = world.states.get(&node.key) else { continue };
        if node.suspended || busy.contains(&node.key) {
            continue;
        }
        if state.retry.is_some() {
            busy.insert(&node.key);
            continue;
        }
        match world.ask(node, state) {
            Ask::Run(due) if matches!(node.when, When::Slots(_)) && idle.contains(&node.key) => {
                candidates.push((node.key.clone(), State { slot_at: due.slot_at, ..state.clone() }));
            }
            Ask::Run(_) => _ = busy.insert(&node.key),
            Ask::Wait(_) => {}
        }
    }
    if !busy.is_empty() {
        candidates.retain(|(key, _)| !world.graph.all_before(key).into_iter().any(|key| busy.contains(key)));
    }
    candidates
}

#[cfg(test)]
mod tests {
    use auric_catalog::TableIdent;
    use chrono::{DateTime, Utc};

    use super::super::super::schedule::{Schedule, Span};
    use super::super::node::{Graph, Node, NodeKind};
    use super::*;

    fn key(name: &str) -> NodeKey {
        NodeKey { catalog: "lake".into(), kind: NodeKind::View, ident: TableIdent::new("s", name) }
    }

    fn node(name: &str, reads: &str) -> Node {
        Node {
            key: key(name),
            id: name.into(),
            when: When::of(&Schedule::Every(Span::parse("1 hour").unwrap())).unwrap(),
            reads: BTreeSet::from([format!("lake.s.{reads}")]),
            writes: format!("lake.s.{name}"),
            retries: None,
            suspended: false,
            since: 1,
            built: None,
            published: None,
            hash: String::new(),
        }
    }

    fn passed(idle: &[&str], running: &[&str], retried: &[&str]) -> Vec<String> {
        let graph = Graph::new([node("a", "t"), node("b", "a"), node("c", "u")]);
        let state = |name: &str| {
            let retry =
                super::super::state::Retry { slot: "x".into(), slot_at: 1, failed: 1, at: i64::MAX / 2 };
            State { of: name.into(), retry: retried.contains(&name).then_some(retry), ..State::default() }
        };
        let states = ["a", "b", "c"].map(|name| (key(name), state(name))).into();
        let set = |names: &[&str]| names.iter().map(|name| key(name)).collect::<BTreeSet<_>>();
        let (nobody, running) = (BTreeSet::new(), set(running));
        let now: DateTime<Utc> = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let world = World {
            graph: &graph,
            states: &states,
            versions: &BTreeMap::new(),
            running: &running,
            held: &nobody,
            pending: &nobody,
            now,
        };
        let passed = passed_over(world, &set(idle));
        assert!(passed.iter().all(|(_, state)| state.slot_at == 1_800_000_000_000));
        passed.into_iter().map(|(key, _)| key.ident.name).collect()
    }

    #[test]
    fn nothing_is_passed_over_that_something_before_it_may_change() {
        assert_eq!(passed(&["a", "b", "c"], &[], &[]), ["a", "b", "c"]);
        assert_eq!(passed(&["b", "c"], &[], &[]), ["c"]);
        assert_eq!(passed(&["a", "b"], &["a"], &[]), [""; 0]);
        assert_eq!(passed(&["a", "b"], &["c"], &[]), ["a", "b"]);
        assert_eq!(passed(&["a", "b"], &[], &["a"]), [""; 0]);
    }

    #[test]
    fn what_is_known_is_of_one_fingerprint() {
        let fingerprints = BTreeMap::from([(key("a"), "1".to_string()), (key("b"), "1".to_string())]);
        let mut passing = Passing { fingerprints, ..Passing::default() };
        passing.found_idle(&key("a"), "1".to_string());
        passing.found_idle(&key("b"), "0".to_string());
        assert_eq!(passing.idle().collect::<Vec<_>>(), [&key("a")]);
        passing.fingerprints.insert(key("a"), "2".to_string());
        assert_eq!(passing.idle().count(), 0);
        passing.passed(&key("a"), 7);
        let mut state = State { slot_at: 5, ..State::default() };
        passing.advance(&key("a"), &mut state);
        assert_eq!(state.slot_at, 7);
    }
}
