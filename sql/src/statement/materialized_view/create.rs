//! `CREATE [OR REPLACE] MATERIALIZED VIEW`.

use std::sync::Arc;

use auric_catalog::TableIdent;
use auric_catalog::commit;
use auric_catalog::registry::{Catalog, Table};
use auric_catalog::table::{Alteration, Operation, PropertyChange, TableChange, TableDefinition};
use auric_catalog::write::WrittenFiles;

use super::super::ddl::create_table;
use super::super::dml::execute::Attempts;
use super::super::{CommandTag, Output, not_supported};
use super::{cascade, tell};
use crate::error::{Error, Result, SqlState};
use crate::materialize::build::{self, Build, How, Query};
use crate::materialize::definition::{Definition, RefreshPolicy, check_own, is_materialized_view};
use crate::materialize::expectation::{Expectation, OnViolation};
use crate::materialize::incremental;
use crate::materialize::publish::{Kind, lost};
use crate::materialize::sources::Sources;
use crate::parser::Parsed;
use crate::parser::statement::{ActionClause, CreateMaterializedView, ExpectationClause};
use crate::parser::view::relations_of;
use crate::planner::{Scope, missing_parameter};
use crate::session::Session;

const DONE: Output = Output::Complete(CommandTag::Plain("CREATE MATERIALIZED VIEW"));

/// A materialized view as its statement defines it.
pub struct Planned {
    pub catalog: Arc<Catalog>,
    pub ident: TableIdent,
    pub definition: Definition,
    pub query: Query,
    /// What it takes the place of.
    pub existing: Option<Table>,
}

pub async fn execute(
    session: &mut Session,
    create: &CreateMaterializedView,
    parsed: &Parsed,
) -> Result<Output> {
    session.check_writable("CREATE MATERIALIZED VIEW")?;
    let mut attempts = Attempts::once();
    loop {
        if let Some(outcome) = attempts.last(attempt(session, create, parsed, &attempts).await) {
            return outcome;
        }
    }
}

