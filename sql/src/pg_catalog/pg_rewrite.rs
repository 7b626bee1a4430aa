//! `pg_rewrite`: the rule that a view is in Postgres. Its query is what `pg_get_viewdef` gives; no tree is shown.

use datafusion::error::Result;

use super::CatalogContext;
use super::relation::Rows;

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new("oid rulename ev_class ev_type ev_enabled is_instead ev_qual ev_action");
    for view in context.image.views() {
        rows.push(vec![
            view.rule_oid().into(),
            "_RETURN".into(),
            view.oid.into(),
            "1".into(),
            "O".into(),
            true.into(),
            "<>".into(),
            "<>".into(),
        ]);
    }
    Ok(rows)
}
