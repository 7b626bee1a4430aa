//! What a query's result can be replaced by, part by part: columns of it such that all rows with some
//! values of these can be computed for themselves.
//!
//! For any columns of any query it is right to replace all rows with some values by the query's rows with
//! those values, if every touched row is among them. Groups, partitions of windows and whole rows are those
//! for which it is cheap, as the restriction can be put below the grouping.

use arrow::datatypes::{DataType, Field};
use auric_catalog::registry::Table;
use auric_catalog::table::Transform;
use datafusion::common::Column;
use datafusion::logical_expr::{Aggregate, Distinct, Expr, ExprSchemable, LogicalPlan, Window};

use super::Refusal;
use crate::types::text_type::TextType;

type Result<T> = std::result::Result<T, Refusal>;

/// What the rows that are replaced together have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Groups,
    /// Of windows, or of the view's table.
    Partitions,
    Rows,
}

/// The columns that a view is replaced by.
#[derive(Debug, Clone)]
pub struct Keyed {
    pub unit: Unit,
    /// Over the rows that [`Self::input`] gives.
    pub exprs: Vec<Expr>,
    /// Positions in the view's table, of the same number.
    pub columns: Vec<usize>,
}

/// The groups that an aggregate's rows are of.
pub fn group_keys(aggregate: &Aggregate) -> Result<Vec<Expr>> {
    if aggregate.group_expr.is_empty() {
        return Err(Refusal::cannot("of an aggregate without GROUP BY"));
    }
    if aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
        return Err(Refusal::cannot("of GROUPING SETS, ROLLUP or CUBE"));
    }
    Ok(aggregate.group_expr.iter().map(|expr| expr.clone().unalias()).collect())
}

/// Expressions by which all windows of a node are partitioned.
pub fn partition_keys(window: &Window) -> Result<Vec<Expr>> {
    let mut common: Option<Vec<Expr>> = None;
    for expr in &window.window_expr {
        let Expr::WindowFunction(function) = expr.clone().unalias() else {
            return Err(Refusal::cannot("of a window function"));
        };
        let own = function.params.partition_by.clone();
        common = Some(match common {
            None => own,
            Some(common) => common.into_iter().filter(|expr| own.contains(expr)).collect(),
        });
    }
    match common {
        Some(keys) if !keys.is_empty() => Ok(keys),
        _ => Err(Refusal::cannot("of a window without PARTITION BY that all have")),
    }
}

/// The node whose rows are computed together, below what only picks and computes from each of its rows.
pub fn anchor(plan: &LogicalPlan) -> &LogicalPlan {
    match (plan, &plan.inputs()[..]) {
        (LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Filter(_), [input]) => {
            anchor(input)
        }
        (LogicalPlan::Sort(sort), [input]) if sort.fetch.is_none() => anchor(input),
        _ => plan,
    }
}

/// The nodes from the top of the plan to its [`anchor`], both included.
pub fn to_anchor(plan: &LogicalPlan) -> Vec<&LogicalPlan> {
    let (mut nodes, mut at) = (vec![plan], plan);
    while !std::ptr::eq(at, anchor(plan))
        && let [below] = at.inputs()[..]
    {
        nodes.push(below);
        at = below;
    }
    nodes
}

/// The last of windows over windows.
fn innermost(window: &Window) -> &Window {
    match window.input.as_ref() {
        LogicalPlan::Window(below) => innermost(below),
        _ => window,
    }
}

/// Position among the rows of [`anchor`] of a column of the plan's result that is passed on as it is.
pub fn origin(plan: &LogicalPlan, index: usize) -> Option<usize> {
    match (plan, &plan.inputs()[..]) {
        (LogicalPlan::Projection(projection), [input]) => {
            match projection.expr.get(index)?.clone().unalias_nested().data {
                Expr::Column(column) => origin(input, input.schema().maybe_index_of_column(&column)?),
                _ => None,
            }
        }
        (LogicalPlan::SubqueryAlias(_) | LogicalPlan::Filter(_), [input]) => origin(input, index),
        (LogicalPlan::Sort(sort), [input]) if sort.fetch.is_none() => origin(input, index),
        _ => Some(index),
    }
}

