//! Checkpoints (Delta protocol, "Checkpoints"), which the kernel writes.
//!
//! The kernel refuses to, as it refuses to write, where a table asks of its writers what the kernel
//! cannot do itself: enforce constraints, compute columns. A checkpoint only repeats what the log says
//! already, so there is nothing to enforce or compute. For such a table the kernel is handed its log
//! under a configuration without these features; protocol and metadata of the checkpoint come from the
//! log, as all its actions, and not from that configuration.

use std::sync::Arc;

use delta_kernel::actions::{Metadata, Protocol};
use delta_kernel::snapshot::SnapshotRef;
use delta_kernel::table_configuration::TableConfiguration;
use delta_kernel::table_features::{Operation, TableFeature};
use delta_kernel::{Engine, KernelResult, Snapshot};
use tracing::{debug, warn};

use super::engine::{InTable, blocking};
use super::properties::{FEATURES_WRITER, LEGACY_FEATURES};
use super::writable::CONSTRAINT_PREFIX;
use crate::storage::Storage;

/// What is asked of those who write rows, and of nobody who writes a checkpoint.
const OF_ROWS: [TableFeature; 4] = [
    TableFeature::CheckConstraints,
    TableFeature::GeneratedColumns,
    TableFeature::IdentityColumns,
    TableFeature::Invariants,
];

/// Best effort: the commit stands without it, and the next interval tries again.
pub(super) async fn write(storage: &Storage, root: &str, base: SnapshotRef, version: u64) {
    let table = root.to_string();
    let written = blocking(storage, root, move |engine| {
        let snapshot = Snapshot::builder_from(base).at_version(version).build(engine).in_table(&table)?;
        write_blocking(engine, snapshot).in_table(&table)
    });
    match written.await {
        Ok(()) => debug!(root, version, "wrote a checkpoint"),
        Err(e) => warn!(root, version, error = %e, "could not write a checkpoint"),
    }
}

fn write_blocking(engine: &dyn Engine, snapshot: SnapshotRef) -> KernelResult<()> {
    let snapshot = match snapshot.table_configuration().ensure_operation_supported(Operation::Write) {
        Ok(()) => snapshot,
        Err(_) => without_demands_on_rows(&snapshot)?,
    };
    snapshot.checkpoint(engine, None)?;
    Ok(())
}

/// The same log under a configuration that asks nothing of rows.
fn without_demands_on_rows(snapshot: &Snapshot) -> KernelResult<SnapshotRef> {
    let configuration = snapshot.table_configuration();
    let metadata = configuration.metadata();
    let properties = metadata.configuration().iter();
    let metadata = Metadata::from_parts(
        metadata.id().to_string(),
        metadata.name().map(str::to_string),
        metadata.description().map(str::to_string),
        metadata.format_provider().to_string(),
        metadata.format_options().clone(),
        metadata.schema_string().clone(),
        metadata.partition_columns().to_vec(),
        metadata.created_time(),
        properties
            .filter(|(key, _)| !key.starts_with(CONSTRAINT_PREFIX))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    );
    let protocol = without(configuration.protocol())?;
    let root = snapshot.table_root().clone();
    let configuration = TableConfiguration::try_new(metadata, protocol, root, snapshot.version())?;
    Ok(Arc::new(Snapshot::new(snapshot.log_segment().clone(), configuration)?))
}

/// The protocol without [`OF_ROWS`], the features of its version listed by name.
fn without(protocol: &Protocol) -> KernelResult<Protocol> {
    let features: Vec<TableFeature> = match protocol.writer_features() {
        Some(features) => features.to_vec(),
        None => {
            let version = protocol.min_writer_version();
            let of_version = LEGACY_FEATURES.iter().filter(|(_, since)| *since <= version);
            let features = of_version.map(|(name, _)| TableFeature::from(name.to_string()));
            // It takes readers of version 2, which stand for it.
            let for_readers = |f: &TableFeature| *f == TableFeature::ColumnMapping;
            features.filter(|f| !for_readers(f) || protocol.min_reader_version() == 2).collect()
        }
    };
    let kept: Vec<TableFeature> = features.into_iter().filter(|f| !OF_ROWS.contains(f)).collect();
    let readers = protocol.reader_features().map(<[TableFeature]>::to_vec);
    Protocol::try_new(protocol.min_reader_version(), FEATURES_WRITER, readers, Some(kept))
}
