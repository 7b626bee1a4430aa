//! Snapshot summaries: what a commit added and removed, and the totals after it, under the keys
//! and by the rules of the reference implementation, so that other engines can go on counting.

use std::collections::{BTreeMap, HashMap, HashSet};

use iceberg::spec::{DataContentType, DataFile, DataFileFormat, Operation, Struct, Summary};

/// Counts what one snapshot changes.
#[derive(Debug, Default)]
pub struct SummaryCollector {
    added: Counts,
    removed: Counts,
    partitions: HashSet<(i32, Struct)>,
}

#[derive(Debug, Default)]
struct Counts {
    data_files: u64,
    records: u64,
    bytes: u64,
    position_delete_files: u64,
    deletion_vectors: u64,
    position_deletes: u64,
    equality_delete_files: u64,
    equality_deletes: u64,
}

impl Counts {
    fn count(&mut self, file: &DataFile) {
        // Deletion vectors share a file, of which each one takes a part.
        let part = file.content_size_in_bytes().and_then(|size| u64::try_from(size).ok());
        self.bytes += part.unwrap_or(file.file_size_in_bytes());
        match file.content_type() {
            DataContentType::Data => {
                self.data_files += 1;
                self.records += file.record_count();
            }
            DataContentType::PositionDeletes => {
                match file.file_format() {
                    DataFileFormat::Puffin => self.deletion_vectors += 1,
                    _ => self.position_delete_files += 1,
                }
                self.position_deletes += file.record_count();
            }
            DataContentType::EqualityDeletes => {
                self.equality_delete_files += 1;
                self.equality_deletes += file.record_count();
            }
        }
    }

    fn delete_files(&self) -> u64 {
        self.position_delete_files + self.deletion_vectors + self.equality_delete_files
    }

    /// In the order of [`ADDED`] and [`REMOVED`].
    fn values(&self) -> [u64; 9] {
        [
            self.data_files,
            self.records,
            self.bytes,
            self.delete_files(),
            self.position_delete_files,
            self.deletion_vectors,
            self.position_deletes,
            self.equality_delete_files,
            self.equality_deletes,
        ]
    }
}

const ADDED: [&str; 9] = [
    "added-data-files",
    "added-records",
    "added-files-size",
    "added-delete-files",
    "added-position-delete-files",
    "added-dvs",
    "added-position-deletes",
    "added-equality-delete-files",
    "added-equality-deletes",
];
const REMOVED: [&str; 9] = [
    "deleted-data-files",
    "deleted-records",
    "removed-files-size",
    "removed-delete-files",
    "removed-position-delete-files",
    "removed-dvs",
    "removed-position-deletes",
    "removed-equality-delete-files",
    "removed-equality-deletes",
];

/// Total, what adds to it, what takes from it.
const TOTALS: [(&str, &str, &str); 6] = [
    ("total-records", "added-records", "deleted-records"),
    ("total-files-size", "added-files-size", "removed-files-size"),
    ("total-data-files", "added-data-files", "deleted-data-files"),
    ("total-delete-files", "added-delete-files", "removed-delete-files"),
    ("total-position-deletes", "added-position-deletes", "removed-position-deletes"),
    ("total-equality-deletes", "added-equality-deletes", "removed-equality-deletes"),
];

impl SummaryCollector {
    pub fn add(&mut self, file: &DataFile, spec_id: i32) {
        self.added.count(file);
        self.partitions.insert((spec_id, file.partition().clone()));
    }

    pub fn remove(&mut self, file: &DataFile, spec_id: i32) {
        self.removed.count(file);
        self.partitions.insert((spec_id, file.partition().clone()));
    }

    /// The summary of a snapshot on top of one with `previous`. `extra`: further entries, which do
    /// not replace counted ones.
    pub fn build(
        &self,
        operation: Operation,
        previous: Option<&Summary>,
        extra: &BTreeMap<String, String>,
    ) -> Summary {
        let mut entries: HashMap<String, String> =
            extra.iter().filter(|(k, _)| *k != "operation").map(|(k, v)| (k.clone(), v.clone())).collect();
        entries.insert("engine-name".into(), "auric".into());
        entries.insert("engine-version".into(), env!("CARGO_PKG_VERSION").into());
        entries.insert("changed-partition-count".into(), self.partitions.len().to_string());
        let added = ADDED.into_iter().zip(self.added.values());
        let removed = REMOVED.into_iter().zip(self.removed.values());
        for (key, value) in added.chain(removed) {
            // What others pass in under these names is not what was counted.
            entries.remove(key);
            if value > 0 {
                entries.insert(key.into(), value.to_string());
            }
        }
        add_totals(&mut entries, previous);
        Summary { operation, additional_properties: entries }
    }
}

/// A total that the previous snapshot did not know, or that would become negative, is left out:
/// no total is better than a wrong one.
fn add_totals(entries: &mut HashMap<String, String>, previous: Option<&Summary>) {
    for (total, added, removed) in TOTALS {
        entries.remove(total);
        let before = match previous {
            None => Some(0),
            Some(summary) => summary.additional_properties.get(total).and_then(|v| v.parse::<i64>().ok()),
        };
        let change = |key: &str| entries.get(key).and_then(|v| v.parse::<i64>().ok()).unwrap_or(0);
        let after = before
            .filter(|n| *n >= 0)
            .and_then(|n| n.checked_add(change(added)))
            .and_then(|n| n.checked_sub(change(removed)))
            .filter(|n| *n >= 0);
        if let Some(after) = after {
            entries.insert(total.to_string(), after.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use iceberg::spec::DataFileBuilder;

    use super::*;

    fn data_file(records: u64, bytes: u64) -> DataFile {
        DataFileBuilder::default()
            .content(DataContentType::Data)
            .file_path("f".to_string())
            .file_format(DataFileFormat::Parquet)
            .partition(Struct::empty())
            .record_count(records)
            .file_size_in_bytes(bytes)
            .build()
            .unwrap()
    }

    #[test]
    fn totals_go_on_from_the_previous_snapshot() {
        let mut collector = SummaryCollector::default();
        collector.add(&data_file(10, 100), 0);
        collector.add(&data_file(5, 50), 0);
        let extra =
            BTreeMap::from([("added-records".to_string(), "999".to_string()), ("x".into(), "y".into())]);
        let first = collector.build(Operation::Append, None, &extra);
        let of = |summary: &Summary, key: &str| summary.additional_properties.get(key).cloned();
        assert_eq!(of(&first, "added-records").as_deref(), Some("15"));
        assert_eq!(of(&first, "total-records").as_deref(), Some("15"));
        assert_eq!(of(&first, "total-delete-files").as_deref(), Some("0"));
        assert_eq!(of(&first, "changed-partition-count").as_deref(), Some("1"));
        assert_eq!(of(&first, "added-delete-files"), None);
        assert_eq!(of(&first, "x").as_deref(), Some("y"));
        let mut second = collector.build(Operation::Append, Some(&first), &BTreeMap::new());
        assert_eq!(of(&second, "total-data-files").as_deref(), Some("4"));
        assert_eq!(of(&second, "total-files-size").as_deref(), Some("300"));
        second.additional_properties.remove("total-records");
        let third = collector.build(Operation::Append, Some(&second), &BTreeMap::new());
        assert_eq!(of(&third, "total-records"), None);
    }
}
