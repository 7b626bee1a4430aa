//! Functions by chapter of the Postgres manual.
