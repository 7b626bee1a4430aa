//! Definitions of all settings (GUCs), one line each.
//!
//! A setting that clients send but that means nothing here (planner switches, locales, …) is
//! accepted, kept per session and shown again; nothing else reads it.

use super::settings::SettingsError;
use crate::functions::calendar;
use crate::types::text_output;

/// `server_version` as clients parse it: the Postgres version whose catalog and behaviour we show.
pub const SERVER_VERSION: &str = concat!("16.10 (Auric ", env!("CARGO_PKG_VERSION"), ")");
/// `server_version_num`.
pub const SERVER_VERSION_NUM: &str = "160010";

/// Type of a setting's values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Bool,
    /// Inclusive limits.
    Int(i64, i64),
    Float(f64, f64),
    /// Milliseconds; accepts units (`us`, `ms`, `s`, `min`, `h`, `d`). Inclusive limits.
    Milliseconds(i64, i64),
    /// Kilobytes; accepts units (`kB`, `MB`, `GB`, `TB`). Inclusive limits.
    Kilobytes(i64, i64),
    Text,
    /// One of these words, any case.
    Enum(&'static [&'static str]),
    /// IANA name, or an offset.
    TimeZone,
    DateStyle,
    /// UTF-8 under one of its names, or SQL_ASCII: the same bytes, of which nothing is said.
    Encoding,
    /// A boolean whose other value Postgres knows and Auric does not.
    Always(bool),
}

impl Kind {
    /// `vartype` of `pg_settings`.
    pub fn vartype(self) -> &'static str {
        match self {
            Self::Bool | Self::Always(_) => "bool",
            Self::Int(..) | Self::Milliseconds(..) | Self::Kilobytes(..) => "integer",
            Self::Float(..) => "real",
            Self::Enum(_) => "enum",
            Self::Text | Self::TimeZone | Self::DateStyle | Self::Encoding => "string",
        }
    }

    /// `unit` of `pg_settings`.
    pub fn unit(self) -> Option<&'static str> {
        match self {
            Self::Milliseconds(..) => Some("ms"),
            Self::Kilobytes(..) => Some("kB"),
            _ => None,
        }
    }
}

/// Whether no query's rows can depend on a setting, but by its functions that show settings.
pub fn decides_nothing(name: &str) -> bool {
    let alone = [
        "application_name",
        "client_min_messages",
        "default_table_access_method",
        "result_cache",
        "session_authorization",
    ];
    let families = [
        "statement_timeout",
        "lock_timeout",
        "idle_",
        "transaction_",
        "default_transaction_",
        "result_cache_",
        "log_",
    ];
    // The same for all sessions, none of which could be told it again.
    let is_fact = definition(name).is_some_and(|definition| definition.context != Context::User);
    is_fact || alone.contains(&name) || families.into_iter().any(|family| name.starts_with(family))
}

/// Who may change a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// Nobody: it is a fact about the server.
    Internal,
    /// Fixed when the server starts.
    Postmaster,
    /// Any session.
    User,
}

impl Context {
    /// `context` of `pg_settings`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Postmaster => "postmaster",
            Self::User => "user",
        }
    }
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// As `SHOW ALL` spells it; looked up without regard to case.
    pub name: &'static str,
    pub kind: Kind,
    /// Canonical text of the default.
    pub default: &'static str,
    pub context: Context,
    /// Told to the client by ParameterStatus.
    pub reported: bool,
    pub description: &'static str,
}

const fn user(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    description: &'static str,
) -> Definition {
    Definition { name, kind, default, context: Context::User, reported: false, description }
}

const fn fact(name: &'static str, default: &'static str, description: &'static str) -> Definition {
    Definition { name, kind: Kind::Text, default, context: Context::Internal, reported: false, description }
}

const fn fixed(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    description: &'static str,
) -> Definition {
    Definition { name, kind, default, context: Context::Postmaster, reported: false, description }
}

const fn reported(mut definition: Definition) -> Definition {
    definition.reported = true;
    definition
}

const INT_MAX: i64 = i32::MAX as i64;
const INTERVAL_STYLES: &[&str] = &["postgres", "postgres_verbose", "sql_standard", "iso_8601"];
const MESSAGE_LEVELS: Kind = Kind::Enum(&[
    "debug5", "debug4", "debug3", "debug2", "debug1", "debug", "log", "notice", "warning", "error",
]);
const ISOLATION: Kind =
    Kind::Enum(&["serializable", "repeatable read", "read committed", "read uncommitted"]);
