//! A refresh as a whole: the query is planned as its definition says, its rows are written and audited,
//! and then published.

use std::collections::BTreeMap;
use std::sync::Arc;

use auric_catalog::TableIdent;
use auric_catalog::dml::insert;
use auric_catalog::dml::overwrite::{self, OverwriteOptions, Replaced};
use auric_catalog::dml::publish::Publish;
use auric_catalog::registry::Table;
use auric_catalog::table::{Operation, PendingChange, TableChange};
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::provider_as_source;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::physical_plan::ExecutionPlan;
use futures::StreamExt;
use futures::future::try_join_all;

use super::audit::{Audit, AuditExec};
use super::definition::Definition;
use super::expectation::{Expectation, OnViolation, Outcome};
use super::hash;
use super::incremental::{self, Work};
use super::provenance::{Provenance, outcomes_json};
use super::publish::{Capture, Kind, Publication, Written, publish};
use super::quarantine::{self, Quarantine, Run};
use super::running::Running;
use super::sources::{SourceVersion, Sources, full_name};
use super::view_rows::{column_names, rows_of, with_verdicts};
use super::whole_result::{self, RowCounts, WholeResult};
use crate::error::{Error, ErrorObject, Result, SqlState};
use crate::parser::{self, Parsed, Statement};
use crate::planner::{PlannedQuery, Scope, missing_parameter};
use crate::session::carried::Carried;
use crate::statement::{new_rows, rows};

/// The scope that a view's query is planned and run in: the same for every session.
pub fn inside(scope: &Scope, catalog: &str, search_path: &[String]) -> Scope {
    let mut info = scope.info.as_ref().clone();
    info.database = catalog.to_string();
    info.search_path = search_path.to_vec();
    info.temporary = None;
    info.settings = Arc::default();
    let info = Arc::new(info);
    let mut state = scope.state.as_ref().clone();
    let options = state.config_mut().options_mut();
    options.execution.time_zone = Some("+00:00".into());
    info.carry(options);
    // Functions are given the options that the execution properties hold.
    let start = state.execution_props().query_execution_start_time;
    state.mark_start_execution();
    state.execution_props_mut().query_execution_start_time = start;
    Scope { info, state: Arc::new(state), ..scope.clone() }
}

/// A view's query, planned at one version of each table.
pub struct Query {
    /// Inside of the view.
    pub scope: Scope,
    pub parsed: Parsed,
    pub planned: PlannedQuery,
}

impl Query {
    /// The query of a view that exists. Fails as planning it does; positions are not those of the
    /// statement.
    pub async fn of(scope: &Scope, table: &Table, definition: &Definition) -> Result<Self> {
        let scope = inside(scope, table.catalog.name(), &definition.search_path);
        let corrupt = || {
            let message = format!("materialized view \"{}\" cannot be read", table.ident);
            Error::new(SqlState::DATA_CORRUPTED, message).with_detail("Its text is not one query.")
        };
        let parsed = <[_; 1]>::try_from(parser::parse(&definition.query)?).map_err(|_| corrupt())?;
        let [parsed] = parsed;
        let Statement::Query(query) = parsed.statement.as_ref() else { return Err(corrupt()) };
        let planned = scope.plan_query(query, &[], &parsed).await;
        let planned = planned.map_err(|e| Error { position: None, ..e })?;
        if !planned.parameters.is_empty() {
            return Err(missing_parameter(1));
        }
        Ok(Self { scope, parsed, planned })
    }
}

/// Why a view is to be refreshed. `None`: it is what it would become.
pub fn reason(
    definition: &Definition,
    before: Option<&Provenance>,
    (sources, versions): (&Sources, &BTreeMap<String, SourceVersion>),
) -> Option<String> {
    if !definition.populated {
        return Some("it was not populated".to_string());
    }
    let Some(before) = before else { return Some("its rows were changed by others".to_string()) };
    if before.definition != definition.hash() {
        return Some("its definition has changed".to_string());
    }
    if let Some(unstable) = &sources.unstable {
        return Some(format!("the same tables may give other rows: {unstable}"));
    }
    if let (Some(before), Some(now)) = (&before.plan, &sources.meaning)
        && before != now
    {
        return Some(
            "what its query means has changed: a view, columns of a table, or the release".to_string(),
        );
    }
    let changed = |(name, version): &(&String, &SourceVersion)| {
        version.via.is_none() && before.sources.get(*name) != Some(*version)
    };
    let changed: Vec<&str> = versions.iter().filter(changed).map(|(name, _)| name.as_str()).collect();
    match changed.is_empty() && super::sources::reads_the_same(&before.sources, versions) {
        true => None,
        false => Some(format!("changed: {}", changed.join(", "))),
    }
}

