//! `auric.cache`: what is kept in memory, and how often it helped.

use super::{Relation, number};
use crate::error::Result;
use crate::pg_catalog::value::Value;
use crate::planner::Scope;

const COLUMNS: &[(&str, &str)] = &[
    // `results`: answers of queries; `statements`: what statements came to, by their text; `footers`: of
    // data files.
    ("name", "text"),
    ("entries", "int8"),
    ("bytes", "int8"),
    // Most bytes.
    ("budget", "int8"),
    ("hits", "int8"),
    // Of these, such as waited for another session's equal query.
    ("shared", "int8"),
    ("misses", "int8"),
    // Queries that were not looked up: they would not give the same twice, or read what has no version.
    ("bypassed", "int8"),
    // Answers that were too long to be kept.
    ("too_long", "int8"),
];

pub fn rows(scope: &Scope) -> Result<Relation> {
    let cache = &scope.engine.results;
    let statistics = &cache.statistics;
    let (entries, bytes) = cache.size();
    let some = |n: u64| number(Some(n));
    let results = vec![
        "results".into(),
        some(entries),
        some(bytes),
        some(cache.options().budget),
        some(statistics.hits.get()),
        some(statistics.shared.get()),
        some(statistics.misses.get()),
        some(statistics.bypassed.get()),
        some(statistics.too_long.get()),
    ];
    let sized = |name: &str, [entries, bytes, budget]: [Option<u64>; 3]| {
        let mut row = vec![name.into(), number(entries), number(bytes), number(budget)];
        row.resize(COLUMNS.len(), Value::Null);
        row
    };
    let known = &cache.statements;
    let size = [Some(known.entry_count()), Some(known.weighted_size()), known.policy().max_capacity()];
    let statements = sized("statements", size);
    let footers = scope.engine.runtime.cache_manager.get_file_metadata_cache();
    let count = |n: usize| u64::try_from(n).ok();
    let kept = footers.list_entries();
    let bytes = kept.values().map(|entry| entry.size_bytes).sum();
    let footers = sized("footers", [count(kept.len()), count(bytes), count(footers.cache_limit())]);
    Ok(Relation { columns: COLUMNS, rows: vec![results, statements, footers] })
}
