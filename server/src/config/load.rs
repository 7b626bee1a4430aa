//! Reading the configuration: every mistake is found and told with its key.

use std::fmt;
use std::path::Path;

use auric_catalog::storage::S3Options;

use super::value::FromToml;
use super::{CatalogConfig, Config};

/// Prefix of environment variables that set keys.
const PREFIX: &str = "AURIC_";

/// Something wrong in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where: a key, or an environment variable.
    pub key: String,
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.key, self.message)
        }
    }
}

/// One key of a table: its name and how it is set.
struct Key<T> {
    name: &'static str,
    set: fn(&mut T, &toml::Value) -> Result<(), String>,
}

macro_rules! keys {
    ($target:ty { $($name:literal => $($field:ident).+),* $(,)? }) => {
        &[$(Key::<$target> {
            name: $name,
            set: |target, value| {
                target.$($field).+ = FromToml::from_toml(value)?;
                Ok(())
            },
        }),*]
    };
}

/// Every key outside `[catalogs]`.
const KEYS: &[Key<Config>] = keys!(Config {
    "server.listen" => server.listen,
    "server.http" => server.http,
    "server.data_dir" => server.data_dir,
    "server.shutdown_grace" => server.shutdown_grace,
    "server.max_connections" => server.max_connections,
    "server.max_message_size" => server.max_message_size,
    "server.auth_timeout" => server.auth_timeout,
    "server.idle_session_timeout" => server.idle_session_timeout,
    "server.max_prepared_statements" => server.max_prepared_statements,
    "server.max_portals" => server.max_portals,
    "server.io_threads" => server.io_threads,
    "query.memory_limit" => query.memory_limit,
    "query.target_partitions" => query.target_partitions,
    "query.batch_size" => query.batch_size,
    "query.spill_dir" => query.spill_dir,
    "query.spill_limit" => query.spill_limit,
    "query.metadata_cache" => query.metadata_cache,
    "query.statement_timeout" => query.statement_timeout,
    "query.max_concurrent" => query.max_concurrent,
    "query.queue_timeout" => query.queue_timeout,
    "query.threads" => query.threads,
    "query.nice" => query.nice,
    "log.level" => log.level,
    "log.format" => log.format,
});

/// Keys of `[storage.s3]` and of `[storage.s3.buckets.<name>]`.
const S3_KEYS: &[Key<S3Options>] = keys!(S3Options {
    "endpoint" => endpoint,
    "region" => region,
    "access_key_id" => access_key_id,
    "secret_access_key" => secret_access_key,
    "session_token" => session_token,
    "allow_http" => allow_http,
    "path_style" => path_style,
    "anonymous" => anonymous,
    "ignore_environment" => ignore_environment,
});

/// Keys of `[catalogs.<name>]`.
const CATALOG_KEYS: &[Key<CatalogConfig>] = keys!(CatalogConfig {
    "type" => kind,
    "database" => database,
    "warehouse" => warehouse,
    "root" => root,
});

/// Reads a file, then the environment. All mistakes are returned together.
pub fn load_file(path: Option<&Path>) -> Result<Config, Vec<Mistake>> {
    let text = match path {
        None => String::new(),
        Some(path) => std::fs::read_to_string(path)
            .map_err(|e| vec![mistake("", format!("cannot read {}: {e}", path.display()))])?,
    };
    load(&text, std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))))
}

