//! A catalog's backend as one transaction sees it: what the transaction has changed lies over what
//! everybody sees. Nothing is changed beneath before COMMIT.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::state::{Known, Namespace, Relation, State};
use crate::TableIdent;
use crate::backend::change::Entry;
use crate::backend::document::{Document, DocumentChange, DocumentKey, JournalEntry, TASK};
use crate::backend::{Backend, NamespaceEntry, NewTableEntry, Oid, SwapOutcome, TableEntry, ViewEntry};
use crate::error::{Error, Result};
use crate::name::check_name;
use crate::storage::{Storage, to_url};
use crate::table::{PendingChange, TableFormat, TableSnapshot};
use crate::write::WrittenFiles;

/// The transaction's backend.
#[derive(Debug)]
pub struct Overlay {
    beneath: Arc<dyn Backend>,
    storage: Storage,
    pub(super) state: Mutex<State>,
    /// Tables that were read and not touched, at the version that was seen first.
    seen: Mutex<HashMap<TableIdent, (TableEntry, Arc<TableSnapshot>)>>,
    /// Metadata files of views, written by the transaction.
    pub(super) view_files: Mutex<Vec<(String, WrittenFiles)>>,
    /// What was undone: open cursors may read its files until the end.
    undone: Mutex<Vec<Arc<PendingChange>>>,
    changes: AtomicI64,
}

impl Overlay {
    pub fn new(beneath: Arc<dyn Backend>, storage: Storage) -> Self {
        Self {
            beneath,
            storage,
            state: Mutex::default(),
            seen: Mutex::default(),
            view_files: Mutex::default(),
            undone: Mutex::default(),
            changes: AtomicI64::new(0),
        }
    }

    /// Makes a change, unless it is one that COMMIT could not make.
    pub(super) fn change<T>(&self, make: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let mut state = self.state.lock();
        let mut next = state.clone();
        let made = make(&mut next)?;
        next.check(None, self.beneath.is_transactional())?;
        *state = next;
        self.count_change();
        Ok(made)
    }

