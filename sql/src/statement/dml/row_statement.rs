//! UPDATE, DELETE and MERGE from their syntax tree to their result.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast;
use postgres_types::Type;

use super::super::{CommandTag, Output, OutputColumn, Prepared, RowOutput, parameters, rows};
use super::collected_source::{self as source, Source};
use super::execute::{self, Attempts, Changed};
use super::insert::Commit;
use super::row_change::RowChange;
use super::{delete, merge, update};
use crate::error::Result;
use crate::parser::statement::{Delete, Merge, Update};
use crate::parser::{Parsed, Statement};
use crate::planner::{Parameter, Scope};
use crate::session::Session;

/// A statement that changes rows where they are.
#[derive(Debug, Clone, Copy)]
pub enum RowStatement<'a> {
    Update(&'a Update),
    Delete(&'a Delete),
    Merge(&'a Merge),
}

/// A statement with its names resolved. Placeholders are still in it.
pub struct PlannedChange {
    pub plan: LogicalPlan,
    pub change: RowChange,
    pub parameters: Vec<Parameter>,
}

impl From<(LogicalPlan, RowChange, Vec<Parameter>)> for PlannedChange {
    fn from((plan, change, parameters): (LogicalPlan, RowChange, Vec<Parameter>)) -> Self {
        Self { plan, change, parameters }
    }
}

impl PlannedChange {
    /// The columns of RETURNING; `None`: there is none.
    fn columns(&self) -> Option<Vec<OutputColumn>> {
        if self.change.returning.is_empty() {
            return None;
        }
        // A numeric parameter has as many digits as each of its values: so has what follows from it.
        let any_numeric = self.parameters.iter().any(|parameter| parameter.pg_type == Type::NUMERIC);
        let columns = self.change.returning.iter().map(|column| {
            let mut shown = OutputColumn::of(&column.name, &column.field);
            if any_numeric && shown.pg_type == Type::NUMERIC {
                shown.type_modifier = -1;
            }
            shown
        });
        Some(columns.collect())
    }
}

impl<'a> RowStatement<'a> {
    /// `None`: a statement of another kind.
    pub fn of(statement: &'a Statement) -> Option<Self> {
        match statement {
            Statement::Update(update) => Some(Self::Update(update)),
            Statement::Delete(delete) => Some(Self::Delete(delete)),
            Statement::Merge(merge) => Some(Self::Merge(merge)),
            _ => None,
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Self::Update(_) => "UPDATE",
            Self::Delete(_) => "DELETE",
            Self::Merge(_) => "MERGE",
        }
    }

    /// The table that it changes.
    fn target(self) -> &'a ast::ObjectName {
        match self {
            Self::Update(update) => &update.target.name,
            Self::Delete(delete) => &delete.target.name,
            Self::Merge(merge) => &merge.target.name,
        }
    }

    async fn resolve(
        self,
        scope: &Scope,
        given: &[Option<Parameter>],
        parsed: &Parsed,
    ) -> Result<PlannedChange> {
        match self {
            Self::Update(update) => update::resolve(scope, update, given, parsed).await,
            Self::Delete(delete) => delete::resolve(scope, delete, given, parsed).await,
            Self::Merge(merge) => merge::resolve(scope, merge, given, parsed).await,
        }
    }
}

/// The predicate as the table's history shows it.
pub fn predicate(condition: Option<&ast::Expr>) -> BTreeMap<String, String> {
    condition.map(|condition| ("predicate".to_string(), condition.to_string())).into_iter().collect()
}

/// Whether an expression holds a subquery.
pub fn has_subquery(expr: &Expr) -> bool {
    expr.exists(|e| {
        Ok(matches!(
            e,
            Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_)
        ))
    })
    .unwrap_or(true)
}

pub async fn prepare(
    session: &mut Session,
    statement: RowStatement<'_>,
    given: &[Option<Parameter>],
    parsed: &Parsed,
) -> Result<Prepared> {
    let scope = session.scope().await?;
    let planned = statement.resolve(&scope, given, parsed).await?;
    let columns = planned.columns();
    let parameters = planned.parameters;
    Ok(Prepared {
        parameters: parameters.iter().map(|parameter| parameter.pg_type.clone()).collect(),
        given: parameters.into_iter().map(Some).collect(),
        ..Prepared::plain(parsed, columns)
    })
}

