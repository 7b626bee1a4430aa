//! Interval literals in every form that Postgres reads, as ones that DataFusion reads. They stay literals,
//! which window frames ask for.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DataType, DateTimeField, Expr, Interval, Value, ValueWithSpan, VisitorMut,
};

use super::ast::{cast, string};
use crate::functions::interval;
use crate::types::datetime;

/// The rewrite.
pub struct IntervalLiterals;

impl VisitorMut for IntervalLiterals {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Interval(interval) = expr
            && let Some(text) = interval_text(interval)
        {
            match datetime::interval::read(&text) {
                Ok(value) => {
                    *interval.value = string(in_units(value));
                    (interval.leading_field, interval.last_field) = (None, None);
                }
                // Says so when it is read.
                Err(_) => *expr = cast(string(text), DataType::Interval { fields: None, precision: None }),
            }
        }
        ControlFlow::Continue(())
    }
}

/// An interval as DataFusion reads it.
fn in_units(value: interval::Interval) -> String {
    format!("{} months {} days {} microseconds", value.months, value.days, value.micros)
}

/// The text of an interval literal, its fields made units (`interval '1' day`); `None`: it is no text.
fn interval_text(interval: &Interval) -> Option<String> {
    let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) = interval.value.as_ref()
    else {
        return None;
    };
    let number = text.trim().parse::<f64>().is_ok();
    Some(match (&interval.leading_field, &interval.last_field) {
        (Some(field), None) if number => format!("{text} {field}"),
        (Some(DateTimeField::Minute), Some(DateTimeField::Second)) if text.matches(':').count() == 1 => {
            format!("00:{}", text.trim())
        }
        _ => text.clone(),
    })
}
