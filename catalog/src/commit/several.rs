//! One commit of several tables: everything is written first, then all pointers change in one step of
//! the catalog's backend.
//!
//! Every table's change is checked against the version that it goes on top of, as in a commit of its
//! own. A pointer that has moved meanwhile is a race lost for that table alone: its change is rebased and
//! written again, the others' stay as they are.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::conflict::{self, Rebase};
use super::retry::RetryLimits;
use super::target::{CommitTarget, TableTarget};
use super::{LOOK_UP_PAUSE, LOOK_UPS, queue};
use crate::TableIdent;
use crate::backend::TableEntry;
use crate::backend::change::{ApplyOutcome, Entry, EntryChange};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::format::Prepared;
use crate::registry::{Catalog, Table};
use crate::table::{Isolation, Operation, TableChange};
use crate::write::{WrittenFiles, delete_files};

/// What is done to one table.
#[derive(Debug)]
pub struct Part {
    /// Under the name that it has in the catalog, at the version that the change was made against.
    pub table: Table,
    pub change: TableChange,
    /// The entry that the table gets, if it has none yet; its pointer is to come.
    pub new: Option<TableEntry>,
}

/// Commits all parts and makes all changes of entries, or nothing of it. `guards` are the parts' files,
/// which are deleted if it certainly fails.
///
/// Fails as [`commit`](super::commit) does, and as [`Backend::apply`](crate::backend::Backend::apply).
pub async fn commit(
    catalog: &Arc<Catalog>,
    mut parts: Vec<Part>,
    changes: Vec<EntryChange>,
    guards: &[WrittenFiles],
) -> Result<()> {
    // In one order for everybody, so that nobody waits for somebody who waits for him.
    parts.sort_by(|a, b| a.table.ident.cmp(&b.table.ident));
    let mut turns = Vec::with_capacity(parts.len());
    let mut last = None;
    for part in &parts {
        // A table that was renamed, and a new one under its old name, have one turn.
        if last.replace(&part.table.ident) != Some(&part.table.ident) {
            turns.push(queue::turn(&part.table).await);
        }
    }
    let mut several = Several { catalog, prepared: parts.iter().map(|_| None).collect(), parts, changes };
    // From here on only the commit knows whether the files are part of the tables.
    guards.iter().for_each(WrittenFiles::keep);
    let outcome = several.run().await;
    match &outcome {
        Ok(()) => several.remove(|prepared| prepared.expired).await,
        Err(Error::CommitUnknown { .. }) => {}
        Err(_) => {
            failpoint::pass("commit::before-cleanup")?;
            let written = several.parts.iter().flat_map(|part| part.change.written_paths());
            let written: Vec<String> = written.collect();
            delete_files(catalog.storage(), &written).await;
            several.remove(|prepared| prepared.written).await;
        }
    }
    outcome
}

struct Several<'a> {
    catalog: &'a Arc<Catalog>,
    parts: Vec<Part>,
    /// Of each part, once it is written.
    prepared: Vec<Option<Prepared>>,
    changes: Vec<EntryChange>,
}

