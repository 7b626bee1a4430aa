//! Deletion vectors: a bitmap of deleted row positions of one data file.
//!
//! Iceberg v3 (Puffin blob `deletion-vector-v1`) and Delta (`.bin` file or inline) store the same
//! bytes: big-endian length, magic `D1 D3 39 64`, portable 64-bit roaring bitmap, big-endian CRC-32
//! of magic and bitmap.

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
