//! The change of a view's table by which some of its rows give way to new ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use auric_catalog::dml::publish::Publish;
use auric_catalog::dml::rows::{ACTION, ChangeOptions, RowAction, RowTarget, SecondChange};
use auric_catalog::registry::Table;
use auric_catalog::table::Operation;
use datafusion::common::Column;
use datafusion::datasource::provider_as_source;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{self, Literal};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::scalar::ScalarValue;

use super::delta::restricted_to;
use super::{Refusal, Replaced};
use crate::error::{Error, Result};
use crate::planner::Scope;
use crate::statement::rows;

/// Name of the relation of the view's rows.
const TARGET: &str = "__auric_target";

fn failed(e: DataFusionError) -> Error {
    Error::from(&e)
}

/// The plan that takes away the rows that are replaced and writes those of `new`, which has the table's
/// columns.
pub async fn change(
    scope: &Scope,
    table: &Table,
    replaced: &Replaced,
    new: Arc<dyn ExecutionPlan>,
    publish: Publish,
) -> Result<Arc<dyn ExecutionPlan>> {
    let target = RowTarget::new(table.clone()).published(publish);
    let gone = match gone(&target, replaced, &new) {
        Ok(plan) => plan,
        Err(Refusal::Failed(e)) => return Err(e),
        Err(Refusal::Cannot(why) | Refusal::NotCheaper(why)) => {
            return Err(Error::new(crate::error::SqlState::INTERNAL_ERROR, why));
        }
    };
    let gone = rows::physical(scope, &gone).await?;
    let inserted = inserted(&target, new).map_err(failed)?;
    let both = UnionExec::try_new(vec![gone, inserted]).map_err(failed)?;
    let options = ChangeOptions {
        operation: Operation::Merge,
        second_change: SecondChange::Refuse("REFRESH MATERIALIZED VIEW"),
        parameters: BTreeMap::new(),
        reads_all: true,
        returning: 0,
        assigned: None,
        dry_run: false,
    };
    Ok(target.change(scope.state.as_ref(), both, options)?)
}

/// Deletes of the rows with the keys. New values are null.
fn gone(
    target: &RowTarget,
    replaced: &Replaced,
    new: &Arc<dyn ExecutionPlan>,
) -> std::result::Result<LogicalPlan, Refusal> {
    let fields = target.table().snapshot.schema.arrow.fields();
    let column = |name: &str| Expr::Column(Column::new(Some(TARGET), name));
    let columns = replaced.columns.iter().filter_map(|i| fields.get(*i));
    let columns: Vec<Expr> = columns.map(|field| column(field.name())).collect();
    let mut plan = LogicalPlanBuilder::scan(TARGET, provider_as_source(target.provider()), None)?;
    if let Some(predicate) = replaced.keys.predicate(&columns)? {
        plan = plan.filter(predicate)?;
    }
    let found = restricted_to(plan.build()?, &columns, replaced.keys.relation()?)?;
    let mut changes: Vec<Expr> =
        target.address_columns().iter().map(|field| column(field.name()).alias(field.name())).collect();
    changes.push(lit(RowAction::Delete as i8).alias(ACTION));
    for field in new.schema().fields() {
        changes.push(lit(ScalarValue::try_from(field.data_type())?).alias(field.name()));
    }
    Ok(LogicalPlanBuilder::from(found).project(changes)?.build()?)
}

/// Inserts of new rows, which have no address.
fn inserted(
    target: &RowTarget,
    new: Arc<dyn ExecutionPlan>,
) -> std::result::Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let mut exprs: Vec<(Arc<dyn PhysicalExpr>, String)> = Vec::new();
    for field in target.address_columns() {
        let null = Literal::new(ScalarValue::try_from(field.data_type())?);
        exprs.push((Arc::new(null), field.name().clone()));
    }
    let action = Literal::new(ScalarValue::Int8(Some(RowAction::Insert as i8)));
    exprs.push((Arc::new(action), ACTION.to_string()));
    for (i, field) in new.schema().fields().iter().enumerate() {
        exprs.push((Arc::new(expressions::Column::new(field.name(), i)), field.name().clone()));
    }
    Ok(Arc::new(ProjectionExec::try_new(exprs, new)?))
}
