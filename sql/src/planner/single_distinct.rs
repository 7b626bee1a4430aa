//! DataFusion's rule for aggregates with one DISTINCT beside plain ones, with the types kept.
//!
//! `count(DISTINCT a), sum(b)` becomes an aggregate over an aggregate, and the sum one of sums. A sum
//! is of a wider type than what it adds, so that a sum of sums is wider than the sum that was asked
//! for, and the plan no longer fits what is above it. Here it is cast back.

use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::{LogicalPlan, Projection, cast};
use datafusion::optimizer::optimizer::{ApplyOrder, Optimizer};
use datafusion::optimizer::single_distinct_to_groupby::SingleDistinctToGroupBy;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use std::sync::Arc;

/// The rule.
#[derive(Debug, Default)]
pub struct SingleDistinct(SingleDistinctToGroupBy);

/// DataFusion's rules of optimization, with this one in place of its own.
pub fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let own = SingleDistinct::default();
    let mut rules = Optimizer::new().rules;
    if let Some(rule) = rules.iter_mut().find(|rule| rule.name() == own.name()) {
        *rule = Arc::new(own);
    }
    rules
}

impl OptimizerRule for SingleDistinct {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let wanted = plan.schema().clone();
        let rewritten = self.0.rewrite(plan, config)?;
        let LogicalPlan::Projection(found) = &rewritten.data else { return Ok(rewritten) };
        if !rewritten.transformed || found.schema.fields().len() != wanted.fields().len() {
            return Ok(rewritten);
        }
        let columns = found.expr.iter().zip(found.schema.fields()).zip(wanted.iter());
        let kept = columns.map(|((expr, field), (qualifier, wanted))| {
            if field.data_type() == wanted.data_type() {
                return expr.clone();
            }
            let value = cast(expr.clone().unalias(), wanted.data_type().clone());
            value.alias_qualified(qualifier.cloned(), wanted.name())
        });
        let projection = Projection::try_new(kept.collect(), found.input.clone())?;
        Ok(Transformed::yes(LogicalPlan::Projection(projection)))
    }
}
