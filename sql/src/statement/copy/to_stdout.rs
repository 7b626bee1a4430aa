//! COPY … TO STDOUT.

use std::sync::Arc;

use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, col};

use super::super::dml::insert;
use super::super::{Output, OutputColumn, join_memory};
use super::lines::CopyLines;
use crate::error::{Error, Result};
use crate::parser::Parsed;
use crate::parser::statement::{CopyFormat, CopyOptions, CopySource};
use crate::session::Session;

pub async fn execute(
    session: &mut Session,
    source: &CopySource,
    options: &CopyOptions,
    parsed: &Parsed,
) -> Result<Output> {
    let scope = session.scope().await?;
    let (plan, columns) = match source {
        CopySource::Query(query) => {
            let planned = scope.plan_query(query, &[], parsed).await?;
            if !planned.parameters.is_empty() {
                return Err(super::not_supported("a parameter in COPY"));
            }
            (planned.plan, planned.columns)
        }
        CopySource::Table { name, columns } => {
            let table = scope.table(name, parsed).await?;
            let mut names = insert::explicit_columns(&table, columns, parsed)?;
            if names.is_empty() {
                names =
                    table.snapshot.schema.arrow.fields().iter().map(|field| field.name().clone()).collect();
            }
            let arrow = &table.snapshot.schema.arrow;
            let fields = names.iter().filter_map(|name| arrow.field_with_name(name).ok());
            (
                scan(table.provider(), &names)?,
                Arc::new(fields.map(|field| OutputColumn::of(field.name(), field)).collect()),
            )
        }
    };
    let state = scope.state_for(&plan).await?;
    let plan = state.optimize(&plan).map_err(|e| Error::from(&e))?;
    let stream = join_memory::start(&scope, &state, plan).await?;
    Ok(match options.format {
        CopyFormat::Binary => Output::CopyOutBinary { columns, stream },
        CopyFormat::Json | CopyFormat::Parquet => return Err(super::files_only()),
        CopyFormat::Text | CopyFormat::Csv => {
            let names = columns.iter().map(|column| column.name.clone()).collect();
            Output::CopyOut { columns, lines: CopyLines::new(options.clone(), names), stream }
        }
    })
}

fn scan(provider: Arc<dyn datafusion::catalog::TableProvider>, names: &[String]) -> Result<LogicalPlan> {
    let columns = names.iter().map(|name| {
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        col(quoted)
    });
    LogicalPlanBuilder::scan("copied", provider_as_source(provider), None)
        .and_then(|builder| builder.project(columns))
        .and_then(LogicalPlanBuilder::build)
        .map_err(|e| Error::from(&e))
}