impl Several<'_> {
    async fn run(&mut self) -> Result<()> {
        let mut waits = self.limits()?.waits();
        loop {
            self.prepare().await?;
            let changes = self.all_changes()?;
            failpoint::pass("commit::before-pointers")?;
            let lost = match self.catalog.backend().apply(&changes).await? {
                ApplyOutcome::Applied => {
                    // Too late to fail: tests only stop here.
                    let _ = failpoint::pass("commit::after-attempt");
                    return Ok(());
                }
                ApplyOutcome::Unknown(source) => return self.look_up(&changes, source).await,
                ApplyOutcome::Lost(number) => number,
            };
            let name = changes.get(lost).map(EntryChange::name).unwrap_or_default();
            let conflict = |winner: &str| Error::Conflict { table: name.clone(), winner: winner.into() };
            // The changes of the parts come after the others.
            let part = lost.checked_sub(self.changes.len());
            let Some(slot) = part.and_then(|part| self.prepared.get_mut(part)) else {
                return Err(conflict("another transaction renamed, replaced or dropped it"));
            };
            if let Some(prepared) = slot.take() {
                delete_files(self.catalog.storage(), &prepared.written).await;
            }
            let Some(wait) = waits.next() else {
                return Err(conflict("others were faster again and again"));
            };
            tracing::debug!(table = name, ?wait, "commit of several tables lost one, trying again");
            tokio::time::sleep(wait).await;
        }
    }

    /// The most patient of the tables' limits.
    fn limits(&self) -> Result<RetryLimits> {
        let mut limits = RetryLimits::of(&Default::default())?;
        for part in &self.parts {
            let own = RetryLimits::of(&part.table.snapshot.properties)?;
            limits.retries = limits.retries.max(own.retries);
        }
        Ok(limits)
    }

    /// Writes what is not written yet.
    async fn prepare(&mut self) -> Result<()> {
        for (part, slot) in self.parts.iter().zip(&mut self.prepared) {
            if slot.is_none() {
                *slot = Some(part.prepare().await?);
            }
        }
        Ok(())
    }

    fn all_changes(&self) -> Result<Vec<EntryChange>> {
        let mut changes = self.changes.clone();
        for (part, prepared) in self.parts.iter().zip(&self.prepared) {
            let prepared = prepared.as_ref();
            let prepared = prepared.ok_or_else(|| Error::Internal("a table was not written".into()))?;
            changes.push(part.pointer_change(prepared));
        }
        Ok(changes)
    }

    /// Looks for any of the changes: one of them is as good as all. What is not found may still be on
    /// its way, so that only a find is an answer.
    async fn look_up(
        &self,
        changes: &[EntryChange],
        source: Box<dyn std::error::Error + Send + Sync>,
    ) -> Result<()> {
        let mut pause: Duration = LOOK_UP_PAUSE;
        for look_up in 0..LOOK_UPS {
            if look_up > 0 {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            match self.happened(changes).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "could not look up an unknown commit"),
            }
        }
        let names: Vec<String> = changes.iter().map(EntryChange::name).collect();
        Err(Error::CommitUnknown { table: names.join(", "), source })
    }

    async fn happened(&self, changes: &[EntryChange]) -> Result<bool> {
        for part in self.parts.iter().filter(|part| part.new.is_none()) {
            let target = TableTarget { table: &part.table };
            if let Some(id) = part.change.commit_id()
                && target.find(id).await?.is_some()
            {
                return Ok(true);
            }
        }
        let (telling, others): (Vec<_>, Vec<_>) = changes.iter().partition(|change| tells(change));
        for change in &telling {
            if self.is_made(change).await? {
                return Ok(true);
            }
        }
        for change in &others {
            if !telling.is_empty() || !self.is_made(change).await? {
                return Ok(false);
            }
        }
        Ok(telling.is_empty())
    }

    /// Whether a change has left its mark.
    async fn is_made(&self, change: &EntryChange) -> Result<bool> {
        let is = |found: Option<Entry>, oid| found.is_some_and(|found| found.oid() == oid);
        Ok(match change {
            EntryChange::Swap { ident, new, .. } => {
                self.entry(ident).await?.is_some_and(|found| found.pointer() == new)
            }
            EntryChange::Rename { to, oid, .. } => is(self.entry(to).await?, *oid),
            EntryChange::Insert(entry) => is(self.entry(entry.ident()).await?, entry.oid()),
            EntryChange::Drop { ident, oid } => !is(self.entry(ident).await?, *oid),
            EntryChange::CreateNamespace(entry) | EntryChange::ReplaceNamespace(entry) => {
                let found = self.catalog.namespaces().await?;
                found.iter().any(|found| found.name == entry.name && found.oid == entry.oid)
            }
            EntryChange::DropNamespace { name } => {
                self.catalog.namespaces().await?.iter().all(|found| found.name != *name)
            }
            EntryChange::Document(change) => {
                self.catalog.backend().document(&change.key).await? == change.new
            }
            EntryChange::SetNamespaceProperty { name, key, value } => {
                let found = self.catalog.namespaces().await?;
                let found = found.iter().find(|found| found.name == *name);
                found.is_some_and(|found| found.properties.get(key) == value.as_ref())
            }
        })
    }

    async fn entry(&self, ident: &TableIdent) -> Result<Option<Entry>> {
        let backend = self.catalog.backend();
        if let Some(table) = backend.table(ident).await? {
            return Ok(Some(Entry::Table(table)));
        }
        Ok(backend.view(ident).await?.map(Entry::View))
    }

    async fn remove(&mut self, which: fn(Prepared) -> Vec<String>) {
        for prepared in self.prepared.iter_mut().filter_map(Option::take) {
            delete_files(self.catalog.storage(), &which(prepared)).await;
        }
    }
}

/// Whether nobody else can have left the change's mark.
fn tells(change: &EntryChange) -> bool {
    match change {
        EntryChange::Swap { .. }
        | EntryChange::Rename { .. }
        | EntryChange::Insert(_)
        | EntryChange::CreateNamespace(_)
        | EntryChange::ReplaceNamespace(_) => true,
        EntryChange::Drop { .. }
        | EntryChange::SetNamespaceProperty { .. }
        | EntryChange::Document(_)
        | EntryChange::DropNamespace { .. } => false,
    }
}

impl Part {
    /// Writes all but the pointer, on top of the current version.
    async fn prepare(&self) -> Result<Prepared> {
        let target = TableTarget { table: &self.table };
        let read = &self.table.snapshot;
        let base = match self.new {
            Some(_) => read.clone(),
            None => target.current().await?,
        };
        let blind = match self.change.isolation {
            Isolation::WriteSerializable if self.change.operation != Operation::Create => {
                target.blind_appends(&base).await?
            }
            _ => HashSet::new(),
        };
        if let Rebase::Conflict(winner) = conflict::rebase(read, &base, &self.change, &blind).await? {
            return Err(Error::Conflict { table: target.name(), winner });
        }
        failpoint::pass("commit::before-attempt")?;
        let catalog = &self.table.catalog;
        let format = catalog.format(base.format);
        format.prepare(catalog.storage(), &self.table.ident, &base, &self.change).await
    }

    fn pointer_change(&self, prepared: &Prepared) -> EntryChange {
        let new = prepared.pointer.clone();
        let ident = self.table.ident.clone();
        match &self.new {
            Some(entry) => EntryChange::Insert(Entry::Table(TableEntry { pointer: new, ..entry.clone() })),
            None => EntryChange::Swap { ident, expected: prepared.previous.clone().unwrap_or_default(), new },
        }
    }
}
