//! A physical optimizer rule around defects of DataFusion 55's sort-merge joins. Outer ones hold also rows
//! without a match against a further condition, in batches of the condition's own schema, and fail where that
//! says that a column has no NULLs. And a condition that names no column (`random() < 0.5`) is passed over.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::common::JoinType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode, SortMergeJoinExec};

/// Gives the conditions of outer sort-merge joins a schema in which every column may be NULL, and makes hash
/// joins of those whose condition names no column. To be run before the rules that sort and distribute.
#[derive(Debug, Default)]
pub struct SortedJoins;

impl PhysicalOptimizerRule for SortedJoins {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let Some(join) = node.downcast_ref::<SortMergeJoinExec>() else {
                return Ok(Transformed::no(node));
            };
            let Some(filter) = join.filter() else { return Ok(Transformed::no(node)) };
            if filter.column_indices().is_empty() {
                return Ok(Transformed::yes(hashed(join)?));
            }
            if !matches!(join.join_type(), JoinType::Left | JoinType::Right | JoinType::Full) {
                return Ok(Transformed::no(node));
            }
            let mended = SortMergeJoinExec::try_new(
                join.left().clone(),
                join.right().clone(),
                join.on().to_vec(),
                Some(nullable(filter)),
                join.join_type(),
                join.sort_options().to_vec(),
                join.null_equality(),
            )?;
            Ok(Transformed::yes(Arc::new(mended) as Arc<dyn ExecutionPlan>))
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "sorted_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn nullable(filter: &JoinFilter) -> JoinFilter {
    let schema = filter.schema();
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let schema = Schema::new_with_metadata(fields.collect::<Vec<Field>>(), schema.metadata().clone());
    JoinFilter::new(filter.expression().clone(), filter.column_indices().to_vec(), Arc::new(schema))
}

fn hashed(join: &SortMergeJoinExec) -> Result<Arc<dyn ExecutionPlan>> {
    Ok(Arc::new(HashJoinExec::try_new(
        join.left().clone(),
        join.right().clone(),
        join.on().to_vec(),
        join.filter().clone(),
        &join.join_type(),
        None,
        PartitionMode::Auto,
        join.null_equality(),
        // Those that are have not been sort-merge joins.
        false,
    )?))
}
