//! `INSERT … ON CONFLICT`.

use super::super::{Output, not_supported};
use super::insert::InsertRows;
use crate::error::Result;
use crate::parser::statement::OnConflict;

pub async fn execute(_statement: InsertRows<'_>, _clause: &OnConflict) -> Result<Output> {
    Err(not_supported("INSERT … ON CONFLICT"))
}
