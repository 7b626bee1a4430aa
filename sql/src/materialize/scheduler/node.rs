//! What is scheduled: tasks and materialized views, and what they have to do with each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use auric_catalog::TableIdent;

use super::super::schedule::{Schedule, Span};
use super::cron::ZonedCron;
use super::slots::Slots;
use crate::error::{Error, Result};

/// What kind of thing is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeKind {
    Task,
    View,
}

/// A task or a materialized view of one catalog.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeKey {
    pub catalog: String,
    pub kind: NodeKind,
    pub ident: TableIdent,
}

impl fmt::Display for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            NodeKind::Task => "task",
            NodeKind::View => "materialized view",
        };
        write!(f, "{kind} {}", self.ident)
    }
}

/// When something is run.
#[derive(Debug, Clone)]
pub enum When {
    /// When it is told to.
    Never,
    Slots(Slots),
    /// When a table that it reads has changed.
    OnUpdate {
        at_most_every: Option<Span>,
    },
    /// So that its rows are no older.
    Lag(Span),
    /// When all of these have been run.
    After(Vec<NodeKey>),
}

impl When {
    /// Fails with 22023 for a cron expression that means nothing.
    pub fn of(schedule: &Schedule) -> Result<Self> {
        schedule.check()?;
        Ok(match schedule {
            Schedule::Every(span) => Self::Slots(Slots::Every(*span)),
            Schedule::Cron { expression, time_zone } => {
                let cron = ZonedCron::parse(expression, time_zone.as_deref());
                let wrong = |reason| Error::new(crate::error::SqlState::INVALID_PARAMETER_VALUE, reason);
                Self::Slots(Slots::Cron(Box::new(cron.map_err(wrong)?)))
            }
            Schedule::OnUpdate { at_most_every } => Self::OnUpdate { at_most_every: *at_most_every },
            Schedule::TargetLag(span) => Self::Lag(*span),
        })
    }

    /// Whether what is read has to be looked at all the time.
    pub fn watches(&self) -> bool {
        matches!(self, Self::OnUpdate { .. } | Self::Lag(_))
    }
}

/// Versions by `catalog.schema.table`, as texts that are equal for equal versions.
pub type Versions = BTreeMap<String, String>;

/// A task or materialized view as it is now.
#[derive(Debug, Clone)]
pub struct Node {
    pub key: NodeKey,
    /// Tells it from one of the same name before it, and from what it was under another schedule.
    pub id: String,
    pub when: When,
    /// `catalog.schema.table` of what it reads itself.
    pub reads: BTreeSet<String>,
    /// `catalog.schema.table` of what it changes.
    pub writes: String,
    /// Of a run that fails; `None`: as the scheduler has it.
    pub retries: Option<u32>,
    pub suspended: bool,
    /// Milliseconds since the epoch: no slot up to then is run; 0: none before it was first seen.
    pub since: i64,
    /// Of a view: the versions that its rows were built from; `None`: it has none.
    pub built: Option<Versions>,
    /// Of a view: the run that its rows are of.
    pub published: Option<String>,
    /// What the id of a run is made from: two definitions that may do something else have different ones.
    pub hash: String,
}

/// All nodes, and which comes before which.
#[derive(Debug, Default)]
pub struct Graph {
    pub nodes: BTreeMap<NodeKey, Node>,
    /// Of each node, by its place among them, those directly before it.
    before: Vec<Vec<usize>>,
    places: BTreeMap<NodeKey, usize>,
    keys: Vec<NodeKey>,
}

impl Graph {
    pub fn new(nodes: impl IntoIterator<Item = Node>) -> Self {
        let nodes: BTreeMap<NodeKey, Node> = nodes.into_iter().map(|node| (node.key.clone(), node)).collect();
        let keys: Vec<NodeKey> = nodes.keys().cloned().collect();
        let places: BTreeMap<NodeKey, usize> =
            keys.iter().enumerate().map(|(place, key)| (key.clone(), place)).collect();
        let mut writers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (place, node) in nodes.values().enumerate() {
            writers.entry(&node.writes).or_default().push(place);
        }
        let before = nodes.values().enumerate().map(|(place, node)| {
            let written = node.reads.iter().filter_map(|name| writers.get(name.as_str())).flatten().copied();
            let mut own: BTreeSet<usize> = written.collect();
            if let When::After(keys) = &node.when {
                own.extend(keys.iter().filter_map(|key| places.get(key)));
            }
            own.remove(&place);
            own.into_iter().collect()
        });
        let before = before.collect();
        Self { nodes, before, places, keys }
    }

    /// All nodes before one, directly or through others, itself not counted; the nearest first.
    pub fn all_before(&self, key: &NodeKey) -> Vec<&NodeKey> {
        let Some(start) = self.places.get(key) else { return Vec::new() };
        let mut seen = vec![false; self.keys.len()];
        let mut found = vec![*start];
        let mut next = 0;
        while let Some(place) = found.get(next).copied() {
            next += 1;
            for before in self.before.get(place).into_iter().flatten() {
                if let Some(seen) = seen.get_mut(*before).filter(|seen| !**seen && before != start) {
                    *seen = true;
                    found.push(*before);
                }
            }
        }
        found.iter().skip(1).filter_map(|place| self.keys.get(*place)).collect()
    }

    /// The materialized view that a table is.
    pub fn view(&self, name: &str) -> Option<&Node> {
        let mut parts = name.splitn(3, '.');
        let (catalog, namespace, table) = (parts.next()?, parts.next()?, parts.next()?);
        let ident = TableIdent::new(namespace, table);
        self.nodes.get(&NodeKey { catalog: catalog.to_string(), kind: NodeKind::View, ident })
    }
}
