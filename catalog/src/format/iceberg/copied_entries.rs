//! Entries of manifests that go to a new manifest as they are encoded: a commit that changes a few
//! files of a table of thousands lists all of them anew, and decoding and encoding the metrics of all
//! would take longer than the change (Iceberg spec, "Manifests").
//!
//! Only what an entry inherits from its manifest is put into it: snapshot, sequence numbers, row id. To
//! sum up partitions, and for what is removed, the crate decodes a [`sample`](Copied::sample).
//!
//! **Invariant:** a manifest that this does not understand is copied by nobody (`None`): the way
//! through the crate knows what is wrong with it, if anything is.

use std::collections::HashSet;

use bytes::Bytes;
use iceberg::spec::{ManifestFile, ManifestStatus};
use serde_json::Value;

use super::avro::{Cursor, Layout, optional_long, put_long, put_optional_long};
use super::manifest_header::{AVRO_SCHEMA, ManifestHeader};
use super::manifests::{first_row_id, sequence_number};

/// Length of the marker after the header and each block.
const MARKER: usize = 16;
/// Bytes of a block of entries, about.
const BLOCK_BYTES: usize = 64 << 10;
const EXISTING: i64 = ManifestStatus::Existing as i64;
const ADDED: i64 = ManifestStatus::Added as i64;
const DELETED: i64 = ManifestStatus::Deleted as i64;
const DATA: i64 = 0;

/// What a new manifest takes over.
#[derive(Debug)]
pub struct Copied {
    /// What the crate has to decode: a manifest of the removed entries, and of one entry of each
    /// partition of the others, without its metrics.
    pub sample: Bytes,
    pub entries: CopiedEntries,
}

/// Entries as the blocks of a manifest have them.
#[derive(Debug)]
pub struct CopiedEntries {
    avro_schema: Value,
    blocks: Blocks,
    pub existing_files: u32,
    pub existing_rows: u64,
    /// Of the existing files.
    pub min_sequence_number: Option<i64>,
}

impl CopiedEntries {
    /// `manifest` with these entries instead of its own. `None`: its entries are of another schema.
    pub fn instead_of_those_of(&self, manifest: &[u8]) -> Option<Bytes> {
        let header = ManifestHeader::parse(manifest)?;
        if avro_schema(&header)? != self.avro_schema {
            return None;
        }
        header.followed_by(&self.blocks.after(header.rest.get(..MARKER)?)).map(Bytes::from)
    }
}

/// Takes the entries of manifests over that have the schema of the first.
#[derive(Debug)]
pub struct Copier<'a> {
    /// Of the first manifest.
    header: ManifestHeader<'a>,
    layout: EntryLayout,
    sample: Blocks,
    /// The partition values in the sample, encoded.
    partitions: HashSet<Vec<u8>>,
    entries: CopiedEntries,
}

impl<'a> Copier<'a> {
    pub fn like(manifest: &'a [u8]) -> Option<Self> {
        let header = ManifestHeader::parse(manifest)?;
        let avro_schema = avro_schema(&header)?;
        Some(Self {
            layout: EntryLayout::of(&avro_schema)?,
            header,
            sample: Blocks::default(),
            partitions: HashSet::new(),
            entries: CopiedEntries {
                avro_schema,
                blocks: Blocks::default(),
                existing_files: 0,
                existing_rows: 0,
                min_sequence_number: None,
            },
        })
    }

    /// Takes the live entries of `file` over. Those of the data files `gone` are listed as deleted by the
    /// snapshot `snapshot_id`.
    pub fn add(
        &mut self,
        manifest: &[u8],
        file: &ManifestFile,
        gone: &HashSet<&str>,
        snapshot_id: i64,
    ) -> Option<()> {
        let header = ManifestHeader::parse(manifest)?;
        let uncompressed = header.get("avro.codec").is_none_or(|codec| codec == b"null");
        if !uncompressed || avro_schema(&header)? != self.entries.avro_schema {
            return None;
        }
        let mut blocks = Cursor { rest: header.rest };
        let marker = blocks.take(MARKER)?;
        let mut next_row_id = file.first_row_id.and_then(|id| i64::try_from(id).ok());
        while !blocks.rest.is_empty() {
            let count = blocks.long()?;
            let mut block = Cursor { rest: blocks.bytes()? };
            for _ in 0..count {
                let entry = self.layout.read(&mut block)?;
                if entry.status != DELETED {
                    self.take(&entry, file, &mut next_row_id, gone, snapshot_id)?;
                }
            }
            if !block.rest.is_empty() || blocks.take(MARKER)? != marker {
                return None;
            }
        }
        Some(())
    }

