//! Partition specs and sort orders (Iceberg spec, "Partitioning" and "Sorting"; a Delta table is
//! one spec of identity fields).

use std::fmt;

use arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;

use super::schema::FieldId;
use crate::error::Result;

/// Partition transform (Iceberg spec, "Partition Transforms").
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Transform {
    Identity,
    /// Number of buckets.
    Bucket(u32),
    /// Width.
    Truncate(u32),
    Year,
    Month,
    Day,
    Hour,
    /// Always null.
    Void,
    /// Written by a newer engine: readable (no pruning), not writable.
    Unknown(String),
}

/// As the Iceberg spec writes it: `bucket[16]`.
impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity => f.write_str("identity"),
            Self::Bucket(n) => write!(f, "bucket[{n}]"),
            Self::Truncate(width) => write!(f, "truncate[{width}]"),
            Self::Year => f.write_str("year"),
            Self::Month => f.write_str("month"),
            Self::Day => f.write_str("day"),
            Self::Hour => f.write_str("hour"),
            Self::Void => f.write_str("void"),
            Self::Unknown(name) => f.write_str(name),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionField {
    /// Column that the transform is applied to.
    pub source_id: FieldId,
    /// Id of the partition field itself (1000 and up in Iceberg).
    pub field_id: FieldId,
    pub name: String,
    pub transform: Transform,
    /// Arrow type of the partition values; `Null` where the source column is in no schema any more.
    pub result_type: DataType,
}

impl PartitionField {
    /// A partition value in the type by which values of this field are compared. Fails with `Internal` or
    /// an arrow error if it is of another kind.
    pub fn typed(&self, value: ScalarValue) -> Result<ScalarValue> {
        // Where the source column is gone, nothing but the value itself tells its type.
        match self.result_type.is_null() {
            true => Ok(value),
            false => Ok(value.cast_to(&self.result_type)?),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartitionSpec {
    pub spec_id: i32,
    pub fields: Vec<PartitionField>,
}

impl PartitionSpec {
    pub fn is_unpartitioned(&self) -> bool {
        self.fields.iter().all(|f| f.transform == Transform::Void)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortField {
    pub source_id: FieldId,
    pub transform: Transform,
    pub descending: bool,
    pub nulls_first: bool,
}

/// Order of the rows inside each data file; id 0 means unsorted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SortOrder {
    pub order_id: i32,
    pub fields: Vec<SortField>,
}
