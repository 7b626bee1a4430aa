//! The SQL standard's information schema, one view per file.
