//! `INSERT … ON CONFLICT`: new rows are looked up in the table by its key; those that are there already
//! are left out or update what is there.
//!
//! Only the declared key of a table can be the conflict target. The statement is a row-level change
//! that has read the keys it looked up, so that two of them cannot insert the same key side by side, and
//! statements with other keys, in other files or partitions, can.

use std::collections::{BTreeSet, HashMap};

use auric_catalog::dml::rows::{ACTION, Assigned, ChangeOptions, FILE, RowAction, RowTarget, SecondChange};
use auric_catalog::registry::Table;
use auric_catalog::table::Operation;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, col, lit, when};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{self, AssignmentTarget, Ident};

use super::super::{not_supported, parameters};
use super::check::{self, Checked, Violation};
use super::execute::change_plan;
use super::insert::{Commit, InsertPlan, InsertRows};
use super::new_rows::{self, NEW_ROWS, TARGET, column, item, quoted};
use super::replace_where::project;
use super::source::undefined_column;
use super::{assign, collected_source, identity, overwrite, returning};
use crate::error::{Error, Result, SqlState};
use crate::parser::Parsed;
use crate::parser::statement::{ConflictAction, OnConflict};
use crate::planner::{Parameter, names};

/// Name of the row that was to be inserted (Postgres manual, INSERT).
const EXCLUDED: &str = "excluded";
/// Columns of the rows on their way: which of the new rows with its key a row is, whether the key is
/// new to the table, whether the condition of DO UPDATE holds.
const ORDINAL: &str = "__auric_ordinal";
const DUPLICATE: &str = "__auric_duplicate";
const IS_NEW: &str = "__auric_is_new";
const APPLIES: &str = "__auric_applies";

pub async fn plan(statement: &InsertRows<'_>, clause: &OnConflict, commit: Commit) -> Result<InsertPlan> {
    let table = &statement.source.table;
    let Some(keys) = keys(table, clause, statement.parsed)? else {
        return statement.append(commit).await;
    };
    let target = RowTarget::new(table.clone());
    let source = match commit {
        Commit::Shown => None,
        Commit::Yes | Commit::DryRun => {
            let rows = &statement.rows;
            Some(collected_source::collect_rows(&statement.scope, table, rows, &keys, TARGET).await?)
        }
    };
    let sides = Sides {
        new: source.as_ref().map_or_else(|| statement.rows.clone(), |source| source.relation.clone()),
        existing: existing(&target, source.as_ref().map_or(&[], |source| &source.pruning))?,
    };
    let (plan, _) = changes(statement, clause, &target, &keys, sides).await?;
    let plan = parameters::substitute(&plan, statement.values.clone())?;
    let own = target.address_columns().len() + 1;
    let rows = Some(col(ACTION).eq(action(RowAction::Update)));
    let updated = Checked { first_column: own, carrier: own, rows };
    let plan = check::enforce(&statement.scope, table, plan, &updated)?;
    let returned = returning::plan(&statement.scope, table, statement.insert, plan, statement.parsed).await?;
    let options = ChangeOptions {
        operation: Operation::Merge,
        second_change: SecondChange::Refuse("ON CONFLICT DO UPDATE"),
        parameters: Default::default(),
        reads_all: overwrite::reads(&statement.rows, table) || overwrite::reads(&returned.plan, table),
        returning: returned.columns.len(),
        assigned: Some(Assigned { columns: updated_columns(table, clause)?, inserts: true }),
        dry_run: commit == Commit::DryRun,
    };
    let plan = change_plan(&statement.scope, &target, &returned.plan, options).await?;
    Ok(InsertPlan { plan, returned: returned.shown(), source })
}

/// What is joined.
struct Sides {
    new: LogicalPlan,
    existing: LogicalPlan,
}

/// The target's rows, but those that the statement has no key of.
fn existing(target: &RowTarget, pruning: &[Expr]) -> Result<LogicalPlan> {
    let scan = LogicalPlanBuilder::scan(TARGET, provider_as_source(target.provider()), None);
    let filtered = match conjunction(pruning.iter().cloned()) {
        Some(predicate) => scan.and_then(|scan| scan.filter(predicate)),
        None => scan,
    };
    filtered.and_then(LogicalPlanBuilder::build).map_err(|e| Error::from(&e))
}

/// Parameters of the whole statement.
pub async fn parameters(statement: &InsertRows<'_>, clause: &OnConflict) -> Result<Vec<Parameter>> {
    let table = &statement.source.table;
    match keys(table, clause, statement.parsed)? {
        None => Ok(statement.source.planned.parameters.clone()),
        Some(keys) => {
            let target = RowTarget::new(table.clone());
            let sides = Sides { new: statement.rows.clone(), existing: existing(&target, &[])? };
            changes(statement, clause, &target, &keys, sides).await.map(|(_, parameters)| parameters)
        }
    }
}

