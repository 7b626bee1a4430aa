//! Configuration: defaults, a TOML file, environment variables (`AURIC_SECTION__KEY`), options of the
//! command line; later ones win.
//!
//! `KEYS` of [`mod@load`] is the only list of keys. `config/auric.toml`, compiled into the binary, is their
//! manual; tests hold the two together.

mod check;
mod load;
pub mod value;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use auric_catalog::storage::{S3Options, Secret, StorageOptions};

pub use self::load::{Mistake, load, load_file};
use self::value::{ByteSize, CatalogKind, LogFormat, MemoryLimit, TlsVersion};
use crate::security::access::Rule;
use crate::security::scram::Verifier;

/// The shipped configuration file: every key, commented, with its default.
pub const SHIPPED: &str = include_str!("../../../config/auric.toml");

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub server: ServerConfig,
    pub tls: TlsConfig,
    /// Who may connect; the first entry that fits decides.
    pub access: Vec<Rule>,
    /// Users with a password, by name.
    pub users: BTreeMap<String, Verifier>,
    pub query: QueryConfig,
    pub cache: CacheConfig,
    pub materialize: MaterializeConfig,
    pub notify: NotifyConfig,
    pub log: LogConfig,
    pub storage: StorageOptions,
    /// Attached catalogs by name (a database each).
    pub catalogs: BTreeMap<String, CatalogConfig>,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq)]
pub struct ServerConfig {
    pub listen: String,
    pub http: String,
    pub data_dir: PathBuf,
    pub shutdown_grace: Duration,
    pub max_connections: usize,
    pub max_message_size: ByteSize,
    pub auth_timeout: Duration,
    /// Zero: guessing is not slowed down.
    pub auth_max_delay: Duration,
    pub max_unauthenticated: usize,
    pub idle_session_timeout: Duration,
    pub max_prepared_statements: usize,
    pub max_portals: usize,
    /// Threads that serve sockets; 0: chosen.
    pub io_threads: usize,
}

/// `[tls]`: PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// The server's certificate, then those between it and its authority. `None`: no TLS.
    pub certificate: Option<String>,
    pub key: Option<String>,
    /// Authorities that clients' certificates may come from.
    pub client_ca: Option<String>,
    /// Certificates of clients that are no longer valid: a list of each authority.
    pub client_crl: Option<String>,
    pub minimum_version: TlsVersion,
}

/// `[query]`
#[derive(Debug, Clone, PartialEq)]
pub struct QueryConfig {
    pub memory_limit: MemoryLimit,
    /// 0: one per core.
    pub target_partitions: usize,
    /// Joins begin as hash joins.
    pub prefer_hash_join: bool,
    pub batch_size: usize,
    pub spill_dir: Option<String>,
    pub spill_limit: ByteSize,
    pub statement_timeout: Duration,
    pub max_concurrent: usize,
    pub queue_timeout: Duration,
    /// Threads that execute plans; 0: one per core.
    pub threads: usize,
    /// Scheduling priority that these threads give up, 0 to 19.
    pub nice: usize,
}

/// `[cache]`
#[derive(Debug, Clone, PartialEq)]
pub struct CacheConfig {
    /// Zero: no results are kept.
    pub results: ByteSize,
    pub longest_result: ByteSize,
    /// All that is kept of metadata files, manifests, logs and footers.
    pub metadata: ByteSize,
    /// Hits after which a query is run again when its tables have changed; 0: none is.
    pub refresh_after: usize,
    /// The most of the time that such queries may run, percent.
    pub refresh_share: usize,
}

/// `[materialize]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaterializeConfig {
    /// Schedules are followed.
    pub enabled: bool,
    /// Definitions that are applied when the server starts; `None`: none.
    pub dir: Option<String>,
    /// Runs at once, by schedule and in cascades; 0: half as many as cores.
    pub max_concurrent_refreshes: usize,
    pub poll_interval: Duration,
    /// How long a server that is gone keeps others from working.
    pub lease: Duration,
    pub retries: usize,
    pub retry_pause: Duration,
    /// 0: any number.
    pub suspend_after: usize,
    /// Attempts that are kept of each task and view.
    pub history: usize,
}

