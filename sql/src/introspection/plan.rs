//! A kept plan, and its runs.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::scalar::ScalarValue;
use futures::{Stream, StreamExt};
use parking_lot::{Mutex, RwLock};
use postgres_types::Type;

use super::binding::{Values, bind};
use super::keyed::with_keys;
use super::shape::{Constant, Shape};
use super::suitable::is_suitable;
use crate::analyzer::plan_reads_catalog_only;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::parser::Parsed;
use crate::pg_catalog::CatalogContext;
use crate::planner::{Parameter, Scope};
use crate::session::carried::Carried;
use crate::session::info::SessionInfo;
use crate::session::prepared::PreparedStatements;
use crate::statement::interrupt::{Abandoned, interruptible};
use crate::statement::{CommandTag, Output, OutputColumn, RowOutput, parameters};

/// Copies of a physical plan that wait for the next run.
const IDLE: usize = 2;
/// Runs of one copy. Its leaves remember a little of each.
const RUNS: u32 = 1_000;

/// The plan of one statement for one image and kind of session.
pub struct Plan {
    /// Optimized, with placeholders.
    logical: LogicalPlan,
    state: SessionState,
    pub columns: Arc<Vec<OutputColumn>>,
    /// The client's, then those that were constants.
    parameters: Vec<Parameter>,
    /// How many are the client's.
    own: usize,
    /// Whether it makes no rows by itself.
    pub reads_catalog_only: bool,
    idle: Mutex<Vec<Copied>>,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("columns", &self.columns).finish_non_exhaustive()
    }
}

/// A physical plan that one statement at a time runs.
struct Copied {
    plan: Arc<dyn ExecutionPlan>,
    values: Arc<Values>,
    runs: u32,
}

impl Plan {
    /// `None`: not such a statement. Errors are the usual way's to tell.
    pub async fn new(
        scope: &Scope,
        shape: &Shape,
        given: &[Option<Parameter>],
        parsed: &Parsed,
    ) -> Result<Option<Self>> {
        let scope = detached(scope);
        let own = crate::planner::highest_placeholder(shape.query())? - shape.kinds().len();
        if given.len() > own {
            return Ok(None);
        }
        let mut given = given.to_vec();
        given.resize(own, None);
        given.extend(shape.kinds().iter().map(|kind| match kind {
            Constant::Text => Some(Parameter::declared(&Type::TEXT)),
            Constant::Unknown | Constant::Number => None,
        }));
        let planned = scope.plan_result(shape.query(), &given, parsed).await?;
        let constants = planned.parameters.iter().skip(own);
        let fitting = shape.kinds().iter().zip(constants).all(|(kind, parameter)| fits(*kind, parameter));
        let numeric = planned.parameters.iter().any(|parameter| parameter.pg_type == Type::NUMERIC);
        if planned.parameters.len() != given.len() || !fitting || numeric {
            return Ok(None);
        }
        if !is_suitable(&planned.plan).map_err(|e| Error::from(&e))? {
            return Ok(None);
        }
        let state = scope.state_for(&planned.plan).await?;
        let logical = state.optimize(&planned.plan).map_err(|e| Error::from(&e))?;
        let plan = Self {
            reads_catalog_only: plan_reads_catalog_only(&logical),
            logical,
            state: state.as_ref().clone(),
            columns: planned.columns,
            parameters: planned.parameters,
            own,
            idle: Mutex::default(),
        };
        let first = plan.copied().await?;
        plan.idle.lock().push(first);
        Ok(Some(plan))
    }

    /// The client's parameters.
    pub fn parameters(&self) -> &[Parameter] {
        self.parameters.get(..self.own).unwrap_or_default()
    }

    /// A physical plan that waits for its next run, as EXPLAIN shows it.
    #[cfg(test)]
    pub fn shown(&self) -> String {
        let idle = self.idle.lock();
        let shown = |copied: &Copied| {
            datafusion::physical_plan::displayable(copied.plan.as_ref()).indent(false).to_string()
        };
        idle.first().map(shown).unwrap_or_default()
    }

    async fn copied(&self) -> Result<Copied> {
        let values = Arc::new(Values::default());
        let logical = bind(&self.logical, &self.parameters, &values).map_err(|e| Error::from(&e))?;
        let plan = self.state.query_planner().create_physical_plan(&logical, &self.state).await;
        let image = CatalogContext::of(self.state.config_options()).map(|context| context.image.clone());
        let plan = plan.and_then(|plan| match image {
            Some(image) => with_keys(plan, &image),
            None => Ok(plan),
        });
        Ok(Copied { plan: plan.map_err(|e| Error::from(&e))?, values, runs: 0 })
    }

