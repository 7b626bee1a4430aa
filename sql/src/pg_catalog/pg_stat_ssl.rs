//! `pg_stat_ssl`: how the clients' connections are encrypted. Whose certificates they have shown is not told.

use datafusion::error::Result;

use super::CatalogContext;
use super::relation::Rows;

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new("pid ssl version cipher bits");
    let Some(engine) = &context.info.engine else { return Ok(rows) };
    for backend in engine.activity.backends() {
        // What the server does by itself has no connection.
        if backend.client_address.is_none() {
            continue;
        }
        let encryption = backend.encryption.as_ref();
        rows.push(vec![
            backend.pid.into(),
            encryption.is_some().into(),
            encryption.map(|encryption| &encryption.version).into(),
            encryption.map(|encryption| &encryption.cipher).into(),
            encryption.map(|encryption| encryption.bits).into(),
        ]);
    }
    Ok(rows)
}