/// `[notify]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifyConfig {
    /// `None`: nobody is told.
    pub url: Option<String>,
    pub timeout: Duration,
    pub retries: usize,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    pub level: String,
    pub format: LogFormat,
}

/// `[catalogs.<name>]`
#[derive(Debug, Clone, PartialEq)]
pub struct CatalogConfig {
    pub kind: CatalogKind,
    /// `sql`: the SQLite file; empty: `DATA_DIR/catalog.db`.
    pub database: Option<String>,
    /// `sql`, `postgres`: where new tables are placed; `sql` only: empty: `DATA_DIR/warehouse`.
    pub warehouse: Option<String>,
    /// `delta`: root of the directory tree.
    pub root: Option<String>,
    /// `postgres`: the database. A password may be in it.
    pub url: Option<Secret>,
    /// `postgres`: the password, if it is not in the URL.
    pub password: Option<Secret>,
    /// `postgres`: schema of the catalog's tables; empty: the user's first.
    pub schema: Option<String>,
    /// `postgres`: connections at once.
    pub max_connections: usize,
    /// `postgres`: how long a statement waits for a connection, a lock, an answer.
    pub timeout: Duration,
}

/// Name of the catalog that is always there.
pub const DEFAULT_CATALOG: &str = "lake";

impl Default for Config {
    fn default() -> Self {
        Self {
            server: ServerConfig {
                listen: "127.0.0.1:5433".into(),
                http: "127.0.0.1:8433".into(),
                data_dir: "./auric-data".into(),
                shutdown_grace: Duration::from_secs(30),
                max_connections: 1000,
                max_message_size: ByteSize(64 << 20),
                auth_timeout: Duration::from_secs(60),
                auth_max_delay: Duration::from_secs(8),
                max_unauthenticated: 200,
                idle_session_timeout: Duration::ZERO,
                max_prepared_statements: 10_000,
                max_portals: 1000,
                io_threads: 0,
            },
            tls: TlsConfig {
                certificate: None,
                key: None,
                client_ca: None,
                client_crl: None,
                minimum_version: TlsVersion::V1_2,
            },
            access: vec![Rule::trusted_loopback()],
            users: BTreeMap::new(),
            query: QueryConfig {
                memory_limit: MemoryLimit::Percent(70),
                target_partitions: 0,
                prefer_hash_join: true,
                batch_size: 8192,
                spill_dir: None,
                spill_limit: ByteSize(100 << 30),
                statement_timeout: Duration::ZERO,
                max_concurrent: 64,
                queue_timeout: Duration::from_secs(60),
                threads: 0,
                nice: 5,
            },
            cache: CacheConfig {
                results: ByteSize(256 << 20),
                longest_result: ByteSize(8 << 20),
                metadata: ByteSize(512 << 20),
                refresh_after: 3,
                refresh_share: 25,
            },
            materialize: MaterializeConfig {
                enabled: true,
                dir: None,
                max_concurrent_refreshes: 0,
                poll_interval: Duration::from_millis(500),
                lease: Duration::from_secs(10),
                retries: 3,
                retry_pause: Duration::from_secs(10),
                suspend_after: 10,
                history: 200,
            },
            notify: NotifyConfig { url: None, timeout: Duration::from_secs(10), retries: 3 },
            log: LogConfig { level: "info".into(), format: LogFormat::Text },
            storage: StorageOptions { s3: S3Options::default(), s3_buckets: BTreeMap::new() },
            catalogs: BTreeMap::from([(DEFAULT_CATALOG.to_string(), CatalogConfig::default())]),
        }
    }
}

impl Default for CatalogConfig {
    fn default() -> Self {
        Self {
            kind: CatalogKind::Sql,
            database: None,
            warehouse: None,
            root: None,
            url: None,
            password: None,
            schema: None,
            max_connections: 10,
            timeout: Duration::from_secs(10),
        }
    }
}

#[cfg(test)]
mod tests;
