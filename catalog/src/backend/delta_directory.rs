//! Catalog type `delta`: a directory tree of Delta tables, on any object store.
//!
//! `root/<schema>/<table>/_delta_log` is a table; `root/<table>/_delta_log` is one in schema
//! `public`, which always exists. Names that begin with `.` or `_` are hidden. Nothing is written
//! for reading, so a tree without write permission is a read-only catalog.
//!
//! - A table exists from its first commit to its log: that is what decides between two creators, so
//!   [`Backend::create_table`] has nothing to record. Dropping removes the log.
//! - A schema is a directory. Object stores have no empty ones: CREATE SCHEMA leaves the file
//!   [`SCHEMA_MARKER`] in it.
//! - Object identifiers are hashes of names in 16384..2³¹. Where names collide, the first in order
//!   keeps the plain hash and the others are hashed again with their number. All names are read
//!   before the first identifier is given out, so that a restart gives the same ones; only a
//!   colliding name that appears later may move an identifier at the next restart.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::{Backend, NamespaceEntry, NewTableEntry, Oid, SwapOutcome, TableEntry};
use crate::TableIdent;
use crate::error::{Error, Result};
use crate::name::check_name;
use crate::storage::{Storage, from_url, to_url};
use crate::table::TableFormat;

/// Keeps an empty schema in existence.
const SCHEMA_MARKER: &str = ".auric_schema";
/// Schema of the tables directly below the root.
const ROOT_SCHEMA: &str = "public";
const CONCURRENT_REQUESTS: usize = 32;

/// A directory tree of Delta tables.
#[derive(Debug)]
pub struct DeltaDirectory {
    storage: Storage,
    root: String,
    oids: Oids,
    /// Set once all names have been seen.
    seeded: OnceCell<()>,
}

