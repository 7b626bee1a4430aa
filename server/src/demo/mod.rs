//! `auric demo`: a bronze, silver and gold lakehouse out of TPC-H, with the tasks and materialized views that keep
//! it up to date.
//!
//! Invariant: every step is one commit or does no harm when it is repeated, and a step that was done is
//! passed over. So a second start serves what is there, and an interrupted run goes on where it was.

mod progress;
mod steps;
mod tpch;

use std::sync::Arc;

use auric_catalog::TableIdent;
use auric_catalog::table::TableFormat;
use auric_sql::load::RowSource;
use auric_sql::{ConnectParameters, Engine, Error, Output, Result, SqlState};
use futures::StreamExt;

use self::progress::Progress;
use self::steps::{SCHEMAS, STEPS};
use self::tpch::{Rows, TABLES};
use crate::cli::say;
use crate::config::DEFAULT_CATALOG;
use crate::pgwire::Server;
use crate::runtime::scoped;

/// Makes what is missing of the lakehouse. `scale`: TPC-H scale factor.
pub async fn make(server: &Arc<Server>, scale: f64) -> Result<()> {
    if !(scale > 0.0 && scale <= 1000.0) {
        return Err(Error::new(
            SqlState::INVALID_PARAMETER_VALUE,
            "the scale factor must be above 0, at most 1000",
        ));
    }
    let engine = server.engine.clone();
    // The work is a query's: it belongs on the pool for queries.
    let task = scoped(&server.runtimes.query, "demo", async move { make_all(&engine, scale).await });
    task.await
        .unwrap_or_else(|_| Err(Error::new(SqlState::INTERNAL_ERROR, "the demo's task ended unexpectedly")))
}

async fn make_all(engine: &Arc<Engine>, scale: f64) -> Result<()> {
    let progress = Progress::new();
    for schema in SCHEMAS {
        run(engine, &format!("CREATE SCHEMA IF NOT EXISTS {schema}")).await?;
    }
    for (schema, format) in [("bronze", TableFormat::Iceberg), ("bronze_delta", TableFormat::Delta)] {
        for table in TABLES {
            let ident = TableIdent::new(schema, table.name);
            if engine.has_table(DEFAULT_CATALOG, &ident).await? {
                continue;
            }
            let bar = progress.rows(&ident.to_string(), table.rows(scale));
            let parts = if table.rows(scale) < 100_000 { 1 } else { parallelism() };
            let sources = (1..=parts)
                .map(|part| Arc::new(Rows::new(table, scale, part, parts, bar.clone())) as Arc<dyn RowSource>)
                .collect();
            let definition = table.definition(format);
            let count = engine.create_table_from(DEFAULT_CATALOG, &ident, &definition, sources).await?;
            bar.finish(&format!("{count} rows ({format})"));
        }
    }
    for step in STEPS {
        let (schema, name) = step.done_by;
        if engine.has_table(DEFAULT_CATALOG, &TableIdent::new(schema, name)).await? {
            continue;
        }
        let bar = progress.step(step.name, step.what);
        run(engine, step.sql).await?;
        bar.finish(step.what);
    }
    progress.end();
    Ok(())
}

fn parallelism() -> i32 {
    std::thread::available_parallelism().map_or(1, |n| i32::try_from(n.get()).unwrap_or(1)).min(8)
}

/// Runs a statement for its effect.
async fn run(engine: &Arc<Engine>, text: &str) -> Result<()> {
    let parameters = ConnectParameters {
        user: "auric".into(),
        database: DEFAULT_CATALOG.into(),
        pid: 0,
        settings: vec![("application_name".into(), "auric demo".into())],
    };
    let mut session = engine.connect(parameters)?;
    for parsed in session.parse(text)? {
        let prepared = session.prepare(&parsed, &[]).await?;
        if let Output::Rows(mut rows) = session.execute(&prepared, Vec::new()).await? {
            while let Some(batch) = rows.stream.next().await {
                batch.map_err(Error::from)?;
            }
        }
    }
    Ok(())
}

/// Tells a newcomer what to try.
pub fn print_queries() {
    say("\nTo try:\n");
    for (what, sql) in steps::QUERIES {
        say(&format!("-- {what}\n{sql}\n"));
    }
}
