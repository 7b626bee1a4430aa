//! COMMIT: a transaction's changes as changes of entries, made at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Transaction;
use super::state::{Namespace, Relation, State};
use crate::TableIdent;
use crate::backend::NamespaceEntry;
use crate::backend::change::{Entry, EntryChange};
use crate::commit::several::{self, Part};
use crate::error::{Error, Result};
use crate::registry::{Catalog, Table};
use crate::table::pending::Parts;
use crate::table::{Operation, PendingChange, TableChange};
use crate::write::WrittenFiles;

/// All that a transaction does, flattened.
#[derive(Default)]
struct Work {
    parts: Vec<Part>,
    changes: Vec<EntryChange>,
    /// Entries that go, and the root folders of what they name.
    dropped: Vec<(TableIdent, Option<String>)>,
    /// Metadata files of views that stay.
    kept_views: Vec<String>,
    guards: Vec<WrittenFiles>,
    superfluous: Vec<WrittenFiles>,
}

impl Transaction {
    /// Commits everything, or nothing. Goes on to the end even if the caller stops waiting.
    ///
    /// Fails with `Conflict`, which names the table; `TableExists`, `NamespaceExists` and their like for
    /// a name that somebody else has taken; `CommitUnknown`; and as [`commit`](crate::commit::commit) does.
    pub async fn commit(self: &Arc<Self>) -> Result<()> {
        if !self.has_changes() {
            return Ok(());
        }
        let state = std::mem::take(&mut *self.overlay.state.lock());
        let transaction = self.clone();
        let committing = tokio::spawn(async move { transaction.commit_changes(state).await });
        match committing.await {
            Ok(outcome) => outcome,
            Err(source) => {
                Err(Error::CommitUnknown { table: self.beneath.name().to_string(), source: Box::new(source) })
            }
        }
    }

    async fn commit_changes(&self, state: State) -> Result<()> {
        let outcome = match alone(&state, self.is_transactional()) {
            Some(relation) => self.commit_alone(relation.clone()).await,
            None => self.commit_together(state).await,
        };
        self.beneath.contents_changed();
        // They have their tables, or nobody wants them any more.
        self.places.lock().clear();
        outcome
    }

    /// One table, by the commit that a statement of its own would make.
    async fn commit_alone(&self, relation: Relation) -> Result<()> {
        match (&relation.before, &relation.now) {
            (Some(before), None) => self.beneath.drop_table(before.ident()).await,
            (before, Some(now)) => {
                let table = table_of(&self.beneath, &relation, now.ident(), before.as_ref())?;
                match relation.pending {
                    Some(pending) => {
                        let superfluous = Arc::unwrap_or_clone(pending).commit(&table).await?;
                        self.superfluous.lock().push(superfluous);
                        Ok(())
                    }
                    None => self.beneath.create_staged(&table).await,
                }
            }
            (None, None) => Ok(()),
        }
    }

    async fn commit_together(&self, state: State) -> Result<()> {
        let mut work = Work::default();
        work.changes.extend(state.changed_documents().cloned().map(EntryChange::Document));
        for relation in state.relations.into_iter().filter(Relation::is_changed) {
            work.add(&self.beneath, relation).await?;
        }
        state.namespaces.iter().for_each(|(name, namespace)| work.add_namespace(name, namespace));

        let views = std::mem::take(&mut *self.overlay.view_files.lock());
        let outcome = several::commit(&self.beneath, work.parts, work.changes, &work.guards).await;
        match &outcome {
            Ok(()) => {
                let kept = views.iter().filter(|(path, _)| work.kept_views.contains(path));
                kept.for_each(|(_, file)| file.keep());
                self.superfluous.lock().extend(work.superfluous);
                self.beneath.contents_changed();
                for (ident, root) in work.dropped {
                    if let Some(root) = root {
                        self.beneath.remove_if_ours(&ident, root).await;
                    }
                }
            }
            Err(Error::CommitUnknown { .. }) => {
                views.iter().for_each(|(_, file)| file.keep());
                work.superfluous.iter().for_each(WrittenFiles::keep);
            }
            Err(_) => {}
        }
        outcome
    }
}