async fn attempt(
    session: &mut Session,
    create: &CreateMaterializedView,
    parsed: &Parsed,
    attempts: &Attempts,
) -> Result<Output> {
    let scope = attempts.adapt(session.scope().await?);
    let (catalog, ident) = scope.new_table(&create.table.name)?;
    let existing = existing(&scope, &catalog, &ident).await?;
    if existing != Existing::None && create.table.if_not_exists {
        let message = format!("relation \"{}\" already exists, skipping", ident.name);
        session.notice("NOTICE", SqlState::DUPLICATE_TABLE, message);
        return Ok(DONE);
    }
    let planned = plan(&scope, create, parsed).await?;
    let in_block = session.block.is_some();
    if in_block && planned.existing.is_some() {
        return Err(not_supported(
            "CREATE OR REPLACE of a materialized view that exists in a transaction block",
        )
        .with_hint("Use it outside of a block, or DROP and CREATE."));
    }
    let (table, kind) = stage(&scope, create, &planned).await?;
    let sources = sources(&scope, &planned, &table).await?;
    let unset = match &planned.existing {
        Some(old) => lost(old.snapshot.properties.keys(), &planned.definition.properties()),
        None => Vec::new(),
    };
    if create.table.with_no_data {
        empty(&scope, &table, kind, unset).await?;
        return Ok(DONE);
    }
    let build = Build {
        scope: &scope,
        in_block,
        table: &table,
        kind,
        definition: &planned.definition,
        query: &planned.query,
        reason: "it was defined".to_string(),
        how: How::Full,
        versions: sources.versions().await?,
        unset,
    };
    let built = build.run().await?;
    tell(&mut session.notices, &table, &built.outcomes);
    Ok(Output::Complete(CommandTag::Count("SELECT", built.rows)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Existing {
    None,
    Table,
    View,
}

async fn existing(scope: &Scope, catalog: &Arc<Catalog>, ident: &TableIdent) -> Result<Existing> {
    let is_table = match scope.tables.get(catalog, ident).await {
        Ok(found) => found.is_some(),
        // What cannot be read exists all the same.
        Err(_) => catalog.backend().table(ident).await?.is_some(),
    };
    Ok(match (is_table, is_table || catalog.view(ident).await?.is_some()) {
        (true, _) => Existing::Table,
        (false, true) => Existing::View,
        (false, false) => Existing::None,
    })
}

/// Plans what the statement defines. Nothing is written.
pub async fn plan(scope: &Scope, create: &CreateMaterializedView, parsed: &Parsed) -> Result<Planned> {
    let table = &create.table;
    let (catalog, ident) = scope.new_table(&table.name)?;
    if catalog.is_temporary() {
        return Err(not_supported("a temporary materialized view"));
    }
    check_own(table.properties.iter().map(|(key, _)| key))?;
    if let Some(schedule) = &create.schedule {
        schedule.check()?;
    }
    let existing = match existing(scope, &catalog, &ident).await? {
        Existing::None => None,
        _ if !table.or_replace => return Err(auric_catalog::Error::TableExists(ident).into()),
        Existing::Table => Some(scope.table(&table.name, parsed).await?),
        Existing::View => return Err(not_a_materialized_view(&ident)),
    };
    if let Some(old) = existing.as_ref().filter(|old| !is_materialized_view(&old.snapshot.properties)) {
        return Err(not_a_materialized_view(&old.ident));
    }
    let Some(query) = &table.query else {
        return Err(Error::new(SqlState::INTERNAL_ERROR, "a materialized view without a query"));
    };
    for name in relations_of(query) {
        if scope.is_temporary(&name).await? {
            return Err(not_supported("a materialized view of a temporary table"));
        }
    }
    let mut inner = build::inside(scope, catalog.name(), &scope.info.search_path);
    inner.reads_unpopulated |= table.with_no_data;
    let planned = inner.plan_query(query, &[], parsed).await?;
    if !planned.parameters.is_empty() {
        return Err(missing_parameter(1));
    }
    let definition = Definition {
        query: create.text.clone(),
        search_path: scope.info.search_path.clone(),
        query_columns: planned.columns.iter().map(|column| column.name.clone()).collect(),
        expectations: expectations(scope, &catalog, &create.expectations)?,
        schedule: create.schedule.clone(),
        policy: create.policy,
        retries: create.retries,
        suspended: false,
        populated: !table.with_no_data,
    };
    let query = Query { scope: inner, parsed: parsed.clone(), planned };
    Ok(Planned { catalog, ident, definition, query, existing })
}

/// What the view would be built from. Fails as its refresh would, but for what its rows are.
pub async fn sources(scope: &Scope, planned: &Planned, table: &Table) -> Result<Sources> {
    let sources = build::sources(&planned.query, table, &planned.definition).await?;
    if let Some(old) = &planned.existing {
        refuse_cycle(scope, old, &sources).await?;
    }
    if planned.definition.policy == RefreshPolicy::IncrementalStrict {
        let ways = incremental::ways(&planned.query, table, &planned.definition, &sources)?;
        if let Err(why) = ways {
            return Err(never_incremental(&why));
        }
    }
    Ok(sources)
}

/// The error for a view that is to be refreshed incrementally only, and never can be.
pub fn never_incremental(why: &str) -> Error {
    not_supported("REFRESH POLICY INCREMENTAL STRICT of this query")
        .with_detail(format!("All of its rows would have to be computed: {why}."))
        .with_hint("Use REFRESH POLICY AUTO.")
}

/// A view that takes the place of one that it is built from would be built from itself.
async fn refuse_cycle(scope: &Scope, old: &Table, sources: &Sources) -> Result<()> {
    for view in cascade::upstream(scope, sources).await? {
        if view.ident == old.ident && view.catalog.name() == old.catalog.name() {
            let message = format!("materialized view \"{}\" would be built from itself", old.ident);
            return Err(Error::new(SqlState::INVALID_OBJECT_DEFINITION, message));
        }
    }
    Ok(())
}

fn not_a_materialized_view(ident: &TableIdent) -> Error {
    Error::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{}\" is not a materialized view", ident.name))
}

fn expectations(
    scope: &Scope,
    catalog: &Arc<Catalog>,
    clauses: &[ExpectationClause],
) -> Result<Vec<Expectation>> {
    let expectation = |clause: &ExpectationClause| {
        let action = match &clause.action {
            ActionClause::FailUpdate => OnViolation::FailUpdate,
            ActionClause::DropRow => OnViolation::DropRow,
            ActionClause::Warn => OnViolation::Warn,
            ActionClause::QuarantineInto(name) => {
                let (other, ident) = scope.new_table(name)?;
                if other.name() != catalog.name() {
                    return Err(not_supported("a quarantine table in another database"));
                }
                OnViolation::QuarantineInto(ident)
            }
        };
        Ok(Expectation { name: clause.name.clone(), condition: clause.condition.clone(), action })
    };
    clauses.iter().map(expectation).collect()
}

/// The table that the view is to be kept in.
async fn stage(scope: &Scope, create: &CreateMaterializedView, planned: &Planned) -> Result<(Table, Kind)> {
    let definition = table_definition(scope, create, planned)?;
    match &planned.existing {
        Some(old) => Ok((planned.catalog.stage_replacement(old, &definition)?, Kind::Replace)),
        None => {
            let location = create.table.location.as_deref();
            Ok((planned.catalog.stage_table(&planned.ident, &definition, location).await?, Kind::Create))
        }
    }
}

pub fn table_definition(
    scope: &Scope,
    create: &CreateMaterializedView,
    planned: &Planned,
) -> Result<TableDefinition> {
    let mut table = create.table.clone();
    table.properties.extend(planned.definition.properties());
    if table.columns.len() > planned.query.planned.columns.len() {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "too many column names were specified"));
    }
    let format = match &planned.existing {
        Some(old) => old.snapshot.format,
        None => create_table::default_format(scope, &planned.catalog),
    };
    create_table::definition(scope, &planned.ident.name, &table, Some(&planned.query.planned), format)
}

/// Makes the view without running its query.
async fn empty(scope: &Scope, table: &Table, kind: Kind, unset: Vec<String>) -> Result<()> {
    if kind != Kind::Replace {
        return scope.tables.create(table).await;
    }
    let mut change = TableChange::new(Operation::Replace, Vec::new());
    change.replacement = Some(table.snapshot.clone());
    if !unset.is_empty() {
        let unset = PropertyChange { unset, ..PropertyChange::default() };
        change.alterations.push(Alteration::Properties(unset));
    }
    let files = WrittenFiles::new(table.catalog.storage().clone());
    commit::commit_written(table, change, files, None).await?;
    Ok(())
}
