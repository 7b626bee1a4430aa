//! The system catalog, one relation per file.
