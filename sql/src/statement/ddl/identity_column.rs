//! Identity columns as they are declared.

use arrow::datatypes::DataType;
use auric_catalog::table::IdentityColumn;

use super::super::not_supported;
use crate::error::{Error, Result, SqlState};
use crate::parser::statement::ColumnClause;

/// The identity column that a column of this stored type is declared as. `None`: it is none.
///
/// Fails with 22023 for a type or numbers that no identity column has, and with 42601 for a default beside
/// it.
pub fn declared(column: &ColumnClause, data_type: &DataType) -> Result<Option<IdentityColumn>> {
    let Some(clause) = &column.identity else { return Ok(None) };
    let invalid = |message: String| Error::new(SqlState::INVALID_PARAMETER_VALUE, message);
    let (least, most) = match data_type {
        DataType::Int16 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        DataType::Int32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        DataType::Int64 => (i64::MIN, i64::MAX),
        _ => return Err(invalid("identity column type must be smallint, integer, or bigint".into())),
    };
    if column.default.is_some() {
        let message = format!("both default and identity specified for column \"{}\"", column.name);
        return Err(Error::new(SqlState::SYNTAX_ERROR, message));
    }
    let step = clause.increment.unwrap_or(1);
    if step == 0 {
        return Err(invalid("INCREMENT must not be zero".into()));
    }
    let start = clause.start.unwrap_or(step.signum());
    if start > most {
        return Err(invalid(format!("START value ({start}) cannot be greater than MAXVALUE ({most})")));
    }
    if start < least {
        return Err(invalid(format!("START value ({start}) cannot be less than MINVALUE ({least})")));
    }
    Ok(Some(IdentityColumn { start, step, high_water_mark: None, allow_explicit_insert: !clause.always }))
}

/// 0A000 for one in `CREATE TABLE AS`, whose rows bring all values.
pub fn not_of_query(column: &ColumnClause) -> Result<()> {
    match column.identity {
        None => Ok(()),
        Some(_) => Err(not_supported(format!("identity column \"{}\" in CREATE TABLE AS", column.name))
            .with_hint("Create the table first, then insert the rows.")),
    }
}
