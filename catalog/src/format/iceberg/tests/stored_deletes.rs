//! What is in deletion vectors and position delete files, and what becomes of them in an upgrade.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use iceberg::io::FileIO;
use iceberg::puffin::{DELETION_VECTOR_V1, PuffinReader};
use iceberg::spec::FormatVersion;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use roaring::RoaringTreemap;

use super::changes::{altered, commit, entries, live, mark, stored, summary};
use super::fixture::{Fixture, definition, file};
use crate::format::Format;
use crate::format::iceberg::delete_manifest::FILE_PATH;
use crate::format::iceberg::metadata;
use crate::table::deletes::{RowDeletes, StoredDeletes};
use crate::table::deletion_vector::{self, DeletionVectorStorage};
use crate::table::{Operation, TableChange};
use crate::write::WrittenFiles;

#[tokio::test]
async fn one_puffin_file_holds_all_vectors_of_a_change() {
    let fixture = Fixture::new();
    let staged = fixture.stage(&definition(&[], &[("format-version", "3")]));
    let added = vec![file(&staged, "a", 1..=10, vec![]), file(&staged, "b", 1..=100_000, vec![])];
    let table = fixture.commit(&staged, added).await;
    let files = live(&table).await;
    let many: RoaringTreemap = (0..90_000).collect();
    let before: RoaringTreemap = [3, 5].into_iter().collect();
    let deletes = vec![
        RowDeletes {
            file: files["a"].clone(),
            deleted: [9].into_iter().collect(),
            deleted_before: Some(Arc::new(before)),
        },
        RowDeletes { file: files["b"].clone(), deleted: many.clone(), deleted_before: None },
        RowDeletes { file: files["b"].clone(), deleted: RoaringTreemap::new(), deleted_before: None },
    ];
    let written = WrittenFiles::new(fixture.storage.clone());
    let stored = fixture.format.write_deletes(&table, deletes, &written).await.unwrap();
    written.keep();
    assert_eq!(stored.iter().map(|new| new.newly_deleted).collect::<Vec<_>>(), [1, 90_000]);
    assert_eq!(stored[0].stored.path(), stored[1].stored.path());
    let expected = [[3, 5, 9].into_iter().collect(), many];

    let input = FileIO::new_with_fs().new_input(stored[0].stored.path()).unwrap();
    let size = input.metadata().await.unwrap().size;
    let puffin = PuffinReader::new(input);
    let blobs = puffin.file_metadata().await.unwrap().blobs().to_vec();
    assert_eq!(blobs.len(), 2);
    for ((new, blob), expected) in stored.iter().zip(&blobs).zip(&expected) {
        let StoredDeletes::Vector { vector, file_bytes } = &new.stored else { panic!() };
        assert_eq!(*file_bytes, size);
        assert_eq!(vector.cardinality, expected.len());
        assert_eq!(&deletion_vector::load(&fixture.storage, vector).await.unwrap(), expected);
        assert_eq!((blob.blob_type(), blob.fields()), (DELETION_VECTOR_V1, &[2_147_483_645][..]));
        assert_eq!((blob.snapshot_id(), blob.sequence_number()), (-1, -1));
        let DeletionVectorStorage::File { offset, length, .. } = &vector.storage else { panic!() };
        assert_eq!((blob.offset(), blob.length()), (*offset, *length));
        assert_eq!(blob.properties()["referenced-data-file"], new.file.path());
        assert_eq!(blob.properties()["cardinality"], expected.len().to_string());
        let data = puffin.blob(blob).await.unwrap().data().to_vec();
        assert_eq!(&deletion_vector::decode(&data).unwrap(), expected);
    }
    // Ninety thousand neighbours are a few runs, not eleven kilobytes of bits.
    assert!(size < 2000, "{size}");
}

