//! Small changes to a query's syntax tree before it is planned, and checks on it.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, LimitClause, Query, Select, SelectItem, SetExpr, TableFactor, UnaryOperator,
    Value, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::parser::Parser;
use postgres_types::Type;

use super::{names, select_items};
use crate::analyzer::{any_own_expr, casts, change_own_exprs};
use crate::error::{Error, Result, SqlState};
use crate::parser::AuricDialect;
use crate::parser::walk::{Walk, WalkMut};
use crate::types::{self, sql_type};

/// Refuses what the planner would silently ignore.
pub(super) fn refuse_unsupported(query: &Query) -> Result<()> {
    let mut check = Unsupported(None);
    let _ = query.walk(&mut check);
    if let Some(what) = check.0 {
        return Err(crate::statement::not_supported(what));
    }
    let mut check = WindowInCondition(None);
    let _ = query.walk(&mut check);
    match check.0 {
        Some(clause) => {
            let message = format!("window functions are not allowed in {clause}");
            Err(Error::new(SqlState("42P20"), message))
        }
        None => Ok(()),
    }
}

/// Finds the clause with a window function in it that is evaluated before there are windows.
struct WindowInCondition(Option<&'static str>);

impl Visitor for WindowInCondition {
    type Break = ();

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        for (clause, condition) in [("WHERE", &select.selection), ("HAVING", &select.having)] {
            let calls = |expr: &Expr| matches!(expr, Expr::Function(function) if function.over.is_some());
            if condition.as_ref().is_some_and(|condition| any_own_expr(condition, calls)) {
                self.0 = Some(clause);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}

struct Unsupported(Option<&'static str>);

impl Visitor for Unsupported {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let found = match query.body.as_ref() {
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                Some("a data-modifying statement in WITH")
            }
            SetExpr::Select(select) if select.into.is_some() => Some("SELECT INTO"),
            _ => None,
        };
        match found {
            Some(what) => {
                self.0 = Some(what);
                ControlFlow::Break(())
            }
            None => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        // Of tables, samples are planned.
        if let TableFactor::Derived { sample: Some(_), .. }
        | TableFactor::Table { sample: Some(_), args: Some(_), .. } = factor
        {
            self.0 = Some("TABLESAMPLE of anything but tables and materialized views");
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

/// The parameters of a query.
pub(super) struct Placeholders {
    /// Number of the highest; 0: there are none.
    pub highest: usize,
    /// Numbers and types of those that stand where only one type can: `LIMIT $1`, `$1::date`, `NOT $1`.
    pub typed: Vec<(usize, Type)>,
    bad: Option<String>,
}

/// Finds the parameters. Fails with 42P02 for what is no parameter number.
pub(super) fn placeholders(query: &Query) -> Result<Placeholders> {
    let mut placeholders = Placeholders { highest: 0, typed: Vec::new(), bad: None };
    let _ = query.walk(&mut placeholders);
    match &placeholders.bad {
        Some(text) => Err(Error::new(SqlState::UNDEFINED_PARAMETER, format!("there is no parameter {text}"))),
        None => Ok(placeholders),
    }
}

/// Number of a parameter that stands alone.
fn number_of(expr: &Expr) -> Option<usize> {
    let Expr::Value(value) = expr else { return None };
    let Value::Placeholder(text) = &value.value else { return None };
    text.strip_prefix('$')?.parse().ok()
}

/// Most parameters of a statement (the protocol counts them in 16 bits).
const MAX_PARAMETERS: usize = 65_535;

impl Visitor for Placeholders {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let (limit, offset) = match &query.limit_clause {
            Some(LimitClause::LimitOffset { limit, offset, .. }) => {
                (limit.as_ref(), offset.as_ref().map(|offset| &offset.value))
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => (Some(limit), Some(offset)),
            None => (None, None),
        };
        let limits = [limit, offset].into_iter().flatten().filter_map(number_of);
        self.typed.extend(limits.map(|number| (number, Type::INT8)));
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let conditions = [&select.selection, &select.having, &select.qualify];
        let alone = conditions.into_iter().flatten().filter_map(number_of);
        self.typed.extend(alone.map(|number| (number, Type::BOOL)));
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            // A name, which the client sends as text.
            Expr::Cast { data_type, .. } if casts::function_of(data_type) == Some("regclass") => {}
            Expr::Cast { expr: inner, data_type, .. } => {
                // A type that does not exist is an error of the planner's.
                if let (Some(number), Ok(cast)) = (number_of(inner), sql_type::from_sql(data_type)) {
                    let (pg_type, _) = types::pg_type(&sql_type::field_of(data_type, cast));
                    self.typed.push((number, pg_type));
                }
            }
            Expr::UnaryOp { op: UnaryOperator::Not, expr: inner } => {
                self.typed.extend(number_of(inner).map(|number| (number, Type::BOOL)));
            }
            Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
                let alone = [left, right].into_iter().filter_map(|side| number_of(side));
                self.typed.extend(alone.map(|number| (number, Type::BOOL)));
            }
            Expr::Case { operand: None, conditions, .. } => {
                let alone = conditions.iter().filter_map(|when| number_of(&when.condition));
                self.typed.extend(alone.map(|number| (number, Type::BOOL)));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &datafusion::sql::sqlparser::ast::ValueWithSpan) -> ControlFlow<()> {
        if let Value::Placeholder(text) = &value.value {
            match text.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok()) {
                Some(number) if (1..=MAX_PARAMETERS).contains(&number) => {
                    self.highest = self.highest.max(number)
                }
                _ => self.bad = Some(text.clone()),
            }
        }
        ControlFlow::Continue(())
    }
}

/// Lets several columns of a result have the same name, which Postgres allows and DataFusion does
/// not, and gives computed columns of subqueries the names by which Postgres lets them be used.
pub(crate) fn make_names_unique(query: &mut Query) {
    let _ = query.walk_mut(&mut Names { depth: 0 });
}

struct Names {
    depth: usize,
}

impl VisitorMut for Names {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        let nested = self.depth > 1;
        set_expr(&mut query.body, nested);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

fn set_expr(body: &mut SetExpr, nested: bool) {
    match body {
        SetExpr::Select(select) => alias(select, nested),
        // Only the left-most branch names the columns.
        SetExpr::SetOperation { left, right, .. } => {
            set_expr(left, nested);
            set_expr(right, false);
        }
        _ => {}
    }
}

fn alias(select: &mut Select, nested: bool) {
    let wildcard = select
        .projection
        .iter()
        .any(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)));
    let mut taken = HashSet::new();
    let mut computed = HashSet::new();
    for (i, item) in select.projection.iter_mut().enumerate() {
        let (expr, name, named) = match item {
            SelectItem::UnnamedExpr(expr) => {
                let name = names::of_expr(expr);
                (expr.clone(), name, false)
            }
            SelectItem::ExprWithAlias { expr, alias } => (expr.clone(), names::folded(alias), true),
            _ => continue,
        };
        let column = matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
        let duplicate = !taken.insert(name.clone()) || (wildcard && column && !nested && !named);
        let duplicate = duplicate || (!named && !column && !computed.insert(without_types(&expr)));
        if duplicate {
            let unique = Ident::with_quote('"', format!("{name}{SUFFIX}{i}"));
            *item = SelectItem::ExprWithAlias { expr, alias: unique };
        } else if nested && !named && !column && name != names::UNKNOWN {
            *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) };
        }
    }
}

/// An expression as DataFusion names it: without the types that it casts to.
fn without_types(expr: &Expr) -> String {
    let mut expr = expr.clone();
    let _ = expr.walk_mut(&mut WithoutTypes);
    expr.to_string()
}

struct WithoutTypes;

impl VisitorMut for WithoutTypes {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let inner = match expr {
            Expr::Cast { expr: inner, .. } => (**inner).clone(),
            Expr::TypedString(typed) => Expr::Value(typed.value.clone()),
            _ => return ControlFlow::Continue(()),
        };
        *expr = inner;
        ControlFlow::Continue(())
    }
}

/// `EXISTS (q)` as a value, which no physical operator computes, as `(SELECT count(*) FROM (q)) > 0`,
/// and `x IN (q)` likewise. In WHERE they stay: there they become joins.
pub(super) fn count_instead_of_exists(query: &mut Query) {
    let _ = query.walk_mut(&mut ExistsInProjections);
}

struct ExistsInProjections;

impl VisitorMut for ExistsInProjections {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        change_own_exprs(&mut select.projection, |expr| {
            let replaced = match expr {
                Expr::Exists { subquery, negated } => counted(subquery, *negated),
                Expr::InSubquery { expr: item, subquery, negated } => among(item, subquery, *negated),
                _ => None,
            };
            if let Some(replaced) = replaced {
                *expr = replaced;
            }
        });
        ControlFlow::Continue(())
    }
}

