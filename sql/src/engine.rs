//! What all sessions share: catalogs, the DataFusion runtime, functions, limits.

use std::fmt;
use std::sync::Arc;

use auric_catalog::registry::Registry;
use chrono::{DateTime, Utc};
use datafusion::common::config::ConfigNonZeroUsize;
use datafusion::execution::memory_pool::MemoryLimit;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SessionState, SessionStateBuilder, SessionStateDefaults};
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::optimizer::Analyzer;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::prelude::SessionConfig;

use crate::activity::Activity;
use crate::analyzer::VectorSubscripts;
use crate::clock::Clock;
use crate::definitions::report::Report;
use crate::error::Result;
use crate::materialize::running::RunningRefreshes;
use crate::materialize::scheduler::places::Places;
use crate::parser::KnownTexts;
use crate::pg_catalog::load::Images;
use crate::planner::arithmetic::CheckedArithmetic;
use crate::planner::array_operators::ArraySubscripts;
use crate::planner::blank_padded::BlankPadded;
use crate::planner::date_arithmetic::DateArithmetic;
use crate::planner::guarded_conditions::GuardedConditions;
use crate::planner::json_operators::JsonOperators;
use crate::planner::lateral_rows::LateralRows;
use crate::planner::lossy_casts::LossyCasts;
use crate::planner::postgres_casts::{ImpliedCasts, PostgresCasts};
use crate::planner::regex_operators::RegexOperators;
use crate::planner::session_casts::SessionCasts;
use crate::planner::single_distinct::optimizer_rules;
use crate::planner::sorted_joins::SortedJoins;
use crate::planner::yielding::YieldingJoins;
use crate::result_cache::{ResultCache, ResultCacheOptions};
use crate::session::advisory::AdvisoryLocks;
use crate::session::{ConnectParameters, Session};

/// Limits and defaults of every session.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Partitions a plan runs in at once.
    pub target_partitions: usize,
    /// Joins begin as hash joins, and are sort-merge joins only where those find no memory.
    pub prefer_hash_join: bool,
    /// Rows per batch.
    pub batch_size: usize,
    /// `statement_timeout` that sessions start with, milliseconds; 0: none.
    pub statement_timeout_ms: u64,
    /// `idle_session_timeout` that sessions start with, milliseconds; 0: none.
    pub idle_session_timeout_ms: u64,
    /// Settings that tell of the server (`port`, `max_connections`, …).
    pub facts: Vec<(&'static str, String)>,
    /// Location below which the files of temporary tables are.
    pub temporary_directory: String,
    pub results: ResultCacheOptions,
    /// Refreshes and tasks that run at once, those of single statements not counted.
    pub refreshes_at_once: usize,
}

/// Shared by all sessions.
pub struct Engine {
    pub(crate) registry: Registry,
    pub(crate) runtime: Arc<RuntimeEnv>,
    pub(crate) options: EngineOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) activity: Arc<dyn Activity>,
    /// Functions, rules and defaults that every statement's state begins as a copy of.
    pub(crate) base: Arc<SessionState>,
    pub(crate) texts: KnownTexts,
    /// What system relations show, by database.
    pub(crate) images: Images,
    pub(crate) results: Arc<ResultCache>,
    pub(crate) refreshing: RunningRefreshes,
    /// For refreshes, by schedule and by hand.
    pub(crate) places: Arc<Places>,
    /// Of those that were applied when the server started.
    pub(crate) definitions: Report,
    pub(crate) advisory_locks: Arc<AdvisoryLocks>,
    /// When the server started.
    pub(crate) started: DateTime<Utc>,
}

