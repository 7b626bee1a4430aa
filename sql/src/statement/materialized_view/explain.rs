//! `EXPLAIN CREATE MATERIALIZED VIEW`: which refresh it will get, and why not a better one.

use auric_catalog::registry::Table;

use crate::error::Result;
use crate::materialize::build;
use crate::materialize::definition::RefreshPolicy;
use crate::materialize::incremental;
use crate::materialize::sources::{Sources, full_name};
use crate::parser::Parsed;
use crate::parser::statement::CreateMaterializedView;
use crate::planner::Scope;

use super::create::{self, Planned};

/// Which refresh it will get, and why not a better one.
fn refresh(planned: &Planned, table: &Table, sources: &Sources) -> Result<Vec<String>> {
    let policy = planned.definition.policy;
    let of_policy = format!("  Policy: {}", policy.words());
    if policy == RefreshPolicy::Full {
        return Ok(vec!["Refresh: FULL".to_string(), of_policy]);
    }
    Ok(match incremental::ways(&planned.query, table, &planned.definition, sources)? {
        Err(why) => vec!["Refresh: FULL".to_string(), of_policy, format!("  Not incremental: {why}")],
        Ok(ways) => {
            let mut lines = vec!["Refresh: INCREMENTAL".to_string(), of_policy];
            lines.extend(ways.iter().map(|way| format!("  Changes of {}: {}", way.table, way.words())));
            lines
        }
    })
}

/// The lines of the answer. Fails as the statement itself would, but for what it would write.
pub async fn lines(scope: &Scope, create: &CreateMaterializedView, parsed: &Parsed) -> Result<Vec<String>> {
    let planned = create::plan(scope, create, parsed).await?;
    let definition = create::table_definition(scope, create, &planned)?;
    let table = match &planned.existing {
        Some(old) => planned.catalog.stage_replacement(old, &definition)?,
        None => planned.catalog.stage_table(&planned.ident, &definition, None).await?,
    };
    let sources = create::sources(scope, &planned, &table).await?;
    let mut lines = vec![format!("Materialized View: {} ({})", planned.ident, definition.format)];
    lines.extend(refresh(&planned, &table, &sources)?);
    match &sources.unstable {
        Some(unstable) => {
            lines.push(format!("  Never up to date: the same tables may give other rows, as {unstable}"));
        }
        None => lines.push("  Up to date as long as no table has changed".to_string()),
    }
    for source in &sources.tables {
        let properties = &source.snapshot.properties;
        let kind = match crate::materialize::definition::is_materialized_view(properties) {
            true => "Materialized View",
            false => "Table",
        };
        lines.push(format!("Reads: {kind} {} ({})", full_name(source), source.snapshot.format));
    }
    match &planned.definition.schedule {
        Some(schedule) => lines.push(format!("Schedule: {schedule}")),
        None => lines.push("Schedule: none, refreshed by REFRESH MATERIALIZED VIEW".to_string()),
    }
    for expectation in &planned.definition.expectations {
        let over = build::over(&planned.query, &table, expectation)?;
        lines.push(format!("Expectation: {} over {over}, {}", expectation.name, expectation.action));
    }
    Ok(lines)
}
