//! Parquet writing: partition fan-out, sort order, target file size, statistics.
