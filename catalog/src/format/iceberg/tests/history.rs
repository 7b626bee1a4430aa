//! Earlier versions.

use iceberg::spec::{NestedField, PrimitiveType, Schema, SnapshotReference, SnapshotRetention, Type};

use super::changes::{altered, live, mark, remove};
use super::fixture::{Fixture, definition, entry, file};
use crate::error::Error;
use crate::format::iceberg::{IcebergFormat, metadata};
use crate::format::{Format, VersionSpec};
use crate::table::{TableSnapshot, TableVersion};

fn id(table: &TableSnapshot) -> i64 {
    match &table.version {
        TableVersion::Iceberg { snapshot_id: Some(id), .. } => *id,
        other => panic!("{other:?}"),
    }
}

async fn names(table: &TableSnapshot) -> Vec<String> {
    live(table).await.into_keys().collect()
}

#[tokio::test]
async fn versions_are_read_as_they_were() {
    let fixture = Fixture::new();
    let empty = fixture.create(&definition(&[], &[("format-version", "3")])).await;
    let mut tables = vec![fixture.commit(&empty, vec![file(&empty, "a", 1..=10, vec![])]).await];
    tables.push(fixture.commit(&tables[0], vec![file(&empty, "b", 1..=10, vec![])]).await);
    // The next version shall be of a later millisecond.
    while chrono::Utc::now().timestamp_millis() <= tables[1].timestamp_ms.unwrap() + 1 {
        tokio::task::yield_now().await;
    }
    tables.push(mark(&fixture, &tables[1], &[("a", &[1])]).await);
    tables.push(remove(&fixture, &tables[2], &["b"]).await);
    let current = tables.last().unwrap();

    // Another engine adds a column, a tag on the second version, and a branch that goes on from the first.
    let schema = metadata(current).unwrap().current_schema();
    let mut fields = schema.as_struct().fields().to_vec();
    fields.push(NestedField::optional(9, "later", Type::Primitive(PrimitiveType::Int)).into());
    let tag = SnapshotRetention::Tag { max_ref_age_ms: None };
    let branch = SnapshotRetention::branch(None, None, None);
    let schema = Schema::builder().with_fields(fields).build().unwrap();
    let table = altered(&fixture, current, |builder| {
        let (tagged, side) = (id(&tables[1]), id(&tables[0]));
        builder
            .add_current_schema(schema)?
            .set_ref("tagged", SnapshotReference { snapshot_id: tagged, retention: tag })?
            .set_ref("side", SnapshotReference { snapshot_id: side, retention: branch })
    })
    .await;
    let TableVersion::Iceberg { metadata_location: location, .. } = &table.version else { panic!() };

    let format = IcebergFormat::default();
    let entry = entry(&fixture.ident, location);
    let at = async |version| format.load_at(&fixture.storage, &entry, &version).await.unwrap();
    for (table, expected) in tables.iter().zip([vec!["a"], vec!["a", "b"], vec!["a", "b"], vec!["a"]]) {
        let then = at(VersionSpec::Id(id(table))).await;
        assert_eq!(names(&then).await, expected);
        assert_eq!(id(&then), id(table));
        assert_eq!(then.schema.arrow.fields().len(), 4);
        let deleted = live(&then).await["a"].deletes.deletion_vector.is_some();
        assert_eq!(
            deleted,
            expected.len() == 2 && id(table) == id(&tables[2]) || id(table) == id(&tables[3])
        );
    }
    let tagged = at(VersionSpec::Ref("tagged".into())).await;
    assert_eq!((id(&tagged), tagged.schema.arrow.fields().len()), (id(&tables[1]), 4));
    let side = at(VersionSpec::Ref("side".into())).await;
    assert_eq!((id(&side), side.schema.arrow.fields().len()), (id(&tables[0]), 5));
    let main = at(VersionSpec::Ref("main".into())).await;
    assert_eq!((id(&main), main.schema.arrow.fields().len()), (id(current), 5));
    let second = tables[1].timestamp_ms.unwrap();
    for (millis, expected) in [(second, 1), (second + 1, 1), (i64::MAX, 3)] {
        let then = at(VersionSpec::Timestamp(millis)).await;
        assert_eq!(id(&then), id(&tables[expected]));
    }
    let missing = [
        VersionSpec::Id(7),
        VersionSpec::Ref("nope".into()),
        VersionSpec::Timestamp(tables[0].timestamp_ms.unwrap() - 1),
    ];
    for version in missing {
        let error = format.load_at(&fixture.storage, &entry, &version).await.unwrap_err();
        assert!(matches!(error, Error::VersionNotFound { .. }), "{error}");
    }

    let history = format.history(&fixture.storage, &entry).await.unwrap();
    assert_eq!(
        history.iter().map(|v| v.id).collect::<Vec<_>>(),
        tables.iter().map(|t| id(t)).collect::<Vec<_>>()
    );
    let operations: Vec<_> = history.iter().map(|v| v.operation.as_deref().unwrap()).collect();
    assert_eq!(operations, ["append", "append", "delete", "delete"]);
    assert!(history.iter().all(|v| v.is_current_ancestor));
    assert_eq!(history[1].parent_id, Some(history[0].id));
    assert_eq!(history[2].summary["added-dvs"], "1");
    assert!(history[0].location.as_ref().unwrap().contains("/metadata/snap-"));
}