const TABLE_FORMATS: &[&str] = &["heap", "iceberg", "delta"];
const ON_OFF_AUTO: Kind = Kind::Enum(&["on", "off", "auto"]);
const PLANNER: &str = "Accepted for compatibility; the planner has no such switch.";
const LOCALE: &str = "Accepted for compatibility; text is UTF-8 and compared by bytes.";
const COMPATIBILITY: &str = "Accepted for compatibility.";
const BOOL: Kind = Kind::Bool;
const TEXT: Kind = Kind::Text;

/// Every setting, ordered by name without regard to case.
pub const DEFINITIONS: &[Definition] = &[
    reported(user("application_name", TEXT, "", "Name of the application, shown in pg_stat_activity.")),
    user("array_nulls", Kind::Always(true), "on", "NULL in the text of an array is a null: always."),
    user("backslash_quote", Kind::Enum(&["safe_encoding", "on", "off"]), "safe_encoding", COMPATIBILITY),
    fact("block_size", "8192", "Size of a disk block in Postgres; nothing here has one."),
    user("bytea_output", Kind::Enum(&["hex", "escape"]), "hex", "Output format of bytea."),
    user("check_function_bodies", BOOL, "on", COMPATIBILITY),
    reported(user(
        "client_encoding",
        Kind::Encoding,
        "UTF8",
        "The client's character set: UTF8, or SQL_ASCII for the same bytes.",
    )),
    user("client_min_messages", MESSAGE_LEVELS, "notice", "Least severe message sent to the client."),
    fixed("cluster_name", TEXT, "", "Name of the server."),
    user("constraint_exclusion", Kind::Enum(&["partition", "on", "off"]), "partition", PLANNER),
    user("cpu_index_tuple_cost", Kind::Float(0.0, f64::MAX), "0.005", PLANNER),
    user("cpu_operator_cost", Kind::Float(0.0, f64::MAX), "0.0025", PLANNER),
    user("cpu_tuple_cost", Kind::Float(0.0, f64::MAX), "0.01", PLANNER),
    user("cursor_tuple_fraction", Kind::Float(0.0, 1.0), "0.1", PLANNER),
    reported(user(
        "DateStyle",
        Kind::DateStyle,
        "ISO, MDY",
        "Format of dates, and order of their fields in input.",
    )),
    user(
        "default_table_access_method",
        Kind::Enum(TABLE_FORMATS),
        "heap",
        "Format of new tables that name none; heap: that of the catalog, or Iceberg.",
    ),
    user("default_tablespace", TEXT, "", COMPATIBILITY),
    user("default_text_search_config", TEXT, "pg_catalog.english", COMPATIBILITY),
    user("default_toast_compression", Kind::Enum(&["pglz", "lz4"]), "pglz", COMPATIBILITY),
    user("default_transaction_deferrable", BOOL, "off", "Whether new transactions are deferrable."),
    user(
        "default_transaction_isolation",
        ISOLATION,
        "read committed",
        "Isolation level of new transactions.",
    ),
    reported(user("default_transaction_read_only", BOOL, "off", "Whether new transactions refuse writes.")),
    user("effective_cache_size", Kind::Kilobytes(1, INT_MAX), "4194304", PLANNER),
    user("enable_bitmapscan", BOOL, "on", PLANNER),
    user("enable_hashagg", BOOL, "on", PLANNER),
    user("enable_hashjoin", BOOL, "on", PLANNER),
    user("enable_indexonlyscan", BOOL, "on", PLANNER),
    user("enable_indexscan", BOOL, "on", PLANNER),
    user("enable_material", BOOL, "on", PLANNER),
    user("enable_mergejoin", BOOL, "on", PLANNER),
    user("enable_nestloop", BOOL, "on", PLANNER),
    user("enable_parallel_append", BOOL, "on", PLANNER),
    user("enable_parallel_hash", BOOL, "on", PLANNER),
    user("enable_partition_pruning", BOOL, "on", PLANNER),
    user("enable_seqscan", BOOL, "on", PLANNER),
    user("enable_sort", BOOL, "on", PLANNER),
    user("enable_tidscan", BOOL, "on", PLANNER),
    user("escape_string_warning", BOOL, "on", COMPATIBILITY),
    user(
        "extra_float_digits",
        Kind::Int(-15, 3),
        "1",
        "Digits of floating point numbers beside 15 or 6; 1 and more: exact.",
    ),
    user("force_parallel_mode", ON_OFF_AUTO, "off", PLANNER),
    user("from_collapse_limit", Kind::Int(1, INT_MAX), "8", PLANNER),
    user("geqo", BOOL, "on", PLANNER),
    user("geqo_threshold", Kind::Int(2, INT_MAX), "12", PLANNER),
    user("gin_fuzzy_search_limit", Kind::Int(0, INT_MAX), "0", COMPATIBILITY),
    user(
        "idle_in_transaction_session_timeout",
        Kind::Milliseconds(0, INT_MAX),
        "0",
        "Longest idle time inside a transaction; 0: no limit.",
    ),
    user(
        "idle_session_timeout",
        Kind::Milliseconds(0, INT_MAX),
        "0",
        "Longest idle time outside of a transaction; 0: no limit.",
    ),
    reported(fact("in_hot_standby", "off", "Whether the server is a standby.")),
    reported(fact("integer_datetimes", "on", "Whether times are integers of microseconds.")),
    reported(user("IntervalStyle", Kind::Enum(INTERVAL_STYLES), "postgres", "Output format of intervals.")),
    reported(fact("is_superuser", "on", "Whether the current user is a superuser.")),
    user("jit", BOOL, "off", PLANNER),
    user("join_collapse_limit", Kind::Int(1, INT_MAX), "8", PLANNER),
    fact("lc_collate", "C", LOCALE),
    fact("lc_ctype", "C.UTF-8", LOCALE),
    user("lc_messages", TEXT, "C", LOCALE),
    user("lc_monetary", TEXT, "C", LOCALE),
    user("lc_numeric", TEXT, "C", LOCALE),
    user("lc_time", TEXT, "C", LOCALE),
    fixed("listen_addresses", TEXT, "localhost", "Where the server listens."),
    user("lock_timeout", Kind::Milliseconds(0, INT_MAX), "0", "Longest wait for a lock; 0: no limit."),
    user("log_duration", BOOL, "off", COMPATIBILITY),
    user("log_min_duration_statement", Kind::Milliseconds(-1, INT_MAX), "-1", COMPATIBILITY),
    user("log_min_messages", MESSAGE_LEVELS, "warning", COMPATIBILITY),
    user("log_statement", Kind::Enum(&["none", "ddl", "mod", "all"]), "none", COMPATIBILITY),
    user("maintenance_work_mem", Kind::Kilobytes(1024, INT_MAX), "65536", PLANNER),
    fixed("max_connections", Kind::Int(1, 262_143), "100", "Most connections at a time."),
    fact("max_function_args", "100", "Most arguments of a function."),
    fact("max_identifier_length", "63", "Longest identifier, in bytes."),
    fact("max_index_keys", "32", "Most columns of a key."),
    user("max_parallel_workers", Kind::Int(0, 1024), "8", PLANNER),
    user("max_parallel_workers_per_gather", Kind::Int(0, 1024), "2", PLANNER),
    user("max_stack_depth", Kind::Kilobytes(100, INT_MAX), "2048", COMPATIBILITY),
    fixed("max_worker_processes", Kind::Int(0, 262_143), "8", COMPATIBILITY),
    user("parallel_setup_cost", Kind::Float(0.0, f64::MAX), "1000", PLANNER),
    user("parallel_tuple_cost", Kind::Float(0.0, f64::MAX), "0.1", PLANNER),
    user(
        "partition_overwrite_mode",
        Kind::Enum(&["dynamic", "static"]),
        "dynamic",
        "What INSERT OVERWRITE without partition values replaces.",
    ),
    user("password_encryption", Kind::Enum(&["scram-sha-256"]), "scram-sha-256", "How passwords are stored."),
    user(
        "plan_cache_mode",
        Kind::Enum(&["auto", "force_generic_plan", "force_custom_plan"]),
        "auto",
        PLANNER,
    ),
    fixed("port", Kind::Int(1, 65_535), "5433", "Port that the server listens on."),
    user(
        "quote_all_identifiers",
        Kind::Always(false),
        "off",
        "Functions that write SQL quote the identifiers that need it: always.",
    ),
    user("random_page_cost", Kind::Float(0.0, f64::MAX), "4", PLANNER),
    user("result_cache", BOOL, "on", "Whether results may be answered from the result cache."),
    user(
        "result_cache_max_staleness",
        Kind::Milliseconds(0, INT_MAX),
        "0",
        "How old an answer from the result cache may be without a look at its tables.",
    ),
    user("role", TEXT, "none", "Current role."),
    user("row_security", BOOL, "on", COMPATIBILITY),
    reported(fact("scram_iterations", "4096", "Iterations of a SCRAM verifier.")),
    user("search_path", TEXT, "\"$user\", public", "Schemas in which unqualified names are looked up."),
    user("seq_page_cost", Kind::Float(0.0, f64::MAX), "1", PLANNER),
    reported(fact("server_encoding", "UTF8", "The server's character set.")),
    reported(fact("server_version", SERVER_VERSION, "Version of the server.")),
    fact("server_version_num", SERVER_VERSION_NUM, "Version of the server as a number."),
    reported(user("session_authorization", TEXT, "", "Session user.")),
    user("session_replication_role", Kind::Enum(&["origin", "replica", "local"]), "origin", COMPATIBILITY),
    fact("shared_buffers", "128MB", COMPATIBILITY),
    fixed("ssl", BOOL, "off", "Whether the server offers TLS."),
    reported(user(
        "standard_conforming_strings",
        Kind::Always(true),
        "on",
        "Backslashes in '…' are ordinary characters: always.",
    )),
    user(
        "statement_timeout",
        Kind::Milliseconds(0, INT_MAX),
        "0",
        "Longest time of a statement; 0: no limit.",
    ),
    user("synchronize_seqscans", BOOL, "on", PLANNER),
    user(
        "synchronous_commit",
        Kind::Enum(&["on", "off", "local", "remote_write", "remote_apply"]),
        "on",
        "Accepted for compatibility; commits are always durable.",
    ),
    user("tcp_keepalives_count", Kind::Int(0, INT_MAX), "0", COMPATIBILITY),
    user("tcp_keepalives_idle", Kind::Int(0, INT_MAX), "0", COMPATIBILITY),
    user("tcp_keepalives_interval", Kind::Int(0, INT_MAX), "0", COMPATIBILITY),
    user("temp_buffers", Kind::Kilobytes(800, INT_MAX), "8192", COMPATIBILITY),
    user("temp_tablespaces", TEXT, "", COMPATIBILITY),
    reported(user("TimeZone", Kind::TimeZone, "UTC", "Time zone in which times are shown and read.")),
    user("track_activities", BOOL, "on", COMPATIBILITY),
    user("transaction_deferrable", BOOL, "off", "Whether the transaction is deferrable."),
    user("transaction_isolation", ISOLATION, "read committed", "The transaction's isolation level."),
    user("transaction_read_only", BOOL, "off", "Whether the transaction refuses writes."),
    user("transform_null_equals", Kind::Always(false), "off", "x = NULL is null: always."),
    fact("wal_block_size", "8192", COMPATIBILITY),
    fact("wal_level", "replica", COMPATIBILITY),
    user("work_mem", Kind::Kilobytes(64, INT_MAX), "4096", PLANNER),
    user("xmlbinary", Kind::Enum(&["base64", "hex"]), "base64", COMPATIBILITY),
    user("xmloption", Kind::Enum(&["content", "document"]), "content", COMPATIBILITY),
];

