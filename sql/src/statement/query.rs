//! SELECT, VALUES, WITH, TABLE.

use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::Query;
use postgres_types::Type;

use super::{
    CommandTag, Output, OutputColumn, Prepared, RowOutput, TrivialAnswer, join_memory, parameters, rows,
    trivial,
};
use crate::error::{Error, Result, SqlState};
use crate::introspection::Question;
use crate::parser::{Parsed, Statement};
use crate::planner::{Dependencies, Parameter, PlannedQuery, Scope, still_current};
use crate::result_cache::{
    AnswerName, Asked, CachedOutput, Dependence, Remembered, Request, ResultCache, RowsName, States, Taking,
    Turn, name_of, of_plan,
};
use crate::session::Session;

type LookingTurn<'a> = auric_catalog::turns::Turn<'a, u128>;

pub async fn prepare(
    session: &mut Session,
    query: &Query,
    given: &[Option<Parameter>],
    parsed: &Parsed,
) -> Result<Prepared> {
    if let Some(answer) = trivial::answer(session, query)? {
        return Ok(Prepared::trivial(parsed, answer));
    }
    if let Some(question) = Question::of(parsed, given)
        && let Some(plan) = session.kept_plan(&question, parsed).await?
    {
        return Ok(Prepared::kept(parsed, question, plan));
    }
    let declared: Vec<Type> =
        given.iter().map(|p| p.as_ref().map_or(Type::UNKNOWN, |p| p.pg_type.clone())).collect();
    let request = session.request(&parsed.text, &declared, None);
    let cache = session.engine.results.clone();
    let mut _turn = None;
    if let Some(request) = request {
        if let Some(prepared) = described(session, parsed, request, session.is_told(request)).await? {
            return Ok(prepared);
        }
        _turn = Some(cache.turns.take(request.statement).await);
        if let Some(prepared) = described(session, parsed, request, false).await? {
            return Ok(prepared);
        }
    }
    let states = session.all_states();
    let scope = session.scope().await?;
    let planned = scope.plan_result(query, given, parsed).await?;
    if let (Some(request), Some(dependencies)) = (request, &planned.dependencies) {
        let described = remembered(&scope, &planned, dependencies, None, &states);
        cache.statements.insert(request.statement, Arc::new(described));
    }
    let columns = planned.columns.as_ref().clone();
    Ok(Prepared::planned(parsed, planned, Some(columns)))
}

/// What was described before, if it would be the same now. `at_once`: only if that is certain without a look at
/// the tables.
async fn described(
    session: &Session,
    parsed: &Parsed,
    request: Request,
    at_once: bool,
) -> Result<Option<Prepared>> {
    let Some(remembered) = session.engine.results.statements.get(&request.statement) else { return Ok(None) };
    let mut current = session.block.is_none() && remembered.is_current_at_once();
    if !current && !at_once {
        let states = session.states(&remembered);
        current = remembered.is_current(&session.scope().await?, states).await?;
    }
    Ok(current.then(|| Prepared::described(parsed, &remembered)))
}

/// `states`: of the catalogs, from before anything was looked up.
fn remembered(
    scope: &Scope,
    planned: &PlannedQuery,
    dependencies: &Dependencies,
    rows: Option<u128>,
    states: &States,
) -> Remembered {
    let now = scope.info.statement_start.timestamp_millis();
    let (columns, parameters) = (planned.columns.clone(), planned.parameters.clone());
    let remembered = Remembered::new(columns, parameters, dependencies.clone(), rows, now);
    remembered.seen_with(states, &scope.info.database)
}

