//! Functions that wait: `pg_sleep` and its like (manual 9.9.5), advisory locks (9.27.10). They keep no thread
//! while they wait, and whoever drops the query's stream ends the wait.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{
    DataType, FieldRef, Float64Type, Int32Type, Int64Type, IntervalMonthDayNanoType, TimestampMicrosecondType,
};
use async_trait::async_trait;
use datafusion::common::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};

use super::columnar::{INTERVAL, timestamptz};
use super::function::{Call, Definition, error};
use super::interval::Interval;
use crate::pg_catalog::value::{Value, field};
use crate::session::advisory::{Key, Mode, Number, Until};
use crate::session::carried::Carried;
use crate::session::info::SessionInfo;

/// What a function waits for.
#[derive(Debug, Clone, Copy)]
enum Awaited {
    Seconds,
    Interval,
    Time,
    Lock(Mode, Until),
}

impl Awaited {
    fn signatures(self) -> Vec<TypeSignature> {
        match self {
            Self::Seconds => vec![TypeSignature::Exact(vec![DataType::Float64])],
            Self::Interval => vec![TypeSignature::Exact(vec![INTERVAL])],
            Self::Time => vec![TypeSignature::Exact(vec![timestamptz()])],
            Self::Lock(..) => vec![
                TypeSignature::Exact(vec![DataType::Int64]),
                TypeSignature::Exact(vec![DataType::Int32; 2]),
            ],
        }
    }
}

const WAITING: &[(&str, Awaited)] = &[
    ("pg_sleep", Awaited::Seconds),
    ("pg_sleep_for", Awaited::Interval),
    ("pg_sleep_until", Awaited::Time),
    ("pg_advisory_lock", Awaited::Lock(Mode::Exclusive, Until::Unlocked)),
    ("pg_advisory_lock_shared", Awaited::Lock(Mode::Shared, Until::Unlocked)),
    ("pg_advisory_xact_lock", Awaited::Lock(Mode::Exclusive, Until::TransactionEnd)),
    ("pg_advisory_xact_lock_shared", Awaited::Lock(Mode::Shared, Until::TransactionEnd)),
];

/// Those that wait.
pub fn functions() -> impl Iterator<Item = ScalarUDF> {
    WAITING.iter().map(|(name, awaited)| {
        // What is waited for asynchronously has no say in the types but by its signature.
        let signature = Signature::one_of(awaited.signatures(), Volatility::Volatile);
        AsyncScalarUDF::new(Arc::new(Waiting { name, awaited: *awaited, signature })).into_scalar_udf()
    })
}

pub fn is_waiting(name: &str) -> bool {
    WAITING.iter().any(|(waiting, _)| *waiting == name)
}

/// Those that deal with locks and do not wait.
pub const FUNCTIONS: &[Definition] = &[
    Definition::strict("pg_try_advisory_lock", "bool", (1, 2), |call, arguments| {
        try_lock(call, arguments, Mode::Exclusive, Until::Unlocked)
    })
    .volatile(),
    Definition::strict("pg_try_advisory_lock_shared", "bool", (1, 2), |call, arguments| {
        try_lock(call, arguments, Mode::Shared, Until::Unlocked)
    })
    .volatile(),
    Definition::strict("pg_try_advisory_xact_lock", "bool", (1, 2), |call, arguments| {
        try_lock(call, arguments, Mode::Exclusive, Until::TransactionEnd)
    })
    .volatile(),
    Definition::strict("pg_try_advisory_xact_lock_shared", "bool", (1, 2), |call, arguments| {
        try_lock(call, arguments, Mode::Shared, Until::TransactionEnd)
    })
    .volatile(),
    Definition::strict("pg_advisory_unlock", "bool", (1, 2), |call, arguments| {
        unlock(call, arguments, Mode::Exclusive)
    })
    .volatile(),
    Definition::strict("pg_advisory_unlock_shared", "bool", (1, 2), |call, arguments| {
        unlock(call, arguments, Mode::Shared)
    })
    .volatile(),
    Definition::strict("pg_advisory_unlock_all", "void", (0, 0), |call, _| {
        call.info()?.locks.unlock_all();
        Ok("".into())
    })
    .volatile(),
];

