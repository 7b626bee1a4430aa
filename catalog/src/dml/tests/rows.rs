//! Row-level changes: what a query says becomes of which row.

mod change_feed;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::error::DataFusionError;

use super::Lake;
use crate::dml::impact::Impact;
use crate::dml::rows::{Assigned, ChangeOptions, RowTarget, SecondChange};
use crate::registry::Table;
use crate::table::{Operation, TableFormat, Transform};
use crate::{Error, Result};

/// Formats and the properties that choose how their rows are changed.
const MODES: [(TableFormat, &[(&str, &str)]); 9] = [
    (TableFormat::Iceberg, &[("format-version", "1")]),
    (TableFormat::Iceberg, &[("format-version", "2")]),
    (TableFormat::Iceberg, &[("format-version", "2"), MERGE_ON_READ[0], MERGE_ON_READ[1], MERGE_ON_READ[2]]),
    (TableFormat::Iceberg, &[("format-version", "3")]),
    (TableFormat::Iceberg, &[("format-version", "3"), MERGE_ON_READ[0], MERGE_ON_READ[1], MERGE_ON_READ[2]]),
    (TableFormat::Delta, &[("delta.enableDeletionVectors", "false")]),
    (TableFormat::Delta, &[("delta.enableDeletionVectors", "true")]),
    (TableFormat::Delta, &[("delta.enableDeletionVectors", "false"), ("delta.enableRowTracking", "true")]),
    (TableFormat::Delta, &[("delta.enableDeletionVectors", "true"), ("delta.enableRowTracking", "true")]),
];

const MERGE_ON_READ: [(&str, &str); 3] = [
    ("write.delete.mode", "merge-on-read"),
    ("write.update.mode", "merge-on-read"),
    ("write.merge.mode", "merge-on-read"),
];

impl Lake {
    /// Plans and runs a change: `query` selects addresses, action and new values from `target`.
    async fn change(&self, table: &Table, operation: Operation, query: &str) -> Result<Impact> {
        self.change_with(table, query, options(operation, SecondChange::Refuse("MERGE"))).await
    }

    async fn change_with(&self, table: &Table, query: &str, options: ChangeOptions) -> Result<Impact> {
        let target = RowTarget::new(table.clone());
        self.session.deregister_table("target")?;
        self.session.register_table("target", target.provider())?;
        let address = match table.snapshot.row_lineage.is_some() {
            true => "__auric_file, __auric_position, __auric_row_id",
            false => "__auric_file, __auric_position",
        };
        let input = self.session.sql(&query.replace("ADDRESS", address)).await?;
        let input = input.create_physical_plan().await?;
        let plan = target.change(&self.session.state(), input, options)?;
        let batches =
            datafusion::physical_plan::collect(plan, self.session.task_ctx()).await.map_err(unwrap)?;
        Ok(Impact::from_batch(&batches[0]).unwrap())
    }

    /// Ids and names of the current version, in order.
    async fn rows(&self) -> Vec<(i64, String)> {
        self.rows_where("true").await
    }

    async fn rows_where(&self, condition: &str) -> Vec<(i64, String)> {
        let table = self.current().await;
        self.session.deregister_table("now").unwrap();
        self.session.register_table("now", table.provider()).unwrap();
        let query = format!(
            "SELECT id, coalesce(arrow_cast(name, 'Utf8'), '-') FROM now WHERE {condition} ORDER BY id, 2"
        );
        let batches = self.session.sql(&query).await.unwrap().collect().await.unwrap();
        let mut rows = vec![];
        for batch in batches {
            let ids = batch.column(0).as_primitive::<Int64Type>();
            let names = batch.column(1).as_string::<i32>();
            rows.extend((0..batch.num_rows()).map(|i| (ids.value(i), names.value(i).to_string())));
        }
        rows
    }
}

fn options(operation: Operation, second_change: SecondChange) -> ChangeOptions {
    ChangeOptions {
        operation,
        second_change,
        parameters: Default::default(),
        reads_all: false,
        returning: 0,
        assigned: None,
        dry_run: false,
    }
}

/// Our own error, where DataFusion wrapped one.
fn unwrap(e: DataFusionError) -> Error {
    match e {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(other) => Error::Internal(other.to_string()),
        },
        DataFusionError::Shared(e) => Error::Internal(e.to_string()),
        e => Error::DataFusion(e),
    }
}