pub async fn execute(
    session: &mut Session,
    query: &Query,
    prepared: &Arc<Prepared>,
    values: Vec<ScalarValue>,
) -> Result<Output> {
    if let Some(output) = trivial_rows(prepared) {
        return Ok(output);
    }
    let request = session.request(&prepared.parsed.text, &prepared.parameters, Some(&values));
    let cache = session.engine.results.clone();
    if let Some(output) = kept_rows(session, prepared, &values).await? {
        if request.is_some() {
            cache.statistics.bypassed.inc();
            session.tell_of_cache("bypass");
        }
        return Ok(output);
    }
    let mut _turn = None;
    if let Some(request) = request {
        let (text, types) = (prepared.parsed.text.as_str(), prepared.parameters.as_slice());
        let asked = Asked { request, text, types, values: &values };
        match known(session, &cache, &asked, prepared.columns.as_deref()).await? {
            Known::Answer(output) => return Ok(Output::Cached(output)),
            Known::Nothing(turn) => _turn = turn,
        }
    }
    let states = session.all_states();
    let given = request.map(|_| values.clone()).unwrap_or_default();
    let scope = session.scope().await?;
    // Until the plan has its files.
    let _looking = scope.database()?.storage().readers().look();
    let (planned, values) = current_plan(&scope, query, prepared, values).await?;
    let plan = parameters::substitute(&planned.plan, values)?;
    let state = scope.state_for(&plan).await?;
    // In two steps: what the plan depends on is seen when its literals have their types, and no more when
    // they are constants of them.
    let analyzed = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {});
    let analyzed = analyzed.map_err(|e| Error::from(&e))?;
    let optimized = state.optimizer().optimize(analyzed.clone(), state.as_ref(), |_, _| {});
    let optimized = optimized.map_err(|e| Error::from(&e))?;
    let turn = match request {
        Some(request) => {
            let (text, types) = (prepared.parsed.text.as_str(), prepared.parameters.as_slice());
            let asked = Asked { request, text, types, values: &given };
            turn(session, &scope, &asked, &planned, (&analyzed, &optimized), &states).await?
        }
        None => Turn::Alone,
    };
    let columns = planned.columns.clone();
    let collecting = match turn {
        Turn::Answered(answer) => return Ok(Output::Cached(CachedOutput::whole(columns, answer))),
        Turn::Lead(collecting) => Some(Taking::Answer(collecting)),
        Turn::Alone => None,
    };
    let stream = join_memory::start(&scope, &state, optimized).await?;
    Ok(Output::Rows(RowOutput { columns, stream, tag: CommandTag::Select, binary: false, collecting }))
}

/// The answer to a query that needs no plan.
pub fn trivial_rows(prepared: &Prepared) -> Option<Output> {
    let TrivialAnswer { columns, row } = prepared.trivial.as_ref()?;
    Some(rows::batches(columns.clone(), row.schema(), vec![row.clone()], CommandTag::Select))
}

/// The rows of a query that has a kept plan.
pub async fn kept_rows(
    session: &mut Session,
    prepared: &Prepared,
    values: &[ScalarValue],
) -> Result<Option<Output>> {
    let Some((question, described)) = &prepared.question else { return Ok(None) };
    let Some(plan) = session.kept_plan(question, &prepared.parsed).await? else { return Ok(None) };
    if !Arc::ptr_eq(described, &plan) && plan.columns != described.columns {
        return Ok(None);
    }
    session.run_kept(&plan, question, values.to_vec()).await
}

/// What is known of a query before it is planned.
enum Known<'a> {
    Answer(CachedOutput),
    /// It is to be found out; the turn to do so, if there is one.
    Nothing(Option<LookingTurn<'a>>),
}

async fn known<'a>(
    session: &mut Session,
    cache: &'a ResultCache,
    asked: &Asked<'_>,
    described: Option<&[OutputColumn]>,
) -> Result<Known<'a>> {
    if let Some(found) = session.found(asked.request, described)
        && let Some(output) = session.taken(found, asked).await
    {
        return Ok(Known::Answer(output));
    }
    if !session.is_told(asked.request)
        && let Some(output) = session.recalled(asked, described).await?
    {
        return Ok(Known::Answer(output));
    }
    let turn = cache.turns.take(asked.request.statement).await;
    if let Some(found) = session.found(asked.request, described) {
        // To wait for the answer takes no turn.
        drop(turn);
        let output = session.taken(found, asked).await;
        return Ok(output.map_or(Known::Nothing(None), Known::Answer));
    }
    let output = session.recalled(asked, described).await?;
    Ok(output.map_or(Known::Nothing(Some(turn)), Known::Answer))
}

