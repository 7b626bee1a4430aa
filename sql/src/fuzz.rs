//! What decodes text of clients and is private to this crate, for the fuzzer (`fuzz/`).

pub use crate::statement::copy::fuzz::copy_records;
