//! The temporary tables of one session: a catalog of one namespace that lives as long as this value.
//!
//! What it knows is a map in memory, so that a transaction can put it back as it was: the metadata
//! file that an entry points to never changes, and with the entry the rows of then are back too. That
//! holds for Iceberg tables; tables of another format are refused.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{Backend, NamespaceEntry, NewTableEntry, Oid, SwapOutcome, TableEntry};
use crate::TableIdent;
use crate::error::{Error, Result};
use crate::name::check_name;
use crate::table::TableFormat;

/// OIDs of temporary schemas and tables: above those that catalogs give out (from 16384 upwards), and
/// below the ranges that the system catalogs derive from a table's OID.
const FIRST_OID: Oid = 0x0801_0000;
const OIDS: Oid = 0x07f0_0000;

static GIVEN_OUT: AtomicU32 = AtomicU32::new(0);

fn next_oid() -> Oid {
    FIRST_OID + GIVEN_OUT.fetch_add(1, Ordering::Relaxed) % OIDS
}

/// A catalog in memory, with one namespace.
#[derive(Debug)]
pub struct TemporaryBackend {
    warehouse: String,
    namespace: NamespaceEntry,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tables: BTreeMap<String, TableEntry>,
    changes: i64,
}

/// The tables of a [`TemporaryBackend`] as they were.
#[derive(Debug, Clone, Default)]
pub struct SavedTables(BTreeMap<String, TableEntry>);

impl SavedTables {
    pub fn entries(&self) -> impl Iterator<Item = &TableEntry> {
        self.0.values()
    }

    /// Each entry as `change` makes it; `None`: without it.
    pub fn changed(self, change: impl Fn(TableEntry) -> Option<TableEntry>) -> Self {
        let change = |(name, entry)| change(entry).map(|entry| (name, entry));
        Self(self.0.into_iter().filter_map(change).collect())
    }
}

impl TemporaryBackend {
    /// An empty catalog whose tables are placed below `directory`, in a folder of its own.
    pub fn new(namespace: &str, directory: &str) -> Self {
        let oid = next_oid();
        let namespace = NamespaceEntry { name: namespace.to_string(), oid, properties: BTreeMap::new() };
        // The name may have been another session's: the number tells them apart.
        let warehouse = format!("{}/{}-{oid}", directory.trim_end_matches('/'), namespace.name);
        Self { warehouse, namespace, state: Mutex::default() }
    }

    pub fn namespace(&self) -> &NamespaceEntry {
        &self.namespace
    }

    pub fn save(&self) -> SavedTables {
        SavedTables(self.state.lock().tables.clone())
    }

    /// Puts the tables back as they were; returns those that are gone by that.
    pub fn restore(&self, saved: &SavedTables) -> Vec<TableEntry> {
        let mut state = self.state.lock();
        state.changes += 1;
        let before = std::mem::replace(&mut state.tables, saved.0.clone());
        let kept = |entry: &TableEntry| saved.entries().any(|other| other.oid == entry.oid);
        before.into_values().filter(|entry| !kept(entry)).collect()
    }

    fn require_namespace(&self, name: &str) -> Result<()> {
        match name == self.namespace.name {
            true => Ok(()),
            false => Err(Error::NamespaceNotFound(name.to_string())),
        }
    }
}

