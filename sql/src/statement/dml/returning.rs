//! `RETURNING` of statements that add rows: expressions over each new row.

use std::sync::Arc;

use auric_catalog::registry::Table;
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{Ident, SelectItem, SelectItemQualifiedWildcardKind};

use super::super::{OutputColumn, not_supported};
use super::new_rows::{self, NEW_ROWS, alias, column, item};
use crate::error::{Error, Result};
use crate::parser::Parsed;
use crate::parser::statement::Insert;
use crate::planner::{Scope, names};

/// Rows with what is returned of them.
pub struct Returned {
    /// The columns given, then those of RETURNING.
    pub plan: LogicalPlan,
    /// Empty: there is no RETURNING.
    pub columns: Arc<Vec<OutputColumn>>,
}

impl Returned {
    /// The columns of the result, if there is one.
    pub fn shown(&self) -> Option<Arc<Vec<OutputColumn>>> {
        (!self.columns.is_empty()).then(|| self.columns.clone())
    }
}

/// Columns of the result of an INSERT, if it has one.
pub async fn columns(
    scope: &Scope,
    table: &Table,
    insert: &Insert,
    parsed: &Parsed,
) -> Result<Option<Vec<OutputColumn>>> {
    let none = Arc::new(EmptyTable::new(table.snapshot.schema.arrow.clone()));
    let rows = LogicalPlanBuilder::scan(NEW_ROWS, provider_as_source(none), None)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|e| Error::from(&e))?;
    let returned = plan(scope, table, insert, rows, parsed).await?;
    Ok(returned.shown().map(|columns| columns.as_ref().clone()))
}

/// `rows` with the columns of RETURNING after their own, among which are the table's by their names.
pub async fn plan(
    scope: &Scope,
    table: &Table,
    insert: &Insert,
    rows: LogicalPlan,
    parsed: &Parsed,
) -> Result<Returned> {
    if insert.returning.is_empty() {
        return Ok(Returned { plan: rows, columns: Arc::default() });
    }
    let alias = alias(table, insert);
    let own: Vec<String> = rows.schema().fields().iter().map(|field| field.name().clone()).collect();
    let wanted = without_wildcards(&insert.returning, table, &alias)?;
    let items =
        own.iter().enumerate().map(|(i, name)| item(column(&alias, name), format!("__auric_new_{i}")));
    let items = items.chain(wanted).collect();
    let query = new_rows::select(items, &format!("{NEW_ROWS} AS {alias}"), None)?;
    let named = vec![new_rows::relation(NEW_ROWS, rows)];
    let planned = scope.plan_query_over(&query, &[], parsed, None, named).await?;
    if !planned.parameters.is_empty() {
        return Err(not_supported("a parameter in RETURNING"));
    }
    let columns = planned.columns.iter().skip(own.len()).cloned().collect();
    Ok(Returned { plan: planned.plan, columns: Arc::new(columns) })
}

/// The items with `*` and `alias.*` spelled out: the relation may have columns that are nobody's
/// business.
fn without_wildcards(items: &[SelectItem], table: &Table, alias: &Ident) -> Result<Vec<SelectItem>> {
    let mut result = Vec::with_capacity(items.len());
    for item in items {
        let all = match item {
            SelectItem::Wildcard(options) => *options == Default::default(),
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                let last = name.0.last().and_then(|part| part.as_ident());
                *options == Default::default()
                    && last.is_some_and(|last| names::folded(last) == names::folded(alias))
            }
            _ => {
                result.push(item.clone());
                continue;
            }
        };
        if !all {
            return Err(not_supported(format!("{item} in RETURNING")));
        }
        let fields = table.snapshot.schema.arrow.fields().iter();
        result.extend(fields.map(|field| new_rows::item(column(alias, field.name()), field.name())));
    }
    Ok(result)
}
