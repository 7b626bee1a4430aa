//! Groups whose new values follow from those in the view and from added rows alone: what was summed up is
//! not read again.

use std::sync::Arc;

use arrow::datatypes::Field;
use auric_catalog::registry::Table;
use auric_catalog::scan::LakeTable;
use datafusion::common::Column;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::{
    Aggregate, AggregateUDF, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder,
};

use super::delta::{Changed, combined, key_name, restricted_to};
use super::kept::Kept;
use super::shape::{anchor, is_key, is_same, origin, over_anchor, to_anchor};
use super::{Refusal, Replaced, Work};
use crate::materialize::definition::Definition;
use crate::materialize::expectation::OnViolation;
use crate::planner::Scope;

/// Name of the relation of the view's rows.
const VIEW: &str = "__auric_view";

type Result<T> = std::result::Result<T, Refusal>;

/// An aggregate over the top of a query, all of whose values the view holds.
pub struct Merge<'a> {
    aggregate: &'a Aggregate,
    /// Of each of the aggregate's columns, groups first, the position in the view's table.
    columns: Vec<usize>,
    /// By which values of each aggregate become one.
    functions: Vec<Arc<AggregateUDF>>,
}

/// Fails with a refusal where values cannot be merged, or are not in the view.
pub fn merge<'a>(
    scope: &Scope,
    plan: &'a LogicalPlan,
    table: &Table,
    positions: &[usize],
    definition: &Definition,
) -> Result<Merge<'a>> {
    let cannot = |why: &str| Err(Refusal::Cannot(why.to_string()));
    let LogicalPlan::Aggregate(aggregate) = anchor(plan) else { return cannot("it has no aggregate") };
    if aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
        return cannot("it has GROUPING SETS, ROLLUP or CUBE");
    }
    if has_filter(plan) {
        return cannot("groups that HAVING leaves out are not in the view");
    }
    let drops =
        |action: &OnViolation| matches!(action, OnViolation::DropRow | OnViolation::QuarantineInto(_));
    if definition.expectations.iter().any(|expectation| drops(&expectation.action)) {
        return cannot("groups that an expectation leaves out are not in the view");
    }
    let groups = aggregate.group_expr.len();
    let fields = table.snapshot.schema.arrow.fields();
    let mut columns = Vec::with_capacity(aggregate.schema.fields().len());
    for (i, from) in aggregate.schema.fields().iter().enumerate() {
        let held = positions.iter().enumerate().find(|(column, at)| {
            let fits = if i < groups { is_key } else { is_same };
            origin(plan, **at) == Some(i) && fields.get(*column).is_some_and(|to| fits(from, to))
        });
        match held {
            Some((column, _)) => columns.push(column),
            None => return cannot("a group key or an aggregate is not among the view's columns"),
        }
    }
    let values = aggregate.aggr_expr.iter().zip(aggregate.schema.fields().iter().skip(groups));
    let functions = values.map(|(expr, field)| merging(scope, expr, field)).collect::<Result<Vec<_>>>()?;
    Ok(Merge { aggregate, columns, functions })
}

fn has_filter(plan: &LogicalPlan) -> bool {
    match (plan, &plan.inputs()[..]) {
        (LogicalPlan::Filter(_), _) => true,
        (LogicalPlan::Aggregate(_), _) => false,
        (_, [input]) => has_filter(input),
        _ => false,
    }
}

/// The function of two values of an aggregate that gives that of the rows of both.
fn merging(scope: &Scope, expr: &Expr, field: &Field) -> Result<Arc<AggregateUDF>> {
    let Expr::AggregateFunction(call) = expr.clone().unalias_nested().data else {
        return Err(Refusal::Cannot("an expression around an aggregate".to_string()));
    };
    let (name, distinct) = (call.func.name(), call.params.distinct);
    // Sums of floating point numbers depend on their order.
    let is_exact = field.data_type().is_integer() || field.data_type().is_decimal();
    match name {
        "min" | "max" => Ok(call.func.clone()),
        "bool_and" | "bool_or" | "every" if !distinct => Ok(call.func.clone()),
        "sum" if is_exact && !distinct => Ok(call.func.clone()),
        "count" if !distinct => match scope.state.aggregate_functions().get("sum") {
            Some(sum) => Ok(sum.clone()),
            None => Err(Refusal::Cannot("there is no sum".to_string())),
        },
        _ => Err(Refusal::Cannot(format!("values of {name} cannot be merged"))),
    }
}

