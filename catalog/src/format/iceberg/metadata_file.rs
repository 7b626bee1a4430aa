//! Table metadata files: finding, naming, reading and writing them.
//!
//! The `iceberg` crate refuses metadata that it does not understand with an error that says nothing;
//! [`features`] looks at the JSON first and names the feature.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use iceberg::spec::TableMetadata;
use uuid::Uuid;

use super::{features, unknown_transforms};
use crate::error::{Error, Result};
use crate::storage::Storage;

/// Largest metadata file that we decompress: a guard against a corrupt or hostile gzip stream.
const MAX_DECOMPRESSED_BYTES: u64 = 1 << 30;

/// Parses the bytes of the metadata file at `location`, gzip or not (told by content: writers
/// disagree on the suffix). Fails with `Corrupt` or `Unsupported`.
pub fn parse(location: &str, bytes: &[u8]) -> Result<TableMetadata> {
    let decompressed;
    let json = if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut buffer = Vec::new();
        GzDecoder::new(bytes)
            .take(MAX_DECOMPRESSED_BYTES)
            .read_to_end(&mut buffer)
            .map_err(|e| Error::corrupt(location, e))?;
        decompressed = buffer;
        decompressed.as_slice()
    } else {
        bytes
    };
    let mut value: serde_json::Value =
        serde_json::from_slice(json).map_err(|e| Error::corrupt(location, e))?;
    features::check(location, &value)?;
    unknown_transforms::rename(&mut value);
    supply_sequence_number(&mut value);
    let defaults = features::defaults(&value);
    let metadata: TableMetadata = serde_json::from_value(value).map_err(|e| Error::corrupt(location, e))?;
    features::check_defaults(location, &metadata, &defaults)?;
    Ok(metadata)
}

/// Version 2 requires `last-sequence-number`. DuckDB's `COPY … (FORMAT iceberg)` leaves it out, and
/// other readers do not ask for it; it follows from the snapshots.
fn supply_sequence_number(metadata: &mut serde_json::Value) {
    let numbers = metadata.get("snapshots").and_then(|snapshots| snapshots.as_array()).into_iter().flatten();
    let last = numbers.filter_map(|snapshot| snapshot.get("sequence-number")?.as_i64()).max().unwrap_or(0);
    if let Some(fields) = metadata.as_object_mut() {
        fields.entry("last-sequence-number").or_insert(last.into());
    }
}

/// Location for the metadata file that follows `previous` (`None`: the first one):
/// `<metadata folder>/00002-<id>[.gz].metadata.json`.
pub fn next_location(metadata_folder: &str, previous: Option<&str>, id: Uuid, gzip: bool) -> String {
    let version = previous.map_or(0, |p| version_of(p).map_or(0, |v| v.saturating_add(1)));
    let suffix = if gzip { ".gz.metadata.json" } else { ".metadata.json" };
    format!("{metadata_folder}/{version:05}-{id}{suffix}")
}

/// Is `location` a metadata file that [`next_location`] named with `id`?
pub fn is_named(location: &str, id: Uuid) -> bool {
    let name = location.rsplit('/').next().unwrap_or_default();
    name.split_once('-')
        .and_then(|(_, rest)| rest.split_once('.'))
        .is_some_and(|(uuid, _)| uuid == id.to_string())
}

/// Version number in a metadata file's name: `00012-<uuid>.metadata.json`, `v12.metadata.json`, with
/// `.gz` before or after `.metadata.json`. A name that is a UUID alone has none, whatever it begins
/// with.
pub fn version_of(location: &str) -> Option<u64> {
    let stem = stem_of(location)?;
    match stem.strip_prefix('v') {
        Some(number) => number.parse().ok(),
        None if Uuid::try_parse(stem).is_ok() => None,
        None => stem.split_once('-')?.0.parse().ok(),
    }
}

/// A metadata file's name without what all of them end with.
fn stem_of(location: &str) -> Option<&str> {
    let name = location.rsplit('/').next()?;
    name.strip_suffix(".metadata.json.gz")
        .or_else(|| name.strip_suffix(".gz.metadata.json"))
        .or_else(|| name.strip_suffix(".metadata.json"))
}

/// The bytes of a metadata file.
pub fn serialize(metadata: &TableMetadata, gzip: bool) -> Result<Bytes> {
    let internal = |e: &dyn std::fmt::Display| Error::Internal(format!("writing table metadata: {e}"));
    let json = serde_json::to_vec(metadata).map_err(|e| internal(&e))?;
    if !gzip {
        return Ok(json.into());
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&json).map_err(|e| internal(&e))?;
    Ok(encoder.finish().map_err(|e| internal(&e))?.into())
}

