//! A table whose rows can be told apart: for samples that are the same each time.

use std::sync::Arc;

use datafusion::catalog::TableProvider;

use super::address_book::AddressBook;
use super::addressed_table::AddressedTable;
use crate::registry::Table;

/// The files that the numbers in the rows' addresses stand for.
#[derive(Debug, Clone)]
pub struct RowFiles(Arc<AddressBook>);

impl RowFiles {
    /// Where the file with this number is, which says the same at each scan. `None`: no scan gave out the
    /// number.
    pub fn path(&self, number: i32) -> Option<String> {
        self.0.file(number).map(|file| file.path().to_string())
    }
}

/// The table with two columns more: [`FILE`](crate::dml::rows::FILE) and
/// [`POSITION`](crate::dml::rows::POSITION). To be planned anew for each statement: the book grows.
pub fn told_apart(table: &Table) -> (Arc<dyn TableProvider>, RowFiles) {
    let book = Arc::new(AddressBook::default());
    (Arc::new(AddressedTable::new(table, book.clone())), RowFiles(book))
}
