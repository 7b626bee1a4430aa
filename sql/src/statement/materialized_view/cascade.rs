//! What a materialized view is built from, and that is built from, in the order of refreshing it.

use auric_catalog::registry::Table;
use futures::future::{BoxFuture, FutureExt};

use crate::error::{Error, Result, SqlState};
use crate::materialize::build::{self, Query};
use crate::materialize::definition::Definition;
use crate::materialize::sources::{Sources, full_name};
use crate::planner::Scope;

/// The view and all materialized views that it reads, directly or through others: each after those that
/// it reads. All other tables are read at one version from now on, as the scope has seen them.
pub async fn order(scope: &Scope, view: &Table) -> Result<Vec<Member>> {
    let mut walk = Walk { scope: planning(scope), path: Vec::new(), found: Vec::new() };
    walk.visit(view.clone()).await?;
    Ok(walk.found)
}

/// A view, and by their full names the materialized views that it reads.
pub struct Member {
    pub view: Table,
    pub upstream: Vec<String>,
}

/// The materialized views that a query reads, directly or through others.
pub async fn upstream(scope: &Scope, sources: &Sources) -> Result<Vec<Table>> {
    let mut walk = Walk { scope: planning(scope), path: Vec::new(), found: Vec::new() };
    for view in sources.materialized_views() {
        walk.visit(view.clone()).await?;
    }
    Ok(walk.found.into_iter().map(|member| member.view).collect())
}

/// Also of views that have no rows yet.
fn planning(scope: &Scope) -> Scope {
    Scope { reads_unpopulated: true, ..scope.clone() }
}

struct Walk {
    scope: Scope,
    path: Vec<String>,
    found: Vec<Member>,
}

impl Walk {
    fn visit(&mut self, view: Table) -> BoxFuture<'_, Result<()>> {
        async move {
            let name = full_name(&view);
            if self.path.contains(&name) {
                let message = format!("materialized view \"{}\" is built from itself", view.ident);
                return Err(Error::new(SqlState::INVALID_OBJECT_DEFINITION, message)
                    .with_detail(format!("{} → {name}", self.path.join(" → "))));
            }
            if self.found.iter().any(|known| full_name(&known.view) == name) {
                return Ok(());
            }
            let Some(definition) = Definition::of(&view.snapshot.properties)? else { return Ok(()) };
            self.path.push(name);
            let query = Query::of(&self.scope, &view, &definition).await?;
            let sources = build::sources(&query, &view, &definition).await?;
            for upstream in sources.materialized_views() {
                self.visit(upstream.clone()).await?;
            }
            self.path.pop();
            self.found.push(Member { view, upstream: sources.materialized_views().map(full_name).collect() });
            Ok(())
        }
        .boxed()
    }
}
