//! Lines of COPY … TO STDOUT as text and CSV (manual, COPY, "File Formats"): values that are text already,
//! quoted and put one behind the other.

use std::fmt;

use crate::parser::statement::{CopyFormat, CopyOptions, Header};

/// How a line is written.
#[derive(Clone)]
pub struct CopyLines {
    options: CopyOptions,
    names: Vec<String>,
    /// Columns whose values are quoted always.
    forced: Vec<bool>,
}

impl fmt::Debug for CopyLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyLines").field("names", &self.names).finish_non_exhaustive()
    }
}

impl CopyLines {
    pub(super) fn new(options: CopyOptions, names: Vec<String>) -> Self {
        let forced = names.iter().map(|name| options.force_quote.contains(name)).collect();
        Self { options, names, forced }
    }

    /// The line of the columns' names, if one is asked for.
    pub fn header(&self) -> Option<Vec<u8>> {
        if self.options.header == Header::None {
            return None;
        }
        let mut line = Vec::new();
        for (i, name) in self.names.iter().enumerate() {
            self.separate(i, &mut line);
            self.quoted(name.as_bytes(), false, &mut line);
        }
        self.end(&mut line);
        Some(line)
    }

    /// Appends the value of a column, which are given in order. `None`: NULL.
    pub fn value(&self, column: usize, value: Option<&[u8]>, line: &mut Vec<u8>) {
        self.separate(column, line);
        match value {
            None => line.extend_from_slice(self.options.null.as_bytes()),
            Some(value) => {
                self.quoted(value, self.forced.get(column).copied().unwrap_or(false), line);
            }
        }
    }

    /// Appends what ends a line.
    pub fn end(&self, line: &mut Vec<u8>) {
        line.push(b'\n');
    }

    fn separate(&self, column: usize, line: &mut Vec<u8>) {
        if column > 0 {
            line.push(self.options.delimiter);
        }
    }

    fn quoted(&self, value: &[u8], force: bool, line: &mut Vec<u8>) {
        if self.options.format == CopyFormat::Csv {
            self.csv(value, force, line)
        } else {
            self.text(value, line)
        }
    }

    fn csv(&self, value: &[u8], force: bool, line: &mut Vec<u8>) {
        let options = &self.options;
        let special = |byte: &u8| [options.delimiter, options.quote, b'\n', b'\r'].contains(byte);
        let quote = force || value == options.null.as_bytes() || value.iter().any(special) || value == b"\\.";
        if !quote {
            line.extend_from_slice(value);
            return;
        }
        line.push(options.quote);
        for byte in value {
            if *byte == options.quote || *byte == options.escape {
                line.push(options.escape);
            }
            line.push(*byte);
        }
        line.push(options.quote);
    }

    fn text(&self, value: &[u8], line: &mut Vec<u8>) {
        for byte in value {
            match *byte {
                b'\\' => line.extend_from_slice(b"\\\\"),
                b'\n' => line.extend_from_slice(b"\\n"),
                b'\r' => line.extend_from_slice(b"\\r"),
                b'\t' => line.extend_from_slice(b"\\t"),
                8 => line.extend_from_slice(b"\\b"),
                12 => line.extend_from_slice(b"\\f"),
                11 => line.extend_from_slice(b"\\v"),
                byte if byte == self.options.delimiter => line.extend_from_slice(&[b'\\', byte]),
                byte => line.push(byte),
            }
        }
    }
}
