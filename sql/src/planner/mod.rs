//! From a parsed query to a logical plan: names are resolved against the catalogs first (the only
//! part that waits), then DataFusion's SQL planner runs on what was found.

pub mod analyzed;
pub mod arithmetic;
pub mod array_operators;
pub mod blank_padded;
pub mod common_type;
mod context;
pub mod date_arithmetic;
pub mod guarded_conditions;
pub mod json_operators;
pub mod lateral_rows;
mod lateral_top;
pub mod lossy_casts;
pub mod names;
mod null_in;
mod order_by;
mod origins;
mod parameters;
pub mod parts;
pub mod postgres_casts;
pub mod regex_operators;
mod relations;
pub(crate) mod rewrite;
mod row_in;
mod sample;
pub(crate) mod select_items;
pub mod session_casts;
pub mod single_distinct;
pub mod sorted_joins;
mod system;
pub mod system_columns;
mod text_casts;
mod time_travel;
mod using;
pub mod view;
pub mod yielding;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use auric_catalog::TableIdent;
use auric_catalog::registry::{Catalog, Table};
use auric_catalog::view::View;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DFSchemaRef, TableReference};
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, TableSource};
use datafusion::sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast;
use postgres_types::Type;

pub(crate) use relations::reference;
pub use relations::{Dependencies, Dependency, Read, Relations, still_current};
pub use rewrite::unique_name;

use crate::analyzer::Presentation;
use crate::engine::Engine;
use crate::error::{Error, Result, SqlState};
use crate::parser::Parsed;
use crate::session::info::SessionInfo;
use crate::session::transaction::TransactionTables;
use crate::statement::OutputColumn;
use crate::statement::interrupt::Abandoned;
use crate::types::{self, PG_TYPE};

/// What one statement is planned and run with.
#[derive(Clone)]
pub struct Scope {
    pub engine: Arc<Engine>,
    pub state: Arc<SessionState>,
    pub info: Arc<SessionInfo>,
    /// Tables as the transaction sees them; outside of a block: of this statement only.
    pub tables: Arc<TransactionTables>,
    /// `None`: nobody can abandon the statement.
    pub abandoned: Option<Abandoned>,
    /// Views whose queries this is inside of, by catalog and name.
    pub expanding: Vec<(String, TableIdent)>,
    /// Materialized views that were never refreshed can be named: nothing is read, only planned.
    pub reads_unpopulated: bool,
}

/// A planned query. Placeholders are still in it.
#[derive(Debug, Clone)]
pub struct PlannedQuery {
    pub plan: LogicalPlan,
    pub columns: Arc<Vec<OutputColumn>>,
    /// Types of `$1`, `$2`, ….
    pub parameters: Vec<Parameter>,
    /// Versions that the plan reads; `None`: it must be planned anew each time.
    pub dependencies: Option<Dependencies>,
}

/// A parameter as the client and as the plan see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    pub pg_type: Type,
    pub data_type: DataType,
}

impl Parameter {
    /// Of a type that the client declared.
    pub fn declared(pg_type: &Type) -> Self {
        let data_type = match *pg_type {
            // Its own precision and scale come with each value.
            Type::NUMERIC => DataType::Decimal128(38, 10),
            _ => types::arrow_type(pg_type),
        };
        Self { pg_type: pg_type.clone(), data_type }
    }

    /// Its field in a plan: of documents and OIDs it tells the type, of which operators and `pg_typeof` ask.
    fn field(&self) -> FieldRef {
        let field = Field::new("", self.data_type.clone(), true);
        Arc::new(match self.pg_type {
            Type::JSON | Type::JSONB | Type::OID => {
                let name = self.pg_type.name().to_string();
                field.with_metadata(HashMap::from([(PG_TYPE.to_string(), name)]))
            }
            _ => field,
        })
    }

    fn inferred(field: &Field) -> Self {
        let (pg_type, _) = types::pg_type(field);
        Self { pg_type, data_type: field.data_type().clone() }
    }

    fn text() -> Self {
        Self { pg_type: Type::TEXT, data_type: DataType::Utf8 }
    }
}

