//! What a catalog has: its tasks and materialized views as nodes, and the versions of its tables.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use auric_catalog::TableIdent;
use auric_catalog::backend::document::{Document, TASK};
use auric_catalog::registry::{Catalog, CatalogContents, Table, TableSummary};
use chrono::{DateTime, Utc};

use super::super::build::{self, Query};
use super::super::definition::{Definition, is_materialized_view};
use super::super::hash;
use super::super::provenance::Provenance;
use super::super::sources::{SourceVersion, full_name};
use super::super::task::{Stored, Task, Trigger};
use super::node::{Node, NodeKey, NodeKind, Versions, When};
use super::passing::Passing;
use super::plan::Seen;
use super::state::{self, State};
use crate::engine::Engine;
use crate::error::Result;
use crate::session::{ConnectParameters, Session};

/// Whose session plans queries of views, which have no owner of their own.
pub const USER: &str = "auric";

/// What was last seen of a catalog.
#[derive(Debug, Default)]
pub struct Observed {
    contents: Option<Arc<CatalogContents>>,
    pub nodes: Vec<Node>,
    pub tasks: BTreeMap<NodeKey, Stored>,
    pub states: BTreeMap<NodeKey, State>,
    /// The documents that the states are, where the catalog keeps them.
    pub texts: BTreeMap<NodeKey, String>,
    pub versions: BTreeMap<String, Seen>,
    /// Tasks, those that cannot be read too.
    named: BTreeSet<TableIdent>,
    /// States of what is gone, with their documents.
    pub orphans: Vec<(NodeKey, String)>,
    /// What a version of a view's table was built from.
    views: HashMap<String, (String, View)>,
    /// A view could not be looked at.
    incomplete: bool,
    /// Which slots need no run.
    pub passing: Passing,
}

/// What is known of one version of a view's table.
#[derive(Debug, Clone)]
struct View {
    reads: BTreeSet<String>,
    built: Option<Versions>,
    published: Option<String>,
    published_at: Option<i64>,
}

impl Observed {
    /// Looks again. `false`: nothing has changed since the last look.
    pub async fn look(
        &mut self,
        engine: &Arc<Engine>,
        catalog: &Arc<Catalog>,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let contents = catalog.table_summaries().await?;
        let same = |last: &Arc<CatalogContents>| Arc::ptr_eq(last, &contents);
        if self.contents.as_ref().is_some_and(same) {
            return Ok(false);
        }
        // Documents were written, most often our own; the tables are what they were.
        let unchanged =
            !self.incomplete && self.contents.as_ref().is_some_and(|last| last.is_same(&contents));
        if !unchanged {
            self.see_versions(catalog, &contents, now).await;
        }
        let mut nodes = Vec::new();
        let mut tasks = BTreeMap::new();
        let documents = catalog.backend().documents(TASK).await?;
        self.named = documents.iter().map(|document| document.key.ident.clone()).collect();
        for stored in Task::read_all(documents) {
            if let Some(node) = task_node(catalog, &stored.task) {
                tasks.insert(node.key.clone(), stored);
                nodes.push(node);
            }
        }
        let names: BTreeSet<NodeKey> = tasks.keys().cloned().collect();
        // AFTER names tasks and views alike.
        nodes.iter_mut().for_each(|node| resolve_after(node, &names));
        if unchanged {
            nodes.extend(self.nodes.drain(..).filter(|node| node.key.kind == NodeKind::View));
        } else {
            nodes.extend(self.view_nodes(engine, catalog, &contents).await);
            self.passing.fingerprints = fingerprints(&contents, catalog, &nodes);
        }
        self.nodes = nodes;
        self.tasks = tasks;
        self.read_states(catalog).await?;
        self.find_orphans(&contents);
        self.contents = Some(contents);
        Ok(true)
    }

    /// Has the next look see everything anew.
    pub fn forget(&mut self) {
        self.contents = None;
    }

    async fn see_versions(&mut self, catalog: &Arc<Catalog>, contents: &CatalogContents, now: DateTime<Utc>) {
        let first_look = self.contents.is_none();
        let mut versions = BTreeMap::new();
        for summary in contents.tables() {
            let Some(table) = table_of(catalog, summary) else { continue };
            let name = full_name(&table);
            let version = SourceVersion::of(&table).to_json();
            let seen = match self.versions.get(&name) {
                Some(seen) if seen.version == version => seen.clone(),
                _ => {
                    let mut since = now.timestamp_millis();
                    if first_look {
                        let format = catalog.format(table.snapshot.format);
                        let last = format.last_change(catalog.storage(), &table.snapshot).await;
                        since = last.ok().flatten().map_or(since, |last| last.committed_at.min(since));
                    }
                    Seen { version, since }
                }
            };
            versions.insert(name, seen);
        }
        self.versions = versions;
    }

