//! Statements that change rows: each plans its input, writes files, and ends in a
//! [`TableChange`](crate::table::TableChange).

pub mod insert;

#[cfg(test)]
mod tests;