    pub(super) fn count_change(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Keeps the files of what is undone until the transaction is over.
    pub(super) fn keep_undone(&self, relations: &[Relation]) {
        self.undone.lock().extend(relations.iter().filter_map(|relation| relation.pending.clone()));
    }

    /// The end: files of what is not committed are deleted.
    pub(super) fn forget(&self) {
        drop(std::mem::take(&mut *self.state.lock()));
        self.undone.lock().clear();
        self.view_files.lock().clear();
    }

    /// The version of a table that was read and not touched.
    pub(super) fn seen_version(&self, entry: &Entry) -> Option<Arc<TableSnapshot>> {
        let seen = self.seen.lock();
        seen.get(entry.ident()).filter(|(seen, _)| seen.oid == entry.oid()).map(|(_, found)| found.clone())
    }

    async fn find(&self, ident: &TableIdent) -> Result<Option<Entry>> {
        let known = self.state.lock().known(ident);
        match known {
            Known::Now(entry) => return Ok(Some(entry)),
            Known::Gone => return Ok(None),
            Known::Untouched => {}
        }
        if let Some((entry, _)) = self.seen.lock().get(ident) {
            return Ok(Some(Entry::Table(entry.clone())));
        }
        if let Some(entry) = self.beneath.table(ident).await? {
            return Ok(Some(Entry::Table(entry)));
        }
        Ok(self.beneath.view(ident).await?.map(Entry::View))
    }

    async fn require_free(&self, ident: &TableIdent) -> Result<()> {
        if self.find(ident).await?.is_some() {
            return Err(Error::TableExists(ident.clone()));
        }
        match self.namespace(&ident.namespace).await? {
            Some(_) => Ok(()),
            None => Err(Error::NamespaceNotFound(ident.namespace.clone())),
        }
    }

    async fn namespace(&self, name: &str) -> Result<Option<NamespaceEntry>> {
        Ok(self.namespaces().await?.iter().find(|namespace| namespace.name == name).cloned())
    }

    /// A table or view that COMMIT makes. Fails with `TableExists`, `NamespaceNotFound`, `Unsupported`.
    pub(super) async fn create(&self, new: Entry, staged: Option<Arc<TableSnapshot>>) -> Result<()> {
        self.require_free(new.ident()).await?;
        self.change(|state| {
            state.relations.push(Relation {
                now: Some(new),
                base: staged.clone(),
                current: staged,
                ..Relation::default()
            });
            Ok(())
        })
    }

    fn drop_entry(&self, entry: &Entry) -> Result<()> {
        let seen = self.seen_version(entry);
        self.change(|state| {
            let relation = state.touch(entry, seen);
            self.keep_undone(std::slice::from_ref(relation));
            (relation.now, relation.pending) = (None, None);
            // Made and dropped by the same transaction: nothing is left to do.
            state.relations.retain(|relation| relation.before.is_some() || relation.now.is_some());
            Ok(())
        })
    }

    async fn rename_entry(&self, entry: Entry, to: &TableIdent) -> Result<()> {
        self.require_free(to).await?;
        let seen = self.seen_version(&entry);
        self.change(|state| {
            state.touch(&entry, seen).now = Some(entry.clone().renamed(to.clone()));
            Ok(())
        })
    }

    fn view_written(&self, pointer: &str) {
        let file = WrittenFiles::new(self.storage.clone());
        file.add(pointer.to_string());
        self.view_files.lock().push((pointer.to_string(), file));
    }

    /// Entries of a namespace as the transaction sees them, of those that are beneath.
    fn listed<E>(
        &self,
        namespace: &str,
        beneath: Vec<E>,
        ident: fn(&E) -> &TableIdent,
        own: fn(&Entry) -> Option<&E>,
    ) -> Vec<E>
    where
        E: Clone,
    {
        let state = self.state.lock();
        let untouched = |entry: &E| matches!(state.known(ident(entry)), Known::Untouched);
        let mut entries: Vec<E> = beneath.into_iter().filter(untouched).collect();
        let ours = state.relations.iter().filter_map(|relation| own(relation.now.as_ref()?));
        entries.extend(ours.filter(|entry| ident(entry).namespace == namespace).cloned());
        entries.sort_by(|a, b| ident(a).name.cmp(&ident(b).name));
        entries
    }

    /// Whether the namespace is one that only the transaction knows. Fails with `NamespaceNotFound`.
    async fn is_new(&self, namespace: &str) -> Result<bool> {
        let new = {
            let state = self.state.lock();
            let now = state.namespaces.get(namespace).map(|namespace| namespace.now.is_some());
            now.map(|exists| (exists, state.is_new_namespace(namespace)))
        };
        match new {
            Some((false, _)) => Err(Error::NamespaceNotFound(namespace.to_string())),
            Some((true, new)) => Ok(new),
            None => Ok(false),
        }
    }
}

#[async_trait]
impl Backend for Overlay {
    fn warehouse(&self) -> &str {
        self.beneath.warehouse()
    }

    fn fixed_location(&self, ident: &TableIdent) -> Result<Option<String>> {
        self.beneath.fixed_location(ident)
    }

    fn only_format(&self) -> Option<TableFormat> {
        self.beneath.only_format()
    }

    fn is_view_of_transaction(&self) -> bool {
        true
    }

    async fn namespaces(&self) -> Result<Arc<Vec<NamespaceEntry>>> {
        let beneath = self.beneath.namespaces().await?;
        let state = self.state.lock();
        if state.namespaces.is_empty() {
            return Ok(beneath);
        }
        let beneath = beneath.iter().map(|entry| (entry.name.clone(), entry.clone()));
        let mut entries: BTreeMap<String, NamespaceEntry> = beneath.collect();
        for (name, namespace) in &state.namespaces {
            match &namespace.now {
                Some(entry) => entries.insert(name.clone(), entry.clone()),
                None => entries.remove(name),
            };
        }
        Ok(Arc::new(entries.into_values().collect()))
    }

    async fn create_namespace(&self, name: &str, properties: &BTreeMap<String, String>) -> Result<()> {
        check_name("schema", name)?;
        if self.namespace(name).await?.is_some() {
            return Err(Error::NamespaceExists(name.to_string()));
        }
        let oid = self.beneath.reserve_oid(&TableIdent::new(name, "")).await?;
        let entry = NamespaceEntry { name: name.to_string(), oid, properties: properties.clone() };
        self.change(|state| {
            state.namespaces.entry(name.to_string()).or_default().now = Some(entry);
            Ok(())
        })
    }

