//! Relations of `pg_catalog` and `information_schema` by name, and the state that statements which
//! look into the catalog run with.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;

use super::Scope;
use crate::analyzer::plan_needs_catalog;
use crate::error::Result;
use crate::pg_catalog::{CatalogContext, shape};
use crate::session::carried::Carried;
use crate::{auric_schema, information_schema, pg_catalog};

/// The system relation that a name means, if it means one.
pub async fn relation(scope: &Scope, name: &TableReference) -> Result<Option<Arc<dyn TableProvider>>> {
    if name.catalog().is_some_and(|catalog| catalog != scope.info.database) {
        return Ok(None);
    }
    let table = name.table();
    if name.schema() == Some(auric_schema::SCHEMA)
        && let Some(relation) = auric_schema::relation(scope, table).await?
    {
        return Ok(Some(relation));
    }
    let schema = match name.schema() {
        Some(schema) => schema,
        None if shape::find("pg_catalog", table).is_some() => "pg_catalog",
        None if scope.info.search_path.iter().any(|schema| schema == "information_schema") => {
            "information_schema"
        }
        None => return Ok(None),
    };
    if shape::find(schema, table).is_none() {
        return Ok(None);
    }
    let context = scope.catalog_context().await?;
    Ok(match schema {
        "pg_catalog" => pg_catalog::relation(table, &context),
        _ => information_schema::relation(table, &context),
    })
}

impl Scope {
    /// The catalog as this statement sees it.
    pub async fn catalog_context(&self) -> Result<Arc<CatalogContext>> {
        let database = self.database()?;
        CatalogContext::load(&self.engine, &database, self.info.clone(), &self.tables).await
    }

    /// The state to optimize and run a plan with: it knows the catalog if the plan looks into it.
    pub async fn state_for(&self, plan: &LogicalPlan) -> Result<Arc<SessionState>> {
        if !plan_needs_catalog(plan) {
            return Ok(self.state.clone());
        }
        let context = self.catalog_context().await?;
        let mut state = self.state.as_ref().clone();
        context.carry(state.config_mut().options_mut());
        // Functions are given the options that the execution properties hold, which were copied
        // before the catalog was added.
        let start = state.execution_props().query_execution_start_time;
        state.mark_start_execution();
        state.execution_props_mut().query_execution_start_time = start;
        Ok(Arc::new(state))
    }
}