#[tokio::test]
async fn position_delete_files_have_the_columns_of_the_spec() {
    let fixture = Fixture::new();
    let staged = fixture.stage(&definition(&[], &[]));
    let long = "a-name-of-a-file-that-is-longer-than-any-bound-would-be-if-it-were-cut-off-somewhere";
    let table = fixture.commit(&staged, vec![file(&staged, long, 1..=200_000, vec![])]).await;
    let positions: Vec<u64> = (0..200_000).step_by(2).collect();
    let stored = stored(&fixture, &table, &[(long, &positions)]).await;
    let StoredDeletes::Positions { path, size_bytes } = &stored[0].stored else { panic!() };
    let bytes = fixture.storage.read(path).await.unwrap();
    assert_eq!(bytes.len() as u64, *size_bytes);
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let fields: Vec<_> = builder
        .parquet_schema()
        .root_schema()
        .get_fields()
        .iter()
        .map(|f| (f.name().to_string(), f.get_basic_info().id(), f.is_optional()))
        .collect();
    assert_eq!(fields, [("file_path".into(), 2_147_483_546, false), ("pos".into(), 2_147_483_545, false)]);
    let data_file = stored[0].file.path().to_string();
    let statistics = builder.metadata().row_group(0).column(0).statistics().unwrap().clone();
    assert_eq!(statistics.min_bytes_opt().unwrap(), data_file.as_bytes());
    assert_eq!(statistics.max_bytes_opt().unwrap(), data_file.as_bytes());
    let mut found = Vec::new();
    for batch in builder.build().unwrap() {
        let batch = batch.unwrap();
        let paths: ArrayRef = cast(batch.column(0), &DataType::Utf8).unwrap();
        assert!(paths.as_string::<i32>().iter().all(|path| path == Some(&data_file)));
        found.extend(batch.column(1).as_primitive::<Int64Type>().values().iter().map(|p| *p as u64));
    }
    assert_eq!(found, positions);

    let mut change = TableChange::new(Operation::Delete, vec![]);
    change.deletes = stored;
    let table = commit(&fixture, &table, &change).await;
    let (.., entry) =
        entries(&table).await.into_iter().find(|(.., f)| f.referenced_data_file().is_some()).unwrap();
    assert_eq!(entry.lower_bounds()[&FILE_PATH].to_string().trim_matches('"'), data_file);
    assert_eq!(entry.lower_bounds(), entry.upper_bounds());
    assert_eq!(entry.record_count(), 100_000);
}

#[tokio::test]
async fn a_vector_takes_the_place_of_position_delete_files_after_an_upgrade() {
    let fixture = Fixture::new();
    let staged = fixture.stage(&definition(&[], &[]));
    let added = vec![file(&staged, "a", 1..=10, vec![]), file(&staged, "b", 11..=30, vec![])];
    let table = fixture.commit(&staged, added).await;
    let table = mark(&fixture, &table, &[("a", &[1]), ("b", &[2])]).await;
    let of_v2 = stored(&fixture, &table, &[("b", &[7])]).await;
    let table = altered(&fixture, &table, |b| b.upgrade_format_version(FormatVersion::V3)).await;
    assert_eq!(table.format_version, "v3");

    // What was stored for the older version is refused.
    let mut stale = TableChange::new(Operation::Delete, vec![]);
    stale.deletes = of_v2;
    let error = fixture.try_change(&table, &stale).await.unwrap_err();
    assert!(matches!(error, crate::error::Error::Conflict { .. }), "{error}");

    let file = live(&table).await["a"].clone();
    assert_eq!(file.deletes.positions.len(), 1);
    let deletes = vec![RowDeletes {
        file,
        deleted: [4].into_iter().collect(),
        deleted_before: Some(Arc::new([1].into_iter().collect())),
    }];
    let written = WrittenFiles::new(fixture.storage.clone());
    let mut change = TableChange::new(Operation::Delete, vec![]);
    change.deletes = fixture.format.write_deletes(&table, deletes, &written).await.unwrap();
    written.keep();
    let table = commit(&fixture, &table, &change).await;
    let of_summary = summary(&table);
    assert_eq!(of_summary["removed-position-delete-files"], "1");
    assert_eq!(of_summary["added-dvs"], "1");
    assert_eq!(of_summary["added-position-deletes"], "2");
    let files = live(&table).await;
    assert!(files["a"].deletes.positions.is_empty());
    assert_eq!(files["a"].deletes.deletion_vector.as_ref().unwrap().cardinality, 2);
    assert_eq!(files["b"].deletes.positions.len(), 1);
    // The first commit of version 3 gives the rows from before their ids.
    let ids: Vec<_> = ["a", "b"].map(|name| files[name].file().unwrap().first_row_id).into();
    assert_eq!(ids, [Some(0), Some(10)]);
    assert_eq!(metadata(&table).unwrap().next_row_id(), 30);
}

#[tokio::test]
async fn many_delete_manifests_are_merged() {
    let fixture = Fixture::new();
    let properties = [("commit.manifest.min-count-to-merge", "4")];
    let mut table = fixture.create(&definition(&[], &properties)).await;
    table = fixture.commit(&table, vec![file(&table, "a", 1..=100, vec![])]).await;
    for position in 0..12 {
        table = mark(&fixture, &table, &[("a", &[position])]).await;
    }
    let files = live(&table).await;
    let mut sequences: Vec<i64> = files["a"].deletes.positions.iter().map(|d| d.sequence_number).collect();
    sequences.sort_unstable();
    assert_eq!(sequences, (2..14).collect::<Vec<_>>());
    let path = metadata(&table).unwrap().current_snapshot().unwrap().manifest_list().to_string();
    let caches = crate::format::iceberg::cache::Caches::default();
    let listing =
        crate::format::iceberg::manifests::listing(&fixture.storage, &caches, &path, FormatVersion::V2);
    assert!(listing.await.unwrap().manifests.len() < 6);
}