/// The only change, if it takes no more than a commit of its table.
fn alone(state: &State, transactional: bool) -> Option<&Relation> {
    let mut changed = state.changed();
    let only = changed.next()?;
    let several = changed.next().is_some()
        || state.changed_namespaces().next().is_some()
        || state.changed_documents().next().is_some();
    let rows_only = only.before == only.now && only.has_pending();
    (!several && (rows_only || !transactional)).then_some(only)
}

impl Work {
    async fn add(&mut self, catalog: &Arc<Catalog>, relation: Relation) -> Result<()> {
        let Some(now) = &relation.now else {
            if let Some(before) = &relation.before {
                let root = catalog.root_of_dropped(before).await;
                self.dropped.push((before.ident().clone(), root));
                self.changes.push(EntryChange::Drop { ident: before.ident().clone(), oid: before.oid() });
            }
            return Ok(());
        };
        if let Entry::View(view) = now {
            self.kept_views.push(view.pointer.clone());
        }
        let staged = now.pointer().is_empty();
        match &relation.before {
            Some(before) => self.changes.extend(moves(before, now)),
            None if staged || relation.has_pending() => {}
            None => self.changes.push(EntryChange::Insert(now.clone())),
        }
        if staged || relation.has_pending() {
            let ident = relation.before.as_ref().unwrap_or(now).ident().clone();
            let mut table = table_of(catalog, &relation, &ident, relation.before.as_ref())?;
            let new = match (&relation.before, now) {
                (None, Entry::Table(entry)) => Some(entry.clone()),
                _ => None,
            };
            let change = match relation.pending {
                Some(pending) => {
                    table.snapshot = pending.base().clone();
                    self.take(catalog, Arc::unwrap_or_clone(pending))
                }
                None => TableChange::new(Operation::Create, Vec::new()),
            };
            self.parts.push(Part { table, change, new });
        }
        Ok(())
    }

    fn take(&mut self, catalog: &Catalog, pending: PendingChange) -> TableChange {
        let Parts { change, guards, superfluous, .. } = pending.into_parts(catalog.storage());
        self.guards.extend(guards);
        self.superfluous.push(superfluous);
        change
    }

    fn add_namespace(&mut self, name: &str, namespace: &Namespace) {
        let name = || name.to_string();
        match (&namespace.before, &namespace.now) {
            (None, Some(now)) => self.changes.push(EntryChange::CreateNamespace(now.clone())),
            (Some(_), None) => self.changes.push(EntryChange::DropNamespace { name: name() }),
            (Some(before), Some(now)) if before.oid != now.oid => {
                self.changes.push(EntryChange::ReplaceNamespace(now.clone()));
            }
            (Some(before), Some(now)) => {
                let changed = properties(before, now).into_iter();
                self.changes.extend(changed.map(|(key, value)| {
                    let name = name();
                    EntryChange::SetNamespaceProperty { name, key, value }
                }));
            }
            (None, None) => {}
        }
    }
}

/// What becomes of an entry that stays.
fn moves(before: &Entry, now: &Entry) -> impl Iterator<Item = EntryChange> {
    let renamed = (before.ident() != now.ident()).then(|| EntryChange::Rename {
        from: before.ident().clone(),
        to: now.ident().clone(),
        oid: before.oid(),
    });
    let swapped = (before.pointer() != now.pointer()).then(|| EntryChange::Swap {
        ident: before.ident().clone(),
        expected: before.pointer().to_string(),
        new: now.pointer().to_string(),
    });
    // The swap first: it goes by the old name.
    swapped.into_iter().chain(renamed)
}

/// Properties that differ, with their new values.
fn properties(before: &NamespaceEntry, now: &NamespaceEntry) -> BTreeMap<String, Option<String>> {
    let mut changed = BTreeMap::new();
    for key in before.properties.keys().chain(now.properties.keys()) {
        if before.properties.get(key) != now.properties.get(key) {
            changed.insert(key.clone(), now.properties.get(key).cloned());
        }
    }
    changed
}

fn table_of(
    catalog: &Arc<Catalog>,
    relation: &Relation,
    ident: &TableIdent,
    entry: Option<&Entry>,
) -> Result<Table> {
    let snapshot = relation.base.clone();
    let snapshot = snapshot.ok_or_else(|| Error::Internal(format!("{ident} was changed and not read")))?;
    let entry = match entry {
        Some(Entry::Table(entry)) => Some(entry.clone()),
        _ => None,
    };
    Ok(Table { catalog: catalog.clone(), ident: ident.clone(), entry, snapshot })
}
