//! `CREATE OR REPLACE TABLE` of a table that exists: one commit with other metadata that removes every file.
//! The table keeps its id and its history; of its properties stay those that say how its log is written.

use std::sync::Arc;

use super::action::Metadata;
use super::properties::{self, KEPT_BY_REPLACEMENT};
use super::snapshot::{DeltaState, assemble, state};
use super::{files::NoFiles, stage};
use crate::TableIdent;
use crate::error::{Error, Result};
use crate::table::{TableDefinition, TableSnapshot, TableVersion};

/// The empty snapshot of what the table becomes.
pub(super) fn staged(
    ident: &TableIdent,
    base: &TableSnapshot,
    definition: &TableDefinition,
) -> Result<Arc<TableSnapshot>> {
    let before = state(base)?;
    let mut definition = definition.clone();
    for key in properties::FIXED {
        let (now, asked) = (before.metadata.configuration.get(*key), definition.properties.get(*key));
        match (now, asked) {
            (now, Some(asked)) if now != Some(asked) => {
                return Err(Error::unsupported("an existing Delta table", format!("changing \"{key}\"")));
            }
            (Some(now), None) => _ = definition.properties.insert(key.to_string(), now.clone()),
            _ => {}
        }
    }
    let fresh = stage::stage(ident, &definition, &base.location)?;
    let fresh_state = state(&fresh)?;
    let state = DeltaState {
        protocol: properties::with_features_of(&before.protocol, &fresh_state.protocol),
        metadata: metadata(&before.metadata, &fresh_state.metadata),
        kernel: None,
    };
    let (schema, spec) = (fresh.schema.clone(), fresh.default_spec.clone());
    let files = Arc::new(NoFiles);
    Ok(Arc::new(assemble(&base.location, TableVersion::Unpublished, schema, spec, state, None, files)))
}

fn metadata(before: &Metadata, fresh: &Metadata) -> Metadata {
    let mut metadata = Metadata { id: before.id.clone(), created_time: before.created_time, ..fresh.clone() };
    for key in KEPT_BY_REPLACEMENT {
        if let Some(value) = before.configuration.get(*key) {
            metadata.configuration.insert(key.to_string(), value.clone());
        }
    }
    let max_id = |metadata: &Metadata| {
        let text = metadata.configuration.get(properties::COLUMN_MAPPING_MAX_ID)?;
        text.parse::<i64>().ok()
    };
    if let Some(highest) = max_id(before).max(max_id(fresh)) {
        metadata.configuration.insert(properties::COLUMN_MAPPING_MAX_ID.into(), highest.to_string());
    }
    metadata
}

/// Whether what was staged can still be committed: fails with `Conflict` if the table's protocol or metadata
/// changed since.
pub(super) fn check(ident: &TableIdent, current: &DeltaState, staged: &TableSnapshot) -> Result<()> {
    let staged = state(staged)?;
    let same_table = current.metadata.id == staged.metadata.id;
    if same_table && properties::with_features_of(&current.protocol, &staged.protocol) == staged.protocol {
        return Ok(());
    }
    let winner = "another statement has altered the table".to_string();
    Err(Error::Conflict { table: ident.to_string(), winner })
}
