//! What else goes when a relation is dropped: the views that read it, and those that read these.

use std::sync::Arc;

use auric_catalog::TableIdent;
use auric_catalog::registry::Catalog;

use crate::error::{Error, Result, SqlState};
use crate::planner::view;
use crate::session::Session;

/// A table or view.
#[derive(Debug, Clone)]
pub struct Relation {
    pub catalog: Arc<Catalog>,
    pub ident: TableIdent,
}

impl PartialEq for Relation {
    fn eq(&self, other: &Self) -> bool {
        self.catalog.name() == other.catalog.name() && self.ident == other.ident
    }
}

/// Views of the same catalogs that read `dropped`, and are not dropped anyway. Those that read others
/// of them come first. Without `cascade`, fails with 2BP01 if there are any.
pub async fn of(dropped: &[Relation], cascade: bool) -> Result<Vec<Relation>> {
    let mut found: Vec<Relation> = Vec::new();
    let mut reasons = Vec::new();
    let mut next = dropped.to_vec();
    while let Some(relation) = next.pop() {
        let contents = relation.catalog.table_summaries().await?;
        for ident in view::dependents(&contents, relation.catalog.name(), &relation.ident) {
            let dependent = Relation { catalog: relation.catalog.clone(), ident: ident.clone() };
            if !found.contains(&dependent) && !dropped.contains(&dependent) {
                reasons.push(format!("view {ident} depends on {}", relation.ident));
                next.push(dependent.clone());
                found.insert(0, dependent);
            }
        }
    }
    match (dropped.first(), reasons.is_empty() || cascade) {
        (Some(first), false) => {
            let message = format!("cannot drop {} because other objects depend on it", first.ident);
            Err(Error::new(SqlState::DEPENDENT_OBJECTS, message)
                .with_detail(reasons.join("\n"))
                .with_hint("Use DROP ... CASCADE to drop the dependent objects too."))
        }
        _ => Ok(found),
    }
}

/// Says what CASCADE drops, as Postgres does.
pub fn announced(session: &mut Session, dependents: Vec<Relation>) -> Vec<Relation> {
    for view in &dependents {
        let message = format!("drop cascades to view {}", view.ident);
        session.notice("NOTICE", SqlState::SUCCESSFUL_COMPLETION, message);
    }
    dependents
}
