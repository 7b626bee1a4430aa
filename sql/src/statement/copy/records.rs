//! Bytes of COPY FROM to records, whatever pieces they arrive in.

use crate::error::{Error, Result, SqlState};
use crate::parser::statement::{CopyFormat, CopyOptions};

/// Longest record, bytes: what does not end within it is no text of this format.
const MAX_RECORD_BYTES: usize = 256 * 1024 * 1024;

/// A field; `None`: NULL.
pub type FieldText = Option<String>;

/// One record and the line on which it ends.
#[derive(Debug, PartialEq)]
pub struct Record {
    pub line: u64,
    pub fields: Vec<FieldText>,
    /// CSV: which fields were quoted.
    pub quoted: Vec<bool>,
}

/// Where a record ends in a buffer.
pub(super) struct End {
    /// Bytes of the record, without its line end.
    pub length: usize,
    /// Bytes to skip with it.
    pub consumed: usize,
    /// Lines that it covers.
    pub lines: u64,
}

/// Splits bytes into records.
#[derive(Debug)]
pub struct Records {
    options: CopyOptions,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were given out.
    start: usize,
    /// Bytes after `start` that are known to hold no record's end. (A CSV record is searched again
    /// from its beginning, as it may have been cut inside quotes.)
    searched: usize,
    line: u64,
    ended: bool,
}

impl Records {
    pub fn new(options: CopyOptions) -> Self {
        Self { options, buffer: Vec::new(), start: 0, searched: 0, line: 0, ended: false }
    }

    pub fn push(&mut self, data: &[u8]) {
        if self.ended {
            return;
        }
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(data);
    }

    /// The next complete record. `last`: no more bytes will come. `None`: more bytes are needed, or
    /// the end was reached.
    pub fn next(&mut self, last: bool) -> Result<Option<Record>> {
        if self.ended {
            return Ok(None);
        }
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        let csv = self.options.format == CopyFormat::Csv;
        let found = if csv {
            super::csv::find_end(rest, &self.options, last)
        } else {
            super::text::find_end(rest, self.searched, last)
        };
        let end = match found {
            Some(end) => end,
            None if last && csv => {
                return Err(Error::new(SqlState::BAD_COPY_FORMAT, "unterminated CSV quoted field")
                    .with_detail(format!("line {}", self.line + 1)));
            }
            None => {
                if rest.len() > MAX_RECORD_BYTES {
                    return Err(Error::new(
                        SqlState::PROGRAM_LIMIT_EXCEEDED,
                        "a line of COPY data is too long",
                    )
                    .with_detail(format!("line {}", self.line + 1)));
                }
                // A backslash or carriage return at the very end may belong to what follows.
                self.searched = rest.len().saturating_sub(2);
                return Ok(None);
            }
        };
        let bytes = rest.get(..end.length).unwrap_or_default();
        self.line += end.lines;
        let line = self.line;
        if bytes == b"\\." {
            self.ended = true;
            return Ok(None);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| {
            Error::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, "invalid byte sequence for encoding \"UTF8\"")
                .with_detail(format!("line {line}"))
        })?;
        let record = if csv {
            super::csv::split(text, &self.options, line)?
        } else {
            super::text::split(text, &self.options, line)?
        };
        self.start += end.consumed;
        self.searched = 0;
        Ok(Some(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::{self, Statement};

    fn options(with: &str) -> CopyOptions {
        let parsed = parser::parse(&format!("copy t from stdin {with}")).unwrap().remove(0);
        match parsed.statement.as_ref() {
            Statement::Copy(copy) => copy.options.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// All records, with the bytes arriving in pieces of every size.
    fn all(with: &str, data: &str) -> Vec<Vec<Option<String>>> {
        let mut results = Vec::new();
        for size in [1, 2, 3, 1000] {
            let mut records = Records::new(options(with));
            let mut rows = Vec::new();
            for piece in data.as_bytes().chunks(size) {
                records.push(piece);
                while let Some(record) = records.next(false).unwrap() {
                    rows.push(record.fields);
                }
            }
            while let Some(record) = records.next(true).unwrap() {
                rows.push(record.fields);
            }
            results.push(rows);
        }
        assert!(results.windows(2).all(|w| w[0] == w[1]), "{results:?}");
        results.remove(0)
    }

    fn row(fields: &[&str]) -> Vec<Option<String>> {
        fields.iter().map(|f| (*f != "∅").then(|| (*f).to_string())).collect()
    }

    #[test]
    fn text_format() {
        assert_eq!(
            all("", "1\tab\\tc\t\\N\n2\t\\\\N\t\\x41\\101\r\n3\ta\\\nb\té"),
            [row(&["1", "ab\tc", "∅"]), row(&["2", "\\N", "AA"]), row(&["3", "a\nb", "é"])]
        );
        assert_eq!(all("", "1\n\\.\nignored"), [row(&["1"])]);
        assert_eq!(all("(delimiter '|', null 'x')", "a|x|\n"), [row(&["a", "∅", ""])]);
    }

    #[test]
    fn csv_format() {
        assert_eq!(
            all("csv", "1,\"a,\"\"b\"\"\",\n2,\"\",x\r\n3,\"l1\nl2\",y"),
            [row(&["1", "a,\"b\"", "∅"]), row(&["2", "", "x"]), row(&["3", "l1\nl2", "y"])]
        );
        assert_eq!(all("(format csv, null 'NA', delimiter ';')", "NA;\"NA\";\n"), [row(&["∅", "NA", ""])]);
        let mut records = Records::new(options("csv"));
        records.push(b"1,\"open");
        assert!(records.next(true).is_err());
    }
}
