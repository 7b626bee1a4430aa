//! Removing and marking files of tables that were not always as they are.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Literal, NestedField, Operation,
    PrimitiveType, Schema, Struct, Type, UnboundPartitionSpec,
};

use super::changes::{altered, commit, entries, live, mark, remove, summary};
use super::fixture::{Fixture, column, definition, file};
use crate::format::iceberg::cache::Caches;
use crate::format::iceberg::metadata;
use crate::format::iceberg::partition::bind_specs;
use crate::format::iceberg::snapshot_producer::{FileChanges, SnapshotProducer};
use crate::table::{Operation as Statement, TableChange, TableSnapshot, Transform};

fn day(n: i32) -> Vec<ScalarValue> {
    vec![ScalarValue::Date32(Some(n))]
}

fn schema(table: &TableSnapshot, change: impl Fn(&NestedField) -> Option<NestedField>) -> Schema {
    let fields = metadata(table).unwrap().current_schema().as_struct().fields().to_vec();
    let fields = fields.iter().filter_map(|field| change(field).map(Arc::new));
    Schema::builder().with_fields(fields).build().unwrap()
}

#[tokio::test]
async fn files_of_older_specs_keep_their_partition() {
    for version in ["2", "3"] {
        let fixture = Fixture::new();
        let staged = fixture.stage(&definition(&[("ts", Transform::Day)], &[("format-version", version)]));
        let added = vec![file(&staged, "a", 1..=10, day(1)), file(&staged, "b", 1..=10, day(2))];
        let table = fixture.commit(&staged, added).await;
        let unpartitioned = UnboundPartitionSpec::builder().build();
        let table = altered(&fixture, &table, |b| b.add_default_partition_spec(unpartitioned)).await;
        let table = fixture.commit(&table, vec![file(&table, "c", 1..=10, vec![])]).await;
        let table = mark(&fixture, &table, &[("a", &[1]), ("c", &[2])]).await;
        assert_eq!(summary(&table)["changed-partition-count"], "2");

        // Nobody partitions by it any more, and the column goes.
        let without = schema(&table, |f| (f.name != "ts").then(|| f.clone()));
        let table = altered(&fixture, &table, |b| b.add_current_schema(without)).await;
        assert_eq!(table.schema.arrow.fields().len(), 3);
        let table = mark(&fixture, &table, &[("a", &[2]), ("b", &[1]), ("c", &[3])]).await;
        let table = remove(&fixture, &table, &["b"]).await;
        let files = live(&table).await;
        assert_eq!(files.keys().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(files["a"].partition().unwrap(), day(1));
        assert!(files["c"].partition().unwrap().is_empty());
        for (name, count) in [("a", 2), ("c", 2)] {
            let deletes = &files[name].deletes;
            match &deletes.deletion_vector {
                Some(vector) => assert_eq!((version, vector.cardinality), ("3", count)),
                None => assert_eq!((version, deletes.positions.len() as u64), ("2", count)),
            }
        }
        let of_a = entries(&table).await.into_iter().filter(|(.., file)| {
            file.file_path() == files["a"].path()
                || file.referenced_data_file().as_deref() == Some(files["a"].path())
        });
        let expected = Struct::from_iter([Some(Literal::date(1))]);
        assert!(of_a.map(|(.., file)| file.partition().clone()).all(|partition| partition == expected));
    }
}

#[tokio::test]
async fn partition_values_of_a_promoted_column_stay_readable() {
    let fixture = Fixture::new();
    let mut wanted = definition(&[("n", Transform::Identity)], &[]);
    wanted.columns.push(column("n", DataType::Int32));
    let staged = fixture.stage(&wanted);
    let n = |n| vec![ScalarValue::Int32(Some(n))];
    let added = vec![file(&staged, "a", 1..=10, n(1)), file(&staged, "b", 1..=10, n(2))];
    let table = fixture.commit(&staged, added).await;
    let promoted = schema(&table, |f| {
        let field_type = match f.name.as_str() {
            "n" => Type::Primitive(PrimitiveType::Long),
            _ => f.field_type.as_ref().clone(),
        };
        Some(NestedField::optional(f.id, &f.name, field_type))
    });
    let table = altered(&fixture, &table, |b| b.add_current_schema(promoted)).await;
    let mut overwrite = TableChange::new(
        Statement::Overwrite,
        vec![file(&table, "c", 1..=10, vec![ScalarValue::Int64(Some(1 << 40))])],
    );
    overwrite.removed = vec![live(&table).await["a"].clone()];
    let table = commit(&fixture, &table, &overwrite).await;
    let table = mark(&fixture, &table, &[("b", &[1]), ("c", &[1])]).await;
    let files = live(&table).await;
    let long = |n| vec![ScalarValue::Int64(Some(n))];
    assert_eq!(files["b"].partition().unwrap(), long(2));
    assert_eq!(files["c"].partition().unwrap(), long(1 << 40));
    assert!(files.values().all(|file| file.deletes.positions.len() == 1));
}

fn partition_delete(content: DataContentType, path: &str) -> DataFile {
    let mut builder = DataFileBuilder::default();
    builder
        .content(content)
        .file_path(path.to_string())
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::from_iter([Some(Literal::date(1))]))
        .record_count(3)
        .file_size_in_bytes(100)
        .equality_ids((content == DataContentType::EqualityDeletes).then(|| vec![1]))
        .column_sizes(HashMap::new());
    builder.build().unwrap()
}