/// What a query is planned with beside the catalogs.
struct QueryRelations {
    /// Columns that literals of a VALUES list are for.
    target: Option<DFSchemaRef>,
    /// Relations that hide tables of the same name.
    named: Vec<(TableReference, Arc<dyn TableSource>)>,
}

impl Scope {
    /// The catalog that unqualified names are in.
    pub fn database(&self) -> Result<Arc<Catalog>> {
        self.catalog(&self.info.database)
    }

    /// A catalog as the transaction sees it. Fails with 3D000.
    pub fn catalog(&self, name: &str) -> Result<Arc<Catalog>> {
        Ok(self.tables.catalog(self.engine.registry.catalog(name)?))
    }

    /// Plans a query. `given`: parameter types, where known.
    pub async fn plan_query(
        &self,
        query: &ast::Query,
        given: &[Option<Parameter>],
        source: &Parsed,
    ) -> Result<PlannedQuery> {
        self.plan_query_into(query, given, source, None).await
    }

    /// Plans a query whose rows go to a client.
    pub async fn plan_result(
        &self,
        query: &ast::Query,
        given: &[Option<Parameter>],
        source: &Parsed,
    ) -> Result<PlannedQuery> {
        let relations = QueryRelations { target: None, named: Vec::new() };
        self.plan_presented(query, given, source, relations, Presentation::NamesAndOids).await
    }

    /// Plans the source of an INSERT: literals of a VALUES list take the types of `target`.
    pub async fn plan_query_into(
        &self,
        query: &ast::Query,
        given: &[Option<Parameter>],
        source: &Parsed,
        target: Option<DFSchemaRef>,
    ) -> Result<PlannedQuery> {
        self.plan_query_over(query, given, source, target, Vec::new()).await
    }

    /// Plans a query that may also name these relations, which hide tables of the same name.
    pub async fn plan_query_over(
        &self,
        query: &ast::Query,
        given: &[Option<Parameter>],
        source: &Parsed,
        target: Option<DFSchemaRef>,
        named: Vec<(TableReference, Arc<dyn TableSource>)>,
    ) -> Result<PlannedQuery> {
        let relations = QueryRelations { target, named };
        self.plan_presented(query, given, source, relations, Presentation::Names).await
    }

    async fn plan_presented(
        &self,
        query: &ast::Query,
        given: &[Option<Parameter>],
        source: &Parsed,
        QueryRelations { target, named }: QueryRelations,
        presentation: Presentation,
    ) -> Result<PlannedQuery> {
        rewrite::refuse_unsupported(query)?;
        let mut query = query.clone();
        rewrite::make_names_unique(&mut query);
        // Names of result columns are those of what was written.
        let written = query.clone();
        for_planner(&mut query, target.as_ref())?;
        let relations = Relations::resolve(self, &query, source, named).await?;
        system_columns::rewrite(&mut query, &relations, None)?;
        let state = relations.state(self).await?;
        let plan = |fields: Vec<Option<FieldRef>>| -> Result<LogicalPlan> {
            let provider = context::StatementContext::new(&state, &relations);
            let options = ParserOptions::from(&state.config_options().sql_parser);
            let planner = SqlToRel::new_with_options(&provider, options);
            let mut context = PlannerContext::new().with_prepare_param_data_types(fields);
            if let Some(target) = &target {
                context.set_table_schema(Some(target.clone()));
            }
            let statement = ast::Statement::Query(Box::new(query.clone()));
            planner
                .sql_statement_to_plan_with_context(statement, &mut context)
                .and_then(common_type::resolve)
                .and_then(crate::analyzer::name_result_types)
                .map_err(|e| located(&e, source))
        };
        let (logical, (), given) =
            infer_parameters(&written, given.to_vec(), |types| Ok((plan(types)?, ())))?;
        let logical = crate::analyzer::present_output(logical, state.as_ref(), presentation)
            .map_err(|e| Error::from(&e))?;
        let logical = text_casts::named(logical, state.as_ref()).map_err(|e| Error::from(&e))?;
        let logical = settled(logical, &state).map_err(|e| located(&e, source))?;
        let names = names::output_names(&written, logical.schema());
        // A numeric parameter has as many digits as each of its values: so has what follows from it.
        let any_numeric = given.iter().any(|parameter| parameter.pg_type == Type::NUMERIC);
        let columns = logical
            .schema()
            .fields()
            .iter()
            .zip(names)
            .enumerate()
            .map(|(index, (field, name))| {
                let mut column = OutputColumn::of(name, field);
                column.origin = origins::origin(&logical, index);
                if any_numeric && column.pg_type == Type::NUMERIC {
                    column.type_modifier = -1;
                }
                column
            })
            .collect();
        Ok(PlannedQuery {
            plan: logical,
            columns: Arc::new(columns),
            parameters: given,
            dependencies: relations.dependencies(),
        })
    }

