//! From a change to a committed version: per-table queue, attempts, rebase, and finding out what
//! became of an unknown outcome.