impl Merge<'_> {
    fn groups(&self) -> usize {
        self.aggregate.group_expr.len()
    }

    /// Names of the columns of the view by which its rows are found.
    pub fn key_columns(&self) -> &[usize] {
        self.columns.get(..self.groups()).unwrap_or_default()
    }

    /// Fails with a refusal where more than additions follow from the changes. `plan`: the query's.
    pub fn additions(&self, plan: &LogicalPlan, changed: &Changed) -> Result<Option<LogicalPlan>> {
        // What a subquery gives decides groups that nothing is added to, too.
        for node in to_anchor(plan) {
            changed.refuse_subqueries(node)?;
        }
        combined(changed.additions(&self.aggregate.input)?, &self.aggregate.input)
    }

    /// The refresh. `None`: nothing was added. `plan`: the query's.
    pub async fn work(
        &self,
        scope: &Scope,
        plan: &LogicalPlan,
        table: &Table,
        changed: &Changed,
    ) -> Result<Option<Work>> {
        let Some(added) = self.additions(plan, changed)? else { return Ok(None) };
        let node = LogicalPlan::Aggregate(self.aggregate.clone());
        let of_added = node.with_new_exprs(node.expressions(), vec![added])?;
        let of_added = numbered(of_added)?;
        let Some(kept) = Kept::rows_of(scope, &of_added).await? else {
            return Err(Refusal::Cannot("too many groups are touched to be kept track of".to_string()));
        };
        if kept.len() == 0 {
            return Ok(None);
        }
        let rows = over_anchor(plan, self.merged(table, &kept)?)?;
        let note = match kept.len() {
            1 => "added rows were merged into one group".to_string(),
            n => format!("added rows were merged into {n} groups"),
        };
        let replaced = Some(Replaced { keys: kept, columns: self.key_columns().to_vec() });
        Ok(Some(Work { mode: "merge", note, rows, replaced }))
    }

    /// The values of the view and of the added rows as one for each group, as the aggregate gives them.
    fn merged(&self, table: &Table, kept: &Kept) -> Result<LogicalPlan> {
        let schema = &self.aggregate.schema;
        let fields = table.snapshot.schema.arrow.fields();
        let held = |column: &usize| {
            let name = fields.get(*column).map(|field| field.name().as_str()).unwrap_or_default();
            Expr::Column(Column::new(Some(VIEW), name))
        };
        let keys: Vec<Expr> = self.key_columns().iter().map(held).collect();
        let view = provider_as_source(Arc::new(LakeTable::new(table.clone())));
        let mut old = LogicalPlanBuilder::scan(VIEW, view, None)?;
        if let Some(predicate) = kept.predicate(&keys)? {
            old = old.filter(predicate)?;
        }
        let old = restricted_to(old.build()?, &keys, kept.relation()?)?;
        let mut values = Vec::with_capacity(self.columns.len());
        for (i, (column, field)) in self.columns.iter().zip(schema.fields()).enumerate() {
            values.push(held(column).cast_to(field.data_type(), old.schema().as_ref())?.alias(key_name(i)));
        }
        let new = numbered(kept.relation()?)?;
        let both = LogicalPlanBuilder::from(old).project(values)?.union(new)?;
        let column = |i: usize| Expr::Column(Column::from_name(key_name(i)));
        let groups: Vec<Expr> = (0..self.groups()).map(column).collect();
        let merge = |(i, function): (usize, &Arc<AggregateUDF>)| {
            let at = self.groups() + i;
            let params = AggregateFunctionParams {
                args: vec![column(at)],
                distinct: false,
                filter: None,
                order_by: Vec::new(),
                null_treatment: None,
            };
            let call = AggregateFunction { func: function.clone(), params };
            Expr::AggregateFunction(call).alias(format!("{}_merged", key_name(at)))
        };
        let merged = both.aggregate(groups, self.functions.iter().enumerate().map(merge))?.build()?;
        let mut named = Vec::with_capacity(self.columns.len());
        for (i, (qualifier, field)) in schema.iter().enumerate() {
            let (from, given) = merged.schema().qualified_field(i);
            let value = Expr::Column(Column::new(from.cloned(), given.name()));
            let value = value.cast_to(field.data_type(), merged.schema().as_ref())?;
            named.push(value.alias_qualified(qualifier.cloned(), field.name()));
        }
        Ok(LogicalPlanBuilder::from(merged).project(named)?.build()?)
    }
}

/// Columns named by their position.
fn numbered(plan: LogicalPlan) -> Result<LogicalPlan> {
    let columns = plan.schema().columns().into_iter().enumerate();
    let named: Vec<Expr> = columns.map(|(i, column)| Expr::Column(column).alias(key_name(i))).collect();
    Ok(LogicalPlanBuilder::from(plan).project(named)?.build()?)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;

    #[test]
    fn only_the_same_type_holds_a_value() {
        let field = |data_type: DataType| Field::new("x", data_type, true);
        let (int, long) = (field(DataType::Int32), field(DataType::Int64));
        assert!(is_same(&int, &int) && !is_same(&int, &long) && is_key(&int, &long));
        assert!(is_same(&field(DataType::Utf8), &field(DataType::Utf8View)));
        assert!(!is_key(&field(DataType::Float64), &field(DataType::Float64)));
    }
}
