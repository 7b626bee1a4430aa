//! Rows removed from the column chunks of Parquet files, page by page, without taking values apart.
//!
//! Whoever deletes rows of a file usually decodes all of it and encodes what is left. Most of that goes into what
//! does not change: the dictionary of a column, which every value is looked up in again, and pages of which no row
//! goes. Here a column chunk keeps its dictionary and its pages. Of a page with a row that goes, the levels and the
//! values (or references to the dictionary) that stay are put together again and compressed; other pages are copied
//! as they are. Bounds, counts and page index are those of what stays.
//!
//! [`retain`] does it, for the columns that [`is_supported`] knows: not nested, of the usual types, encodings and
//! codecs. Section numbers are those of the Parquet format's `Encodings.md`.

mod bounds;
mod chunk;
mod codec;
mod hybrid;
mod kept_rows;
mod order;
mod page;
mod plain;

pub use chunk::{ColumnChunk, Retained, is_supported, retain};
pub use kept_rows::KeptRows;

use parquet::errors::ParquetError;

type Result<T> = std::result::Result<T, ParquetError>;

/// Bytes of a page that mean nothing.
fn corrupt(what: &str) -> ParquetError {
    ParquetError::General(format!("a page cannot be understood: {what}"))
}
