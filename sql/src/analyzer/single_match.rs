//! Subqueries of which each row of the outer query matches one row at most, because what they read are system
//! relations whose keys are compared with outer columns or with one another: no row has to be numbered and
//! grouped to find that out.

use std::collections::HashSet;

use datafusion::common::{Column, JoinType};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, Operator, Projection, TableScan};

use crate::pg_catalog::{SystemRelation, keys};

/// Whether no values of the outer columns in `correlation` match two rows of `source`.
pub fn matches_once(source: &LogicalPlan, correlation: &[Expr]) -> bool {
    let Some(mut found) = Found::of(source) else { return false };
    for predicate in correlation {
        found.take(predicate);
    }
    found.fix()
}

/// What is known of the rows of a plan.
#[derive(Default)]
struct Found {
    /// Of each relation, its keys.
    relations: Vec<Vec<Vec<Column>>>,
    /// Columns that are equal to each other.
    equal: Vec<(Column, Column)>,
    /// Columns with one value.
    fixed: HashSet<Column>,
    /// All columns of each relation.
    columns: Vec<Vec<Column>>,
}

impl Found {
    /// `None`: not such a plan.
    fn of(plan: &LogicalPlan) -> Option<Self> {
        match plan {
            LogicalPlan::TableScan(scan) => Self::of_scan(scan),
            LogicalPlan::SubqueryAlias(alias) => {
                let inner = Self::of(&alias.input)?;
                let (from, to) = (alias.input.schema().columns(), alias.schema.columns());
                Some(inner.renamed(&from.into_iter().zip(to).collect::<Vec<_>>()))
            }
            LogicalPlan::Projection(projection) => Self::of_projection(projection),
            LogicalPlan::Filter(filter) => {
                let mut found = Self::of(&filter.input)?;
                found.take(&filter.predicate);
                Some(found)
            }
            LogicalPlan::Join(join) if join.join_type == JoinType::Inner => {
                let (mut found, right) = (Self::of(&join.left)?, Self::of(&join.right)?);
                found.relations.extend(right.relations);
                found.columns.extend(right.columns);
                found.equal.extend(right.equal);
                found.fixed.extend(right.fixed);
                for (left, right) in &join.on {
                    found.take_equal(left, right);
                }
                join.filter.iter().for_each(|filter| found.take(filter));
                Some(found)
            }
            _ => None,
        }
    }

    fn of_scan(scan: &TableScan) -> Option<Self> {
        let provider = source_as_provider(&scan.source).ok()?;
        let shape = provider.downcast_ref::<SystemRelation>()?.shape();
        let column = |name: &str| Column::new(Some(scan.table_name.clone()), name);
        let keys = keys::of(shape).iter().map(|key| key.iter().map(|name| column(name)).collect()).collect();
        let columns = shape.columns.iter().map(|found| column(found.name)).collect();
        Some(Self { relations: vec![keys], columns: vec![columns], ..Self::default() })
    }

    fn of_projection(projection: &Projection) -> Option<Self> {
        let inner = Self::of(&projection.input)?;
        let named = projection.expr.iter().zip(projection.schema.columns());
        let names: Vec<(Column, Column)> = named
            .filter_map(|(expr, to)| match expr.clone().unalias() {
                Expr::Column(from) => Some((from, to)),
                _ => None,
            })
            .collect();
        Some(inner.renamed(&names))
    }

    /// With other names; what has none is not known any more.
    fn renamed(self, names: &[(Column, Column)]) -> Self {
        let new = |old: &Column| names.iter().find(|(from, _)| from == old).map(|(_, to)| to.clone());
        let all = |key: &Vec<Column>| key.iter().map(new).collect::<Option<Vec<_>>>();
        Self {
            relations: self.relations.iter().map(|keys| keys.iter().filter_map(all).collect()).collect(),
            equal: self.equal.iter().filter_map(|(a, b)| Some((new(a)?, new(b)?))).collect(),
            fixed: self.fixed.iter().filter_map(new).collect(),
            columns: self.columns.iter().map(|own| own.iter().filter_map(new).collect()).collect(),
        }
    }

    /// A condition that all rows fulfil.
    fn take(&mut self, condition: &Expr) {
        for part in split_conjunction(condition) {
            if let Expr::BinaryExpr(binary) = part
                && binary.op == Operator::Eq
            {
                self.take_equal(&binary.left, &binary.right);
            }
        }
    }

    fn take_equal(&mut self, left: &Expr, right: &Expr) {
        match (left, right) {
            (Expr::Column(left), Expr::Column(right)) => self.equal.push((left.clone(), right.clone())),
            (Expr::Column(column), value) | (value, Expr::Column(column)) if is_fixed(value) => {
                self.fixed.insert(column.clone());
            }
            _ => {}
        }
    }

    /// Whether all relations have one row at most.
    fn fix(mut self) -> bool {
        loop {
            let before = (self.relations.len(), self.fixed.len());
            for (a, b) in &self.equal {
                if self.fixed.contains(a) || self.fixed.contains(b) {
                    self.fixed.extend([a.clone(), b.clone()]);
                }
            }
            let mut number = 0;
            while let (Some(keys), Some(columns)) = (self.relations.get(number), self.columns.get(number)) {
                if keys.iter().any(|key| key.iter().all(|column| self.fixed.contains(column))) {
                    self.fixed.extend(columns.iter().cloned());
                    self.relations.swap_remove(number);
                    self.columns.swap_remove(number);
                } else {
                    number += 1;
                }
            }
            if self.relations.is_empty() {
                return true;
            }
            if before == (self.relations.len(), self.fixed.len()) {
                return false;
            }
        }
    }
}

/// The same value for one row of the outer query.
fn is_fixed(value: &Expr) -> bool {
    match value {
        Expr::OuterReferenceColumn(..) | Expr::Literal(..) | Expr::Placeholder(_) => true,
        Expr::Cast(cast) => is_fixed(&cast.expr),
        Expr::Alias(alias) => is_fixed(&alias.expr),
        _ => false,
    }
}
