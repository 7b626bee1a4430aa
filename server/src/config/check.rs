//! What no single value of the configuration can tell.

use super::load::{Mistake, mistake};
use super::value::CatalogKind;
use super::{CatalogConfig, Config};
use crate::security::access::{ConnectionKind, Method};

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

fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}
