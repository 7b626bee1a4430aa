//! What UPDATE, DELETE and MERGE have in common once their names are resolved, and the plan of it.
//!
//! The target, whose rows carry their address, is joined with the source; each row of the join gets the
//! number of the WHEN clause that applies (UPDATE and DELETE have one that always does), and by it an
//! action and new values. Expressions of a clause are evaluated for its own rows only.

use std::collections::{BTreeMap, HashSet};

use arrow::datatypes::{DataType, Field, FieldRef};
use auric_catalog::dml::rows::{
    ACTION, Assigned, ChangeOptions, FILE, ROW_ID, RowAction, RowTarget, SecondChange,
};
use auric_catalog::table::Operation;
use datafusion::common::{Column, DFSchema, JoinType, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::scalar::ScalarValue;

use super::assign;
use super::check::{self, Checked};
use super::identity;
use super::nested_types::bare;
use super::on_subquery::{self, Sides};
use super::used_columns::columns_of;
use crate::error::{Error, Result, SqlState};
use crate::functions::merge_action;
use crate::parser::statement::MergeKind;
use crate::planner::Scope;

/// Column that is true in every row of the source; after an outer join null where there was none.
const SOURCE: &str = "__auric_source";
/// Column: number of the clause that applies.
const CLAUSE: &str = "__auric_clause";

/// A statement with names resolved. Its expressions are over the columns of source and target.
pub struct RowChange {
    pub target: RowTarget,
    /// What the target's columns are qualified with.
    pub relation: TableReference,
    pub source: Option<LogicalPlan>,
    /// WHERE, or ON of a MERGE.
    pub condition: Option<Expr>,
    pub clauses: Vec<Clause>,
    /// Columns to add before values are computed: rows that a subquery gives (`(a, b) = (SELECT …)`).
    pub rows: Vec<SubqueryRow>,
    pub returning: Vec<ReturnedColumn>,
    pub operation: Operation,
    pub second_change: SecondChange,
    pub parameters: BTreeMap<String, String>,
    /// The source or a subquery reads the target too.
    pub reads_target: bool,
}

/// A WHEN clause. The first one that applies wins.
pub struct Clause {
    pub kind: MergeKind,
    pub condition: Option<Expr>,
    pub action: Action,
}

/// Values go to columns by their index; of an update others keep theirs, of an insert they get defaults.
pub enum Action {
    Nothing,
    Delete,
    Update(Vec<(usize, Expr)>),
    Insert(Vec<(usize, Expr)>),
}

/// A subquery that gives several values at once, as a struct in a column of this name.
pub struct SubqueryRow {
    pub column: String,
    /// Index of the clause whose rows it is for.
    pub clause: usize,
    pub value: Expr,
}

pub struct ReturnedColumn {
    pub expr: Expr,
    pub name: String,
    pub field: FieldRef,
}

impl Action {
    fn row_action(&self) -> Option<RowAction> {
        match self {
            Self::Nothing => None,
            Self::Delete => Some(RowAction::Delete),
            Self::Update(_) => Some(RowAction::Update),
            Self::Insert(_) => Some(RowAction::Insert),
        }
    }
}

fn failed(e: datafusion::error::DataFusionError) -> Error {
    Error::from(&e)
}

fn number(clause: usize) -> Expr {
    lit(i32::try_from(clause).unwrap_or(i32::MAX))
}

fn null(data_type: &DataType) -> Result<Expr> {
    ScalarValue::try_from(data_type).map(lit).map_err(failed)
}

/// `CASE WHEN … THEN … END`.
fn case(branches: Vec<(Expr, Expr)>) -> Expr {
    let branches = branches.into_iter().map(|(when, then)| (Box::new(when), Box::new(then))).collect();
    Expr::Case(Case::new(None, branches, None))
}

impl RowChange {
    fn has(&self, kind: MergeKind) -> bool {
        self.clauses.iter().any(|clause| clause.kind == kind)
    }

    /// Whether source rows without a target row count.
    pub fn keeps_source(&self) -> bool {
        self.has(MergeKind::NotMatched)
    }

    /// Whether target rows without a source row count.
    pub fn keeps_target(&self) -> bool {
        self.has(MergeKind::NotMatchedBySource)
    }

    /// Source rows are only looked up in the target.
    fn only_inserts(&self) -> bool {
        self.keeps_source() && !self.keeps_target() && !self.has(MergeKind::Matched)
    }

    /// The only clause, if it applies to every row of the join.
    fn only_clause(&self) -> Option<&Clause> {
        match self.clauses.as_slice() {
            [clause] if clause.condition.is_none() && !matches!(clause.action, Action::Nothing) => {
                let all = match clause.kind {
                    MergeKind::Matched => true,
                    MergeKind::NotMatched => self.only_inserts(),
                    MergeKind::NotMatchedBySource => false,
                };
                all.then_some(clause)
            }
            _ => None,
        }
    }

    /// Columns of the source that anything but the source itself uses.
    pub fn used_columns(&self) -> HashSet<Column> {
        let values = self.clauses.iter().flat_map(|clause| {
            let values = match &clause.action {
                Action::Update(values) | Action::Insert(values) => values.as_slice(),
                Action::Nothing | Action::Delete => &[],
            };
            clause.condition.iter().chain(values.iter().map(|(_, value)| value))
        });
        let rows = self.rows.iter().map(|row| &row.value);
        let returned = self.returning.iter().map(|column| &column.expr);
        columns_of(self.condition.iter().chain(values).chain(rows).chain(returned))
    }

    /// The columns that updates give values.
    fn assigned(&self) -> Assigned {
        let updates = self.clauses.iter().filter_map(|clause| match &clause.action {
            Action::Update(values) => Some(values),
            _ => None,
        });
        Assigned {
            columns: updates.flatten().map(|(column, _)| *column).collect(),
            inserts: self.clauses.iter().any(|clause| matches!(clause.action, Action::Insert(_))),
        }
    }

    pub fn options(&self, dry_run: bool) -> ChangeOptions {
        ChangeOptions {
            operation: self.operation,
            second_change: self.second_change,
            parameters: self.parameters.clone(),
            reads_all: self.reads_target,
            returning: if dry_run { 0 } else { self.returning.len() },
            assigned: Some(self.assigned()),
            dry_run,
        }
    }

    /// The input of [`RowTarget::change`]. `source`: the relation to take for the source;
    /// `pruning`: predicates that every target row with a match satisfies.
    pub fn plan(
        &self,
        scope: &Scope,
        source: Option<LogicalPlan>,
        pruning: Vec<Expr>,
    ) -> Result<LogicalPlan> {
        self.target.table().check_writable(self.operation)?;
        let joined = self.join(source, pruning)?;
        let chosen = self.with_clause(joined)?;
        let complete = self.with_ordinal(self.with_rows(chosen)?)?;
        let changed = self.with_values(scope, complete)?;
        let checked = self.checked(scope, self.with_returning(changed)?)?;
        self.with_what_is_assigned(checked)
    }

    /// Where the columns of the table begin: they follow addresses and action.
    fn first_value(&self) -> usize {
        self.target.address_columns().len() + 1
    }

    /// New rows satisfy the table's constraints.
    fn checked(&self, scope: &Scope, plan: LogicalPlan) -> Result<LogicalPlan> {
        let action = Expr::Column(Column::new_unqualified(ACTION));
        let checked = Checked {
            first_column: self.first_value(),
            carrier: self.target.address_columns().len(),
            rows: Some(action.not_eq(lit(RowAction::Delete as i8))),
        };
        match self.operation {
            Operation::Delete => Ok(plan),
            _ => check::enforce(scope, self.target.table(), plan, &checked),
        }
    }

    /// Where the target needs no more, only what updates assign: then the other columns need not be read.
    fn with_what_is_assigned(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let assigned = self.assigned();
        let nothing = assigned.inserts || assigned.columns.is_empty();
        if nothing || !self.target.needs_only_assigned(self.operation, &assigned)? {
            return Ok(plan);
        }
        let first = self.first_value();
        let mut columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
        let values = self.target.table().snapshot.schema.arrow.fields().iter().enumerate();
        let kept = values
            .filter(|(i, _)| !assigned.columns.contains(i))
            .map(|(i, field)| (first + i, field.clone()));
        // Ids of rows are not assigned.
        let ids = self.target.address_columns().into_iter().enumerate().filter(|(_, f)| f.name() == ROW_ID);
        for (number, field) in ids.chain(kept) {
            if let Some(column) = columns.get_mut(number) {
                *column = null(field.data_type())?.alias(field.name());
            }
        }
        LogicalPlanBuilder::from(plan).project(columns).and_then(LogicalPlanBuilder::build).map_err(failed)
    }

    fn join(&self, source: Option<LogicalPlan>, pruning: Vec<Expr>) -> Result<LogicalPlan> {
        let provider = provider_as_source(self.target.provider());
        let mut target = LogicalPlanBuilder::scan(self.relation.clone(), provider, None).map_err(failed)?;
        for predicate in pruning {
            target = target.filter(predicate).map_err(failed)?;
        }
        let condition = self.condition.clone();
        let Some(source) = source else {
            let filtered = match condition {
                Some(condition) => target.filter(condition).map_err(failed)?,
                None => target,
            };
            return filtered.build().map_err(failed);
        };
        let target = target.build().map_err(failed)?;
        if !self.keeps_source() && !self.keeps_target() {
            let joined = LogicalPlanBuilder::from(source).cross_join(target).map_err(failed)?;
            let joined = match condition {
                Some(condition) => joined.filter(condition).map_err(failed)?,
                None => joined,
            };
            return joined.build().map_err(failed);
        }
        let join_type = match (self.keeps_source(), self.keeps_target()) {
            _ if self.only_inserts() => JoinType::LeftAnti,
            (true, true) => JoinType::Full,
            (true, false) => JoinType::Left,
            (false, _) => JoinType::Right,
        };
        let condition = condition.unwrap_or_else(|| lit(true));
        let Sides { source, target, condition } = on_subquery::lift(Sides { source, target, condition })?;
        let mut marked: Vec<Expr> = source.schema().columns().into_iter().map(Expr::Column).collect();
        marked.push(lit(true).alias(SOURCE));
        let condition = split_conjunction_owned(condition);
        LogicalPlanBuilder::from(source)
            .project(marked)
            .and_then(|source| source.join_on(target, join_type, condition))
            .and_then(LogicalPlanBuilder::build)
            .map_err(failed)
    }

    fn address(&self, name: &str) -> Expr {
        Expr::Column(Column::new(Some(self.relation.clone()), name))
    }

    /// Adds the number of the clause that applies, and leaves out rows to which nothing happens.
    fn with_clause(&self, joined: LogicalPlan) -> Result<LogicalPlan> {
        if self.only_clause().is_some() {
            return Ok(joined);
        }
        let from_source = Expr::Column(Column::new_unqualified(SOURCE)).is_not_null();
        let in_target = self.address(FILE).is_not_null();
        let outer = self.keeps_source() || self.keeps_target();
        let mut branches = Vec::new();
        for kind in [MergeKind::Matched, MergeKind::NotMatched, MergeKind::NotMatchedBySource] {
            if !self.has(kind) {
                continue;
            }
            let applies = match kind {
                MergeKind::Matched if !outer => lit(true),
                MergeKind::Matched if !self.keeps_target() => in_target.clone(),
                MergeKind::Matched if !self.keeps_source() => from_source.clone(),
                MergeKind::Matched => from_source.clone().and(in_target.clone()),
                MergeKind::NotMatched if self.only_inserts() => lit(true),
                MergeKind::NotMatched => self.address(FILE).is_null(),
                MergeKind::NotMatchedBySource => from_source.clone().is_not_true(),
            };
            branches.push((applies, self.clause_of(kind, joined.schema())?));
        }
        let mut columns: Vec<Expr> = joined.schema().columns().into_iter().map(Expr::Column).collect();
        columns.push(case(branches).alias(CLAUSE));
        LogicalPlanBuilder::from(joined)
            .project(columns)
            .and_then(|plan| plan.filter(Expr::Column(Column::new_unqualified(CLAUSE)).is_not_null()))
            .and_then(LogicalPlanBuilder::build)
            .map_err(failed)
    }

    /// Number of the first clause of a kind whose condition holds; null: none, or it does nothing.
    fn clause_of(&self, kind: MergeKind, schema: &DFSchema) -> Result<Expr> {
        let mut branches = Vec::new();
        for (i, clause) in self.clauses.iter().enumerate().filter(|(_, clause)| clause.kind == kind) {
            let condition = match &clause.condition {
                Some(condition) => {
                    let found = condition.get_type(schema).map_err(failed)?;
                    if !matches!(found, DataType::Boolean | DataType::Null) {
                        let (name, _) = crate::types::pg_type(&Field::new("", found, true));
                        let message =
                            format!("argument of AND must be type boolean, not type {}", name.name());
                        return Err(Error::new(SqlState::DATATYPE_MISMATCH, message));
                    }
                    condition.clone()
                }
                None => lit(true),
            };
            let value = match clause.action {
                Action::Nothing => null(&DataType::Int32)?,
                _ => number(i),
            };
            branches.push((condition, value));
        }
        Ok(case(branches))
    }

    fn with_rows(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        if self.rows.is_empty() {
            return Ok(plan);
        }
        let mut columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
        for row in &self.rows {
            let value = match self.only_clause() {
                Some(_) => row.value.clone(),
                None => case(vec![(self.is_clause(row.clause), row.value.clone())]),
            };
            columns.push(value.alias(&row.column));
        }
        LogicalPlanBuilder::from(plan).project(columns).and_then(LogicalPlanBuilder::build).map_err(failed)
    }

    /// Whether a clause leaves an identity column to the table.
    fn is_left(&self, clause: &Clause, name: &str, index: usize) -> bool {
        match &clause.action {
            Action::Insert(values) => {
                identity::of(self.target.table(), name).is_some() && values.iter().all(|(i, _)| *i != index)
            }
            Action::Nothing | Action::Delete | Action::Update(_) => false,
        }
    }

    /// Adds the number of each new row among those that get a value of an identity column.
    fn with_ordinal(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let fields = self.target.table().snapshot.schema.arrow.fields();
        let leaves = |clause: &Clause| {
            fields.iter().enumerate().any(|(i, field)| self.is_left(clause, field.name(), i))
        };
        if !self.clauses.iter().any(leaves) {
            return Ok(plan);
        }
        if self.only_clause().is_some() {
            return identity::numbered(plan);
        }
        let clauses = self.clauses.iter().enumerate().filter(|(_, clause)| leaves(clause));
        let counted = clauses.map(|(i, _)| (self.is_clause(i), lit(true))).collect();
        identity::counted(plan, case(counted))
    }

    fn is_clause(&self, clause: usize) -> Expr {
        Expr::Column(Column::new_unqualified(CLAUSE)).eq(number(clause))
    }

    /// What each clause gives, picked by the clause that applies.
    fn pick(&self, data_type: &DataType, value: impl Fn(&Clause) -> Result<Option<Expr>>) -> Result<Expr> {
        if let Some(clause) = self.only_clause()
            && let Some(value) = value(clause)?
        {
            return Ok(value);
        }
        let mut branches: Vec<(Expr, Expr)> = Vec::new();
        for (i, clause) in self.clauses.iter().enumerate() {
            let Some(value) = value(clause)? else { continue };
            let applies = self.is_clause(i);
            match branches.iter_mut().find(|(_, known)| *known == value && !known.is_volatile()) {
                Some((same, _)) => *same = same.clone().or(applies),
                None => branches.push((applies, value)),
            }
        }
        match branches.as_slice() {
            [] => null(data_type),
            // Rows without a clause are not there any more.
            [(_, only)] if matches!(only, Expr::Column(_) | Expr::Literal(..)) => Ok(only.clone()),
            _ => Ok(case(branches.into_iter().map(|(when, value)| (when, bare(value, data_type))).collect())),
        }
    }

    /// Address, action, new values under the target's names, and the source's columns of RETURNING.
    fn with_values(&self, scope: &Scope, plan: LogicalPlan) -> Result<LogicalPlan> {
        let schema = plan.schema().clone();
        let mut columns = Vec::new();
        for field in self.target.address_columns() {
            let value =
                if self.only_inserts() { null(field.data_type())? } else { self.address(field.name()) };
            columns.push(value.alias(field.name()));
        }
        let action = |clause: &Clause| Ok(clause.action.row_action().map(|action| lit(action as i8)));
        columns.push(self.pick(&DataType::Int8, action)?.alias(ACTION));
        for (i, field) in self.target.table().snapshot.schema.arrow.fields().iter().enumerate() {
            let value =
                self.pick(field.data_type(), |clause| self.value(scope, clause, i, field, &schema))?;
            columns.push(value.alias_qualified(Some(self.relation.clone()), field.name()));
        }
        let returned = columns_of(self.returning.iter().map(|column| &column.expr));
        let of_source = self.source.iter().flat_map(|source| source.schema().columns());
        columns.extend(of_source.filter(|column| returned.contains(column)).map(Expr::Column));
        LogicalPlanBuilder::from(plan).project(columns).and_then(LogicalPlanBuilder::build).map_err(failed)
    }

    /// The new value of a column. `None`: the clause does nothing.
    fn value(
        &self,
        scope: &Scope,
        clause: &Clause,
        index: usize,
        field: &Field,
        schema: &DFSchema,
    ) -> Result<Option<Expr>> {
        let assigned = |values: &[(usize, Expr)]| {
            let found = values.iter().find(|(column, _)| *column == index);
            found.map(|(_, value)| converted(value, field, schema)).transpose()
        };
        let old = || Expr::Column(Column::new(Some(self.relation.clone()), field.name()));
        Ok(Some(match &clause.action {
            Action::Nothing => return Ok(None),
            Action::Delete if self.returning.is_empty() => null(field.data_type())?,
            Action::Delete => old(),
            Action::Update(values) => assigned(values)?.unwrap_or_else(old),
            Action::Insert(values) => {
                match (assigned(values)?, identity::of(self.target.table(), field.name())) {
                    (Some(value), _) => value,
                    (None, Some(column)) => identity::value(column, field, identity::ordinal()),
                    (None, None) => assign::default_of(scope, self.target.table(), field)?,
                }
            }
        }))
    }

    fn with_returning(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let misplaced = |column: &ReturnedColumn| {
            self.operation != Operation::Merge && merge_action::is_called(&column.expr)
        };
        if self.returning.iter().any(misplaced) {
            return Err(merge_action::misplaced());
        }
        let action = Expr::Column(Column::new_unqualified(ACTION));
        let addresses = self.target.address_columns();
        let addresses = addresses.iter().map(|field| Expr::Column(Column::new_unqualified(field.name())));
        let mut columns: Vec<Expr> = addresses.collect();
        columns.push(action.clone());
        for field in self.target.table().snapshot.schema.arrow.fields() {
            columns.push(
                Expr::Column(Column::new(Some(self.relation.clone()), field.name())).alias(field.name()),
            );
        }
        for (i, column) in self.returning.iter().enumerate() {
            let expr = merge_action::replace(column.expr.clone(), &action).map_err(failed)?;
            columns.push(expr.alias(format!("__auric_returning_{i}")));
        }
        LogicalPlanBuilder::from(plan).project(columns).and_then(LogicalPlanBuilder::build).map_err(failed)
    }
}

/// A value as the column takes it.
fn converted(value: &Expr, field: &Field, schema: &DFSchema) -> Result<Expr> {
    let (_, from) = value.to_field(schema).map_err(failed)?;
    assign::convert(value.clone(), assign::Given::of(value), (&from, field), schema)
}