/// What the rows of `plan` can be replaced by. `positions`: of each column of the view's table, that of
/// the plan's result which it is made from.
pub fn keyed(plan: &LogicalPlan, table: &Table, positions: &[usize]) -> Result<Keyed> {
    let node = anchor(plan);
    let keys: Vec<(Expr, usize)> = match node {
        LogicalPlan::Aggregate(aggregate) => {
            let keys = group_keys(aggregate)?;
            traced(plan, positions, |at| keys.get(at).cloned())
        }
        LogicalPlan::Distinct(Distinct::All(input)) => {
            traced(plan, positions, |at| (at < input.schema().fields().len()).then(|| column(input, at)))
        }
        LogicalPlan::Window(window) => {
            let mut keys = partition_keys(window)?;
            let mut below = window.input.as_ref();
            while let LogicalPlan::Window(inner) = below {
                let own = partition_keys(inner)?;
                keys.retain(|key| own.contains(key));
                below = &inner.input;
            }
            let key = |at: usize| {
                let column = (at < below.schema().fields().len()).then(|| column(below, at))?;
                keys.contains(&column).then_some(column)
            };
            traced(plan, positions, key)
        }
        _ => {
            let all = positions.iter().enumerate().map(|(i, at)| (column(plan, *at), i));
            all.collect()
        }
    };
    let input = computed_together(node).unwrap_or(plan);
    let fits = |(expr, at): &(Expr, usize)| {
        let to = table.snapshot.schema.arrow.fields().get(*at);
        let from = expr.to_field(input.schema().as_ref());
        matches!((from, to), (Ok((_, from)), Some(to)) if is_key(&from, to))
    };
    let keys: Vec<(Expr, usize)> = keys.into_iter().filter(fits).collect();
    let (unit, missing) = match node {
        LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(Distinct::All(_)) => {
            (Unit::Groups, "no group key is among the view's columns, as a type that can be compared")
        }
        LogicalPlan::Window(_) => {
            (Unit::Partitions, "no PARTITION BY column that all windows have is among the view's columns")
        }
        _ => (Unit::Rows, "no column of the view has a type that can be compared"),
    };
    if keys.is_empty() {
        return Err(Refusal::Cannot(missing.to_string()));
    }
    Ok(match unit {
        Unit::Rows => by_partition(keys, table),
        unit => {
            let (exprs, columns) = keys.into_iter().unzip();
            Keyed { unit, exprs, columns }
        }
    })
}

/// Rows as wholes, or all rows of a partition of the view's table.
fn by_partition(keys: Vec<(Expr, usize)>, table: &Table) -> Keyed {
    let snapshot = &table.snapshot;
    let of_field = |i: usize| snapshot.schema.field_ids.get(i).copied();
    let is_partition = |i: usize| {
        snapshot
            .default_spec
            .fields
            .iter()
            .any(|field| field.transform == Transform::Identity && Some(field.source_id) == of_field(i))
    };
    let partitions: Vec<_> = keys.iter().filter(|(_, i)| is_partition(*i)).cloned().collect();
    let (unit, keys) = match partitions.is_empty() {
        true => (Unit::Rows, keys),
        false => (Unit::Partitions, partitions),
    };
    let (exprs, columns) = keys.into_iter().unzip();
    Keyed { unit, exprs, columns }
}

/// Keys that columns of the view hold, with the column that does.
fn traced(
    plan: &LogicalPlan,
    positions: &[usize],
    key: impl Fn(usize) -> Option<Expr>,
) -> Vec<(Expr, usize)> {
    let mut found: Vec<(Expr, usize)> = Vec::new();
    for (i, at) in positions.iter().enumerate() {
        let Some(expr) = origin(plan, *at).and_then(&key) else { continue };
        if !found.iter().any(|(known, _)| *known == expr) {
            found.push((expr, i));
        }
    }
    found
}

