//! Values of configuration keys: what they look like in TOML and in environment variables.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use auric_catalog::storage::Secret;
use ipnet::IpNet;

use crate::security::access::{Addresses, ConnectionKind, Method, Names};
use crate::security::scram::Verifier;

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

/// A string, or an array of them; a string may hold several, separated by commas.
fn strings(value: &toml::Value, what: &str) -> Result<Vec<String>, String> {
    let texts = match value {
        toml::Value::String(text) => text.split(',').map(|part| part.trim().to_string()).collect(),
        toml::Value::Array(values) => values
            .iter()
            .map(|value| value.as_str().map(str::to_string).ok_or_else(|| wanted(what, value)))
            .collect::<Result<Vec<_>, _>>()?,
        other => return Err(wanted(what, other)),
    };
    if texts.is_empty() { Err(wanted(what, value)) } else { Ok(texts) }
}

/// Names of databases or users.
impl FromToml for Names {
    fn from_toml(value: &toml::Value) -> Result<Self, String> {
        let names = strings(value, "a name, \"all\", or an array of names")?;
        // What pg_hba.conf has beside names; taken for a name, it would fit nothing, in silence.
        match names.iter().find(|name| name.is_empty() || name.starts_with(['/', '+', '@'])) {
            Some(name) => Err(format!("expected a name, found \"{name}\"")),
            None => Ok(Self(names)),
        }
    }
}

/// Networks: `10.0.0.0/8`, `::1/128`, an address, or `all`.
impl FromToml for Addresses {
    fn from_toml(value: &toml::Value) -> Result<Self, String> {
        let what = "a network such as \"10.0.0.0/8\", an address, \"all\", or an array of these";
        let mut networks = Vec::new();
        for text in strings(value, what)? {
            match text.parse::<IpNet>().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from)) {
                Ok(network) => networks.push(network),
                Err(_) if text == Names::ALL => networks.extend(Self::all().0),
                Err(_) => return Err(format!("expected {what}, found \"{text}\"")),
            }
        }
        Ok(Self(networks))
    }
}

/// A verifier, or `file:PATH` or `env:NAME` where it is to be found. Messages never repeat it: it may
/// be a password that somebody took for one.
impl FromToml for Verifier {
    fn from_toml(value: &toml::Value) -> Result<Self, String> {
        let secret = Option::<Secret>::from_toml(value)?;
        let text = secret.as_ref().map_or("", |secret| secret.reveal());
        text.parse().map_err(|error: crate::security::scram::InvalidVerifier| error.to_string())
    }
}

/// One of a few words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$word_doc])* $variant),* }

        impl $name {
            /// As the configuration file has it.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),*
                }
            }
        }

        words! { in $name { $($variant = $word),* } }
    };
    (in $name:ident { $($variant:ident = $word:literal),* $(,)? }) => {
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
        /// The same in a PostgreSQL database, which several servers share.
        Postgres = "postgres",
        /// A directory tree of Delta tables.
        Delta = "delta",
    }
}

words! {
    /// Oldest version of TLS that is spoken.
    TlsVersion { V1_2 = "1.2", V1_3 = "1.3" }
}

words! { in ConnectionKind { Any = "host", Tls = "hostssl", Plain = "hostnossl" } }

words! { in Method { Trust = "trust", Scram = "scram", Certificate = "cert", Reject = "reject" } }

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
