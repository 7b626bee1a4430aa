//! What a materialized view is built from, and that is built from, in the order of refreshing it.

use std::collections::HashSet;

use auric_catalog::registry::Table;
use futures::future::{BoxFuture, FutureExt};

use crate::error::{Error, Result, SqlState};
use crate::materialize::build::{self, Query};
use crate::materialize::definition::Definition;
use crate::materialize::provenance::Provenance;
use crate::materialize::sources::{Sources, full_name};
use crate::planner::Scope;

/// The view and all materialized views that it reads, directly or through others: each after those that
/// it reads. All other tables are read at one version from now on, as the scope has seen them.
pub async fn order(scope: &Scope, view: &Table) -> Result<Vec<Member>> {
    let mut walk = Walk::new(scope);
    walk.visit(view.clone()).await?;
    let mut members = Vec::with_capacity(walk.found.len());
    for found in walk.found {
        members.push(found.member().await);
    }
    Ok(members)
}

/// A view, and by their full names the materialized views that it reads.
pub struct Member {
    pub view: Table,
    pub upstream: Vec<String>,
    /// It is what a refresh would make of it, as long as none of those becomes another one.
    pub is_current: bool,
}

/// The materialized views that a query reads, directly or through others.
pub async fn upstream(scope: &Scope, sources: &Sources) -> Result<Vec<Table>> {
    let mut walk = Walk::new(scope);
    for view in sources.materialized_views() {
        walk.visit(view.clone()).await?;
    }
    Ok(walk.found.into_iter().map(|found| found.view).collect())
}

struct Walk {
    scope: Scope,
    path: Vec<String>,
    found: Vec<Found>,
    /// Full names of what was found.
    names: HashSet<String>,
}

struct Found {
    view: Table,
    definition: Definition,
    sources: Sources,
}

impl Found {
    async fn member(self) -> Member {
        // What cannot be read is told by the refresh, for that view alone.
        let is_current = self.is_current().await.unwrap_or(false);
        let upstream = self.sources.materialized_views().map(full_name).collect();
        Member { view: self.view, upstream, is_current }
    }

    async fn is_current(&self) -> Result<bool> {
        let (before, versions) = (Provenance::of(&self.view).await?, self.sources.versions().await?);
        let reason = build::reason(&self.definition, before.as_ref(), (&self.sources, &versions));
        Ok(reason.is_none())
    }
}

impl Walk {
    fn new(scope: &Scope) -> Self {
        // Also of views that have no rows yet.
        let scope = Scope { reads_unpopulated: true, ..scope.clone() };
        Self { scope, path: Vec::new(), found: Vec::new(), names: HashSet::new() }
    }

    fn visit(&mut self, view: Table) -> BoxFuture<'_, Result<()>> {
        async move {
            let name = full_name(&view);
            if self.path.contains(&name) {
                let message = format!("materialized view \"{}\" is built from itself", view.ident);
                return Err(Error::new(SqlState::INVALID_OBJECT_DEFINITION, message)
                    .with_detail(format!("{} → {name}", self.path.join(" → "))));
            }
            if self.names.contains(&name) {
                return Ok(());
            }
            let Some(definition) = Definition::of(&view.snapshot.properties)? else { return Ok(()) };
            self.path.push(name);
            let query = Query::of(&self.scope, &view, &definition).await?;
            let sources = build::sources(&query, &view, &definition).await?;
            for upstream in sources.materialized_views() {
                self.visit(upstream.clone()).await?;
            }
            self.names.extend(self.path.pop());
            self.found.push(Found { view, definition, sources });
            Ok(())
        }
        .boxed()
    }
}
