//! Access privilege inquiry functions (manual 9.26.2, table 9.72). There are no privileges yet:
//! whoever may connect may do everything, and these functions say so.

use datafusion::error::Result;

use super::function::{Call, Definition};
use crate::pg_catalog::value::Value;

pub const FUNCTIONS: &[Definition] = &[
    Definition::strict("has_any_column_privilege", "bool", (2, 3), yes),
    Definition::strict("has_column_privilege", "bool", (3, 4), yes),
    Definition::strict("has_database_privilege", "bool", (2, 3), yes),
    Definition::strict("has_foreign_data_wrapper_privilege", "bool", (2, 3), yes),
    Definition::strict("has_function_privilege", "bool", (2, 3), yes),
    Definition::strict("has_language_privilege", "bool", (2, 3), yes),
    Definition::strict("has_parameter_privilege", "bool", (2, 3), yes),
    Definition::strict("has_schema_privilege", "bool", (2, 3), yes),
    Definition::strict("has_sequence_privilege", "bool", (2, 3), yes),
    Definition::strict("has_server_privilege", "bool", (2, 3), yes),
    Definition::strict("has_table_privilege", "bool", (2, 3), yes),
    Definition::strict("has_tablespace_privilege", "bool", (2, 3), yes),
    Definition::strict("has_type_privilege", "bool", (2, 3), yes),
    Definition::strict("pg_has_role", "bool", (2, 3), yes),
    Definition::strict("row_security_active", "bool", (1, 1), |_, _| Ok(false.into())),
];

fn yes(_: &Call<'_>, _: &[Value]) -> Result<Value> {
    Ok(true.into())
}
