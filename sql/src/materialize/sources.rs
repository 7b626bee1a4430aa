//! What a query reads: which tables at which versions, and whether equal versions give equal rows.

use std::collections::BTreeMap;

use auric_catalog::registry::Table;
use auric_catalog::scan::LakeTable;
use auric_catalog::table::TableVersion;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::source_as_provider;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::scalar::ScalarValue;

use super::definition::is_materialized_view;
use super::json;
use super::provenance::Provenance;
use crate::error::{Error, Result, SqlState};
use crate::planner::Scope;
use crate::result_cache::{Dependence, of_expr};
use crate::types::text_input;

/// Everything that a plan reads.
#[derive(Debug, Default)]
pub struct Sources {
    /// Each once for each version.
    pub tables: Vec<Table>,
    /// Those among them that expectations over rows read.
    pub of_row_expectations: Vec<Table>,
    /// What may differ although the tables are the same.
    pub unstable: Option<String>,
    /// What the query means, to tell views apart that it reads ([`plan_hash`](super::incremental::plan_hash)).
    pub meaning: Option<String>,
}

/// A version of a table, as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceVersion {
    /// Iceberg snapshot id, Delta version; `None`: a table that never had rows, or one that the
    /// transaction has changed.
    pub version: Option<i64>,
    /// The table's own id: another one has taken its place otherwise.
    pub table_id: String,
    /// The materialized view that was built from it, if the query does not read it itself.
    pub via: Option<String>,
}

impl SourceVersion {
    pub fn of(table: &Table) -> Self {
        let version = match &table.snapshot.version {
            TableVersion::Unpublished => None,
            TableVersion::Iceberg { snapshot_id, .. } => *snapshot_id,
            TableVersion::Delta { version } => i64::try_from(*version).ok(),
        };
        Self { version, table_id: table.snapshot.table_id.clone(), via: None }
    }

    pub fn to_json(&self) -> String {
        let version = self.version.map_or_else(|| "null".to_string(), |version| version.to_string());
        let mut members = vec![("version", version), ("table-id", json::string(&self.table_id))];
        members.extend(self.via.as_ref().map(|via| ("via", json::string(via))));
        json::object(members)
    }
}

/// `catalog.schema.table`.
pub fn full_name(table: &Table) -> String {
    format!("{}.{}", table.catalog.name(), table.ident)
}

/// Why an expression may have another value over the same rows, for people.
fn why_unstable(expr: &Expr) -> String {
    match expr {
        Expr::ScalarFunction(call) => match call.args.as_slice() {
            [Expr::Literal(ScalarValue::Utf8(Some(text)), _)] if text_input::is_input(&call.func) => {
                format!("it means a time by '{text}'")
            }
            _ => format!("it calls {}()", call.func.name()),
        },
        other => format!("it computes {other}"),
    }
}

impl Sources {
    /// Adds what a plan reads. Fails as analyzing it does.
    pub fn read(&mut self, scope: &Scope, plan: &LogicalPlan) -> Result<()> {
        let state = scope.state.as_ref();
        // What literals mean is known then.
        let analyzed = state.analyzer().execute_and_check(plan.clone(), state.config_options(), |_, _| {});
        let visited = analyzed.and_then(|plan| self.visit(&plan));
        visited.map_err(|e| Error::from(&e))
    }

    fn visit(&mut self, plan: &LogicalPlan) -> Result<(), DataFusionError> {
        let visited = plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                let provider = source_as_provider(&scan.source)?;
                match provider.downcast_ref::<LakeTable>() {
                    Some(scanned) => self.add(scanned.table()),
                    // It stands for rows that are yet to be written.
                    None if provider.downcast_ref::<EmptyTable>().is_some() => {}
                    None => self.unstable = Some(format!("it reads {}", scan.table_name.table())),
                }
            }
            node.apply_expressions(|expr| {
                expr.apply(|expr| {
                    if of_expr(expr) > Dependence::Settings {
                        self.unstable = Some(why_unstable(expr));
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            })?;
            Ok(TreeNodeRecursion::Continue)
        });
        visited.map(drop)
    }

