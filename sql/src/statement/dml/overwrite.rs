//! `INSERT OVERWRITE`.

use std::sync::Arc;

use auric_catalog::dml::overwrite::{self, OverwriteOptions, Replaced};
use auric_catalog::registry::Table;
use auric_catalog::scan::LakeTable;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;

use super::super::rows;
use super::insert::{Commit, InsertPlan, InsertRows};
use super::partition::OverwriteMode;
use crate::error::Result;
use crate::session::Session;

impl Session {
    /// The setting `partition_overwrite_mode`.
    pub(super) fn overwrite_mode(&self) -> OverwriteMode {
        match self.settings.read().get("partition_overwrite_mode") {
            Some("static") => OverwriteMode::Static,
            _ => OverwriteMode::Dynamic,
        }
    }
}

pub async fn plan(statement: &InsertRows<'_>, mode: OverwriteMode, commit: Commit) -> Result<InsertPlan> {
    let replace = ReplaceFiles {
        replaced: statement.source.partition.replaced(mode),
        predicate: None,
        state: statement.scope.state.clone(),
    };
    replace_files(statement, replace, commit).await
}

/// What is replaced.
pub struct ReplaceFiles {
    pub replaced: Replaced,
    /// The predicate as the statement has it.
    pub predicate: Option<String>,
    /// Evaluates the predicates.
    pub state: Arc<SessionState>,
}

/// Replaces whole files by the statement's rows.
pub async fn replace_files(
    statement: &InsertRows<'_>,
    replace: ReplaceFiles,
    commit: Commit,
) -> Result<InsertPlan> {
    let (scope, table) = (&statement.scope, &statement.source.table);
    let returned = statement.with_returning().await?;
    let input = rows::physical(scope, &returned.plan).await?;
    let options = OverwriteOptions {
        returning: returned.columns.len(),
        dry_run: commit == Commit::DryRun,
        reads_target: reads(&returned.plan, table),
        publish: scope.tables.publish(table)?,
        predicate: replace.predicate,
    };
    let plan = overwrite::plan(table, replace.state.as_ref(), input, replace.replaced, options)?;
    Ok(InsertPlan { plan, returned: returned.shown(), source: None })
}

/// Whether a plan reads a table.
pub fn reads(plan: &LogicalPlan, table: &Table) -> bool {
    let mut found = false;
    let walked = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(provider) = source_as_provider(&scan.source)
            && let Some(scanned) = provider.downcast_ref::<LakeTable>()
        {
            let scanned = scanned.table();
            found |= scanned.ident == table.ident && scanned.catalog.name() == table.catalog.name();
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found || walked.is_err()
}
