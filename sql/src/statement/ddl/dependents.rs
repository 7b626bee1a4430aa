//! What else goes when a relation is dropped: the views and materialized views that read it, and those that
//! read these; foreign keys to it.

use std::sync::Arc;

use auric_catalog::TableIdent;
use auric_catalog::registry::Catalog;

use super::foreign_key::{self, Referring};
use crate::error::{Error, Result, SqlState};
use crate::planner::view;
use crate::session::Session;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Table,
    View,
    MaterializedView,
}

/// A relation that can be dropped.
#[derive(Debug, Clone)]
pub struct Relation {
    pub catalog: Arc<Catalog>,
    pub ident: TableIdent,
    kind: Kind,
}

impl PartialEq for Relation {
    fn eq(&self, other: &Self) -> bool {
        self.catalog.name() == other.catalog.name() && self.ident == other.ident
    }
}

impl Relation {
    pub fn table(catalog: Arc<Catalog>, ident: TableIdent) -> Self {
        Self { catalog, ident, kind: Kind::Table }
    }

    pub fn view(catalog: Arc<Catalog>, ident: TableIdent) -> Self {
        Self { catalog, ident, kind: Kind::View }
    }

    pub fn materialized_view(catalog: Arc<Catalog>, ident: TableIdent) -> Self {
        Self { catalog, ident, kind: Kind::MaterializedView }
    }

    /// As messages show it.
    fn shown(&self) -> String {
        let kind = match self.kind {
            Kind::Table => "table",
            Kind::View => "view",
            Kind::MaterializedView => "materialized view",
        };
        format!("{kind} {}", self.ident)
    }

    pub async fn drop(&self) -> Result<()> {
        match self.kind {
            Kind::View => Ok(self.catalog.drop_view(&self.ident).await?),
            Kind::Table | Kind::MaterializedView => Ok(self.catalog.drop_table(&self.ident).await?),
        }
    }
}

/// Views of the same catalogs that read `dropped`, and are not dropped anyway. Those that read others
/// of them come first. Without `cascade`, fails with 2BP01 if there are any, or foreign keys to them.
pub async fn of(dropped: &[Relation], cascade: bool) -> Result<Vec<Relation>> {
    let mut found: Vec<Relation> = Vec::new();
    let mut reasons = Vec::new();
    let mut next = dropped.to_vec();
    while let Some(relation) = next.pop() {
        let contents = relation.catalog.table_summaries().await?;
        let views = view::dependents(&contents, relation.catalog.name(), &relation.ident);
        let views = views.into_iter().map(|ident| Relation::view(relation.catalog.clone(), ident.clone()));
        let materialized = view::materialized_dependents(&contents, relation.catalog.name(), &relation.ident);
        let materialized = materialized
            .into_iter()
            .map(|ident| Relation::materialized_view(relation.catalog.clone(), ident.clone()));
        for dependent in views.chain(materialized) {
            if !found.contains(&dependent) && !dropped.contains(&dependent) {
                reasons.push(format!("{} depends on {}", dependent.shown(), relation.ident));
                next.push(dependent.clone());
                found.insert(0, dependent);
            }
        }
    }
    let keys = foreign_key::referring(dropped).await?;
    reasons.extend(keys.iter().map(Referring::reason));
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
        let message = format!("drop cascades to {}", view.shown());
        session.notice("NOTICE", SqlState::SUCCESSFUL_COMPLETION, message);
    }
    dependents
}