fn key_of(info: &SessionInfo, arguments: &[Value]) -> Result<Key> {
    let number = |value: &Value| {
        value.as_int().ok_or_else(|| error("42883", "the key of an advisory lock is an integer, or two"))
    };
    let half = |value: &Value| {
        i32::try_from(number(value)?).map_err(|_| error("42883", "keys of two parts are two integers"))
    };
    let number = match arguments {
        [one] => Number::One(number(one)?),
        [first, second] => Number::Two(half(first)?, half(second)?),
        _ => return Err(DataFusionError::Internal("one or two arguments expected".into())),
    };
    Ok(Key { database: info.database.clone(), number })
}

fn try_lock(call: &Call<'_>, arguments: &[Value], mode: Mode, until: Until) -> Result<Value> {
    let info = call.info()?;
    Ok(info.locks.try_lock(&key_of(info, arguments)?, mode, until).into())
}

fn unlock(call: &Call<'_>, arguments: &[Value], mode: Mode) -> Result<Value> {
    let info = call.info()?;
    Ok(info.locks.unlock(&key_of(info, arguments)?, mode).into())
}

#[derive(Debug)]
struct Waiting {
    name: &'static str,
    awaited: Awaited,
    signature: Signature,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Waiting {}

impl Hash for Waiting {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Waiting {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(field(self.name, "void").with_data_type(DataType::Utf8)))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let message = format!("{} in this place is not supported", self.name);
        Err(error("0A000", message))
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for Waiting {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let arrays = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let mut results = Vec::with_capacity(rows);
        for row in 0..rows {
            if arrays.iter().any(|array| array.is_null(row)) {
                results.push(None);
                continue;
            }
            self.wait(&args.config_options, &arrays, row).await?;
            results.push(Some(""));
        }
        Ok(ColumnarValue::Array(Arc::new(StringArray::from(results))))
    }
}

impl Waiting {
    async fn wait(&self, options: &ConfigOptions, arrays: &[ArrayRef], row: usize) -> Result<()> {
        let missing = || DataFusionError::Internal(format!("{} without its argument", self.name));
        let first = arrays.first().ok_or_else(missing)?;
        let info = SessionInfo::of(options)
            .ok_or_else(|| DataFusionError::Internal(format!("{} outside of a session", self.name)))?;
        match self.awaited {
            Awaited::Seconds => sleep(first.as_primitive::<Float64Type>().value(row)).await,
            Awaited::Interval => {
                let interval = first.as_primitive::<IntervalMonthDayNanoType>().value(row);
                sleep(Interval::from(interval).span() as f64 / 1e6).await;
            }
            Awaited::Time => {
                let until = first.as_primitive::<TimestampMicrosecondType>().value(row);
                let engine = info.engine.as_ref().ok_or_else(missing)?;
                let now = engine.clock.now().timestamp_micros();
                sleep(until.saturating_sub(now) as f64 / 1e6).await;
            }
            Awaited::Lock(mode, until) => {
                let number = match arrays.get(1) {
                    None => Number::One(first.as_primitive::<Int64Type>().value(row)),
                    Some(second) => Number::Two(
                        first.as_primitive::<Int32Type>().value(row),
                        second.as_primitive::<Int32Type>().value(row),
                    ),
                };
                let key = Key { database: info.database.clone(), number };
                let timeout = info.settings.read().integer("lock_timeout");
                let timeout = u64::try_from(timeout).ok().filter(|timeout| *timeout > 0);
                info.locks.lock(key, mode, until, timeout.map(Duration::from_millis)).await?;
            }
        }
        Ok(())
    }
}

/// Nothing or less is no time.
async fn sleep(seconds: f64) {
    // Longer than a hundred years is for ever.
    let seconds = if seconds.is_nan() { 0.0 } else { seconds.clamp(0.0, 3.2e9) };
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}
