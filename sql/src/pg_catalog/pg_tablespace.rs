//! `pg_tablespace`: Postgres' two, because clients expect them; files lie in object stores.

use datafusion::error::Result;

use super::CatalogContext;
use super::image::OWNER;
use super::relation::Rows;

pub fn rows(_: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new("oid spcname spcowner");
    rows.push(vec![1663.into(), "pg_default".into(), OWNER.into()]);
    rows.push(vec![1664.into(), "pg_global".into(), OWNER.into()]);
    Ok(rows)
}
