//! COPY … FROM a file, or the files of a glob, on the server or in an object store: one commit.
//!
//! Text and CSV are read as from the client, field by field. JSON and Parquet have names, by which their
//! columns are matched.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::Column;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use datafusion::object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use datafusion::sql::sqlparser::ast::{Ident, ObjectName};
use futures::StreamExt;

use super::super::dml::assign;
use super::super::{CommandTag, CopyIn, Output, not_supported};
use super::from_stdin::{self, CopyFrom, Into};
use crate::error::{Error, Result, SqlState};
use crate::parser::Parsed;
use crate::parser::statement::{CopyFormat, CopyOptions};
use crate::planner::Scope;
use crate::session::Session;
use crate::table_function;

pub async fn execute(
    session: &mut Session,
    name: &ObjectName,
    columns: &[Ident],
    location: &str,
    options: &CopyOptions,
    parsed: &Parsed,
) -> Result<Output> {
    let scope = session.scope().await?;
    let into = Into::find(session, &scope, name, columns, parsed).await?;
    let tag = match options.format {
        CopyFormat::Text | CopyFormat::Csv => {
            let (store, files) = table_function::files(&scope, location).await?;
            let mut copy = from_stdin::begin(scope, into, options);
            match read(&mut copy, store.as_ref(), &files).await {
                Ok(()) => Box::new(copy).finish().await?,
                Err(e) => {
                    Box::new(copy).abort().await;
                    return Err(e);
                }
            }
        }
        CopyFormat::Binary => return Err(not_supported("COPY FROM a file in binary format")),
        CopyFormat::Json => by_name(&scope, into, "read_json", location).await?,
        CopyFormat::Parquet => by_name(&scope, into, "read_parquet", location).await?,
    };
    Ok(Output::Complete(tag))
}

/// Feeds the files, one after the other.
async fn read(copy: &mut CopyFrom, store: &dyn ObjectStore, files: &[ObjectMeta]) -> Result<()> {
    for file in files {
        let failed = |e: datafusion::object_store::Error| {
            let message = format!("could not read file \"{}\"", file.location);
            Error::new(SqlState::IO_ERROR, message).with_detail(e.to_string())
        };
        copy.next_file(file.location.as_ref()).await?;
        let mut pieces = store.get(&file.location).await.map_err(failed)?.into_stream();
        while let Some(piece) = pieces.next().await {
            copy.write(piece.map_err(failed)?).await?;
        }
    }
    Ok(())
}

async fn by_name(scope: &Scope, into: Into, function: &str, location: &str) -> Result<CommandTag> {
    let Into { table, columns } = into;
    let files = table_function::open(scope, function, location).await?;
    check_names(&files, &columns, location)?;
    let plan = LogicalPlanBuilder::scan("copy", provider_as_source(files), None)
        .and_then(|plan| {
            plan.project(columns.iter().map(|name| Expr::Column(Column::new(Some("copy"), name))))
        })
        .and_then(LogicalPlanBuilder::build)
        .map_err(|e| Error::from(&e))?;
    let plan = assign::to_table(scope, &table, plan, &columns)?;
    Ok(CommandTag::Count("COPY", from_stdin::insert_rows(scope, &table, plan).await?))
}

/// Fails with 22P04 unless the files have exactly these columns.
fn check_names(files: &Arc<dyn TableProvider>, columns: &[String], location: &str) -> Result<()> {
    let schema = files.schema();
    let bad = |message: String| {
        let hint = "List the columns of the table that the file has: COPY t (a, b) FROM …";
        Err(Error::new(SqlState::BAD_COPY_FORMAT, message).with_hint(hint))
    };
    if let Some(missing) = columns.iter().find(|name| schema.field_with_name(name).is_err()) {
        return bad(format!("\"{location}\" has no column \"{missing}\""));
    }
    match schema.fields().iter().find(|field| !columns.contains(field.name())) {
        Some(extra) => bad(format!("\"{location}\" has a column \"{}\" that is not copied", extra.name())),
        None => Ok(()),
    }
}