    /// An expression without columns, subqueries and parameters.
    pub fn constant_expr(&self, expr: &ast::Expr) -> Result<Expr> {
        self.row_expr(expr, &DFSchema::empty())
    }

    /// An expression over the columns of one row, without subqueries and parameters.
    pub fn row_expr(&self, expr: &ast::Expr, schema: &DFSchema) -> Result<Expr> {
        let mut expr = expr.clone();
        crate::analyzer::rewrite(&mut expr);
        self.rewritten_expr(expr, schema)
    }

    /// The same of what the analyzer has rewritten already, as part of a statement.
    pub fn rewritten_constant_expr(&self, expr: ast::Expr) -> Result<Expr> {
        self.rewritten_expr(expr, &DFSchema::empty())
    }

    fn rewritten_expr(&self, expr: ast::Expr, schema: &DFSchema) -> Result<Expr> {
        let relations = Relations::default();
        let provider = context::StatementContext::new(&self.state, &relations);
        let options = ParserOptions::from(&self.state.config_options().sql_parser);
        let planner = SqlToRel::new_with_options(&provider, options);
        planner.sql_to_expr(expr, schema, &mut PlannerContext::new()).map_err(|e| Error::from(&e))
    }

    /// The table of a name as this statement sees it. Fails with 42P01; 42809 for a view.
    pub async fn table(&self, name: &ast::ObjectName, source: &Parsed) -> Result<Table> {
        match relations::find_relation(self, &reference(name)?).await? {
            Some(relations::Found::Table(table)) => Ok(table),
            Some(relations::Found::View(view)) => Err(relations::not_a_table(&view)),
            None => Err(relations::undefined(name, source)),
        }
    }

    /// The view of a name. `None`: no such view, or a table is what the name means.
    pub async fn view(&self, name: &ast::ObjectName) -> Result<Option<View>> {
        match relations::find_relation(self, &reference(name)?).await? {
            Some(relations::Found::View(view)) => Ok(Some(view)),
            _ => Ok(None),
        }
    }

    /// Whether a name means a temporary table.
    pub async fn is_temporary(&self, name: &ast::ObjectName) -> Result<bool> {
        let found = relations::find_relation(self, &reference(name)?).await?;
        Ok(matches!(found, Some(relations::Found::Table(table)) if table.catalog.is_temporary()))
    }

    /// Where a new temporary table of that name goes. Fails with 42P16.
    pub fn new_temporary_table(&self, name: &ast::ObjectName) -> Result<(Arc<Catalog>, TableIdent)> {
        relations::new_temporary_table(self, name)
    }

    /// Where a new table of that name goes.
    pub fn new_table(&self, name: &ast::ObjectName) -> Result<(Arc<Catalog>, TableIdent)> {
        relations::new_table(self, name)
    }
}

/// Rewrites a query into what DataFusion's planner takes and means the same. `target`: the table that its
/// literals are for.
fn for_planner(query: &mut ast::Query, target: Option<&DFSchemaRef>) -> Result<()> {
    lateral_top::rewrite(query);
    using::rewrite(query)?;
    order_by::rewrite(query);
    crate::analyzer::rewrite(query);
    if target.is_some() {
        crate::analyzer::leave_to_columns(query);
    }
    row_in::rewrite(query)?;
    null_in::rewrite(query);
    rewrite::count_instead_of_exists(query);
    Ok(())
}

