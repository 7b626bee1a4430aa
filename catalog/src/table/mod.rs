//! The neutral model: what a scan, a write or a merge needs to know of a table, whatever its format.

pub mod alteration;
pub mod change;
pub mod constraint;
pub mod data_file;
pub mod definition;
pub mod deletes;
pub mod deletion_vector;
pub mod identity;
pub mod left_files;
pub mod live_file;
pub mod partition;
pub mod pending;
pub mod positions;
pub mod row_lineage;
pub mod schema;
pub mod snapshot;
pub mod statistics;
pub mod transform;

pub use alteration::{Alteration, Comment, NewColumn, PropertyChange};
pub use change::{COMMIT_ID, Isolation, Operation, ReadSet, RowCounts, TableChange};
pub use constraint::CheckConstraint;
pub use data_file::{DataFile, FileList, NewDataFile};
pub use definition::{ColumnDefault, ColumnDefinition, TableDefinition, TableFormat};
pub use identity::{IdentityColumn, IdentityColumns};
pub use live_file::LiveFile;
pub use partition::{PartitionField, PartitionSpec, SortField, SortOrder, Transform};
pub use pending::PendingChange;
pub use row_lineage::{LineageColumn, RowLineage};
pub use schema::{FieldId, TableSchema};
pub use snapshot::{CommitWatch, TableSnapshot, TableVersion};
