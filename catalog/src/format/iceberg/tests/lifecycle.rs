//! Create, append, read back, lose a race.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Date32Type, Int32Type, Int64Type};
use datafusion::scalar::ScalarValue;

use super::fixture::{Fixture, column, definition, file};
use crate::backend::Backend;
use crate::error::Error;
use crate::format::iceberg::{find_metadata, metadata};
use crate::format::{CommitOutcome, Format};
use crate::table::definition::SortFieldDefinition;
use crate::table::{Operation, TableChange, TableVersion, Transform};

#[tokio::test]
async fn an_empty_table_has_no_snapshot() {
    let fixture = Fixture::new();
    let table = fixture.create(&definition(&[], &[("format-version", "1"), ("a", "b")])).await;
    assert!(matches!(&table.version, TableVersion::Iceberg { snapshot_id: None, .. }));
    assert_eq!(table.format_version, "v1");
    assert_eq!(table.properties["a"], "b");
    assert_eq!(table.properties["write.parquet.compression-codec"], "zstd");
    assert_eq!(table.location, fixture.location());
    assert!(table.files.index().await.unwrap().groups.is_empty());
    assert!(table.files.deletes().await.unwrap().is_empty());
    let found = find_metadata(&fixture.storage, &fixture.location()).await.unwrap().unwrap();
    assert!(
        matches!(&table.version, TableVersion::Iceberg { metadata_location, .. } if *metadata_location == found)
    );
}

#[tokio::test]
async fn appended_files_are_listed_with_their_statistics() {
    for version in ["1", "2", "3"] {
        let fixture = Fixture::new();
        let staged = fixture.stage(&definition(&[], &[("format-version", version)]));
        let table = fixture
            .commit(&staged, vec![file(&staged, "a", 1..=10, vec![]), file(&staged, "b", 11..=15, vec![])])
            .await;
        let table = fixture.commit(&table, vec![file(&table, "c", 16..=16, vec![])]).await;
        let index = table.files.index().await.unwrap();
        let (summary, numbers) = &index.groups[0];
        assert_eq!((index.groups.len(), summary.len, numbers.len()), (1, 2, 2));
        let (newest, oldest) =
            (table.files.file_list(0).await.unwrap(), table.files.file_list(1).await.unwrap());
        assert_eq!(newest.files[0].path, format!("{}/data/c.parquet", table.location));
        let sequences: Vec<i64> =
            newest.files.iter().chain(&oldest.files).map(|f| f.sequence_number).collect();
        assert_eq!(sequences, if version == "1" { [0, 0, 0] } else { [2, 1, 1] });
        let row_ids: Vec<Option<i64>> =
            oldest.files.iter().chain(&newest.files).map(|f| f.first_row_id).collect();
        let expected = if version == "3" { [Some(0), Some(10), Some(15)] } else { [None; 3] };
        assert_eq!(row_ids, expected);
        let ids = &oldest.stats.columns[&1];
        assert!(ids.exact);
        assert_eq!(ids.lower.as_primitive::<Int64Type>().values(), &[1, 11]);
        assert_eq!(ids.upper.as_primitive::<Int64Type>().values(), &[10, 15]);
        let names = &oldest.stats.columns[&2];
        assert!(!names.exact);
        assert_eq!(names.lower.as_string::<i32>().value(0), "a long string of");
        assert_eq!(names.upper.as_string::<i32>().value(0), "b long string og");
        assert_eq!(oldest.stats.columns[&3].nan_count.as_ref().unwrap().value(1), 2);
        assert!(!oldest.stats.columns.contains_key(&4));
        assert_eq!(oldest.stats.row_counts.value(0), 10);
    }
}

#[tokio::test]
async fn the_log_of_a_table_grows_as_the_spec_says() {
    let fixture = Fixture::new();
    let mut table = fixture.create(&definition(&[], &[("write.metadata.previous-versions-max", "2")])).await;
    for name in ["a", "b", "c"] {
        table = fixture.commit(&table, vec![file(&table, name, 1..=2, vec![])]).await;
    }
    let metadata = metadata(&table).unwrap();
    assert_eq!(metadata.last_sequence_number(), 3);
    assert_eq!(metadata.history().len(), 3);
    assert_eq!(metadata.metadata_log().len(), 2);
    let summary = &metadata.current_snapshot().unwrap().summary().additional_properties;
    assert_eq!(summary["total-records"], "6");
    assert_eq!(summary["added-records"], "2");
    assert_eq!(summary["changed-partition-count"], "1");
    assert_eq!(summary["engine-name"], "auric");
    let names = fixture.metadata_files();
    assert!(names.iter().any(|n| n.starts_with("00003-")), "{names:?}");
}

