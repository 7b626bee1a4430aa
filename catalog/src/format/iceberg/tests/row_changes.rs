//! Files removed and rows deleted: what manifests, deletes and totals say after each commit.

use std::sync::Arc;

use datafusion::scalar::ScalarValue;
use iceberg::spec::{ManifestContentType, ManifestStatus};
use roaring::RoaringTreemap;

use super::changes::{change, commit, entries, live, mark, remove, stored, summary};
use super::fixture::{Fixture, definition, file};
use crate::error::Error;
use crate::format::Format;
use crate::format::iceberg::metadata;
use crate::table::deletes::RowDeletes;
use crate::table::{Operation, TableSnapshot, Transform, deletion_vector};
use crate::write::WrittenFiles;

/// The entries of a summary but for its totals, which are checked after every commit.
fn changes(table: &TableSnapshot) -> Vec<(String, String)> {
    summary(table).into_iter().filter(|(key, _)| !key.starts_with("total-")).collect()
}

fn expected<const N: usize>(entries: [(&str, &str); N]) -> Vec<(String, String)> {
    let mut entries: Vec<_> = entries.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    entries.sort();
    entries
}

/// Names of the data files whose entries have this status, and of the data files that delete entries
/// with it are for.
async fn with_status(table: &TableSnapshot, status: ManifestStatus) -> (Vec<String>, Vec<String>) {
    let (mut data, mut deletes) = (Vec::new(), Vec::new());
    let current = metadata(table).unwrap().current_snapshot_id().unwrap();
    for (content, snapshot, of_entry, file) in entries(table).await {
        // Manifests that stay as they are list what an earlier snapshot added.
        if of_entry != status || (status == ManifestStatus::Added && snapshot != current) {
            continue;
        }
        assert_eq!(snapshot == current, status != ManifestStatus::Existing, "{}", file.file_path());
        let (list, path) = match content {
            ManifestContentType::Data => (&mut data, file.file_path().to_string()),
            ManifestContentType::Deletes => (&mut deletes, file.referenced_data_file().unwrap()),
        };
        list.push(path.rsplit('/').next().unwrap().trim_end_matches(".parquet").to_string());
    }
    data.sort();
    deletes.sort();
    (data, deletes)
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

async fn two_appends(fixture: &Fixture, version: &str) -> Arc<TableSnapshot> {
    let staged = fixture.stage(&definition(&[], &[("format-version", version)]));
    let first = vec![file(&staged, "a", 1..=10, vec![]), file(&staged, "b", 11..=30, vec![])];
    let table = fixture.commit(&staged, first).await;
    fixture.commit(&table, vec![file(&table, "c", 31..=35, vec![])]).await
}

#[tokio::test]
async fn removed_files_leave_their_manifest_and_nothing_else_changes() {
    for version in ["1", "2", "3"] {
        let fixture = Fixture::new();
        let table = two_appends(&fixture, version).await;
        let before = live(&table).await;
        let mut overwrite = change(Operation::Overwrite, vec![file(&table, "d", 1..=7, vec![])]);
        overwrite.removed = vec![before["a"].clone()];
        let table = commit(&fixture, &table, &overwrite).await;
        assert_eq!(
            changes(&table),
            expected([
                ("operation", "overwrite"),
                ("added-data-files", "1"),
                ("added-records", "7"),
                ("added-files-size", "1000"),
                ("deleted-data-files", "1"),
                ("deleted-records", "10"),
                ("removed-files-size", "1000"),
                ("changed-partition-count", "1"),
            ])
        );
        assert_eq!(with_status(&table, ManifestStatus::Deleted).await.0, names(&["a"]));
        assert_eq!(with_status(&table, ManifestStatus::Existing).await.0, names(&["b"]));
        let after = live(&table).await;
        assert_eq!(after.keys().cloned().collect::<Vec<_>>(), names(&["b", "c", "d"]));
        for name in ["b", "c"] {
            let (was, is) = (before[name].file().unwrap(), after[name].file().unwrap());
            assert_eq!((was.sequence_number, was.first_row_id), (is.sequence_number, is.first_row_id));
        }
        // 35 rows were there; the rewritten manifest takes no ids, the new file takes seven.
        let d = after["d"].file().unwrap();
        let (sequence, row_id) = if version == "1" { (0, None) } else { (3, (version == "3").then_some(35)) };
        assert_eq!((d.sequence_number, d.first_row_id), (sequence, row_id));
        assert_eq!(metadata(&table).unwrap().next_row_id(), if version == "3" { 42 } else { 0 });

        let table = remove(&fixture, &table, &["b"]).await;
        assert_eq!(summary(&table)["operation"], "delete");
        assert_eq!(with_status(&table, ManifestStatus::Deleted).await.0, names(&["b"]));
        // The manifest that listed only `b` any more said so once.
        let table = remove(&fixture, &table, &["c"]).await;
        assert_eq!(with_status(&table, ManifestStatus::Deleted).await.0, names(&["c"]));
        let table = remove(&fixture, &table, &["d"]).await;
        assert!(live(&table).await.is_empty());
        assert_eq!(summary(&table)["total-records"], "0");
        let table = fixture.commit(&table, vec![file(&table, "e", 1..=2, vec![])]).await;
        assert_eq!(entries(&table).await.len(), 1);
    }
}

#[tokio::test]
async fn deletion_vectors_replace_one_another_and_go_with_their_file() {
    let fixture = Fixture::new();
    let table = two_appends(&fixture, "3").await;
    let table = mark(&fixture, &table, &[("a", &[1, 2]), ("b", &[0, 19])]).await;
    let sizes = |table| async move {
        let entries = entries(table).await;
        entries.iter().filter_map(|(.., file)| file.content_size_in_bytes()).sum::<i64>().to_string()
    };
    assert_eq!(
        changes(&table),
        expected([
            ("operation", "delete"),
            ("added-delete-files", "2"),
            ("added-dvs", "2"),
            ("added-position-deletes", "4"),
            ("added-files-size", &sizes(&table).await),
            ("changed-partition-count", "1"),
        ])
    );
    let files = live(&table).await;
    let vectors = ["a", "b"].map(|name| files[name].deletes.deletion_vector.clone().unwrap());
    assert_ne!(vectors[0], vectors[1]);
    assert!(files["c"].deletes.is_empty());

    let table = mark(&fixture, &table, &[("a", &[3]), ("c", &[4])]).await;
    assert_eq!(with_status(&table, ManifestStatus::Deleted).await.1, names(&["a"]));
    assert_eq!(with_status(&table, ManifestStatus::Existing).await.1, names(&["b"]));
    assert_eq!(with_status(&table, ManifestStatus::Added).await.1, names(&["a", "c"]));
    let of_summary = summary(&table);
    assert_eq!((&*of_summary["removed-dvs"], &*of_summary["removed-position-deletes"]), ("1", "2"));
    assert_eq!((&*of_summary["added-dvs"], &*of_summary["added-position-deletes"]), ("2", "4"));
    let vector = live(&table).await["a"].deletes.deletion_vector.clone().unwrap();
    let deleted = deletion_vector::load(&fixture.storage, &vector).await.unwrap();
    assert_eq!(deleted, [1, 2, 3].into_iter().collect::<RoaringTreemap>());

    let table = remove(&fixture, &table, &["b"]).await;
    let deleted = with_status(&table, ManifestStatus::Deleted).await;
    assert_eq!(deleted, (names(&["b"]), names(&["b"])));
    assert_eq!(summary(&table)["removed-dvs"], "1");

    let table = remove(&fixture, &table, &["a", "c"]).await;
    assert_eq!(summary(&table)["total-position-deletes"], "0");
    assert!(table.files.deletes().await.unwrap().is_empty());
    assert_eq!(metadata(&table).unwrap().next_row_id(), 35);
}

#[tokio::test]
async fn position_delete_files_add_up_and_go_with_their_file() {
    let fixture = Fixture::new();
    let staged = fixture.stage(&definition(&[("ts", Transform::Day)], &[]));
    let day = |n| vec![ScalarValue::Date32(Some(n))];
    let added = vec![file(&staged, "a", 1..=10, day(1)), file(&staged, "b", 11..=30, day(2))];
    let table = fixture.commit(&staged, added).await;
    let table = mark(&fixture, &table, &[("a", &[1, 2]), ("b", &[0])]).await;
    let of_summary = summary(&table);
    assert_eq!(of_summary["operation"], "delete");
    assert_eq!(of_summary["added-position-delete-files"], "2");
    assert_eq!(of_summary["added-position-deletes"], "3");
    assert_eq!(of_summary["changed-partition-count"], "2");
    assert!(!of_summary.contains_key("added-dvs"));
    let table = mark(&fixture, &table, &[("a", &[5])]).await;
    let files = live(&table).await;
    assert_eq!((files["a"].deletes.positions.len(), files["b"].deletes.positions.len()), (2, 1));
    let deletes = &files["a"].deletes.positions;
    assert!(deletes.iter().all(|d| d.referenced_data_file.as_deref() == Some(files["a"].path())));
    assert!(deletes.iter().all(|d| d.path.contains("/data/ts_day=1970-01-02/")), "{deletes:?}");
    let partitions: Vec<_> =
        entries(&table).await.into_iter().map(|(.., file)| file.partition().clone()).collect();
    assert_eq!(partitions.len(), 5);

    let table = remove(&fixture, &table, &["a"]).await;
    assert_eq!(summary(&table)["removed-position-delete-files"], "2");
    assert_eq!(summary(&table)["removed-position-deletes"], "3");
    assert_eq!(live(&table).await["b"].deletes.positions.len(), 1);
    let table = remove(&fixture, &table, &["b"]).await;
    assert!(table.files.deletes().await.unwrap().is_empty());
}

#[tokio::test]
async fn files_that_are_gone_or_marked_meanwhile_are_a_conflict_that_leaves_nothing() {
    let fixture = Fixture::new();
    let base = two_appends(&fixture, "3").await;
    let files = live(&base).await;
    let stale = stored(&fixture, &base, &[("b", &[3])]).await;
    let current = mark(&fixture, &base, &[("b", &[7])]).await;
    let current = remove(&fixture, &current, &["a"]).await;
    let before = fixture.metadata_files();
    let mut removing = change(Operation::Overwrite, vec![file(&base, "d", 1..=2, vec![])]);
    removing.removed = vec![files["a"].clone()];
    let mut marking = change(Operation::Update, vec![]);
    marking.deletes = stale;
    for (change, reason) in [(removing, "a.parquet is no longer"), (marking, "b.parquet were deleted")] {
        let error = fixture.try_change(&current, &change).await.unwrap_err();
        let Error::Conflict { winner, .. } = &error else { panic!("{error}") };
        assert!(winner.contains(reason), "{winner}");
        assert_eq!(fixture.metadata_files(), before);
    }
}

#[tokio::test]
async fn version_1_has_no_deletes() {
    let fixture = Fixture::new();
    let table = two_appends(&fixture, "1").await;
    let file = live(&table).await["a"].clone();
    let deletes = vec![RowDeletes { file, deleted: [1].into_iter().collect(), deleted_before: None }];
    let written = WrittenFiles::new(fixture.storage.clone());
    let error = fixture.format.write_deletes(&table, deletes, &written).await.unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
}
