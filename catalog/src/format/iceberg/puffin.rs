//! Writes Puffin files of deletion vectors (<https://iceberg.apache.org/puffin-spec/>): magic, blobs,
//! and a footer that lists them. Written as they come: the offsets, which a table's metadata needs, are
//! known at once.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::table::FieldId;
use crate::write::Upload;

const MAGIC: &[u8; 4] = b"PFA1";
const DELETION_VECTOR: &str = "deletion-vector-v1";
/// Reserved field id of a row's position in its file (not that of `pos` in position delete files).
const ROW_POSITION: FieldId = 2_147_483_645;
/// Of blobs that inherit snapshot id and sequence number from the table's metadata.
const INHERITED: i64 = -1;

/// A Puffin file being written. Dropping it abandons the upload.
#[derive(Debug)]
pub struct PuffinWriter {
    path: String,
    upload: Upload,
    bytes: u64,
    blobs: Vec<Value>,
}

impl PuffinWriter {
    pub async fn new(upload: Upload, path: &str) -> Result<Self> {
        let mut writer = Self { path: path.to_string(), upload, bytes: 0, blobs: Vec::new() };
        writer.put(Bytes::from_static(MAGIC)).await?;
        Ok(writer)
    }

    /// Appends the encoded deletion vector of a data file; returns its offset.
    pub async fn deletion_vector(&mut self, data_file: &str, cardinality: u64, blob: Vec<u8>) -> Result<u64> {
        let offset = self.bytes;
        self.blobs.push(json!({
            "type": DELETION_VECTOR,
            "fields": [ROW_POSITION],
            "snapshot-id": INHERITED,
            "sequence-number": INHERITED,
            "offset": offset,
            "length": blob.len(),
            "properties": { "referenced-data-file": data_file, "cardinality": cardinality.to_string() },
        }));
        self.put(blob.into()).await?;
        Ok(offset)
    }

    /// Writes the footer and completes the upload; returns the size of the file.
    pub async fn finish(mut self) -> Result<u64> {
        let created_by = concat!("auric version ", env!("CARGO_PKG_VERSION"));
        let payload = json!({ "blobs": self.blobs, "properties": { "created-by": created_by } }).to_string();
        let length =
            u32::try_from(payload.len()).map_err(|e| Error::Internal(format!("{}: {e}", self.path)))?;
        let mut footer = Vec::with_capacity(payload.len() + 16);
        footer.extend_from_slice(MAGIC);
        footer.extend_from_slice(payload.as_bytes());
        footer.extend_from_slice(&length.to_le_bytes());
        // Flags: the footer is not compressed.
        footer.extend_from_slice(&[0; 4]);
        footer.extend_from_slice(MAGIC);
        self.put(footer.into()).await?;
        self.upload.finish().await?;
        Ok(self.bytes)
    }

    async fn put(&mut self, bytes: Bytes) -> Result<()> {
        self.bytes += bytes.len() as u64;
        self.upload.put(bytes).await
    }
}
