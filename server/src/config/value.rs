//! Values of configuration keys: what they look like in TOML and in environment variables.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use auric_catalog::storage::Secret;

/// A value of a key, read from TOML. Environment variables come as strings, so every type takes one.
pub trait FromToml: Sized {
    /// Says what is wrong, without the key.
    fn from_toml(value: &toml::Value) -> Result<Self, String>;
}

fn wanted(what: &str, value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => format!("expected {what}, found \"{text}\""),
        toml::Value::Integer(number) => format!("expected {what}, found {number}"),
        toml::Value::Boolean(flag) => format!("expected {what}, found {flag}"),
        other => format!("expected {what}, found {} value", other.type_str()),
    }
}

impl FromToml for String {
    fn from_toml(value: &toml::Value) -> Result<Self, String> {
        match value {
            toml::Value::String(text) => Ok(text.clone()),
            toml::Value::Integer(number) => Ok(number.to_string()),
            other => Err(wanted("a string", other)),
        }
    }
}

impl FromToml for bool {
    fn from_toml(value: &toml::Value) -> Result<Self, String> {
        match value {
            toml::Value::Boolean(value) => Ok(*value),
            toml::Value::String(text) if text == "true" => Ok(true),
            toml::Value::String(text) if text == "false" => Ok(false),
            other => Err(wanted("true or false", other)),
        }
    }
}

impl FromToml for usize {
    fn from_toml(value: &toml::Value) -> Result<Self, String> {
        let number = match value {
            toml::Value::Integer(number) => usize::try_from(*number).ok(),
            toml::Value::String(text) => text.replace('_', "").parse().ok(),
            _ => None,
        };
        number.ok_or_else(|| wanted("a whole number, 0 or more", value))
    }
}

impl FromToml for PathBuf {
    fn from_toml(value: &toml::Value) -> Result<Self, String> {
        String::from_toml(value).map(PathBuf::from)
    }
}

/// The empty string stands for "not set".
impl FromToml for Option<String> {
    fn from_toml(value: &toml::Value) -> Result<Self, String> {
        String::from_toml(value).map(|text| if text.is_empty() { None } else { Some(text) })
    }
}

/// `auto` stands for "not set".
impl FromToml for Option<bool> {
    fn from_toml(value: &toml::Value) -> Result<Self, String> {
        match value {
            toml::Value::String(text) if text == "auto" => Ok(None),
            other => bool::from_toml(other).map(Some),
        }
    }
}

/// The secret itself, or `file:PATH` or `env:NAME` where it is to be found.
impl FromToml for Option<Secret> {
    fn from_toml(value: &toml::Value) -> Result<Self, String> {
        let Some(text) = Option::<String>::from_toml(value).map_err(|_| "expected a string".to_string())?
        else {
            return Ok(None);
        };
        if let Some(path) = text.strip_prefix("file:") {
            let secret =
                std::fs::read_to_string(path).map_err(|e| format!("cannot read the file {path}: {e}"))?;
            return Ok(Some(Secret::new(secret.trim_end_matches(['\n', '\r']))));
        }
        if let Some(name) = text.strip_prefix("env:") {
            let secret =
                std::env::var(name).map_err(|_| format!("environment variable {name} is not set"))?;
            return Ok(Some(Secret::new(secret)));
        }
        Ok(Some(Secret::new(text)))
    }
}

/// `250ms`, `30s`, `5m`, `2h`, `1d`; `0` where a limit is to be off.
impl FromToml for Duration {
    fn from_toml(value: &toml::Value) -> Result<Self, String> {
        let invalid =
            || wanted("a duration such as \"250ms\", \"30s\", \"5m\", \"2h\", \"1d\" or \"0\"", value);
        let text = String::from_toml(value).map_err(|_| invalid())?;
        parse_duration(&text).ok_or_else(invalid)
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text.trim());
    let number: u64 = number.replace('_', "").parse().ok()?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" if number == 0 => 0,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

/// A number of bytes: `64MiB`, `8GiB`, `500MB`, `4096`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl ByteSize {
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0)
    }
}

fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text.trim());
    let number: u64 = number.replace('_', "").parse().ok()?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

impl FromToml for ByteSize {
    fn from_toml(value: &toml::Value) -> Result<Self, String> {
        let invalid = || wanted("a size such as \"64MiB\", \"8GiB\" or \"500MB\"", value);
        let text = String::from_toml(value).map_err(|_| invalid())?;
        parse_bytes(&text).map(ByteSize).ok_or_else(invalid)
    }
}

/// Memory: a size, or a share of what the machine or container has (`70%`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryLimit {
    Bytes(u64),
    /// Of the memory available, 1 to 100.
    Percent(u64),
}

impl MemoryLimit {
    /// In bytes. `available`: memory of the machine or container.
    pub fn bytes(self, available: u64) -> usize {
        let bytes = match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => available / 100 * percent,
        };
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}

impl FromToml for MemoryLimit {
    fn from_toml(value: &toml::Value) -> Result<Self, String> {
        let invalid = || wanted("a size such as \"8GiB\", or a share of the memory such as \"70%\"", value);
        let text = String::from_toml(value).map_err(|_| invalid())?;
        match text.strip_suffix('%') {
            Some(percent) => match percent.trim().parse() {
                Ok(percent @ 1..=100) => Ok(Self::Percent(percent)),
                _ => Err(invalid()),
            },
            None => parse_bytes(&text).map(Self::Bytes).ok_or_else(invalid),
        }
    }
}

/// One of a few words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$word_doc])* $variant),* }

        impl FromToml for $name {
            fn from_toml(value: &toml::Value) -> Result<Self, String> {
                match value.as_str() {
                    $(Some($word) => Ok(Self::$variant),)*
                    _ => Err(wanted(concat!("one of" $(, " \"", $word, "\"")*), value)),
                }
            }
        }
    };
}

words! {
    /// How log lines look.
    LogFormat { Text = "text", Json = "json" }
}

words! {
    /// Kinds of catalogs.
    CatalogKind {
        /// The SQL catalog in Iceberg's layout, in a SQLite file.
        Sql = "sql",
        /// A directory tree of Delta tables.
        Delta = "delta",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let cases =
            [("250ms", 250), ("30s", 30_000), ("5m", 300_000), ("2h", 7_200_000), ("0", 0), ("1 s", 1000)];
        for (text, millis) in cases {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "s", "-1s", "1.5s", "1y", "99999999999999999999s"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes() {
        let cases =
            [("64MiB", 64 << 20), ("8GiB", 8 << 30), ("500MB", 500_000_000), ("4096", 4096), ("1 KiB", 1024)];
        for (text, bytes) in cases {
            assert_eq!(parse_bytes(text), Some(bytes), "{text}");
        }
        for text in ["", "GiB", "1.5GiB", "-1", "99999999999TiB"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }

    #[test]
    fn memory_shares() {
        let parse = |text: &str| MemoryLimit::from_toml(&toml::Value::String(text.into()));
        assert_eq!(parse("70%"), Ok(MemoryLimit::Percent(70)));
        assert_eq!(parse("8GiB"), Ok(MemoryLimit::Bytes(8 << 30)));
        assert!(parse("0%").is_err());
        assert!(parse("101%").is_err());
    }
}