/// The key columns of the table. `None`: it has none, and DO NOTHING names none either.
fn keys(table: &Table, clause: &OnConflict, parsed: &Parsed) -> Result<Option<Vec<String>>> {
    let schema = &table.snapshot.schema;
    let ids = &schema.identifier_field_ids;
    let declared: Option<Vec<String>> =
        ids.iter().map(|id| schema.column_by_id(*id).map(|(_, field)| field.name().clone())).collect();
    let declared = declared.ok_or_else(|| not_supported("a key with a nested column in ON CONFLICT"))?;
    if clause.columns.is_empty() {
        return match &clause.action {
            ConflictAction::Nothing => Ok((!declared.is_empty()).then_some(declared)),
            ConflictAction::Update { .. } => Err(Error::new(
                SqlState::SYNTAX_ERROR,
                "ON CONFLICT DO UPDATE requires inference specification or constraint name",
            )
            .with_hint("For example, ON CONFLICT (column_name).")),
        };
    }
    let named = super::source::explicit_columns(table, &clause.columns, parsed)?;
    let same = named.len() == declared.len() && named.iter().all(|name| declared.contains(name));
    if !same {
        let message = "there is no unique or exclusion constraint matching the ON CONFLICT specification";
        return Err(Error::new(SqlState("42P10"), message)
            .with_hint("The columns must be the key that the table was created with."));
    }
    Ok(Some(declared))
}

/// The rows with their number among those with the same key, from 1.
async fn numbered(statement: &InsertRows<'_>, keys: &[String], rows: LogicalPlan) -> Result<LogicalPlan> {
    let row = Ident::new("n");
    let columns = || {
        let fields = statement.source.table.snapshot.schema.arrow.fields().iter();
        fields.map(|field| item(column(&row, field.name()), field.name()))
    };
    let keys: Vec<String> = keys.iter().map(|key| column(&row, key).to_string()).collect();
    let mut items: Vec<_> = columns().collect();
    items.push(item(new_rows::expression("row_number() OVER ()")?, ORDINAL));
    let inner = new_rows::select(items, &format!("{NEW_ROWS} AS n"), None)?;
    let number =
        format!("row_number() OVER (PARTITION BY {} ORDER BY {})", keys.join(", "), column(&row, ORDINAL));
    let items = columns().chain([item(new_rows::expression(&number)?, DUPLICATE)]).collect();
    let query = new_rows::select(items, &format!("({inner}) AS n"), None)?;
    let named = vec![new_rows::relation(NEW_ROWS, rows)];
    let planned =
        statement.scope.plan_query_over(&query, &statement.types, statement.parsed, None, named).await?;
    Ok(planned.plan)
}