impl DeltaDirectory {
    /// Fails with `Storage` when `root` is local and not a directory, `Invalid` when it is no location.
    pub fn open<'a>(storage: Storage, root: &'a str) -> BoxFuture<'a, Result<Self>> {
        Box::pin(async move {
            let url = to_url(root)?;
            let root = from_url(&url)?;
            if let Ok(path) = url.to_file_path() {
                let metadata = tokio::fs::metadata(&path).await.map_err(|e| Error::storage(&root, e))?;
                if !metadata.is_dir() {
                    let source = std::io::Error::from(std::io::ErrorKind::NotADirectory);
                    return Err(Error::storage(&root, source));
                }
            }
            Ok(Self {
                storage,
                root: root.trim_end_matches('/').to_string(),
                oids: Oids::default(),
                seeded: OnceCell::new(),
            })
        })
    }

    async fn is_table(&self, location: &str) -> Result<bool> {
        self.storage.has_files(&format!("{location}/_delta_log")).await
    }

    /// Visible directories directly inside `location`, split into tables and others.
    async fn children(&self, location: &str) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
        let names = self.storage.directory(location).await?.directories;
        let checks = names.into_iter().filter(|name| is_visible(name)).map(|name| async {
            let is_table = self.is_table(&format!("{location}/{name}")).await;
            (name, is_table)
        });
        let checks: Vec<_> = checks.collect();
        let mut checks = futures::stream::iter(checks).buffer_unordered(CONCURRENT_REQUESTS);
        let (mut tables, mut others) = (BTreeSet::new(), BTreeSet::new());
        while let Some((name, is_table)) = checks.next().await {
            if is_table? {
                tables.insert(name)
            } else {
                others.insert(name)
            };
        }
        Ok((tables, others))
    }

    async fn namespace_exists(&self, name: &str) -> Result<bool> {
        if name == ROOT_SCHEMA {
            return Ok(true);
        }
        if !is_visible(name) {
            return Ok(false);
        }
        let listed = self.storage.directory(&self.root).await?;
        let exists = listed.directories.iter().any(|directory| directory == name);
        Ok(exists && !self.is_table(&format!("{}/{name}", self.root)).await?)
    }

    /// Places where a table may be; the first wins.
    fn places(&self, ident: &TableIdent) -> Vec<String> {
        if !is_visible(&ident.name) || !is_visible(&ident.namespace) {
            return Vec::new();
        }
        let mut places = Vec::with_capacity(2);
        if ident.namespace == ROOT_SCHEMA {
            places.push(format!("{}/{}", self.root, ident.name));
        }
        places.push(format!("{}/{}/{}", self.root, ident.namespace, ident.name));
        places
    }

    async fn find(&self, ident: &TableIdent) -> Result<Option<String>> {
        for place in self.places(ident) {
            if self.is_table(&place).await? {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    async fn namespace_names(&self) -> Result<BTreeSet<String>> {
        let (_, mut names) = self.children(&self.root).await?;
        names.insert(ROOT_SCHEMA.to_string());
        Ok(names)
    }

    /// Names and locations.
    async fn table_locations(&self, namespace: &str) -> Result<BTreeMap<String, String>> {
        let inside = format!("{}/{namespace}", self.root);
        let (tables, _) = self.children(&inside).await?;
        let place = |parent: &str, name: String| (name.clone(), format!("{parent}/{name}"));
        let mut found: BTreeMap<_, _> = tables.into_iter().map(|name| place(&inside, name)).collect();
        if namespace == ROOT_SCHEMA {
            let (tables, _) = self.children(&self.root).await?;
            found.extend(tables.into_iter().map(|name| place(&self.root, name)));
        }
        Ok(found)
    }

    /// Lets the identifiers know all names, once.
    async fn seed(&self) -> Result<()> {
        let all = async {
            for namespace in self.namespace_names().await? {
                for table in self.table_locations(&namespace).await?.into_keys() {
                    self.oids.learn(&namespace, &table);
                }
                self.oids.learn(&namespace, "");
            }
            Ok::<_, Error>(())
        };
        self.seeded.get_or_try_init(|| all).await.map(|_| ())
    }

    fn entry(&self, ident: TableIdent, pointer: String) -> TableEntry {
        let oid = self.oids.get(&ident.namespace, &ident.name);
        TableEntry { ident, format: TableFormat::Delta, pointer, external: false, oid }
    }
}

#[async_trait]
impl Backend for DeltaDirectory {
    fn warehouse(&self) -> &str {
        &self.root
    }

    /// The tree decides where a table is.
    fn fixed_location(&self, ident: &TableIdent) -> Result<Option<String>> {
        check_directory("schema", &ident.namespace)?;
        check_directory("table", &ident.name)?;
        Ok(self.places(ident).pop())
    }

    fn only_format(&self) -> Option<TableFormat> {
        Some(TableFormat::Delta)
    }

    async fn namespaces(&self) -> Result<Arc<Vec<NamespaceEntry>>> {
        self.seed().await?;
        let names = self.namespace_names().await?;
        let entry = |name: String| {
            let oid = self.oids.get(&name, "");
            NamespaceEntry { name, oid, properties: BTreeMap::new() }
        };
        Ok(Arc::new(names.into_iter().map(entry).collect()))
    }

    /// Properties cannot be kept and are refused.
    async fn create_namespace(&self, name: &str, properties: &BTreeMap<String, String>) -> Result<()> {
        check_directory("schema", name)?;
        if !properties.is_empty() {
            return Err(Error::unsupported("a directory of Delta tables", "schema properties"));
        }
        if self.is_table(&format!("{}/{name}", self.root)).await? {
            return Err(Error::Invalid(format!(
                "directory \"{name}\" is a table of schema \"{ROOT_SCHEMA}\""
            )));
        }
        let marker = format!("{}/{name}/{SCHEMA_MARKER}", self.root);
        let exists = self.namespace_exists(name).await?;
        if exists || !self.storage.create(&marker, bytes::Bytes::new()).await? {
            return Err(Error::NamespaceExists(name.to_string()));
        }
        Ok(())
    }

    async fn drop_namespace(&self, name: &str) -> Result<()> {
        if !self.namespace_exists(name).await? {
            return Err(Error::NamespaceNotFound(name.to_string()));
        }
        if name == ROOT_SCHEMA {
            return Err(Error::unsupported("a directory of Delta tables", "dropping its schema \"public\""));
        }
        let directory = format!("{}/{name}", self.root);
        let files = self.storage.list(&directory).await?;
        if files.iter().any(|file| file.location.filename() != Some(SCHEMA_MARKER)) {
            return Err(Error::NamespaceNotEmpty(name.to_string()));
        }
        self.storage.delete_all(&directory).await.map(|_| ())
    }

    async fn tables(&self, namespace: &str) -> Result<Vec<TableEntry>> {
        self.seed().await?;
        let found = self.table_locations(namespace).await?;
        if found.is_empty() && !self.namespace_exists(namespace).await? {
            return Err(Error::NamespaceNotFound(namespace.to_string()));
        }
        let entries = found.into_iter();
        Ok(entries.map(|(name, location)| self.entry(TableIdent::new(namespace, name), location)).collect())
    }

    async fn table(&self, ident: &TableIdent) -> Result<Option<TableEntry>> {
        self.seed().await?;
        let found = self.find(ident).await?;
        Ok(found.map(|location| self.entry(ident.clone(), location)))
    }

    /// The table's log is what makes it exist: this only checks that it is where its name says.
    async fn create_table(&self, entry: &NewTableEntry) -> Result<()> {
        if entry.format != TableFormat::Delta {
            return Err(Error::unsupported(
                "a directory of Delta tables",
                format!("{} tables", entry.format),
            ));
        }
        check_directory("table", &entry.ident.name)?;
        if !self.namespace_exists(&entry.ident.namespace).await? {
            return Err(Error::NamespaceNotFound(entry.ident.namespace.clone()));
        }
        if !self.places(&entry.ident).contains(&entry.pointer) {
            return Err(Error::unsupported(
                "a directory of Delta tables",
                format!("tables elsewhere (at \"{}\")", entry.pointer),
            ));
        }
        Ok(())
    }

    /// Removes the table's log: what is left are files of no table.
    async fn drop_table(&self, ident: &TableIdent) -> Result<()> {
        let location = self.find(ident).await?.ok_or_else(|| Error::TableNotFound(ident.clone()))?;
        self.storage.delete_all(&format!("{location}/_delta_log")).await.map(|_| ())
    }

    async fn rename_table(&self, from: &TableIdent, _to: &TableIdent) -> Result<()> {
        match self.find(from).await? {
            None => Err(Error::TableNotFound(from.clone())),
            Some(_) => Err(Error::unsupported("a directory of Delta tables", "renaming tables")),
        }
    }

    async fn swap_pointer(&self, _ident: &TableIdent, _expected: &str, _new: &str) -> Result<SwapOutcome> {
        Err(Error::unsupported("a directory of Delta tables", "Iceberg tables"))
    }

    /// A tree has no counter.
    async fn reserve_oid(&self, ident: &TableIdent) -> Result<Oid> {
        Ok(self.oids.get(&ident.namespace, &ident.name))
    }

    async fn change_counter(&self) -> Result<Option<i64>> {
        Ok(None)
    }
}

/// Can it be the name of a directory that we show?
fn is_visible(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(['.', '_'])
        && !name.chars().any(|c| c == '/' || c.is_ascii_control())
}

fn check_directory(kind: &str, name: &str) -> Result<()> {
    check_name(kind, name)?;
    if is_visible(name) {
        return Ok(());
    }
    Err(Error::Invalid(format!("{kind} name \"{name}\" cannot be the name of a visible directory")))
}

/// Identifiers of all names seen. A namespace has an empty table name.
#[derive(Debug, Default)]
struct Oids {
    /// By plain hash: the names that have it.
    by_hash: Mutex<HashMap<Oid, BTreeSet<(String, String)>>>,
}

impl Oids {
    fn learn(&self, namespace: &str, table: &str) {
        let name = (namespace.to_string(), table.to_string());
        self.by_hash.lock().entry(hash(namespace, table, 0)).or_default().insert(name);
    }

    fn get(&self, namespace: &str, table: &str) -> Oid {
        let name = (namespace.to_string(), table.to_string());
        let plain = hash(namespace, table, 0);
        let mut by_hash = self.by_hash.lock();
        let names = by_hash.entry(plain).or_default();
        names.insert(name.clone());
        match names.iter().position(|other| *other == name) {
            None | Some(0) => plain,
            Some(number) => hash(namespace, table, number),
        }
    }
}

/// FNV-1a of both names and a number, folded into 16384..2³¹.
fn hash(namespace: &str, table: &str, number: usize) -> Oid {
    const FIRST: u64 = 16384;
    let number = (number as u64).to_le_bytes();
    // 0xff occurs in no UTF-8 text: it separates the names.
    let bytes = namespace.bytes().chain([0xff]).chain(table.bytes()).chain([0xff]).chain(number);
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let folded = FIRST + hash % ((1 << 31) - FIRST);
    Oid::try_from(folded).unwrap_or(Oid::MAX)
}
