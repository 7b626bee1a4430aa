//! The isolation level that a table asks for.

use crate::error::{Error, Result};
use crate::table::{Isolation, Operation, TableSnapshot};

/// From Iceberg's `write.{delete,update,merge}.isolation-level` (an overwrite goes by `merge`), else
/// Delta's `delta.isolationLevel`. Serializable if the table says nothing.
///
/// Fails with `Invalid` for a value that the formats do not know.
pub fn of(snapshot: &TableSnapshot, operation: Operation) -> Result<Isolation> {
    let iceberg = match operation {
        Operation::Delete | Operation::Truncate => "write.delete.isolation-level",
        Operation::Update => "write.update.isolation-level",
        Operation::Merge | Operation::Overwrite | Operation::Append | Operation::Create => {
            "write.merge.isolation-level"
        }
    };
    for key in [iceberg, "delta.isolationLevel"] {
        let Some(value) = snapshot.properties.get(key) else { continue };
        return match value.trim().to_ascii_lowercase().as_str() {
            "serializable" => Ok(Isolation::Serializable),
            // Delta's WriteSerializable lets blind appends pass, and so does Iceberg's snapshot.
            "snapshot" | "writeserializable" | "snapshotisolation" => Ok(Isolation::Snapshot),
            _ => Err(Error::Invalid(format!(
                "table property \"{key}\" is \"{value}\", expected an isolation level"
            ))),
        };
    }
    Ok(Isolation::Serializable)
}
