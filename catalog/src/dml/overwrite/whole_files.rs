//! DELETE of whole files: where partition values tell that all rows of a file go or none, the file is taken
//! out of the table without being opened.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;

use super::super::publish::Publish;
use super::super::write_exec::{self, Kind, Returned, Write};
use super::{Replaced, Replacement};
use crate::error::Result;
use crate::registry::Table;
use crate::table::{Operation, TableSnapshot, Transform};

/// A DELETE whose condition is over columns of the table alone.
#[derive(Debug, Clone)]
pub struct WholeFiles {
    /// Rows for which all of them are true go; none: all rows.
    pub filters: Vec<Expr>,
    /// See [`TableChange::parameters`](crate::table::TableChange::parameters).
    pub parameters: BTreeMap<String, String>,
    /// Nothing is committed.
    pub dry_run: bool,
    pub publish: Publish,
}

/// Plan that takes the files out. `None`: rows have to be looked at, either because the partition values
/// do not tell, or because the metadata does not tell exactly how many rows a file has.
pub async fn delete(
    table: &Table,
    state: &dyn Session,
    delete: WholeFiles,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let snapshot = &table.snapshot;
    if !delete.filters.iter().all(|filter| is_over_partitions(snapshot, filter)) {
        return Ok(None);
    }
    table.catalog.format(snapshot.format).check_writable(snapshot, Operation::Delete)?;
    let mut replacement = Replacement::new(table, state, Replaced::Where(delete.filters), Operation::Delete)?;
    replacement.parameters = Some(delete.parameters);
    for file in replacement.files(table, &Default::default()).await? {
        if !file.deletes.is_empty() || file.file()?.record_count.is_none() {
            return Ok(None);
        }
    }
    let write = Write {
        table: table.clone(),
        kind: Kind::Replace(Arc::new(replacement)),
        returned: Returned::Impact { ignored: 0 },
        dry_run: delete.dry_run,
        reads_target: false,
        publish: delete.publish,
    };
    let nothing = Arc::new(EmptyExec::new(snapshot.schema.arrow.clone()));
    Ok(Some(write_exec::plan(write, nothing)?))
}

/// Whether every file of the version, of whatever spec, has one value of each column.
fn is_over_partitions(snapshot: &TableSnapshot, filter: &Expr) -> bool {
    let mut specs = snapshot.partition_specs.values().chain([&snapshot.default_spec]);
    let columns = filter.column_refs();
    specs.all(|spec| {
        columns.iter().all(|column| {
            let id = snapshot.schema.id_of(&column.name);
            let by_value = |field: &crate::table::PartitionField| {
                Some(field.source_id) == id && field.transform == Transform::Identity
            };
            id.is_some() && spec.fields.iter().any(by_value)
        })
    })
}
