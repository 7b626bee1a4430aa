//! INSERT through DataFusion's planner.

use std::sync::Arc;

use arrow::array::AsArray;

use super::{BOTH, Lake};
use crate::Error;
use crate::registry::Table;
use crate::table::{DataFile, TableFormat, Transform};

async fn files(table: &Table) -> Vec<DataFile> {
    let index = table.snapshot.files.index().await.unwrap();
    let mut found = vec![];
    for (_, lists) in &index.groups {
        for list in lists {
            found.extend(table.snapshot.files.file_list(*list).await.unwrap().files.iter().cloned());
        }
    }
    found
}

async fn rows(table: &Table) -> u64 {
    files(table).await.iter().map(|f| f.record_count.unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn create_as_and_append() {
    for format in BOTH {
        let lake = Lake::new().await;
        let staged = lake.stage(format, &[], &[]).await;
        let query = "SELECT value AS a, 'x' AS b, NULL AS c FROM generate_series(1, 100000)";
        assert_eq!(lake.insert(&staged, query).await.unwrap(), 100_000);
        let table = lake.current().await;
        assert_eq!(rows(&table).await, 100_000);
        assert_eq!(lake.insert(&table, "VALUES (1, 'é', TIMESTAMP '2024-01-05 01:02:03')").await.unwrap(), 1);
        let after = lake.current().await;
        assert_eq!(rows(&after).await, 100_001);
        let version = after.snapshot.version.clone();
        assert_eq!(lake.insert(&after, "SELECT 1, 'x', NULL WHERE 1 = 2").await.unwrap(), 0);
        assert_eq!(lake.current().await.snapshot.version, version, "no rows, no commit");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creating_without_rows_makes_the_table() {
    for format in BOTH {
        let lake = Lake::new().await;
        let staged = lake.stage(format, &[], &[]).await;
        assert_eq!(lake.insert(&staged, "SELECT 1, 'x', NULL WHERE 1 = 2").await.unwrap(), 0);
        assert_eq!(rows(&lake.current().await).await, 0);
        // A second statement that staged the same table loses, and leaves nothing behind.
        assert!(lake.insert(&staged, "VALUES (1, 'x', NULL)").await.is_err());
        assert_eq!(lake.data_files(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitioned_and_sorted() {
    for format in BOTH {
        let (transform, column) = match format {
            TableFormat::Iceberg => (Transform::Day, "at"),
            TableFormat::Delta => (Transform::Identity, "name"),
        };
        let sorting: &[&str] = if format == TableFormat::Iceberg { &["id"] } else { &[] };
        let lake = Lake::new().await;
        let staged = lake.stage(format, &[(column, transform)], sorting).await;
        let query = "SELECT 30000 - value, 'n' || (value % 3), \
                     to_timestamp_micros(1704067200000000 + (value % 3) * 86400000000) FROM generate_series(1, 30000)";
        assert_eq!(lake.insert(&staged, query).await.unwrap(), 30_000);
        let table = lake.current().await;
        let files = files(&table).await;
        assert_eq!(files.len(), 3, "{files:?}");
        assert!(files.iter().all(|f| f.record_count == Some(10_000)));
        if format == TableFormat::Iceberg {
            assert!(files.iter().all(|f| f.sort_order_id == Some(table.snapshot.sort_order.order_id)));
            assert!(files.iter().any(|f| f.path.contains("/data/at_day=2024-01-02/")));
        }
        let count = "SELECT count(*), count(DISTINCT id), min(id) FROM lake_t WHERE name = 'n1'";
        lake.session.register_table("lake_t", table.provider()).unwrap();
        let found = lake.session.sql(count).await.unwrap().collect().await.unwrap();
        let values: Vec<i64> = (0..3)
            .map(|i| found[0].column(i).as_primitive::<arrow::datatypes::Int64Type>().value(0))
            .collect();
        assert_eq!(values, [10_000, 10_000, 2]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_inserts_all_arrive() {
    for format in BOTH {
        let lake = Arc::new(Lake::new().await);
        let staged = lake.stage(format, &[], &[]).await;
        lake.insert(&staged, "VALUES (0, 'first', NULL)").await.unwrap();
        let table = lake.current().await;
        let tasks: Vec<_> = (1..=8)
            .map(|i| {
                let (lake, table) = (lake.clone(), table.clone());
                tokio::spawn(async move { lake.insert(&table, &format!("VALUES ({i}, 'c', NULL)")).await })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap().unwrap(), 1);
        }
        assert_eq!(rows(&lake.current().await).await, 9);
        assert_eq!(lake.data_files(), 9);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_rows_change_nothing() {
    for format in BOTH {
        let lake = Lake::new().await;
        let staged = lake.stage(format, &[], &[]).await;
        lake.insert(&staged, "VALUES (0, 'first', NULL)").await.unwrap();
        let table = lake.current().await;
        let users = || lake.catalog.storage().users();
        let idle = users();
        let nulls = "SELECT CASE WHEN value = 400000 THEN NULL ELSE value END, repeat('x', 40), NULL \
                     FROM generate_series(1, 400000)";
        let error = lake.insert(&table, nulls).await.unwrap_err();
        assert!(matches!(error, Error::NotNullViolation { .. }), "{error}");
        assert_eq!(lake.current().await.snapshot.version, table.snapshot.version);
        // The last upload may end after the statement, and its file goes then.
        for _ in 0..4_000 {
            if users() <= idle {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        assert_eq!(users(), idle);
        assert_eq!(lake.data_files(), 1);
    }
}