/// A run that is to be made.
pub struct Build<'a> {
    /// The session's.
    pub scope: &'a Scope,
    pub in_block: bool,
    /// Staged, or at the version whose rows it replaces.
    pub table: &'a Table,
    pub kind: Kind,
    pub definition: &'a Definition,
    pub query: &'a Query,
    pub reason: String,
    pub how: How,
    pub versions: BTreeMap<String, SourceVersion>,
    /// Properties that a replaced view loses.
    pub unset: Vec<String>,
}

/// Which rows a run computes.
#[derive(Debug)]
pub enum How {
    /// All.
    Full,
    /// What changes have touched, of a view whose rows are overwritten.
    Incremental(Box<Work>),
}

impl How {
    fn mode(&self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Incremental(work) => work.mode,
        }
    }
}

/// What a run has published.
#[derive(Debug)]
pub struct Built {
    pub rows: u64,
    pub outcomes: Vec<Outcome>,
}

/// A run that has published nothing.
#[derive(Debug)]
pub struct Failed {
    pub error: Error,
    /// How those expectations fared that all rows were held against before.
    pub outcomes: Box<[Outcome]>,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, outcomes: Box::default() }
    }
}

impl From<auric_catalog::Error> for Failed {
    fn from(error: auric_catalog::Error) -> Self {
        Error::from(error).into()
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

/// What is written and not published.
struct Audited {
    written: Option<Written>,
    quarantines: Vec<Quarantine>,
    outcomes: Vec<Outcome>,
}

impl Build<'_> {
    /// Writes, audits, publishes. Fails with 23514 for rows that fail the update, 40001 if the view has
    /// moved meanwhile; nothing is published then.
    pub async fn run(self) -> std::result::Result<Built, Failed> {
        self.table.check_writable(match self.kind {
            Kind::Create | Kind::Replace => Operation::Append,
            Kind::Overwrite => Operation::Overwrite,
        })?;
        let started = self.scope.engine.clock().now();
        let run = Run { id: self.run_id(), time: started };
        let audit = Arc::new(self.audit()?);
        let running = Running {
            catalog: self.table.catalog.name().to_string(),
            ident: self.table.ident.clone(),
            run_id: run.id.clone(),
            mode: self.how.mode(),
            reason: self.reason.clone(),
            started,
            audit: audit.clone(),
        };
        let _running = self.scope.engine.refreshing.begin(running);
        let Audited { written, quarantines, outcomes } = self.audited(&run, &audit).await?;
        let added = written.as_ref().map(|(change, _)| change.added.as_slice()).unwrap_or_default();
        let rows = match (&self.how, &written) {
            // Copied rows are not counted.
            (How::Incremental(_), Some((change, _))) => change.rows.inserted,
            _ => added.iter().map(|file| file.record_count).sum(),
        };
        let elapsed = (self.scope.engine.clock().now() - started).num_milliseconds();
        let provenance = Provenance {
            run_id: run.id.clone(),
            definition: self.definition.hash(),
            sources: self.versions.clone(),
            plan: self.plan_hash()?,
            mode: self.how.mode().to_string(),
            reason: match &self.how {
                How::Full => self.reason.clone(),
                How::Incremental(work) => format!("{}; {}", self.reason, work.note),
            },
            rows: Some(rows),
            bytes: Some(added.iter().map(|file| file.size_bytes).sum()),
            duration_ms: u64::try_from(elapsed).ok(),
            outcomes: outcomes_json(&outcomes),
        };
        let publication = Publication {
            table: self.table,
            kind: self.kind,
            written,
            provenance: &provenance,
            quarantines,
            run: &run,
            unset: self.unset,
        };
        match publish(self.scope, self.in_block, publication).await {
            Ok(()) => Ok(Built { rows, outcomes }),
            Err(error) => Err(Failed { error, outcomes: outcomes.into() }),
        }
    }

    /// `None`: what is read is not committed, so that nobody will know what has changed since.
    fn plan_hash(&self) -> Result<Option<String>> {
        let mut sources = Sources::default();
        sources.read(&self.query.scope, &self.query.planned.plan)?;
        Ok(sources.unstable.is_none().then(|| incremental::plan_hash(self.query)))
    }

    /// The same for a run that is repeated because nobody knows what became of it: of the same query over
    /// the same versions, in the place of the same version, or of none.
    fn run_id(&self) -> String {
        let base = match self.kind {
            // What is staged has another id each time.
            Kind::Create => String::new(),
            Kind::Replace | Kind::Overwrite => SourceVersion::of(self.table).to_json(),
        };
        let versions = self.versions.iter().map(|(name, version)| format!("{name}={}", version.to_json()));
        let mut parts = vec![full_name(self.table), base, self.definition.hash()];
        parts.extend(versions);
        hash::uuid(hash::of(parts.iter().map(String::as_str)))
    }

    /// What is asked of each row.
    fn audit(&self) -> Result<Audit> {
        let (_, by_row) = split(&self.query.scope, &column_names(self.table), self.definition)?;
        let tables = quarantine_tables(&by_row);
        Ok(Audit::new(by_row, tables.into_iter().map(|(_, positions)| positions).collect()))
    }

    async fn audited(&self, run: &Run, audit: &Arc<Audit>) -> std::result::Result<Audited, Failed> {
        let columns = column_names(self.table);
        let (whole, by_row) = split(&self.query.scope, &columns, self.definition)?;
        let tables = quarantine_tables(&by_row);
        let mut quarantines = Vec::with_capacity(tables.len());
        for (ident, _) in &tables {
            let table = quarantine::table(self.scope, self.table, ident).await?;
            quarantines.push(Quarantine { table, capture: Arc::default() });
        }
        let written = self.write(audit, &quarantines, run).await?;
        let mut outcomes: Vec<Outcome> = audit
            .violations()
            .map(|(expectation, violations)| Outcome {
                expectation: expectation.clone(),
                violations,
                checked: audit.rows(),
            })
            .collect();
        let judged: Result<()> = async {
            // Nothing that fails by its rows is worth a look at the whole.
            self.refuse(&outcomes, audit.failing())?;
            for expectation in whole {
                let satisfied = self.whole_result(&expectation, written.as_ref(), &columns).await?;
                outcomes.push(Outcome { expectation, violations: u64::from(!satisfied), checked: 1 });
            }
            self.refuse(&outcomes, None)
        }
        .await;
        match judged {
            Ok(()) => Ok(Audited { written, quarantines, outcomes }),
            Err(error) => Err(Failed { error, outcomes: outcomes.into() }),
        }
    }

    /// Writes the rows, and those that are quarantined beside them.
    async fn write(
        &self,
        audit: &Arc<Audit>,
        quarantines: &[Quarantine],
        run: &Run,
    ) -> Result<Option<Written>> {
        let failed = |e: DataFusionError| Error::from(&e);
        let scope = &self.query.scope;
        let planned = match &self.how {
            How::Full => self.query.planned.clone(),
            How::Incremental(work) => PlannedQuery { plan: work.rows.clone(), ..self.query.planned.clone() },
        };
        let new = rows_of(scope, self.table, self.definition, &planned)?;
        let expectations: Vec<&Expectation> =
            audit.violations().map(|(expectation, _)| expectation).collect();
        let input = match expectations.is_empty() {
            true => rows::physical(scope, &new).await?,
            false => {
                let plan = with_verdicts(scope, self.table, new, &expectations, &self.query.parsed).await?;
                rows::physical(scope, &plan).await?
            }
        };
        let mut plans: Vec<Arc<dyn ExecutionPlan>> = Vec::with_capacity(quarantines.len() + 1);
        let mut senders = Vec::with_capacity(quarantines.len());
        for quarantine in quarantines {
            let row = &self.table.snapshot.schema.arrow;
            let (sender, plan) = quarantine::plan(self.scope, quarantine, row, run).await?;
            senders.push(sender);
            plans.push(plan);
        }
        let input = Arc::new(AuditExec::new(audit.clone(), input, senders).map_err(failed)?);
        let capture = Arc::new(Capture::default());
        let publish = Publish::Later(capture.clone());
        plans.push(self.writer(input, publish).await?);
        try_join_all(plans.into_iter().map(|plan| drained(scope, plan))).await?;
        Ok(capture.into_written())
    }

    /// The plan that makes rows those of the view's table.
    async fn writer(
        &self,
        input: Arc<dyn ExecutionPlan>,
        publish: Publish,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let failed = |e: DataFusionError| Error::from(&e);
        let scope = &self.query.scope;
        let state = scope.state.as_ref();
        if let How::Incremental(work) = &self.how {
            return match &work.replaced {
                Some(replaced) => incremental::change(scope, self.table, replaced, input, publish).await,
                None => insert::plan_published(self.table, state, input, publish).map_err(failed),
            };
        }
        match self.kind {
            Kind::Create => insert::plan_published(self.table, state, input, publish).map_err(failed),
            Kind::Replace => insert::plan_replacing(self.table, input, publish).map_err(failed),
            Kind::Overwrite => {
                let options = OverwriteOptions { publish, ..OverwriteOptions::default() };
                let all = Replaced::Where(Vec::new());
                Ok(overwrite::plan(self.table, state, input, all, options)?)
            }
        }
    }

    async fn whole_result(
        &self,
        expectation: &Expectation,
        written: Option<&Written>,
        columns: &[String],
    ) -> Result<bool> {
        let all = match &self.how {
            How::Full => None,
            How::Incremental(_) => Some(self.asked(self.table, columns).count().await?),
        };
        let (before, after, result) = match written {
            None => (all.unwrap_or_default(), all.unwrap_or_default(), self.table.clone()),
            Some((change, guard)) => {
                let mut seen = change.clone();
                if self.kind != Kind::Overwrite {
                    seen = TableChange::new(Operation::Create, change.added.clone());
                }
                let pending = PendingChange::new(self.table.snapshot.clone(), seen, guard.clone());
                let result = Table { snapshot: pending.snapshot(), ..self.table.clone() };
                match all {
                    Some(before) => {
                        let after = (before + change.rows.inserted).saturating_sub(change.rows.deleted);
                        (before, after, result)
                    }
                    None => {
                        let after = change.added.iter().map(|file| file.record_count).sum();
                        (change.rows.deleted, after, result)
                    }
                }
            }
        };
        let known = self.kind == Kind::Overwrite && self.definition.populated;
        let counts = RowCounts { before: known.then_some(before), after };
        self.asked(&result, columns).satisfies(expectation, counts).await
    }

    fn asked<'a>(&'a self, rows: &Table, columns: &'a [String]) -> WholeResult<'a> {
        WholeResult {
            scope: &self.query.scope,
            parsed: &self.query.parsed,
            name: &self.table.ident.name,
            columns,
            rows: WholeResult::rows_of(rows),
        }
    }

    /// Fails with 23514 if one of the outcomes fails the update.
    fn refuse(&self, outcomes: &[Outcome], row: Option<String>) -> Result<()> {
        let fails = |o: &&Outcome| o.expectation.action == OnViolation::FailUpdate && o.violations > 0;
        let failed: Vec<&Outcome> = outcomes.iter().filter(fails).collect();
        let Some(first) = failed.first() else { return Ok(()) };
        let told = |o: &Outcome| match o.checked == 1 && is_whole(&self.query.scope, self.table, o) {
            true => format!("\"{}\" by the result as a whole", o.expectation.name),
            false => format!("\"{}\" by {} of {} rows", o.expectation.name, o.violations, o.checked),
        };
        let ident = &self.table.ident;
        let message =
            format!("new rows of materialized view \"{ident}\" violate expectation {}", told(first));
        let object = ErrorObject {
            schema: ident.namespace.clone(),
            table: ident.name.clone(),
            column: None,
            constraint: Some(first.expectation.name.clone()),
        };
        let others = failed.iter().skip(1).map(|outcome| format!("Also violated: {}.", told(outcome)));
        let row = row.map(|row| format!("Failing row contains {row}."));
        let detail: Vec<String> = row.into_iter().chain(others).collect();
        let error = Error::new(SqlState::CHECK_VIOLATION, message).with_object(object);
        Err(match detail.is_empty() {
            true => error,
            false => error.with_detail(detail.join("\n")),
        })
    }
}

fn is_whole(scope: &Scope, table: &Table, outcome: &Outcome) -> bool {
    let condition = whole_result::condition(&outcome.expectation.condition);
    condition.is_ok_and(|condition| whole_result::is_whole(scope, &column_names(table), &condition))
}

/// What an expectation is over, for people.
pub fn over(query: &Query, table: &Table, expectation: &Expectation) -> Result<&'static str> {
    let condition = whole_result::condition(&expectation.condition)?;
    let whole = whole_result::is_whole(&query.scope, &column_names(table), &condition);
    Ok(if whole { "the whole result" } else { "each row" })
}

