//! Schema visibility inquiry functions (manual 9.26.3, table 9.74).

use datafusion::error::Result;

use super::function::{Call, Definition, oid};
use crate::pg_catalog::value::Value;
use crate::pg_catalog::{static_rows, types};

pub const FUNCTIONS: &[Definition] = &[
    Definition::strict("pg_table_is_visible", "bool", (1, 1), |call, arguments| {
        Ok(call.catalog()?.is_visible(oid(arguments, 0)).into())
    }),
    Definition::strict("pg_type_is_visible", "bool", (1, 1), |_, arguments| {
        Ok(types::by_oid(oid(arguments, 0)).is_some().into())
    }),
    Definition::strict("pg_function_is_visible", "bool", (1, 1), |_, arguments| {
        Ok(static_rows::proc_by_oid(oid(arguments, 0)).is_some().into())
    }),
    // Objects of these kinds are all built in, and pg_catalog is always in the path.
    Definition::strict("pg_collation_is_visible", "bool", (1, 1), built_in),
    Definition::strict("pg_conversion_is_visible", "bool", (1, 1), built_in),
    Definition::strict("pg_opclass_is_visible", "bool", (1, 1), built_in),
    Definition::strict("pg_operator_is_visible", "bool", (1, 1), built_in),
    Definition::strict("pg_opfamily_is_visible", "bool", (1, 1), built_in),
    Definition::strict("pg_statistics_obj_is_visible", "bool", (1, 1), built_in),
    Definition::strict("pg_ts_config_is_visible", "bool", (1, 1), built_in),
    Definition::strict("pg_ts_dict_is_visible", "bool", (1, 1), built_in),
    Definition::strict("pg_ts_parser_is_visible", "bool", (1, 1), built_in),
    Definition::strict("pg_ts_template_is_visible", "bool", (1, 1), built_in),
];

fn built_in(_: &Call<'_>, _: &[Value]) -> Result<Value> {
    Ok(true.into())
}
