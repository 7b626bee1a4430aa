//! Runs that belong together: those that are due at the same time, and those that follow from them. All of a
//! wave read one version of each table that none of them changes.

use std::collections::{BTreeMap, BTreeSet};

use super::node::{Graph, NodeKey};
use super::plan::Plan;
use crate::session::transaction::Pins;

#[derive(Debug, Default)]
pub struct Waves {
    waves: BTreeMap<u64, Wave>,
    last: u64,
}

#[derive(Debug, Default)]
struct Wave {
    pins: Pins,
    /// All that were ever part of it.
    members: BTreeSet<NodeKey>,
    /// Those that wait or run.
    active: BTreeSet<NodeKey>,
}

impl Waves {
    /// Sorts what is due into waves, and forgets those that are over. Returns the pins of the wave that
    /// begins, with its members.
    pub fn sort(
        &mut self,
        graph: &Graph,
        plan: &Plan,
        running: &BTreeSet<NodeKey>,
    ) -> Option<(Pins, BTreeSet<NodeKey>)> {
        let due: BTreeSet<NodeKey> =
            plan.ready.iter().chain(&plan.waiting).map(|run| run.key.clone()).collect();
        for wave in self.waves.values_mut() {
            wave.active.retain(|key| due.contains(key) || running.contains(key));
        }
        let mut fresh: BTreeSet<NodeKey> = BTreeSet::new();
        // What comes before is sorted before.
        let mut ordered: Vec<(Vec<&NodeKey>, &NodeKey)> =
            due.iter().map(|key| (graph.all_before(key), key)).collect();
        ordered.sort_by_key(|(before, _)| before.iter().filter(|before| due.contains(**before)).count());
        for (before, key) in ordered {
            if self.waves.values().any(|wave| wave.active.contains(key)) {
                continue;
            }
            let again = plan.ready.iter().chain(&plan.waiting).any(|run| run.key == *key && run.attempt > 1);
            let follows = |wave: &&mut Wave| {
                let elsewhere = |before: &NodeKey| due.contains(before) && !wave.active.contains(before);
                match wave.members.contains(key) {
                    // What follows waits for it there.
                    true => again,
                    false => {
                        before.iter().any(|before| wave.members.contains(*before))
                            && !before.iter().any(|before| elsewhere(before))
                    }
                }
            };
            match self.waves.values_mut().rev().find(follows) {
                Some(wave) => {
                    wave.members.insert(key.clone());
                    wave.active.insert(key.clone());
                }
                None => _ = fresh.insert(key.clone()),
            }
        }
        self.waves.retain(|_, wave| !wave.active.is_empty());
        if fresh.is_empty() {
            return None;
        }
        self.last += 1;
        let wave = Wave { members: fresh.clone(), active: fresh.clone(), ..Wave::default() };
        let pins = wave.pins.clone();
        self.waves.insert(self.last, wave);
        Some((pins, fresh))
    }

    /// A run is over: due again, it begins another wave, unless it is tried again.
    pub fn ended(&mut self, key: &NodeKey) {
        self.waves.values_mut().for_each(|wave| _ = wave.active.remove(key));
    }

    /// Those that have ended in a wave in which something after them has not: begun again now, they would
    /// give it another version than what it reads beside.
    pub fn held(&self, graph: &Graph) -> BTreeSet<NodeKey> {
        let mut held = BTreeSet::new();
        for wave in self.waves.values() {
            for key in &wave.active {
                let ended =
                    |before: &&NodeKey| wave.members.contains(*before) && !wave.active.contains(*before);
                held.extend(graph.all_before(key).into_iter().filter(ended).cloned());
            }
        }
        held
    }

