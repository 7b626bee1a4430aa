//! Views: a query kept by its text, in the layout of Iceberg's view specification
//! (<https://iceberg.apache.org/view-spec/>), so that other engines see that it is there.
//!
//! This crate keeps the text; only `sql` reads it.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use crate::TableIdent;
use crate::backend::ViewEntry;
use crate::registry::Catalog;
use crate::table::ColumnDefinition;

/// The dialect that our own views are written in.
pub const DIALECT: &str = "auric";

/// A view as a statement sees it.
#[derive(Debug, Clone)]
pub struct View {
    pub catalog: Arc<Catalog>,
    pub entry: ViewEntry,
    pub definition: Arc<ViewDefinition>,
}

impl View {
    pub fn ident(&self) -> &TableIdent {
        &self.entry.ident
    }
}

/// What a view is, read from its metadata.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewDefinition {
    /// The query, and the dialect that it is written in.
    pub sql: String,
    pub dialect: String,
    /// Schemas that unqualified names of the query are looked up in, in order.
    pub search_path: Vec<String>,
    /// Names of the query's own columns: those of the view, in order, before they were renamed. What
    /// a `*` finds later is found by them.
    pub query_columns: Vec<String>,
    /// Names, types and comments of the columns. A type that Iceberg lacks is shown as text.
    pub columns: SchemaRef,
    pub comment: Option<String>,
}

/// A view to be made.
#[derive(Debug, Clone)]
pub struct NewView {
    pub sql: String,
    pub search_path: Vec<String>,
    /// Names of the query's own columns.
    pub query_columns: Vec<String>,
    /// The columns as the view names them.
    pub columns: Vec<ColumnDefinition>,
    pub comment: Option<String>,
}
