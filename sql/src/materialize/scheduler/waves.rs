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
        for key in &due {
            if self.waves.values().any(|wave| wave.active.contains(key)) {
                continue;
            }
            let before = graph.all_before(key);
            let again = plan.ready.iter().chain(&plan.waiting).any(|run| run.key == *key && run.attempt > 1);
            let follows = |wave: &&mut Wave| match wave.members.contains(key) {
                // What follows waits for it there.
                true => again,
                false => before.iter().any(|before| wave.members.contains(*before)),
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

    /// The pins of the wave that a run is part of.
    pub fn pins(&self, key: &NodeKey) -> Pins {
        let wave = self.waves.values().find(|wave| wave.active.contains(key));
        wave.map(|wave| wave.pins.clone()).unwrap_or_default()
    }
}
