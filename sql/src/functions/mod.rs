//! Functions by chapter of the Postgres manual.
//!
//! Functions of the system schemas are registered under their bare names: the syntax rewriting
//! ([`analyzer`](crate::analyzer)) drops `pg_catalog.` where a statement writes it.

pub mod access_privileges;
pub mod administration;
pub mod aggregate;
pub mod array;
pub mod calendar;
pub mod catalog_information;
pub mod coalesce;
pub mod columnar;
pub mod comments;
pub mod date_part;
pub mod date_time;
pub mod encoding;
pub mod floats;
pub mod function;
mod guarded;
pub mod interval;
pub mod interval_total;
pub mod json;
pub mod keywords;
pub mod math;
pub mod merge_action;
pub mod numeric;
pub mod numeric_digits;
pub mod object_identifier;
pub mod ordered_set;
pub mod precision;
pub mod preimage;
pub mod regexp;
pub mod row_values;
pub mod series;
pub mod session_information;
pub mod session_time;
pub mod single_value;
mod sized_text;
pub mod string;
pub mod template;
pub mod text_output;
pub mod truncation;
pub mod visibility;
pub mod waiting;
pub mod width_bucket;

use std::sync::Arc;

use datafusion::catalog::TableFunctionImpl;
use datafusion::error::Result;
use datafusion::logical_expr::registry::FunctionRegistry;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

use self::columnar::ColumnarFunction;
use self::function::{Definition, Function};
use self::interval_total::{OfIntervals, Total};

/// Functions of single values.
const CHAPTERS: [&[Definition]; 11] = [
    session_information::FUNCTIONS,
    access_privileges::FUNCTIONS,
    visibility::FUNCTIONS,
    catalog_information::FUNCTIONS,
    comments::FUNCTIONS,
    object_identifier::FUNCTIONS,
    administration::FUNCTIONS,
    waiting::FUNCTIONS,
    array::FUNCTIONS,
    string::FUNCTIONS,
    date_time::CLOCK,
];

/// Whether there is a system function of this name that gives one value.
pub fn is_single_valued(name: &str) -> bool {
    CHAPTERS.into_iter().flatten().any(|definition| definition.name == name) || waiting::is_waiting(name)
}

/// Whether the value of a function that is stable depends on its arguments and on settings like `TimeZone`
/// alone: neither on the time, nor on who asks, nor on what is in the catalogs.
pub fn depends_on_settings_alone(function: &ScalarUDF) -> bool {
    let inner = function.inner();
    match inner.downcast_ref::<Function>() {
        Some(_) => [array::FUNCTIONS, string::FUNCTIONS]
            .into_iter()
            .flatten()
            .any(|definition| definition.name == function.name()),
        None => inner.downcast_ref::<ColumnarFunction>().is_some() || json::is_json(function),
    }
}

/// Whether the value of a system function depends on its arguments, on what is in the catalogs, and on the
/// session's user, database, search path and settings alone.
pub fn follows_catalog(function: &ScalarUDF) -> bool {
    const OTHERS: &[&str] = &[
        "current_catalog",
        "current_database",
        "current_role",
        "current_schema",
        "current_schemas",
        "current_user",
        "pg_database_size",
        "pg_indexes_size",
        "pg_is_other_temp_schema",
        "pg_relation_size",
        "pg_size_pretty",
        "pg_table_size",
        "pg_total_relation_size",
        "session_user",
        "user",
        "version",
    ];
    let chapters = [
        access_privileges::FUNCTIONS,
        visibility::FUNCTIONS,
        catalog_information::FUNCTIONS,
        comments::FUNCTIONS,
        object_identifier::FUNCTIONS,
    ];
    let name = function.name();
    function.inner().is::<Function>()
        && (OTHERS.contains(&name)
            || chapters.into_iter().flatten().any(|definition| definition.name == name))
}

/// Registers all functions of this module.
pub fn register(registry: &mut dyn FunctionRegistry) -> Result<()> {
    for definition in CHAPTERS.into_iter().flatten() {
        registry.register_udf(Arc::new(ScalarUDF::new_from_impl(Function::new(definition))))?;
    }
    let columnar = [
        template::FUNCTIONS,
        date_part::FUNCTIONS,
        date_time::FUNCTIONS,
        interval::FUNCTIONS,
        row_values::FUNCTIONS,
        math::FUNCTIONS,
        numeric_digits::FUNCTIONS,
        session_time::FUNCTIONS,
        encoding::FUNCTIONS,
        ordered_set::FUNCTIONS,
        precision::FUNCTIONS,
        regexp::FUNCTIONS,
        series::FUNCTIONS,
        text_output::FUNCTIONS,
        truncation::FUNCTIONS,
        width_bucket::FUNCTIONS,
    ];
    for definition in columnar.into_iter().flatten() {
        registry.register_udf(Arc::new(ScalarUDF::new_from_impl(ColumnarFunction::new(definition))))?;
    }
    for function in waiting::functions() {
        registry.register_udf(Arc::new(function))?;
    }
    registry.register_udf(Arc::new(ScalarUDF::new_from_impl(math::Round::default())))?;
    for function in floats::checked_functions().into_iter().chain(sized_text::functions()) {
        registry.register_udf(Arc::new(function))?;
    }
    for function in json::functions() {
        registry.register_udf(function)?;
    }
    registry.register_udf(Arc::new(ScalarUDF::new_from_impl(coalesce::Coalesce::default())))?;
    registry.register_udf(Arc::new(ScalarUDF::new_from_impl(array::ArrayOrEmpty::default())))?;
    registry.register_udf(Arc::new(ScalarUDF::new_from_impl(array::ExpandArray::default())))?;
    registry.register_udf(Arc::new(merge_action::function()))?;
    for function in crate::types::text_type::functions() {
        registry.register_udf(function)?;
    }
    for function in aggregate::functions() {
        registry.register_udaf(function)?;
    }
    for (name, total) in [("sum", Total::Sum), ("avg", Total::Average)] {
        let others = registry.udaf(name)?;
        registry.register_udaf(Arc::new(AggregateUDF::new_from_impl(OfIntervals::new(total, others))))?;
    }
    registry.register_udaf(Arc::new(AggregateUDF::new_from_impl(single_value::SingleValue::default())))?;
    Ok(())
}

/// Functions that are called in FROM.
pub fn table_functions() -> Vec<(&'static str, Arc<dyn TableFunctionImpl>)> {
    vec![("pg_get_keywords", Arc::new(keywords::Keywords))]
}
