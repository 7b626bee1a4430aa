//! From table metadata to the neutral snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use iceberg::spec::{SchemaRef, SnapshotRef, TableMetadata};

use super::cache::Caches;
use super::manifests::IcebergFiles;
use super::partition::{bind_specs, neutral_sort_order};
use super::{properties, schema};
use crate::error::{Error, Result};
use crate::storage::{Storage, from_url, to_url};
use crate::table::{RowLineage, TableFormat, TableSnapshot, TableVersion};

/// What a commit on top of a snapshot needs: the private state of [`TableSnapshot::state`].
#[derive(Debug)]
pub struct IcebergState {
    pub metadata: Arc<TableMetadata>,
    /// `None` while the table is only staged.
    pub metadata_location: Option<String>,
}

/// The Iceberg state of a snapshot. Fails with `Internal` if it is not one of ours.
pub fn state(snapshot: &TableSnapshot) -> Result<&IcebergState> {
    snapshot
        .state
        .downcast_ref::<IcebergState>()
        .ok_or_else(|| Error::Internal(format!("{} is no Iceberg table", snapshot.location)))
}

/// The table metadata behind an Iceberg snapshot.
pub fn metadata(snapshot: &TableSnapshot) -> Result<&Arc<TableMetadata>> {
    Ok(&state(snapshot)?.metadata)
}

/// Which of a table's versions is seen, and with which columns.
#[derive(Debug, Clone)]
pub struct View {
    pub snapshot: Option<SnapshotRef>,
    pub schema: SchemaRef,
    /// When it was committed, milliseconds since the epoch.
    pub timestamp_ms: i64,
}

impl View {
    /// The table as it is now.
    pub fn current(metadata: &TableMetadata) -> Self {
        Self {
            snapshot: metadata.current_snapshot().cloned(),
            schema: metadata.current_schema().clone(),
            timestamp_ms: metadata.last_updated_ms(),
        }
    }

    /// The table as it was at `snapshot`, with the columns of then.
    pub fn at(metadata: &TableMetadata, snapshot: SnapshotRef) -> Result<Self> {
        let schema =
            snapshot.schema(metadata).map_err(|e| Error::corrupt(metadata.location(), e.message()))?;
        Ok(Self { schema, timestamp_ms: snapshot.timestamp_ms(), snapshot: Some(snapshot) })
    }
}

/// The neutral snapshot of what `metadata` shows in `view`. `published`: the storage that its files are
/// read from and the metadata's location; `None` for a staged table.
pub fn table_snapshot(
    metadata: Arc<TableMetadata>,
    view: View,
    published: Option<(&Storage, &str)>,
    caches: &Arc<Caches>,
) -> Result<TableSnapshot> {
    let location_for_errors = published.map_or(metadata.location(), |(_, location)| location);
    let specs: BTreeMap<i32, _> =
        bind_specs(&metadata)?.into_iter().map(|bound| (bound.spec.spec_id, bound)).collect();
    let default_spec = specs
        .get(&metadata.default_partition_spec_id())
        .map(|bound| bound.spec.clone())
        .ok_or_else(|| Error::corrupt(location_for_errors, "the default partition spec is missing"))?;
    let version = match published {
        Some((_, location)) => TableVersion::Iceberg {
            metadata_location: location.to_string(),
            snapshot_id: view.snapshot.as_ref().map(|s| s.snapshot_id()),
        },
        None => TableVersion::Unpublished,
    };
    let properties: BTreeMap<_, _> =
        metadata.properties().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    Ok(TableSnapshot {
        format: TableFormat::Iceberg,
        format_version: metadata.format_version().to_string(),
        location: root_url(metadata.location())?,
        table_id: metadata.uuid().to_string(),
        version,
        schema: Arc::new(
            schema::table_schema(&view.schema, metadata.properties(), location_for_errors)?
                .with_text_types(|name| properties.get(name)),
        ),
        partition_specs: specs.iter().map(|(id, bound)| (*id, bound.spec.clone())).collect(),
        default_spec,
        sort_order: Arc::new(neutral_sort_order(metadata.default_sort_order())),
        comment: properties.get(properties::COMMENT).cloned(),
        row_lineage: (metadata.format_version() >= iceberg::spec::FormatVersion::V3)
            .then(RowLineage::by_reserved_ids),
        properties,
        timestamp_ms: published.map(|_| view.timestamp_ms),
        constraints: Vec::new(),
        files: Arc::new(IcebergFiles::new(
            published.map(|(storage, _)| storage.clone()),
            caches.clone(),
            specs,
            metadata.format_version(),
            view.snapshot,
        )),
        state: Arc::new(IcebergState {
            metadata,
            metadata_location: published.map(|(_, location)| location.to_string()),
        }),
    })
}

/// Plain paths become `file://` locations; other schemes stay as the table has them, because other
/// engines may know the files by exactly those names.
fn root_url(location: &str) -> Result<String> {
    let location = location.trim_end_matches('/');
    match location.starts_with('/') {
        true => from_url(&to_url(location)?),
        false => Ok(location.to_string()),
    }
}
