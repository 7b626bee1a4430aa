//! Names of UPDATE, DELETE and MERGE: the target and its columns, assignments, RETURNING.

use arrow::datatypes::FieldRef;
use auric_catalog::dml::rows::RowTarget;
use auric_catalog::registry::Table;
use datafusion::common::{Column, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{self, Ident, ObjectName, SelectItem, SetExpr, Value};

use super::row_change::{ReturnedColumn, SubqueryRow};
use super::{assign, identity, insert};
use crate::analyzer;
use crate::error::{Error, Result, SqlState};
use crate::parser::Parsed;
use crate::parser::statement::{Assignment, Overriding, Target};
use crate::planner::parts::Parts;
use crate::planner::{Parameter, Scope, names, select_items, system_columns};
use crate::statement::not_supported;

/// The target of a statement.
pub struct BoundTarget<'a> {
    pub scope: &'a Scope,
    pub table: Table,
    pub relation: TableReference,
    /// The columns that expressions may use.
    pub row: LogicalPlan,
    pub source: &'a Parsed,
}

impl<'a> BoundTarget<'a> {
    /// Fails with 42P01, and with 42809 for what is no table.
    pub async fn find(scope: &'a Scope, target: &Target, source: &'a Parsed) -> Result<BoundTarget<'a>> {
        let (table, name) = scope.changeable_table(&target.name, source).await?;
        let relation = match &target.alias {
            Some(alias) => TableReference::bare(names::folded(alias)),
            None => name,
        };
        let row = LogicalPlanBuilder::scan(relation.clone(), provider_as_source(table.provider()), None)
            .and_then(LogicalPlanBuilder::build)
            .map_err(|e| Error::from(&e))?;
        Ok(Self { scope, table, relation, row, source })
    }

    pub fn row_target(&self) -> RowTarget {
        RowTarget::new(self.table.clone())
    }

    pub fn fields(&self) -> &[FieldRef] {
        self.table.snapshot.schema.arrow.fields()
    }

    /// Source and target side by side.
    pub fn with(&self, source: Option<&LogicalPlan>) -> Result<LogicalPlan> {
        let Some(source) = source else { return Ok(self.row.clone()) };
        LogicalPlanBuilder::from(source.clone())
            .cross_join(self.row.clone())
            .and_then(LogicalPlanBuilder::build)
            .map_err(|e| Error::from(&e))
    }

    /// Target and source side by side, in the order of `RETURNING *`.
    pub fn before(&self, source: Option<&LogicalPlan>) -> Result<LogicalPlan> {
        let Some(source) = source else { return Ok(self.row.clone()) };
        LogicalPlanBuilder::from(self.row.clone())
            .cross_join(source.clone())
            .and_then(LogicalPlanBuilder::build)
            .map_err(|e| Error::from(&e))
    }

    /// The column that an assignment names, perhaps by the target's alias or name.
    fn column(&self, name: &ObjectName) -> Result<usize> {
        let idents: Vec<&Ident> = name.0.iter().filter_map(|part| part.as_ident()).collect();
        let position = |ident: &Ident| {
            let name = names::folded(ident);
            self.fields().iter().position(|field| *field.name() == name)
        };
        let (Some(first), Some(last)) = (idents.first(), idents.last()) else {
            return Err(Error::new(SqlState::SYNTAX_ERROR, format!("{name} is no column")));
        };
        let at = |error: Error, ident: &Ident| {
            error.with_position(self.source.position(ident.span.start.line, ident.span.start.column))
        };
        let undefined = |ident: &Ident| {
            let message = format!(
                "column \"{}\" of relation \"{}\" does not exist",
                names::folded(ident),
                self.table.ident.name
            );
            at(Error::new(SqlState::UNDEFINED_COLUMN, message), ident)
        };
        if idents.len() == 1 && position(last).is_none() {
            system_columns::refuse_assignment(&names::folded(last)).map_err(|error| at(error, last))?;
        }
        if idents.len() == 1 {
            return position(last).ok_or_else(|| undefined(last));
        }
        let qualified = names::folded(first) == self.relation.table();
        if qualified && idents.len() == 2 {
            return position(last).ok_or_else(|| undefined(last));
        }
        if qualified || position(first).is_some() {
            let error = not_supported("assignment to a field of a column")
                .with_hint("Assign the whole column, with the other fields as they are.");
            return Err(at(error, first));
        }
        Err(undefined(first))
    }

    /// Columns and values of SET, in order.
    pub fn assigned<'v>(&self, assignments: &'v [Assignment]) -> Result<Vec<Assigned<'v>>> {
        let mut all = Vec::new();
        let mut taken = Vec::new();
        for assignment in assignments {
            if assignment.element {
                return Err(not_supported("assignment to an element of an array"));
            }
            let columns =
                assignment.columns.iter().map(|name| self.column(name)).collect::<Result<Vec<_>>>()?;
            for (column, name) in columns.iter().zip(&assignment.columns) {
                if taken.contains(column) {
                    let name = name.0.last().map(ToString::to_string).unwrap_or_default();
                    let message = format!("multiple assignments to same column \"{name}\"");
                    return Err(Error::new(SqlState::SYNTAX_ERROR, message));
                }
                taken.push(*column);
            }
            match values_of(assignment)? {
                Values::Query(query) => all.push(Assigned::Row { columns, query }),
                Values::Each(values) if values.len() == columns.len() => all.extend(
                    columns.into_iter().zip(values).map(|(column, value)| Assigned::Value { column, value }),
                ),
                Values::Each(_) => return Err(wrong_count()),
            }
        }
        Ok(all)
    }

    /// Types of parameters that are assigned as they are: those of their columns.
    pub fn parameter_types<'v>(
        &self,
        values: impl IntoIterator<Item = (usize, &'v ast::Expr)>,
        given: &mut Vec<Option<Parameter>>,
    ) {
        for (column, value) in values {
            let (Some(number), Some(field)) = (placeholder(value), self.fields().get(column)) else {
                continue;
            };
            if given.len() <= number {
                given.resize(number + 1, None);
            }
            if let Some(slot @ None) = given.get_mut(number) {
                let (pg_type, _) = crate::types::pg_type(field);
                *slot = Some(Parameter { pg_type, data_type: field.data_type().clone() });
            }
        }
    }

    /// Plans values for columns over `row`. Rows that subqueries give are added to `rows`.
    pub fn values(
        &self,
        parts: &Parts,
        row: &LogicalPlan,
        assigned: &[Assigned],
        clause: usize,
        rows: &mut Vec<SubqueryRow>,
    ) -> Result<Vec<(usize, Expr)>> {
        let mut exprs = Vec::new();
        for assigned in assigned {
            match assigned {
                Assigned::Value { value, .. } if is_default(value) => {}
                Assigned::Value { value, .. } => exprs.push((*value).clone()),
                Assigned::Row { columns, query } => exprs.push(struct_of(query, columns.len())?),
            }
        }
        let mut exprs = parts.expressions(row, &exprs)?.into_iter();
        let mut next = || {
            let message = "an assignment has no value";
            exprs.next().ok_or_else(|| Error::new(SqlState::INTERNAL_ERROR, message))
        };
        let mut values = Vec::new();
        for assigned in assigned {
            match assigned {
                Assigned::Value { column, value } if is_default(value) => {
                    let Some(field) = self.fields().get(*column) else { continue };
                    // An INSERT leaves it to the table; an UPDATE was refused.
                    if identity::of(&self.table, field.name()).is_some() {
                        continue;
                    }
                    values.push((*column, assign::default_of(self.scope, &self.table, field)?));
                }
                Assigned::Value { column, .. } => values.push((*column, next()?)),
                Assigned::Row { columns, .. } => {
                    let name = format!("__auric_row_{}", rows.len());
                    rows.push(SubqueryRow { column: name.clone(), clause, value: next()? });
                    let whole = || Expr::Column(Column::new_unqualified(&name));
                    values.extend(
                        columns
                            .iter()
                            .enumerate()
                            .map(|(i, column)| (*column, get_field(whole(), field_name(i)))),
                    );
                }
            }
        }
        Ok(values)
    }

    /// Fails for what an UPDATE cannot make of identity columns: 428C9 for a value of one that takes none.
    pub fn check_updated(&self, assigned: &[Assigned]) -> Result<()> {
        let check = |column: usize, value: Option<&ast::Expr>| {
            let Some(field) = self.fields().get(column) else { return Ok(()) };
            match identity::of(&self.table, field.name()) {
                None => Ok(()),
                Some(_) if value.is_some_and(is_default) => Err(identity::next_value_in_update(field.name())),
                Some(identity) if identity.allow_explicit_insert => Ok(()),
                Some(_) => Err(identity::not_updatable(field.name())),
            }
        };
        for assigned in assigned {
            match assigned {
                Assigned::Value { column, value } => check(*column, Some(value))?,
                Assigned::Row { columns, .. } => {
                    columns.iter().try_for_each(|column| check(*column, None))?;
                }
            }
        }
        Ok(())
    }

    /// Fails with 428C9 for a value that an INSERT gives for an identity column that takes none. Leaves out
    /// those that OVERRIDING USER VALUE ignores.
    pub fn check_inserted<'v>(
        &self,
        assigned: Vec<Assigned<'v>>,
        overriding: Option<Overriding>,
    ) -> Result<Vec<Assigned<'v>>> {
        let mut kept = Vec::with_capacity(assigned.len());
        for assigned in assigned {
            if let Assigned::Value { column, value } = &assigned
                && !is_default(value)
                && let Some(field) = self.fields().get(*column)
                && let Some(identity) = identity::of(&self.table, field.name())
            {
                match overriding {
                    Some(Overriding::System) => {}
                    Some(Overriding::User) => continue,
                    None if identity.allow_explicit_insert => {}
                    None => return Err(identity::not_insertable(field.name())),
                }
            }
            kept.push(assigned);
        }
        Ok(kept)
    }

    /// Columns of a list without names are all, from the first.
    pub fn insert_columns(&self, columns: &[Ident], values: usize) -> Result<Vec<usize>> {
        let named = insert::explicit_columns(&self.table, columns, self.source)?;
        let count = if named.is_empty() { self.fields().len() } else { named.len() };
        if values > count {
            let message = "INSERT has more expressions than target columns";
            return Err(Error::new(SqlState::SYNTAX_ERROR, message));
        }
        if !named.is_empty() && values < count {
            let message = "INSERT has more target columns than expressions";
            return Err(Error::new(SqlState::SYNTAX_ERROR, message));
        }
        if named.is_empty() {
            return Ok((0..values).collect());
        }
        let position = |name: &String| self.fields().iter().position(|field| field.name() == name);
        Ok(named.iter().filter_map(position).collect())
    }
}

