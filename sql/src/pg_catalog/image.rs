//! What the catalog holds, as one immutable value: the source of all catalog relations and of all
//! functions that look something up.
//!
//! An image is made before planning (the only asynchronous step, [`super::load`]) and never changes
//! afterwards, so that everything a statement shows fits together. Relations that follow from the
//! image alone are built once and kept with it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Field;
use auric_catalog::backend::Oid;
use auric_catalog::table::IdentityColumn;
use datafusion::error::Result;
use parking_lot::Mutex;

use super::foreign_key::ReferentialAction;
use super::key_index::KeyIndex;
use super::shape::{self, Shape};
use super::types;
use crate::session::temporary::TEMPORARY_SCHEMA;

/// OID of schema `pg_catalog`.
pub const PG_CATALOG: Oid = 11;
/// OID of schema `information_schema`.
pub const INFORMATION_SCHEMA: Oid = 13207;
/// OID of the role that owns everything.
pub const OWNER: Oid = 10;
/// Name of the role that owns everything.
pub const OWNER_NAME: &str = "auric";

/// OIDs derived from a table's OID, equal on every server of a catalog. Catalogs give out OIDs
/// from 16384 upwards and stay far below these ranges.
const KEY_INDEX_BASE: Oid = 0x4000_0000;
const KEY_CONSTRAINT_BASE: Oid = 0x5000_0000;
const DEFAULT_BASE: Oid = 0x6000_0000;
const CHECK_BASE: Oid = 0x7000_0000;
const FOREIGN_KEY_BASE: Oid = 0x2000_0000;
const RULE_BASE: Oid = 0x3000_0000;
/// Columns a table can have (Postgres' own limit), as the stride of the OIDs of defaults.
const MAX_COLUMNS: Oid = 2048;

#[derive(Debug, Clone)]
pub struct Database {
    pub oid: Oid,
    pub name: String,
}

#[derive(Debug, Clone)]
pub struct Namespace {
    pub oid: Oid,
    pub name: String,
    pub comment: Option<String>,
}

/// `relkind` of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationKind {
    Table,
    View,
    MaterializedView,
}

impl RelationKind {
    pub fn code(self) -> &'static str {
        match self {
            Self::Table => "r",
            Self::View => "v",
            Self::MaterializedView => "m",
        }
    }
}

/// A column; its `attnum` is its position, from 1.
#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    pub type_oid: Oid,
    pub type_modifier: i32,
    pub nullable: bool,
    pub comment: Option<String>,
    /// SQL text.
    pub default: Option<String>,
    pub identity: Option<IdentityColumn>,
}

impl Column {
    /// A column of a table from its arrow field.
    pub fn of_field(field: &Field) -> Self {
        let (pg_type, type_modifier) = crate::types::pg_type(field);
        let text = |key: &str| field.metadata().get(key).filter(|text| !text.is_empty()).cloned();
        Self {
            name: field.name().clone(),
            type_oid: pg_type.oid(),
            type_modifier,
            nullable: field.is_nullable(),
            comment: text(auric_catalog::table::schema::COMMENT),
            default: text(auric_catalog::table::schema::DEFAULT_SQL),
            identity: None,
        }
    }
}

/// A CHECK constraint.
#[derive(Debug, Clone)]
pub struct Check {
    pub name: String,
    /// SQL text.
    pub condition: String,
}

/// A foreign key to a table that there is.
#[derive(Debug, Clone)]
pub struct ForeignKey {
    pub name: String,
    /// `attnum`s, and those of the other table.
    pub columns: Vec<i16>,
    pub referenced: Vec<i16>,
    pub table: Oid,
    /// The index of the other table's key; 0: it has none.
    pub index: Oid,
    pub on_update: ReferentialAction,
    pub on_delete: ReferentialAction,
    pub match_full: bool,
}

/// A table, view or materialized view of a user's schema.
#[derive(Debug, Clone)]
pub struct Relation {
    pub oid: Oid,
    pub namespace_oid: Oid,
    pub namespace: String,
    pub name: String,
    pub kind: RelationKind,
    /// Empty when the table could not be loaded.
    pub columns: Vec<Column>,
    /// `attnum`s of the columns that identify a row.
    pub key: Vec<i16>,
    /// CHECK constraints, in a fixed order.
    pub checks: Vec<Check>,
    /// In order of their names.
    pub foreign_keys: Vec<ForeignKey>,
    /// Foreign keys are to this table.
    pub is_referenced: bool,
    pub comment: Option<String>,
    /// Estimated number of rows; `None`: never counted.
    pub rows: Option<u64>,
    /// Size of the data files, bytes.
    pub bytes: Option<u64>,
    /// Table properties (`reloptions`).
    pub properties: BTreeMap<String, String>,
    /// Text of a view's query.
    pub definition: Option<String>,
    /// `false`: a materialized view that cannot be read before it is refreshed.
    pub populated: bool,
    pub has_partitions: bool,
    /// Access method as `\d+` shows it: the table format.
    pub format: Option<String>,
}