#[tokio::test]
async fn many_manifests_are_merged_without_changing_a_file() {
    for version in ["1", "2", "3"] {
        let fixture = Fixture::new();
        let properties = [("format-version", version), ("commit.manifest.min-count-to-merge", "3")];
        let mut table = fixture.create(&definition(&[("ts", Transform::Day)], &properties)).await;
        for (number, name) in ["a", "b", "c", "d", "e"].iter().enumerate() {
            let day = ScalarValue::Date32(Some(number as i32));
            table = fixture.commit(&table, vec![file(&table, name, 1..=10, vec![day])]).await;
        }
        let index = table.files.index().await.unwrap();
        let numbers = &index.groups[0].1;
        assert!(numbers.len() < 4, "{numbers:?}");
        let mut found = Vec::new();
        for number in numbers {
            let list = table.files.file_list(*number).await.unwrap();
            let days = list.stats.partitions[0].lower.as_primitive::<Date32Type>();
            for (file, day) in list.files.iter().zip(days.values()) {
                let name = file.path.rsplit('/').next().unwrap().to_string();
                found.push((name, *day, file.sequence_number, file.first_row_id));
            }
        }
        found.sort();
        let expected: Vec<_> = ["a", "b", "c", "d", "e"]
            .iter()
            .zip(0i32..)
            .map(|(name, n)| {
                let sequence = if version == "1" { 0 } else { i64::from(n) + 1 };
                let row_id = (version == "3").then(|| i64::from(n) * 10);
                (format!("{name}.parquet"), n, sequence, row_id)
            })
            .collect();
        assert_eq!(found, expected);
        let metadata = metadata(&table).unwrap();
        assert_eq!(metadata.next_row_id(), if version == "3" { 50 } else { 0 });
    }
}

#[tokio::test]
async fn partition_values_and_their_summaries() {
    let partitioning = [
        ("ts", Transform::Day),
        ("id", Transform::Bucket(16)),
        ("name", Transform::Truncate(4)),
        ("score", Transform::Identity),
    ];
    let fixture = Fixture::new();
    let staged = fixture.stage(&definition(&partitioning, &[]));
    let names: Vec<&str> = staged.default_spec.fields.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["ts_day", "id_bucket", "name_trunc", "score"]);
    let values = |day, bucket| {
        vec![
            ScalarValue::Date32(day),
            ScalarValue::Int32(Some(bucket)),
            ScalarValue::Utf8View(Some("abcd".into())),
            ScalarValue::Float64(Some(0.5)),
        ]
    };
    let added = vec![
        file(&staged, "a", 1..=2, values(Some(100), 3)),
        file(&staged, "b", 3..=4, values(Some(200), 1)),
        file(&staged, "c", 5..=6, values(None, 2)),
    ];
    let table = fixture.commit(&staged, added).await;
    let index = table.files.index().await.unwrap();
    let summary = &index.groups[0].0;
    let day = &summary.partitions[0];
    assert_eq!(day.lower.as_primitive::<Date32Type>().value(0), 100);
    assert_eq!(day.upper.as_primitive::<Date32Type>().value(0), 200);
    assert_eq!(day.may_contain_null, [true]);
    assert_eq!(summary.partitions[1].may_contain_null, [false]);
    assert_eq!(summary.row_counts.value(0), 6);
    let list = table.files.file_list(0).await.unwrap();
    let day = &list.stats.partitions[0];
    assert!(day.lower.is_null(2) && day.upper.is_null(2));
    assert_eq!(day.may_contain_null, [false, false, true]);
    assert_eq!(list.stats.partitions[1].lower.as_primitive::<Int32Type>().values(), &[3, 1, 2]);
    assert_eq!(list.stats.partitions[2].lower.data_type(), &DataType::Utf8);
    for (field, bounds) in list.spec().fields.iter().zip(&list.stats.partitions) {
        assert_eq!(&field.result_type, bounds.lower.data_type());
    }
}

