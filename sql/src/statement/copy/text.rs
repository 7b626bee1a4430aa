//! The text format (Postgres manual, COPY, "Text Format").

use super::records::{End, Record};
use crate::error::Result;
use crate::parser::statement::CopyOptions;

/// End of the first record at or after `from`.
pub(super) fn find_end(data: &[u8], from: usize, last: bool) -> Option<End> {
    let mut at = from;
    // A backslash before the place may take the byte that stands there.
    if escaped(data, at) {
        at += 1;
    }
    while let Some(&byte) = data.get(at) {
        match byte {
            b'\\' => {
                if data.get(at + 1).is_none() && !last {
                    return None;
                }
                at += 2;
            }
            b'\n' => return Some(end(data, at, at + 1)),
            b'\r' => match data.get(at + 1) {
                Some(b'\n') => return Some(end(data, at, at + 2)),
                Some(_) => return Some(end(data, at, at + 1)),
                None if last => return Some(end(data, at, at + 1)),
                None => return None,
            },
            _ => at += 1,
        }
    }
    (last && !data.is_empty()).then(|| end(data, data.len(), data.len()))
}

fn escaped(data: &[u8], at: usize) -> bool {
    let backslashes =
        data.get(..at).unwrap_or_default().iter().rev().take_while(|byte| **byte == b'\\').count();
    backslashes % 2 == 1
}

fn end(data: &[u8], length: usize, consumed: usize) -> End {
    let inside = data.get(..length).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count();
    End { length, consumed, lines: inside as u64 + 1 }
}

pub(super) fn split(text: &str, options: &CopyOptions, line: u64) -> Result<Record> {
    let delimiter = char::from(options.delimiter);
    let mut fields = Vec::new();
    let mut raw_start = 0;
    let mut chars = text.char_indices();
    let mut finish = |raw: &str| {
        // NULL is recognised before backslashes are read.
        fields.push(if raw == options.null { None } else { Some(unescape(raw)) });
    };
    while let Some((at, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == delimiter {
            finish(text.get(raw_start..at).unwrap_or_default());
            raw_start = at + c.len_utf8();
        }
    }
    finish(text.get(raw_start..).unwrap_or_default());
    let quoted = vec![false; fields.len()];
    Ok(Record { line, fields, quoted })
}

fn unescape(raw: &str) -> String {
    if !raw.contains('\\') {
        return raw.to_string();
    }
    let mut result = Vec::with_capacity(raw.len());
    let bytes = raw.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        if byte != b'\\' {
            result.push(byte);
            continue;
        }
        let Some(&next) = bytes.get(at) else {
            result.push(b'\\');
            break;
        };
        at += 1;
        match next {
            b'b' => result.push(8),
            b'f' => result.push(12),
            b'n' => result.push(b'\n'),
            b'r' => result.push(b'\r'),
            b't' => result.push(b'\t'),
            b'v' => result.push(11),
            b'0'..=b'7' => {
                let (value, used) = digits(bytes, at - 1, 8, 3);
                result.push(value);
                at = at - 1 + used;
            }
            b'x' if bytes.get(at).is_some_and(u8::is_ascii_hexdigit) => {
                let (value, used) = digits(bytes, at, 16, 2);
                result.push(value);
                at += used;
            }
            other => result.push(other),
        }
    }
    // Escapes can make bytes that are no UTF-8: they are kept visible instead of failing the load.
    String::from_utf8(result).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

/// Value of at most `most` digits, and their number.
fn digits(bytes: &[u8], from: usize, radix: u32, most: usize) -> (u8, usize) {
    let mut value = 0_u32;
    let mut used = 0;
    while used < most
        && let Some(digit) = bytes.get(from + used).and_then(|byte| char::from(*byte).to_digit(radix))
    {
        value = value * radix + digit;
        used += 1;
    }
    ((value & 0xff) as u8, used)
}
