//! Delete manifests as other engines write them, and what they apply to.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;
use iceberg::io::FileIO;
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, FormatVersion, Literal, Manifest,
    ManifestContentType, ManifestFile, ManifestWriterBuilder, Struct,
};

use super::fixture::{Fixture, definition, storage};
use crate::error::Error;
use crate::format::iceberg::data_manifest;
use crate::format::iceberg::delete_manifest::{DeleteManifest, convert, index};
use crate::format::iceberg::metadata;
use crate::format::iceberg::partition::bind_specs;
use crate::table::deletes::{DeleteIndex, FileDeletes};
use crate::table::{LiveFile, TableSnapshot, Transform};

fn delete(content: DataContentType, format: DataFileFormat, path: &str, day: Option<i32>) -> DataFileBuilder {
    let mut builder = DataFileBuilder::default();
    builder
        .content(content)
        .file_path(path.to_string())
        .file_format(format)
        .partition(Struct::from_iter([day.map(Literal::date)]))
        .record_count(3)
        .file_size_in_bytes(100);
    builder
}

async fn written(table: &TableSnapshot, folder: &str, deletes: Vec<DataFile>) -> (ManifestFile, Manifest) {
    let metadata = metadata(table).unwrap();
    assert_eq!(metadata.format_version(), FormatVersion::V3);
    let path = format!("{folder}/{}.avro", uuid::Uuid::new_v4());
    let spec = metadata.default_partition_spec().as_ref().clone();
    let output = FileIO::new_with_fs().new_output(&path).unwrap();
    let schema = metadata.current_schema().clone();
    let mut writer = ManifestWriterBuilder::new(output, Some(1), schema, spec).build_v3_deletes();
    for delete in deletes {
        writer.add_file(delete, -1).unwrap();
    }
    let mut file = writer.write_manifest_file().await.unwrap();
    assert_eq!(file.content, ManifestContentType::Deletes);
    file.sequence_number = 5;
    let manifest = Manifest::parse_avro(&storage().read(&path).await.unwrap()).unwrap();
    (file, manifest)
}

async fn written_data(table: &TableSnapshot, folder: &str, files: Vec<DataFile>) -> (ManifestFile, Manifest) {
    let metadata = metadata(table).unwrap();
    let path = format!("{folder}/{}.avro", uuid::Uuid::new_v4());
    let spec = metadata.default_partition_spec().as_ref().clone();
    let output = FileIO::new_with_fs().new_output(&path).unwrap();
    let schema = metadata.current_schema().clone();
    let mut writer = ManifestWriterBuilder::new(output, Some(1), schema, spec).build_v3_data();
    for file in files {
        writer.add_file(file, 1).unwrap();
    }
    let file = writer.write_manifest_file().await.unwrap();
    (file, Manifest::parse_avro(&storage().read(&path).await.unwrap()).unwrap())
}

async fn convert_all(partitioned: bool, deletes: Vec<DataFile>) -> Result<DeleteManifest, Error> {
    let fixture = Fixture::new();
    let partitioning = [("ts", Transform::Day)];
    let partitioning = if partitioned { &partitioning[..] } else { &[] };
    let table = fixture.stage(&definition(partitioning, &[("format-version", "3")]));
    let (file, manifest) = written(&table, &fixture.location(), deletes).await;
    let bound = bind_specs(metadata(&table).unwrap()).unwrap().remove(0);
    convert(&file, &manifest, &bound)
}

fn data_file(path: &str, sequence_number: i64) -> crate::table::DataFile {
    crate::table::DataFile {
        path: path.into(),
        size_bytes: 1,
        record_count: Some(10),
        sequence_number,
        first_row_id: None,
        deletion_vector: None,
        sort_order_id: None,
        split_offsets: Vec::new(),
    }
}

fn counts(index: &DeleteIndex, path: &str, sequence: i64, day: i32) -> (bool, usize, usize) {
    let partition = (0, vec![ScalarValue::Date32(Some(day))]);
    let found = index.for_file(&data_file(path, sequence), &partition);
    (found.deletion_vector.is_some(), found.positions.len(), found.equality.len())
}

