//! Aggregate functions whose types or limits differ from DataFusion's (manual 9.21).

mod average;
mod extremes;
mod guarded;
mod infinities;
mod sum;
mod variance;

use std::sync::Arc;

use datafusion::logical_expr::AggregateUDF;

/// The functions, under the names that they replace.
pub fn functions() -> Vec<Arc<AggregateUDF>> {
    let mut functions = vec![
        Arc::new(AggregateUDF::new_from_impl(sum::Sum::default())),
        Arc::new(AggregateUDF::new_from_impl(average::Average::default())),
        Arc::new(AggregateUDF::new_from_impl(extremes::Extreme::min())),
        Arc::new(AggregateUDF::new_from_impl(extremes::Extreme::max())),
    ];
    functions.extend(variance::functions());
    functions
}