/// Expectations over the whole result, and those over each row. Fails with 42P16 for an action that the
/// whole cannot have.
fn split(
    scope: &Scope,
    columns: &[String],
    definition: &Definition,
) -> Result<(Vec<Expectation>, Vec<Expectation>)> {
    let (mut whole, mut by_row) = (Vec::new(), Vec::new());
    for expectation in &definition.expectations {
        let condition = whole_result::condition(&expectation.condition)?;
        if !whole_result::is_whole(scope, columns, &condition) {
            by_row.push(expectation.clone());
            continue;
        }
        if !matches!(expectation.action, OnViolation::FailUpdate | OnViolation::Warn) {
            let message = format!(
                "expectation \"{}\" is over the whole result and cannot {} on violation",
                expectation.name, expectation.action
            );
            return Err(Error::new(SqlState::INVALID_TABLE_DEFINITION, message)
                .with_hint("Use FAIL UPDATE or WARN, or a condition without aggregates."));
        }
        whole.push(expectation.clone());
    }
    Ok((whole, by_row))
}

/// Quarantine tables, each with the positions of its expectations.
fn quarantine_tables(expectations: &[Expectation]) -> Vec<(TableIdent, Vec<usize>)> {
    let mut tables: Vec<(TableIdent, Vec<usize>)> = Vec::new();
    for (i, expectation) in expectations.iter().enumerate() {
        let OnViolation::QuarantineInto(ident) = &expectation.action else { continue };
        match tables.iter_mut().find(|(known, _)| known == ident) {
            Some((_, positions)) => positions.push(i),
            None => tables.push((ident.clone(), vec![i])),
        }
    }
    tables
}