/// Character sets that Postgres converts (manual 24.3.1), by their names and second names without anything but
/// letters and digits.
const OTHER_ENCODINGS: &[&str] = &[
    "abc",
    "alt",
    "big5",
    "eucchs",
    "euccn",
    "eucjis2004",
    "eucjp",
    "euckr",
    "euctw",
    "gb18030",
    "gbk",
    "iso88591",
    "iso885910",
    "iso885913",
    "iso885914",
    "iso885915",
    "iso885916",
    "iso88592",
    "iso88593",
    "iso88594",
    "iso88595",
    "iso88596",
    "iso88597",
    "iso88598",
    "iso88599",
    "johab",
    "koi8",
    "koi8r",
    "koi8u",
    "latin1",
    "latin10",
    "latin2",
    "latin3",
    "latin4",
    "latin5",
    "latin6",
    "latin7",
    "latin8",
    "latin9",
    "mskanji",
    "muleinternal",
    "shiftjis",
    "shiftjis2004",
    "sjis",
    "tcvn",
    "tcvn5712",
    "uhc",
    "vscii",
    "win",
    "win1250",
    "win1251",
    "win1252",
    "win1253",
    "win1254",
    "win1255",
    "win1256",
    "win1257",
    "win1258",
    "win866",
    "win874",
    "win932",
    "win936",
    "win949",
    "win950",
    "windows1250",
    "windows1251",
    "windows1252",
    "windows1253",
    "windows1254",
    "windows1255",
    "windows1256",
    "windows1257",
    "windows1258",
    "windows866",
    "windows874",
    "windows932",
    "windows936",
    "windows949",
    "windows950",
];

