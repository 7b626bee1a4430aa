//! Planning of statements that are more than one query (UPDATE, DELETE, MERGE): their parts share
//! relations, common table expressions and parameters, and each is planned as the select list or the
//! condition of a query, so that it means what it means there.

use std::collections::HashMap;

use arrow::datatypes::FieldRef;
use auric_catalog::registry::Table;
use datafusion::common::{DFSchemaRef, TableReference};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast::{self, Ident, ObjectName, Query, SelectItem, With};

use super::system_columns::Changed;
use super::{
    Parameter, Relations, Scope, common_type, context, for_planner, infer_parameters, located, names,
    relations, rewrite, system, system_columns,
};
use crate::analyzer::number;
use crate::error::{Error, Result, SqlState};
use crate::parser::{Parsed, row_target};

/// Name of the relation whose columns a part may use; no user can write it.
pub(super) const ROW: &str = "\u{1}row";

/// What all parts of one statement are planned with.
pub struct Parts<'a> {
    state: &'a SessionState,
    relations: &'a Relations,
    with: Option<&'a With>,
    source: &'a Parsed,
    types: Vec<Option<FieldRef>>,
    /// The statement's name in messages.
    command: &'static str,
    target: Option<(&'a Table, &'a TableReference)>,
}

/// What is to be planned.
pub struct PartsRequest<'a> {
    pub command: &'static str,
    /// Every part of the statement in one query that is never planned: where names of relations and
    /// parameters are looked for.
    pub everything: Query,
    pub given: Vec<Option<Parameter>>,
    pub source: &'a Parsed,
    /// The table that every row is of, and what its columns are qualified with.
    pub target: Option<(&'a Table, &'a TableReference)>,
}

impl Scope {
    /// A table whose rows can be changed, and the name its columns are qualified with. Fails with
    /// 42P01; 42809 for a system relation or a materialized view.
    pub async fn changeable_table(
        &self,
        name: &ObjectName,
        source: &Parsed,
    ) -> Result<(Table, TableReference)> {
        let (table, reference) = self.own_table(name, source).await?;
        relations::refuse_materialized_view(&table)?;
        Ok((table, reference))
    }

    /// The same, or the table of a materialized view, which can be commented on.
    pub async fn own_table(&self, name: &ObjectName, source: &Parsed) -> Result<(Table, TableReference)> {
        let reference = relations::reference(name)?;
        if system::relation(self, &reference).await?.is_some() {
            let message = format!("cannot change relation \"{}\"", reference.table());
            return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message)
                .with_detail("It is a system relation, which is made from the catalog's contents."));
        }
        match relations::find_relation(self, &reference).await? {
            Some(relations::Found::Table(table)) => return Ok((table, reference)),
            Some(relations::Found::View(view)) => return Err(relations::not_a_table(&view)),
            None => {}
        }
        if relations::find_metadata(self, &reference).await?.is_some() {
            let message = format!("cannot change relation \"{}\"", reference.table());
            return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message)
                .with_detail("It tells what the table's metadata says."));
        }
        Err(relations::undefined(name, source))
    }

    /// Plans a statement of several parts: `build` plans them and says what the plan is; it may be
    /// called twice, as the types of parameters follow from the first plan.
    pub async fn plan_parts<T>(
        &self,
        request: PartsRequest<'_>,
        build: impl Fn(&Parts<'_>) -> Result<(LogicalPlan, T)>,
    ) -> Result<(LogicalPlan, T, Vec<Parameter>)> {
        let PartsRequest { command, mut everything, given, source, target } = request;
        rewrite::refuse_unsupported(&everything)?;
        let with = everything.with.clone();
        crate::analyzer::rewrite(&mut everything);
        let relations = Relations::resolve(self, &everything, source, Vec::new()).await?;
        let state = relations.state(self).await?;
        infer_parameters(&everything, given, |types| {
            let parts = Parts {
                state: state.as_ref(),
                relations: &relations,
                with: with.as_ref(),
                source,
                types,
                command,
                target,
            };
            build(&parts)
        })
    }
}