    async fn view_nodes(
        &mut self,
        engine: &Arc<Engine>,
        catalog: &Arc<Catalog>,
        contents: &CatalogContents,
    ) -> Vec<Node> {
        let (mut nodes, mut known) = (Vec::new(), HashMap::new());
        self.incomplete = false;
        for summary in contents.tables() {
            let Ok(snapshot) = &summary.snapshot else { continue };
            if !is_materialized_view(&snapshot.properties) {
                continue;
            }
            match self.view_node(engine, catalog, summary, &mut known).await {
                Ok(node) => nodes.extend(node),
                Err(error) => {
                    self.incomplete = true;
                    tracing::warn!(view = %summary.entry.ident, %error, "materialized view cannot be scheduled");
                }
            }
        }
        self.views = known;
        nodes
    }

    async fn view_node(
        &self,
        engine: &Arc<Engine>,
        catalog: &Arc<Catalog>,
        summary: &TableSummary,
        known: &mut HashMap<String, (String, View)>,
    ) -> Result<Option<Node>> {
        let Some(table) = table_of(catalog, summary) else { return Ok(None) };
        let Some(definition) = Definition::of(&table.snapshot.properties)? else { return Ok(None) };
        let name = full_name(&table);
        let at = format!("{:?} {}", table.snapshot.version, definition.hash());
        let view = match self.views.get(&name) {
            Some((seen, view)) if *seen == at => view.clone(),
            _ => view_of(engine, catalog, &table, &definition).await?,
        };
        known.insert(name.clone(), (at, view.clone()));
        let when = match &definition.schedule {
            Some(schedule) => When::of(schedule)?,
            None => When::Never,
        };
        Ok(Some(Node {
            key: NodeKey {
                catalog: catalog.name().to_string(),
                kind: NodeKind::View,
                ident: table.ident.clone(),
            },
            id: match &definition.schedule {
                Some(schedule) => format!("{} {schedule}", table.snapshot.table_id),
                None => table.snapshot.table_id.clone(),
            },
            when,
            reads: view.reads,
            writes: name,
            retries: definition.retries,
            suspended: definition.suspended,
            since: view.published_at.unwrap_or_default(),
            built: view.built.filter(|_| definition.populated),
            published: view.published,
            hash: definition.hash(),
        }))
    }

    /// What cannot be read is not gone.
    fn find_orphans(&mut self, contents: &CatalogContents) {
        let is_gone = |key: &NodeKey| match key.kind {
            NodeKind::Task => !self.named.contains(&key.ident),
            NodeKind::View => contents.table(&key.ident).is_none(),
        };
        let gone = self.texts.iter().filter(|(key, _)| is_gone(key));
        self.orphans = gone.map(|(key, text)| (key.clone(), text.clone())).collect();
    }

    async fn read_states(&mut self, catalog: &Arc<Catalog>) -> Result<()> {
        let mut texts = BTreeMap::new();
        let mut states = BTreeMap::new();
        for (kind, node_kind) in state::KINDS {
            for Document { key, text } in catalog.backend().documents(kind).await? {
                let key = NodeKey { catalog: catalog.name().to_string(), kind: node_kind, ident: key.ident };
                match State::from_json(&text) {
                    Ok(state) => _ = states.insert(key.clone(), state),
                    Err(error) => {
                        tracing::warn!(node = %key, %error, "state of the scheduler is not readable")
                    }
                }
                texts.insert(key, text);
            }
        }
        // A catalog that keeps none is remembered here.
        for (key, state) in std::mem::take(&mut self.states) {
            if !self.texts.contains_key(&key) {
                states.entry(key).or_insert(state);
            }
        }
        let there: BTreeSet<&NodeKey> = self.nodes.iter().map(|node| &node.key).collect();
        states.retain(|key, _| there.contains(key));
        self.passing.retain(|key| there.contains(key));
        states.iter_mut().for_each(|(key, state)| self.passing.advance(key, state));
        self.states = states;
        self.texts = texts;
        Ok(())
    }
}