#[tokio::test]
async fn deletes_of_a_partition_stay_until_no_file_is_left() {
    let fixture = Fixture::new();
    let staged = fixture.stage(&definition(&[("ts", Transform::Day)], &[]));
    let added = vec![file(&staged, "a", 1..=10, day(1)), file(&staged, "b", 1..=10, day(1))];
    let table = fixture.commit(&staged, added).await;
    let before = metadata(&table).unwrap();
    let specs = bind_specs(before).unwrap().into_iter().map(|bound| (bound.spec.spec_id, bound)).collect();
    let caches = Arc::new(Caches::default());
    let mut producer = SnapshotProducer::new("t".into(), &fixture.storage, &caches, before, specs);
    let deletes = [DataContentType::PositionDeletes, DataContentType::EqualityDeletes];
    let changes = FileChanges {
        operation: Operation::Delete,
        added: BTreeMap::new(),
        added_deletes: BTreeMap::from([(
            0,
            deletes.map(|c| partition_delete(c, &format!("/{c:?}"))).to_vec(),
        )]),
        removed: &[],
        marked: &[],
        summary: BTreeMap::new(),
    };
    let snapshot = producer.produce(changes).await.unwrap();
    let table = altered(&fixture, &table, |b| b.set_branch_snapshot(snapshot, "main")).await;
    let table = remove(&fixture, &table, &["a"]).await;
    let of_b = &live(&table).await["b"].deletes;
    assert_eq!((of_b.positions.len(), of_b.equality.len()), (1, 1));
    let table = remove(&fixture, &table, &["b"]).await;
    assert!(table.files.deletes().await.unwrap().is_empty());
    let of_summary = summary(&table);
    assert_eq!(of_summary["removed-equality-deletes"], "3");
    assert_eq!(of_summary["removed-delete-files"], "2");
    assert_eq!(of_summary["total-equality-deletes"], "0");
}

#[tokio::test]
async fn truncating_takes_everything_away() {
    for version in ["1", "2", "3"] {
        let fixture = Fixture::new();
        let staged = fixture.stage(&definition(&[("ts", Transform::Day)], &[("format-version", version)]));
        let mut table = fixture.commit(&staged, vec![file(&staged, "f0", 1..=10, day(0))]).await;
        for n in 1..30 {
            table = fixture.commit(&table, vec![file(&table, &format!("f{n}"), 1..=10, day(n))]).await;
        }
        if version != "1" {
            table = mark(&fixture, &table, &[("f3", &[1]), ("f7", &[2])]).await;
        }
        let mut truncate = TableChange::new(Statement::Truncate, vec![]);
        truncate.removed = live(&table).await.into_values().collect();
        let table = commit(&fixture, &table, &truncate).await;
        let of_summary = summary(&table);
        assert_eq!(of_summary["operation"], "delete");
        assert_eq!((&*of_summary["deleted-data-files"], &*of_summary["deleted-records"]), ("30", "300"));
        assert!(of_summary.iter().filter(|(key, _)| key.starts_with("total-")).all(|(_, n)| n == "0"));
        assert_eq!(
            of_summary.get("removed-delete-files").map(String::as_str),
            (version != "1").then_some("2")
        );
        assert!(live(&table).await.is_empty());
    }
}
