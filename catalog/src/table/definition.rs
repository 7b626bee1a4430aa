//! What a CREATE TABLE asks for, before any format has given out ids.

use std::collections::BTreeMap;
use std::fmt;

use arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;

use super::constraint::CheckConstraint;
use super::identity::IdentityColumn;
use super::partition::Transform;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TableFormat {
    Iceberg,
    Delta,
}

impl fmt::Display for TableFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Iceberg => "iceberg",
            Self::Delta => "delta",
        })
    }
}

#[derive(Debug, Clone)]
pub struct ColumnDefinition {
    pub name: String,
    pub data_type: DataType,
    pub nullable: bool,
    pub comment: Option<String>,
    pub default: Option<ColumnDefault>,
    /// The table gives out its values.
    pub identity: Option<IdentityColumn>,
}

/// The value of a column that an INSERT leaves out.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnDefault {
    /// SQL without columns, as other engines read it too.
    pub sql: String,
    /// Its value in the column's type; `None`: it is not the same at any time.
    pub constant: Option<ScalarValue>,
}

#[derive(Debug, Clone)]
pub struct PartitionFieldDefinition {
    pub column: String,
    pub transform: Transform,
}

#[derive(Debug, Clone)]
pub struct SortFieldDefinition {
    pub column: String,
    pub transform: Transform,
    pub descending: bool,
    pub nulls_first: bool,
}

#[derive(Debug, Clone)]
pub struct TableDefinition {
    pub format: TableFormat,
    pub columns: Vec<ColumnDefinition>,
    pub partitioning: Vec<PartitionFieldDefinition>,
    pub sorting: Vec<SortFieldDefinition>,
    /// Names of the PRIMARY KEY columns (Iceberg identifier fields).
    pub key_columns: Vec<String>,
    pub constraints: Vec<CheckConstraint>,
    pub comment: Option<String>,
    /// The format's own table properties (`write.…`, `delta.…`), as given.
    pub properties: BTreeMap<String, String>,
}