    fn take(
        &mut self,
        entry: &Entry<'_>,
        file: &ManifestFile,
        next_row_id: &mut Option<i64>,
        gone: &HashSet<&str>,
        snapshot_id: i64,
    ) -> Option<()> {
        let status = if entry.status == ADDED { ManifestStatus::Added } else { ManifestStatus::Existing };
        let sequence = sequence_number(file, status, entry.sequence_number).ok()?;
        let file_sequence = sequence_number(file, status, entry.file_sequence_number).ok()?;
        let first_row_id = first_row_id(next_row_id, entry.first_row_id, entry.record_count);
        let removed = gone.contains(entry.path);
        let origin = entry.snapshot_id.unwrap_or(file.added_snapshot_id);
        let mut head = Vec::new();
        put_long(&mut head, if removed { DELETED } else { EXISTING });
        for number in [if removed { snapshot_id } else { origin }, sequence, file_sequence] {
            put_optional_long(&mut head, Some(number));
        }
        let whole = self.layout.encoded(entry, head.clone(), first_row_id, &[]);
        self.entries.blocks.push(&whole);
        if removed {
            self.sample.push(&whole);
            return Some(());
        }
        if !self.partitions.contains(entry.partition) {
            self.partitions.insert(entry.partition.to_vec());
            self.sample.push(&self.layout.encoded(entry, head, first_row_id, &self.layout.metrics));
        }
        self.entries.existing_files += 1;
        self.entries.existing_rows += u64::try_from(entry.record_count).ok()?;
        let least = self.entries.min_sequence_number.map_or(sequence, |least| least.min(sequence));
        self.entries.min_sequence_number = Some(least);
        Some(())
    }

    pub fn finish(self) -> Option<Copied> {
        let marker = self.header.rest.get(..MARKER)?;
        let sample = self.header.followed_by(&self.sample.after(marker))?.into();
        Some(Copied { sample, entries: self.entries })
    }
}

fn avro_schema(header: &ManifestHeader<'_>) -> Option<Value> {
    serde_json::from_slice(header.get(AVRO_SCHEMA)?).ok()
}

/// Encoded entries in blocks.
#[derive(Debug, Default)]
struct Blocks {
    bytes: Vec<u8>,
    /// Where a block ends, and how many entries it has.
    ends: Vec<(usize, i64)>,
    count: i64,
}

impl Blocks {
    fn push(&mut self, entry: &[u8]) {
        let from = self.ends.last().map_or(0, |(end, _)| *end);
        if self.bytes.len() - from >= BLOCK_BYTES {
            self.ends.push((self.bytes.len(), self.count));
            self.count = 0;
        }
        self.count += 1;
        self.bytes.extend_from_slice(entry);
    }

    /// Everything after the header of a file.
    fn after(&self, marker: &[u8]) -> Vec<u8> {
        let mut rest = marker.to_vec();
        let mut from = 0;
        let last = (self.count > 0).then_some((self.bytes.len(), self.count));
        for (end, count) in self.ends.iter().copied().chain(last) {
            let block = self.bytes.get(from..end).unwrap_or_default();
            put_long(&mut rest, count);
            put_long(&mut rest, i64::try_from(block.len()).unwrap_or(i64::MAX));
            rest.extend_from_slice(block);
            rest.extend_from_slice(marker);
            from = end;
        }
        rest
    }
}

/// Where the parts of an entry are.
#[derive(Debug)]
struct EntryLayout {
    number: Layout,
    data_file: Vec<Layout>,
    content: usize,
    path: usize,
    partition: usize,
    record_count: usize,
    first_row_id: Option<usize>,
    /// Fields that can be left out.
    metrics: Vec<usize>,
}