async fn filled(format: TableFormat, properties: &[(&str, &str)], partitioned: bool, rows: i64) -> Lake {
    let lake = Lake::new().await;
    let partitioning = [("name", Transform::Identity)];
    let partitioning = if partitioned { &partitioning[..] } else { &[] };
    let staged = lake.stage_with(format, partitioning, &[], properties).await;
    let values = format!(
        "SELECT v, arrow_cast('p' || (v % 3), 'Utf8View'), TIMESTAMP '2026-01-01 00:00:00' \
         FROM unnest(generate_series(1, {rows})) AS s(v)"
    );
    lake.insert(&staged, &values).await.unwrap();
    lake
}

/// Fails with the first difference only.
#[track_caller]
fn assert_rows(found: &[(i64, String)], expected: &[(i64, String)], what: &str) {
    let differs = found.iter().zip(expected).position(|(a, b)| a != b);
    let at = differs.unwrap_or(found.len().min(expected.len()));
    let (a, b) = (found.get(at), expected.get(at));
    assert!(a == b, "{what}: row {at} is {a:?}, not {b:?} ({} rows, not {})", found.len(), expected.len());
}

fn expected(rows: i64, change: impl Fn(i64, String) -> Option<(i64, String)>) -> Vec<(i64, String)> {
    let mut rows: Vec<_> = (1..=rows).filter_map(|v| change(v, format!("p{}", v % 3))).collect();
    rows.sort();
    rows
}

const DELETE: &str = "SELECT ADDRESS, arrow_cast(1, 'Int8'), id, name, at FROM target WHERE ";

#[tokio::test]
async fn deleted_rows_are_gone_and_others_stay() {
    for (format, properties) in MODES {
        for partitioned in [false, true] {
            let lake = filled(format, properties, partitioned, 1_000).await;
            let table = lake.current().await;
            let even = format!("{DELETE} id % 2 = 0");
            let impact = lake.change(&table, Operation::Delete, &even).await.unwrap();
            assert_eq!(impact.rows_deleted, 500, "{format} {properties:?}");
            let odd = |v: i64, name| (v % 2 == 1).then_some((v, name));
            assert_rows(&lake.rows().await, &expected(1_000, odd), &format!("{format} {properties:?}"));
            // Again, on files that have deletes already.
            let table = lake.current().await;
            let more = format!("{DELETE} id <= 100");
            let impact = lake.change(&table, Operation::Delete, &more).await.unwrap();
            assert_eq!(impact.rows_deleted, 50);
            let left = |v: i64, name| (v % 2 == 1 && v > 100).then_some((v, name));
            assert_rows(&lake.rows().await, &expected(1_000, left), &format!("{format} {properties:?}"));
            // All the rest: no file is left.
            let table = lake.current().await;
            lake.change(&table, Operation::Delete, &format!("{DELETE} true")).await.unwrap();
            assert_eq!(lake.rows().await, []);
            let index = lake.current().await.snapshot.files.index().await.unwrap();
            let mut files = 0;
            for number in index.groups.iter().flat_map(|(_, numbers)| numbers) {
                files += lake.current().await.snapshot.files.file_list(*number).await.unwrap().files.len();
            }
            assert_eq!(files, 0, "{format} {properties:?}");
        }
    }
}

#[tokio::test]
async fn updated_rows_have_their_new_values_once() {
    for (format, properties) in MODES {
        let lake = filled(format, properties, true, 300).await;
        let table = lake.current().await;
        let update = "SELECT ADDRESS, arrow_cast(2, 'Int8'), id + 1000, arrow_cast('new', 'Utf8View'), at \
                      FROM target WHERE id <= 10 AND name <> 'p0'";
        let impact = lake.change(&table, Operation::Update, update).await.unwrap();
        assert_eq!((impact.rows_updated, impact.rows_deleted), (7, 0), "{format} {properties:?}");
        assert!(impact.rows_inserted == 0 && impact.partitions == 3);
        let changed = |v: i64, name: String| match v <= 10 && v % 3 != 0 {
            true => Some((v + 1000, "new".to_string())),
            false => Some((v, name)),
        };
        assert_rows(&lake.rows().await, &expected(300, changed), &format!("{format} {properties:?}"));
    }
}

