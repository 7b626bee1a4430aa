//! Counters of this process, in Prometheus' text format.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn inc(&self) {
        self.add(1);
    }

    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub struct Metrics {
    pub connections_accepted: Counter,
    /// Closed because newer ones were unauthenticated as well.
    pub connections_displaced: Counter,
    pub authentication_failures: Counter,
    pub statements_ok: Counter,
    pub statements_failed: Counter,
    pub rows_sent: Counter,
}

/// What is read when asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gauges {
    pub connections: u64,
    pub active_statements: u64,
    pub memory_reserved_bytes: u64,
    pub spill_bytes: u64,
    pub cache: CacheCounts,
}

/// Of the cache of results.
#[derive(Debug, Clone, Copy, Default)]
pub struct CacheCounts {
    pub hits: u64,
    pub misses: u64,
    pub bypassed: u64,
    /// Run again after a commit, before anybody asked.
    pub refreshed: u64,
    pub bytes: u64,
}

impl Metrics {
    /// Everything as text (Prometheus exposition format 0.0.4).
    pub fn render(&self, gauges: Gauges) -> String {
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, samples: &[(&str, u64)]| {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in samples {
                let _ = writeln!(text, "{name}{labels} {value}");
            }
        };
        let accepted = self.connections_accepted.get();
        family("auric_connections_accepted_total", "counter", "Connections accepted.", &[("", accepted)]);
        let displaced = self.connections_displaced.get();
        family(
            "auric_connections_displaced_total",
            "counter",
            "Connections closed because too many were unauthenticated.",
            &[("", displaced)],
        );
        let failures = self.authentication_failures.get();
        family(
            "auric_authentication_failures_total",
            "counter",
            "Wrong passwords and unknown users.",
            &[("", failures)],
        );
        let statements = [
            ("{outcome=\"ok\"}", self.statements_ok.get()),
            ("{outcome=\"error\"}", self.statements_failed.get()),
        ];
        family("auric_statements_total", "counter", "Statements finished.", &statements);
        family("auric_rows_sent_total", "counter", "Rows sent to clients.", &[("", self.rows_sent.get())]);
        family("auric_connections", "gauge", "Open sessions.", &[("", gauges.connections)]);
        family("auric_statements_active", "gauge", "Statements running.", &[("", gauges.active_statements)]);
        let memory = [("", gauges.memory_reserved_bytes)];
        family(
            "auric_query_memory_reserved_bytes",
            "gauge",
            "Memory that statements have reserved.",
            &memory,
        );
        let spill = [("", gauges.spill_bytes)];
        family("auric_spill_bytes", "gauge", "Disk that statements have spilled to.", &spill);
        let CacheCounts { hits, misses, bypassed, refreshed, bytes } = gauges.cache;
        let asked =
            [("{outcome=\"hit\"}", hits), ("{outcome=\"miss\"}", misses), ("{outcome=\"bypass\"}", bypassed)];
        family(
            "auric_result_cache_queries_total",
            "counter",
            "Queries by what the cache of results had.",
            &asked,
        );
        family(
            "auric_result_cache_refreshed_total",
            "counter",
            "Queries run again after a commit, before anybody asked.",
            &[("", refreshed)],
        );
        family("auric_result_cache_bytes", "gauge", "Memory of the cache of results.", &[("", bytes)]);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_format() {
        let metrics = Metrics::default();
        metrics.statements_ok.add(3);
        let text = metrics.render(Gauges { connections: 2, ..Gauges::default() });
        assert!(text.contains("\nauric_statements_total{outcome=\"ok\"} 3\n"));
        assert!(text.contains("# TYPE auric_connections gauge\nauric_connections 2\n"));
    }
}
