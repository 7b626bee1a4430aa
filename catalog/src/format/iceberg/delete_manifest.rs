//! Delete manifests, and the index over all of a snapshot's deletes (Iceberg spec, "Delete Formats"
//! and "Scan Planning").

use std::sync::Arc;

use datafusion::scalar::ScalarValue;
use iceberg::spec::{
    DataContentType, DataFile as IcebergDataFile, DataFileFormat, Manifest, ManifestFile, PrimitiveLiteral,
};

use super::data_manifest::partition_values;
use super::manifests::sequence_number;
use super::partition::BoundSpec;
use crate::error::{Error, Result};
use crate::table::FieldId;
use crate::table::deletes::{DeleteIndex, EqualityDeleteFile, PartitionKey, PositionDeleteFile};
use crate::table::deletion_vector::{DeletionVectorRef, DeletionVectorStorage};

/// Reserved field ids of `file_path` and `pos` in position delete files.
pub const FILE_PATH: FieldId = 2_147_483_546;
pub const POS: FieldId = 2_147_483_545;

/// A parsed delete manifest.
#[derive(Debug, Default)]
pub struct DeleteManifest {
    /// Data file path, sequence number, vector.
    deletion_vectors: Vec<(String, i64, DeletionVectorRef)>,
    positions: Vec<(PartitionKey, Arc<PositionDeleteFile>)>,
    /// Without key: global.
    equality: Vec<(Option<PartitionKey>, Arc<EqualityDeleteFile>)>,
}

impl DeleteManifest {
    /// Memory that it takes, roughly.
    pub fn size_bytes(&self) -> usize {
        512 * (1 + self.deletion_vectors.len() + self.positions.len() + self.equality.len())
    }

    /// Whether a live entry is for one of these data files alone.
    pub fn refers_to(&self, is_wanted: impl Fn(&str) -> bool) -> bool {
        let by_name = self.positions.iter().filter_map(|(_, file)| file.referenced_data_file.as_deref());
        self.deletion_vectors.iter().map(|(path, ..)| path.as_str()).chain(by_name).any(is_wanted)
    }
}

/// Converts the live entries of `manifest`. Fails with `Unsupported` for delete files that are
/// neither Parquet nor Puffin, `Corrupt` for what the spec forbids.
pub fn convert(file: &ManifestFile, manifest: &Manifest, bound: &BoundSpec) -> Result<DeleteManifest> {
    let live: Vec<_> = manifest.entries().iter().filter(|e| e.is_alive()).collect();
    let data: Vec<&IcebergDataFile> = live.iter().map(|e| e.data_file()).collect();
    let partitions = partition_values(file, manifest, bound, &data)?;
    let mut converted = DeleteManifest::default();
    for (row, entry) in live.iter().enumerate() {
        let delete = entry.data_file();
        if delete.key_metadata().is_some() {
            return Err(Error::unsupported(delete.file_path(), "encryption"));
        }
        let sequence = sequence_number(file, entry.status(), entry.sequence_number())?;
        let values = partitions.iter().map(|array| ScalarValue::try_from_array(array, row));
        let partition = (bound.spec.spec_id, values.collect::<Result<Vec<_>, _>>()?);
        match (delete.content_type(), delete.file_format()) {
            (DataContentType::PositionDeletes, DataFileFormat::Puffin) => {
                converted.deletion_vectors.push(deletion_vector(delete, sequence)?);
            }
            (DataContentType::PositionDeletes, DataFileFormat::Parquet) => {
                converted.positions.push((partition, Arc::new(position_deletes(delete, sequence))));
            }
            (DataContentType::EqualityDeletes, DataFileFormat::Parquet) => {
                let scope = (!bound.spec.is_unpartitioned()).then_some(partition);
                converted.equality.push((scope, Arc::new(equality_deletes(delete, sequence)?)));
            }
            (DataContentType::Data, _) => {
                return Err(Error::corrupt(&file.manifest_path, "a delete manifest lists a data file"));
            }
            (_, other) => {
                return Err(Error::unsupported(delete.file_path(), format!("the file format {other}")));
            }
        }
    }
    Ok(converted)
}

