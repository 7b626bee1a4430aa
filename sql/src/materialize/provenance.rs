//! What a version of a materialized view was built from, as the summary of its commit tells.

use std::collections::BTreeMap;

use auric_catalog::format::VersionInfo;
use auric_catalog::registry::Table;

use super::expectation::Outcome;
use super::json;
use super::sources::{SourceVersion, Sources};
use crate::error::Result;

const RUN_ID: &str = "auric.materialized-view.run-id";
const HASH: &str = "auric.materialized-view.definition-hash";
const PLAN: &str = "auric.materialized-view.plan-hash";
const SOURCES: &str = "auric.materialized-view.sources";
const MODE: &str = "auric.materialized-view.mode";
const REASON: &str = "auric.materialized-view.reason";
const ROWS: &str = "auric.materialized-view.rows";
const BYTES: &str = "auric.materialized-view.bytes";
const DURATION: &str = "auric.materialized-view.duration-ms";
const OUTCOMES: &str = "auric.materialized-view.expectations";

/// What a commit says of the refresh that it publishes.
#[derive(Debug, Clone)]
pub struct Provenance {
    pub run_id: String,
    /// [`Definition::hash`](super::definition::Definition::hash).
    pub definition: String,
    /// What the query meant ([`plan_hash`](super::incremental::plan_hash)). `None`: it read what was not
    /// committed.
    pub plan: Option<String>,
    /// By `catalog.schema.table`.
    pub sources: BTreeMap<String, SourceVersion>,
    /// `full`; what was done instead: `append`, `merge`, `groups`, `partitions`, `rows`, `nothing`.
    pub mode: String,
    /// Why it was refreshed, and in that mode.
    pub reason: String,
    /// Rows that were computed.
    pub rows: Option<u64>,
    /// Of the files written.
    pub bytes: Option<u64>,
    pub duration_ms: Option<u64>,
    /// JSON: how each expectation fared.
    pub outcomes: Option<String>,
}

impl Provenance {
    /// Of the current rows of a table. `None`: they were not made by a refresh. Fails as reading the
    /// table's metadata does.
    pub async fn of(table: &Table) -> Result<Option<Self>> {
        let format = table.catalog.format(table.snapshot.format);
        let last = format.last_change(table.catalog.storage(), &table.snapshot).await?;
        last.map_or(Ok(None), |version| Self::of_version(&version))
    }

    /// Of one version of a table's history.
    pub fn of_version(version: &VersionInfo) -> Result<Option<Self>> {
        let text = |key: &str| version.summary.get(key).cloned();
        let number = |key: &str| version.summary.get(key).and_then(|value| value.parse().ok());
        let (Some(run_id), Some(definition)) = (text(RUN_ID), text(HASH)) else { return Ok(None) };
        let sources = match version.summary.get(SOURCES) {
            Some(value) => Sources::versions_of_json(value)?,
            None => BTreeMap::new(),
        };
        Ok(Some(Self {
            run_id,
            definition,
            plan: text(PLAN).filter(|plan| !plan.is_empty()),
            sources,
            mode: text(MODE).unwrap_or_default(),
            reason: text(REASON).unwrap_or_default(),
            rows: number(ROWS),
            bytes: number(BYTES),
            duration_ms: number(DURATION),
            outcomes: text(OUTCOMES),
        }))
    }

    /// The entries of the commit's summary.
    pub fn summary(&self) -> BTreeMap<String, String> {
        let sources = self.sources.iter().map(|(name, version)| (name.as_str(), version.to_json()));
        let given = [
            (RUN_ID, Some(self.run_id.clone())),
            (HASH, Some(self.definition.clone())),
            // Of several commits of a transaction the last one counts, also if it does not know.
            (PLAN, Some(self.plan.clone().unwrap_or_default())),
            (SOURCES, Some(json::object(sources))),
            (MODE, Some(self.mode.clone())),
            (REASON, Some(self.reason.clone())),
            (ROWS, self.rows.map(|n| n.to_string())),
            (BYTES, self.bytes.map(|n| n.to_string())),
            (DURATION, self.duration_ms.map(|n| n.to_string())),
            (OUTCOMES, self.outcomes.clone()),
        ];
        given.into_iter().filter_map(|(key, value)| Some((key.to_string(), value?))).collect()
    }
}

/// How expectations fared, as an entry of the summary. `None`: there are none.
pub fn outcomes_json(outcomes: &[Outcome]) -> Option<String> {
    (!outcomes.is_empty()).then(|| json::array(outcomes.iter().map(Outcome::to_json)))
}
