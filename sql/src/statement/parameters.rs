//! Values of `$1`, `$2`, … into a plan.

use arrow::datatypes::DataType;
use datafusion::common::ParamValues;
use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::logical_expr::LogicalPlan;
use datafusion::scalar::ScalarValue;
use postgres_types::Type;

use crate::error::{Error, Result, SqlState};
use crate::pg_catalog::value::parse_array_literal;
use crate::planner::{Parameter, missing_parameter};
use crate::types::text_input;

/// Values as the plan takes them, with their parameters: a numeric's type is that of its value.
pub fn bind(
    given: &[Option<Parameter>],
    values: Vec<ScalarValue>,
) -> Result<(Vec<Option<Parameter>>, Vec<ScalarValue>)> {
    if values.len() != given.len() {
        return Err(Error::new(
            SqlState::PROTOCOL_VIOLATION,
            format!(
                "bind message supplies {} parameters, but prepared statement requires {}",
                values.len(),
                given.len()
            ),
        ));
    }
    let mut types = Vec::with_capacity(given.len());
    let mut bound = Vec::with_capacity(given.len());
    for (i, (parameter, value)) in given.iter().zip(values).enumerate() {
        let parameter = parameter.as_ref().ok_or_else(|| missing_parameter(i + 1))?;
        let value = convert(parameter, &value)?;
        types.push(Some(Parameter { pg_type: parameter.pg_type.clone(), data_type: value.data_type() }));
        bound.push(value);
    }
    Ok((types, bound))
}

pub fn convert(parameter: &Parameter, value: &ScalarValue) -> Result<ScalarValue> {
    let text = match value {
        ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => Some(text),
        _ => None,
    };
    match (text, &parameter.data_type) {
        (Some(text), DataType::Decimal128(..)) if parameter.pg_type == Type::NUMERIC => numeric(text),
        (Some(text), DataType::List(field)) => list(text, field.data_type()),
        (Some(text), DataType::FixedSizeBinary(16)) => {
            Ok(ScalarValue::FixedSizeBinary(16, Some(text_input::uuid(text)?.to_vec())))
        }
        (Some(text), DataType::Binary) => Ok(ScalarValue::Binary(Some(text_input::bytea(text)?))),
        _ => value.cast_to(&parameter.data_type).map_err(|e| Error::from(&e)),
    }
}

/// A decimal of exactly the digits given.
fn numeric(text: &str) -> Result<ScalarValue> {
    let invalid =
        || Error::new(SqlState::INVALID_TEXT, format!("invalid input syntax for type numeric: \"{text}\""));
    let trimmed = text.trim();
    let (mantissa, exponent) = match trimmed.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| invalid())?),
        None => (trimmed, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits = format!("{whole}{fraction}");
    let mut scale = i32::try_from(fraction.len()).map_err(|_| invalid())? - exponent;
    let too_large = || Error::new(SqlState::NUMERIC_OUT_OF_RANGE, "value overflows numeric format");
    if !(-76..=76).contains(&scale) {
        return Err(too_large());
    }
    while scale < 0 {
        digits.push('0');
        scale += 1;
    }
    if digits.trim_start_matches(['-', '+']).is_empty() {
        return Err(invalid());
    }
    if digits.trim_start_matches(['-', '+', '0']).len() > 38 || scale > 38 {
        return Err(too_large());
    }
    let number = digits.parse::<i128>().map_err(|_| invalid())?;
    let scale = u8::try_from(scale).map_err(|_| too_large())?;
    let significant = digits.trim_start_matches(['-', '+', '0']).len();
    let precision = u8::try_from(significant).unwrap_or(38).max(scale).max(1);
    Ok(ScalarValue::Decimal128(Some(number), precision, i8::try_from(scale).map_err(|_| too_large())?))
}

/// An array literal of one dimension (Postgres manual 8.15.2).
fn list(text: &str, element: &DataType) -> Result<ScalarValue> {
    let invalid = || Error::new(SqlState::INVALID_TEXT, format!("malformed array literal: \"{text}\""));
    let Some(items) = parse_array_literal(text) else {
        let nested = text.trim().strip_prefix('{').is_some_and(|rest| rest.trim_start().starts_with('{'));
        return Err(match nested {
            true => crate::statement::not_supported("a parameter that is an array of several dimensions"),
            false => invalid(),
        });
    };
    let item_type = Parameter { pg_type: Type::TEXT, data_type: element.clone() };
    let values = items
        .into_iter()
        .map(|item| match item {
            Some(item) => convert(&item_type, &ScalarValue::Utf8(Some(item))),
            None => ScalarValue::try_from(element).map_err(|e| Error::from(&e)),
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(ScalarValue::List(ScalarValue::new_list_nullable(&values, element)))
}

/// The plan with its placeholders replaced.
pub fn substitute(plan: &LogicalPlan, values: Vec<ScalarValue>) -> Result<LogicalPlan> {
    if values.is_empty() {
        return Ok(plan.clone());
    }
    let values = values.into_iter().map(|value| ScalarAndMetadata::new(value, None)).collect();
    plan.clone().with_param_values(ParamValues::List(values)).map_err(|e| Error::from(&e))
}

/// Whether values fit a plan made for these parameters.
pub fn fit(planned: &[Parameter], types: &[Option<Parameter>]) -> bool {
    planned.len() == types.len() && planned.iter().zip(types).all(|(p, t)| Some(p) == t.as_ref())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};

    use super::*;

    #[test]
    fn numerics_keep_their_digits() {
        assert_eq!(numeric("0.055").unwrap(), ScalarValue::Decimal128(Some(55), 3, 3));
        assert_eq!(numeric("-12e2").unwrap(), ScalarValue::Decimal128(Some(-1200), 4, 0));
        assert!(numeric("x").is_err());
        assert!(numeric(&"9".repeat(50)).is_err());
    }

    #[test]
    fn array_literals() {
        let ScalarValue::List(list) = list("{1,NULL,3}", &DataType::Int32).unwrap() else { panic!() };
        assert_eq!(list.value(0).len(), 3);
        let texts = |text: &str| match super::list(text, &DataType::Utf8).unwrap() {
            ScalarValue::List(list) => {
                let items = list.value(0);
                items.as_string::<i32>().iter().map(|item| item.unwrap_or("∅").to_string()).collect()
            }
            _ => Vec::new(),
        };
        assert_eq!(texts(r#"{"p", "a, \"b" , NULL, "null", c d}"#), ["p", "a, \"b", "∅", "null", "c d"]);
        for malformed in ["1,2", "{1", "{1,}", "{{1},{2}}"] {
            assert!(super::list(malformed, &DataType::Int32).is_err(), "{malformed}");
        }
    }
}
