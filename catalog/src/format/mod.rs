//! The two log formats behind one trait. `iceberg/` and `delta/` are twins: same file names, same
//! responsibilities. A change that touches both in the same way belongs one level up.

pub mod delta;
pub mod iceberg;

use std::collections::{BTreeMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::TableIdent;
use crate::backend::{Backend, TableEntry};
use crate::error::{Error, Result};
use crate::storage::Storage;
use crate::table::deletes::{NewRowDeletes, RowDeletes};
use crate::table::{
    Alteration, Isolation, Operation, TableChange, TableDefinition, TableSnapshot, TableVersion,
};
use crate::write::WrittenFiles;

/// How one attempt to commit ended.
#[derive(Debug)]
pub enum CommitOutcome {
    Committed(TableVersion),
    /// Certainly not committed: the table has moved on since `base` was read (`winner` describes
    /// the commit that won, as far as known).
    Conflict {
        winner: String,
    },
    /// Nobody knows. The table must be read again to find out.
    Unknown(Box<dyn std::error::Error + Send + Sync>),
}

/// A commit that is written and that nobody sees: publishing it takes no more than a pointer.
#[derive(Debug)]
pub struct Prepared {
    /// Of the table's entry ([`TableEntry::pointer`]).
    pub pointer: String,
    /// The pointer that it takes the place of; `None`: the table is new.
    pub previous: Option<String>,
    /// Files that are of no use if it is not published, but for those of the change itself.
    pub written: Vec<String>,
    /// Files that are of no use once it is.
    pub expired: Vec<String>,
}

/// How rows of existing files are changed (Iceberg `write.{delete,update,merge}.mode`, Delta
/// `delta.enableDeletionVectors`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowLevelMode {
    /// Files with a changed row are written anew.
    CopyOnWrite,
    /// Changed rows are marked deleted, and their new versions written to new files.
    MergeOnRead,
}

/// What `VERSION AS OF` and `TIMESTAMP AS OF` may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionSpec {
    /// Iceberg snapshot id, Delta version.
    Id(i64),
    /// Iceberg branch or tag.
    Ref(String),
    /// The last version at or before, in milliseconds since the epoch.
    Timestamp(i64),
}

/// One version in a table's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionInfo {
    /// Iceberg snapshot id, Delta version.
    pub id: i64,
    pub parent_id: Option<i64>,
    /// Milliseconds since the epoch.
    pub committed_at: i64,
    pub operation: Option<String>,
    /// Iceberg: manifest list; Delta: commit file.
    pub location: Option<String>,
    /// Iceberg snapshot summary; Delta commit info (scalars as text, others as JSON).
    pub summary: BTreeMap<String, String>,
    /// Whether it is an ancestor of the current version (Delta: always).
    pub is_current_ancestor: bool,
}

/// One commit on the way from a version to a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Iceberg snapshot id, Delta version that it made.
    pub version: i64,
    /// `false`: it is known to have changed no row (compaction, properties).
    pub changes_rows: bool,
}

/// What a name for a version is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferenceKind {
    /// Commits move it.
    Branch,
    Tag,
}

/// A name that a table has for a version (Iceberg spec, "Snapshot References"), and how long it and the
/// versions before it are to be kept, where the table says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub name: String,
    pub kind: ReferenceKind,
    /// Iceberg snapshot id, Delta version.
    pub version: i64,
    pub max_reference_age_ms: Option<i64>,
    pub min_versions_to_keep: Option<i32>,
    pub max_version_age_ms: Option<i64>,
}

/// A table format: reads snapshots, stages new tables, attempts commits. Holds its own caches.
#[async_trait]
pub trait Format: Debug + Send + Sync {
    /// Reads the table that `entry` points to, at its current version. Cheap when nothing changed.
    async fn load(&self, storage: &Storage, entry: &TableEntry) -> Result<Arc<TableSnapshot>>;

    /// The empty snapshot of a table to be, with all ids given out, so that its first files can be
    /// written before it exists. Version [`TableVersion::Unpublished`].
    fn stage(
        &self,
        ident: &TableIdent,
        definition: &TableDefinition,
        location: &str,
    ) -> Result<Arc<TableSnapshot>>;

    /// What `base` becomes by being replaced, empty, with all ids given out, so that its first files can be
    /// written: [`TableChange::replacement`]. Fails with `Invalid`, `ColumnNotFound`, `Unsupported`.
    fn stage_replacement(
        &self,
        ident: &TableIdent,
        base: &TableSnapshot,
        _definition: &TableDefinition,
    ) -> Result<Arc<TableSnapshot>> {
        Err(Error::unsupported(ident, format!("replacing the table at {}", base.location)))
    }

    /// One attempt to commit `change` on top of `base` (an unpublished `base` is created).
    /// Errors mean: certainly not committed, and trying again will not help.
    async fn commit(
        &self,
        storage: &Storage,
        backend: &dyn Backend,
        ident: &TableIdent,
        base: &TableSnapshot,
        change: &TableChange,
    ) -> Result<CommitOutcome>;

