//! What of a graph may be begun: each node when all that it comes after are done; what comes after one that
//! failed is not begun at all.

use std::collections::BTreeSet;

/// Nodes are numbers; each comes after smaller ones only.
#[derive(Debug)]
pub struct Order {
    /// Of each node, those that come directly after it.
    after: Vec<Vec<usize>>,
    /// Of each node, how many directly before it are not done.
    missing: Vec<usize>,
    ready: BTreeSet<usize>,
}

impl Order {
    /// `before`: of each node, those that it comes directly after.
    pub fn new(before: &[BTreeSet<usize>]) -> Self {
        let mut after = vec![Vec::new(); before.len()];
        for (node, before) in before.iter().enumerate() {
            for before in before {
                if let Some(after) = after.get_mut(*before) {
                    after.push(node);
                }
            }
        }
        let missing: Vec<usize> = before.iter().map(BTreeSet::len).collect();
        let ready = missing.iter().enumerate().filter(|(_, missing)| **missing == 0).map(|(node, _)| node);
        Self { ready: ready.collect(), after, missing }
    }

    /// The first that may be begun.
    pub fn first(&self) -> Option<usize> {
        self.ready.first().copied()
    }

    /// The first that may be begun, which it is now.
    pub fn begin(&mut self) -> Option<usize> {
        self.ready.pop_first()
    }

    /// A node is done. One that fails is not: what comes after it is never ready.
    pub fn done(&mut self, node: usize) {
        for after in self.after.get(node).into_iter().flatten() {
            let Some(missing) = self.missing.get_mut(*after) else { continue };
            *missing = missing.saturating_sub(1);
            if *missing == 0 {
                self.ready.insert(*after);
            }
        }
    }

    /// Nothing more is begun.
    pub fn stop(&mut self) {
        self.missing.fill(usize::MAX);
        self.ready.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(before: &[&[usize]]) -> Order {
        Order::new(&before.iter().map(|before| before.iter().copied().collect()).collect::<Vec<_>>())
    }

    fn begun(order: &mut Order) -> Vec<usize> {
        std::iter::from_fn(|| order.begin()).collect()
    }

    #[test]
    fn nothing_begins_before_what_it_comes_after_is_done() {
        // 0 and 1 beside each other, 2 after both, 3 after 1, 4 after all of them.
        let mut order = order(&[&[], &[], &[0, 1], &[1], &[2, 3]]);
        assert_eq!(begun(&mut order), [0, 1]);
        assert_eq!(order.first(), None);
        order.done(1);
        assert_eq!(begun(&mut order), [3]);
        order.done(0);
        assert_eq!(begun(&mut order), [2]);
        order.done(3);
        assert_eq!(order.first(), None);
        order.done(2);
        assert_eq!(begun(&mut order), [4]);
    }

    #[test]
    fn a_failure_stops_what_comes_after_it_only() {
        let mut order = order(&[&[], &[], &[0], &[1], &[2, 3]]);
        assert_eq!(begun(&mut order), [0, 1]);
        order.done(1);
        // 0 has failed.
        assert_eq!(begun(&mut order), [3]);
        order.done(3);
        assert_eq!(order.first(), None);
    }

    #[test]
    fn what_was_stopped_begins_nothing() {
        let mut order = order(&[&[], &[], &[0]]);
        assert_eq!(order.begin(), Some(0));
        order.stop();
        order.done(0);
        assert!(order.first().is_none() && order.begin().is_none());
    }
}
