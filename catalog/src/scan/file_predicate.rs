//! A filter held against single files outside of any scan: may a file hold a row that satisfies it?

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::ToDFSchema;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_expr::create_physical_expr;

use super::pruning::{Containers, Pruner};
use crate::table::{FileList, LiveFile, TableSnapshot};

/// Predicates over a table's columns, all of which must be true for a row of interest.
#[derive(Debug)]
pub(crate) struct FilePredicate {
    /// `None`: statistics can refute nothing.
    pruner: Option<Pruner>,
}

impl FilePredicate {
    /// Over the columns of `snapshot`'s schema. What cannot be evaluated refutes nothing.
    pub fn new(snapshot: &TableSnapshot, filters: &[Expr]) -> Self {
        let physical = conjunction(filters.to_vec()).and_then(|filter| {
            let schema = snapshot.schema.arrow.clone().to_dfschema().ok()?;
            let planning = PhysicalPlanningContext::default();
            create_physical_expr(&filter, &schema, &ExecutionProps::new(), &planning).ok()
        });
        Self { pruner: physical.and_then(|filter| Pruner::new(&snapshot.schema, &filter)) }
    }

    /// Whether any of the files may hold such a row. `false` is certain.
    pub fn may_match_any(&self, files: &[LiveFile]) -> bool {
        let Some(pruner) = &self.pruner else { return !files.is_empty() };
        let mut kept: HashMap<*const FileList, Vec<usize>> = HashMap::new();
        files.iter().any(|file| {
            let rows = kept
                .entry(Arc::as_ptr(&file.list))
                .or_insert_with(|| pruner.keep(&file.list.stats, Containers::Files));
            rows.contains(&file.row)
        })
    }
}
