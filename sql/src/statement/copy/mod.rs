//! COPY.

use super::{Output, not_supported};
use crate::error::Result;
use crate::parser::Parsed;
use crate::parser::statement::Copy;
use crate::session::Session;

pub async fn execute(_session: &mut Session, _copy: &Copy, _parsed: &Parsed) -> Result<Output> {
    Err(not_supported("COPY"))
}
