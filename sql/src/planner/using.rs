//! `RIGHT JOIN … USING (a)` and `FULL JOIN … USING (a)`: the column that they have in common is that of the
//! right side, or of the side that has a row (manual 7.2.1.1). DataFusion takes the left side's, which is null
//! where only the right side has a row.
//!
//! Such a chain of joins is written with ON; what means the common columns is written out. Of other chains
//! only `*` is: DataFusion takes the common columns of whichever side has the lesser name there, and puts them
//! where that has them, not first.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, ExcludeSelectItem, Expr, Ident, JoinConstraint, JoinOperator, ObjectName, OrderByKind,
    Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableFactor, TableWithJoins,
    VisitorMut, WildcardAdditionalOptions,
};

use super::names::folded;
use crate::analyzer::{call, change_own_exprs};
use crate::error::{Error, Result};
use crate::parser::walk::WalkMut;
use crate::statement::not_supported;

/// Rewrites all of a query. Fails with 0A000 where it is not clear which table has a column.
pub(super) fn rewrite(query: &mut Query) -> Result<()> {
    let mut using = Using { failed: None };
    let _ = query.walk_mut(&mut using);
    using.failed.map_or(Ok(()), Err)
}

struct Using {
    failed: Option<Error>,
}

impl VisitorMut for Using {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let SetExpr::Select(select) = query.body.as_mut() else { return ControlFlow::Continue(()) };
        let merged = match of_select(select) {
            Ok(Some(merged)) => merged,
            Ok(None) => return ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                return ControlFlow::Break(());
            }
        };
        if let Some(OrderByKind::Expressions(keys)) = query.order_by.as_mut().map(|order| &mut order.kind) {
            for key in keys {
                // A name alone is that of a result column, if there is one.
                if !matches!(&key.expr, Expr::Identifier(name) if is_selected(select, name)) {
                    change_own_exprs(&mut key.expr, |expr| merged.write_out(expr));
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// The sides of UNION and its like.
    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        match of_select(select) {
            Ok(_) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }
}

fn is_selected(select: &Select, name: &Ident) -> bool {
    select.projection.iter().any(|item| match item {
        SelectItem::ExprWithAlias { alias, .. } => folded(alias) == folded(name),
        _ => false,
    })
}

/// `None`: there is no such join.
fn of_select(select: &mut Select) -> Result<Option<Merged>> {
    let mut joins = select.from.iter_mut().flat_map(|from| &mut from.joins);
    if !joins.any(|join| takes_the_right_side(&mut join.join_operator)) {
        return write_out_star(select).map(|()| None);
    }
    let mut merged = Merged::default();
    let mut columns = Some(Vec::new());
    for from in &mut select.from {
        let chain = Chain::of(from)?;
        merged.columns.extend(chain.merged.columns);
        columns = columns.zip(chain.columns).map(|(mut all, more)| {
            all.extend(more);
            all
        });
    }
    let mut projection = Vec::with_capacity(select.projection.len());
    for item in std::mem::take(&mut select.projection) {
        match item {
            SelectItem::Wildcard(_) => {
                let columns = columns.as_ref().ok_or_else(|| not_supported("* over these joins"))?;
                projection.extend(columns.iter().map(|column| column.item(&merged)));
            }
            SelectItem::UnnamedExpr(Expr::Identifier(name)) if merged.value(&name).is_some() => {
                projection.push(merged.item(&name));
            }
            item => projection.push(item),
        }
    }
    select.projection = projection;
    change_own_exprs(select, |expr| merged.write_out(expr));
    Ok(Some(merged))
}

/// `*` over joins that all have a row of the left side.
fn write_out_star(select: &mut Select) -> Result<()> {
    let is_star = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_));
    let mut from = select.from.clone();
    let kinds = from.iter_mut().flat_map(|from| &mut from.joins).filter_map(|join| {
        let left = matches!(join.join_operator, JoinOperator::Left(_) | JoinOperator::LeftOuter(_));
        constraint(&mut join.join_operator).map(|(_, constraint)| (left, constraint.clone()))
    });
    let kinds: Vec<_> = kinds.collect();
    if !select.projection.iter().any(is_star) {
        return Ok(());
    }
    if kinds.iter().any(|(left, constraint)| *left && *constraint == JoinConstraint::Natural) {
        return Err(not_supported("* over NATURAL LEFT JOIN").with_hint("Name the columns, or use USING."));
    }
    if !kinds.iter().any(|(_, constraint)| matches!(constraint, JoinConstraint::Using(_))) {
        return Ok(());
    }
    // Where it is not clear which tables have the columns, they stay what they are.
    let Ok(chains) = from.iter_mut().map(Chain::of).collect::<Result<Vec<_>>>() else { return Ok(()) };
    let items = chains.iter().map(|chain| {
        let columns = chain.columns.as_ref()?.iter();
        Some(columns.map(|column| column.item(&chain.merged)).collect::<Vec<_>>())
    });
    let Some(items) = items.collect::<Option<Vec<_>>>() else { return Ok(()) };
    let items = items.concat();
    let projection = std::mem::take(&mut select.projection).into_iter();
    select.projection =
        projection.flat_map(|item| if is_star(&item) { items.clone() } else { vec![item] }).collect();
    Ok(())
}