/// The plan with the types that it ends up with. The branches of a UNION or a CASE agree on theirs only in
/// the analysis: before it, the first branch seems to decide.
fn settled(plan: LogicalPlan, state: &SessionState) -> datafusion::error::Result<LogicalPlan> {
    let mut undecided = false;
    plan.apply_with_subqueries(|node| {
        undecided |= matches!(node, LogicalPlan::Union(_));
        node.apply_expressions(|expr| {
            undecided |= expr.exists(|expr| Ok(matches!(expr, Expr::Case(_))))?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(if undecided { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    if !undecided {
        return Ok(plan);
    }
    state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})
}

/// Plans a statement whose placeholders are those of `query`, for parameters of which some have a type
/// already: the others get theirs from a first plan, text where nothing tells.
fn infer_parameters<T>(
    query: &ast::Query,
    mut given: Vec<Option<Parameter>>,
    plan: impl Fn(Vec<Option<FieldRef>>) -> Result<(LogicalPlan, T)>,
) -> Result<(LogicalPlan, T, Vec<Parameter>)> {
    let field = |p: &Parameter| p.field();
    let fields = |types: &[Option<Parameter>]| types.iter().map(|p| p.as_ref().map(field)).collect();
    let placeholders = rewrite::placeholders(query)?;
    given.resize(given.len().max(placeholders.highest), None);
    for (number, pg_type) in placeholders.typed {
        if let Some(slot @ None) = number.checked_sub(1).and_then(|i| given.get_mut(i)) {
            *slot = Some(Parameter::declared(&pg_type));
        }
    }
    let (mut logical, mut rest) = plan(fields(&given))?;
    if given.iter().any(Option::is_none) {
        let found = logical.get_parameter_fields().map_err(|e| Error::from(&e))?;
        let mut found: BTreeMap<String, Option<FieldRef>> = found.into_iter().collect();
        let beside = parameters::beside_arguments(&logical).map_err(|e| Error::from(&e))?;
        for (name, field) in beside {
            let known = found.entry(name).or_default();
            if known.as_ref().is_none_or(|known| *known.data_type() == DataType::Null) {
                *known = Some(field);
            }
        }
        for (i, slot) in given.iter_mut().enumerate().filter(|(_, slot)| slot.is_none()) {
            let inferred = found.get(&format!("${}", i + 1)).and_then(Option::as_ref);
            *slot = Some(match inferred.filter(|field| *field.data_type() != DataType::Null) {
                Some(field) => Parameter::inferred(field),
                None => Parameter::text(),
            });
        }
        (logical, rest) = plan(fields(&given))?;
    }
    Ok((logical, rest, given.into_iter().flatten().collect()))
}

/// The number of a query's last parameter; 0: it has none.
pub(crate) fn highest_placeholder(query: &ast::Query) -> Result<usize> {
    Ok(rewrite::placeholders(query)?.highest)
}

/// An error of the planner with the position that it knows.
fn located(e: &DataFusionError, source: &Parsed) -> Error {
    let error = Error::from(e);
    if error.position.is_some() {
        return error;
    }
    match start_of(e) {
        Some((line, column)) => error.with_position(source.position(line, column)),
        None => error,
    }
}

fn start_of(e: &DataFusionError) -> Option<(u64, u64)> {
    match e {
        DataFusionError::Diagnostic(diagnostic, inner) => {
            let span = diagnostic.span.as_ref().map(|span| (span.start.line, span.start.column));
            span.or_else(|| start_of(inner))
        }
        DataFusionError::Context(_, inner) => start_of(inner),
        DataFusionError::Shared(inner) => start_of(inner),
        DataFusionError::Collection(errors) => errors.first().and_then(start_of),
        _ => None,
    }
}

/// The error for a parameter that was not given.
pub fn missing_parameter(number: usize) -> Error {
    Error::new(SqlState::UNDEFINED_PARAMETER, format!("there is no parameter ${number}"))
}