impl Parts<'_> {
    /// Whether any part names this table.
    pub fn reads(&self, table: &Table) -> bool {
        self.relations.reads(table)
    }

    /// `returning`: expressions over `row` tell of it, and do not choose it.
    fn plan(&self, mut query: Query, row: Option<&LogicalPlan>, returning: bool) -> Result<LogicalPlan> {
        rewrite::make_names_unique(&mut query);
        for_planner(&mut query, None)?;
        let changed = row.map(|plan| Changed { row: plan.schema(), target: self.target, returning });
        system_columns::rewrite(&mut query, self.relations, changed)?;
        let planned = row.map(|plan| HashMap::from([(ROW.to_string(), plan.clone())])).unwrap_or_default();
        let provider = context::StatementContext::with_planned(self.state, self.relations, planned);
        let options = ParserOptions::from(&self.state.config_options().sql_parser);
        let planner = SqlToRel::new_with_options(&provider, options);
        let mut context = PlannerContext::new().with_prepare_param_data_types(self.types.clone());
        planner
            .sql_statement_to_plan_with_context(ast::Statement::Query(Box::new(query)), &mut context)
            .and_then(common_type::resolve)
            .map_err(|e| located(&e, self.source))
    }

    fn select(
        &self,
        items: Vec<SelectItem>,
        from: Vec<ast::TableWithJoins>,
        selection: Option<ast::Expr>,
    ) -> Result<Query> {
        row_target::select(self.with.cloned(), items, from, selection)
    }

    /// The relation that FROM items make; its columns have the qualifiers by which they are called.
    pub fn relation(&self, mut from: Vec<ast::TableWithJoins>) -> Result<LogicalPlan> {
        for (i, item) in from.iter_mut().enumerate() {
            // A name for what has none, so that its columns cannot clash with the target's.
            if let ast::TableFactor::Derived { alias: alias @ None, .. } = &mut item.relation {
                let name = Ident::with_quote('"', format!("\u{1}source{i}"));
                *alias = Some(ast::TableAlias { explicit: true, name, columns: Vec::new(), at: None });
            }
        }
        let everything = SelectItem::Wildcard(ast::WildcardAdditionalOptions::default());
        self.plan(self.select(vec![everything], from, None)?, None, false)
    }

    /// Expressions over the columns of `row`.
    pub fn expressions(&self, row: &LogicalPlan, exprs: &[ast::Expr]) -> Result<Vec<Expr>> {
        if exprs.is_empty() {
            return Ok(Vec::new());
        }
        let items = exprs.iter().enumerate().map(|(i, expr)| SelectItem::ExprWithAlias {
            expr: expr.clone(),
            alias: Ident::with_quote('"', format!("\u{1}{i}")),
        });
        let exprs = self.projection(row, items.collect(), false)?.0;
        Ok(exprs.into_iter().map(Expr::unalias).collect())
    }

    /// A RETURNING list over the columns of `row`, with the names and fields of its columns.
    pub fn items(&self, row: &LogicalPlan, items: Vec<SelectItem>) -> Result<Vec<(Expr, String, FieldRef)>> {
        let written = self.select(items.clone(), Vec::new(), None)?;
        let (exprs, schema) = self.projection(row, items, true)?;
        let names = names::output_names(&written, &schema);
        let fields = schema.fields().iter().cloned();
        Ok(exprs.into_iter().map(Expr::unalias).zip(names).zip(fields).map(|((e, n), f)| (e, n, f)).collect())
    }

    fn projection(
        &self,
        row: &LogicalPlan,
        items: Vec<SelectItem>,
        returning: bool,
    ) -> Result<(Vec<Expr>, DFSchemaRef)> {
        let plan = self.plan(self.select(items, vec![self.row()], None)?, Some(row), returning)?;
        match plan {
            LogicalPlan::Projection(projection) if projection.input.schema() == row.schema() => {
                Ok((projection.expr, projection.schema))
            }
            other => Err(self.misplaced(&other)),
        }
    }

    /// A condition on the columns of `row`.
    pub fn condition(&self, row: &LogicalPlan, condition: &ast::Expr) -> Result<Expr> {
        let one = SelectItem::UnnamedExpr(number(1));
        let plan =
            self.plan(self.select(vec![one], vec![self.row()], Some(condition.clone()))?, Some(row), false)?;
        if let LogicalPlan::Projection(projection) = &plan
            && let LogicalPlan::Filter(filter) = projection.input.as_ref()
        {
            return Ok(filter.predicate.clone());
        }
        Err(self.misplaced(&plan))
    }

    fn row(&self) -> ast::TableWithJoins {
        row_target::table(ObjectName::from(vec![Ident::with_quote('"', ROW)]))
    }

    /// What is neither projection nor filter.
    fn misplaced(&self, plan: &LogicalPlan) -> Error {
        let (code, what) = match plan {
            LogicalPlan::Projection(projection) => return self.misplaced(&projection.input),
            LogicalPlan::Aggregate(_) => (SqlState::GROUPING_ERROR, "aggregate functions"),
            LogicalPlan::Window(_) => (SqlState("42P20"), "window functions"),
            _ => (SqlState::FEATURE_NOT_SUPPORTED, "set-returning functions"),
        };
        Error::new(code, format!("{what} are not allowed in {}", self.command))
    }
}