/// Settings that `RESET ALL` leaves alone: those of the transaction and of who asks.
pub fn stays(name: &str) -> bool {
    let of_transaction = ["transaction_deferrable", "transaction_isolation", "transaction_read_only"];
    of_transaction.contains(&name) || matches!(name, "role" | "session_authorization")
}

/// Definition of a setting, by name in any case.
pub fn definition(name: &str) -> Option<&'static Definition> {
    let compare = |definition: &Definition| {
        let name = name.bytes().map(|byte| byte.to_ascii_lowercase());
        definition.name.bytes().map(|byte| byte.to_ascii_lowercase()).cmp(name)
    };
    // They are in this order, as a test sees to.
    DEFINITIONS.binary_search_by(compare).ok().and_then(|place| DEFINITIONS.get(place))
}

impl Definition {
    /// Checks a value and gives its canonical text.
    pub fn canonical(&self, value: &str) -> Result<String, SettingsError> {
        let invalid = || SettingsError::InvalidValue { name: self.name, value: value.to_string() };
        match self.kind {
            Kind::Text => Ok(value.to_string()),
            Kind::Bool => match parse_bool(value) {
                Some(on) => Ok(if on { "on" } else { "off" }.to_string()),
                None => Err(SettingsError::NotBool { name: self.name }),
            },
            Kind::Always(only) => match parse_bool(value) {
                Some(on) if on == only => Ok(self.default.to_string()),
                Some(_) => Err(SettingsError::Unsupported { name: self.name, value: value.to_string() }),
                None => Err(SettingsError::NotBool { name: self.name }),
            },
            Kind::Int(low, high) => {
                let number = value.trim().parse::<i64>().map_err(|_| invalid())?;
                self.within(number, low, high)
            }
            Kind::Float(low, high) => match value.trim().parse::<f64>() {
                Ok(number) if number >= low && number <= high => Ok(value.trim().to_string()),
                _ => Err(invalid()),
            },
            Kind::Milliseconds(low, high) => {
                let units =
                    [("us", 0.001), ("ms", 1.0), ("s", 1e3), ("min", 6e4), ("h", 3.6e6), ("d", 8.64e7)];
                self.within(parse_unit(value, &units).ok_or_else(invalid)?, low, high)
            }
            Kind::Kilobytes(low, high) => {
                let gigabyte = 1024.0 * 1024.0;
                let units = [
                    ("kB", 1.0),
                    ("MB", 1024.0),
                    ("GB", gigabyte),
                    ("TB", gigabyte * 1024.0),
                    ("B", 1.0 / 1024.0),
                ];
                self.within(parse_unit(value, &units).ok_or_else(invalid)?, low, high)
            }
            Kind::Enum(words) => {
                if let Some(word) = words.iter().find(|word| word.eq_ignore_ascii_case(value.trim())) {
                    return Ok((*word).to_string());
                }
                // An enumeration with on and off takes every spelling of a boolean.
                let as_bool = parse_bool(value).map(|on| if on { "on" } else { "off" });
                as_bool.filter(|word| words.contains(word)).map(str::to_string).ok_or_else(invalid)
            }
            Kind::TimeZone => time_zone(value).ok_or_else(invalid),
            Kind::DateStyle => date_style(value).ok_or_else(invalid),
            Kind::Encoding => {
                let name: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
                match name.to_ascii_lowercase().as_str() {
                    "utf8" | "unicode" => Ok("UTF8".to_string()),
                    "sqlascii" => Ok("SQL_ASCII".to_string()),
                    name if OTHER_ENCODINGS.contains(&name) => {
                        Err(SettingsError::Unsupported { name: self.name, value: value.to_string() })
                    }
                    _ => Err(invalid()),
                }
            }
        }
    }