impl Relation {
    /// One of which no more is known.
    pub fn new(oid: Oid, namespace: (Oid, &str), name: &str, kind: RelationKind) -> Self {
        Self {
            oid,
            namespace_oid: namespace.0,
            namespace: namespace.1.to_string(),
            name: name.to_string(),
            kind,
            columns: Vec::new(),
            key: Vec::new(),
            checks: Vec::new(),
            foreign_keys: Vec::new(),
            is_referenced: false,
            comment: None,
            rows: None,
            bytes: None,
            properties: BTreeMap::new(),
            definition: None,
            populated: true,
            has_partitions: false,
            format: None,
        }
    }

    /// No other schema may be called like those of temporary tables.
    pub fn is_temporary(&self) -> bool {
        self.namespace.starts_with(TEMPORARY_SCHEMA)
    }

    pub fn key_index_oid(&self) -> Oid {
        KEY_INDEX_BASE | self.oid
    }

    pub fn key_constraint_oid(&self) -> Oid {
        KEY_CONSTRAINT_BASE | self.oid
    }

    pub fn rule_oid(&self) -> Oid {
        RULE_BASE | self.oid
    }

    /// Name of the key's index and constraint, as Postgres would have chosen it.
    pub fn key_name(&self) -> String {
        format!("{}_pkey", self.name)
    }

    pub fn default_oid(&self, attnum: i16) -> Oid {
        let column = Oid::try_from(attnum).unwrap_or_default();
        DEFAULT_BASE.wrapping_add(self.oid.wrapping_mul(MAX_COLUMNS) & 0x0fff_ffff).wrapping_add(column)
    }

    /// CHECK constraints with their OIDs.
    pub fn numbered_checks(&self) -> impl Iterator<Item = (Oid, &Check)> {
        let first = CHECK_BASE.wrapping_add(self.oid.wrapping_mul(MAX_COLUMNS) & 0x0fff_ffff);
        (first..).zip(&self.checks)
    }

    /// Postgres enforces foreign keys by triggers of both tables: clients ask only those that have any for keys.
    pub fn has_triggers(&self) -> bool {
        self.is_referenced || !self.foreign_keys.is_empty()
    }

    /// Foreign keys with their OIDs.
    pub fn numbered_foreign_keys(&self) -> impl Iterator<Item = (Oid, &ForeignKey)> {
        let first = FOREIGN_KEY_BASE.wrapping_add(self.oid.wrapping_mul(MAX_COLUMNS) & 0x0fff_ffff);
        (first..).zip(&self.foreign_keys)
    }

    /// Names of columns by their `attnum`s.
    pub fn column_names(&self, numbers: &[i16]) -> Vec<&str> {
        let column = |number: &i16| self.columns.get(usize::try_from(*number).ok()?.checked_sub(1)?);
        numbers.iter().filter_map(column).map(|column| column.name.as_str()).collect()
    }

    /// Columns with their `attnum`.
    pub fn numbered_columns(&self) -> impl Iterator<Item = (i16, &Column)> {
        (1..=i16::MAX).zip(&self.columns)
    }

    /// Names of the key's columns.
    pub fn key_columns(&self) -> Vec<&str> {
        self.numbered_columns().filter(|(n, _)| self.key.contains(n)).map(|(_, c)| c.name.as_str()).collect()
    }
}

/// Everything a database holds.
#[derive(Debug, Default)]
pub struct CatalogImage {
    pub databases: Vec<Database>,
    /// Schemas of users, without the two system schemas.
    pub namespaces: Vec<Namespace>,
    pub relations: Vec<Relation>,
    /// Positions in `relations` by the OIDs of tables and of the indexes of their keys.
    by_oid: HashMap<Oid, usize>,
    /// The same by schema and name.
    by_name: HashMap<String, HashMap<String, usize>>,
    /// Built relations by `schema.name`.
    batches: Mutex<HashMap<String, RecordBatch>>,
    /// Indexes of these, by the address of the column's values, which stays where it is.
    key_indexes: Mutex<HashMap<usize, Arc<KeyIndex>>>,
}

