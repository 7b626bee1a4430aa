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

use super::features;
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
    let value: serde_json::Value = serde_json::from_slice(json).map_err(|e| Error::corrupt(location, e))?;
    features::check(location, &value)?;
    let defaults = features::defaults(&value);
    let metadata: TableMetadata = serde_json::from_value(value).map_err(|e| Error::corrupt(location, e))?;
    features::check_defaults(location, &metadata, &defaults)?;
    Ok(metadata)
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
/// `.gz` before or after `.metadata.json`.
pub fn version_of(location: &str) -> Option<u64> {
    let name = location.rsplit('/').next()?;
    let stem = name
        .strip_suffix(".metadata.json.gz")
        .or_else(|| name.strip_suffix(".gz.metadata.json"))
        .or_else(|| name.strip_suffix(".metadata.json"))?;
    match stem.strip_prefix('v') {
        Some(number) => number.parse().ok(),
        None => stem.split_once('-')?.0.parse().ok(),
    }
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

/// The current metadata file of the table whose root is `root`: the version that
/// `metadata/version-hint.text` names, or a later one, else the highest version number; among equals
/// the one written last. `None`: there is no table.
pub async fn find(storage: &Storage, root: &str) -> Result<Option<String>> {
    let folder = format!("{}/metadata", root.trim_end_matches('/'));
    let newest = storage
        .list(&folder)
        .await?
        .into_iter()
        .filter_map(|object| {
            let name = object.location.filename()?.to_string();
            // Only the folder itself, not what is below it.
            let parent_matches = object.location.parts().rev().nth(1)?.as_ref() == "metadata";
            let version = version_of(&name).filter(|_| parent_matches)?;
            Some((version, object.last_modified, name))
        })
        .max();
    // The hint may lag behind: a Hadoop writer updates it after the commit. A higher number in the
    // same folder is a later commit, so the hint decides only when listing shows nothing.
    if let Some((_, _, name)) = newest {
        return Ok(Some(format!("{folder}/{name}")));
    }
    let hint = format!("{folder}/version-hint.text");
    if !storage.exists(&hint).await? {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&storage.read(&hint).await?).trim().to_string();
    let version: u64 =
        text.parse().map_err(|_| Error::corrupt(&hint, format!("\"{text}\" is no version number")))?;
    let location = format!("{folder}/v{version}.metadata.json");
    Ok(storage.exists(&location).await?.then_some(location))
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