    fn within(&self, number: i64, low: i64, high: i64) -> Result<String, SettingsError> {
        if (low..=high).contains(&number) {
            Ok(number.to_string())
        } else {
            Err(SettingsError::OutOfRange { name: self.name, value: number, low, high })
        }
    }

    /// The canonical value as `SHOW` prints it: numbers with the largest unit that divides them.
    pub fn shown(&self, canonical: &str) -> String {
        let units: &[(&str, i64)] = match self.kind {
            Kind::Milliseconds(..) => {
                &[("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1)]
            }
            Kind::Kilobytes(..) => &[("TB", 1 << 30), ("GB", 1 << 20), ("MB", 1 << 10), ("kB", 1)],
            _ => return canonical.to_string(),
        };
        match canonical.parse::<i64>() {
            Ok(number) if number > 0 => units
                .iter()
                .find(|(_, size)| number % size == 0)
                .map_or_else(|| canonical.to_string(), |(unit, size)| format!("{}{unit}", number / size)),
            _ => canonical.to_string(),
        }
    }
}

/// A boolean in any spelling that Postgres takes (unique prefixes of true, false, yes, no; on, off; 1, 0).
pub fn parse_bool(text: &str) -> Option<bool> {
    let text = text.trim().to_ascii_lowercase();
    if text.is_empty() {
        return None;
    }
    match text.as_str() {
        "on" | "1" => Some(true),
        "off" | "of" | "0" => Some(false),
        _ if "true".starts_with(&text) || "yes".starts_with(&text) => Some(true),
        _ if "false".starts_with(&text) || "no".starts_with(&text) => Some(false),
        _ => None,
    }
}

/// A number with an optional unit, rounded to the base unit.
fn parse_unit(text: &str, units: &[(&str, f64)]) -> Option<i64> {
    let text = text.trim();
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number = number.trim().parse::<f64>().ok()?;
    let factor = match unit.trim() {
        "" => 1.0,
        unit => units.iter().find(|(name, _)| *name == unit)?.1,
    };
    let value = (number * factor).round();
    (value.abs() < 9e15).then_some(value as i64)
}

/// Canonical name of a time zone: IANA name in its own spelling, a POSIX zone as it is, or for a number of
/// hours east of Greenwich a POSIX zone named after it.
fn time_zone(text: &str) -> Option<String> {
    let text = text.trim().trim_matches('\'');
    match text.to_ascii_lowercase().as_str() {
        "utc" | "default" | "local" => return Some("UTC".to_string()),
        "gmt" => return Some("GMT".to_string()),
        _ => {}
    }
    if let Ok(hours) = text.parse::<f64>() {
        return fixed_zone((hours * 3600.0).round() as i64);
    }
    if let Some(name) = calendar::iana(text) {
        return Some(name);
    }
    calendar::Zone::named(text).map(|_| text.to_string())
}

/// `<+05:30>-05:30`: the name that Postgres gives a fixed offset. `None`: more than a week.
pub fn fixed_zone(seconds: i64) -> Option<String> {
    if seconds.abs() > 167 * 3600 {
        return None;
    }
    let (east, west) = (text_output::zone_offset(seconds), text_output::zone_offset(-seconds));
    // Postgres writes Greenwich itself with the same sign twice.
    Some(format!("<{east}>{west}"))
}

/// `style, order`. Only ISO output exists; the order only matters for input.
fn date_style(text: &str) -> Option<String> {
    let mut order = "MDY";
    for word in text.split(',') {
        match word.trim().to_ascii_lowercase().as_str() {
            "" | "iso" | "default" => {}
            "mdy" | "us" | "noneuro" | "noneuropean" => order = "MDY",
            "dmy" | "euro" | "european" => order = "DMY",
            "ymd" => order = "YMD",
            _ => return None,
        }
    }
    Some(format!("ISO, {order}"))
}