    /// Writes all of a commit of `change` on top of `base` (an unpublished `base` is created) but the step
    /// that publishes it, which is that of the catalog's backend. Fails with `Unsupported` where a commit
    /// is published by the format itself; what was written is removed then.
    async fn prepare(
        &self,
        _storage: &Storage,
        ident: &TableIdent,
        _base: &TableSnapshot,
        _change: &TableChange,
    ) -> Result<Prepared> {
        Err(Error::unsupported(ident, "a commit together with those of other tables"))
    }

    /// The table as it is once this is done to it, as [`PendingChange`](crate::table::PendingChange)
    /// shows it to its transaction. A staged table is still one that can be created. Fails as a commit
    /// of the alteration does.
    fn altered(
        &self,
        ident: &TableIdent,
        _snapshot: &TableSnapshot,
        _alteration: &Alteration,
    ) -> Result<Arc<TableSnapshot>> {
        Err(Error::unsupported(ident, "ALTER TABLE"))
    }

    /// Stores rows to delete from files of `snapshot` that stay, as its format version stores them:
    /// deletion vectors (Iceberg v3, Delta) or position delete files (Iceberg v2). Every file is
    /// announced to `written` before it is begun. Nothing refers to them before the commit.
    ///
    /// Fails with `Unsupported` where the format version knows neither.
    async fn write_deletes(
        &self,
        snapshot: &TableSnapshot,
        _deletes: Vec<RowDeletes>,
        _written: &WrittenFiles,
    ) -> Result<Vec<NewRowDeletes>> {
        Err(Error::unsupported(&snapshot.location, "row-level deletes"))
    }

    /// How a statement of this kind changes rows of the table, by the table's own properties.
    fn row_level_mode(&self, _snapshot: &TableSnapshot, _operation: Operation) -> Result<RowLevelMode> {
        Ok(RowLevelMode::CopyOnWrite)
    }

    /// Whether a commit of this kind would be refused whatever it holds: asked before a statement
    /// writes anything. Fails with `Unsupported` or `Invalid`.
    fn check_writable(&self, _snapshot: &TableSnapshot, _operation: Operation) -> Result<()> {
        Ok(())
    }

    /// A table whose rows the statement has to write besides, if this one keeps a change data feed:
    /// the columns of this table, then the kind of change ([`dml::rows`](crate::dml::rows)). Its files
    /// become [`TableChange::change_files`].
    fn change_feed(
        &self,
        _snapshot: &TableSnapshot,
        _operation: Operation,
    ) -> Result<Option<Arc<TableSnapshot>>> {
        Ok(None)
    }

    /// How a statement of this kind is isolated from others, by the table's own properties. Fails with
    /// `Invalid` for a value that has no meaning.
    fn isolation(&self, _snapshot: &TableSnapshot, _operation: Operation) -> Result<Isolation> {
        Ok(Isolation::Serializable)
    }

    /// Paths of files that commits after `read` and up to `current` added without having read the table,
    /// and that no other of them touched. May leave some out.
    async fn blind_appends(
        &self,
        _storage: &Storage,
        _read: &TableSnapshot,
        _current: &TableSnapshot,
    ) -> Result<HashSet<String>> {
        Ok(HashSet::new())
    }

    /// The table at an earlier version. Fails with `VersionNotFound`.
    async fn load_at(
        &self,
        _storage: &Storage,
        entry: &TableEntry,
        _version: &VersionSpec,
    ) -> Result<Arc<TableSnapshot>> {
        Err(Error::unsupported(&entry.ident, "time travel"))
    }

    /// The table's versions, oldest first, as far as its metadata tells.
    async fn history(&self, _storage: &Storage, entry: &TableEntry) -> Result<Vec<VersionInfo>> {
        Err(Error::unsupported(&entry.ident, "a history"))
    }

    /// What the commit that made the rows of `snapshot` what they are says of itself: as
    /// [`VersionInfo`]. Commits that change no row (of properties, of how files are laid out) do not count.
    /// `None`: no commit is known to have.
    async fn last_change(
        &self,
        _storage: &Storage,
        _snapshot: &TableSnapshot,
    ) -> Result<Option<VersionInfo>> {
        Ok(None)
    }

    /// The commits after the version `earlier` (`None`: the table never had rows) up to `later`, oldest
    /// first. `None`: `later` does not descend from it, or the metadata no longer tells.
    async fn steps_since(
        &self,
        _storage: &Storage,
        _earlier: Option<i64>,
        _later: &TableSnapshot,
    ) -> Result<Option<Vec<Step>>> {
        Ok(None)
    }

    /// The table's branches and tags by name.
    async fn references(&self, _storage: &Storage, entry: &TableEntry) -> Result<Vec<Reference>> {
        Err(Error::unsupported(&entry.ident, "references"))
    }

    /// The version that the commit with this id ([`COMMIT_ID`](crate::table::COMMIT_ID) of its
    /// summary) made, if it is part of the table's history: asked after an unknown outcome, so the
    /// last few dozen commits are far enough.
    async fn find_commit(
        &self,
        _storage: &Storage,
        entry: &TableEntry,
        _commit_id: &str,
    ) -> Result<Option<TableVersion>> {
        Err(Error::unsupported(&entry.ident, "looking up a commit"))
    }
}
