//! What DataFusion's SQL planner asks for: relations that were resolved before, functions of the
//! shared state.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::TableFunctionArgs;
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Column, TableReference};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::planner::{
    ContextProvider, ExprPlanner, PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
    TypePlanner,
};
use datafusion::logical_expr::{
    AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, LogicalPlanBuilder, ScalarUDF, TableSource, WindowUDF,
    cast,
};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::TableFactor;

use super::Relations;
use super::analyzed::constant;
use super::relations::{SpecialRelations, function_key, reference, version_key};
use crate::types::sql_type::PostgresTypes;

pub(super) struct StatementContext<'a> {
    state: &'a SessionState,
    relations: &'a Relations,
    relation_planners: Vec<Arc<dyn RelationPlanner>>,
}

impl<'a> StatementContext<'a> {
    pub fn new(state: &'a SessionState, relations: &'a Relations) -> Self {
        Self { state, relations, relation_planners: vec![Arc::new(relations.special.clone())] }
    }

    /// With relations that are plans already, by names that only the planner uses.
    pub fn with_planned(
        state: &'a SessionState,
        relations: &'a Relations,
        planned: HashMap<String, LogicalPlan>,
    ) -> Self {
        let mut context = Self::new(state, relations);
        context.relation_planners.insert(0, Arc::new(PlannedRelations { planned }));
        context
    }
}

/// Functions may be called by their schema: `pg_catalog.version()`.
fn unqualified(name: &str) -> &str {
    name.strip_prefix("pg_catalog.").unwrap_or(name)
}

impl ContextProvider for StatementContext<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        self.relations.table(&name).map_err(DataFusionError::from)
    }

    fn get_table_function_source(&self, name: &str, args: Vec<Expr>) -> Result<Arc<dyn TableSource>> {
        let name = unqualified(name).to_lowercase();
        let Some(function) = self.state.table_functions().get(&name) else {
            return Err(DataFusionError::Plan(format!("table function '{name}' not found")));
        };
        let args = args.into_iter().map(|arg| constant(arg, self.state));
        let args = args.collect::<Result<Vec<_>>>()?;
        let integers = args.iter().all(|arg| matches!(arg, Expr::Literal(ScalarValue::Int32(_), _)));
        let args: Vec<_> = args.into_iter().map(widened).collect();
        let provider = function.create_table_provider_with_args(TableFunctionArgs::new(&args, self.state))?;
        let source = provider_as_source(provider);
        if integers && !args.is_empty() && name == "generate_series" {
            return narrowed(source);
        }
        Ok(source)
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> Result<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state.expr_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.relation_planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(PostgresTypes))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.state.scalar_functions().get(unqualified(name)).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(unqualified(name)).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(unqualified(name)).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(unqualified(name)).cloned()
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}

/// DataFusion's table functions take integers of 64 bits.
fn widened(arg: Expr) -> Expr {
    match arg {
        Expr::Literal(ScalarValue::Int32(number), metadata) => {
            Expr::Literal(ScalarValue::Int64(number.map(i64::from)), metadata)
        }
        arg => arg,
    }
}

/// A relation of `bigint` as one of `integer`, which all its values are.
fn narrowed(source: Arc<dyn TableSource>) -> Result<Arc<dyn TableSource>> {
    let names: Vec<String> = source.schema().fields().iter().map(|field| field.name().clone()).collect();
    let columns = names
        .iter()
        .map(|name| cast(Expr::Column(Column::new_unqualified(name)), DataType::Int32).alias(name));
    let plan =
        LogicalPlanBuilder::scan("series", source, None)?.project(columns.collect::<Vec<_>>())?.build()?;
    Ok(provider_as_source(Arc::new(ViewTable::new(plan, None))))
}

/// Relations that are plans already; their columns keep their qualifiers.
#[derive(Debug)]
struct PlannedRelations {
    planned: HashMap<String, LogicalPlan>,
}

impl RelationPlanner for PlannedRelations {
    fn plan_relation(
        &self,
        relation: TableFactor,
        _context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        if let TableFactor::Table { name, args: None, .. } = &relation
            && let [part] = name.0.as_slice()
            && let Some(plan) = part.as_ident().and_then(|ident| self.planned.get(&ident.value))
        {
            return Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan.clone(), None))));
        }
        Ok(RelationPlanning::Original(Box::new(relation)))
    }
}

impl RelationPlanner for SpecialRelations {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        if let Some(sampled) = self.sample(&relation) {
            return sampled?.plan(relation, context);
        }
        let version = self.version(&relation);
        let function = self.function(&relation);
        let TableFactor::Table { name, alias, .. } = &relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let (label, key, source) = match (version, function) {
            (Some(table), _) => (reference(name)?, version_key(&relation).unwrap_or_default(), table?),
            (None, Some(function)) => {
                let label = name.0.last().map(ToString::to_string).unwrap_or_default().to_lowercase();
                (TableReference::bare(label), function_key(&relation), provider_as_source(function))
            }
            (None, None) => return Ok(RelationPlanning::Original(Box::new(relation))),
        };
        // Scans are told apart by their names only: under the same name, another version (another file)
        // would be taken for this one, as equal subqueries are run once.
        let scan = LogicalPlanBuilder::scan(TableReference::bare(key), source, None)?;
        let plan = scan.alias(label)?.build()?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias.clone()))))
    }
}