impl State {
    fn require_free(&self, ident: &TableIdent) -> Result<()> {
        match self.tables.contains_key(&ident.name) {
            true => Err(Error::TableExists(ident.clone())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Backend for TemporaryBackend {
    fn warehouse(&self) -> &str {
        &self.warehouse
    }

    fn only_format(&self) -> Option<TableFormat> {
        Some(TableFormat::Iceberg)
    }

    fn is_temporary(&self) -> bool {
        true
    }

    async fn namespaces(&self) -> Result<Arc<Vec<NamespaceEntry>>> {
        Ok(Arc::new(vec![self.namespace.clone()]))
    }

    async fn create_namespace(&self, name: &str, _: &BTreeMap<String, String>) -> Result<()> {
        Err(Error::Invalid(format!("\"{name}\" cannot be created among the temporary tables")))
    }

    async fn drop_namespace(&self, name: &str) -> Result<()> {
        Err(Error::Invalid(format!("\"{name}\" cannot be dropped: it goes with its session")))
    }

    async fn tables(&self, namespace: &str) -> Result<Vec<TableEntry>> {
        self.require_namespace(namespace)?;
        Ok(self.state.lock().tables.values().cloned().collect())
    }

    async fn table(&self, ident: &TableIdent) -> Result<Option<TableEntry>> {
        if ident.namespace != self.namespace.name {
            return Ok(None);
        }
        Ok(self.state.lock().tables.get(&ident.name).cloned())
    }

    async fn create_table(&self, entry: &NewTableEntry) -> Result<()> {
        let NewTableEntry { ident, format, pointer, external } = entry;
        check_name("table", &ident.name)?;
        self.require_namespace(&ident.namespace)?;
        if *format != TableFormat::Iceberg {
            return Err(Error::unsupported(ident, "a temporary table in another format than Iceberg"));
        }
        let mut state = self.state.lock();
        state.require_free(ident)?;
        let entry = TableEntry {
            ident: ident.clone(),
            format: *format,
            pointer: pointer.clone(),
            external: *external,
            oid: next_oid(),
        };
        state.tables.insert(ident.name.clone(), entry);
        state.changes += 1;
        Ok(())
    }

    async fn drop_table(&self, ident: &TableIdent) -> Result<()> {
        let mut state = self.state.lock();
        if ident.namespace != self.namespace.name || state.tables.remove(&ident.name).is_none() {
            return Err(Error::TableNotFound(ident.clone()));
        }
        state.changes += 1;
        Ok(())
    }

    async fn rename_table(&self, from: &TableIdent, to: &TableIdent) -> Result<()> {
        self.require_namespace(&to.namespace)?;
        check_name("table", &to.name)?;
        let mut state = self.state.lock();
        if from.namespace != self.namespace.name || !state.tables.contains_key(&from.name) {
            return Err(Error::TableNotFound(from.clone()));
        }
        state.require_free(to)?;
        if let Some(entry) = state.tables.remove(&from.name) {
            state.tables.insert(to.name.clone(), TableEntry { ident: to.clone(), ..entry });
        }
        state.changes += 1;
        Ok(())
    }

    async fn swap_pointer(&self, ident: &TableIdent, expected: &str, new: &str) -> Result<SwapOutcome> {
        let mut state = self.state.lock();
        let found = state.tables.get_mut(&ident.name).filter(|entry| entry.ident == *ident);
        match found {
            Some(entry) if entry.pointer == expected => {
                entry.pointer = new.to_string();
                state.changes += 1;
                Ok(SwapOutcome::Swapped)
            }
            _ => Ok(SwapOutcome::Moved),
        }
    }

    async fn change_counter(&self) -> Result<Option<i64>> {
        Ok(Some(self.state.lock().changes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, pointer: &str) -> NewTableEntry {
        NewTableEntry {
            ident: TableIdent::new("pg_temp_7", name),
            format: TableFormat::Iceberg,
            pointer: pointer.to_string(),
            external: false,
        }
    }

    #[tokio::test]
    async fn what_was_saved_comes_back_with_its_pointers() {
        let backend = TemporaryBackend::new("pg_temp_7", "file:///tmp/x/");
        let (kept, made) = (entry("kept", "a"), entry("made", "b"));
        backend.create_table(&kept).await.unwrap();
        let saved = backend.save();
        let before = backend.change_counter().await.unwrap();
        backend.swap_pointer(&kept.ident, "a", "a2").await.unwrap();
        let moved = TableIdent::new("pg_temp_7", "moved");
        backend.rename_table(&kept.ident, &moved).await.unwrap();
        backend.create_table(&made).await.unwrap();
        let gone = backend.restore(&saved);
        assert_eq!(gone.iter().map(|e| e.ident.name.as_str()).collect::<Vec<_>>(), ["made"]);
        let tables = backend.tables("pg_temp_7").await.unwrap();
        assert_eq!(
            tables.iter().map(|e| (e.ident.name.as_str(), e.pointer.as_str())).collect::<Vec<_>>(),
            [("kept", "a")]
        );
        assert_ne!(backend.change_counter().await.unwrap(), before);
    }

    #[tokio::test]
    async fn names_and_places_are_its_own() {
        let (one, two) = (
            TemporaryBackend::new("pg_temp_7", "file:///t"),
            TemporaryBackend::new("pg_temp_7", "file:///t"),
        );
        assert_ne!(one.warehouse(), two.warehouse());
        assert_ne!(one.namespace().oid, two.namespace().oid);
        one.create_table(&entry("t", "a")).await.unwrap();
        assert!(matches!(one.create_table(&entry("t", "b")).await, Err(Error::TableExists(_))));
        let delta = NewTableEntry { format: TableFormat::Delta, ..entry("d", "c") };
        assert!(matches!(one.create_table(&delta).await, Err(Error::Unsupported { .. })));
        let elsewhere = TableIdent::new("public", "t");
        assert!(one.table(&elsewhere).await.unwrap().is_none());
        let renamed = one.rename_table(&TableIdent::new("pg_temp_7", "t"), &elsewhere).await;
        assert!(matches!(renamed, Err(Error::NamespaceNotFound(_))));
        assert!(matches!(one.drop_table(&elsewhere).await, Err(Error::TableNotFound(_))));
    }
}
