//! The one error type of this crate, and the only place where a SQLSTATE is decided.

mod from_arrow;
mod from_datafusion;

use std::fmt;

use crate::session::settings::SettingsError;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A SQLSTATE (Postgres manual, appendix A).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState(pub &'static str);

impl SqlState {
    pub const SUCCESSFUL_COMPLETION: Self = Self("00000");
    pub const WARNING: Self = Self("01000");
    pub const TOO_MANY_ROWS: Self = Self("21000");
    pub const COMMIT_OUTCOME_UNKNOWN: Self = Self("08007");
    pub const FEATURE_NOT_SUPPORTED: Self = Self("0A000");
    pub const DATA_EXCEPTION: Self = Self("22000");
    pub const STRING_TOO_LONG: Self = Self("22001");
    pub const NUMERIC_OUT_OF_RANGE: Self = Self("22003");
    pub const NULL_VALUE_NOT_ALLOWED: Self = Self("22004");
    pub const INVALID_DATETIME_FORMAT: Self = Self("22007");
    pub const DATETIME_OVERFLOW: Self = Self("22008");
    pub const DIVISION_BY_ZERO: Self = Self("22012");
    pub const INVALID_PARAMETER_VALUE: Self = Self("22023");
    pub const INVALID_TEXT: Self = Self("22P02");
    pub const BAD_COPY_FORMAT: Self = Self("22P04");
    pub const CHARACTER_NOT_IN_REPERTOIRE: Self = Self("22021");
    pub const NOT_NULL_VIOLATION: Self = Self("23502");
    pub const CHECK_VIOLATION: Self = Self("23514");
    pub const CARDINALITY_VIOLATION: Self = Self("21000");
    pub const INVALID_CURSOR_STATE: Self = Self("24000");
    pub const ACTIVE_TRANSACTION: Self = Self("25001");
    pub const READ_ONLY_TRANSACTION: Self = Self("25006");
    pub const NO_ACTIVE_TRANSACTION: Self = Self("25P01");
    pub const FAILED_TRANSACTION: Self = Self("25P02");
    pub const INVALID_STATEMENT_NAME: Self = Self("26000");
    pub const INVALID_CURSOR_NAME: Self = Self("34000");
    pub const INVALID_CATALOG_NAME: Self = Self("3D000");
    pub const INVALID_SAVEPOINT: Self = Self("3B001");
    pub const INVALID_SCHEMA_NAME: Self = Self("3F000");
    pub const SERIALIZATION_FAILURE: Self = Self("40001");
    pub const SYNTAX_ERROR_OR_ACCESS_RULE: Self = Self("42000");
    pub const INSUFFICIENT_PRIVILEGE: Self = Self("42501");
    pub const SYNTAX_ERROR: Self = Self("42601");
    pub const DUPLICATE_COLUMN: Self = Self("42701");
    pub const AMBIGUOUS_COLUMN: Self = Self("42702");
    pub const UNDEFINED_COLUMN: Self = Self("42703");
    pub const DUPLICATE_OBJECT: Self = Self("42710");
    pub const UNDEFINED_OBJECT: Self = Self("42704");
    pub const DUPLICATE_CURSOR: Self = Self("42P03");
    pub const DUPLICATE_SCHEMA: Self = Self("42P06");
    pub const DUPLICATE_TABLE: Self = Self("42P07");
    pub const DUPLICATE_PREPARED_STATEMENT: Self = Self("42P05");
    pub const DUPLICATE_ALIAS: Self = Self("42712");
    pub const INVALID_FOREIGN_KEY: Self = Self("42830");
    pub const GROUPING_ERROR: Self = Self("42803");
    pub const DATATYPE_MISMATCH: Self = Self("42804");
    pub const WRONG_OBJECT_TYPE: Self = Self("42809");
    pub const UNDEFINED_FUNCTION: Self = Self("42883");
    pub const UNDEFINED_TABLE: Self = Self("42P01");
    pub const UNDEFINED_PARAMETER: Self = Self("42P02");
    pub const INVALID_TABLE_DEFINITION: Self = Self("42P16");
    pub const INDETERMINATE_DATATYPE: Self = Self("42P18");
    pub const PROTOCOL_VIOLATION: Self = Self("08P01");
    pub const DEPENDENT_OBJECTS: Self = Self("2BP01");
    pub const DISK_FULL: Self = Self("53100");
    pub const OUT_OF_MEMORY: Self = Self("53200");
    pub const PROGRAM_LIMIT_EXCEEDED: Self = Self("54000");
    pub const STATEMENT_TOO_COMPLEX: Self = Self("54001");
    pub const NOT_IN_PREREQUISITE_STATE: Self = Self("55000");
    pub const CANT_CHANGE_RUNTIME_PARAM: Self = Self("55P02");
    pub const QUERY_CANCELED: Self = Self("57014");
    pub const SYSTEM_ERROR: Self = Self("58000");
    pub const IO_ERROR: Self = Self("58030");
    pub const UNDEFINED_FILE: Self = Self("58P01");
    pub const INTERNAL_ERROR: Self = Self("XX000");
    pub const INVALID_OBJECT_DEFINITION: Self = Self("42P17");
    pub const DATA_CORRUPTED: Self = Self("XX001");
}

/// Message of what finds no memory in the pool of all statements.
pub const NO_MEMORY: &str = "out of memory";

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// What a client is told. Message: short, lower case, no full stop. Facts go into `detail`, the
/// remedy into `hint`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    pub code: SqlState,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// Position in the statement text, in characters from 1.
    pub position: Option<u32>,
    /// What a row was refused by.
    pub object: Option<Box<ErrorObject>>,
}