    async fn set_namespace_property(&self, name: &str, key: &str, value: Option<&str>) -> Result<()> {
        let entry = self.namespace(name).await?;
        let mut entry = entry.ok_or_else(|| Error::NamespaceNotFound(name.to_string()))?;
        self.change(|state| {
            let namespace = state
                .namespaces
                .entry(name.to_string())
                .or_insert_with(|| Namespace { before: Some(entry.clone()), now: None });
            match value {
                Some(value) => entry.properties.insert(key.to_string(), value.to_string()),
                None => entry.properties.remove(key),
            };
            namespace.now = Some(entry);
            Ok(())
        })
    }

    async fn drop_namespace(&self, name: &str) -> Result<()> {
        let entry = self.namespace(name).await?;
        let entry = entry.ok_or_else(|| Error::NamespaceNotFound(name.to_string()))?;
        let in_it = |task: &Document| task.key.ident.namespace == name;
        let has_tasks = self.documents(TASK).await?.iter().any(in_it);
        if has_tasks || !self.tables(name).await?.is_empty() || !self.views(name).await?.is_empty() {
            return Err(Error::NamespaceNotEmpty(name.to_string()));
        }
        self.change(|state| {
            let namespace = state
                .namespaces
                .entry(name.to_string())
                .or_insert_with(|| Namespace { before: Some(entry), now: None });
            namespace.now = None;
            Ok(())
        })
    }

    async fn tables(&self, namespace: &str) -> Result<Vec<TableEntry>> {
        let beneath = match self.is_new(namespace).await? {
            true => Vec::new(),
            false => self.beneath.tables(namespace).await?,
        };
        Ok(self.listed(
            namespace,
            beneath,
            |entry| &entry.ident,
            |entry| match entry {
                Entry::Table(entry) => Some(entry),
                Entry::View(_) => None,
            },
        ))
    }

    async fn table(&self, ident: &TableIdent) -> Result<Option<TableEntry>> {
        Ok(match self.find(ident).await? {
            Some(Entry::Table(entry)) => Some(entry),
            Some(Entry::View(_)) | None => None,
        })
    }

    async fn create_table(&self, new: &NewTableEntry) -> Result<()> {
        check_name("table", &new.ident.name)?;
        let oid = self.beneath.reserve_oid(&new.ident).await?;
        let NewTableEntry { ident, format, pointer, external } = new.clone();
        self.create(Entry::Table(TableEntry { ident, format, pointer, external, oid }), None).await
    }

    async fn drop_table(&self, ident: &TableIdent) -> Result<()> {
        match self.find(ident).await? {
            Some(entry @ Entry::Table(_)) => self.drop_entry(&entry),
            _ => Err(Error::TableNotFound(ident.clone())),
        }
    }

    async fn rename_table(&self, from: &TableIdent, to: &TableIdent) -> Result<()> {
        check_name("table", &to.name)?;
        match self.find(from).await? {
            Some(entry @ Entry::Table(_)) => self.rename_entry(entry, to).await,
            _ => Err(Error::TableNotFound(from.clone())),
        }
    }

    async fn views(&self, namespace: &str) -> Result<Vec<ViewEntry>> {
        let beneath = match self.is_new(namespace).await? {
            true => Vec::new(),
            false => self.beneath.views(namespace).await?,
        };
        Ok(self.listed(
            namespace,
            beneath,
            |entry| &entry.ident,
            |entry| match entry {
                Entry::View(entry) => Some(entry),
                Entry::Table(_) => None,
            },
        ))
    }

    async fn view(&self, ident: &TableIdent) -> Result<Option<ViewEntry>> {
        Ok(match self.find(ident).await? {
            Some(Entry::View(entry)) => Some(entry),
            Some(Entry::Table(_)) | None => None,
        })
    }

    async fn create_view(&self, ident: &TableIdent, pointer: &str) -> Result<()> {
        check_name("view", &ident.name)?;
        self.view_written(pointer);
        self.beneath.check_views(ident)?;
        let oid = self.beneath.reserve_oid(ident).await?;
        let entry = ViewEntry { ident: ident.clone(), pointer: pointer.to_string(), oid };
        self.create(Entry::View(entry), None).await
    }

    async fn drop_view(&self, ident: &TableIdent) -> Result<()> {
        match self.find(ident).await? {
            Some(entry @ Entry::View(_)) => self.drop_entry(&entry),
            _ => Err(Error::TableNotFound(ident.clone())),
        }
    }

