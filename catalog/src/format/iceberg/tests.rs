//! The format against a catalog in memory and files in a temporary folder.

mod corrupt;
mod deletes;
mod fixture;
mod lifecycle;