/// A relation of any kind, found by OID or by name.
#[derive(Debug, Clone, Copy)]
pub enum Found<'a> {
    User(&'a Relation),
    /// A relation of `pg_catalog` or `information_schema`.
    System(&'static Shape),
    /// The index of a table's key.
    KeyIndex(&'a Relation),
}

impl Found<'_> {
    pub fn oid(&self) -> Oid {
        match self {
            Self::User(relation) => relation.oid,
            Self::System(shape) => shape.oid,
            Self::KeyIndex(relation) => relation.key_index_oid(),
        }
    }

    pub fn name(&self) -> String {
        match self {
            Self::User(relation) => relation.name.clone(),
            Self::System(shape) => shape.name.to_string(),
            Self::KeyIndex(relation) => relation.key_name(),
        }
    }

    pub fn namespace(&self) -> &str {
        match self {
            Self::User(relation) | Self::KeyIndex(relation) => &relation.namespace,
            Self::System(shape) => shape.schema,
        }
    }
}

impl CatalogImage {
    pub fn new(databases: Vec<Database>, namespaces: Vec<Namespace>, relations: Vec<Relation>) -> Self {
        let mut by_oid = HashMap::with_capacity(relations.len());
        let mut by_name: HashMap<String, HashMap<String, usize>> = HashMap::new();
        for (position, relation) in relations.iter().enumerate() {
            let names = by_name.entry(relation.namespace.clone()).or_default();
            by_oid.entry(relation.oid).or_insert(position);
            names.entry(relation.name.clone()).or_insert(position);
            if !relation.key.is_empty() {
                by_oid.entry(relation.key_index_oid()).or_insert(position);
                names.entry(relation.key_name()).or_insert(position);
            }
        }
        Self {
            databases,
            namespaces,
            relations,
            by_oid,
            by_name,
            batches: Mutex::default(),
            key_indexes: Mutex::default(),
        }
    }

    /// Views and materialized views.
    pub fn views(&self) -> impl Iterator<Item = &Relation> {
        self.relations.iter().filter(|relation| relation.kind != RelationKind::Table)
    }

    pub fn relation_by_oid(&self, oid: Oid) -> Option<Found<'_>> {
        match self.by_oid.get(&oid).and_then(|position| self.relations.get(*position)) {
            Some(relation) if relation.oid == oid => Some(Found::User(relation)),
            Some(relation) => Some(Found::KeyIndex(relation)),
            None => shape::find_by_oid(oid).map(Found::System),
        }
    }

    /// A relation by schema and name.
    pub fn relation_by_name(&self, namespace: &str, name: &str) -> Option<Found<'_>> {
        if let Some(shape) = shape::find(namespace, name) {
            return Some(Found::System(shape));
        }
        let relation = self.relations.get(*self.by_name.get(namespace)?.get(name)?)?;
        Some(if relation.name == name { Found::User(relation) } else { Found::KeyIndex(relation) })
    }

    /// The first relation of that name in a list of schemas.
    pub fn relation_in_path(&self, path: &[String], name: &str) -> Option<Found<'_>> {
        shape::find("pg_catalog", name)
            .map(Found::System)
            .or_else(|| path.iter().find_map(|schema| self.relation_by_name(schema, name)))
    }

    /// All schemas with OIDs, the system's included.
    pub fn all_namespaces(&self) -> Vec<(Oid, &str, Option<&str>)> {
        let mut all = vec![
            (PG_CATALOG, "pg_catalog", Some("system catalog schema")),
            (INFORMATION_SCHEMA, "information_schema", None),
        ];
        all.extend(self.namespaces.iter().map(|n| (n.oid, n.name.as_str(), n.comment.as_deref())));
        all
    }

    pub fn namespace_name(&self, oid: Oid) -> Option<&str> {
        match oid {
            PG_CATALOG => Some("pg_catalog"),
            INFORMATION_SCHEMA => Some("information_schema"),
            oid => self
                .namespaces
                .iter()
                .find(|namespace| namespace.oid == oid)
                .map(|namespace| namespace.name.as_str()),
        }
    }

    pub fn namespace_oid(&self, name: &str) -> Option<Oid> {
        match name {
            "pg_catalog" => Some(PG_CATALOG),
            "information_schema" => Some(INFORMATION_SCHEMA),
            name => {
                self.namespaces.iter().find(|namespace| namespace.name == name).map(|namespace| namespace.oid)
            }
        }
    }

    /// The kept batch of a relation, or a new one.
    pub(super) fn batch(
        &self,
        shape: &Shape,
        build: impl FnOnce() -> Result<RecordBatch>,
    ) -> Result<RecordBatch> {
        let key = format!("{}.{}", shape.schema, shape.name);
        if let Some(batch) = self.batches.lock().get(&key) {
            return Ok(batch.clone());
        }
        let batch = build()?;
        self.batches.lock().insert(key, batch.clone());
        Ok(batch)
    }

    /// Where the rows of a relation are by the OIDs in one of its columns. `None`: the column does not hold
    /// OIDs, or the batch is not one of this image's.
    pub fn key_index(&self, batch: &RecordBatch, column: usize) -> Option<Arc<KeyIndex>> {
        let values = batch.columns().get(column)?;
        let is_same = |own: &RecordBatch| own.columns().get(column).is_some_and(|c| Arc::ptr_eq(c, values));
        let own = self.batches.lock().values().find(|own| is_same(own)).cloned()?;
        let address = Arc::as_ptr(values).addr();
        if let Some(index) = self.key_indexes.lock().get(&address) {
            return Some(index.clone());
        }
        let index = Arc::new(KeyIndex::of(&own, column)?);
        self.key_indexes.lock().insert(address, index.clone());
        Some(index)
    }

    /// Name of a type as Postgres prints it (`format_type`).
    pub fn type_name(&self, oid: Oid, modifier: Option<i32>) -> String {
        types::format_type(oid, modifier)
    }
}