/// What the rows of a view follow from: what its query reads, and what its expectations read beside. Fails
/// as planning these does; nothing is run.
pub async fn sources(query: &Query, table: &Table, definition: &Definition) -> Result<Sources> {
    let columns = column_names(table);
    let (whole, by_row) = split(&query.scope, &columns, definition)?;
    let new = rows_of(&query.scope, table, definition, &query.planned)?;
    let by_row: Vec<&Expectation> = by_row.iter().collect();
    let mut sources = Sources::default();
    sources.read(&query.scope, &new)?;
    if !by_row.is_empty() {
        let none = provider_as_source(Arc::new(EmptyTable::new(table.snapshot.schema.arrow.clone())));
        let none = LogicalPlanBuilder::scan(new_rows::NEW_ROWS, none, None);
        let none = none.and_then(LogicalPlanBuilder::build).map_err(|e| Error::from(&e))?;
        let verdicts = with_verdicts(&query.scope, table, none, &by_row, &query.parsed).await?;
        let mut asked = Sources::default();
        asked.read(&query.scope, &verdicts)?;
        sources.read(&query.scope, &verdicts)?;
        sources.of_row_expectations = asked.tables;
    }
    let asked = WholeResult {
        scope: &query.scope,
        parsed: &query.parsed,
        name: &table.ident.name,
        columns: &columns,
        rows: provider_as_source(Arc::new(EmptyTable::new(table.snapshot.schema.arrow.clone()))),
    };
    for expectation in &whole {
        let planned = asked.plan(expectation, RowCounts { before: None, after: 0 }).await?;
        sources.read(&query.scope, &planned.plan)?;
    }
    sources.meaning = Some(incremental::plan_hash(query));
    Ok(sources)
}

/// Runs a plan for what it does.
async fn drained(scope: &Scope, plan: Arc<dyn ExecutionPlan>) -> Result<()> {
    let mut output = rows::stream(scope, plan)?;
    while let Some(batch) = output.next().await {
        batch.map_err(|e| Error::from(&e))?;
    }
    Ok(())
}
