//! Rows written and read back.