#[tokio::test]
async fn losing_a_race_is_a_conflict_that_leaves_nothing() {
    let fixture = Fixture::new();
    let base = fixture.create(&definition(&[], &[])).await;
    fixture.commit(&base, vec![file(&base, "a", 1..=2, vec![])]).await;
    let before = fixture.metadata_files();
    match fixture.try_commit(&base, vec![file(&base, "b", 1..=2, vec![])]).await.unwrap() {
        CommitOutcome::Conflict { winner } => assert!(winner.starts_with("append by auric"), "{winner}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(fixture.metadata_files(), before);
}

#[tokio::test]
async fn an_unknown_outcome_keeps_every_file_and_can_be_looked_up() {
    let fixture = Fixture::new();
    let creation = TableChange::new(Operation::Create, vec![]);
    let staged = fixture.stage(&definition(&[], &[]));
    let created = match fixture.try_change(&staged, &creation).await.unwrap() {
        CommitOutcome::Committed(version) => version,
        other => panic!("{other:?}"),
    };
    let base = fixture.reload().await;
    *fixture.backend.lose_next_answer.lock() = true;
    let change = TableChange::new(Operation::Append, vec![file(&base, "a", 1..=2, vec![])]);
    assert!(matches!(fixture.try_change(&base, &change).await.unwrap(), CommitOutcome::Unknown(_)));
    let appended = fixture.reload().await;
    assert_eq!(appended.files.file_list(0).await.unwrap().files.len(), 1);
    fixture.commit(&appended, vec![file(&appended, "b", 1..=2, vec![])]).await;
    let entry = fixture.backend.table(&fixture.ident).await.unwrap().unwrap();
    let find = async |id: &str| fixture.format.find_commit(&fixture.storage, &entry, id).await.unwrap();
    assert_eq!(find(creation.commit_id().unwrap()).await, Some(created));
    assert_eq!(find(change.commit_id().unwrap()).await, Some(appended.version.clone()));
    assert_eq!(find(TableChange::new(Operation::Append, vec![]).commit_id().unwrap()).await, None);
}

#[tokio::test]
async fn an_append_of_nothing_makes_no_version() {
    let fixture = Fixture::new();
    let table = fixture.create(&definition(&[], &[])).await;
    let before = fixture.metadata_files();
    assert_eq!(fixture.commit(&table, vec![]).await.version, table.version);
    assert_eq!(fixture.metadata_files(), before);
}

#[tokio::test]
async fn a_table_is_created_once() {
    let fixture = Fixture::new();
    let staged = fixture.stage(&definition(&[], &[]));
    fixture.commit(&staged, vec![]).await;
    let before = fixture.metadata_files();
    let again = fixture.try_commit(&staged, vec![file(&staged, "a", 1..=2, vec![])]).await;
    assert!(matches!(again, Err(Error::TableExists(_))));
    assert_eq!(fixture.metadata_files(), before);
}

#[tokio::test]
async fn compressed_metadata_is_written_and_read() {
    let fixture = Fixture::new();
    let table = fixture.create(&definition(&[], &[("write.metadata.compression-codec", "gzip")])).await;
    assert!(matches!(
        &table.version,
        TableVersion::Iceberg { metadata_location, .. } if metadata_location.ends_with(".gz.metadata.json")
    ));
    let table = fixture.commit(&table, vec![file(&table, "a", 1..=2, vec![])]).await;
    assert_eq!(table.files.file_list(0).await.unwrap().files.len(), 1);
}

#[test]
fn definitions_that_make_no_sense_are_refused() {
    let fixture = Fixture::new();
    let refused = |definition| fixture.format.stage(&fixture.ident, &definition, "file:///t").unwrap_err();
    assert!(matches!(refused(definition(&[], &[("format-version", "4")])), Error::Invalid(_)));
    assert!(matches!(refused(definition(&[("nope", Transform::Day)], &[])), Error::ColumnNotFound { .. }));
    assert!(matches!(refused(definition(&[("name", Transform::Day)], &[])), Error::Invalid(_)));
    assert!(matches!(refused(definition(&[("id", Transform::Bucket(0))], &[])), Error::Invalid(_)));
    let twice = [("id", Transform::Bucket(2)), ("id", Transform::Bucket(4))];
    assert!(matches!(refused(definition(&twice, &[])), Error::Invalid(_)));
    let mut keyed = definition(&[], &[]);
    keyed.key_columns = vec!["score".into()];
    assert!(matches!(refused(keyed), Error::Invalid(_)));
    let mut by_uuids = definition(&[("u", Transform::Identity), ("w", Transform::Identity)], &[]);
    by_uuids.columns.extend(["u", "w"].map(|name| column(name, DataType::FixedSizeBinary(16))));
    assert!(matches!(refused(by_uuids), Error::Unsupported { .. }));
    let mut double = definition(&[], &[]);
    double.columns.push(double.columns[0].clone());
    assert!(matches!(refused(double), Error::Invalid(_)));
}

#[test]
fn keys_are_required_and_sort_orders_kept() {
    let fixture = Fixture::new();
    let mut wanted = definition(&[], &[]);
    wanted.key_columns = vec!["id".into()];
    wanted.sorting = vec![SortFieldDefinition {
        column: "ts".into(),
        transform: Transform::Identity,
        descending: true,
        nulls_first: false,
    }];
    let staged = fixture.stage(&wanted);
    assert_eq!(staged.schema.identifier_field_ids, [1]);
    assert!(!staged.schema.arrow.field(0).is_nullable());
    assert_eq!((staged.sort_order.order_id, staged.sort_order.fields[0].source_id), (1, 4));
    assert!(staged.sort_order.fields[0].descending);
    assert_eq!(staged.version, TableVersion::Unpublished);
}