#[tokio::test]
async fn columns_that_are_not_assigned_keep_their_values() {
    for (format, properties) in MODES {
        for partitioned in [false, true] {
            let lake = filled(format, properties, partitioned, 1_000).await;
            let table = lake.current().await;
            // The last column, `at`.
            let assigned =
                |columns: &[usize]| Assigned { columns: columns.iter().copied().collect(), inserts: false };
            let target = RowTarget::new(table.clone());
            let needs_only = |assigned| target.needs_only_assigned(Operation::Merge, &assigned).unwrap();
            assert!(needs_only(assigned(&[2])));
            assert_eq!(needs_only(assigned(&[1])), !partitioned, "{format} {properties:?}");
            // Most of a row, and rows that are there anyway, are written as they are where others are marked.
            let is_rewritten = !is_merge_on_read(format, properties);
            assert_eq!(needs_only(assigned(&[0, 2])), is_rewritten, "{format} {properties:?}");
            assert_eq!(needs_only(Assigned { inserts: true, ..assigned(&[2]) }), is_rewritten);
            let merge = "SELECT ADDRESS, arrow_cast(CASE WHEN id % 5 = 0 THEN 1 ELSE 2 END, 'Int8'), \
                         arrow_cast(NULL, 'Int64'), arrow_cast('lost', 'Utf8View'), \
                         TIMESTAMP '2027-01-01 00:00:00' FROM target WHERE id % 3 = 0";
            let options = ChangeOptions {
                assigned: Some(assigned(&[2])),
                ..options(Operation::Merge, SecondChange::Refuse("MERGE"))
            };
            let impact = lake.change_with(&table, merge, options).await.unwrap();
            assert_eq!((impact.rows_updated, impact.rows_deleted), (267, 66), "{format} {properties:?}");
            let left = |v: i64, name| (v % 15 != 0).then_some((v, name));
            assert_rows(&lake.rows().await, &expected(1_000, left), &format!("{format} {properties:?}"));
            let changed = lake.rows_where("at >= TIMESTAMP '2027-01-01 00:00:00'").await;
            let updated = |v: i64, name| (v % 3 == 0 && v % 5 != 0).then_some((v, name));
            assert_rows(&changed, &expected(1_000, updated), &format!("{format} {properties:?}"));
        }
    }
}

fn is_merge_on_read(format: TableFormat, properties: &[(&str, &str)]) -> bool {
    match format {
        TableFormat::Iceberg => properties.contains(&MERGE_ON_READ[2]),
        TableFormat::Delta => properties.contains(&("delta.enableDeletionVectors", "true")),
    }
}

#[tokio::test]
async fn a_second_change_of_a_row_is_refused_or_ignored() {
    for (format, properties) in MODES {
        let lake = filled(format, properties, false, 20).await;
        let before = lake.data_files();
        let table = lake.current().await;
        let twice = "SELECT ADDRESS, arrow_cast(2, 'Int8'), id, arrow_cast('n' || m, 'Utf8View'), at \
                     FROM target JOIN (VALUES (1), (2)) AS twice(m) ON id = 7";
        let refused = lake.change(&table, Operation::Merge, twice).await;
        assert!(matches!(refused, Err(Error::CardinalityViolation { command: "MERGE" })), "{refused:?}");
        assert_rows(
            &lake.rows().await,
            &expected(20, |v, name| Some((v, name))),
            &format!("{format} {properties:?}"),
        );
        let options = options(Operation::Update, SecondChange::Ignore);
        let dry = ChangeOptions { dry_run: true, ..options.clone() };
        assert_eq!(lake.change_with(&table, twice, dry).await.unwrap().rows_updated, 1);
        assert_rows(
            &lake.rows().await,
            &expected(20, |v, name| Some((v, name))),
            &format!("{format} {properties:?}"),
        );
        assert_eq!(lake.change_with(&table, twice, options).await.unwrap().rows_updated, 1);
        let rows = lake.rows().await;
        assert_eq!(rows.len(), 20);
        assert!(["n1", "n2"].contains(&rows[6].1.as_str()), "{rows:?}");
        assert!(lake.data_files() > before);
    }
}

