//! All of a catalog at once, for `pg_catalog` and `information_schema`: every namespace and table
//! with its schema. One statement of a BI tool asks for it many times, so it is kept until the
//! catalog changes.
//!
//! A catalog's change counter tells of everything but commits to Delta tables (and of nothing at
//! all, for a catalog that has no counter): those are looked at again after [`RECHECK`]. Changes
//! made through this server show at once, and alterations of Delta tables that other Auric servers
//! make are counted ([`Backend::count_change`](crate::backend::Backend::count_change)).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use tokio::sync::Mutex;

use super::Catalog;
use crate::TableIdent;
use crate::backend::{NamespaceEntry, TableEntry, ViewEntry};
use crate::error::{Error, Result};
use crate::table::{TableFormat, TableSnapshot};
use crate::view::ViewDefinition;

/// How old what no counter covers may be.
const RECHECK: Duration = Duration::from_millis(500);
/// Tables loaded at once.
const CONCURRENT_LOADS: usize = 32;

/// A catalog's namespaces in order of name.
#[derive(Debug, Default)]
pub struct CatalogContents {
    pub namespaces: Vec<NamespaceContents>,
}

/// A namespace, its tables and its views, each in order of name.
#[derive(Debug)]
pub struct NamespaceContents {
    pub entry: NamespaceEntry,
    pub tables: Vec<TableSummary>,
    pub views: Vec<ViewSummary>,
}

/// A view with its definition, or why it cannot be read.
#[derive(Debug, Clone)]
pub struct ViewSummary {
    pub entry: ViewEntry,
    pub definition: Result<Arc<ViewDefinition>, Arc<Error>>,
}

/// A table with its current version, or why it cannot be read.
#[derive(Debug, Clone)]
pub struct TableSummary {
    pub entry: TableEntry,
    pub snapshot: Result<Arc<TableSnapshot>, Arc<Error>>,
}

impl CatalogContents {
    pub fn namespace(&self, name: &str) -> Option<&NamespaceContents> {
        let at = self.namespaces.binary_search_by(|n| n.entry.name.as_str().cmp(name)).ok()?;
        self.namespaces.get(at)
    }

    pub fn table(&self, ident: &TableIdent) -> Option<&TableSummary> {
        let tables = &self.namespace(&ident.namespace)?.tables;
        let at = tables.binary_search_by(|t| t.entry.ident.name.cmp(&ident.name)).ok()?;
        tables.get(at)
    }

    pub fn view(&self, ident: &TableIdent) -> Option<&ViewSummary> {
        let views = &self.namespace(&ident.namespace)?.views;
        let at = views.binary_search_by(|v| v.entry.ident.name.cmp(&ident.name)).ok()?;
        views.get(at)
    }

    /// Whether everything is what it was, so that what was made of it need not be made anew. A table that
    /// was looked at again and found unchanged has the same snapshot in memory.
    pub fn is_same(&self, other: &Self) -> bool {
        let is_same_table = |(a, b): (&TableSummary, &TableSummary)| {
            let same = matches!((&a.snapshot, &b.snapshot), (Ok(a), Ok(b)) if Arc::ptr_eq(a, b));
            same && a.entry == b.entry
        };
        let is_same_view = |(a, b): (&ViewSummary, &ViewSummary)| {
            a.entry == b.entry && a.definition.is_ok() && b.definition.is_ok()
        };
        let is_same = |(a, b): (&NamespaceContents, &NamespaceContents)| {
            a.entry == b.entry
                && a.tables.len() == b.tables.len()
                && a.views.len() == b.views.len()
                && a.tables.iter().zip(&b.tables).all(is_same_table)
                && a.views.iter().zip(&b.views).all(is_same_view)
        };
        self.namespaces.len() == other.namespaces.len()
            && self.namespaces.iter().zip(&other.namespaces).all(is_same)
    }

    pub fn tables(&self) -> impl Iterator<Item = &TableSummary> {
        self.namespaces.iter().flat_map(|namespace| &namespace.tables)
    }

    pub fn views(&self) -> impl Iterator<Item = &ViewSummary> {
        self.namespaces.iter().flat_map(|namespace| &namespace.views)
    }
}

/// What was read last, and of when it is.
#[derive(Debug, Default)]
pub(super) struct ContentsCache {
    /// Held while loading, so that many statements at once load once.
    last: Mutex<Option<Loaded>>,
    /// Counts the changes made through this server.
    own_changes: AtomicU64,
}

#[derive(Debug)]
struct Loaded {
    contents: Arc<CatalogContents>,
    own_changes: u64,
    counter: Option<i64>,
    at: Instant,
}