/// Addresses, actions and new values, and the parameters of the statement.
async fn changes(
    statement: &InsertRows<'_>,
    clause: &OnConflict,
    target: &RowTarget,
    keys: &[String],
    sides: Sides,
) -> Result<(LogicalPlan, Vec<Parameter>)> {
    let table = &statement.source.table;
    let existing = new_rows::alias(table, statement.insert);
    let new = quoted(EXCLUDED);
    let fields = table.snapshot.schema.arrow.fields();
    let (assigned, selection) = match &clause.action {
        ConflictAction::Nothing => (HashMap::new(), None),
        ConflictAction::Update { assignments, selection } => {
            (assigned(table, assignments)?, selection.as_deref().cloned())
        }
    };
    let is_new = ast::Expr::IsNull(Box::new(column(&existing, FILE)));
    let mut items = vec![item(is_new.clone(), IS_NEW), item(column(&new, DUPLICATE), DUPLICATE)];
    let addresses = target.address_columns();
    items.extend(addresses.iter().map(|field| item(column(&existing, field.name()), field.name())));
    let applies = match selection {
        Some(condition) => ast::Expr::Nested(Box::new(condition)),
        None => new_rows::expression("TRUE")?,
    };
    items.push(item(applies, APPLIES));
    for (i, field) in fields.iter().enumerate() {
        items.push(item(column(&new, field.name()), format!("__auric_inserted_{i}")));
        let updated = match assigned.get(field.name()) {
            Some(Some(value)) => ast::Expr::Nested(Box::new(value.clone())),
            Some(None) => new_rows::expression("NULL")?,
            None => column(&existing, field.name()),
        };
        items.push(item(updated, format!("__auric_updated_{i}")));
    }
    let on: Vec<String> =
        keys.iter().map(|key| format!("{} = {}", column(&existing, key), column(&new, key))).collect();
    let from = format!("{NEW_ROWS} AS {new} LEFT JOIN {TARGET} AS {existing} ON {}", on.join(" AND "));
    let query = match &clause.action {
        ConflictAction::Update { .. } => new_rows::select(items, &from, None)?,
        ConflictAction::Nothing => {
            let first = new_rows::expression(&format!("{is_new} AND {} = 1", column(&new, DUPLICATE)))?;
            new_rows::select(items, &from, Some(first))?
        }
    };
    let named = vec![
        new_rows::relation(NEW_ROWS, numbered(statement, keys, sides.new).await?),
        new_rows::relation(TARGET, sides.existing),
    ];
    let planned =
        statement.scope.plan_query_over(&query, &statement.types, statement.parsed, None, named).await?;
    // The updated values follow the inserted ones, behind is-new, duplicate, address and applies.
    let first = 2 + addresses.len() + 1 + 1;
    let given: Vec<_> =
        (0..fields.len()).map(|i| assign::Given::of_column(&planned.plan, first + 2 * i)).collect();
    let once = vec![(col(DUPLICATE).eq(lit(1_i64)), Violation::SecondTime("ON CONFLICT DO UPDATE"))];
    let plan = check::require(planned.plan, &Checked::default(), once)?;
    let mut columns: Vec<Expr> = addresses.iter().map(|field| col(field.name())).collect();
    columns.push(
        case(action(RowAction::Insert), when(col(APPLIES), action(RowAction::Update)).end())?.alias(ACTION),
    );
    for (i, (field, given)) in fields.iter().zip(given).enumerate() {
        let updated = col(format!("__auric_updated_{i}"));
        let updated = match assigned.get(field.name()) {
            Some(None) => assign::default_of(&statement.scope, table, field)?,
            _ => {
                let (_, from) = updated.to_field(plan.schema()).map_err(|e| Error::from(&e))?;
                assign::convert(updated, given, (&from, field), plan.schema())?
            }
        };
        let inserted = col(format!("__auric_inserted_{i}"));
        columns.push(case(inserted, Ok(updated))?.alias(field.name()));
    }
    Ok((project(plan, columns)?, planned.parameters))
}

/// `inserted` for a key that is new, `updated` for one that is there.
fn case(inserted: Expr, updated: datafusion::error::Result<Expr>) -> Result<Expr> {
    updated.and_then(|updated| when(col(IS_NEW), inserted).otherwise(updated)).map_err(|e| Error::from(&e))
}

fn action(action: RowAction) -> Expr {
    lit(ScalarValue::Int8(Some(action as i8)))
}

/// Indexes of the columns that DO UPDATE assigns.
fn updated_columns(table: &Table, clause: &OnConflict) -> Result<BTreeSet<usize>> {
    let ConflictAction::Update { assignments, .. } = &clause.action else { return Ok(BTreeSet::new()) };
    let assigned = assigned(table, assignments)?;
    let fields = table.snapshot.schema.arrow.fields().iter().enumerate();
    Ok(fields.filter(|(_, field)| assigned.contains_key(field.name())).map(|(index, _)| index).collect())
}

/// Values by column; `None`: DEFAULT.
fn assigned(table: &Table, assignments: &[ast::Assignment]) -> Result<HashMap<String, Option<ast::Expr>>> {
    let mut result = HashMap::new();
    let mut add = |name: &ast::ObjectName, value: &ast::Expr| {
        let [part] = name.0.as_slice() else {
            return Err(not_supported(format!("assigning to {name}")));
        };
        let name = part.as_ident().map(names::folded).unwrap_or_default();
        if table.snapshot.schema.arrow.index_of(&name).is_err() {
            return Err(undefined_column(table, &name));
        }
        let is_default = matches!(value, ast::Expr::Identifier(ident)
            if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"));
        match identity::of(table, &name) {
            None => {}
            Some(_) if is_default => return Err(identity::next_value_in_update(&name)),
            Some(column) if column.allow_explicit_insert => {}
            Some(_) => return Err(identity::not_updatable(&name)),
        }
        if result.insert(name.clone(), (!is_default).then(|| value.clone())).is_some() {
            let message = format!("multiple assignments to same column \"{name}\"");
            return Err(Error::new(SqlState::SYNTAX_ERROR, message));
        }
        Ok(())
    };
    for assignment in assignments {
        match (&assignment.target, &assignment.value) {
            (AssignmentTarget::ColumnName(name), value) => add(name, value)?,
            (AssignmentTarget::Tuple(names), ast::Expr::Tuple(values)) if names.len() == values.len() => {
                for (name, value) in names.iter().zip(values) {
                    add(name, value)?;
                }
            }
            (AssignmentTarget::Tuple(names), value) => match names.as_slice() {
                [name] => add(name, value)?,
                _ => return Err(not_supported("assigning one row to several columns in ON CONFLICT")),
            },
        }
    }
    Ok(result)
}
