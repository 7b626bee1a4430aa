//! Records of COPY for the fuzzer.

use super::records::{Record, Records};
use crate::error::Result;
use crate::parser::{self, Statement};

const OPTIONS: [&str; 8] = [
    "",
    "(null '', delimiter '|')",
    "(default '@')",
    "(header match)",
    "(format csv)",
    "(format csv, quote '''', escape '\\', delimiter ';')",
    "(format csv, null 'null', default '@')",
    "(format csv, force_not_null (a), force_null (b), header)",
];

/// The first byte says with which options, the second how long the pieces are that the others come in.
///
/// # Panics
///
/// If the records depend on the pieces.
pub fn copy_records(data: &[u8]) {
    let [number, size, bytes @ ..] = data else { return };
    let options = OPTIONS.get(usize::from(*number) % OPTIONS.len()).copied().unwrap_or_default();
    let size = usize::from(*size).max(1);
    let whole = records(options, bytes, bytes.len().max(1));
    let pieces = records(options, bytes, size);
    match (whole, pieces) {
        (Ok(whole), Ok(pieces)) => assert_eq!(whole, pieces, "in pieces of {size} with {options}"),
        (whole, pieces) => assert_eq!(whole.is_err(), pieces.is_err(), "in pieces of {size} with {options}"),
    }
}

fn records(options: &str, data: &[u8], size: usize) -> Result<Vec<Record>> {
    let mut found = Vec::new();
    let parsed = parser::parse(&format!("copy t (a, b) from stdin {options}"))?;
    let Some(Statement::Copy(copy)) = parsed.first().map(|parsed| parsed.statement.as_ref()) else {
        return Ok(found);
    };
    let mut records = Records::new(copy.options.clone());
    for piece in data.chunks(size) {
        records.push(piece);
        while let Some(record) = records.next(false)? {
            found.push(record);
        }
    }
    while let Some(record) = records.next(true)? {
        found.push(record);
    }
    Ok(found)
}