impl Loaded {
    fn is_current(&self, counter: Option<i64>, own_changes: u64) -> bool {
        if self.own_changes != own_changes || self.counter != counter {
            return false;
        }
        let has_delta = || self.contents.tables().any(|t| t.entry.format == TableFormat::Delta);
        self.at.elapsed() < RECHECK || (counter.is_some() && !has_delta())
    }
}

impl Catalog {
    /// Everything in the catalog; a table that cannot be read appears with its error. From memory
    /// unless something changed.
    pub async fn table_summaries(&self) -> Result<Arc<CatalogContents>> {
        let beneath = match &self.beneath {
            Some(beneath) => Some(Box::pin(beneath.table_summaries()).await?),
            None => None,
        };
        if let Some(unchanged) = beneath.as_ref().filter(|_| !self.backend.has_changes()) {
            return Ok(unchanged.clone());
        }
        let mut last = self.contents.last.lock().await;
        // Both before reading: what changes meanwhile makes the result stale, not wrong for ever.
        let own_changes = self.contents.own_changes.load(Ordering::Acquire);
        let counter = self.backend.change_counter().await?;
        if let Some(loaded) = &*last
            && loaded.is_current(counter, own_changes)
        {
            return Ok(loaded.contents.clone());
        }
        let previous = beneath.or_else(|| last.as_ref().map(|loaded| loaded.contents.clone()));
        let contents = Arc::new(self.load_contents(previous.as_deref()).await?);
        *last = Some(Loaded { contents: contents.clone(), own_changes, counter, at: Instant::now() });
        Ok(contents)
    }

    /// To be called after a change to the catalog or to a table's schema, so that the next
    /// [`Catalog::table_summaries`] shows it.
    pub fn contents_changed(&self) {
        self.contents.own_changes.fetch_add(1, Ordering::AcqRel);
        self.committed();
    }

    async fn load_contents(&self, previous: Option<&CatalogContents>) -> Result<CatalogContents> {
        let mut listed = Vec::new();
        for entry in self.backend.namespaces().await?.iter() {
            match self.backend.tables(&entry.name).await {
                Ok(tables) => listed.push((entry.clone(), tables)),
                // Dropped in between.
                Err(Error::NamespaceNotFound(_)) => {}
                Err(e) => return Err(e),
            }
        }
        listed.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        let loads = listed.iter().enumerate().flat_map(|(namespace, (_, tables))| {
            tables.iter().map(move |entry| async move { (namespace, self.summary(entry, previous).await) })
        });
        let loads: Vec<_> = loads.collect();
        let loaded: Vec<(usize, TableSummary)> =
            futures::stream::iter(loads).buffered(CONCURRENT_LOADS).map(Ok::<_, Error>).try_collect().await?;
        let mut namespaces: Vec<NamespaceContents> = Vec::with_capacity(listed.len());
        for (entry, tables) in listed {
            let views = self.view_summaries(&entry.name).await?;
            namespaces.push(NamespaceContents { entry, tables: Vec::with_capacity(tables.len()), views });
        }
        for (namespace, summary) in loaded {
            if let Some(namespace) = namespaces.get_mut(namespace) {
                namespace.tables.push(summary);
            }
        }
        for namespace in &mut namespaces {
            namespace.tables.sort_by(|a, b| a.entry.ident.name.cmp(&b.entry.ident.name));
        }
        Ok(CatalogContents { namespaces })
    }

    async fn view_summaries(&self, namespace: &str) -> Result<Vec<ViewSummary>> {
        let mut views = Vec::new();
        for entry in self.backend.views(namespace).await? {
            let definition = self.view_definition(&entry).await.map_err(Arc::new);
            views.push(ViewSummary { entry, definition });
        }
        views.sort_by(|a, b| a.entry.ident.name.cmp(&b.entry.ident.name));
        Ok(views)
    }

    /// An Iceberg table with the same pointer as before is the same: its metadata is immutable. What lies
    /// beneath a transaction was looked at just now.
    async fn summary(&self, entry: &TableEntry, previous: Option<&CatalogContents>) -> TableSummary {
        if let Some(snapshot) = self.backend.changed(entry) {
            return TableSummary { entry: entry.clone(), snapshot: Ok(snapshot) };
        }
        if (entry.format == TableFormat::Iceberg || self.beneath.is_some())
            && let Some(before) = previous.and_then(|contents| contents.table(&entry.ident))
            && before.entry == *entry
            && before.snapshot.is_ok()
        {
            return before.clone();
        }
        let mut snapshot = self.format(entry.format).load(&self.storage, entry).await.map_err(Arc::new);
        if let Ok(now) = &snapshot
            && let Some(before) = previous.and_then(|contents| contents.table(&entry.ident))
            && let Ok(known) = &before.snapshot
            && before.entry == *entry
            && (&known.version, &known.table_id) == (&now.version, &now.table_id)
        {
            snapshot = Ok(known.clone());
        }
        TableSummary { entry: entry.clone(), snapshot }
    }
}
