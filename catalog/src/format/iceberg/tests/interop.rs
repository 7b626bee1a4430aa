//! Tables after removals and deletes as pyiceberg reads them.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::scalar::ScalarValue;

use super::changes::{change, commit, live, mark};
use super::fixture::{Fixture, definition};
use crate::backend::python;
use crate::table::{NewDataFile, Operation, TableSnapshot, TableVersion, Transform};
use crate::write::{InputOrder, write};

/// One real file of rows with these ids, all of the day that the name says.
async fn written(
    fixture: &Fixture,
    table: &Arc<TableSnapshot>,
    ids: std::ops::Range<i64>,
    day: i64,
) -> NewDataFile {
    let rows = ids.clone().count();
    let micros = day * 86_400_000_000;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(ids)),
        Arc::new(StringArray::from(vec!["name"; rows])),
        Arc::new(Float64Array::from(vec![Some(0.5); rows])),
        Arc::new(TimestampMicrosecondArray::from(vec![micros; rows]).with_timezone("+00:00")),
    ];
    let schema = table.schema.arrow.clone();
    let columns = columns.iter().zip(schema.fields()).map(|(c, f)| cast(c, f.data_type()).unwrap());
    let batch = RecordBatch::try_new(schema.clone(), columns.collect()).unwrap();
    let input = RecordBatchStreamAdapter::new(schema, futures::stream::iter([Ok(batch)]));
    let task = TaskContext::default();
    let inputs: Vec<datafusion::physical_plan::SendableRecordBatchStream> = vec![Box::pin(input)];
    let mut done = write("t", &fixture.storage, table, inputs, InputOrder::Any, &task).await.unwrap();
    done.guard.keep();
    assert_eq!(done.files.len(), 1);
    done.files.remove(0)
}

/// What pyiceberg finds: sorted ids, and the ids of rows of one day.
fn read(table: &TableSnapshot) -> Option<(Vec<i64>, Vec<i64>)> {
    let TableVersion::Iceberg { metadata_location, .. } = &table.version else { panic!() };
    let script = format!(
        r"
import json
from pyiceberg.table import StaticTable
table = StaticTable.from_metadata('{metadata_location}')
ids = sorted(table.scan().to_arrow()['id'].to_pylist())
day = table.scan(row_filter='ts >= \'1970-01-02T00:00:00+00:00\' and ts < \'1970-01-03T00:00:00+00:00\'')
print(json.dumps([ids, sorted(day.to_arrow()['id'].to_pylist())]))
",
    );
    let printed = python::run("pyiceberg, pyarrow", &script)?;
    Some(serde_json::from_str(&printed).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn pyiceberg_reads_what_is_left() {
    for version in ["1", "2", "3"] {
        let fixture = Fixture::new();
        let properties = [("format-version", version), ("commit.manifest.min-count-to-merge", "4")];
        let staged = fixture.stage(&definition(&[("ts", Transform::Day)], &properties));
        let first = vec![
            written(&fixture, &staged, 0..100, 1).await,
            written(&fixture, &staged, 100..200, 2).await,
            written(&fixture, &staged, 200..300, 1).await,
        ];
        let paths: Vec<String> =
            first.iter().map(|f| f.path.rsplit('/').next().unwrap().replace(".parquet", "")).collect();
        let (a, b, c) = (paths[0].as_str(), paths[1].as_str(), paths[2].as_str());
        let mut table = fixture.commit(&staged, first).await;
        let mut expected: Vec<i64> = (0..300).collect();
        let check = |table: &TableSnapshot, expected: &[i64]| {
            let day: Vec<i64> = expected.iter().copied().filter(|id| !(100..200).contains(id)).collect();
            match read(table) {
                Some(found) => assert_eq!(found, (expected.to_vec(), day), "version {version}"),
                None => eprintln!("SKIPPED"),
            }
        };
        check(&table, &expected);
        if version != "1" {
            table = mark(&fixture, &table, &[(a, &[0, 1, 2, 50]), (b, &[99])]).await;
            expected.retain(|id| ![0, 1, 2, 50, 199].contains(id));
            check(&table, &expected);
            table = mark(&fixture, &table, &[(a, &[3]), (c, &[0])]).await;
            expected.retain(|id| ![3, 200].contains(id));
            check(&table, &expected);
        }
        let mut overwrite =
            change(Operation::Overwrite, vec![written(&fixture, &table, 1000..1010, 1).await]);
        overwrite.removed = vec![live(&table).await[a].clone()];
        table = commit(&fixture, &table, &overwrite).await;
        expected.retain(|id| *id >= 100);
        expected.extend(1000..1010);
        check(&table, &expected);
        for id in 2000..2006 {
            let added = vec![written(&fixture, &table, id..id + 1, 1).await];
            table = commit(&fixture, &table, &change(Operation::Append, added)).await;
            expected.push(id);
        }
        check(&table, &expected);
        assert_eq!(table.default_spec.fields.len(), 1);
        let day_two = live(&table).await[b].partition().unwrap();
        assert_eq!(day_two, [ScalarValue::Date32(Some(2))]);
        let mut truncate = change(Operation::Truncate, vec![]);
        truncate.removed = live(&table).await.into_values().collect();
        table = commit(&fixture, &table, &truncate).await;
        check(&table, &[]);
    }
}
