//! Session information functions (manual 9.26.1) and settings (9.27.1).

use datafusion::error::{DataFusionError, Result};

use super::function::{Call, Definition, error, text};
use crate::error::Error;
use crate::pg_catalog::value::Value;
use crate::session::settings::Scope;
use crate::session::vars::SERVER_VERSION;

pub const FUNCTIONS: &[Definition] = &[
    Definition::strict("version", "text", (0, 0), |_, _| {
        Ok(format!("PostgreSQL {SERVER_VERSION} on {}", std::env::consts::ARCH).into())
    }),
    Definition::strict("current_database", "name", (0, 0), database),
    Definition::strict("current_catalog", "name", (0, 0), database),
    Definition::strict("current_schema", "name", (0, 0), |call, _| {
        Ok(call.info()?.search_path.first().into())
    }),
    Definition::strict("current_schemas", "_name", (1, 1), current_schemas),
    Definition::strict("current_user", "name", (0, 0), user),
    Definition::strict("user", "name", (0, 0), user),
    Definition::strict("current_role", "name", (0, 0), user),
    Definition::strict("session_user", "name", (0, 0), |call, _| Ok((&call.info()?.session_user).into())),
    Definition::strict("system_user", "text", (0, 0), |_, _| Ok(Value::Null)),
    Definition::strict("current_query", "text", (0, 0), |call, _| {
        Ok(own_backend(call)?.map(|backend| backend.query).into())
    })
    .volatile(),
    Definition::strict("pg_backend_pid", "int4", (0, 0), |call, _| Ok(call.info()?.pid.into())),
    Definition::strict("pg_blocking_pids", "_int4", (1, 1), |_, _| Ok(Value::List(Vec::new()))),
    Definition::strict("inet_client_addr", "inet", (0, 0), |call, _| {
        Ok(own_backend(call)?.and_then(|b| b.client_address).map(|a| a.ip().to_string()).into())
    }),
    Definition::strict("inet_client_port", "int4", (0, 0), |call, _| {
        let address = own_backend(call)?.and_then(|b| b.client_address);
        Ok(address.map(|a| i32::from(a.port())).into())
    }),
    Definition::strict("inet_server_addr", "inet", (0, 0), |call, _| {
        Ok(own_backend(call)?.and_then(|b| b.server_address).map(|a| a.ip().to_string()).into())
    }),
    Definition::strict("inet_server_port", "int4", (0, 0), |call, _| {
        let address = own_backend(call)?.and_then(|b| b.server_address);
        Ok(address.map(|a| i32::from(a.port())).into())
    }),
    Definition::strict("pg_my_temp_schema", "oid", (0, 0), |call, _| {
        Ok(call
            .info()?
            .temporary
            .as_ref()
            .and_then(|temporary| temporary.schema_oid())
            .unwrap_or_default()
            .into())
    }),
    // Those of other sessions are not seen.
    Definition::strict("pg_is_other_temp_schema", "bool", (1, 1), |_, _| Ok(false.into())),
    Definition::strict("pg_postmaster_start_time", "timestamptz", (0, 0), started),
    // The configuration is read once.
    Definition::strict("pg_conf_load_time", "timestamptz", (0, 0), started),
    Definition::strict("current_setting", "text", (1, 2), current_setting),
    Definition::called_on_null("set_config", "text", (3, 3), set_config).volatile(),
];

fn database(call: &Call<'_>, _: &[Value]) -> Result<Value> {
    Ok((&call.info()?.database).into())
}

fn user(call: &Call<'_>, _: &[Value]) -> Result<Value> {
    Ok((&call.info()?.user).into())
}

fn started(call: &Call<'_>, _: &[Value]) -> Result<Value> {
    let info = call.info()?;
    Ok(info.engine.as_ref().map(|engine| engine.started).into())
}

fn own_backend(call: &Call<'_>) -> Result<Option<crate::activity::Backend>> {
    let info = call.info()?;
    let backends = info.engine.as_ref().map(|engine| engine.activity.backends());
    Ok(backends.unwrap_or_default().into_iter().find(|backend| backend.pid == info.pid))
}

fn current_schemas(call: &Call<'_>, arguments: &[Value]) -> Result<Value> {
    let info = call.info()?;
    let implicit = arguments.first().and_then(Value::as_bool).unwrap_or(false)
        && !info.search_path.iter().any(|schema| schema == "pg_catalog");
    let mut schemas = Vec::new();
    if implicit {
        schemas.extend(info.temporary_schema().map(str::to_string));
        schemas.push("pg_catalog".to_string());
    }
    schemas.extend(info.search_path.iter().cloned());
    Ok(schemas.into())
}

fn current_setting(call: &Call<'_>, arguments: &[Value]) -> Result<Value> {
    let name = text(arguments, 0);
    let missing_ok = arguments.get(1).and_then(Value::as_bool).unwrap_or(false);
    match call.info()?.setting(name) {
        Some(value) => Ok(value.into()),
        None if missing_ok => Ok(Value::Null),
        None => Err(error("42704", format!("unrecognized configuration parameter \"{name}\""))),
    }
}

fn set_config(call: &Call<'_>, arguments: &[Value]) -> Result<Value> {
    let name = text(arguments, 0);
    let local = arguments.get(2).and_then(Value::as_bool).unwrap_or(false);
    let scope = if local { Scope::Transaction } else { Scope::Session };
    let mut settings = call.info()?.settings.write();
    settings.set(name, text(arguments, 1), scope).map_err(|e| DataFusionError::from(Error::from(e)))?;
    Ok(settings.show(name).into())
}
