//! Scans over hand-made snapshots of small Parquet files.

mod lake;

mod addresses;
mod constants;
mod deletes;
mod evolution;
mod metadata;
mod pruning;
mod transforms;