/// Reads TOML, then environment variables (others than `AURIC_SECTION__KEY` are passed over).
pub fn load(
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, Vec<Mistake>> {
    let mut config = Config::default();
    let mut mistakes = Vec::new();
    match toml::from_str::<toml::Table>(text) {
        Ok(table) => {
            for (key, value) in leaves(&table) {
                apply(&mut config, &key, &key.join("."), &value, &mut mistakes);
            }
        }
        Err(error) => mistakes
            .push(mistake("", format!("not valid TOML: {}", error.message())).at_line(text, error.span())),
    }
    for (name, value) in environment {
        // A name without a section (`AURIC_HOME`) is somebody else's variable, not a misspelt key.
        let Some(rest) = name.strip_prefix(PREFIX).filter(|rest| rest.contains("__")) else { continue };
        let key: Vec<String> = rest.to_ascii_lowercase().split("__").map(str::to_string).collect();
        apply(&mut config, &key, &name, &toml::Value::String(value), &mut mistakes);
    }
    check(&config, &mut mistakes);
    if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
}

fn mistake(key: impl Into<String>, message: impl Into<String>) -> Mistake {
    Mistake { key: key.into(), message: message.into() }
}

impl Mistake {
    fn at_line(mut self, text: &str, span: Option<std::ops::Range<usize>>) -> Self {
        if let Some(before) = span.and_then(|span| text.get(..span.start)) {
            self.message = format!("line {}: {}", before.matches('\n').count() + 1, self.message);
        }
        self
    }
}

/// All values that are no tables, with the path to them.
fn leaves(table: &toml::Table) -> Vec<(Vec<String>, toml::Value)> {
    let mut found = Vec::new();
    for (name, value) in table {
        match value {
            toml::Value::Table(inner) if !inner.is_empty() => {
                found.extend(leaves(inner).into_iter().map(|(mut path, value)| {
                    path.insert(0, name.clone());
                    (path, value)
                }));
            }
            toml::Value::Table(_) => {}
            value => found.push((vec![name.clone()], value.clone())),
        }
    }
    found
}

/// Sets one key. `shown`: how the user wrote it.
fn apply(
    config: &mut Config,
    path: &[String],
    shown: &str,
    value: &toml::Value,
    mistakes: &mut Vec<Mistake>,
) {
    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
    let result = match parts.as_slice() {
        ["catalogs", name, key] => {
            set(CATALOG_KEYS, config.catalogs.entry((*name).to_string()).or_default(), key, value)
        }
        ["storage", "s3", "buckets", bucket, key] => {
            set(S3_KEYS, config.storage.s3_buckets.entry((*bucket).to_string()).or_default(), key, value)
        }
        ["storage", "s3", key] => set(S3_KEYS, &mut config.storage.s3, key, value),
        _ => set(KEYS, config, &parts.join("."), value),
    };
    if let Err(message) = result {
        mistakes.push(mistake(shown, message));
    }
}

fn set<T>(keys: &[Key<T>], target: &mut T, name: &str, value: &toml::Value) -> Result<(), String> {
    match keys.iter().find(|key| key.name == name) {
        Some(key) => (key.set)(target, value),
        None => Err(unknown(name, keys.iter().map(|key| key.name))),
    }
}

/// The message for a key that does not exist.
fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let others = ["storage.s3.endpoint", "catalogs.lake.warehouse"];
    let best = known
        .chain(others)
        .map(|key| (strsim::jaro_winkler(name, key), key))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(similarity, _)| *similarity > 0.7);
    match best {
        Some((_, key)) => format!("unknown key; did you mean {key}?"),
        None => "unknown key".to_string(),
    }
}

/// What no single value can tell.
fn check(config: &Config, mistakes: &mut Vec<Mistake>) {
    use super::value::CatalogKind;
    for (key, address) in [("server.listen", &config.server.listen), ("server.http", &config.server.http)] {
        if !is_address(address) {
            mistakes.push(mistake(key, format!("expected HOST:PORT, found \"{address}\"")));
        }
    }
    for (name, number) in [
        ("server.max_connections", config.server.max_connections),
        ("server.max_prepared_statements", config.server.max_prepared_statements),
        ("server.max_portals", config.server.max_portals),
        ("query.batch_size", config.query.batch_size),
        ("query.max_concurrent", config.query.max_concurrent),
    ] {
        if number == 0 {
            mistakes.push(mistake(name, "must be at least 1"));
        }
    }
    if config.server.auth_timeout.is_zero() {
        mistakes.push(mistake("server.auth_timeout", "must be longer than 0"));
    }
    if config.server.max_message_size.0 < 1024 {
        mistakes.push(mistake("server.max_message_size", "must be at least 1KiB"));
    }
    if config.query.nice > 19 {
        mistakes.push(mistake("query.nice", "must be between 0 and 19"));
    }
    if let Err(error) = crate::telemetry::parse_level(&config.log.level) {
        mistakes.push(mistake("log.level", error));
    }
    for (name, catalog) in &config.catalogs {
        let key = |key: &str| format!("catalogs.{name}.{key}");
        match catalog.kind {
            CatalogKind::Delta if catalog.root.is_none() => {
                mistakes.push(mistake(key("root"), "a catalog of type \"delta\" needs it"));
            }
            CatalogKind::Sql if catalog.root.is_some() => {
                mistakes.push(mistake(key("root"), "only a catalog of type \"delta\" has it"));
            }
            CatalogKind::Delta if catalog.database.is_some() || catalog.warehouse.is_some() => {
                mistakes.push(mistake(key("type"), "database and warehouse belong to type \"sql\""));
            }
            _ => {}
        }
    }
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// Full names of all keys; `<name>` stands for a name that the user chooses.
#[cfg(test)]
pub(super) fn all_keys() -> Vec<String> {
    let plain = KEYS.iter().map(|key| key.name.to_string());
    let s3 = S3_KEYS.iter().map(|key| format!("storage.s3.{}", key.name));
    let catalogs = CATALOG_KEYS.iter().map(|key| format!("catalogs.lake.{}", key.name));
    plain.chain(s3).chain(catalogs).collect()
}