fn deletion_vector(delete: &IcebergDataFile, sequence: i64) -> Result<(String, i64, DeletionVectorRef)> {
    let path = delete.file_path();
    let required = |value: Option<i64>, what: &str| {
        value
            .and_then(|v| u64::try_from(v).ok())
            .ok_or_else(|| Error::corrupt(path, format!("a deletion vector without {what}")))
    };
    let storage = DeletionVectorStorage::File {
        path: path.to_string(),
        offset: required(delete.content_offset(), "content_offset")?,
        length: required(delete.content_size_in_bytes(), "content_size_in_bytes")?,
    };
    let data_file = delete
        .referenced_data_file()
        .ok_or_else(|| Error::corrupt(path, "a deletion vector without referenced_data_file"))?;
    Ok((data_file, sequence, DeletionVectorRef { storage, cardinality: delete.record_count() }))
}

/// The one data file that a position delete file or deletion vector is for, if it says so.
pub fn referenced_data_file(delete: &IcebergDataFile) -> Option<String> {
    if delete.content_type() != DataContentType::PositionDeletes {
        return None;
    }
    // Before `referenced_data_file` was added to the spec, equal bounds said the same.
    let by_bounds = || match (delete.lower_bounds().get(&FILE_PATH), delete.upper_bounds().get(&FILE_PATH)) {
        (Some(lower), Some(upper)) => match (lower.literal(), upper.literal()) {
            (PrimitiveLiteral::String(lower), PrimitiveLiteral::String(upper)) if lower == upper => {
                Some(lower.clone())
            }
            _ => None,
        },
        _ => None,
    };
    delete.referenced_data_file().or_else(by_bounds)
}

fn position_deletes(delete: &IcebergDataFile, sequence: i64) -> PositionDeleteFile {
    PositionDeleteFile {
        path: delete.file_path().to_string(),
        size_bytes: delete.file_size_in_bytes(),
        record_count: delete.record_count(),
        sequence_number: sequence,
        referenced_data_file: referenced_data_file(delete),
    }
}

fn equality_deletes(delete: &IcebergDataFile, sequence: i64) -> Result<EqualityDeleteFile> {
    let field_ids = delete.equality_ids().filter(|ids| !ids.is_empty());
    Ok(EqualityDeleteFile {
        path: delete.file_path().to_string(),
        size_bytes: delete.file_size_in_bytes(),
        record_count: delete.record_count(),
        sequence_number: sequence,
        field_ids: field_ids
            .ok_or_else(|| Error::corrupt(delete.file_path(), "equality deletes without equality_ids"))?,
    })
}

/// One index over the delete manifests of a snapshot. Fails with `Corrupt` if a data file has two
/// deletion vectors.
pub fn index(manifests: &[Arc<DeleteManifest>]) -> Result<DeleteIndex> {
    let mut index = DeleteIndex::default();
    for manifest in manifests {
        for (path, sequence, vector) in &manifest.deletion_vectors {
            if index.deletion_vectors.insert(path.clone(), (*sequence, vector.clone())).is_some() {
                return Err(Error::corrupt(path, "the data file has two deletion vectors"));
            }
        }
        for (partition, file) in &manifest.positions {
            match &file.referenced_data_file {
                Some(path) => index.positions_by_path.entry(path.clone()).or_default().push(file.clone()),
                None => {
                    index.positions_by_partition.entry(partition.clone()).or_default().push(file.clone());
                }
            }
        }
        for (scope, file) in &manifest.equality {
            match scope {
                Some(partition) => {
                    index.equality_by_partition.entry(partition.clone()).or_default().push(file.clone());
                }
                None => index.equality_global.push(file.clone()),
            }
        }
    }
    Ok(index)
}