/// Names that clients find in fields of their own (Postgres manual, 55.8).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ErrorObject {
    pub schema: String,
    pub table: String,
    pub column: Option<String>,
    pub constraint: Option<String>,
}

impl Error {
    pub fn new(code: SqlState, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), detail: None, hint: None, position: None, object: None }
    }

    /// What is answered to all statements until a failed transaction ends.
    pub fn failed_transaction() -> Self {
        let text = "current transaction is aborted, commands ignored until end of transaction block";
        Self::new(SqlState::FAILED_TRANSACTION, text)
    }

    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    #[must_use]
    pub fn with_object(mut self, object: ErrorObject) -> Self {
        self.object = Some(Box::new(object));
        self
    }

    #[must_use]
    pub fn with_position(mut self, position: u32) -> Self {
        self.position = Some(position);
        self
    }
}

/// An error of this crate on its way through DataFusion's traits; found again by type.
impl From<Error> for datafusion::error::DataFusionError {
    fn from(e: Error) -> Self {
        Self::External(Box::new(e))
    }
}

impl From<SettingsError> for Error {
    fn from(e: SettingsError) -> Self {
        let code = match &e {
            SettingsError::Unknown(_) => SqlState::UNDEFINED_OBJECT,
            SettingsError::Internal(_) | SettingsError::NeedsRestart(_) => {
                SqlState::CANT_CHANGE_RUNTIME_PARAM
            }
            SettingsError::InvalidValue { .. }
            | SettingsError::NotBool { .. }
            | SettingsError::NoRole(_)
            | SettingsError::OutOfRange { .. } => SqlState::INVALID_PARAMETER_VALUE,
            SettingsError::Unsupported { .. } | SettingsError::OtherRole(_) => {
                SqlState::FEATURE_NOT_SUPPORTED
            }
            SettingsError::AfterQuery(_) => SqlState::ACTIVE_TRANSACTION,
        };
        let error = Self::new(code, e.to_string());
        match e {
            SettingsError::Unsupported { name: "client_encoding", .. } => {
                error.with_hint("Use UTF8 (PGCLIENTENCODING=UTF8), or SQL_ASCII for bytes as they are.")
            }
            _ => error,
        }
    }
}

impl From<auric_catalog::Error> for Error {
    fn from(e: auric_catalog::Error) -> Self {
        Self::from(&e)
    }
}