/// An assignment whose columns are found.
pub enum Assigned<'a> {
    Value {
        column: usize,
        value: &'a ast::Expr,
    },
    /// `(a, b) = (SELECT …)`.
    Row {
        columns: Vec<usize>,
        query: &'a ast::Query,
    },
}

impl<'a> Assigned<'a> {
    /// The column and value of a plain assignment.
    pub fn plain(&self) -> Option<(usize, &'a ast::Expr)> {
        match self {
            Self::Value { column, value } => Some((*column, value)),
            Self::Row { .. } => None,
        }
    }
}

enum Values<'a> {
    Each(Vec<&'a ast::Expr>),
    Query(&'a ast::Query),
}

fn wrong_count() -> Error {
    Error::new(SqlState::SYNTAX_ERROR, "number of columns does not match number of values")
}

fn values_of(assignment: &Assignment) -> Result<Values<'_>> {
    if !assignment.parenthesized {
        return Ok(Values::Each(vec![&assignment.value]));
    }
    match &assignment.value {
        ast::Expr::Tuple(values) => Ok(Values::Each(values.iter().collect())),
        ast::Expr::Subquery(query) => Ok(Values::Query(query)),
        ast::Expr::Nested(value) if assignment.columns.len() == 1 => Ok(Values::Each(vec![value])),
        ast::Expr::Nested(_) => Err(wrong_count()),
        ast::Expr::Function(function) if crate::parser::row_target::is_row(&function.name) => {
            match &function.args {
                ast::FunctionArguments::List(list) => list
                    .args
                    .iter()
                    .map(|arg| match arg {
                        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Ok(expr),
                        _ => Err(not_a_row()),
                    })
                    .collect::<Result<Vec<_>>>()
                    .map(Values::Each),
                _ => Err(not_a_row()),
            }
        }
        _ => Err(not_a_row()),
    }
}

