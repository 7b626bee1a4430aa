//! Files cut off or altered anywhere give an error that names them, or are read: never a panic.

use std::path::PathBuf;

use super::fixture::{Fixture, definition, entry, file, storage};
use crate::error::{Error, Result};
use crate::format::Format;
use crate::format::iceberg::IcebergFormat;
use crate::table::{TableSnapshot, TableVersion};

async fn read_all(fixture: &Fixture, table: &TableSnapshot) -> Result<usize> {
    let TableVersion::Iceberg { metadata_location, .. } = &table.version else { panic!() };
    let format = IcebergFormat::default();
    let table = format.load(&storage(), &entry(&fixture.ident, metadata_location)).await?;
    table.files.deletes().await?;
    let mut files = 0;
    for (_, numbers) in &table.files.index().await?.groups {
        for number in numbers {
            files += table.files.file_list(*number).await?.files.len();
        }
    }
    Ok(files)
}

async fn table_with_a_file(fixture: &Fixture) -> std::sync::Arc<TableSnapshot> {
    let staged = fixture.stage(&definition(&[], &[]));
    fixture.commit(&staged, vec![file(&staged, "a", 1..=2, vec![])]).await
}

fn paths(fixture: &Fixture) -> Vec<PathBuf> {
    let folder = fixture.folder.path().join("t/metadata");
    fixture.metadata_files().into_iter().map(|name| folder.join(name)).collect()
}

#[tokio::test]
async fn truncated_files_are_corrupt() {
    let fixture = Fixture::new();
    let table = table_with_a_file(&fixture).await;
    assert_eq!(read_all(&fixture, &table).await.unwrap(), 1);
    for path in paths(&fixture) {
        let whole = std::fs::read(&path).unwrap();
        for length in [0, 1, 10, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            let error = read_all(&fixture, &table).await.unwrap_err();
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(matches!(&error, Error::Corrupt { path, .. } if path.contains(name)), "{name}: {error}");
        }
        std::fs::remove_file(&path).unwrap();
        let error = read_all(&fixture, &table).await.unwrap_err();
        assert!(matches!(&error, Error::Storage { .. }), "{error}");
        std::fs::write(&path, whole).unwrap();
    }
}

#[tokio::test]
async fn altered_bytes_never_panic() {
    let fixture = Fixture::new();
    let table = table_with_a_file(&fixture).await;
    for path in paths(&fixture) {
        let whole = std::fs::read(&path).unwrap();
        for position in (0..whole.len()).step_by(29) {
            let mut altered = whole.clone();
            altered[position] ^= 0x55;
            std::fs::write(&path, &altered).unwrap();
            if let Err(error) = read_all(&fixture, &table).await {
                let expected = matches!(
                    error,
                    Error::Corrupt { .. }
                        | Error::Storage { .. }
                        | Error::Unsupported { .. }
                        | Error::Invalid(_)
                );
                assert!(expected, "{error:?}");
            }
        }
        std::fs::write(&path, whole).unwrap();
    }
}
