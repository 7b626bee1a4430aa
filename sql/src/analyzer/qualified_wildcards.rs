//! `t.*` for `schema.t` in FROM without an alias: Postgres calls such a relation `t`, the planner only
//! `schema.t`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Ident, ObjectName, Select, SelectItem, SelectItemQualifiedWildcardKind, TableFactor, TableWithJoins,
    VisitorMut,
};

use super::ast::folded;

pub struct QualifiedWildcards;

impl VisitorMut for QualifiedWildcards {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(qualifier), _) =
                item
            else {
                continue;
            };
            if let Some(full) = select.from.iter().find_map(|from| relation_of(from, qualifier)) {
                *qualifier = full.clone();
            }
        }
        ControlFlow::Continue(())
    }
}

/// Name of the relation without alias that ends with `qualifier`.
fn relation_of<'a>(from: &'a TableWithJoins, qualifier: &ObjectName) -> Option<&'a ObjectName> {
    std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)).find_map(|factor| {
        match factor {
            TableFactor::Table { name, alias: None, args: None, .. } => {
                ends_with(name, qualifier).then_some(name)
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                relation_of(table_with_joins, qualifier)
            }
            _ => None,
        }
    })
}

fn ends_with(name: &ObjectName, qualifier: &ObjectName) -> bool {
    let parts = |name: &ObjectName| -> Option<Vec<String>> {
        name.0.iter().map(|part| part.as_ident().map(|ident: &Ident| folded(ident))).collect()
    };
    match (parts(name), parts(qualifier)) {
        (Some(name), Some(qualifier)) => name.len() > qualifier.len() && name.ends_with(&qualifier),
        _ => false,
    }
}