impl Engine {
    pub fn new(
        registry: Registry,
        runtime: Arc<RuntimeEnv>,
        options: EngineOptions,
        clock: Arc<dyn Clock>,
        activity: Arc<dyn Activity>,
    ) -> Result<Arc<Self>> {
        let base = Arc::new(base_state(&runtime, &options)?);
        Ok(Arc::new(Self {
            registry,
            runtime,
            started: clock.now(),
            advisory_locks: Arc::default(),
            clock,
            activity,
            base,
            texts: KnownTexts::default(),
            images: Images::default(),
            results: ResultCache::new(options.results),
            refreshing: RunningRefreshes::default(),
            places: Arc::new(Places::new(options.refreshes_at_once)),
            definitions: Report::default(),
            options,
        }))
    }

    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub fn results(&self) -> &Arc<ResultCache> {
        &self.results
    }

    pub fn definitions(&self) -> &Report {
        &self.definitions
    }

    pub fn activity(&self) -> &Arc<dyn Activity> {
        &self.activity
    }

    /// Starts a session. Fails with 3D000 when the database (catalog) does not exist.
    pub fn connect(self: &Arc<Self>, parameters: ConnectParameters) -> Result<Session> {
        Session::new(self.clone(), parameters)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("options", &self.options).finish_non_exhaustive()
    }
}

/// The part of the memory of all queries that the merges of one sort may reserve: one of so many.
const SORT_SHARE: usize = 16;

fn base_state(runtime: &Arc<RuntimeEnv>, options: &EngineOptions) -> Result<SessionState> {
    let mut config = SessionConfig::new()
        .with_target_partitions(options.target_partitions.max(1))
        .with_batch_size(options.batch_size.max(1))
        .with_information_schema(false)
        .with_create_default_catalog_and_schema(false);
    let settings = config.options_mut();
    settings.sql_parser.parse_float_as_decimal = true;
    settings.sql_parser.collect_spans = true;
    settings.sql_parser.support_varchar_with_length = true;
    settings.execution.time_zone = Some("+00:00".into());
    settings.optimizer.prefer_hash_join = options.prefer_hash_join;
    // What each sort keeps for its merge; several of them must find room in a small pool.
    if let MemoryLimit::Finite(limit) = runtime.memory_pool.memory_limit() {
        let most = limit / SORT_SHARE / options.target_partitions.max(1);
        let reserved = &mut settings.execution.sort_spill_reservation_bytes;
        *reserved = most.min(*reserved);
    }
    // One batch to a file: of two files that are written to, what reads them would wait for the older one, and
    // its writer for the reader (https://github.com/apache/datafusion/issues/24883).
    settings.execution.max_spill_file_size_bytes = ConfigNonZeroUsize::try_new(1)?;
    let mut planners: Vec<Arc<dyn ExprPlanner>> =
        // Those that change a subscript before the one that takes it for an array's.
        vec![Arc::new(VectorSubscripts), Arc::new(JsonOperators), Arc::new(RegexOperators), Arc::new(ArraySubscripts)];
    // First the untyped literals, which get their type from the other operand.
    planners.extend(crate::analyzer::expr_planners());
    planners.push(Arc::new(BlankPadded));
    planners.push(Arc::new(CheckedArithmetic));
    planners.push(Arc::new(DateArithmetic));
    planners.extend(SessionStateDefaults::default_expr_planners());
    let mut rules = crate::analyzer::rules();
    rules.push(Arc::new(LateralRows));
    rules.push(Arc::new(PostgresCasts));
    rules.extend(Analyzer::new().rules);
    rules.push(Arc::new(ImpliedCasts));
    rules.push(Arc::new(SessionCasts));
    rules.push(Arc::new(LossyCasts));
    rules.push(Arc::new(GuardedConditions));
    let mut physical_rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> = vec![Arc::new(SortedJoins)];
    physical_rules.extend(PhysicalOptimizer::new().rules);
    physical_rules.push(Arc::new(YieldingJoins));
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime.clone())
        .with_default_features()
        .with_expr_planners(planners)
        .with_analyzer_rules(rules)
        .with_optimizer_rules(optimizer_rules())
        .with_physical_optimizer_rules(physical_rules)
        .build();
    crate::functions::register(&mut state)?;
    for (name, function) in crate::functions::table_functions() {
        state.register_udtf(name, function);
    }
    Ok(state)
}
