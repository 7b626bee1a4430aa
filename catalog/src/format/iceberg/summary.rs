//! Snapshot summaries: what a commit added and removed, and the totals after it, under the keys
//! and by the rules of the reference implementation, so that other engines can go on counting.

use std::collections::{BTreeMap, HashMap, HashSet};

use iceberg::spec::{DataContentType, DataFile, DataFileFormat, Operation, Struct, Summary};

/// Counts what one snapshot changes.
#[derive(Debug, Default)]
pub struct SummaryCollector {
    added: Counts,
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
        self.bytes += file.file_size_in_bytes();
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
}

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
        for (key, value) in [
            ("added-data-files", self.added.data_files),
            ("added-records", self.added.records),
            ("added-files-size", self.added.bytes),
            ("added-delete-files", self.added.delete_files()),
            ("added-position-delete-files", self.added.position_delete_files),
            ("added-dvs", self.added.deletion_vectors),
            ("added-position-deletes", self.added.position_deletes),
            ("added-equality-delete-files", self.added.equality_delete_files),
            ("added-equality-deletes", self.added.equality_deletes),
        ] {
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