    async fn rename_view(&self, from: &TableIdent, to: &TableIdent) -> Result<()> {
        check_name("view", &to.name)?;
        match self.find(from).await? {
            Some(entry @ Entry::View(_)) => self.rename_entry(entry, to).await,
            _ => Err(Error::TableNotFound(from.clone())),
        }
    }

    /// Of views: tables change by what waits for COMMIT.
    async fn swap_pointer(&self, ident: &TableIdent, expected: &str, new: &str) -> Result<SwapOutcome> {
        match self.find(ident).await? {
            Some(entry @ Entry::View(_)) if entry.pointer() == expected => {
                self.view_written(new);
                self.change(|state| {
                    state.touch(&entry, None).now = Some(entry.clone().pointing_to(new.to_string()));
                    Ok(())
                })?;
                Ok(SwapOutcome::Swapped)
            }
            Some(Entry::View(_)) => Ok(SwapOutcome::Moved),
            _ => Err(Error::Internal(format!("{ident} was committed inside of a transaction"))),
        }
    }

    async fn documents(&self, kind: &str) -> Result<Vec<Document>> {
        let mut documents = self.beneath.documents(kind).await?;
        let state = self.state.lock();
        documents.retain(|document| !state.documents.contains_key(&document.key));
        let ours = state.documents.iter().filter(|(key, _)| key.kind == kind);
        let ours =
            ours.filter_map(|(key, change)| Some(Document { key: key.clone(), text: change.new.clone()? }));
        documents.extend(ours);
        documents.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(documents)
    }

    async fn document(&self, key: &DocumentKey) -> Result<Option<String>> {
        if let Some(change) = self.state.lock().documents.get(key) {
            return Ok(change.new.clone());
        }
        self.beneath.document(key).await
    }

    async fn swap_document(&self, change: &DocumentChange) -> Result<bool> {
        if self.namespace(&change.key.ident.namespace).await?.is_none() {
            return Err(Error::NamespaceNotFound(change.key.ident.namespace.clone()));
        }
        if self.document(&change.key).await? != change.expected {
            return Ok(false);
        }
        self.change(|state| {
            let known = state.documents.entry(change.key.clone()).or_insert_with(|| change.clone());
            known.new.clone_from(&change.new);
            Ok(true)
        })
    }

    async fn journal(&self, kind: &str) -> Result<Vec<JournalEntry>> {
        self.beneath.journal(kind).await
    }

    async fn reserve_oid(&self, ident: &TableIdent) -> Result<Oid> {
        self.beneath.reserve_oid(ident).await
    }

    fn has_changes(&self) -> bool {
        self.state.lock().has_changes()
    }

    fn changed(&self, entry: &TableEntry) -> Option<Arc<TableSnapshot>> {
        let state = self.state.lock();
        let relation = state.relations.iter().find(|relation| relation.is_now(&entry.ident))?;
        relation.current.clone()
    }

    fn seen(&self, entry: &TableEntry) -> Option<Arc<TableSnapshot>> {
        let state = self.state.lock();
        let relation = state.relations.iter().find(|relation| relation.is_now(&entry.ident));
        match relation {
            Some(relation) => relation.current.clone(),
            None => {
                drop(state);
                self.seen_version(&Entry::Table(entry.clone()))
            }
        }
    }

    fn see(&self, entry: &TableEntry, snapshot: &Arc<TableSnapshot>) {
        let mut state = self.state.lock();
        match state.relations.iter_mut().find(|relation| relation.is_now(&entry.ident)) {
            Some(relation) => {
                relation.base.get_or_insert_with(|| snapshot.clone());
                relation.current.get_or_insert_with(|| snapshot.clone());
            }
            None => _ = self.seen.lock().insert(entry.ident.clone(), (entry.clone(), snapshot.clone())),
        }
    }

    fn is_location_taken(&self, location: &str) -> bool {
        let state = self.state.lock();
        let bases = state.relations.iter().filter_map(|relation| relation.base.as_ref());
        let location = to_url(location).ok();
        location.is_some() && bases.map(|base| to_url(&base.location).ok()).any(|taken| taken == location)
    }

    async fn change_counter(&self) -> Result<Option<i64>> {
        let own = self.changes.load(Ordering::Acquire);
        Ok(self
            .beneath
            .change_counter()
            .await?
            .map(|beneath| beneath.wrapping_mul(1 << 20).wrapping_add(own)))
    }
}
