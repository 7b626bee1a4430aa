//! Versions of tables that the next refresh of a materialized view starts from. Whoever takes versions or
//! their files away spares these, or has the next refresh compute all rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use auric_catalog::registry::Catalog;

use crate::error::Result;
use crate::materialize::definition::{Definition, RefreshPolicy};
use crate::materialize::provenance::Provenance;

/// Versions (Iceberg snapshot id, Delta version) by `catalog.schema.table` that the views of `catalog` need.
/// Read from the views' tables; one that cannot be read needs nothing that could be known.
pub async fn protected_versions(catalog: &Arc<Catalog>) -> Result<BTreeMap<String, BTreeSet<i64>>> {
    let mut needed: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
    for namespace in catalog.namespaces().await? {
        for entry in catalog.tables(&namespace.name).await? {
            let Ok(Some(view)) = catalog.table(&entry.ident).await else { continue };
            let Some(definition) = Definition::of(&view.snapshot.properties)? else { continue };
            if definition.policy == RefreshPolicy::Full || !definition.populated {
                continue;
            }
            let Some(provenance) = Provenance::of(&view).await? else { continue };
            for (name, source) in provenance.sources {
                if let (Some(version), None) = (source.version, &source.via) {
                    needed.entry(name).or_default().insert(version);
                }
            }
        }
    }
    Ok(needed)
}