/// `item IN (q)`: true if a row is equal; else null if a comparison gave null; else false.
const AMONG: &str = r#"
    CASE WHEN (SELECT count(*) FROM (SELECT 1) AS "in" ("of") WHERE "of" = "item") > 0 THEN TRUE
         WHEN "item" IS NULL AND (SELECT count(*) FROM (SELECT 1) AS "in" ("of")) > 0 THEN NULL
         WHEN (SELECT count(*) FROM (SELECT 1) AS "in" ("of") WHERE "of" IS NULL) > 0 THEN NULL
         ELSE FALSE END"#;

pub(super) fn among(item: &Expr, subquery: &Query, negated: bool) -> Option<Expr> {
    let dialect = AuricDialect::default();
    let mut expr = Parser::new(&dialect).try_with_sql(AMONG).ok()?.parse_expr().ok()?;
    let _ = expr.walk_mut(&mut Fill { item, subquery });
    let expr = Expr::Nested(Box::new(expr));
    Some(match negated {
        true => Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(expr) },
        false => expr,
    })
}

/// Puts the item and the subquery in place of [`AMONG`]'s. The column of the derived table gets a name
/// that hides none of those in the item.
struct Fill<'a> {
    item: &'a Expr,
    subquery: &'a Query,
}

const OF: &str = "\u{1}of";

