//! A manifest that is being written. The crate's writer encodes it in memory; what the crate cannot do
//! is done there before the file is stored: uuids among the partition values, entries that are copied.

use bytes::Bytes;
use iceberg::io::FileIO;
use iceberg::spec::{
    DataFile, FormatVersion, Manifest, ManifestContentType, ManifestFile, ManifestWriter,
    ManifestWriterBuilder, PartitionSpec, SchemaRef, TableMetadata, UNASSIGNED_SEQUENCE_NUMBER,
};

use super::copied_entries::CopiedEntries;
use super::uuid_partitions::UuidPartitions;
use crate::error::{Error, Result};
use crate::storage::Storage;

/// See the module.
pub struct NewManifest {
    writer: ManifestWriter,
    memory: FileIO,
    path: String,
    uuids: Option<UuidPartitions>,
}

impl NewManifest {
    /// A manifest of the table's version for partitions of `spec`, a spec of `schema`. Fails with
    /// `Unsupported` for delete files in version 1.
    pub fn new(
        metadata: &TableMetadata,
        snapshot_id: i64,
        content: ManifestContentType,
        schema: SchemaRef,
        spec: PartitionSpec,
        path: String,
    ) -> Result<Self> {
        let uuids = UuidPartitions::of(metadata, &schema, &spec)?;
        let schema = match &uuids {
            Some(uuids) => uuids.hidden_schema()?,
            None => schema,
        };
        let memory = FileIO::new_with_memory();
        let output = memory.new_output(&path).map_err(|e| failed(&path, e))?;
        let builder = ManifestWriterBuilder::new(output, Some(snapshot_id), schema, spec);
        let writer = match (metadata.format_version(), content) {
            (FormatVersion::V1, ManifestContentType::Data) => builder.build_v1(),
            (FormatVersion::V1, ManifestContentType::Deletes) => {
                return Err(Error::unsupported(&path, "delete files in format version 1"));
            }
            (FormatVersion::V2, ManifestContentType::Data) => builder.build_v2_data(),
            (FormatVersion::V2, ManifestContentType::Deletes) => builder.build_v2_deletes(),
            (FormatVersion::V3, ManifestContentType::Data) => builder.build_v3_data(),
            (FormatVersion::V3, ManifestContentType::Deletes) => builder.build_v3_deletes(),
        };
        Ok(Self { writer, memory, path, uuids })
    }

    /// A new file, whose sequence numbers are those of the commit.
    pub fn add(&mut self, file: DataFile) -> Result<()> {
        self.writer.add_file(file, UNASSIGNED_SEQUENCE_NUMBER).map_err(|e| failed(&self.path, e))
    }

    /// A file that stays, with its snapshot, data sequence number and file sequence number.
    pub fn keep(&mut self, file: DataFile, origin: (i64, i64, i64)) -> Result<()> {
        let (snapshot, sequence, file_sequence) = origin;
        let kept = self.writer.add_existing_file(file, snapshot, sequence, Some(file_sequence));
        kept.map_err(|e| failed(&self.path, e))
    }

    /// A file that is removed, with its data sequence number and file sequence number.
    pub fn remove(&mut self, file: DataFile, sequence: i64, file_sequence: i64) -> Result<()> {
        let removed = self.writer.add_delete_file(file, sequence, Some(file_sequence));
        removed.map_err(|e| failed(&self.path, e))
    }

    pub async fn write(self, storage: &Storage) -> Result<ManifestFile> {
        let (mut file, bytes) = self.encode().await?;
        store(storage, &mut file, bytes).await?;
        Ok(file)
    }

    /// Writes entries that are copied: the crate is given the sample, to sum up its partitions. `None`,
    /// and nothing is written: the crate encodes entries in another way.
    pub async fn write_copied(
        mut self,
        storage: &Storage,
        sample: &Manifest,
        entries: &CopiedEntries,
    ) -> Result<Option<ManifestFile>> {
        for entry in sample.entries() {
            let origin = (entry.snapshot_id(), entry.sequence_number(), entry.file_sequence_number);
            let (Some(snapshot), Some(sequence), Some(file_sequence)) = origin else {
                return Err(Error::Internal(format!("an entry for {} is not whole", self.path)));
            };
            let file = entry.data_file().clone();
            match entry.is_alive() {
                true => self.keep(file, (snapshot, sequence, file_sequence))?,
                false => self.remove(file, sequence, file_sequence)?,
            }
        }
        let (mut file, encoded) = self.encode().await?;
        let Some(bytes) = entries.instead_of_those_of(&encoded) else { return Ok(None) };
        file.existing_files_count = Some(entries.existing_files);
        file.existing_rows_count = Some(entries.existing_rows);
        file.min_sequence_number = entries.min_sequence_number.unwrap_or(UNASSIGNED_SEQUENCE_NUMBER);
        store(storage, &mut file, bytes).await?;
        Ok(Some(file))
    }

    async fn encode(self) -> Result<(ManifestFile, Bytes)> {
        let Self { writer, memory, path, uuids } = self;
        let encoded = async {
            let file = writer.write_manifest_file().await?;
            Ok((file, memory.new_input(&path)?.read().await?))
        };
        let (file, bytes) = encoded.await.map_err(|e| failed(&path, e))?;
        match uuids {
            Some(uuids) => Ok((file, uuids.reveal(&bytes)?.into())),
            None => Ok((file, bytes)),
        }
    }
}

/// Metadata files are immutable and carry a UUID: one that exists already is never overwritten.
async fn store(storage: &Storage, file: &mut ManifestFile, bytes: Bytes) -> Result<()> {
    file.manifest_length = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    storage.create_own(&file.manifest_path, bytes).await
}

/// What the crate says is about what we gave it.
pub fn failed(path: &str, e: iceberg::Error) -> Error {
    Error::Internal(format!("writing {path}: {e}"))
}
