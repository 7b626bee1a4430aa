//! `ALTER TABLE … ADD COLUMN`. A column that is added holds nulls in the rows that there are: what asks for
//! more than that (`NOT NULL`, `DEFAULT`) is refused.

use std::collections::HashSet;

use auric_catalog::registry::Table;
use auric_catalog::table::{NewColumn, TableFormat};
use datafusion::sql::sqlparser::ast::{Expr, Value};

use super::super::not_supported;
use super::create_table::stored_type;
use crate::error::{Error, Result, SqlState};
use crate::parser::statement::{AddColumn, ColumnClause};
use crate::planner::system_columns;
use crate::session::Session;

/// The columns that the table gets: those that it has not, where `IF NOT EXISTS` is said.
pub fn columns(session: &mut Session, table: &Table, clauses: &[AddColumn]) -> Result<Vec<NewColumn>> {
    // Letter case does not distinguish Delta's columns.
    let key = |name: &str| match table.snapshot.format {
        TableFormat::Iceberg => name.to_string(),
        TableFormat::Delta => name.to_lowercase(),
    };
    let mut taken: HashSet<String> =
        table.snapshot.schema.arrow.fields().iter().map(|field| key(field.name())).collect();
    let mut columns = Vec::with_capacity(clauses.len());
    for AddColumn { column, if_not_exists } in clauses {
        system_columns::refuse_name(&column.name)?;
        if taken.insert(key(&column.name)) {
            columns.push(new_column(column)?);
            continue;
        }
        let message =
            format!("column \"{}\" of relation \"{}\" already exists", column.name, table.ident.name);
        if !if_not_exists {
            return Err(Error::new(SqlState::DUPLICATE_COLUMN, message));
        }
        session.notice("NOTICE", SqlState::DUPLICATE_COLUMN, format!("{message}, skipping"));
    }
    Ok(columns)
}

fn new_column(column: &ColumnClause) -> Result<NewColumn> {
    let refused = |what: &str| {
        not_supported(format!("{what} of column \"{}\", which is added", column.name))
            .with_hint("Add the column without it; its value in the rows that there are is NULL.")
    };
    if column.identity.is_some() {
        return Err(not_supported(format!("identity column \"{}\", which is added", column.name))
            .with_hint("Identity columns are declared in CREATE TABLE."));
    }
    if column.not_null {
        return Err(refused("NOT NULL"));
    }
    let is_null = |expr: &Expr| matches!(expr, Expr::Value(value) if value.value == Value::Null);
    if column.default.as_ref().is_some_and(|default| !is_null(default)) {
        return Err(refused("the default"));
    }
    let Some(data_type) = &column.data_type else {
        let message = format!("column \"{}\" has no type", column.name);
        return Err(Error::new(SqlState::SYNTAX_ERROR, message));
    };
    let data_type = stored_type(&column.name, data_type.as_ref().map_err(Error::clone)?)?;
    let mut new = NewColumn::new(&column.name, data_type);
    new.comment.clone_from(&column.comment);
    new.text_type = column.text_type.and_then(|text| text.stored());
    Ok(new)
}
