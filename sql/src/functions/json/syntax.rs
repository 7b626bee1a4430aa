//! The text of JSON documents (RFC 8259): validated once, then taken apart one level at a time as
//! slices of the text, so that numbers, spaces, the order of keys and duplicate ones stay as written.
//!
//! Other readers of this program's dependencies give numbers as binary ones and forget duplicates.

use std::borrow::Cow;

use datafusion::error::Result;

use crate::error::{Error, SqlState};

/// Deepest nesting of arrays and objects.
const MAX_DEPTH: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

/// What kind a valid value is.
pub fn kind(value: &str) -> Kind {
    match value.as_bytes().first() {
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        Some(b'"') => Kind::String,
        Some(b't' | b'f') => Kind::Boolean,
        Some(b'n') => Kind::Null,
        _ => Kind::Number,
    }
}

/// The value that a whole text is, without the spaces around. Fails with 22P02.
pub fn document(text: &str) -> Result<&str> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.spaces();
    let value = scanner.value(0)?;
    scanner.spaces();
    if scanner.at < text.len() { Err(scanner.invalid()) } else { Ok(value) }
}

/// The items of an array.
pub fn items(array: &str) -> Result<Vec<&str>> {
    let mut scanner = Scanner { text: array, at: 0 };
    let mut items = Vec::new();
    scanner.array(0, &mut |item| items.push(item))?;
    Ok(items)
}

/// The members of an object in their order, keys without quotes and escapes.
pub fn members(object: &str) -> Result<Vec<(Cow<'_, str>, &str)>> {
    let mut scanner = Scanner { text: object, at: 0 };
    let mut members = Vec::new();
    scanner.object(0, &mut |key, value| members.push((key, value)))?;
    members.into_iter().map(|(key, value)| Ok((unquoted(key)?, value))).collect()
}

/// The last member of that key.
pub fn member<'a>(object: &'a str, key: &str) -> Result<Option<&'a str>> {
    let mut scanner = Scanner { text: object, at: 0 };
    let mut found = None;
    let mut failed = None;
    scanner.object(0, &mut |quoted, value| {
        let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
        let equal = if inner.contains('\\') {
            match unquoted(quoted) {
                Ok(name) => name == key,
                Err(e) => {
                    failed = Some(e);
                    false
                }
            }
        } else {
            inner == key
        };
        if equal {
            found = Some(value);
        }
    })?;
    failed.map_or(Ok(found), Err)
}

/// The text that a string stands for. Fails with 22P05 for what is no character of a text.
pub fn unquoted(string: &str) -> Result<Cow<'_, str>> {
    let inner = string.get(1..string.len().saturating_sub(1)).unwrap_or_default();
    if !inner.contains('\\') {
        return Ok(Cow::Borrowed(inner));
    }
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let mut after = rest[at + 1..].chars();
        let escaped = after.next();
        rest = after.as_str();
        match escaped {
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('t') => text.push('\t'),
            Some('u') => {
                let (character, tail) = code_point(rest)?;
                text.push(character);
                rest = tail;
            }
            Some(other) => text.push(other),
            None => {}
        }
    }
    text.push_str(rest);
    Ok(Cow::Owned(text))
}

fn unit(text: &str) -> Option<(u32, &str)> {
    let digits = text.get(..4)?;
    let hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let value = u32::from_str_radix(digits, 16).ok().filter(|_| hexadecimal)?;
    Some((value, text.get(4..)?))
}

/// The character after `\u`, of one or two units of UTF-16.
fn code_point(text: &str) -> Result<(char, &str)> {
    let surrogate = |detail: &str| {
        Error::new(SqlState::INVALID_TEXT, "invalid input syntax for type json").with_detail(detail)
    };
    let (first, rest) =
        unit(text).ok_or_else(|| surrogate("\"\\u\" must be followed by four hexadecimal digits."))?;
    if first == 0 {
        return Err(Error::new(SqlState("22P05"), "unsupported Unicode escape sequence")
            .with_detail("\\u0000 cannot be converted to text.")
            .into());
    }
    let value = if (0xd800..0xdc00).contains(&first) {
        let second = rest.strip_prefix("\\u").and_then(unit);
        let (second, tail) = second
            .filter(|(second, _)| (0xdc00..0xe000).contains(second))
            .ok_or_else(|| surrogate("Unicode low surrogate must follow a high surrogate."))?;
        let combined = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return char::from_u32(combined)
            .map(|character| (character, tail))
            .ok_or_else(|| surrogate("Unicode low surrogate must follow a high surrogate.").into());
    } else {
        first
    };
    char::from_u32(value)
        .map(|character| (character, rest))
        .ok_or_else(|| surrogate("Unicode low surrogate must follow a high surrogate.").into())
}