fn column(plan: &LogicalPlan, at: usize) -> Expr {
    let (relation, field) = plan.schema().qualified_field(at);
    Expr::Column(Column::new(relation.cloned(), field.name()))
}

/// The rows from which a node makes units; `None`: it makes none.
fn computed_together(node: &LogicalPlan) -> Option<&LogicalPlan> {
    match node {
        LogicalPlan::Aggregate(aggregate) => Some(&aggregate.input),
        LogicalPlan::Distinct(Distinct::All(input)) => Some(input),
        LogicalPlan::Window(window) => Some(&innermost(window).input),
        _ => None,
    }
}

impl Keyed {
    /// The plan whose rows have the keys.
    pub fn input<'a>(&self, plan: &'a LogicalPlan) -> &'a LogicalPlan {
        computed_together(anchor(plan)).unwrap_or(plan)
    }

    /// The nodes between the plan's result and [`Self::input`].
    pub fn above<'a>(&self, plan: &'a LogicalPlan) -> Vec<&'a LogicalPlan> {
        let (mut nodes, mut at) = (Vec::new(), plan);
        while !std::ptr::eq(self.input(plan), at) {
            nodes.push(at);
            match at.inputs()[..] {
                [below] => at = below,
                _ => break,
            }
        }
        nodes
    }

    /// The plan over other rows than those of [`Self::input`].
    pub fn over(&self, plan: &LogicalPlan, input: LogicalPlan) -> Result<LogicalPlan> {
        match (std::ptr::eq(self.input(plan), plan), &plan.inputs()[..]) {
            (true, _) => Ok(input),
            (false, [below]) => {
                let is_input = std::ptr::eq(self.input(plan), *below);
                let below = if is_input { input } else { self.over(below, input)? };
                Ok(plan.with_new_exprs(plan.expressions(), vec![below])?)
            }
            _ => Err(Refusal::cannot("of this query")),
        }
    }
}

/// The plan with another node in the place of [`anchor`], which has its columns.
pub fn over_anchor(plan: &LogicalPlan, node: LogicalPlan) -> Result<LogicalPlan> {
    match (std::ptr::eq(anchor(plan), plan), &plan.inputs()[..]) {
        (true, _) => Ok(node),
        (false, [below]) => Ok(plan.with_new_exprs(plan.expressions(), vec![over_anchor(below, node)?])?),
        _ => Err(Refusal::cannot("of this query")),
    }
}

/// Whether a value is stored as it is.
pub fn is_same(from: &Field, to: &Field) -> bool {
    let (source, target) = (from.data_type(), to.data_type());
    let plain = TextType::of_field(from) == TextType::of_field(to);
    plain && (source == target || (source.is_string() && target.is_string()))
}

/// Whether values can be told apart as groups, and are stored so that they still are.
pub fn is_key(from: &Field, to: &Field) -> bool {
    use DataType::{Boolean, Date32, FixedSizeBinary, LargeUtf8, Time64, Timestamp, Utf8, Utf8View};
    let (source, target) = (from.data_type(), to.data_type());
    let text = |t: &DataType| matches!(t, Utf8 | LargeUtf8 | Utf8View);
    if text(source) && text(target) {
        let (from, to) = (TextType::of_field(from), TextType::of_field(to));
        return from == to && !to.is_some_and(TextType::is_document);
    }
    let widened = source.is_signed_integer()
        && target.is_signed_integer()
        && source.primitive_width() <= target.primitive_width();
    let plain = source.is_integer()
        || source.is_decimal()
        || matches!(source, Boolean | Date32 | Timestamp(..) | Time64(_) | FixedSizeBinary(_));
    plain && (source == target || widened)
}
