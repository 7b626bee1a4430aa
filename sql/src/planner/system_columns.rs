//! System columns of tables: `ctid`, `tableoid`, `xmin`, `xmax`, `cmin`, `cmax`.
//!
//! A row of a lakehouse table has no address that stays, and no transaction. Its system columns are those of
//! a row of a foreign table of Postgres: they exist, and all but `tableoid` are the same for every row. So
//! they are constants in place of names, found by the scopes that names are looked up in. A real column
//! of the name, which tables of other engines may have, comes before.
//!
//! What changes rows cannot tell them apart by these: UPDATE, DELETE and MERGE refuse them.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use auric_catalog::registry::Table;
use auric_catalog::scan::LakeTable;
use datafusion::common::{DFSchema, TableReference};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::TableSource;
use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Ident, JoinOperator, ObjectName, OrderByKind, Query, Select, SelectItem,
    SetExpr, TableFactor, TableWithJoins, Visitor, VisitorMut, With,
};

use super::Relations;
use super::names::{folded, of_expr};
use super::parts::ROW;
use super::relations::reference;
use crate::analyzer::{call, change_own_exprs, number, string};
use crate::error::{Error, Result, SqlState};
use crate::parser::walk::{Walk, WalkMut};

const NAMES: [&str; 6] = ["tableoid", "xmax", "cmax", "xmin", "cmin", "ctid"];

/// Before the name of a key that is an output column's, while names are replaced.
const OUTPUT: &str = "\u{1}output ";

/// The row of a statement that changes rows.
#[derive(Clone, Copy)]
pub(super) struct Changed<'a> {
    /// The columns that expressions may use.
    pub row: &'a DFSchema,
    /// The target and what its columns are qualified with. `None`: a row need not be of it.
    pub target: Option<(&'a Table, &'a TableReference)>,
    /// The expressions tell of rows, and do not choose them.
    pub returning: bool,
}

/// Fails with 42701 for a name that no new column can have.
pub fn refuse_name(column: &str) -> Result<()> {
    if !NAMES.contains(&column) {
        return Ok(());
    }
    let message = format!("column name \"{column}\" conflicts with a system column name");
    Err(Error::new(SqlState::DUPLICATE_COLUMN, message))
}

/// Fails with 0A000 for a system column that a value is assigned to.
pub fn refuse_assignment(column: &str) -> Result<()> {
    if !NAMES.contains(&column) {
        return Ok(());
    }
    let message = format!("cannot assign to system column \"{column}\"");
    Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message))
}

/// Puts constants in place of the system columns of a query. Fails with 42702 for a name of several columns,
/// 0A000 for one that would be null in some rows of an outer join or chooses rows to change.
pub(super) fn rewrite(query: &mut Query, relations: &Relations, changed: Option<Changed>) -> Result<()> {
    let mut mentioned = Mentioned::default();
    let _ = query.walk(&mut mentioned);
    if !mentioned.any {
        return Ok(());
    }
    let mut replace =
        Replace { relations, common: mentioned.common, changed, scopes: Vec::new(), with: Vec::new() };
    match query.walk_mut(&mut replace) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// A name that may be that of a system column, and what qualifies it.
fn named(expr: &Expr) -> Option<(&'static str, &[Ident])> {
    let (column, qualifier) = match expr {
        Expr::Identifier(column) => (column, [].as_slice()),
        Expr::CompoundIdentifier(parts) => parts.split_last()?,
        _ => return None,
    };
    let column = folded(column);
    NAMES.into_iter().find(|name| *name == column).map(|name| (name, qualifier))
}

#[derive(Default)]
struct Mentioned {
    /// Columns of common table expressions, where they are told.
    common: HashMap<String, Option<Vec<String>>>,
    any: bool,
}

impl Visitor for Mentioned {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for table in query.with.iter().flat_map(|with| &with.cte_tables) {
            let columns = if table.alias.columns.is_empty() { output(&table.query) } else { None };
            self.common.insert(folded(&table.alias.name), columns);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        self.any |= named(expr).is_some();
        ControlFlow::Continue(())
    }
}

/// What a name means.
enum Meaning {
    /// Of another scope, or nothing.
    None,
    /// A column as any other.
    Column,
    /// Only the planner can tell.
    Unknown,
    System {
        oid: u32,
        nullable: bool,
    },
    /// A constant of rows that are changed.
    Forbidden,
    Ambiguous,
}

/// An item of a FROM clause.
struct Item<'a> {
    /// What qualifies its columns; empty: nothing does.
    label: Vec<String>,
    columns: Columns<'a>,
}

