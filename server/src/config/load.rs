//! Reading the configuration: every mistake is found and told with its key.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use auric_catalog::storage::S3Options;

use super::check::check;
use super::value::FromToml;
use super::{CatalogConfig, Config};
use crate::security::access::Rule;
use crate::security::scram::Verifier;

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
    "server.auth_max_delay" => server.auth_max_delay,
    "server.max_unauthenticated" => server.max_unauthenticated,
    "server.idle_session_timeout" => server.idle_session_timeout,
    "server.max_prepared_statements" => server.max_prepared_statements,
    "server.max_portals" => server.max_portals,
    "server.io_threads" => server.io_threads,
    "tls.certificate" => tls.certificate,
    "tls.key" => tls.key,
    "tls.client_ca" => tls.client_ca,
    "tls.client_crl" => tls.client_crl,
    "tls.minimum_version" => tls.minimum_version,
    "query.memory_limit" => query.memory_limit,
    "query.target_partitions" => query.target_partitions,
    "query.prefer_hash_join" => query.prefer_hash_join,
    "query.batch_size" => query.batch_size,
    "query.spill_dir" => query.spill_dir,
    "query.spill_limit" => query.spill_limit,
    "query.statement_timeout" => query.statement_timeout,
    "query.max_concurrent" => query.max_concurrent,
    "query.queue_timeout" => query.queue_timeout,
    "query.threads" => query.threads,
    "query.nice" => query.nice,
    "cache.results" => cache.results,
    "cache.longest_result" => cache.longest_result,
    "cache.metadata" => cache.metadata,
    "cache.refresh_after" => cache.refresh_after,
    "cache.refresh_share" => cache.refresh_share,
    "materialize.enabled" => materialize.enabled,
    "materialize.dir" => materialize.dir,
    "materialize.max_concurrent_refreshes" => materialize.max_concurrent_refreshes,
    "materialize.poll_interval" => materialize.poll_interval,
    "materialize.lease" => materialize.lease,
    "materialize.retries" => materialize.retries,
    "materialize.retry_pause" => materialize.retry_pause,
    "materialize.suspend_after" => materialize.suspend_after,
    "materialize.history" => materialize.history,
    "notify.url" => notify.url,
    "notify.timeout" => notify.timeout,
    "notify.retries" => notify.retries,
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
    "url" => url,
    "password" => password,
    "schema" => schema,
    "max_connections" => max_connections,
    "timeout" => timeout,
});

/// Keys of an entry of `[[access]]`.
const ACCESS_KEYS: &[Key<Rule>] = keys!(Rule {
    "type" => kind,
    "database" => database,
    "user" => user,
    "address" => address,
    "method" => method,
});

/// The one key of `[users.<name>]`.
const PASSWORD: &str = "password";

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
    let mut draft = Draft::default();
    let mut mistakes = Vec::new();
    match toml::from_str::<toml::Table>(text) {
        Ok(table) => {
            for (key, value) in leaves(&table) {
                apply(&mut draft, &key, &key.join("."), &value, &mut mistakes);
            }
        }
        Err(error) => mistakes
            .push(mistake("", format!("not valid TOML: {}", error.message())).at_line(text, error.span())),
    }
    for (name, value) in environment {
        // A name without a section (`AURIC_HOME`) is somebody else's variable, not a misspelt key.
        let Some(rest) = name.strip_prefix(PREFIX).filter(|rest| rest.contains("__")) else { continue };
        let key: Vec<String> = rest.to_ascii_lowercase().split("__").map(str::to_string).collect();
        apply(&mut draft, &key, &name, &toml::Value::String(value), &mut mistakes);
    }
    let Draft { mut config, access } = draft;
    if access.keys().copied().ne(0..access.len()) {
        mistakes.push(mistake("access", "entries are numbered from 0 without gaps"));
    }
    if !access.is_empty() {
        config.access = access.into_values().collect();
    }
    check(&config, &mut mistakes);
    if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
}

pub(super) fn mistake(key: impl Into<String>, message: impl Into<String>) -> Mistake {
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

/// All values that are no tables, with the path to them; tables of an array are numbered from 0.
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
            toml::Value::Array(values) if values.first().is_some_and(toml::Value::is_table) => {
                for (number, value) in values.iter().enumerate() {
                    let at = [name.clone(), number.to_string()];
                    match value {
                        toml::Value::Table(inner) if !inner.is_empty() => {
                            let inner = leaves(inner).into_iter();
                            found.extend(inner.map(|(path, value)| ([&at[..], &path[..]].concat(), value)));
                        }
                        other => found.push((at.to_vec(), other.clone())),
                    }
                }
            }
            value => found.push((vec![name.clone()], value.clone())),
        }
    }
    found
}

/// A configuration that is being read.
#[derive(Default)]
struct Draft {
    config: Config,
    /// Entries of the access list by number; they replace the list that there is without them.
    access: BTreeMap<usize, Rule>,
}

/// Sets one key. `shown`: how the user wrote it.
fn apply(draft: &mut Draft, path: &[String], shown: &str, value: &toml::Value, mistakes: &mut Vec<Mistake>) {
    let Draft { config, access } = draft;
    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
    let result = match parts.as_slice() {
        ["catalogs", name, key] => {
            set(CATALOG_KEYS, config.catalogs.entry((*name).to_string()).or_default(), key, value)
        }
        ["access", number, key] => set_access(access, number, key, value),
        ["access"] => Err("expected entries [[access]]".to_string()),
        ["access", _] => Err("expected a table with at least one key".to_string()),
        ["users", name, key] => set_user(config, name, key, value),
        ["users", _] => Err("expected a table [users.<name>] with the key password".to_string()),
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

/// Sets a key of the entry with a number; an entry begins to exist when its first key is set.
fn set_access(
    rules: &mut BTreeMap<usize, Rule>,
    number: &str,
    key: &str,
    value: &toml::Value,
) -> Result<(), String> {
    let number = number.parse().map_err(|_| "expected the number of an entry".to_string())?;
    set(ACCESS_KEYS, rules.entry(number).or_insert_with(Rule::unset), key, value)
}

fn set_user(config: &mut Config, name: &str, key: &str, value: &toml::Value) -> Result<(), String> {
    if key != PASSWORD {
        return Err(unknown(key, [PASSWORD].into_iter()));
    }
    config.users.insert(name.to_string(), Verifier::from_toml(value)?);
    Ok(())
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

/// Full names of all keys; `<name>` stands for a name that the user chooses.
#[cfg(test)]
pub(super) fn all_keys() -> Vec<String> {
    let plain = KEYS.iter().map(|key| key.name.to_string());
    let s3 = S3_KEYS.iter().map(|key| format!("storage.s3.{}", key.name));
    let catalogs = CATALOG_KEYS.iter().map(|key| format!("catalogs.lake.{}", key.name));
    let access = ACCESS_KEYS.iter().map(|key| format!("access.0.{}", key.name));
    plain.chain(s3).chain(catalogs).chain(access).collect()
}
