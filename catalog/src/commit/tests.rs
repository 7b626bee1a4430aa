//! The commit loop against a table in memory.