enum Columns<'a> {
    Lake { oid: u32, schema: SchemaRef, nullable: bool },
    Schema(SchemaRef),
    Names(Vec<String>),
    Changed(Changed<'a>),
    Unknown,
}

impl Item<'_> {
    fn is_called(&self, qualifier: &[Ident]) -> bool {
        let qualifier: Vec<String> = qualifier.iter().map(folded).collect();
        self.label.ends_with(&qualifier) || (!self.label.is_empty() && qualifier.ends_with(&self.label))
    }

    fn meaning(&self, name: &str, qualifier: &[Ident]) -> Meaning {
        let has = |schema: &SchemaRef| schema.column_with_name(name).is_some();
        let column = |is: bool| if is { Meaning::Column } else { Meaning::None };
        match &self.columns {
            Columns::Lake { schema, .. } if has(schema) => Meaning::Column,
            Columns::Lake { oid, nullable, .. } => Meaning::System { oid: *oid, nullable: *nullable },
            Columns::Schema(schema) => column(has(schema)),
            Columns::Names(names) => column(names.iter().any(|column| column == name)),
            Columns::Changed(changed) => changed.meaning(name, qualifier),
            Columns::Unknown => Meaning::Unknown,
        }
    }
}

impl Changed<'_> {
    fn meaning(&self, name: &str, qualifier: &[Ident]) -> Meaning {
        let is_real = self.row.iter().any(|(of, field)| {
            field.name() == name && (qualifier.is_empty() || of.is_some_and(|of| is_called(of, qualifier)))
        });
        if is_real {
            // The target has one of the name in any case.
            let relations: HashSet<_> = self.row.iter().map(|(of, _)| of).collect();
            let is_clear = !qualifier.is_empty() || relations.len() == 1;
            return if is_clear { Meaning::Column } else { Meaning::Ambiguous };
        }
        match self.target {
            Some((table, relation))
                if (name == "tableoid" || self.returning)
                    && (qualifier.is_empty() || is_called(relation, qualifier)) =>
            {
                Meaning::System { oid: oid(table), nullable: false }
            }
            _ => Meaning::Forbidden,
        }
    }
}

fn is_called(relation: &TableReference, qualifier: &[Ident]) -> bool {
    let label = relation.to_vec();
    label.ends_with(&qualifier.iter().map(folded).collect::<Vec<_>>())
}

fn oid(table: &Table) -> u32 {
    table.entry.as_ref().map_or(0, |entry| entry.oid)
}

struct Replace<'a> {
    relations: &'a Relations,
    common: HashMap<String, Option<Vec<String>>>,
    changed: Option<Changed<'a>>,
    /// What the FROM clauses around name, outermost first. `None`: a derived table, which sees nothing of
    /// what is around it.
    scopes: Vec<Option<Vec<Item<'a>>>>,
    /// Common table expressions of the queries around, which are done already.
    with: Vec<Option<With>>,
}