    fn add(&mut self, table: &Table) {
        let is_same = |known: &Table| {
            full_name(known) == full_name(table) && known.snapshot.version == table.snapshot.version
        };
        if table.snapshot.version == TableVersion::Unpublished {
            self.unstable = Some(format!("it reads what the transaction has changed of {}", table.ident));
        }
        if !self.tables.iter().any(is_same) {
            self.tables.push(table.clone());
        }
    }

    /// The materialized views among them.
    pub fn materialized_views(&self) -> impl Iterator<Item = &Table> {
        self.tables.iter().filter(|table| is_materialized_view(&table.snapshot.properties))
    }

    /// The versions as they are recorded: those that are read, and those that materialized views among
    /// them were built from.
    pub async fn versions(&self) -> Result<BTreeMap<String, SourceVersion>> {
        let mut versions: BTreeMap<String, SourceVersion> = BTreeMap::new();
        for table in &self.tables {
            let version = SourceVersion::of(table);
            let mut name = full_name(table);
            if versions.get(&name).is_some_and(|known| *known != version) {
                // Also at an earlier version.
                name = format!("{name}@{}", version.version.unwrap_or_default());
            }
            versions.insert(name, version);
        }
        for view in self.materialized_views() {
            let Some(provenance) = Provenance::of(view).await? else { continue };
            let via = Some(full_name(view));
            for (name, version) in provenance.sources {
                let via = version.via.or_else(|| via.clone());
                versions.entry(name).or_insert(SourceVersion { via, ..version });
            }
        }
        Ok(versions)
    }

    /// Fails with XX001.
    pub fn versions_of_json(text: &str) -> Result<BTreeMap<String, SourceVersion>> {
        let mut versions = BTreeMap::new();
        for (name, value) in json::members(text)? {
            let corrupt = || {
                let message =
                    format!("the version of {name} that a materialized view was built from: {value}");
                Error::new(SqlState::DATA_CORRUPTED, message)
            };
            let (mut version, mut table_id, mut via) = (None, None, None);
            for (key, value) in json::members(value)? {
                match key.as_str() {
                    "version" if value == "null" => {}
                    "version" => version = Some(value.parse().map_err(|_| corrupt())?),
                    "table-id" => table_id = json::text(value)?,
                    "via" => via = json::text(value)?,
                    _ => {}
                }
            }
            let table_id = table_id.ok_or_else(corrupt)?;
            versions.insert(name, SourceVersion { version, table_id, via });
        }
        Ok(versions)
    }
}

/// Whether the query itself reads the same versions now as then.
pub fn reads_the_same(then: &BTreeMap<String, SourceVersion>, now: &BTreeMap<String, SourceVersion>) -> bool {
    let own = |versions: &BTreeMap<String, SourceVersion>| {
        let own = versions.iter().filter(|(_, version)| version.via.is_none());
        own.map(|(name, version)| (name.clone(), version.clone())).collect::<Vec<_>>()
    };
    own(then) == own(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_back_as_they_were_written() {
        let version = |version, via: Option<&str>| SourceVersion {
            version,
            table_id: "x".into(),
            via: via.map(str::to_string),
        };
        let all = BTreeMap::from([
            ("lake.public.a".to_string(), version(Some(i64::MAX), None)),
            ("lake.gold.\"b\"".to_string(), version(None, Some("lake.gold.v"))),
        ]);
        let text = json::object(all.iter().map(|(name, version)| (name.as_str(), version.to_json())));
        let read = Sources::versions_of_json(&text).unwrap();
        assert_eq!(read, all);
        let mut later = read.clone();
        later.insert("lake.gold.\"b\"".to_string(), version(Some(7), Some("lake.gold.v")));
        assert!(reads_the_same(&read, &later));
        later.insert("lake.public.a".to_string(), version(Some(1), None));
        assert!(!reads_the_same(&read, &later));
        assert!(Sources::versions_of_json("{\"a\":{\"version\":\"1\"}}").is_err());
    }
}
