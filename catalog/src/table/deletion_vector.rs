//! Deletion vectors: a bitmap of deleted row positions of one data file, and its one codec.
//!
//! Iceberg v3 (Puffin blob `deletion-vector-v1`) and Delta (`.bin` file or inline) store the same
//! bytes: big-endian length, magic `D1 D3 39 64`, portable 64-bit roaring bitmap, big-endian CRC-32
//! of magic and bitmap. The length counts magic and bitmap only.
//!
//! Decoding checks everything that the format lets one check; garbage gives [`Error::Corrupt`].

use roaring::RoaringTreemap;

use crate::error::{Error, Result};
use crate::storage::Storage;

/// First bytes of every bitmap (`0x6439D3D1` little-endian).
const MAGIC: [u8; 4] = [0xD1, 0xD3, 0x39, 0x64];
/// Bytes of the length prefix, and of the checksum.
const WORD: usize = 4;

/// Where a deletion vector is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeletionVectorStorage {
    /// Byte range of a file: the blob with its length prefix, magic and checksum.
    File { path: String, offset: u64, length: u64 },
    /// The bytes themselves (Delta storage type `i`, already decoded from z85): magic and bitmap,
    /// without length and checksum.
    Inline(Vec<u8>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletionVectorRef {
    pub storage: DeletionVectorStorage,
    /// Number of deleted rows.
    pub cardinality: u64,
}

/// Decodes a stored blob: length, magic, bitmap, checksum, and nothing after them.
pub fn decode(blob: &[u8]) -> Result<RoaringTreemap> {
    let (length, rest) = split_word(blob)?;
    let length = u32::from_be_bytes(length) as usize;
    if length.checked_add(WORD) != Some(rest.len()) {
        let held = rest.len().saturating_sub(WORD);
        return Err(bad(format!("its length field says {length} bytes, the blob holds {held}")));
    }
    let (payload, checksum) = rest.split_at(length);
    let (checksum, _) = split_word(checksum)?;
    let (expected, actual) = (u32::from_be_bytes(checksum), crc32fast::hash(payload));
    if expected != actual {
        return Err(bad(format!("checksum {actual:08x} differs from the stored {expected:08x}")));
    }
    decode_inline(payload)
}

/// Decodes magic and bitmap without length and checksum, as Delta keeps them in the log.
pub fn decode_inline(payload: &[u8]) -> Result<RoaringTreemap> {
    let (magic, bitmap) = split_word(payload)?;
    if magic != MAGIC {
        return Err(bad(format!("unknown magic {magic:02x?}")));
    }
    let mut reader = bitmap;
    let bitmap = RoaringTreemap::deserialize_from(&mut reader).map_err(|e| bad(e.to_string()))?;
    if !reader.is_empty() {
        return Err(bad(format!("{} bytes follow the bitmap", reader.len())));
    }
    Ok(bitmap)
}

/// Encodes a blob as both formats store it in a file: length, magic, bitmap, checksum.
pub fn encode(deleted: &RoaringTreemap) -> Result<Vec<u8>> {
    let payload = encode_inline(deleted)?;
    let length = u32::try_from(payload.len())
        .map_err(|_| Error::Invalid("a deletion vector may not be larger than 4 GiB".into()))?;
    let checksum = crc32fast::hash(&payload);
    let mut blob = Vec::with_capacity(payload.len() + 2 * WORD);
    blob.extend_from_slice(&length.to_be_bytes());
    blob.extend_from_slice(&payload);
    blob.extend_from_slice(&checksum.to_be_bytes());
    Ok(blob)
}

/// Encodes magic and bitmap only.
pub fn encode_inline(deleted: &RoaringTreemap) -> Result<Vec<u8>> {
    let mut payload = Vec::with_capacity(WORD + deleted.serialized_size());
    payload.extend_from_slice(&MAGIC);
    deleted
        .serialize_into(&mut payload)
        .map_err(|e| Error::Internal(format!("could not encode a deletion vector: {e}")))?;
    Ok(payload)
}

/// Reads and decodes a deletion vector; its cardinality must be the one that the table's metadata
/// gives.
pub async fn load(storage: &Storage, vector: &DeletionVectorRef) -> Result<RoaringTreemap> {
    let (name, deleted) = match &vector.storage {
        DeletionVectorStorage::Inline(payload) => ("inline deletion vector", decode_inline(payload)?),
        DeletionVectorStorage::File { path, offset, length } => {
            if offset.checked_add(*length).is_none() {
                return Err(Error::corrupt(path, format!("no deletion vector at offset {offset}")));
            }
            let blob = storage.read_range(path, *offset, *length).await?;
            let deleted = decode(&blob).map_err(|e| at(path, *offset, e))?;
            (path.as_str(), deleted)
        }
    };
    if deleted.len() != vector.cardinality {
        return Err(Error::corrupt(
            name,
            format!("it deletes {} rows, its table's metadata says {}", deleted.len(), vector.cardinality),
        ));
    }
    Ok(deleted)
}

fn split_word(bytes: &[u8]) -> Result<([u8; WORD], &[u8])> {
    match bytes.split_first_chunk::<WORD>() {
        Some((word, rest)) => Ok((*word, rest)),
        None => Err(bad(format!("truncated to {} bytes", bytes.len()))),
    }
}

fn bad(reason: String) -> Error {
    Error::corrupt("deletion vector", reason)
}

fn at(path: &str, offset: u64, e: Error) -> Error {
    match e {
        Error::Corrupt { reason, .. } => {
            Error::corrupt(format!("deletion vector at {path}:{offset}"), reason)
        }
        e => e,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector() -> RoaringTreemap {
        [0, 3, 4, 7, 11, 18, 29, 100_000, 5_000_000_000].into_iter().collect()
    }

    #[test]
    fn round_trips() {
        for deleted in [vector(), RoaringTreemap::new(), (0..100_000).collect()] {
            assert_eq!(decode(&encode(&deleted).unwrap()).unwrap(), deleted);
            assert_eq!(decode_inline(&encode_inline(&deleted).unwrap()).unwrap(), deleted);
        }
    }

    /// Laid out by hand from the two specifications, so that the codec is not only tested against
    /// itself.
    #[test]
    fn has_the_layout_of_the_specifications() {
        let mut payload = MAGIC.to_vec();
        payload.extend(1u64.to_le_bytes()); // one 32-bit bitmap
        payload.extend(0u32.to_le_bytes()); // its key
        payload.extend(12346u32.to_le_bytes()); // cookie: no run containers
        payload.extend(1u32.to_le_bytes()); // one container
        payload.extend(0u16.to_le_bytes()); // its key
        payload.extend(5u16.to_le_bytes()); // its cardinality, less one
        payload.extend(16u32.to_le_bytes()); // its offset in the 32-bit bitmap
        for position in [3u16, 4, 7, 11, 18, 29] {
            payload.extend(position.to_le_bytes());
        }
        let deleted: RoaringTreemap = [3, 4, 7, 11, 18, 29].into_iter().collect();
        assert_eq!(decode_inline(&payload).unwrap(), deleted);
        let mut blob = (payload.len() as u32).to_be_bytes().to_vec();
        blob.extend(&payload);
        blob.extend(crc32fast::hash(&payload).to_be_bytes());
        assert_eq!(decode(&blob).unwrap(), deleted);
        assert_eq!(encode(&deleted).unwrap(), blob);
    }

    #[test]
    fn refuses_every_truncation_and_every_flipped_bit() {
        let blob = encode(&vector()).unwrap();
        for end in 0..blob.len() {
            assert!(decode(&blob[..end]).is_err(), "truncated to {end}");
        }
        for bit in 0..blob.len() * 8 {
            let mut broken = blob.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&broken).is_err(), "bit {bit}");
        }
        let mut longer = blob;
        longer.push(0);
        assert!(decode(&longer).is_err());
    }

    #[test]
    fn refuses_garbage_without_panicking() {
        for seed in 0..2000u64 {
            let bytes: Vec<u8> = (0..seed % 97)
                .map(|i| (seed.wrapping_mul(6364136223846793005).wrapping_add(i * 1442695) >> 33) as u8)
                .collect();
            assert!(decode(&bytes).is_err());
            let mut inline = MAGIC.to_vec();
            inline.extend(&bytes);
            let _ = decode_inline(&inline);
        }
    }
}