impl<'a> Replace<'a> {
    fn scope_of(&self, body: &SetExpr) -> Option<Vec<Item<'a>>> {
        Some(match body {
            SetExpr::Select(select) => self.items(&select.from),
            _ => Vec::new(),
        })
    }

    fn items(&self, from: &[TableWithJoins]) -> Vec<Item<'a>> {
        let mut all = Vec::new();
        for one in from {
            self.add(one, false, &mut all);
        }
        all
    }

    /// `nullable`: a join around this one may fill its columns with nulls.
    fn add(&self, from: &TableWithJoins, nullable: bool, all: &mut Vec<Item<'a>>) {
        let fills_left = |join: &JoinOperator| {
            matches!(join, JoinOperator::Right(_) | JoinOperator::RightOuter(_) | JoinOperator::FullOuter(_))
        };
        let fills_right = |join: &JoinOperator| {
            matches!(join, JoinOperator::Left(_) | JoinOperator::LeftOuter(_) | JoinOperator::FullOuter(_))
        };
        let later = |after: usize| from.joins.iter().skip(after).any(|join| fills_left(&join.join_operator));
        self.add_factor(&from.relation, nullable || later(0), all);
        for (i, join) in from.joins.iter().enumerate() {
            let nullable = nullable || fills_right(&join.join_operator) || later(i + 1);
            self.add_factor(&join.relation, nullable, all);
        }
    }

    fn add_factor(&self, factor: &TableFactor, nullable: bool, all: &mut Vec<Item<'a>>) {
        let alias = match factor {
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                return self.add(table_with_joins, nullable, all);
            }
            TableFactor::Table { alias, .. }
            | TableFactor::Derived { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::UNNEST { alias, .. }
            | TableFactor::NestedJoin { alias, .. } => alias.as_ref(),
            _ => None,
        };
        let label = match (alias, factor) {
            (Some(alias), _) => vec![folded(&alias.name)],
            (None, TableFactor::Table { name, .. }) => parts(name),
            (None, _) => Vec::new(),
        };
        let columns = match factor {
            TableFactor::Table { name, .. } if parts(name) == [ROW] => match self.changed {
                Some(changed) => Columns::Changed(changed),
                None => Columns::Unknown,
            },
            TableFactor::Table { name, args: None, .. } => match self.common(name) {
                Some(columns) => columns.clone().map_or(Columns::Unknown, Columns::Names),
                None => {
                    self.source(factor, name).map_or(Columns::Unknown, |source| columns(&source, nullable))
                }
            },
            TableFactor::Table { args: Some(_), .. } => match self.relations.special.function(factor) {
                Some(function) => Columns::Schema(function.schema()),
                // The only column has the name of the function, or its alias.
                None => Columns::Names(label.clone()),
            },
            TableFactor::Derived { subquery, .. } => {
                output(subquery).map_or(Columns::Unknown, Columns::Names)
            }
            _ => Columns::Unknown,
        };
        // Names that an alias gives hide those of the relation.
        let given =
            alias.map(|alias| &alias.columns).into_iter().flatten().map(|column| folded(&column.name));
        let given: Vec<String> = given.filter(|name| NAMES.contains(&name.as_str())).collect();
        let columns = if given.is_empty() { columns } else { Columns::Unknown };
        all.push(Item { label, columns });
    }

    /// What is known of the columns of a common table expression.
    fn common(&self, name: &ObjectName) -> Option<&Option<Vec<String>>> {
        match parts(name).as_slice() {
            [name] => self.common.get(name),
            _ => None,
        }
    }

    fn source(&self, factor: &TableFactor, name: &ObjectName) -> Option<Arc<dyn TableSource>> {
        let special = &self.relations.special;
        if let Some(sampled) = special.sample(factor) {
            return sampled.ok().map(|sampled| sampled.source().clone());
        }
        if let Some(version) = special.version(factor) {
            return version.ok();
        }
        self.relations.table(&reference(name).ok()?).ok()
    }

    fn meaning(&self, name: &str, qualifier: &[Ident]) -> Meaning {
        let visible = self.scopes.iter().rev().map_while(Option::as_ref);
        for items in visible {
            let called =
                items.iter().filter(|item| qualifier.is_empty() || item.is_called_or_changed(qualifier));
            let mut meanings =
                called.map(|item| item.meaning(name, qualifier)).filter(|m| !matches!(m, Meaning::None));
            let Some(first) = meanings.next() else {
                // A qualifier of this scope hides the same one further out.
                if !qualifier.is_empty() && items.iter().any(|item| item.is_called(qualifier)) {
                    return Meaning::None;
                }
                continue;
            };
            let others: Vec<Meaning> = meanings.collect();
            let is_unknown = |meaning: &Meaning| matches!(meaning, Meaning::Unknown);
            return match others.is_empty() {
                true => first,
                false if is_unknown(&first) || others.iter().any(is_unknown) => Meaning::Unknown,
                false => Meaning::Ambiguous,
            };
        }
        Meaning::None
    }

    fn constant(&self, expr: &Expr) -> Result<Option<(&'static str, Expr)>> {
        let Some((name, qualifier)) = named(expr) else { return Ok(None) };
        let refused = |message: String, hint: &str| {
            Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message).with_hint(hint))
        };
        match self.meaning(name, qualifier) {
            Meaning::None | Meaning::Column | Meaning::Unknown => Ok(None),
            Meaning::Ambiguous => {
                let message = format!("column reference \"{name}\" is ambiguous");
                Err(Error::new(SqlState::AMBIGUOUS_COLUMN, message))
            }
            Meaning::Forbidden => refused(
                format!("system column \"{name}\" in UPDATE, DELETE and MERGE is not supported"),
                "It is the same for all rows of a table. Use a key, or all columns, to tell rows apart.",
            ),
            Meaning::System { nullable: true, .. } => refused(
                format!("system column \"{name}\" of the nullable side of an outer join is not supported"),
                "Use a column of the table.",
            ),
            Meaning::System { oid, .. } => Ok(Some((name, value(name, oid)))),
        }
    }
}

