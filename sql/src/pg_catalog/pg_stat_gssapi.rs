//! `pg_stat_gssapi`: the clients' connections, none of which uses GSSAPI.

use datafusion::error::Result;

use super::CatalogContext;
use super::relation::Rows;

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new("pid gss_authenticated encrypted credentials_delegated");
    let Some(engine) = &context.info.engine else { return Ok(rows) };
    let backends = engine.activity.backends().into_iter();
    for backend in backends.filter(|backend| backend.client_address.is_some()) {
        rows.push(vec![backend.pid.into(), false.into(), false.into(), false.into()]);
    }
    Ok(rows)
}
