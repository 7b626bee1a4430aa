//! `pg_timezone_names`: the session's zone and UTC. Which zones exist is decided where settings are
//! checked; this relation is only read to fill menus.

use datafusion::error::Result;

use super::CatalogContext;
use super::relation::Rows;

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new("name abbrev is_dst");
    let own = context.info.setting("TimeZone").filter(|zone| zone != "UTC");
    for zone in own.into_iter().chain(["UTC".to_string()]) {
        let abbreviation = zone.clone();
        rows.push(vec![zone.into(), abbreviation.into(), false.into()]);
    }
    Ok(rows)
}