impl Item<'_> {
    /// What is qualified within the row of a statement is looked for in it.
    fn is_called_or_changed(&self, qualifier: &[Ident]) -> bool {
        match &self.columns {
            Columns::Changed(changed) => {
                changed.row.iter().any(|(of, _)| of.is_some_and(|of| is_called(of, qualifier)))
            }
            _ => self.is_called(qualifier),
        }
    }
}

fn columns<'a>(source: &Arc<dyn TableSource>, nullable: bool) -> Columns<'a> {
    let schema = source.schema();
    let provider = source_as_provider(source).ok();
    match provider.as_ref().and_then(|provider| provider.downcast_ref::<LakeTable>()) {
        Some(table) => Columns::Lake { oid: oid(table.table()), schema, nullable },
        None => Columns::Schema(schema),
    }
}

fn value(name: &str, oid: u32) -> Expr {
    match name {
        // As Postgres has it of rows of foreign tables: no place.
        "ctid" => call("tid", vec![string("(4294967295,0)")]),
        "tableoid" => call("oid", vec![number(oid)]),
        "xmin" | "xmax" => call("xid", vec![number(0)]),
        _ => call("cid", vec![number(0)]),
    }
}

fn parts(name: &ObjectName) -> Vec<String> {
    name.0.iter().filter_map(|part| part.as_ident().map(folded)).collect()
}

/// Names of the columns of a query. `None`: there are wildcards, or it is no SELECT.
fn output(query: &Query) -> Option<Vec<String>> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let name = |item: &SelectItem| match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
        SelectItem::UnnamedExpr(expr) => Some(of_expr(expr)),
        _ => None,
    };
    select.projection.iter().map(name).collect()
}