/// Appends a text as a string.
pub fn put_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn spaces(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn slice(&self, from: usize) -> &'a str {
        self.text.get(from..self.at).unwrap_or_default()
    }

    fn invalid(&self) -> datafusion::error::DataFusionError {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let word: String = rest.chars().take_while(|c| c.is_alphanumeric()).take(40).collect();
        let token = if word.is_empty() { rest.chars().take(1).collect() } else { word };
        let detail = if token.is_empty() {
            "The input string ended unexpectedly.".to_string()
        } else {
            format!("Token \"{token}\" is invalid.")
        };
        Error::new(SqlState::INVALID_TEXT, "invalid input syntax for type json").with_detail(detail).into()
    }

    fn value(&mut self, depth: usize) -> Result<&'a str> {
        let start = self.at;
        match self.peek() {
            Some(b'{') => self.object(depth, &mut |_, _| {})?,
            Some(b'[') => self.array(depth, &mut |_| {})?,
            Some(b'"') => self.string()?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => self.word()?,
        }
        Ok(self.slice(start))
    }

    fn word(&mut self) -> Result<()> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let word = ["true", "false", "null"].into_iter().find(|word| rest.starts_with(word));
        let ends = |word: &str| !rest[word.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
        match word.filter(|word| ends(word)) {
            Some(word) => {
                self.at += word.len();
                Ok(())
            }
            None => Err(self.invalid()),
        }
    }

    fn digits(&mut self) -> Result<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(self.invalid()) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<()> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        match self.peek() {
            Some(byte) if byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80 => Err(self.invalid()),
            _ => Ok(()),
        }
    }

    fn string(&mut self) -> Result<()> {
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
                        Some(b'u') => {
                            self.at += 1;
                            let rest = self.text.get(self.at..).unwrap_or_default();
                            unit(rest).ok_or_else(|| self.invalid())?;
                            self.at += 4;
                        }
                        _ => return Err(self.invalid()),
                    }
                }
                None | Some(0..=31) => return Err(self.invalid()),
                Some(_) => self.at += 1,
            }
        }
    }

    fn deeper(&self, depth: usize) -> Result<usize> {
        if depth >= MAX_DEPTH {
            let message = format!("a JSON value is nested more than {MAX_DEPTH} levels deep");
            return Err(Error::new(SqlState("54001"), message).into());
        }
        Ok(depth + 1)
    }

    fn array(&mut self, depth: usize, each: &mut dyn FnMut(&'a str)) -> Result<()> {
        let depth = self.deeper(depth)?;
        self.at += 1;
        self.spaces();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.spaces();
            each(self.value(depth)?);
            self.spaces();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.invalid()),
            }
        }
    }

    fn object(&mut self, depth: usize, each: &mut dyn FnMut(&'a str, &'a str)) -> Result<()> {
        let depth = self.deeper(depth)?;
        self.at += 1;
        self.spaces();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.spaces();
            let start = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.invalid());
            }
            self.string()?;
            let key = self.slice(start);
            self.spaces();
            if self.peek() != Some(b':') {
                return Err(self.invalid());
            }
            self.at += 1;
            self.spaces();
            each(key, self.value(depth)?);
            self.spaces();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.invalid()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{document, items, member, members, unquoted};

    #[test]
    fn values_as_written() {
        assert_eq!(document(" {\"a\" : 1.0e2} ").unwrap(), "{\"a\" : 1.0e2}");
        assert_eq!(items("[1, \"x\" ,[2]]").unwrap(), ["1", "\"x\"", "[2]"]);
        assert_eq!(members("{\"b\":1,\"a\":{\"c\":2}}").unwrap()[1], ("a".into(), "{\"c\":2}"));
        assert_eq!(member("{\"a\":1,\"\\u0061\":2}", "a").unwrap(), Some("2"));
        assert_eq!(unquoted("\"\\u00e4\\ud83d\\ude00\\n\"").unwrap(), "ä😀\n");
    }

    #[test]
    fn invalid_texts() {
        for text in [
            "", "{", "[1,]", "{\"a\"}", "01", "1.", "tru", "nullx", "\"a", "\"\\x\"", "[1 2]", "'a'", "1 2",
            "\"\t\"",
        ] {
            assert!(document(text).is_err(), "{text}");
        }
        assert!(document(&"[".repeat(100_000)).is_err());
        assert!(unquoted("\"\\u0000\"").is_err());
        assert!(unquoted("\"\\ud800x\"").is_err());
    }
}
