//! `pg_depend`: which relations a view reads (as wholes, by the view's rule, as in Postgres), and what belongs
//! to a table: defaults, constraints, the index of its key.

use auric_catalog::backend::Oid;
use datafusion::error::Result;

use super::CatalogContext;
use super::image::{CatalogImage, Found, Relation};
use super::relation::Rows;
use super::shape;
use crate::parser::view::relations_of;
use crate::parser::{self, Statement};
use crate::planner::reference;

/// `deptype`: goes with what it depends on only by CASCADE; goes with it; is a part of it.
const NORMAL: &str = "n";
const AUTOMATIC: &str = "a";
const INTERNAL: &str = "i";

/// An object, or a column of a table (0: the whole): `classid`, `objid`, `objsubid`.
type Object = (Oid, Oid, i16);

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new("classid objid objsubid refclassid refobjid refobjsubid deptype");
    let mut depends = |(class, id, part): Object, on: Object, kind: &str| {
        let (on_class, on_id, on_part) = on;
        rows.push(vec![
            class.into(),
            id.into(),
            part.into(),
            on_class.into(),
            on_id.into(),
            on_part.into(),
            kind.into(),
        ]);
    };
    let [class, namespace, rewrite, constraint, default] =
        ["pg_class", "pg_namespace", "pg_rewrite", "pg_constraint", "pg_attrdef"]
            .map(|name| shape::find("pg_catalog", name).map_or(0, |shape| shape.oid));
    for relation in &context.image.relations {
        let whole = (class, relation.oid, 0);
        depends(whole, (namespace, relation.namespace_oid, 0), NORMAL);
        for (number, _) in relation.numbered_columns().filter(|(_, column)| column.default.is_some()) {
            depends((default, relation.default_oid(number), 0), (class, relation.oid, number), AUTOMATIC);
        }
        if !relation.key.is_empty() {
            let key = (constraint, relation.key_constraint_oid(), 0);
            relation.key.iter().for_each(|number| depends(key, (class, relation.oid, *number), AUTOMATIC));
            depends((class, relation.key_index_oid(), 0), key, INTERNAL);
        }
        for (oid, _) in relation.numbered_checks() {
            depends((constraint, oid, 0), whole, AUTOMATIC);
        }
    }
    for view in context.image.views() {
        let rule = (rewrite, view.rule_oid(), 0);
        depends(rule, (class, view.oid, 0), INTERNAL);
        for oid in read_by(view, &context.image) {
            depends(rule, (class, oid, 0), NORMAL);
        }
    }
    Ok(rows)
}

/// The relations of users' schemas that a view's query names, each once.
fn read_by(view: &Relation, image: &CatalogImage) -> Vec<Oid> {
    let parsed = view.definition.as_deref().map(parser::parse);
    let Some(Ok([parsed])) = parsed.as_ref().map(|parsed| parsed.as_deref().map_err(|_| ())) else {
        return Vec::new();
    };
    let Statement::Query(query) = parsed.statement.as_ref() else { return Vec::new() };
    let found = relations_of(query).into_iter().filter_map(|name| {
        let name = reference(&name).ok()?;
        let found = match name.schema() {
            Some(schema) => image.relation_by_name(schema, name.table()),
            None => image.relation_in_path(&view.search_path, name.table()),
        };
        match found? {
            Found::User(relation) => Some(relation.oid),
            Found::System(_) | Found::KeyIndex(_) => None,
        }
    });
    let mut oids: Vec<Oid> = found.collect();
    oids.sort_unstable();
    oids.dedup();
    oids
}