impl From<&auric_catalog::Error> for Error {
    fn from(e: &auric_catalog::Error) -> Self {
        use auric_catalog::Error as Catalog;
        let unqualified = |what: &str, ident: &auric_catalog::TableIdent, state: &str| {
            format!("{what} \"{}\" {state}", ident.name)
        };
        match e {
            Catalog::CatalogNotFound(name) => {
                Self::new(SqlState::INVALID_CATALOG_NAME, format!("database \"{name}\" does not exist"))
            }
            Catalog::NamespaceNotFound(_) => Self::new(SqlState::INVALID_SCHEMA_NAME, e.to_string()),
            Catalog::NamespaceExists(_) => Self::new(SqlState::DUPLICATE_SCHEMA, e.to_string()),
            Catalog::NamespaceNotEmpty(name) => Self::new(
                SqlState::DEPENDENT_OBJECTS,
                format!("cannot drop schema {name} because other objects depend on it"),
            )
            .with_hint("Use DROP ... CASCADE to drop the dependent objects too."),
            Catalog::TableNotFound(_) => Self::new(SqlState::UNDEFINED_TABLE, e.to_string()),
            Catalog::TableExists(ident) => {
                Self::new(SqlState::DUPLICATE_TABLE, unqualified("relation", ident, "already exists"))
            }
            Catalog::Unsupported { .. } => Self::new(SqlState::FEATURE_NOT_SUPPORTED, e.to_string()),
            Catalog::Corrupt { .. } => Self::new(SqlState::DATA_CORRUPTED, e.to_string()),
            Catalog::Storage { source, .. } | Catalog::CatalogDatabase { source, .. } => {
                Self::new(SqlState::IO_ERROR, e.to_string()).with_detail(chain(source.as_ref()))
            }
            Catalog::CatalogUnavailable { source, .. } => Self::new(SqlState::SYSTEM_ERROR, e.to_string())
                .with_detail(chain(source.as_ref()))
                .with_hint("The statement can be tried again as soon as the database is reached."),
            Catalog::Conflict { .. } => Self::new(SqlState::SERIALIZATION_FAILURE, e.to_string())
                .with_hint("The statement can be tried again."),
            Catalog::AlreadyCommitted { .. } => Self::new(SqlState::NOT_IN_PREREQUISITE_STATE, e.to_string()),
            Catalog::CommitUnknown { source, .. } => {
                Self::new(SqlState::COMMIT_OUTCOME_UNKNOWN, e.to_string()).with_detail(chain(source.as_ref()))
            }
            Catalog::NotNullViolation { table, column } => {
                // Postgres leaves the schema out.
                let table = table.rsplit('.').next().unwrap_or(table);
                let message = format!(
                    "null value in column \"{column}\" of relation \"{table}\" violates not-null constraint"
                );
                Self::new(SqlState::NOT_NULL_VIOLATION, message)
            }
            Catalog::OutsideOfOverwrite { .. } => Self::new(SqlState::CHECK_VIOLATION, e.to_string()),
            Catalog::CardinalityViolation { .. } => Self::new(SqlState::CARDINALITY_VIOLATION, e.to_string())
                .with_hint("Ensure that not more than one source row matches any one target row."),
            Catalog::VersionNotFound { .. } => Self::new(SqlState::INVALID_PARAMETER_VALUE, e.to_string()),
            Catalog::Invalid(_) => Self::new(SqlState::INVALID_PARAMETER_VALUE, e.to_string()),
            Catalog::ColumnNotFound { .. } => Self::new(SqlState::UNDEFINED_COLUMN, e.to_string()),
            Catalog::Internal(_) => Self::new(SqlState::INTERNAL_ERROR, e.to_string()),
            Catalog::DataFusion(e) => Self::from(e),
            // The enumeration may grow in the other crate.
            _ => Self::new(SqlState::INTERNAL_ERROR, e.to_string()),
        }
    }
}

/// An error and what caused it, in one line.
fn chain(e: &(dyn std::error::Error + 'static)) -> String {
    let mut text = e.to_string();
    let mut source = e.source();
    while let Some(cause) = source {
        let next = cause.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
