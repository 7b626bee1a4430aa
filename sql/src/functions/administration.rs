//! System administration functions (manual 9.27) and transaction information (9.26.8).

use datafusion::error::Result;

use super::function::{Call, Definition, error, oid, text};
use crate::pg_catalog::image::Found;
use crate::pg_catalog::value::Value;

pub const FUNCTIONS: &[Definition] = &[
    Definition::strict("pg_cancel_backend", "bool", (1, 1), |call, arguments| {
        signal(call, arguments, |activity, pid| activity.cancel(pid))
    })
    .volatile(),
    Definition::strict("pg_terminate_backend", "bool", (1, 2), |call, arguments| {
        signal(call, arguments, |activity, pid| activity.terminate(pid))
    })
    .volatile(),
    Definition::strict("pg_reload_conf", "bool", (0, 0), |_, _| Ok(false.into())).volatile(),
    Definition::strict("pg_relation_size", "int8", (1, 2), relation_size),
    Definition::strict("pg_table_size", "int8", (1, 1), relation_size),
    Definition::strict("pg_total_relation_size", "int8", (1, 1), relation_size),
    Definition::strict("pg_indexes_size", "int8", (1, 1), |_, _| Ok(0.into())),
    Definition::strict("pg_database_size", "int8", (1, 1), database_size),
    Definition::strict("pg_tablespace_size", "int8", (1, 1), |_, _| Ok(0.into())),
    Definition::strict("pg_size_pretty", "text", (1, 1), |_, arguments| {
        Ok(arguments.first().and_then(Value::as_int).map(size_pretty).into())
    }),
    Definition::strict("pg_relation_filenode", "oid", (1, 1), |_, _| Ok(Value::Null)),
    Definition::strict("pg_relation_filepath", "text", (1, 1), |_, _| Ok(Value::Null)),
    Definition::strict("pg_stat_get_numscans", "int8", (1, 1), |_, _| Ok(0.into())),
    Definition::strict("pg_is_in_recovery", "bool", (0, 0), |_, _| Ok(false.into())),
    Definition::strict("pg_is_wal_replay_paused", "bool", (0, 0), |_, _| Ok(false.into())),
    Definition::strict("txid_current", "int8", (0, 0), transaction_id),
    // Of 32 bits, as rows have it.
    Definition::strict("current_xid", "xid", (0, 0), |call, arguments| {
        Ok(transaction_id(call, arguments)?.as_int().map(|number| number % (1 << 32)).into())
    }),
    Definition::strict("pg_current_xact_id", "int8", (0, 0), transaction_id),
    Definition::strict("txid_current_if_assigned", "int8", (0, 0), |_, _| Ok(Value::Null)),
];

fn signal(
    call: &Call<'_>,
    arguments: &[Value],
    send: fn(&dyn crate::activity::Activity, i32) -> bool,
) -> Result<Value> {
    let pid = arguments.first().and_then(Value::as_int).and_then(|pid| i32::try_from(pid).ok());
    let Some(pid) = pid else { return Err(error("22003", "process id is out of range")) };
    let engine = call.info()?.engine.as_ref();
    Ok(engine.is_some_and(|engine| send(engine.activity.as_ref(), pid)).into())
}

fn relation_size(call: &Call<'_>, arguments: &[Value]) -> Result<Value> {
    let context = call.catalog()?;
    let found = match arguments.first() {
        Some(value) if value.as_oid().is_some() => context.image.relation_by_oid(oid(arguments, 0)),
        _ => {
            let name = text(arguments, 0);
            let found = super::object_identifier::find_relation(context, name);
            Some(found.ok_or_else(|| error("42P01", format!("relation \"{name}\" does not exist")))?)
        }
    };
    Ok(match found {
        Some(Found::User(relation)) => size_of(relation.bytes),
        Some(_) => 0.into(),
        None => Value::Null,
    })
}

fn size_of(bytes: Option<u64>) -> Value {
    i64::try_from(bytes.unwrap_or_default()).unwrap_or(i64::MAX).into()
}

fn database_size(call: &Call<'_>, arguments: &[Value]) -> Result<Value> {
    let context = call.catalog()?;
    let own = context.image.databases.iter().find(|d| d.name == context.info.database);
    let is_own =
        text(arguments, 0) == context.info.database || own.is_some_and(|own| own.oid == oid(arguments, 0));
    let bytes = context.image.relations.iter().filter_map(|r| r.bytes).sum::<u64>();
    Ok(if is_own { size_of(Some(bytes)) } else { 0.into() })
}

/// Bytes in the largest unit that leaves at least ten of them, as Postgres rounds.
fn size_pretty(bytes: i64) -> String {
    const UNITS: &[&str] = &["kB", "MB", "GB", "TB", "PB"];
    if bytes.unsigned_abs() < 10 * 1024 {
        return format!("{bytes} bytes");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = "kB";
    for next in UNITS.iter().skip(1) {
        if size.abs().round() < 10.0 * 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = next;
    }
    format!("{} {unit}", size.round())
}

/// Transactions have no numbers here; the start time in microseconds grows as numbers would.
fn transaction_id(call: &Call<'_>, _: &[Value]) -> Result<Value> {
    Ok(call.info()?.transaction_start.timestamp_micros().into())
}
