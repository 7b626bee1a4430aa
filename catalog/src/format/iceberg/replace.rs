//! `CREATE OR REPLACE TABLE` of a table that exists: other columns, partitions, order and properties, and no
//! rows. The table stays the same table: its earlier versions can still be read, and its properties hold
//! unless they are given anew (as the reference implementation's `buildReplacement` does it).

use std::sync::Arc;

use iceberg::spec::{
    MAIN_BRANCH, NestedField, NestedFieldRef, Schema, SortOrder, TableMetadata, UnboundPartitionSpec,
};

use super::partition::{bind_specs, check_writable};
use super::{identity, properties, stage};
use crate::TableIdent;
use crate::error::{Error, Result};
use crate::table::TableDefinition;
use crate::table::identity::PROPERTY as IDENTITY;
use crate::table::schema::{FOREIGN_KEY_PROPERTY, TEXT_TYPE_PROPERTY};

/// The table's next metadata, made from scratch. Fails with `Invalid`, `ColumnNotFound`, `Unsupported`.
pub fn staged(ident: &TableIdent, base: &TableMetadata, new: &TableDefinition) -> Result<TableMetadata> {
    let version = match new.properties.contains_key(properties::FORMAT_VERSION) {
        true => properties::format_version(&new.properties)?,
        false => base.format_version(),
    };
    if version < base.format_version() {
        let message = format!(
            "table \"{ident}\" has format version {}, which cannot be lowered",
            base.format_version()
        );
        return Err(Error::Invalid(message));
    }
    let given = properties::for_new_table(&new.properties, new.comment.as_deref())?;
    let schema = stage::new_schema(ident, new, version, Some(base))?;
    let spec = stage::new_spec(ident, new, &schema)?;
    let order = stage::new_sort_order(ident, new, &schema)?;
    let builder = base.clone().into_builder(None).remove_ref(MAIN_BRANCH);
    let builder = builder.upgrade_format_version(version).map_err(invalid)?;
    let builder = shaped(builder, schema, spec, order)?;
    // They tell of columns that the table had.
    let is_of_columns = |key: &&String| {
        [IDENTITY, TEXT_TYPE_PROPERTY, FOREIGN_KEY_PROPERTY].iter().any(|prefix| key.starts_with(prefix))
    };
    let mut gone: Vec<String> = base.properties().keys().filter(is_of_columns).cloned().collect();
    gone.push(properties::COMMENT.to_string());
    let builder = builder.remove_properties(&gone).map_err(invalid)?;
    let staged = builder.set_properties(given).and_then(|b| b.build()).map_err(invalid)?.metadata;
    let identity = identity::of_definition(new, staged.current_schema());
    let builder = staged.into_builder(None).set_properties(identity);
    let staged = builder.and_then(|b| b.build()).map_err(invalid)?.metadata;
    let default = staged.default_partition_spec_id();
    bind_specs(&staged)?.iter().filter(|bound| bound.spec.spec_id == default).try_for_each(check_writable)?;
    Ok(staged)
}

/// The metadata that was staged, on top of a version that may be later than the one it was staged on.
/// Fails with `Conflict` if the table was altered since: ids may mean something else now.
pub fn onto(ident: &TableIdent, base: &TableMetadata, staged: &TableMetadata) -> Result<TableMetadata> {
    let conflict = || {
        let winner = "another statement has altered the table".to_string();
        Error::Conflict { table: ident.to_string(), winner }
    };
    let known_schemas = base.schemas_iter().all(|s| staged.schema_by_id(s.schema_id()) == Some(s));
    let known_specs =
        base.partition_specs_iter().all(|s| staged.partition_spec_by_id(s.spec_id()) == Some(s));
    if !known_schemas || !known_specs || base.format_version() > staged.format_version() {
        return Err(conflict());
    }
    let builder = base.clone().into_builder(None).remove_ref(MAIN_BRANCH);
    let builder = builder.upgrade_format_version(staged.format_version()).map_err(invalid)?;
    let builder = shaped(
        builder,
        staged.current_schema().as_ref().clone(),
        staged.default_partition_spec().as_ref().clone().into_unbound(),
        staged.default_sort_order().as_ref().clone(),
    )?;
    let gone: Vec<String> =
        base.properties().keys().filter(|key| !staged.properties().contains_key(*key)).cloned().collect();
    let builder = builder.remove_properties(&gone).map_err(invalid)?;
    let built = builder.set_properties(staged.properties().clone()).and_then(|b| b.build());
    let replaced = built.map_err(invalid)?.metadata;
    let same_ids = replaced.current_schema_id() == staged.current_schema_id()
        && replaced.default_partition_spec_id() == staged.default_partition_spec_id();
    if same_ids { Ok(replaced) } else { Err(conflict()) }
}

fn shaped(
    builder: iceberg::spec::TableMetadataBuilder,
    schema: Schema,
    spec: UnboundPartitionSpec,
    order: SortOrder,
) -> Result<iceberg::spec::TableMetadataBuilder> {
    builder
        .add_current_schema(schema)
        .and_then(|builder| builder.add_default_partition_spec(spec))
        .and_then(|builder| builder.add_sort_order(order))
        .and_then(|builder| builder.set_default_sort_order(-1))
        .map_err(invalid)
}

/// A column that keeps its name and simple type keeps its id, so that a table that is made anew every night
/// does not use up the ids.
pub fn with_known_ids(fields: Vec<NestedFieldRef>, base: &TableMetadata) -> Vec<NestedFieldRef> {
    let known = base.current_schema();
    let field = |field: NestedFieldRef| {
        let before = known.as_struct().field_by_name(&field.name);
        match before.filter(|before| before.field_type == field.field_type && field.field_type.is_primitive())
        {
            Some(before) => Arc::new(NestedField { id: before.id, ..field.as_ref().clone() }),
            None => field,
        }
    };
    fields.into_iter().map(field).collect()
}

fn invalid(e: iceberg::Error) -> Error {
    Error::Invalid(format!("the table cannot be replaced: {}", e.message()))
}
