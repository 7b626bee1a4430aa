//! Whether files written for one version of a table are valid files of another: its shape may have
//! changed.

use arrow::datatypes::{DataType, Field};

use crate::table::schema::{ColumnResolution, PHYSICAL_NAME};
use crate::table::{Alteration, TableChange, TableSnapshot, Transform, identity};

/// Are files written for `read` valid files of `current`?
pub fn added_files_fit(
    read: &TableSnapshot,
    current: &TableSnapshot,
    change: &TableChange,
) -> Result<(), String> {
    if read.table_id != current.table_id || read.format != current.format {
        return Err("the table was replaced".into());
    }
    for file in &change.added {
        match current.partition_specs.get(&file.spec.spec_id) {
            Some(spec) if spec.fields == file.spec.fields => {}
            // A spec without partitions may be listed or not.
            None if file.spec.fields.iter().all(|f| f.transform == Transform::Void)
                && current.default_spec.fields == file.spec.fields => {}
            _ => return Err("the partitioning was changed".into()),
        }
    }
    if !change.added.is_empty()
        && let Some(unknown) = current.constraints.iter().find(|now| !read.constraints.contains(now))
    {
        // The new rows were not checked for it.
        return Err(format!("check constraint \"{}\" was added or changed", unknown.name));
    }
    identity_fits(read, current, change)?;
    columns_fit(read, current, change)
}

/// Values beyond the mark that the statement has read may be values that another one has given out.
fn identity_fits(read: &TableSnapshot, current: &TableSnapshot, change: &TableChange) -> Result<(), String> {
    if read.schema.identity == current.schema.identity {
        return Ok(());
    }
    let restarts = change.alterations.contains(&Alteration::RestartIdentity);
    let raised = identity::raised(&read.schema.identity, &change.added).map_err(|e| e.to_string())?;
    for (id, before) in &read.schema.identity {
        let moved = current.schema.identity.get(id).is_some_and(|now| now != before);
        if moved && (restarts || raised.contains_key(id)) {
            let name = read.schema.column_by_id(*id).map_or("?", |(_, field)| field.name());
            return Err(format!("other values of identity column \"{name}\" were given out"));
        }
    }
    Ok(())
}

fn columns_fit(read: &TableSnapshot, current: &TableSnapshot, change: &TableChange) -> Result<(), String> {
    let by_name = read.schema.resolution == ColumnResolution::Name;
    if by_name != (current.schema.resolution == ColumnResolution::Name) {
        return Err("the column mapping was changed".into());
    }
    for (field, id) in read.schema.arrow.fields().iter().zip(&read.schema.field_ids) {
        let Some((_, now)) = current.schema.column_by_id(*id) else {
            // Resolved by id, what files hold of a dropped column is never read again. But what new rows
            // have there would be lost: the table may be one that was made anew under the same id.
            if by_name || !change.added.is_empty() {
                return Err(format!("column \"{}\" was dropped", field.name()));
            }
            continue;
        };
        if by_name && physical_name(field) != physical_name(now) {
            return Err(format!("column \"{}\" was renamed", field.name()));
        }
        if !same_type(field.data_type(), now.data_type()) {
            return Err(format!("the type of column \"{}\" was changed", field.name()));
        }
        if field.is_nullable() && !now.is_nullable() {
            return Err(format!("column \"{}\" no longer allows nulls", field.name()));
        }
    }
    for (field, id) in current.schema.arrow.fields().iter().zip(&current.schema.field_ids) {
        if !field.is_nullable() && read.schema.column_by_id(*id).is_none() {
            return Err(format!("column \"{}\" was added and allows no nulls", field.name()));
        }
    }
    Ok(())
}

pub(crate) fn physical_name(field: &Field) -> &str {
    field.metadata().get(PHYSICAL_NAME).unwrap_or(field.name())
}

/// Equal but for comments and other metadata of nested fields.
pub(crate) fn same_type(a: &DataType, b: &DataType) -> bool {
    let same = |a: &Field, b: &Field| {
        a.name() == b.name() && a.is_nullable() == b.is_nullable() && same_type(a.data_type(), b.data_type())
    };
    match (a, b) {
        (DataType::Struct(a), DataType::Struct(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (DataType::List(a), DataType::List(b))
        | (DataType::LargeList(a), DataType::LargeList(b))
        | (DataType::Map(a, _), DataType::Map(b, _)) => same(a, b),
        (DataType::FixedSizeList(a, n), DataType::FixedSizeList(b, m)) => n == m && same(a, b),
        (a, b) => a == b,
    }
}
