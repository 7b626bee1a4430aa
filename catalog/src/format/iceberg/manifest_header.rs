//! The header of a manifest, where the `iceberg` crate would not take it, or writes another than the
//! specification asks for (Avro specification, "Object Container Files").

use super::avro::{Cursor, put_long};

/// Start of an Avro object container file.
const MAGIC: &[u8] = b"Obj\x01";

/// Key of the Avro schema of the entries.
pub const AVRO_SCHEMA: &str = "avro.schema";

/// A manifest, its header taken apart.
#[derive(Debug)]
pub struct ManifestHeader<'a> {
    entries: Vec<(&'a [u8], Vec<u8>)>,
    /// The synchronization marker and the blocks of entries.
    pub rest: &'a [u8],
}

impl<'a> ManifestHeader<'a> {
    /// `None`: it is no manifest, or cut off in its header.
    pub fn parse(manifest: &'a [u8]) -> Option<Self> {
        let mut header = Cursor { rest: manifest.strip_prefix(MAGIC)? };
        let mut entries = Vec::new();
        loop {
            let count = header.long()?;
            if count == 0 {
                return Some(Self { entries, rest: header.rest });
            }
            if count < 0 {
                // Then the block's size in bytes comes first.
                header.long()?;
            }
            for _ in 0..count.unsigned_abs() {
                entries.push((header.bytes()?, header.bytes()?.to_vec()));
            }
        }
    }

    pub fn get(&self, key: &str) -> Option<&[u8]> {
        let found = self.entries.iter().find(|(name, _)| *name == key.as_bytes());
        found.map(|(_, value)| value.as_slice())
    }

    /// Replaces the value of a key that is there.
    pub fn set(&mut self, key: &str, new: Vec<u8>) {
        if let Some((_, value)) = self.entries.iter_mut().find(|(name, _)| *name == key.as_bytes()) {
            *value = new;
        }
    }

    pub fn to_manifest(&self) -> Option<Vec<u8>> {
        self.followed_by(self.rest)
    }

    /// A manifest of this header and another rest.
    pub fn followed_by(&self, rest: &[u8]) -> Option<Vec<u8>> {
        let mut written = MAGIC.to_vec();
        put_long(&mut written, i64::try_from(self.entries.len()).ok()?);
        for (key, value) in &self.entries {
            for part in [*key, value.as_slice()] {
                put_long(&mut written, i64::try_from(part.len()).ok()?);
                written.extend_from_slice(part);
            }
        }
        put_long(&mut written, 0);
        written.extend_from_slice(rest);
        Some(written)
    }
}

/// A file of these entries, for tests.
#[cfg(test)]
pub fn container(entries: &[(&str, &str)]) -> Vec<u8> {
    let entries = entries.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes().to_vec())).collect();
    ManifestHeader { entries, rest: b"the rest" }.to_manifest().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_and_one_that_is_cut_is_none() {
        let whole = container(&[("schema", &"x".repeat(300)), ("format-version", "2")]);
        let mut header = ManifestHeader::parse(&whole).unwrap();
        assert_eq!(header.to_manifest().as_ref(), Some(&whole));
        assert_eq!(header.get("format-version"), Some(b"2".as_slice()));
        header.set("schema", b"y".to_vec());
        assert_eq!(header.to_manifest(), Some(container(&[("schema", "y"), ("format-version", "2")])));
        for end in 0..whole.len() - "the rest".len() {
            assert!(ManifestHeader::parse(&whole[..end]).is_none(), "cut at {end}");
        }
    }
}