    /// Starts a run. `None`: these values need another plan, or are refused by the usual way.
    pub async fn run(
        self: &Arc<Self>,
        engine: &Engine,
        values: Vec<ScalarValue>,
        abandoned: Option<&Abandoned>,
    ) -> Result<Option<Output>> {
        if values.len() != self.parameters.len() {
            return Ok(None);
        }
        let bound = self.parameters.iter().zip(&values).map(|(parameter, value)| {
            let value = parameters::convert(parameter, value).ok()?;
            (value.data_type() == parameter.data_type).then_some(value)
        });
        let Some(bound) = bound.collect::<Option<Vec<_>>>() else { return Ok(None) };
        let waiting = self.idle.lock().pop();
        let copied = match waiting {
            Some(copied) => copied,
            None => self.copied().await?,
        };
        copied.values.set(bound);
        let plan = reset_plan_states(copied.plan.clone()).and_then(|plan| match abandoned {
            Some(abandoned) => interruptible(plan, abandoned),
            None => Ok(plan),
        });
        let context = TaskContext::new(
            None,
            self.state.session_id().to_string(),
            self.state.config().clone(),
            Default::default(),
            Default::default(),
            Default::default(),
            Default::default(),
            engine.runtime.clone(),
        );
        let rows =
            plan.and_then(|plan| execute_stream(plan, Arc::new(context))).map_err(|e| Error::from(&e))?;
        let stream =
            Box::pin(Running { schema: rows.schema(), rows: Some(rows), home: Some((self.clone(), copied)) });
        let columns = self.columns.clone();
        Ok(Some(Output::Rows(RowOutput {
            columns,
            stream,
            tag: CommandTag::Select,
            binary: false,
            collecting: None,
        })))
    }

    fn take_back(&self, copied: Copied) {
        let copied = Copied { runs: copied.runs + 1, ..copied };
        let mut idle = self.idle.lock();
        if copied.runs < RUNS && idle.len() < IDLE {
            idle.push(copied);
        }
    }
}

/// The scope with nothing in it that belongs to one connection, as others will use the plan: the functions
/// of suitable plans ask for no more. One partition, as questions are small; and no filters that a running
/// plan changes.
fn detached(scope: &Scope) -> Scope {
    let settings = scope.info.settings.read().clone();
    let info = Arc::new(SessionInfo {
        settings: Arc::new(RwLock::new(settings)),
        temporary: None,
        cursors: Vec::new(),
        prepared: PreparedStatements::default(),
        engine: None,
        ..scope.info.as_ref().clone()
    });
    let mut state = scope.state.as_ref().clone();
    let options = state.config_mut().options_mut();
    info.carry(options);
    options.execution.target_partitions = 1;
    let optimizer = &mut options.optimizer;
    optimizer.enable_dynamic_filter_pushdown = false;
    optimizer.enable_topk_dynamic_filter_pushdown = false;
    optimizer.enable_join_dynamic_filter_pushdown = false;
    optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    Scope { state: Arc::new(state), info, ..scope.clone() }
}

/// Whether a constant means as this parameter what it means as a literal.
fn fits(kind: Constant, parameter: &Parameter) -> bool {
    let is_text = matches!(parameter.pg_type, Type::TEXT | Type::VARCHAR | Type::NAME);
    let is_number = matches!(parameter.pg_type, Type::OID | Type::INT2 | Type::INT4 | Type::INT8);
    match kind {
        Constant::Text => is_text,
        Constant::Unknown => is_text || is_number,
        Constant::Number => is_number,
    }
}

/// Rows of a run, at whose end the plan is free for the next.
struct Running {
    schema: SchemaRef,
    rows: Option<SendableRecordBatchStream>,
    home: Option<(Arc<Plan>, Copied)>,
}

impl Stream for Running {
    type Item = std::result::Result<RecordBatch, DataFusionError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(rows) = self.rows.as_mut() else { return Poll::Ready(None) };
        let polled = rows.poll_next_unpin(context);
        match &polled {
            Poll::Ready(None) => {
                self.rows = None;
                if let Some((plan, copied)) = self.home.take() {
                    plan.take_back(copied);
                }
            }
            // Parts of it may still be running.
            Poll::Ready(Some(Err(_))) => self.home = None,
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }
}

impl RecordBatchStream for Running {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}
