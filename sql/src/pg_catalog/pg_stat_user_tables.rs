//! `pg_stat_user_tables`: row counts from table metadata; access counters are not kept (0).

use datafusion::error::Result;

use super::CatalogContext;
use super::image::RelationKind;
use super::relation::Rows;
use super::value::Value;

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new(
        "relid schemaname relname n_live_tup seq_scan seq_tup_read idx_scan idx_tup_fetch n_tup_ins \
         n_tup_upd n_tup_del n_tup_hot_upd n_tup_newpage_upd n_dead_tup n_mod_since_analyze n_ins_since_vacuum \
         vacuum_count autovacuum_count analyze_count autoanalyze_count",
    );
    for relation in context.image.relations.iter().filter(|r| r.kind != RelationKind::View) {
        let live = i64::try_from(relation.rows.unwrap_or_default()).unwrap_or(i64::MAX);
        let mut row =
            vec![relation.oid.into(), (&relation.namespace).into(), (&relation.name).into(), live.into()];
        row.resize(rows.columns.len(), Value::Int(0));
        rows.push(row);
    }
    Ok(rows)
}