    /// The pins of the wave that a run is part of.
    pub fn pins(&self, key: &NodeKey) -> Pins {
        let wave = self.waves.values().find(|wave| wave.active.contains(key));
        wave.map(|wave| wave.pins.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use auric_catalog::TableIdent;

    use super::super::node::{Node, NodeKind, When};
    use super::super::plan::Due;
    use super::*;

    fn key(name: &str) -> NodeKey {
        NodeKey { catalog: "lake".into(), kind: NodeKind::View, ident: TableIdent::new("s", name) }
    }

    fn node(name: &str, reads: &[&str]) -> Node {
        Node {
            key: key(name),
            id: String::new(),
            when: When::OnUpdate { at_most_every: None },
            reads: reads.iter().map(|read| format!("lake.s.{read}")).collect(),
            writes: format!("lake.s.{name}"),
            retries: None,
            suspended: false,
            since: 0,
            built: None,
            published: None,
            hash: String::new(),
        }
    }

    fn due(name: &str, attempt: u32) -> Due {
        Due { key: key(name), slot: "x".into(), slot_at: 0, attempt, seen: None, followed: None }
    }

    fn plan(ready: &[(&str, u32)], waiting: &[&str]) -> Plan {
        Plan {
            ready: ready.iter().map(|(name, attempt)| due(name, *attempt)).collect(),
            waiting: waiting.iter().map(|name| due(name, 1)).collect(),
            ..Plan::default()
        }
    }

    #[test]
    fn what_follows_reads_what_the_wave_reads() {
        let graph = Graph::new([node("fact", &["t"]), node("both", &["fact", "t"]), node("other", &["u"])]);
        let mut waves = Waves::default();
        let nobody = BTreeSet::new();
        let (first, members) = waves.sort(&graph, &plan(&[("fact", 1)], &["both"]), &nobody).unwrap();
        assert_eq!(members, BTreeSet::from([key("fact"), key("both")]));
        assert!(waves.held(&graph).is_empty());
        // While it runs, something else is due: another wave.
        let running = BTreeSet::from([key("fact")]);
        let (second, _) = waves.sort(&graph, &plan(&[("other", 1)], &["both"]), &running).unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        // It has ended: what it reads has changed again, but it waits for what follows.
        assert!(waves.sort(&graph, &plan(&[("both", 1)], &[]), &BTreeSet::from([key("other")])).is_none());
        assert_eq!(waves.held(&graph), BTreeSet::from([key("fact")]));
        assert!(Arc::ptr_eq(&waves.pins(&key("both")), &first));
        assert!(waves.sort(&graph, &plan(&[], &[]), &nobody).is_none());
        assert!(waves.held(&graph).is_empty());
        let (third, _) = waves.sort(&graph, &plan(&[("fact", 1)], &["both"]), &nobody).unwrap();
        assert!(!Arc::ptr_eq(&first, &third));
        // Tried again, it reads what it read before.
        assert!(waves.sort(&graph, &plan(&[], &["both"]), &nobody).is_none());
        assert!(waves.sort(&graph, &plan(&[("fact", 2)], &["both"]), &nobody).is_none());
        assert!(Arc::ptr_eq(&waves.pins(&key("fact")), &third));
    }

    #[test]
    fn what_is_due_again_at_once_begins_another_wave() {
        let graph = Graph::new([node("fact", &["t"]), node("both", &["fact", "t"])]);
        let mut waves = Waves::default();
        let nobody = BTreeSet::new();
        let (first, _) = waves.sort(&graph, &plan(&[("fact", 1)], &["both"]), &nobody).unwrap();
        waves.ended(&key("fact"));
        assert!(waves.sort(&graph, &plan(&[("both", 1)], &[]), &nobody).is_none());
        waves.ended(&key("both"));
        assert!(waves.held(&graph).is_empty());
        let (second, members) = waves.sort(&graph, &plan(&[("fact", 1)], &["both"]), &nobody).unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        assert_eq!(members.len(), 2);
    }

    #[test]
    fn what_becomes_due_by_a_run_joins_its_wave() {
        let graph = Graph::new([node("a", &["t"]), node("b", &["a"]), node("c", &["b"])]);
        let mut waves = Waves::default();
        let nobody = BTreeSet::new();
        let (pins, _) = waves.sort(&graph, &plan(&[("a", 1)], &[]), &nobody).unwrap();
        waves.sort(&graph, &plan(&[], &[]), &BTreeSet::from([key("a")]));
        assert!(waves.sort(&graph, &plan(&[("b", 1)], &[]), &nobody).is_none());
        assert!(Arc::ptr_eq(&waves.pins(&key("b")), &pins));
        waves.sort(&graph, &plan(&[], &[]), &BTreeSet::from([key("b")]));
        assert!(waves.sort(&graph, &plan(&[("c", 1)], &[]), &nobody).is_none());
        assert!(Arc::ptr_eq(&waves.pins(&key("c")), &pins));
    }
}