#[tokio::test]
async fn deletes_apply_by_path_partition_and_sequence() {
    use DataContentType::{EqualityDeletes, PositionDeletes};
    use DataFileFormat::{Parquet, Puffin};
    let bounds = |path: &str| HashMap::from([(2_147_483_546, Datum::string(path))]);
    let deletes = vec![
        delete(PositionDeletes, Parquet, "by-partition", Some(7)).build().unwrap(),
        delete(PositionDeletes, Parquet, "by-name", Some(7))
            .referenced_data_file(Some("a".into()))
            .build()
            .unwrap(),
        delete(PositionDeletes, Parquet, "by-bounds", Some(7))
            .lower_bounds(bounds("b"))
            .upper_bounds(bounds("b"))
            .build()
            .unwrap(),
        delete(PositionDeletes, Puffin, "vector", Some(7))
            .referenced_data_file(Some("v".into()))
            .content_offset(Some(4))
            .content_size_in_bytes(Some(40))
            .build()
            .unwrap(),
        delete(EqualityDeletes, Parquet, "equality", Some(8)).equality_ids(Some(vec![1])).build().unwrap(),
    ];
    let index = index(&[Arc::new(convert_all(true, deletes).await.unwrap())]).unwrap();
    assert_eq!(counts(&index, "a", 5, 7), (false, 2, 0));
    assert_eq!(counts(&index, "b", 1, 7), (false, 2, 0));
    assert_eq!(counts(&index, "c", 5, 7), (false, 1, 0));
    assert_eq!(counts(&index, "c", 6, 7), (false, 0, 0));
    // The vector supersedes position deletes, but not of a file that is newer.
    assert_eq!(counts(&index, "v", 5, 7), (true, 0, 0));
    assert_eq!(counts(&index, "v", 6, 7), (false, 0, 0));
    // Equality deletes apply to strictly older files of the partition.
    assert_eq!(counts(&index, "d", 4, 8), (false, 0, 1));
    assert_eq!(counts(&index, "d", 5, 8), (false, 0, 0));
    assert_eq!(counts(&index, "d", 4, 9), (false, 0, 0));
}

#[tokio::test]
async fn partitions_by_a_column_that_is_gone_stay_apart() {
    let fixture = Fixture::new();
    let table = fixture.stage(&definition(&[("ts", Transform::Day)], &[("format-version", "3")]));
    // What is left of the spec once no schema of the table has its source column.
    let mut bound = bind_specs(metadata(&table).unwrap()).unwrap().remove(0);
    let mut spec = bound.spec.as_ref().clone();
    (spec.fields[0].result_type, bound.types[0]) = (DataType::Null, None);
    spec.fields[0].transform = Transform::Unknown("day".into());
    bound.spec = Arc::new(spec);

    let equality = |path: &str, day| {
        delete(DataContentType::EqualityDeletes, DataFileFormat::Parquet, path, day)
            .equality_ids(Some(vec![1]))
            .build()
            .unwrap()
    };
    let deletes = vec![equality("of-7", Some(7)), equality("of-null", None)];
    let (file, manifest) = written(&table, &fixture.location(), deletes).await;
    let index = index(&[Arc::new(convert(&file, &manifest, &bound).unwrap())]).unwrap();

    let day = |day: Option<i32>| {
        delete(DataContentType::Data, DataFileFormat::Parquet, "data", day).build().unwrap()
    };
    let (mut file, manifest) =
        written_data(&table, &fixture.location(), vec![day(Some(7)), day(Some(8)), day(None)]).await;
    file.sequence_number = 1;
    let list = data_manifest::convert(&file, &manifest, &bound).unwrap().list;
    let deleted = (0..3).map(|row| {
        let file = LiveFile { list: list.clone(), row, deletes: FileDeletes::default() };
        let found = index.for_file(&list.files[row], &(0, file.partition().unwrap()));
        found.equality.iter().map(|d| d.path.clone()).collect::<Vec<_>>()
    });
    assert_eq!(deleted.collect::<Vec<_>>(), [vec!["of-7".to_string()], vec![], vec!["of-null".to_string()]]);
}

#[tokio::test]
async fn equality_deletes_of_an_unpartitioned_spec_are_global() {
    let global = DataFileBuilder::default()
        .content(DataContentType::EqualityDeletes)
        .file_path("equality".to_string())
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::empty())
        .record_count(3)
        .file_size_in_bytes(100)
        .equality_ids(Some(vec![1]))
        .build()
        .unwrap();
    let index = index(&[Arc::new(convert_all(false, vec![global]).await.unwrap())]).unwrap();
    assert_eq!(counts(&index, "any", 4, 1), (false, 0, 1));
}

#[tokio::test]
async fn broken_deletes_are_refused() {
    use DataContentType::{EqualityDeletes, PositionDeletes};
    let vector = |path: &str| {
        delete(PositionDeletes, DataFileFormat::Puffin, path, None)
            .referenced_data_file(Some("v".into()))
            .content_offset(Some(4))
            .content_size_in_bytes(Some(40))
            .build()
            .unwrap()
    };
    let twice = convert_all(true, vec![vector("x"), vector("y")]).await.unwrap();
    assert!(matches!(index(&[Arc::new(twice)]), Err(Error::Corrupt { .. })));
    let cases = [
        delete(PositionDeletes, DataFileFormat::Puffin, "no-offset", None).build().unwrap(),
        delete(EqualityDeletes, DataFileFormat::Parquet, "no-ids", None).build().unwrap(),
    ];
    for case in cases {
        assert!(matches!(convert_all(true, vec![case]).await, Err(Error::Corrupt { .. })));
    }
    let avro = delete(PositionDeletes, DataFileFormat::Avro, "avro", None).build().unwrap();
    assert!(matches!(convert_all(true, vec![avro]).await, Err(Error::Unsupported { .. })));
}
