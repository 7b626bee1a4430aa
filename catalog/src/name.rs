//! Names of tables and namespaces inside one catalog.

use std::fmt;

use crate::error::{Error, Result};

/// Longest name of a namespace or table in bytes: what the columns of an SQL catalog hold.
const MAX_NAME_BYTES: usize = 255;
/// Longest name that is used for a directory as it is.
const MAX_DIRECTORY_BYTES: usize = 128;

/// A table inside a catalog: its namespace (a Postgres schema; the levels of a nested Iceberg
/// namespace are joined by dots, as the SQL catalog stores them) and its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableIdent {
    pub namespace: String,
    pub name: String,
}

impl TableIdent {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for TableIdent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace, self.name)
    }
}

/// Refuses names that cannot be stored. `kind` is for the message: `schema`, `table`.
pub fn check_name(kind: &str, name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::Invalid(format!("{kind} name is empty")));
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(Error::Invalid(format!("{kind} name is longer than {MAX_NAME_BYTES} bytes")));
    }
    if name.contains('\0') {
        return Err(Error::Invalid(format!("{kind} name contains a null character")));
    }
    Ok(())
}

/// Name of the directory of a new namespace or table: `name` itself if it is of letters, digits,
/// `_`, `-` and inner dots only. Anything else is replaced and told apart by a checksum, because
/// engines do not agree on which characters of a location are to be percent-encoded.
pub fn directory_name(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    // `_` and `.` at the start mean "hidden" to most engines.
    let is_hidden = |name: &str| name.starts_with(['_', '.']);
    if !is_hidden(name) && name.chars().all(is_plain) && name.len() <= MAX_DIRECTORY_BYTES {
        return name.to_string();
    }
    let plain: String = name.chars().take(64).map(|c| if is_plain(c) { c } else { '_' }).collect();
    let prefix = if is_hidden(&plain) { "x" } else { "" };
    format!("{prefix}{plain}-{:08x}", crc32fast::hash(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for name in ["", "a\0b", &"x".repeat(256)] {
            assert!(matches!(check_name("table", name), Err(Error::Invalid(_))));
        }
        assert!(check_name("table", "a.b \"c\" ü").is_ok());
    }

    #[test]
    fn directories_have_plain_names() {
        assert_eq!(directory_name("orders_2024.v1"), "orders_2024.v1");
        for name in ["a b", "ü", "a/b", "..", "_delta_log", "50%", "a#b", &"x".repeat(255)] {
            let directory = directory_name(name);
            assert!(directory.len() < 128 && !directory.starts_with(['.', '_']), "{directory}");
            assert!(directory.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b)));
        }
        assert_ne!(directory_name("a b"), directory_name("a_b"));
        assert_ne!(directory_name("a b"), directory_name("a?b"));
    }
}
