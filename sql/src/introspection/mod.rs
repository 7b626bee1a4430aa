//! Plans of statements over system relations, kept with their constants taken out.
//!
//! What clients ask the system catalogs is the same few statements with other names and OIDs in them, each
//! a join of half a dozen relations: planning takes many times as long as running them. So the names and
//! OIDs that are compared with columns become parameters ([`Shape`]), and the physical plan is kept, to be
//! run again with other values ([`Plan`]).
//!
//! A plan holds whatever it was made from: the rows of one [`CatalogImage`](crate::pg_catalog::CatalogImage),
//! and the settings, user and search path of the session. So plans are kept beside the image, go with it as
//! soon as anything in the catalog changes, and are found by what else decides them. Statements that see
//! more than that (the time, other sessions, temporary tables, what a transaction has changed) have none.
//!
//! Invariant: whatever fails here is left to the usual way, which knows the right error.

mod binding;
mod keyed;
mod plan;
mod shape;
mod suitable;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;
use moka::sync::Cache;

pub(crate) use self::plan::Plan;
pub(crate) use self::shape::Shape;
use crate::error::Result;
use crate::parser::Parsed;
use crate::pg_catalog::load;
use crate::planner::Parameter;
use crate::result_cache::wide;
use crate::session::Session;
use crate::statement::Output;

/// Plans that are kept for one image.
const PLANS: u64 = 256;

/// The plans for one image. `None`: a statement that has none.
pub struct Plans(Cache<u128, Option<Arc<Plan>>>);

impl Default for Plans {
    fn default() -> Self {
        Self(Cache::new(PLANS))
    }
}

impl fmt::Debug for Plans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plans").field("count", &self.0.entry_count()).finish()
    }
}

/// A statement that may have such a plan.
#[derive(Debug)]
pub(crate) struct Question {
    shape: Arc<Shape>,
    /// What the client says of the parameters.
    given: Vec<Option<Parameter>>,
}

impl Question {
    /// `None`: it asks for more than system relations.
    pub fn of(parsed: &Parsed, given: &[Option<Parameter>]) -> Option<Arc<Self>> {
        Some(Arc::new(Self { shape: parsed.shape()?.clone(), given: given.to_vec() }))
    }
}

impl Session {
    /// The kept plan for a statement, or a new one. `None`: it has to be planned in the usual way.
    pub(crate) async fn kept_plan(
        &mut self,
        question: &Question,
        parsed: &Parsed,
    ) -> Result<Option<Arc<Plan>>> {
        if self.sees_its_own() {
            return Ok(None);
        }
        let database = self.catalog(&self.parameters.database)?;
        let (_, plans) = load::for_all(&self.engine, &database).await?;
        let given: Vec<Option<(u32, &DataType)>> =
            question.given.iter().map(|p| p.as_ref().map(|p| (p.pg_type.oid(), &p.data_type))).collect();
        let session = self.asks().name;
        let keys = &self.engine.results.keys;
        let key = wide(keys, &(session, question.shape.name(keys), given));
        if let Some(kept) = plans.0.get(&key) {
            return Ok(kept);
        }
        let scope = self.scope().await?;
        let plan =
            Plan::new(&scope, &question.shape, &question.given, parsed).await.ok().flatten().map(Arc::new);
        plans.0.insert(key, plan.clone());
        Ok(plan)
    }

    /// Runs a kept plan. `None`: the values are not such as the plan is made for.
    pub(crate) async fn run_kept(
        &self,
        plan: &Arc<Plan>,
        question: &Question,
        mut values: Vec<ScalarValue>,
    ) -> Result<Option<Output>> {
        values.extend(question.shape.constants().iter().map(|text| ScalarValue::from(text.as_str())));
        plan.run(&self.engine, values, self.abandoned.as_ref()).await
    }
}