/// What the common columns are, by name.
#[derive(Default)]
struct Merged {
    columns: Vec<(String, Expr)>,
}

impl Merged {
    fn value(&self, name: &Ident) -> Option<&Expr> {
        let name = folded(name);
        self.columns.iter().find(|(column, _)| *column == name).map(|(_, value)| value)
    }

    fn set(&mut self, name: &Ident, value: Expr) {
        let name = folded(name);
        self.columns.retain(|(column, _)| *column != name);
        self.columns.push((name, value));
    }

    /// The value in place of the name.
    fn write_out(&self, expr: &mut Expr) {
        if let Expr::Identifier(name) = expr
            && let Some(value) = self.value(name)
        {
            *expr = Expr::Nested(Box::new(value.clone()));
        }
    }

    fn item(&self, name: &Ident) -> SelectItem {
        let expr = self.value(name).cloned().unwrap_or_else(|| Expr::Identifier(name.clone()));
        SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', folded(name)) }
    }
}

/// Which side of a join always has a row.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    /// Or both have.
    Left,
    Right,
    Either,
}

fn constraint(join: &mut JoinOperator) -> Option<(Side, &mut JoinConstraint)> {
    match join {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint) => Some((Side::Left, constraint)),
        JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => {
            Some((Side::Right, constraint))
        }
        JoinOperator::FullOuter(constraint) => Some((Side::Either, constraint)),
        _ => None,
    }
}

fn takes_the_right_side(join: &mut JoinOperator) -> bool {
    constraint(join).is_some_and(|(side, constraint)| {
        side != Side::Left && matches!(constraint, JoinConstraint::Using(_) | JoinConstraint::Natural)
    })
}

/// A FROM item.
#[derive(Default)]
struct Chain {
    merged: Merged,
    /// What `*` gives; `None`: it is not clear which table has a common column.
    columns: Option<Vec<Columns>>,
    /// What the tables are called.
    tables: Vec<ObjectName>,
}

/// Some of what `*` gives.
enum Columns {
    Merged(Ident),
    Table { name: ObjectName, without: Vec<Ident> },
}

impl Columns {
    fn item(&self, merged: &Merged) -> SelectItem {
        match self {
            Self::Merged(column) => merged.item(column),
            Self::Table { name, without } => {
                let without = without.iter().map(|column| ObjectName::from(vec![column.clone()])).collect();
                let options = WildcardAdditionalOptions {
                    opt_exclude: Some(ExcludeSelectItem::Multiple(without)),
                    ..WildcardAdditionalOptions::default()
                };
                let table = SelectItemQualifiedWildcardKind::ObjectName(name.clone());
                SelectItem::QualifiedWildcard(table, options)
            }
        }
    }
}

impl Chain {
    fn of(from: &mut TableWithJoins) -> Result<Self> {
        let mut chain = Self { columns: Some(Vec::new()), ..Self::default() };
        chain.add(&from.relation, Vec::new())?;
        for join in &mut from.joins {
            let common = match constraint(&mut join.join_operator) {
                Some((side, constraint)) => chain.join(&join.relation, side, constraint)?,
                None => Vec::new(),
            };
            chain.add(&join.relation, common)?;
        }
        Ok(chain)
    }

