//! `pg_constraint`: primary keys (identifier fields), foreign keys and CHECK constraints. NOT NULL is no constraint of
//! its own in Postgres 16.

use datafusion::error::Result;

use super::CatalogContext;
use super::image::{ForeignKey, Relation};
use super::relation::Rows;
use super::value::Value;

/// What differs between constraints.
struct Constraint {
    oid: u32,
    name: String,
    kind: &'static str,
    index: u32,
    /// Null of a CHECK: the columns that its condition uses are not looked up.
    columns: Value,
    no_inherit: bool,
    /// Of a foreign key.
    foreign: Option<ForeignKey>,
}

impl Constraint {
    fn into_row(self, relation: &Relation) -> Vec<Value> {
        let foreign = self.foreign.as_ref();
        vec![
            self.oid.into(),
            self.name.into(),
            relation.namespace_oid.into(),
            self.kind.into(),
            false.into(),
            false.into(),
            // Nothing looks at the rows.
            foreign.is_none().into(),
            relation.oid.into(),
            0.into(),
            self.index.into(),
            0.into(),
            foreign.map_or(0, |key| key.table).into(),
            foreign.map_or(" ", |key| key.on_update.code()).into(),
            foreign.map_or(" ", |key| key.on_delete.code()).into(),
            foreign.map_or(" ", |key| if key.match_full { "f" } else { "s" }).into(),
            true.into(),
            0.into(),
            self.no_inherit.into(),
            self.columns,
            foreign.map(|key| key.referenced.clone()).into(),
        ]
    }
}

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new(
        "oid conname connamespace contype condeferrable condeferred convalidated conrelid contypid \
         conindid conparentid confrelid confupdtype confdeltype confmatchtype conislocal \
         coninhcount connoinherit conkey confkey",
    );
    for relation in &context.image.relations {
        if !relation.key.is_empty() {
            let key = Constraint {
                oid: relation.key_constraint_oid(),
                name: relation.key_name(),
                kind: "p",
                index: relation.key_index_oid(),
                columns: relation.key.clone().into(),
                no_inherit: true,
                foreign: None,
            };
            rows.push(key.into_row(relation));
        }
        for (oid, check) in relation.numbered_checks() {
            let check = Constraint {
                oid,
                name: check.name.clone(),
                kind: "c",
                index: 0,
                columns: Value::Null,
                no_inherit: false,
                foreign: None,
            };
            rows.push(check.into_row(relation));
        }
        for (oid, key) in relation.numbered_foreign_keys() {
            let constraint = Constraint {
                oid,
                name: key.name.clone(),
                kind: "f",
                index: key.index,
                columns: key.columns.clone().into(),
                no_inherit: true,
                foreign: Some(key.clone()),
            };
            rows.push(constraint.into_row(relation));
        }
    }
    Ok(rows)
}