pub async fn execute(
    session: &mut Session,
    statement: RowStatement<'_>,
    prepared: &Arc<Prepared>,
    values: Vec<ScalarValue>,
) -> Result<Output> {
    session.check_writable(statement.verb())?;
    let mut attempts = Attempts::new(session.block.is_some());
    loop {
        let scope = attempts.scope(session, statement.target(), &prepared.parsed).await?;
        let result = run(&scope, statement, prepared, values.clone()).await;
        if let Some(result) = attempts.last(result) {
            return result;
        }
    }
}

async fn run(
    scope: &Scope,
    statement: RowStatement<'_>,
    prepared: &Prepared,
    values: Vec<ScalarValue>,
) -> Result<Output> {
    let (types, values) = parameters::bind(&prepared.given, values)?;
    let planned = statement.resolve(scope, &types, &prepared.parsed).await?;
    let change = &planned.change;
    if let Some(plan) = delete::whole_files(scope, change, &values, Commit::Yes).await? {
        let impact = execute::impact(rows::stream(scope, plan)?).await?;
        return Ok(Output::Complete(CommandTag::Count(statement.verb(), impact.rows_changed())));
    }
    let (plan, source) = with_source(scope, &planned, values).await?;
    let options = change.options(false);
    let changed = execute::execute_change(scope, &change.target, &plan, options).await?;
    Ok(match (changed, planned.columns()) {
        (Changed::Rows(stream), Some(columns)) => Output::Rows(RowOutput {
            columns: Arc::new(columns),
            stream: source::kept_with(stream, source),
            tag: CommandTag::Rows { verb: statement.verb(), counted: true },
            binary: false,
            collecting: None,
        }),
        (Changed::Rows(_), None) => Output::Complete(CommandTag::Count(statement.verb(), 0)),
        (Changed::Impact(impact), _) => {
            Output::Complete(CommandTag::Count(statement.verb(), impact.rows_changed()))
        }
    })
}

/// The plan with values for its parameters and the source run as far as it is small.
async fn with_source(
    scope: &Scope,
    planned: &PlannedChange,
    values: Vec<ScalarValue>,
) -> Result<(LogicalPlan, Option<Source>)> {
    let change = &planned.change;
    let Some(relation) = &change.source else {
        return Ok((parameters::substitute(&planned.plan, values)?, None));
    };
    let relation = parameters::substitute(relation, values.clone())?;
    let condition = change.condition.as_ref().map(|c| source::substituted(c, &values)).transpose()?;
    let source = source::collect(scope, change, relation, condition.as_ref()).await?;
    let plan = change.plan(scope, Some(source.relation.clone()), source.pruning.clone())?;
    Ok((parameters::substitute(&plan, values)?, Some(source)))
}

/// The physical plan of a statement, for EXPLAIN. `run`: it is going to be run, so the source may be too.
pub async fn explain(
    scope: &Scope,
    statement: RowStatement<'_>,
    prepared: &Prepared,
    values: Vec<ScalarValue>,
    mode: execute::Explained,
) -> Result<Arc<dyn ExecutionPlan>> {
    let (types, values) = parameters::bind(&prepared.given, values)?;
    let planned = statement.resolve(scope, &types, &prepared.parsed).await?;
    let commit = if mode == execute::Explained::Impact { Commit::DryRun } else { Commit::Yes };
    if let Some(plan) = delete::whole_files(scope, &planned.change, &values, commit).await? {
        return Ok(plan);
    }
    let (plan, dry_run) = match mode {
        execute::Explained::Plan => (parameters::substitute(&planned.plan, values)?, false),
        execute::Explained::Analyze => (with_source(scope, &planned, values).await?.0, false),
        execute::Explained::Impact => (with_source(scope, &planned, values).await?.0, true),
    };
    let options = planned.change.options(dry_run);
    execute::change_plan(scope, &planned.change.target, &plan, options).await
}
