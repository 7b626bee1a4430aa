//! Conditions on `extract`, `date_part` and `date_trunc` as ranges of their argument, by which files and row
//! groups are pruned: `extract(year FROM d) = 1995` is `d >= '1995-01-01' AND d < '1996-01-01'`.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::scalar::ScalarValue;

use super::calendar::{MICROS_PER_DAY, MICROS_PER_SECOND, Zone, days};
use super::truncation;

/// For which values of its argument a function gives a value.
pub type Preimage = fn(&[Expr], &ScalarValue, &SimplifyContext) -> Result<PreimageResult>;

/// `None`: the function has none.
pub fn of(function: &str) -> Option<Preimage> {
    match function {
        "extract" | "date_part" => Some(of_extract),
        "date_trunc" => Some(of_date_trunc),
        _ => None,
    }
}

fn constant_text(expr: &Expr) -> Option<&str> {
    expr.as_literal()?.try_as_str().flatten().map(|text| text.trim_matches('\''))
}

/// Only years are ranges.
fn of_extract(args: &[Expr], value: &ScalarValue, info: &SimplifyContext) -> Result<PreimageResult> {
    let [unit, argument] = args else { return Ok(PreimageResult::None) };
    let year = constant_text(unit).and_then(truncation::unit) == Some(truncation::Unit::Year);
    let Some(value) = whole(value).filter(|value| year && (1..200_000).contains(value)) else {
        return Ok(PreimageResult::None);
    };
    let midnight = |year: i64| days(year, 1, 1) * MICROS_PER_DAY;
    range(argument, midnight(value), midnight(value + 1), info)
}

/// A number without a fraction.
fn whole(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::Decimal128(Some(digits), _, scale) => {
            let unit = 10_i128.checked_pow(u32::try_from(*scale).ok()?)?;
            (digits % unit == 0).then(|| i64::try_from(digits / unit).ok())?
        }
        ScalarValue::Float64(Some(value)) => {
            (value.fract() == 0.0 && value.abs() < 1e9).then_some(*value as i64)
        }
        _ => None,
    }
}

fn of_date_trunc(args: &[Expr], value: &ScalarValue, info: &SimplifyContext) -> Result<PreimageResult> {
    let [unit, argument] = args else { return Ok(PreimageResult::None) };
    let (Some(unit), ScalarValue::TimestampMicrosecond(Some(micros), zoned)) =
        (constant_text(unit).and_then(truncation::unit), value)
    else {
        return Ok(PreimageResult::None);
    };
    let zone = Zone::of(info.config_options());
    let zoned = zoned.is_some();
    // Clocks that are set back make a local hour of two hours.
    if zoned && unit < truncation::Unit::Day && !zone.is_utc() {
        return Ok(PreimageResult::None);
    }
    let local = if zoned { micros + zone.offset(*micros) * MICROS_PER_SECOND } else { *micros };
    // What is not the start of a unit is nothing's truncation.
    if unit.floor(local) != local {
        return Ok(PreimageResult::None);
    }
    range(argument, local, unit.next(local), info)
}

/// Local times as bounds of the argument's type.
fn range(argument: &Expr, lower: i64, upper: i64, info: &SimplifyContext) -> Result<PreimageResult> {
    let data_type = info.get_data_type(argument)?;
    let zone = Zone::of(info.config_options());
    let bound = |local: i64| match &data_type {
        DataType::Date32 if local % MICROS_PER_DAY == 0 => {
            i32::try_from(local / MICROS_PER_DAY).ok().map(|day| ScalarValue::Date32(Some(day)))
        }
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            Some(ScalarValue::TimestampMicrosecond(Some(local), None))
        }
        DataType::Timestamp(TimeUnit::Microsecond, Some(name)) => zone
            .instant(local)
            .map(|micros| ScalarValue::TimestampMicrosecond(Some(micros), Some(name.clone()))),
        _ => None,
    };
    let (Some(lower), Some(upper)) = (bound(lower), bound(upper)) else { return Ok(PreimageResult::None) };
    if lower >= upper {
        return Ok(PreimageResult::None);
    }
    let interval = Box::new(Interval::try_new(lower, upper)?);
    Ok(PreimageResult::Range { expr: argument.clone(), interval })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
    use datafusion::common::ToDFSchema;
    use datafusion::common::config::ConfigOptions;
    use datafusion::logical_expr::simplify::SimplifyContext;
    use datafusion::logical_expr::{Expr, ScalarUDF, col, lit};
    use datafusion::optimizer::simplify_expressions::ExprSimplifier;
    use datafusion::scalar::ScalarValue;

    use crate::functions::columnar::{ColumnarFunction, timestamptz};
    use crate::functions::{date_part, truncation};

    fn call(name: &str, unit: &str, argument: &str) -> Expr {
        let mut definitions = date_part::FUNCTIONS.iter().chain(truncation::FUNCTIONS);
        let definition = definitions.find(|definition| definition.name == name).unwrap();
        ScalarUDF::new_from_impl(ColumnarFunction::new(definition)).call(vec![lit(unit), col(argument)])
    }

    fn simplified(condition: Expr, zone: &str) -> String {
        let local = DataType::Timestamp(TimeUnit::Microsecond, None);
        let fields = vec![
            Field::new("d", DataType::Date32, true),
            Field::new("ts", local, true),
            Field::new("tz", timestamptz(), true),
        ];
        let mut options = ConfigOptions::default();
        options.execution.time_zone = Some(zone.to_string());
        let context = SimplifyContext::builder()
            .with_schema(Schema::new(fields).to_dfschema_ref().unwrap())
            .with_config_options(Arc::new(options))
            .build();
        ExprSimplifier::new(context).simplify(condition).unwrap().to_string()
    }

    #[test]
    fn years_are_ranges() {
        let year = |value: i128| lit(ScalarValue::Decimal128(Some(value), 20, 0));
        assert_eq!(
            simplified(call("extract", "YEAR", "d").eq(year(1995)), "UTC"),
            "d >= Date32(\"1995-01-01\") AND d < Date32(\"1996-01-01\")"
        );
        assert_eq!(
            simplified(call("date_part", "year", "ts").gt(lit(1970.0)), "UTC"),
            "ts >= TimestampMicrosecond(31536000000000, None)"
        );
        // The year begins an hour earlier in Berlin.
        assert_eq!(
            simplified(call("extract", "year", "tz").lt(year(1970)), "Europe/Berlin"),
            "tz < TimestampMicrosecond(-3600000000, Some(\"+00:00\"))"
        );
        let months = call("extract", "month", "d").eq(year(5));
        assert!(simplified(months, "UTC").contains("extract"));
        assert!(simplified(call("date_part", "year", "d").eq(lit(1970.5)), "UTC").contains("date_part"));
    }

    #[test]
    fn truncations_are_ranges() {
        let at = |micros: i64| lit(ScalarValue::TimestampMicrosecond(Some(micros), None));
        assert_eq!(
            simplified(call("date_trunc", "day", "ts").eq(at(0)), "UTC"),
            "ts >= TimestampMicrosecond(0, None) AND ts < TimestampMicrosecond(86400000000, None)"
        );
        // No truncation gives noon.
        assert!(
            simplified(call("date_trunc", "day", "ts").eq(at(43_200_000_000)), "UTC").contains("date_trunc")
        );
    }
}
