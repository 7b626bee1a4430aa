//! Versions of tables that the next refresh of a materialized view starts from. Whoever takes versions or
//! their files away spares these, or has the next refresh compute all rows.

use auric_catalog::registry::Table;

use crate::error::Result;
use crate::materialize::definition::{Definition, RefreshPolicy};
use crate::materialize::provenance::Provenance;

/// Versions (Iceberg snapshot id, Delta version) of the tables that the view was built from, by
/// `catalog.schema.table`. None of a view that is always refreshed as a whole. Fails as reading the view's
/// metadata does.
pub async fn needed_by(view: &Table, definition: &Definition) -> Result<Vec<(String, i64)>> {
    if definition.policy == RefreshPolicy::Full || !definition.populated {
        return Ok(Vec::new());
    }
    let Some(provenance) = Provenance::of(view).await? else { return Ok(Vec::new()) };
    let own = provenance.sources.into_iter().filter(|(_, source)| source.via.is_none());
    Ok(own.filter_map(|(name, source)| Some((name, source.version?))).collect())
}
