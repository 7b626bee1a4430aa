//! The CSV format (Postgres manual, COPY, "CSV Format").

use super::records::{End, Record};
use crate::error::{Error, Result, SqlState};
use crate::parser::statement::CopyOptions;

/// End of the record that begins the data: the first line end outside of quotes.
pub(super) fn find_end(data: &[u8], options: &CopyOptions, last: bool) -> Option<End> {
    let (quote, escape) = (options.quote, options.escape);
    let mut inside = false;
    let mut lines = 1;
    let mut at = 0;
    while let Some(&byte) = data.get(at) {
        if inside {
            if byte == escape
                && escape != quote
                && matches!(data.get(at + 1), Some(next) if *next == quote || *next == escape)
            {
                at += 2;
                continue;
            }
            if byte == quote {
                inside = false;
            } else if byte == b'\n' {
                lines += 1;
            }
        } else if byte == quote {
            // A doubled quote leaves and enters again, which is the same.
            inside = true;
        } else if byte == b'\n' {
            return Some(End { length: at, consumed: at + 1, lines });
        } else if byte == b'\r' {
            match data.get(at + 1) {
                Some(b'\n') => return Some(End { length: at, consumed: at + 2, lines }),
                Some(_) => return Some(End { length: at, consumed: at + 1, lines }),
                None if last => return Some(End { length: at, consumed: at + 1, lines }),
                None => return None,
            }
        }
        at += 1;
    }
    (last && !inside && !data.is_empty()).then_some(End { length: data.len(), consumed: data.len(), lines })
}

pub(super) fn split(text: &str, options: &CopyOptions, line: u64) -> Result<Record> {
    let (delimiter, quote, escape) =
        (char::from(options.delimiter), char::from(options.quote), char::from(options.escape));
    let mut record = Record { line, fields: Vec::new(), quoted: Vec::new() };
    let mut current = String::new();
    let (mut inside, mut was_quoted) = (false, false);
    let mut chars = text.chars().peekable();
    let mut finish = |current: &mut String, was_quoted: &mut bool| {
        let value = std::mem::take(current);
        let null = !*was_quoted && value == options.null;
        record.fields.push(if null { None } else { Some(value) });
        record.quoted.push(std::mem::take(was_quoted));
    };
    while let Some(c) = chars.next() {
        if inside {
            if c == escape
                && chars.peek().is_some_and(|next| *next == quote || (*next == escape && escape != quote))
            {
                current.extend(chars.next());
            } else if c == quote {
                inside = false;
            } else {
                current.push(c);
            }
        } else if c == quote {
            inside = true;
            was_quoted = true;
        } else if c == delimiter {
            finish(&mut current, &mut was_quoted);
        } else {
            current.push(c);
        }
    }
    if inside {
        return Err(Error::new(SqlState::BAD_COPY_FORMAT, "unterminated CSV quoted field")
            .with_detail(format!("line {line}")));
    }
    finish(&mut current, &mut was_quoted);
    Ok(record)
}