#[tokio::test]
async fn changes_conflict_only_over_what_they_read_or_change() {
    for (format, properties) in MODES {
        let lake = filled(format, properties, true, 300).await;
        let start = lake.current().await;
        // Both planned on the same version, in different partitions.
        let in_partition = |p: &str| format!("{DELETE} name = '{p}' AND id < 50");
        lake.change(&start, Operation::Delete, &in_partition("p0")).await.unwrap();
        lake.change(&start, Operation::Delete, &in_partition("p1")).await.unwrap();
        let left = |v: i64, name: String| (v >= 50 || v % 3 == 2).then_some((v, name));
        assert_rows(&lake.rows().await, &expected(300, left), &format!("{format} {properties:?}"));
        // The same partition.
        let again =
            lake.change(&start, Operation::Delete, &format!("{DELETE} name = 'p0' AND id > 250")).await;
        assert!(matches!(again, Err(Error::Conflict { .. })), "{format} {properties:?} {again:?}");
        // A phantom: a row that the change would have read was added.
        let start = lake.current().await;
        let row = "VALUES (60::bigint, arrow_cast('p0', 'Utf8View'), TIMESTAMP '2026-01-01 00:00:00')";
        lake.insert(&start, row).await.unwrap();
        let phantom = lake.change(&start, Operation::Delete, &in_partition("p2")).await;
        assert!(phantom.is_ok(), "{format} {properties:?} {phantom:?}");
        let phantom =
            lake.change(&start, Operation::Delete, &format!("{DELETE} name = 'p0' AND id = 60")).await;
        assert!(matches!(phantom, Err(Error::Conflict { .. })), "{format} {properties:?} {phantom:?}");
        let files = lake.data_files();
        assert!(files > 0);
    }
}

#[tokio::test]
async fn rows_keep_their_identity() {
    let iceberg = |mode| (TableFormat::Iceberg, [("format-version", "3"), ("write.update.mode", mode)]);
    let delta = |vectors| {
        let properties = [("delta.enableRowTracking", "true"), ("delta.enableDeletionVectors", vectors)];
        (TableFormat::Delta, properties)
    };
    for (format, properties) in
        [iceberg("copy-on-write"), iceberg("merge-on-read"), delta("false"), delta("true")]
    {
        let lake = filled(format, &properties, false, 100).await;
        let ids = |lake: Arc<Lake>| async move {
            let target = RowTarget::new(lake.current().await);
            lake.session.deregister_table("ids").unwrap();
            lake.session.register_table("ids", target.provider()).unwrap();
            let query = "SELECT __auric_row_id FROM ids ORDER BY at DESC, id";
            let batches = lake.session.sql(query).await.unwrap().collect().await.unwrap();
            let ids = batches.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().iter());
            ids.collect::<Vec<_>>()
        };
        let lake = Arc::new(lake);
        let before = ids(lake.clone()).await;
        assert!(before.iter().all(Option::is_some), "{before:?}");
        let update = "SELECT ADDRESS, arrow_cast(2, 'Int8'), id, arrow_cast('new', 'Utf8View'), at \
                      FROM target WHERE id IN (5, 50)";
        lake.change(&lake.current().await, Operation::Update, update).await.unwrap();
        assert_eq!(ids(lake.clone()).await, before, "{properties:?}");
        // Those that have moved, and others.
        let assign = "SELECT ADDRESS, arrow_cast(2, 'Int8'), arrow_cast(NULL, 'Int64'), \
                      arrow_cast('newer', 'Utf8View'), arrow_cast(NULL, 'Timestamp(Microsecond, None)') \
                      FROM target WHERE id BETWEEN 40 AND 60";
        let options = ChangeOptions {
            assigned: Some(Assigned { columns: BTreeSet::from([1]), inserts: false }),
            ..options(Operation::Update, SecondChange::Ignore)
        };
        lake.change_with(&lake.current().await, assign, options).await.unwrap();
        assert_eq!(ids(lake.clone()).await, before, "{properties:?}");
        let changed = lake.rows_where("name = 'newer'").await;
        assert!(changed.iter().map(|row| row.0).eq(40..=60), "{properties:?} {changed:?}");
    }
}