fn not_a_row() -> Error {
    let message = "source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression";
    Error::new(SqlState::FEATURE_NOT_SUPPORTED, message)
}

/// The word DEFAULT in place of a value.
pub fn is_default(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Identifier(ident)
        if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}

/// Index of a parameter that stands alone.
fn placeholder(expr: &ast::Expr) -> Option<usize> {
    let ast::Expr::Value(value) = expr else { return None };
    let Value::Placeholder(text) = &value.value else { return None };
    let number = text.strip_prefix('$')?.parse::<usize>().ok()?;
    number.checked_sub(1).filter(|index| *index < 65_535)
}

fn field_name(index: usize) -> String {
    format!("c{index}")
}

/// A subquery of several columns as one of a single column, a struct: so it is evaluated once.
fn struct_of(query: &ast::Query, columns: usize) -> Result<ast::Expr> {
    let structure = |values: Vec<ast::Expr>| {
        let arguments = values.into_iter().enumerate();
        let arguments = arguments.flat_map(|(i, value)| [analyzer::string(field_name(i)), value]).collect();
        SelectItem::UnnamedExpr(analyzer::call("named_struct", arguments))
    };
    let mut query = query.clone();
    let plain = !select_items::are_referred_to(&query);
    if let SetExpr::Select(select) = query.body.as_mut()
        && let Some(values) = select_items::exprs(select)
    {
        if values.len() != columns {
            return Err(wrong_count());
        }
        if plain && select.distinct.is_none() && select.having.is_none() {
            select.projection = vec![structure(values)];
            return Ok(ast::Expr::Subquery(Box::new(query)));
        }
    }
    let names: Vec<Ident> = (0..columns).map(|i| Ident::new(field_name(i))).collect();
    let values = names.iter().cloned().map(ast::Expr::Identifier).collect();
    let from = crate::parser::row_target::derived(query, Ident::new("__auric_row"), names);
    let outer = crate::parser::row_target::select(None, vec![structure(values)], vec![from], None);
    Ok(ast::Expr::Subquery(Box::new(outer?)))
}

/// Plans RETURNING over `row`.
pub fn returning(parts: &Parts, row: &LogicalPlan, items: &[SelectItem]) -> Result<Vec<ReturnedColumn>> {
    if items.is_empty() {
        return Ok(Vec::new());
    }
    let columns = parts.items(row, items.to_vec())?;
    Ok(columns.into_iter().map(|(expr, name, field)| ReturnedColumn { expr, name, field }).collect())
}