impl VisitorMut for Fill<'_> {
    type Break = ();

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Derived { subquery, alias, .. } = factor {
            **subquery = self.subquery.clone();
            if select_items::rename(subquery, &[Ident::with_quote('"', OF)]) {
                // Without an alias, which DataFusion could not lift a correlation over.
                *alias = None;
                return ControlFlow::Continue(());
            }
            for column in alias.iter_mut().flat_map(|alias| alias.columns.iter_mut()) {
                column.name = Ident::with_quote('"', OF);
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(ident) if ident.value == "item" => *expr = self.item.clone(),
            Expr::Identifier(ident) if ident.value == "of" => ident.value = OF.to_string(),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn counted(subquery: &Query, negated: bool) -> Option<Expr> {
    let dialect = AuricDialect::default();
    // Without an alias, which DataFusion could not lift a correlation over.
    let template = if negated {
        "(SELECT count(*) FROM (SELECT 1)) = 0"
    } else {
        "(SELECT count(*) FROM (SELECT 1)) > 0"
    };
    let mut expr = Parser::new(&dialect).try_with_sql(template).ok()?.parse_expr().ok()?;
    let Expr::BinaryOp { left, .. } = &mut expr else { return None };
    let Expr::Subquery(outer) = left.as_mut() else { return None };
    let SetExpr::Select(select) = outer.body.as_mut() else { return None };
    let TableFactor::Derived { subquery: inner, .. } = &mut select.from.first_mut()?.relation else {
        return None;
    };
    **inner = subquery.clone();
    Some(Expr::Nested(Box::new(expr)))
}

/// Between a name and the position that makes it unique.
pub(super) const SUFFIX: &str = "\u{1}#";

/// A name that is another one in each place, and shown as the same.
pub fn unique_name(name: &str, place: usize) -> String {
    if place == 0 { name.to_string() } else { format!("{name}{SUFFIX}{place}") }
}
