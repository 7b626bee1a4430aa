//! `pg_depend`: what belongs to a relation: defaults, constraints, the index of its key, the rule of a view.
//!
//! Not what a view reads: views are bound to names, so that they outlive a relation that another one takes the
//! place of. Clients that see such dependencies (dbt) take a view for dropped with the relation that was
//! renamed away and dropped with CASCADE, and make it again.

use auric_catalog::backend::Oid;
use datafusion::error::Result;

use super::CatalogContext;
use super::relation::Rows;
use super::shape;

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
        for (oid, key) in relation.numbered_foreign_keys() {
            let object = (constraint, oid, 0);
            key.columns.iter().for_each(|number| depends(object, (class, relation.oid, *number), AUTOMATIC));
            key.referenced.iter().for_each(|number| depends(object, (class, key.table, *number), NORMAL));
            if key.index != 0 {
                depends(object, (class, key.index, 0), NORMAL);
            }
        }
    }
    for view in context.image.views() {
        let rule = (rewrite, view.rule_oid(), 0);
        depends(rule, (class, view.oid, 0), INTERNAL);
    }
    Ok(rows)
}
