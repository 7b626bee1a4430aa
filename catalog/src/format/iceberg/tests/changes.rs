//! Commits that remove and mark files, and what a snapshot's manifests say afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;

use iceberg::spec::{DataContentType, DataFile, ManifestContentType, ManifestStatus, TableMetadataBuilder};

use super::fixture::{Fixture, storage};
use crate::backend::Backend;
use crate::format::iceberg::cache::Caches;
use crate::format::iceberg::manifests::{listing, read_manifest};
use crate::format::iceberg::{metadata, metadata_file};
use crate::format::{CommitOutcome, Format};
use crate::table::deletes::{FileDeletes, NewRowDeletes, RowDeletes};
use crate::table::{
    LiveFile, NewDataFile, Operation, TableChange, TableSnapshot, TableVersion, deletion_vector,
};
use crate::write::WrittenFiles;

/// Live files by name.
pub async fn live(table: &TableSnapshot) -> BTreeMap<String, Arc<LiveFile>> {
    let index = table.files.deletes().await.unwrap();
    let mut found = BTreeMap::new();
    for (_, numbers) in &table.files.index().await.unwrap().groups {
        for number in numbers {
            let list = table.files.file_list(*number).await.unwrap();
            for row in 0..list.files.len() {
                let mut live = LiveFile { list: list.clone(), row, deletes: FileDeletes::default() };
                let partition = (live.spec().spec_id, live.partition().unwrap());
                live.deletes = index.for_file(live.file().unwrap(), &partition);
                let name = live.path().rsplit('/').next().unwrap().trim_end_matches(".parquet").to_string();
                assert!(found.insert(name, Arc::new(live)).is_none());
            }
        }
    }
    found
}

pub fn change(operation: Operation, added: Vec<NewDataFile>) -> TableChange {
    TableChange::new(operation, added)
}

pub async fn commit(fixture: &Fixture, base: &TableSnapshot, change: &TableChange) -> Arc<TableSnapshot> {
    match fixture.try_change(base, change).await.unwrap() {
        CommitOutcome::Committed(version) => {
            let table = fixture.reload().await;
            assert_eq!(table.version, version);
            check_totals(&table).await;
            table
        }
        other => panic!("{other:?}"),
    }
}

pub async fn remove(fixture: &Fixture, base: &TableSnapshot, names: &[&str]) -> Arc<TableSnapshot> {
    let files = live(base).await;
    let mut change = change(Operation::Delete, vec![]);
    change.removed = names.iter().map(|name| files[*name].clone()).collect();
    commit(fixture, base, &change).await
}

pub async fn stored(fixture: &Fixture, base: &TableSnapshot, rows: &[(&str, &[u64])]) -> Vec<NewRowDeletes> {
    let files = live(base).await;
    let mut deletes = Vec::new();
    for (name, positions) in rows {
        let file = files[*name].clone();
        let deleted_before = match &file.deletes.deletion_vector {
            Some(vector) => Some(Arc::new(deletion_vector::load(&fixture.storage, vector).await.unwrap())),
            None => None,
        };
        deletes.push(RowDeletes { file, deleted: positions.iter().copied().collect(), deleted_before });
    }
    let written = WrittenFiles::new(fixture.storage.clone());
    let stored = fixture.format.write_deletes(base, deletes, &written).await.unwrap();
    written.keep();
    stored
}

pub async fn mark(fixture: &Fixture, base: &TableSnapshot, rows: &[(&str, &[u64])]) -> Arc<TableSnapshot> {
    let mut change = change(Operation::Delete, vec![]);
    change.deletes = stored(fixture, base, rows).await;
    commit(fixture, base, &change).await
}

/// The table after another engine has changed its metadata.
pub async fn altered(
    fixture: &Fixture,
    table: &TableSnapshot,
    alter: impl FnOnce(TableMetadataBuilder) -> iceberg::Result<TableMetadataBuilder>,
) -> Arc<TableSnapshot> {
    let TableVersion::Iceberg { metadata_location, .. } = &table.version else { panic!() };
    let builder = metadata(table).unwrap().as_ref().clone().into_builder(Some(metadata_location.clone()));
    let built = alter(builder).and_then(TableMetadataBuilder::build).unwrap();
    let folder = format!("{}/metadata", table.location);
    let id = uuid::Uuid::new_v4();
    let location = metadata_file::next_location(&folder, Some(metadata_location), id, false);
    let bytes = metadata_file::serialize(&built.metadata, false).unwrap();
    assert!(fixture.storage.create(&location, bytes).await.unwrap());
    fixture.backend.swap_pointer(&fixture.ident, metadata_location, &location).await.unwrap();
    fixture.reload().await
}

pub fn summary(table: &TableSnapshot) -> BTreeMap<String, String> {
    let snapshot = metadata(table).unwrap().current_snapshot().unwrap().clone();
    let mut entries: BTreeMap<_, _> = snapshot.summary().additional_properties.clone().into_iter().collect();
    entries.insert("operation".into(), snapshot.summary().operation.as_str().into());
    entries.retain(|key, _| !key.starts_with("engine-") && !key.starts_with("auric."));
    entries
}

/// The live entries of a snapshot's manifests, summed up, are its totals.
async fn check_totals(table: &TableSnapshot) {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::from(
        ["records", "files-size", "data-files", "delete-files", "position-deletes", "equality-deletes"]
            .map(|name| (name, 0)),
    );
    for (_, _, status, data) in entries(table).await {
        if status == ManifestStatus::Deleted {
            continue;
        }
        let size = data.content_size_in_bytes().map_or(data.file_size_in_bytes(), |size| size as u64);
        let counted = match data.content_type() {
            DataContentType::Data => ["data-files", "records"],
            DataContentType::PositionDeletes => ["delete-files", "position-deletes"],
            DataContentType::EqualityDeletes => ["delete-files", "equality-deletes"],
        };
        for (name, by) in [("files-size", size), (counted[0], 1), (counted[1], data.record_count())] {
            *sums.get_mut(name).unwrap() += by;
        }
    }
    let totals: BTreeMap<String, u64> = summary(table)
        .into_iter()
        .filter_map(|(key, value)| Some((key.strip_prefix("total-")?.to_string(), value.parse().unwrap())))
        .collect();
    assert_eq!(totals, sums.into_iter().map(|(k, v)| (k.to_string(), v)).collect());
}

pub type Entry = (ManifestContentType, i64, ManifestStatus, DataFile);

/// All entries of the current snapshot's manifests: content, snapshot id, status, file.
pub async fn entries(table: &TableSnapshot) -> Vec<Entry> {
    let storage = storage();
    let metadata = metadata(table).unwrap();
    let path = metadata.current_snapshot().unwrap().manifest_list();
    let listing = listing(&storage, &Caches::default(), path, metadata.format_version()).await.unwrap();
    let mut found = Vec::new();
    for file in &listing.manifests {
        for entry in read_manifest(&storage, file).await.unwrap().entries() {
            let snapshot = entry.snapshot_id().unwrap_or(file.added_snapshot_id);
            found.push((file.content, snapshot, entry.status(), entry.data_file().clone()));
        }
    }
    found
}