/// Of each view, what decides what its refresh would do: its own table, those that it reads, and what there
/// is of names and views at all, as a query may mean another table by the same name.
fn fingerprints(
    contents: &CatalogContents,
    catalog: &Arc<Catalog>,
    nodes: &[Node],
) -> BTreeMap<NodeKey, String> {
    let mut tables: HashMap<String, String> = HashMap::new();
    let mut names = String::new();
    for namespace in &contents.namespaces {
        names.push_str(&format!("{:?}", namespace.entry));
        namespace.views.iter().for_each(|view| names.push_str(&format!("{:?}", view.entry)));
    }
    for summary in contents.tables() {
        names.push_str(&format!("{} {}", summary.entry.oid, summary.entry.ident));
        let Some(table) = table_of(catalog, summary) else { continue };
        let at = format!("{} {:?}", summary.entry.pointer, table.snapshot.version);
        tables.insert(full_name(&table), at);
    }
    let names = hash::digits(hash::of([names.as_str()]));
    let of_node = |node: &Node| {
        let own = tables.get(&node.writes)?;
        let read = node.reads.iter().map(|name| tables.get(name)).collect::<Option<Vec<_>>>()?;
        let parts = [&names, own].into_iter().chain(read).map(String::as_str);
        Some((node.key.clone(), hash::digits(hash::of(parts))))
    };
    nodes.iter().filter(|node| node.key.kind == NodeKind::View).filter_map(of_node).collect()
}

fn table_of(catalog: &Arc<Catalog>, summary: &TableSummary) -> Option<Table> {
    let snapshot = summary.snapshot.as_ref().ok()?.clone();
    let entry = summary.entry.clone();
    Some(Table { catalog: catalog.clone(), ident: entry.ident.clone(), entry: Some(entry), snapshot })
}

fn task_node(catalog: &Arc<Catalog>, task: &Task) -> Option<Node> {
    let key = |ident: &TableIdent, kind| NodeKey {
        catalog: catalog.name().to_string(),
        kind,
        ident: ident.clone(),
    };
    let when = match &task.trigger {
        Trigger::None => When::Never,
        Trigger::Schedule(schedule) => match When::of(schedule) {
            Ok(when) => when,
            Err(error) => {
                tracing::warn!(task = %task.ident, %error, "task cannot be scheduled");
                return None;
            }
        },
        Trigger::After(names) => When::After(names.iter().map(|ident| key(ident, NodeKind::View)).collect()),
    };
    Some(Node {
        key: key(&task.ident, NodeKind::Task),
        id: match task.trigger.clause() {
            Some(clause) => format!("{} {clause}", task.id),
            None => task.id.clone(),
        },
        when,
        reads: task.reads.clone(),
        writes: task.target.clone(),
        retries: task.retries,
        suspended: task.suspended,
        since: task.since,
        built: None,
        published: None,
        hash: task.hash(),
    })
}

fn resolve_after(node: &mut Node, tasks: &BTreeSet<NodeKey>) {
    let When::After(keys) = &mut node.when else { return };
    for key in keys {
        let task = NodeKey { kind: NodeKind::Task, ..key.clone() };
        if tasks.contains(&task) {
            *key = task;
        }
    }
}

async fn view_of(
    engine: &Arc<Engine>,
    catalog: &Arc<Catalog>,
    table: &Table,
    definition: &Definition,
) -> Result<View> {
    let format = catalog.format(table.snapshot.format);
    let last = format.last_change(catalog.storage(), &table.snapshot).await?;
    let built = last.as_ref().map(Provenance::of_version).transpose()?.flatten();
    let built = built.filter(|built| built.definition == definition.hash());
    let Some(built) = built else {
        // Not refreshed as it is defined now: what it will read, its query tells.
        let reads = match planned_reads(engine, catalog, table, definition).await {
            Ok(reads) => reads,
            Err(error) => {
                tracing::debug!(view = %table.ident, %error, "query of a materialized view cannot be planned");
                BTreeSet::new()
            }
        };
        return Ok(View { reads, built: None, published: None, published_at: None });
    };
    let own = built.sources.iter().filter(|(_, version)| version.via.is_none());
    let versions: Versions = own.map(|(name, version)| (name.clone(), version.to_json())).collect();
    Ok(View {
        reads: versions.keys().cloned().collect(),
        built: Some(versions),
        published: Some(built.run_id),
        published_at: last.map(|last| last.committed_at),
    })
}

async fn planned_reads(
    engine: &Arc<Engine>,
    catalog: &Arc<Catalog>,
    table: &Table,
    definition: &Definition,
) -> Result<BTreeSet<String>> {
    let session = session(engine, catalog.name(), 0)?;
    let scope = crate::planner::Scope { reads_unpopulated: true, ..session.scope().await? };
    let query = Query::of(&scope, table, definition).await?;
    let sources = build::sources(&query, table, definition).await?;
    Ok(sources.tables.iter().map(full_name).collect())
}

/// A session of the scheduler itself.
pub fn session(engine: &Arc<Engine>, catalog: &str, pid: i32) -> Result<Session> {
    engine.connect(ConnectParameters {
        user: USER.to_string(),
        database: catalog.to_string(),
        pid,
        settings: Vec::new(),
    })
}
