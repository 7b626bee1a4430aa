//! `pg_stat_activity`: the server's connections.

use datafusion::error::Result;

use super::CatalogContext;
use super::image::OWNER_NAME;
use super::pg_roles::SESSION_USER;
use super::relation::Rows;
use super::value::Value;

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new(
        "datid datname pid usesysid usename application_name client_addr client_port \
         backend_start xact_start query_start state_change wait_event_type wait_event state query \
         backend_type",
    );
    let Some(engine) = &context.info.engine else { return Ok(rows) };
    for backend in engine.activity.backends() {
        let database = context.image.databases.iter().find(|d| d.name == backend.database);
        let user = if backend.user == OWNER_NAME { super::image::OWNER } else { SESSION_USER };
        let idle = backend.state.starts_with("idle");
        rows.push(vec![
            database.map(|d| d.oid).into(),
            backend.database.into(),
            backend.pid.into(),
            user.into(),
            backend.user.into(),
            backend.application_name.into(),
            backend.client_address.map(|a| a.ip().to_string()).into(),
            backend.client_address.map(|a| i32::from(a.port())).into(),
            backend.backend_start.into(),
            backend.transaction_start.into(),
            backend.query_start.into(),
            backend.state_change.into(),
            if idle { "Client".into() } else { Value::Null },
            if idle { "ClientRead".into() } else { Value::Null },
            backend.state.into(),
            backend.query.into(),
            backend.backend_type.into(),
        ]);
    }
    Ok(rows)
}
