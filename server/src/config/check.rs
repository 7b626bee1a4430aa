//! What no single value of the configuration can tell.

use std::time::Duration;

use super::load::{Mistake, mistake};
use super::value::CatalogKind;
use super::{CatalogConfig, Config};
use crate::security::access::{ConnectionKind, Method};

/// Of a catalog's database.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(86_400);

/// Finds the mistakes of a configuration that was read.
pub(super) fn check(config: &Config, mistakes: &mut Vec<Mistake>) {
    for (key, address) in [("server.listen", &config.server.listen), ("server.http", &config.server.http)] {
        if !is_address(address) {
            mistakes.push(mistake(key, format!("expected HOST:PORT, found \"{address}\"")));
        }
    }
    for (name, number) in [
        ("server.max_connections", config.server.max_connections),
        ("server.max_unauthenticated", config.server.max_unauthenticated),
        ("server.max_prepared_statements", config.server.max_prepared_statements),
        ("server.max_portals", config.server.max_portals),
        ("query.batch_size", config.query.batch_size),
        ("query.max_concurrent", config.query.max_concurrent),
        ("materialize.history", config.materialize.history),
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
    materialize(config, mistakes);
    tls(config, mistakes);
    access(config, mistakes);
    for (name, entry) in &config.catalogs {
        catalog(name, entry, mistakes);
    }
}

fn materialize(config: &Config, mistakes: &mut Vec<Mistake>) {
    let section = &config.materialize;
    for (name, time, least, most) in [
        ("materialize.poll_interval", section.poll_interval, 10, 60_000),
        ("materialize.lease", section.lease, 1_000, 3_600_000),
        ("materialize.retry_pause", section.retry_pause, 10, 3_600_000),
        ("notify.timeout", config.notify.timeout, 10, 600_000),
    ] {
        if !(least..=most).contains(&time.as_millis()) {
            mistakes.push(mistake(name, format!("must be between {least} ms and {} s", most / 1_000)));
        }
    }
    for (name, number) in [
        ("materialize.retries", section.retries),
        ("materialize.suspend_after", section.suspend_after),
        ("notify.retries", config.notify.retries),
    ] {
        if number > 1_000 {
            mistakes.push(mistake(name, "must be at most 1000"));
        }
    }
    if section.history > 100_000 {
        mistakes.push(mistake("materialize.history", "must be at most 100000"));
    }
    let is_http = |url: &String| url.starts_with("http://") || url.starts_with("https://");
    if let Some(url) = config.notify.url.as_ref().filter(|url| !is_http(url)) {
        mistakes.push(mistake("notify.url", format!("expected http://... or https://..., found \"{url}\"")));
    }
}

fn tls(config: &Config, mistakes: &mut Vec<Mistake>) {
    let tls = &config.tls;
    match (&tls.certificate, &tls.key) {
        (Some(_), None) => mistakes.push(mistake("tls.key", "tls.certificate needs it")),
        (None, Some(_)) => mistakes.push(mistake("tls.certificate", "tls.key needs it")),
        (None, None) if tls.client_ca.is_some() => {
            mistakes.push(mistake("tls.certificate", "tls.client_ca needs it"));
        }
        _ => {}
    }
    if tls.client_crl.is_some() && tls.client_ca.is_none() {
        mistakes.push(mistake("tls.client_ca", "tls.client_crl needs it"));
    }
}

fn access(config: &Config, mistakes: &mut Vec<Mistake>) {
    for (number, rule) in config.access.iter().enumerate() {
        let mut wrong =
            |key: &str, message: &str| mistakes.push(mistake(format!("access.{number}.{key}"), message));
        if rule.method == Method::Trust && !rule.address.is_loopback() {
            wrong("method", "\"trust\" is for loopback addresses only (127.0.0.0/8, ::1)");
        }
        if rule.kind == ConnectionKind::Tls && config.tls.certificate.is_none() {
            wrong("type", "\"hostssl\" needs tls.certificate");
        }
        if rule.method == Method::Certificate && rule.kind != ConnectionKind::Tls {
            wrong("type", "the method \"cert\" needs \"hostssl\"");
        }
        if rule.method == Method::Certificate && config.tls.client_ca.is_none() {
            wrong("method", "\"cert\" needs tls.client_ca");
        }
    }
}

fn catalog(name: &str, catalog: &CatalogConfig, mistakes: &mut Vec<Mistake>) {
    use CatalogKind::{Delta, Postgres, Sql};
    let mut wrong =
        |key: &str, message: String| mistakes.push(mistake(format!("catalogs.{name}.{key}"), message));
    for (key, is_set, owners) in [
        ("database", catalog.database.is_some(), &[Sql][..]),
        ("warehouse", catalog.warehouse.is_some(), &[Sql, Postgres]),
        ("root", catalog.root.is_some(), &[Delta]),
        ("url", catalog.url.is_some(), &[Postgres]),
        ("password", catalog.password.is_some(), &[Postgres]),
        ("schema", catalog.schema.is_some(), &[Postgres]),
    ] {
        if is_set && !owners.contains(&catalog.kind) {
            let names: Vec<String> = owners.iter().map(|kind| format!("\"{}\"", kind.word())).collect();
            wrong(key, format!("only a catalog of type {} has it", names.join(" or ")));
        }
    }
    let needed = match catalog.kind {
        Sql => &[][..],
        Delta => &[("root", catalog.root.is_none())],
        Postgres => &[("url", catalog.url.is_none()), ("warehouse", catalog.warehouse.is_none())],
    };
    for (key, _) in needed.iter().filter(|(_, is_missing)| *is_missing) {
        wrong(key, format!("a catalog of type \"{}\" needs it", catalog.kind.word()));
    }
    if catalog.max_connections < 2 || u32::try_from(catalog.max_connections).is_err() {
        wrong("max_connections", "must be at least 2".to_string());
    }
    if catalog.timeout.is_zero() || catalog.timeout > LONGEST_TIMEOUT {
        wrong("timeout", "must be longer than 0 and at most 1d".to_string());
    }
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}
