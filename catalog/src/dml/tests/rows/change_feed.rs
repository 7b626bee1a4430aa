//! The change data feed of Delta tables, read from the log and the files that it names.

use std::collections::BTreeSet;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use super::*;

/// Id, name and kind of change.
type Images = BTreeSet<(i64, String, String)>;

fn images(rows: &[(i64, &str, &str)]) -> Images {
    rows.iter().map(|(id, name, kind)| (*id, name.to_string(), kind.to_string())).collect()
}

impl Lake {
    /// Actions of the table's last commit.
    async fn last_commit(&self) -> Vec<Value> {
        let table = self.current().await;
        let crate::table::TableVersion::Delta { version } = table.snapshot.version else { panic!() };
        let root = table.snapshot.location.strip_prefix("file://").unwrap().to_string();
        let text = std::fs::read_to_string(format!("{root}/_delta_log/{version:020}.json")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What the change files of the last commit hold. `None`: there are none.
    async fn feed(&self) -> Option<Images> {
        let table = self.current().await;
        let root = table.snapshot.location.strip_prefix("file://").unwrap().to_string();
        let actions = self.last_commit().await;
        let files: Vec<&Value> = actions.iter().filter_map(|action| action.get("cdc")).collect();
        let mut found = Images::new();
        for file in &files {
            assert_eq!(file["dataChange"], false);
            let path = file["path"].as_str().unwrap();
            assert!(path.starts_with("_change_data/"), "{path}");
            let opened = std::fs::File::open(format!("{root}/{path}")).unwrap();
            assert_eq!(file["size"], opened.metadata().unwrap().len());
            for batch in ParquetRecordBatchReaderBuilder::try_new(opened).unwrap().build().unwrap() {
                let batch = batch.unwrap();
                let text = |name: &str| Some(cast(batch.column_by_name(name)?, &DataType::Utf8).unwrap());
                let (names, kinds) = (text("name"), text("_change_type").unwrap());
                let ids = batch.column_by_name("id").unwrap().as_primitive::<Int64Type>();
                for row in 0..batch.num_rows() {
                    let name = match &names {
                        Some(names) => names.as_string::<i32>().value(row).to_string(),
                        // A partition column.
                        None => file["partitionValues"]["name"].as_str().unwrap().to_string(),
                    };
                    let image = (ids.value(row), name, kinds.as_string::<i32>().value(row).to_string());
                    assert!(found.insert(image.clone()), "{image:?} twice");
                }
            }
        }
        (!files.is_empty()).then_some(found)
    }
}

const MERGE: &str = "\
    SELECT ADDRESS, arrow_cast(CASE id WHEN 1 THEN 1 ELSE 2 END, 'Int8'), id, \
           arrow_cast('changed', 'Utf8View'), at FROM target WHERE id IN (1, 2) \
    UNION ALL SELECT arrow_cast(NULL, 'Int32'), arrow_cast(NULL, 'Int64'), arrow_cast(3, 'Int8'), \
           arrow_cast(100, 'Int64'), arrow_cast('new', 'Utf8View'), \
           arrow_cast(TIMESTAMP '2026-01-01 00:00:00', 'Timestamp(Microsecond, None)')";

#[tokio::test]
async fn every_changed_row_is_in_the_feed() {
    for vectors in ["false", "true"] {
        for partitioned in [false, true] {
            let properties =
                [("delta.enableChangeDataFeed", "true"), ("delta.enableDeletionVectors", vectors)];
            let lake = filled(TableFormat::Delta, &properties, partitioned, 9).await;
            assert_eq!(lake.feed().await, None, "inserts speak for themselves");

            let table = lake.current().await;
            lake.change(&table, Operation::Merge, MERGE).await.unwrap();
            let merged = [
                (1, "p1", "delete"),
                (2, "p2", "update_preimage"),
                (2, "changed", "update_postimage"),
                (100, "new", "insert"),
            ];
            assert_eq!(lake.feed().await, Some(images(&merged)), "{vectors} {partitioned}");
            let info = &lake.last_commit().await[0]["commitInfo"]["operationMetrics"];
            assert_ne!(info["numTargetChangeFilesAdded"], "0");

            let table = lake.current().await;
            let some = format!("{DELETE} id IN (4, 100)");
            lake.change(&table, Operation::Delete, &some).await.unwrap();
            // Also of a file that goes as a whole.
            let deleted = images(&[(4, "p1", "delete"), (100, "new", "delete")]);
            assert_eq!(lake.feed().await, Some(deleted), "{vectors} {partitioned}");

            let table = lake.current().await;
            lake.change(&table, Operation::Delete, &format!("{DELETE} true")).await.unwrap();
            let left = [(2, "changed"), (3, "p0"), (5, "p2"), (6, "p0"), (7, "p1"), (8, "p2"), (9, "p0")];
            let expected = match vectors {
                // Some of the files have lost rows before.
                "true" => Some(images(&left.map(|(id, name)| (id, name, "delete")))),
                _ => None,
            };
            assert_eq!(lake.feed().await, expected, "{partitioned}");
            assert_eq!(lake.rows().await, []);
        }
    }
}

#[tokio::test]
async fn a_statement_that_fails_leaves_no_change_files() {
    let properties = [("delta.enableChangeDataFeed", "true"), ("delta.enableDeletionVectors", "true")];
    let lake = filled(TableFormat::Delta, &properties, false, 9).await;
    let files = lake.data_files();
    let table = lake.current().await;
    let options = ChangeOptions { dry_run: true, ..options(Operation::Merge, SecondChange::Refuse("MERGE")) };
    lake.change_with(&table, MERGE, options).await.unwrap();
    while lake.data_files() > files {
        tokio::task::yield_now().await;
    }
    let twice = format!("{MERGE} UNION ALL {DELETE} id = 2");
    assert!(lake.change(&table, Operation::Merge, &twice).await.is_err());
    while lake.data_files() > files {
        tokio::task::yield_now().await;
    }
}