    fn add(&mut self, factor: &TableFactor, without: Vec<Ident>) -> Result<()> {
        let name = name_of(factor)?;
        if let Some(columns) = &mut self.columns {
            columns.push(Columns::Table { name: name.clone(), without });
        }
        self.tables.push(name);
        Ok(())
    }

    /// Writes USING as ON where it is clear which columns it means. Returns the common columns.
    fn join(
        &mut self,
        right: &TableFactor,
        side: Side,
        constraint: &mut JoinConstraint,
    ) -> Result<Vec<Ident>> {
        let names = match constraint {
            JoinConstraint::Using(names) => names,
            JoinConstraint::Natural => return Err(not_supported("NATURAL beside RIGHT or FULL JOIN")),
            JoinConstraint::On(_) | JoinConstraint::None => return Ok(Vec::new()),
        };
        let right = name_of(right)?;
        let common = names.iter().filter_map(|name| name.0.last()?.as_ident().cloned());
        let common: Vec<Ident> = common.collect();
        let mut equal: Vec<Expr> = Vec::new();
        for column in &common {
            let left = self.left(column);
            let right = column_of(&right, column);
            let value = match (side, &left) {
                (Side::Left, left) => left.clone(),
                (Side::Right, _) => Some(right.clone()),
                (Side::Either, Some(left)) => Some(call("coalesce", vec![left.clone(), right.clone()])),
                (Side::Either, None) => {
                    let what = format!("FULL JOIN USING (\"{}\") after several tables", column.value);
                    return Err(not_supported(what));
                }
            };
            equal.extend(left.map(|left| Expr::BinaryOp {
                left: Box::new(left),
                op: BinaryOperator::Eq,
                right: Box::new(right),
            }));
            self.show(column);
            if let Some(value) = value {
                self.merged.set(column, value);
            }
        }
        if let Some(columns) = &mut self.columns {
            columns.splice(0..0, common.iter().cloned().map(Columns::Merged));
        }
        if equal.len() == common.len()
            && let Some(condition) = equal.into_iter().reduce(|left, right| Expr::BinaryOp {
                left: Box::new(left),
                op: BinaryOperator::And,
                right: Box::new(right),
            })
        {
            *constraint = JoinConstraint::On(condition);
        }
        Ok(common)
    }

    /// The column of what is joined so far. `None`: of which table it is, only the planner knows.
    fn left(&self, column: &Ident) -> Option<Expr> {
        let only = match self.tables.as_slice() {
            [only] => Some(column_of(only, column)),
            _ => None,
        };
        self.merged.value(column).cloned().or(only)
    }

    /// The column moves to the front of what `*` gives.
    fn show(&mut self, column: &Ident) {
        let is = |columns: &Columns| matches!(columns, Columns::Merged(c) if folded(c) == folded(column));
        let Some(columns) = &mut self.columns else { return };
        if let Some(at) = columns.iter().position(is) {
            columns.remove(at);
        } else if let [Columns::Table { without, .. }] = columns.as_mut_slice() {
            without.push(column.clone());
        } else if let ([_], Some(Columns::Table { without, .. })) =
            (self.tables.as_slice(), columns.last_mut())
        {
            without.push(column.clone());
        } else {
            self.columns = None;
        }
    }
}

fn column_of(table: &ObjectName, column: &Ident) -> Expr {
    let parts = table.0.iter().filter_map(|part| part.as_ident().cloned());
    Expr::CompoundIdentifier(parts.chain([column.clone()]).collect())
}

/// What the columns of a FROM item are qualified with.
fn name_of(factor: &TableFactor) -> Result<ObjectName> {
    let (name, alias) = match factor {
        TableFactor::Table { name, alias, .. } => (Some(name), alias),
        TableFactor::Derived { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::UNNEST { alias, .. }
        | TableFactor::NestedJoin { alias, .. } => (None, alias),
        _ => (None, &None),
    };
    let alias = alias.as_ref().map(|alias| ObjectName::from(vec![alias.name.clone()]));
    alias.or_else(|| name.cloned()).ok_or_else(|| not_supported("USING in these joins"))
}
