//! The format against a catalog in memory and files in a temporary folder.

mod changes;
mod copied_entries;
mod corrupt;
mod deletes;
mod evolution;
mod fixture;
mod history;
mod interop;
mod lifecycle;
mod row_changes;
mod stored_deletes;
