//! Deletion vectors as Delta keeps them (Delta protocol, "Deletion Vector Descriptor Schema",
//! "Deletion Vector File Storage Format"): descriptors in both directions, and files.

use arrow::array::{Array, ArrayRef, AsArray, StructArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use url::Url;
use uuid::Uuid;

use super::action::DeletionVectorDescriptor;
use super::files::resolve;
use super::{properties, snapshot};
use crate::error::{Error, Result};
use crate::storage::to_url;
use crate::table::TableSnapshot;
use crate::table::deletes::{NewRowDeletes, RowDeletes, StoredDeletes};
use crate::table::deletion_vector::{self, DeletionVectorRef, DeletionVectorStorage};
use crate::write::WrittenFiles;

/// Bytes of the length prefix plus the checksum of a deletion vector, which its stored size leaves out.
const FRAME_BYTES: u64 = 8;
/// First byte of a file of deletion vectors.
const FILE_VERSION: u8 = 1;
/// The first vector is behind the version byte.
const FIRST_OFFSET: u64 = 1;
/// A file is closed when it has become so long: bounds memory, and keeps offsets far below the
/// 32 bits that the log has for them.
const FULL_FILE_BYTES: usize = 64 << 20;
const FILE_PREFIX: &str = "deletion_vector_";
const FILE_SUFFIX: &str = ".bin";
const UUID_CHARS: usize = 20;

/// The descriptor in one row of scan metadata, as it stands in the log.
pub(super) fn descriptor_at(vectors: &StructArray, row: usize) -> Result<DeletionVectorDescriptor, String> {
    let text = |name: &str| {
        let column = vectors.column_by_name(name).and_then(|c| c.as_string_opt::<i32>());
        column.filter(|c| c.is_valid(row)).map(|c| c.value(row).to_string()).ok_or(format!("no {name}"))
    };
    let integer = |name: &str| vectors.column_by_name(name).and_then(|c| integer_at(c, row));
    let unsigned = |name: &str| {
        integer(name).and_then(|n| u64::try_from(n).ok()).ok_or(format!("no {name}, or a negative one"))
    };
    Ok(DeletionVectorDescriptor {
        storage_type: text("storageType")?,
        path_or_inline_dv: text("pathOrInlineDv")?,
        offset: match integer("offset") {
            Some(offset) => Some(u64::try_from(offset).map_err(|_| format!("offset {offset}"))?),
            None => None,
        },
        size_in_bytes: unsigned("sizeInBytes")?,
        cardinality: unsigned("cardinality")?,
    })
}

fn integer_at(column: &ArrayRef, row: usize) -> Option<i64> {
    if column.is_null(row) {
        return None;
    }
    match column.data_type() {
        DataType::Int32 => Some(column.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Some(column.as_primitive::<Int64Type>().value(row)),
        _ => None,
    }
}

/// Where the vector of a descriptor is stored. `root` ends with a slash.
pub(super) fn locate(root: &Url, descriptor: &DeletionVectorDescriptor) -> Result<DeletionVectorRef, String> {
    let (place, size) = (&descriptor.path_or_inline_dv, descriptor.size_in_bytes);
    let offset = descriptor.offset.unwrap_or(FIRST_OFFSET);
    let file = |path: String| -> Result<_, String> {
        let length = size.checked_add(FRAME_BYTES).ok_or_else(|| format!("size {size}"))?;
        Ok(DeletionVectorStorage::File { path, offset, length })
    };
    let storage = match descriptor.storage_type.as_str() {
        "u" => file(resolve(root, &relative_path(place)?)?)?,
        "p" => file(resolve(root, place)?)?,
        "i" => {
            let mut payload = decode_z85(place)?;
            let size = usize::try_from(size).map_err(|e| e.to_string())?;
            if payload.len() < size {
                return Err(format!("{} bytes inline instead of {size}", payload.len()));
            }
            payload.truncate(size);
            DeletionVectorStorage::Inline(payload)
        }
        other => return Err(format!("unknown storage type \"{other}\"")),
    };
    Ok(DeletionVectorRef { storage, cardinality: descriptor.cardinality })
}

/// The descriptor of a vector that [`write()`] has stored for the table at `root`.
pub(super) fn descriptor(root: &str, vector: &DeletionVectorRef) -> Result<DeletionVectorDescriptor> {
    let DeletionVectorStorage::File { path, offset, length } = &vector.storage else {
        return Err(Error::Internal("a new deletion vector is not in a file".into()));
    };
    let odd = || Error::Internal(format!("{path} at {offset} is no place for a deletion vector"));
    let (url, root) = (to_url(path)?, to_url(&format!("{root}/"))?);
    let in_root = url.as_str().strip_prefix(root.as_str());
    let uuid = in_root
        .and_then(|name| name.strip_prefix(FILE_PREFIX)?.strip_suffix(FILE_SUFFIX))
        .and_then(|uuid| Uuid::parse_str(uuid).ok());
    let (storage_type, place) = match uuid {
        Some(uuid) => ("u", encode_z85(uuid.as_bytes())),
        None => ("p", url.to_string()),
    };
    // The log has 32 bits for both.
    i32::try_from(*offset).map_err(|_| odd())?;
    let size_in_bytes = length.checked_sub(FRAME_BYTES).filter(|s| i32::try_from(*s).is_ok());
    Ok(DeletionVectorDescriptor {
        storage_type: storage_type.to_string(),
        path_or_inline_dv: place,
        offset: Some(*offset),
        size_in_bytes: size_in_bytes.ok_or_else(odd)?,
        cardinality: vector.cardinality,
    })
}

/// Stores the vectors of one change, one after the other in as few files as fit.
pub(super) async fn write(
    snapshot: &TableSnapshot,
    deletes: Vec<RowDeletes>,
    written: &WrittenFiles,
) -> Result<Vec<NewRowDeletes>> {
    let state = snapshot::state(snapshot)?;
    if !properties::deletion_vectors_enabled(&state.metadata.configuration) {
        return Err(Error::unsupported(
            &snapshot.location,
            format!("deletion vectors without \"{}\" = true", properties::ENABLE_DELETION_VECTORS),
        ));
    }
    let mut stored = Vec::with_capacity(deletes.len());
    let mut rest = deletes.into_iter().peekable();
    while rest.peek().is_some() {
        let path = format!("{FILE_PREFIX}{}{FILE_SUFFIX}", Uuid::new_v4());
        let root = to_url(&format!("{}/", snapshot.location))?;
        let path = resolve(&root, &path).map_err(Error::Internal)?;
        let mut bytes = vec![FILE_VERSION];
        let mut vectors = Vec::new();
        while let Some(one) = rest.next_if(|_| bytes.len() < FULL_FILE_BYTES) {
            let newly_deleted = one.deleted.len();
            let (blob, cardinality) = encode(&one)?;
            let offset = bytes.len() as u64;
            let storage =
                DeletionVectorStorage::File { path: path.clone(), offset, length: blob.len() as u64 };
            vectors.push((one.file, DeletionVectorRef { storage, cardinality }, newly_deleted));
            bytes.extend_from_slice(&blob);
        }
        let file_bytes = bytes.len() as u64;
        let mut upload = written.upload(&path)?;
        upload.put(bytes.into()).await?;
        upload.finish().await?;
        stored.extend(vectors.into_iter().map(|(file, vector, newly_deleted)| NewRowDeletes {
            file,
            stored: StoredDeletes::Vector { vector, file_bytes },
            newly_deleted,
        }));
    }
    Ok(stored)
}

/// Everything deleted from a file, and how many rows that is.
fn encode(deletes: &RowDeletes) -> Result<(Vec<u8>, u64)> {
    let file = &deletes.file;
    let known = file.deletes.deletion_vector.as_ref().map_or(0, |vector| vector.cardinality);
    let before = deletes.deleted_before.as_ref().map_or(0, |before| before.len());
    if known != before {
        // Storing this vector would bring rows back.
        return Err(Error::Internal(format!(
            "{} has {known} deleted rows, of which {before} are to stay deleted",
            file.path()
        )));
    }
    let mut all = deletes.deleted.clone();
    if let Some(before) = &deletes.deleted_before {
        all |= before.as_ref();
    }
    let rows = file.file()?.record_count;
    if all.len() != before + deletes.deleted.len()
        || rows.zip(all.max()).is_some_and(|(rows, last)| last >= rows)
    {
        return Err(Error::Internal(format!("rows to delete from {} are not rows of it", file.path())));
    }
    all.optimize();
    Ok((deletion_vector::encode(&all)?, all.len()))
}

/// `<prefix><z85 of a uuid>` is `<prefix>/deletion_vector_<uuid>.bin`.
fn relative_path(encoded: &str) -> Result<String, String> {
    let split = encoded.len().checked_sub(UUID_CHARS).filter(|at| encoded.is_char_boundary(*at));
    let (prefix, uuid) = encoded.split_at(split.ok_or_else(|| format!("path \"{encoded}\""))?);
    let uuid = Uuid::from_slice(&decode_z85(uuid)?).map_err(|e| e.to_string())?;
    Ok(match prefix {
        "" => format!("{FILE_PREFIX}{uuid}{FILE_SUFFIX}"),
        prefix => format!("{prefix}/{FILE_PREFIX}{uuid}{FILE_SUFFIX}"),
    })
}

/// Z85 (ZeroMQ RFC 32): five characters hold four bytes.
const Z85: &[u8; 85] =
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

fn decode_z85(text: &str) -> Result<Vec<u8>, String> {
    let bad = || "not z85".to_string();
    let mut bytes = Vec::with_capacity(text.len() / 5 * 4);
    let chunks = text.as_bytes().chunks_exact(5);
    if !chunks.remainder().is_empty() {
        return Err(bad());
    }
    for chunk in chunks {
        let mut word: u32 = 0;
        for c in chunk {
            let digit = Z85.iter().position(|a| a == c).ok_or_else(bad)? as u32;
            word = word.checked_mul(85).and_then(|w| w.checked_add(digit)).ok_or_else(bad)?;
        }
        bytes.extend(word.to_be_bytes());
    }
    Ok(bytes)
}

fn encode_z85(uuid: &[u8; 16]) -> String {
    let mut text = String::with_capacity(UUID_CHARS);
    for word in uuid.as_chunks::<4>().0 {
        let word = u32::from_be_bytes(*word);
        for place in (0..5).rev() {
            let digit = word / 85u32.pow(place) % 85;
            text.extend(Z85.get(digit as usize).map(|c| char::from(*c)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of ZeroMQ RFC 32 and of the Delta protocol.
    #[test]
    fn z85_is_that_of_the_specifications() {
        assert_eq!(decode_z85("HelloWorld").unwrap(), [0x86, 0x4F, 0xD2, 0x6F, 0xB5, 0x59, 0xF7, 0x5B]);
        let uuid = Uuid::parse_str("d2c639aa-8816-431a-aaf6-d3fe2512ff61").unwrap();
        assert_eq!(encode_z85(uuid.as_bytes()), "^-aqEH.-t@S}K{vb[*k^");
        assert_eq!(
            relative_path("ab^-aqEH.-t@S}K{vb[*k^").unwrap(),
            format!("ab/deletion_vector_{uuid}.bin")
        );
        for bytes in [[0; 16], [255; 16], *Uuid::new_v4().as_bytes()] {
            assert_eq!(decode_z85(&encode_z85(&bytes)).unwrap(), bytes);
        }
        for bad in ["", "short", "ü9345678901234567890", "~~~~~~~~~~~~~~~~~~~~", "#####################"] {
            assert!(relative_path(bad).is_err(), "{bad}");
        }
    }
}
