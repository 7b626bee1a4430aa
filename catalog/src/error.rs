//! The one error type of this crate. `sql` maps each variant to a SQLSTATE by an exhaustive match.

use datafusion::error::DataFusionError;

use crate::name::TableIdent;

pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What can go wrong with a table or its catalog. `Display` never repeats the source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("catalog \"{0}\" does not exist")]
    CatalogNotFound(String),
    #[error("schema \"{0}\" does not exist")]
    NamespaceNotFound(String),
    #[error("schema \"{0}\" already exists")]
    NamespaceExists(String),
    #[error("schema \"{0}\" is not empty")]
    NamespaceNotEmpty(String),
    #[error("relation \"{0}\" does not exist")]
    TableNotFound(TableIdent),
    #[error("relation \"{0}\" already exists")]
    TableExists(TableIdent),
    /// The table is valid but asks for something that we do not do (SQLSTATE 0A000).
    #[error("{object} uses {feature}, which is not supported")]
    Unsupported { object: String, feature: String },
    /// Metadata or data that violates its specification, or is missing (58030 / XX001).
    #[error("{path} is corrupt: {reason}")]
    Corrupt { path: String, reason: String },
    #[error("could not access {path}")]
    Storage {
        path: String,
        #[source]
        source: Source,
    },
    #[error("catalog database error: {message}")]
    CatalogDatabase {
        message: String,
        #[source]
        source: Source,
    },
    /// The database of a catalog was not reached, or closed the connection; what was asked of it was
    /// certainly not done (58000).
    #[error("catalog database error: {message}")]
    CatalogUnavailable {
        message: String,
        #[source]
        source: Source,
    },
    /// Another commit won and the change cannot be rebased on it (40001).
    #[error("could not serialize access to \"{table}\" due to a concurrent commit: {winner}")]
    Conflict { table: String, winner: String },
    /// A commit that is made once was made before (40001).
    #[error("the commit {id} to \"{table}\" has been made already")]
    AlreadyCommitted { table: String, id: String },
    /// Nobody knows whether the commit happened (08007). Nothing may be deleted or retried blindly.
    #[error("the outcome of the commit to \"{table}\" is unknown")]
    CommitUnknown {
        table: String,
        #[source]
        source: Source,
    },
    #[error("null value in column \"{column}\" of relation \"{table}\" violates not-null constraint")]
    NotNullViolation { table: String, column: String },
    /// A MERGE that would change one row twice (21000).
    #[error("{command} command cannot affect row a second time")]
    CardinalityViolation { command: &'static str },
    /// A new row is outside of what an overwrite replaces, or violates a constraint (23514).
    #[error("new row for relation \"{table}\" does not satisfy {predicate}")]
    OutsideOfOverwrite { table: String, predicate: String },
    /// `VERSION AS OF` names no version, or one that has expired (22023).
    #[error("relation \"{table}\" has no version {version}")]
    VersionNotFound { table: String, version: String },
    /// A request that makes no sense: unknown column in a partition clause, bad property value, … (22023).
    #[error("{0}")]
    Invalid(String),
    #[error("column \"{column}\" of relation \"{table}\" does not exist")]
    ColumnNotFound { table: String, column: String },
    #[error("internal error: {0}")]
    Internal(String),
    #[error(transparent)]
    DataFusion(#[from] DataFusionError),
}

impl Error {
    pub fn storage(path: impl Into<String>, source: impl Into<Source>) -> Self {
        Self::Storage { path: path.into(), source: source.into() }
    }

    /// An object store said that the file does not exist.
    pub fn is_not_found(&self) -> bool {
        let Self::Storage { source, .. } = self else { return false };
        matches!(source.downcast_ref(), Some(object_store::Error::NotFound { .. }))
    }

    /// A store refused a write before anything of it was done: it is read-only, or we may not write.
    pub fn is_refusal(&self) -> bool {
        let Self::Storage { source, .. } = self else { return false };
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(source.as_ref());
        while let Some(error) = cause {
            let denied = [std::io::ErrorKind::PermissionDenied, std::io::ErrorKind::ReadOnlyFilesystem];
            if error.downcast_ref::<std::io::Error>().is_some_and(|e| denied.contains(&e.kind())) {
                return true;
            }
            cause = error.source();
        }
        false
    }

    pub fn catalog_database(message: impl Into<String>, source: impl Into<Source>) -> Self {
        Self::CatalogDatabase { message: message.into(), source: source.into() }
    }

    pub fn corrupt(path: impl Into<String>, reason: impl ToString) -> Self {
        Self::Corrupt { path: path.into(), reason: reason.to_string() }
    }

    pub fn unsupported(object: impl ToString, feature: impl ToString) -> Self {
        Self::Unsupported { object: object.to_string(), feature: feature.to_string() }
    }
}

/// Crosses DataFusion's traits as `External`; `sql` finds it again by type.
impl From<Error> for DataFusionError {
    fn from(e: Error) -> Self {
        match e {
            Error::DataFusion(e) => e,
            e => DataFusionError::External(Box::new(e)),
        }
    }
}
