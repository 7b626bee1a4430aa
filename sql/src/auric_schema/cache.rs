//! `auric.cache`: what is kept in memory, and how often it helped.

use super::{Relation, number};
use crate::error::Result;
use crate::pg_catalog::value::Value;
use crate::planner::Scope;

const COLUMNS: &[(&str, &str)] = &[
    // `results`: answers of queries; `statements`: what statements came to, by their text; the others: what
    // was read of files, which share one budget.
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
    // Queries that were run again after a commit, before anybody asked.
    ("again", "int8"),
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
        some(statistics.again.get()),
    ];
    let sized = |name: &str, [entries, bytes, budget]: [Option<u64>; 3]| {
        let mut row = vec![name.into(), number(entries), number(bytes), number(budget)];
        row.resize(COLUMNS.len(), Value::Null);
        row
    };
    let known = &cache.statements;
    let size = [Some(known.entry_count()), Some(known.weighted_size()), known.policy().max_capacity()];
    let statements = sized("statements", size);
    let mut rows = vec![results, statements];
    let database = scope.database()?;
    let memory = database.storage().memory();
    for share in memory.shares() {
        let mut row =
            sized(share.kind.name(), [Some(share.entries), Some(share.bytes), Some(memory.budget())]);
        let counts = [("hits", share.hits), ("misses", share.misses)];
        for (cell, (name, _)) in row.iter_mut().zip(COLUMNS) {
            if let Some((_, count)) = counts.iter().find(|(counted, _)| counted == name) {
                *cell = some(*count);
            }
        }
        rows.push(row);
    }
    Ok(Relation { columns: COLUMNS, rows })
}
