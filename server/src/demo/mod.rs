//! `auric demo`.
use crate::pgwire::Server;
use std::sync::Arc;
pub async fn make(_server: &Arc<Server>, _scale: f64) -> Result<(), auric_sql::Error> {
    Ok(())
}
pub fn print_queries() {}