/// An entry as it is encoded, with what has to be known of it.
#[derive(Debug)]
struct Entry<'a> {
    status: i64,
    snapshot_id: Option<i64>,
    sequence_number: Option<i64>,
    file_sequence_number: Option<i64>,
    /// The fields of the data file.
    data_file: Vec<&'a [u8]>,
    path: &'a str,
    partition: &'a [u8],
    record_count: i64,
    first_row_id: Option<i64>,
}

impl EntryLayout {
    fn of(schema: &Value) -> Option<Self> {
        let Layout::Record(fields) = Layout::of(schema)? else { return None };
        let [status, snapshot, sequence, file_sequence, (data_name, Layout::Record(data_file))] =
            <[(String, Layout); 5]>::try_from(fields).ok()?
        else {
            return None;
        };
        let number = Layout::Union(vec![Layout::NULL, Layout::Long]);
        let is_number = |field: &(String, Layout), name: &str| field.0 == name && field.1 == number;
        let understood = status == ("status".to_string(), Layout::Long)
            && is_number(&snapshot, "snapshot_id")
            && is_number(&sequence, "sequence_number")
            && is_number(&file_sequence, "file_sequence_number")
            && data_name == "data_file";
        let position = |name: &str, is: fn(&Layout) -> bool| {
            data_file.iter().position(|(field, layout)| field == name && is(layout))
        };
        let first_row_id = data_file.iter().position(|(name, _)| name == "first_row_id");
        if !understood || first_row_id.is_some_and(|at| data_file.get(at).is_none_or(|(_, l)| *l != number)) {
            return None;
        }
        let is_long: fn(&Layout) -> bool = |layout| *layout == Layout::Long;
        Some(Self {
            content: position("content", is_long)?,
            path: position("file_path", |layout| *layout == Layout::Bytes)?,
            partition: position("partition", |layout| matches!(layout, Layout::Record(_)))?,
            record_count: position("record_count", is_long)?,
            first_row_id,
            metrics: (0..data_file.len())
                .filter(|n| data_file.get(*n).is_some_and(|(_, l)| l.is_optional()))
                .collect(),
            number,
            data_file: data_file.into_iter().map(|(_, layout)| layout).collect(),
        })
    }

    /// `None`: it is cut off, or no entry of a data file.
    fn read<'a>(&self, block: &mut Cursor<'a>) -> Option<Entry<'a>> {
        let status = block.long()?;
        let mut number = || optional_long(block.value(&self.number)?);
        let (snapshot_id, sequence_number, file_sequence_number) = (number()?, number()?, number()?);
        let data_file: Vec<&[u8]> =
            self.data_file.iter().map(|layout| block.value(layout)).collect::<Option<_>>()?;
        let field = |position: usize| Some(Cursor { rest: data_file.get(position)? });
        if !(EXISTING..=DELETED).contains(&status) || field(self.content)?.long()? != DATA {
            return None;
        }
        Some(Entry {
            status,
            snapshot_id,
            sequence_number,
            file_sequence_number,
            path: str::from_utf8(field(self.path)?.bytes()?).ok()?,
            partition: field(self.partition)?.rest,
            record_count: field(self.record_count)?.long()?,
            first_row_id: match self.first_row_id {
                Some(position) => optional_long(field(position)?.rest)?,
                None => None,
            },
            data_file,
        })
    }

    /// The entry after its `head` (status to file sequence number), with this row id and without the fields
    /// `left_out`.
    fn encoded(
        &self,
        entry: &Entry<'_>,
        head: Vec<u8>,
        first_row_id: Option<i64>,
        left_out: &[usize],
    ) -> Vec<u8> {
        let mut encoded = head;
        for (position, value) in entry.data_file.iter().enumerate() {
            if left_out.contains(&position) {
                put_optional_long(&mut encoded, None);
            } else if Some(position) == self.first_row_id {
                put_optional_long(&mut encoded, first_row_id);
            } else {
                encoded.extend_from_slice(value);
            }
        }
        encoded
    }
}