/// Whose turn it is to run a query, which is remembered. `plan`: analyzed, and optimized.
async fn turn(
    session: &mut Session,
    scope: &Scope,
    asked: &Asked<'_>,
    planned: &PlannedQuery,
    plan: (&LogicalPlan, &LogicalPlan),
    states: &States,
) -> Result<Turn> {
    let cache = session.engine.results.clone();
    let request = asked.request;
    let (analyzed, optimized) = plan;
    let failed = |e: DataFusionError| Error::from(&e);
    let name = name_of(&cache, optimized, &planned.columns, request.session).map_err(failed)?;
    let Some(RowsName { rows, files }) = name else {
        cache.statistics.bypassed.inc();
        session.tell_of_cache("bypass");
        return Ok(Turn::Alone);
    };
    // What the optimizer has made a constant of may be another one the next time.
    if let Some(dependencies) = &planned.dependencies
        && of_plan(analyzed).map_err(failed)? == Dependence::Settings
    {
        let seen = remembered(scope, planned, dependencies, Some(rows), states);
        cache.statements.insert(request.statement, Arc::new(seen));
    }
    let turn = match cache.turn(AnswerName { rows, encoding: session.encoding }).await {
        Turn::Lead(collecting) => Turn::Lead(collecting.reading(files, scope)),
        turn => turn,
    };
    match turn {
        _ if session.asks_again => {}
        Turn::Answered(_) => {
            cache.statistics.hits.inc();
            cache.note(session, asked, 1);
            session.tell_of_cache("hit");
        }
        Turn::Lead(_) | Turn::Alone => {
            cache.statistics.misses.inc();
            session.tell_of_cache("miss");
        }
    }
    Ok(turn)
}

/// What a client is told whose statement would now give other columns than it was described with. Drivers
/// know it, and prepare the statement anew.
pub const CHANGED_RESULT: &str = "cached plan must not change result type";

fn same_columns(one: &[OutputColumn], other: &[OutputColumn]) -> bool {
    let same = |(a, b): (&OutputColumn, &OutputColumn)| a.name == b.name && a.pg_type == b.pg_type;
    one.len() == other.len() && one.iter().zip(other).all(same)
}

/// The prepared plan, or a new one if tables or the types of values have changed.
pub async fn current_plan(
    scope: &Scope,
    query: &Query,
    prepared: &Prepared,
    values: Vec<ScalarValue>,
) -> Result<(Arc<PlannedQuery>, Vec<ScalarValue>)> {
    let (types, values) = parameters::bind(&prepared.given, values)?;
    let kept = prepared.planned.lock().clone();
    if let Some(planned) = &kept
        && parameters::fit(&planned.parameters, &types)
        && let Some(dependencies) = &planned.dependencies
        && still_current(scope, dependencies).await?
    {
        return Ok((planned.clone(), values));
    }
    let planned = Arc::new(scope.plan_result(query, &types, &prepared.parsed).await?);
    // What EXPLAIN was described with are not the columns of its query.
    let described = match (&kept, prepared.parsed.statement.as_ref()) {
        (Some(kept), _) => Some(kept.columns.as_slice()),
        (None, Statement::Query(_)) => prepared.columns.as_deref(),
        (None, _) => None,
    };
    if described.is_some_and(|described| !same_columns(described, &planned.columns)) {
        return Err(Error::new(SqlState("0A000"), CHANGED_RESULT));
    }
    *prepared.planned.lock() = Some(planned.clone());
    Ok((planned, values))
}
