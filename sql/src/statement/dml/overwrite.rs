//! `INSERT OVERWRITE`.

use auric_catalog::dml::overwrite::{self, OverwriteOptions};
use auric_catalog::registry::Table;
use auric_catalog::scan::LakeTable;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::LogicalPlan;

use super::super::{Output, rows};
use super::insert::InsertRows;
use super::partition::OverwriteMode;
use super::write;
use crate::error::Result;
use crate::session::Session;

impl Session {
    /// The setting `partition_overwrite_mode`.
    pub(super) fn overwrites_static(&self) -> OverwriteMode {
        match self.settings.read().get("partition_overwrite_mode") {
            Some("static") => OverwriteMode::Static,
            _ => OverwriteMode::Dynamic,
        }
    }
}

pub async fn execute(statement: InsertRows<'_>, mode: OverwriteMode) -> Result<Output> {
    let replaced = statement.source.partition.replaced(mode);
    let (scope, table) = (&statement.scope, &statement.source.table);
    let returned = statement.with_returning().await?;
    let input = rows::physical(scope, &returned.plan).await?;
    let options = OverwriteOptions {
        returning: returned.columns.len(),
        reads_target: reads(&returned.plan, table),
        publish: scope.tables.publish(table)?,
        ..Default::default()
    };
    let plan = overwrite::plan(table, scope.state.as_ref(), input, replaced, options)?;
    write::run(scope, plan, returned.shown()).await
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