/// The current metadata file of the table whose root is `root`: the highest version number, among
/// equals the one written last. Where `metadata/version-hint.text` holds a name instead of a number
/// (as DuckDB writes it), the file of that name, unless a numbered one is newer. `None`: there is no
/// table.
pub async fn find(storage: &Storage, root: &str) -> Result<Option<String>> {
    let folder = format!("{}/metadata", root.trim_end_matches('/'));
    let mut files = Vec::new();
    for object in storage.list(&folder).await? {
        // Only the folder itself, not what is below it.
        let directly = object.location.parts().rev().nth(1).is_some_and(|part| part.as_ref() == "metadata");
        let name = object.location.filename().unwrap_or_default().to_string();
        if directly && stem_of(&name).is_some() {
            files.push((version_of(&name), object.last_modified, name));
        }
    }
    let named = match files.iter().any(|(version, ..)| version.is_none()) {
        true => hinted_name(storage, &folder).await?,
        false => None,
    };
    // A number in the hint is not asked for: a Hadoop writer updates it after the commit, so that a
    // higher number in the folder is a later commit.
    let current = match named.and_then(|hint| files.iter().find(|(.., name)| stem_of(name) == Some(&hint))) {
        Some(hinted) => {
            files.iter().filter(|file| file.0.is_some()).chain([hinted]).max_by_key(|file| file.1)
        }
        None => files.iter().max(),
    };
    Ok(current.map(|(.., name)| format!("{folder}/{name}")))
}

/// What `version-hint.text` holds.
async fn hinted_name(storage: &Storage, folder: &str) -> Result<Option<String>> {
    let hint = format!("{folder}/version-hint.text");
    if !storage.exists(&hint).await? {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&storage.read(&hint).await?).trim().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_every_naming_style() {
        assert_eq!(version_of("s3://b/t/metadata/00012-1f4a.metadata.json"), Some(12));
        assert_eq!(version_of("/t/metadata/v3.metadata.json"), Some(3));
        assert_eq!(version_of("/t/metadata/v3.gz.metadata.json"), Some(3));
        assert_eq!(version_of("/t/metadata/v3.metadata.json.gz"), Some(3));
        assert_eq!(version_of("/t/metadata/00001-a.gz.metadata.json"), Some(1));
        assert_eq!(version_of("/t/metadata/snap-1-a.avro"), None);
        assert_eq!(version_of("/t/metadata/odd.metadata.json"), None);
        assert_eq!(version_of("/t/metadata/12345678-a905-44e6-bfe8-c26ae92a9905.metadata.json"), None);
    }

    /// Writes files in this order, a tick of the file system's clock apart, and finds the current one.
    async fn found(files: &[(&str, &str)]) -> Option<String> {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("metadata");
        std::fs::create_dir(&folder).unwrap();
        for (seconds, (name, content)) in files.iter().enumerate() {
            std::fs::write(folder.join(name), content).unwrap();
            let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000 + seconds as u64);
            std::fs::File::options().write(true).open(folder.join(name)).unwrap().set_modified(at).unwrap();
        }
        let storage = Storage::with_options(crate::storage::StorageOptions::default());
        let found = find(&storage, root.path().to_str().unwrap()).await.unwrap()?;
        Some(found.rsplit('/').next().unwrap().to_string())
    }

    #[tokio::test]
    async fn the_current_file_is_found_by_number_or_by_hint() {
        const A: &str = "12345678-a905-44e6-bfe8-c26ae92a9905";
        const B: &str = "935d3697-a905-44e6-bfe8-c26ae92a9905";
        let (a, b) = (&*format!("{A}.metadata.json"), &*format!("{B}.metadata.json"));
        let hint = "version-hint.text";
        assert_eq!(found(&[]).await, None);
        assert_eq!(found(&[("snap-1.avro", ""), (hint, "3")]).await, None);
        // A hint lags behind, a later number was written earlier.
        assert_eq!(
            found(&[("v2.metadata.json", ""), ("v1.metadata.json", ""), (hint, "1")]).await.as_deref(),
            Some("v2.metadata.json")
        );
        assert_eq!(found(&[(b, ""), (a, ""), (hint, B)]).await.as_deref(), Some(b));
        assert_eq!(found(&[(a, ""), (b, ""), (hint, &format!("{A}\n"))]).await.as_deref(), Some(a));
        // Continued by a writer that numbers.
        let next = &*format!("00000-{A}.metadata.json");
        assert_eq!(found(&[(b, ""), (hint, B), (next, "")]).await.as_deref(), Some(next));
        assert_eq!(found(&[(next, ""), (b, ""), (hint, B)]).await.as_deref(), Some(b));
        // No hint, or one of a file that is gone: the last one.
        assert_eq!(found(&[(b, ""), (a, "")]).await.as_deref(), Some(a));
        assert_eq!(found(&[(b, ""), (a, ""), (hint, "gone")]).await.as_deref(), Some(a));
    }

    #[test]
    fn the_next_file_counts_on() {
        let id = Uuid::new_v4();
        let next = next_location("/t/metadata", Some("/t/metadata/v9.metadata.json"), id, false);
        assert_eq!(next, format!("/t/metadata/00010-{id}.metadata.json"));
        assert_eq!(next_location("/m", None, id, true), format!("/m/00000-{id}.gz.metadata.json"));
        assert_eq!(
            next_location("/m", Some("/odd.metadata.json"), id, false),
            format!("/m/00000-{id}.metadata.json")
        );
        assert!(is_named(&next, id) && !is_named(&next, Uuid::new_v4()) && !is_named("v1.metadata.json", id));
    }

    #[test]
    fn corrupt_files_are_named() {
        for bytes in [&b""[..], b"{", b"[]", b"{}", &[0x1f, 0x8b, 0, 1, 2]] {
            let error = parse("/t/metadata/v1.metadata.json", bytes).unwrap_err();
            assert!(
                matches!(&error, Error::Corrupt { path, .. } if path.ends_with("v1.metadata.json")),
                "{error}"
            );
        }
    }
}
