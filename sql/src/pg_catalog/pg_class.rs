//! `pg_class`: tables, views, materialized views, the indexes of keys, and the system relations.

use datafusion::error::Result;

use super::CatalogContext;
use super::image::{INFORMATION_SCHEMA, OWNER, PG_CATALOG, Relation, RelationKind};
use super::relation::Rows;
use super::value::Value;
use super::{shape, static_rows};

/// OID of the access methods `heap` and `btree`.
const HEAP: u32 = 2;
const BTREE: u32 = 403;
/// Bytes of a page, as `relpages` counts them.
const PAGE_BYTES: u64 = 8192;

const COLUMNS: &str = "oid relname relnamespace relkind relam reltuples relpages relhasindex \
    relnatts reloptions relhasrules relispopulated reltype reloftype relowner relfilenode \
    reltablespace relallvisible reltoastrelid relisshared relpersistence relchecks relhastriggers \
    relhassubclass relrowsecurity relforcerowsecurity relreplident relispartition relrewrite \
    relfrozenxid relminmxid";

/// What differs between relations; the rest is the same for all.
struct Class<'a> {
    oid: u32,
    name: &'a str,
    namespace: u32,
    kind: &'a str,
    access_method: u32,
    rows: Option<u64>,
    bytes: Option<u64>,
    has_index: bool,
    columns: usize,
    checks: usize,
    has_triggers: bool,
    temporary: bool,
    populated: bool,
    options: Option<Vec<String>>,
}

impl Class<'_> {
    fn into_row(self) -> Vec<Value> {
        let pages = self.bytes.unwrap_or_default().div_ceil(PAGE_BYTES);
        vec![
            self.oid.into(),
            self.name.into(),
            self.namespace.into(),
            self.kind.into(),
            self.access_method.into(),
            // -1: never counted.
            self.rows.map_or(-1.0, |rows| rows as f64).into(),
            i32::try_from(pages).unwrap_or(i32::MAX).into(),
            self.has_index.into(),
            i64::try_from(self.columns).unwrap_or_default().into(),
            self.options.into(),
            // Views have their `_RETURN` rule.
            (self.kind == "v").into(),
            self.populated.into(),
            0.into(),
            0.into(),
            OWNER.into(),
            0.into(),
            0.into(),
            0.into(),
            0.into(),
            false.into(),
            if self.temporary { "t" } else { "p" }.into(),
            i64::try_from(self.checks).unwrap_or_default().into(),
            self.has_triggers.into(),
            false.into(),
            false.into(),
            false.into(),
            "d".into(),
            false.into(),
            0.into(),
            0.into(),
            0.into(),
        ]
    }
}

fn options(relation: &Relation) -> Option<Vec<String>> {
    let options: Vec<_> = relation.properties.iter().map(|(k, v)| format!("{k}={v}")).collect();
    (!options.is_empty()).then_some(options)
}

/// The table format, as an access method.
fn access_method(relation: &Relation) -> u32 {
    match relation.format.as_deref() {
        _ if relation.kind == RelationKind::View => 0,
        Some("iceberg") => static_rows::ICEBERG,
        Some("delta") => static_rows::DELTA,
        _ => HEAP,
    }
}

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new(COLUMNS);
    for shape in shape::all() {
        let in_catalog = shape.schema == "pg_catalog";
        rows.push(
            Class {
                oid: shape.oid,
                name: shape.name,
                namespace: if in_catalog { PG_CATALOG } else { INFORMATION_SCHEMA },
                kind: shape.kind,
                access_method: if shape.kind == "r" { HEAP } else { 0 },
                rows: None,
                bytes: None,
                has_index: false,
                columns: shape.columns.len(),
                checks: 0,
                has_triggers: false,
                temporary: false,
                populated: true,
                options: None,
            }
            .into_row(),
        );
    }
    for relation in &context.image.relations {
        let has_key = !relation.key.is_empty();
        rows.push(
            Class {
                oid: relation.oid,
                name: &relation.name,
                namespace: relation.namespace_oid,
                kind: relation.kind.code(),
                access_method: access_method(relation),
                rows: relation.rows,
                bytes: relation.bytes,
                has_index: has_key,
                columns: relation.columns.len(),
                checks: relation.checks.len(),
                has_triggers: relation.has_triggers(),
                temporary: relation.is_temporary(),
                populated: relation.populated,
                options: options(relation),
            }
            .into_row(),
        );
        if has_key {
            rows.push(
                Class {
                    oid: relation.key_index_oid(),
                    name: &relation.key_name(),
                    namespace: relation.namespace_oid,
                    kind: "i",
                    access_method: BTREE,
                    rows: relation.rows,
                    bytes: None,
                    has_index: false,
                    columns: relation.key.len(),
                    checks: 0,
                    has_triggers: false,
                    temporary: relation.is_temporary(),
                    populated: true,
                    options: None,
                }
                .into_row(),
            );
        }
    }
    Ok(rows)
}