/// Marks names of output columns, which come before others in the keys of ORDER BY, GROUP BY and DISTINCT ON
/// and, other than in Postgres, in expressions of HAVING and ORDER BY. What the planner will take for one must
/// not be replaced. `select` has the columns; `None`: all names are those of output columns.
fn mark<'e>(select: Option<&[SelectItem]>, keys: impl IntoIterator<Item = &'e mut Expr>) {
    let is_output = |name: &str| {
        let is_given = |item: &SelectItem| matches!(item, SelectItem::ExprWithAlias { alias, .. } if folded(alias) == name);
        NAMES.contains(&name) && select.is_none_or(|items| items.iter().any(is_given))
    };
    for key in keys {
        change_own_exprs(key, |expr| {
            if let Expr::Identifier(ident) = expr
                && is_output(&folded(ident))
            {
                ident.value = format!("{OUTPUT}{}", ident.value);
            }
        });
    }
}

fn unmark<'e>(keys: impl IntoIterator<Item = &'e mut Expr>) {
    for key in keys {
        change_own_exprs(key, |expr| {
            if let Expr::Identifier(ident) = expr
                && let Some(name) = ident.value.strip_prefix(OUTPUT)
            {
                ident.value = name.to_string();
            }
        });
    }
}

/// The keys of ORDER BY.
fn ordered(query: &mut Query) -> impl Iterator<Item = &mut Expr> {
    let keys = match query.order_by.as_mut().map(|order| &mut order.kind) {
        Some(OrderByKind::Expressions(keys)) => keys.as_mut_slice(),
        _ => &mut [],
    };
    keys.iter_mut().map(|key| &mut key.expr)
}

/// Where a SELECT may name its output columns.
fn naming<'s>(
    by: &'s mut GroupByExpr,
    distinct: &'s mut Option<Distinct>,
    filters: [&'s mut Option<Expr>; 2],
) -> impl Iterator<Item = &'s mut Expr> {
    let grouped = match by {
        GroupByExpr::Expressions(keys, _) => keys.as_mut_slice(),
        GroupByExpr::All(_) => &mut [],
    };
    let distinct = match distinct {
        Some(Distinct::On(keys)) => keys.as_mut_slice(),
        _ => &mut [],
    };
    grouped.iter_mut().chain(distinct).chain(filters.into_iter().flatten())
}

impl VisitorMut for Replace<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        // They see nothing of the FROM clause beside them.
        let mut with = query.with.take();
        for table in with.iter_mut().flat_map(|with| &mut with.cte_tables) {
            self.scopes.push(None);
            table.query.walk_mut(self)?;
            self.scopes.pop();
        }
        self.with.push(with);
        self.scopes.push(self.scope_of(&query.body));
        let items = match query.body.as_ref() {
            SetExpr::Select(select) => Some(select.projection.clone()),
            _ => None,
        };
        mark(items.as_deref(), ordered(query));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        self.scopes.pop();
        query.with = self.with.pop().flatten();
        unmark(ordered(query));
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        self.scopes.push(Some(self.items(&select.from)));
        let Select { projection, group_by, distinct, having, qualify, .. } = select;
        mark(Some(projection), naming(group_by, distinct, [having, qualify]));
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) = item
                && let Some((name, expr)) =
                    self.constant(expr).map_or_else(ControlFlow::Break, ControlFlow::Continue)?
            {
                *item = SelectItem::ExprWithAlias { expr, alias: Ident::new(name) };
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        self.scopes.pop();
        let Select { group_by, distinct, having, qualify, .. } = select;
        unmark(naming(group_by, distinct, [having, qualify]));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        if is_closed(factor) {
            self.scopes.push(None);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        if is_closed(factor) {
            self.scopes.pop();
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        match self.constant(expr) {
            Ok(Some((_, constant))) => *expr = constant,
            Ok(None) => {}
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

/// Whether a FROM item sees nothing of what is around it. Those without an alias are of our own making.
fn is_closed(factor: &TableFactor) -> bool {
    matches!(factor, TableFactor::Derived { lateral: false, alias: Some(_), .. })
}
