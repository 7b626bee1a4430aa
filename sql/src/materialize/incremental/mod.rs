//! Refreshes that compute no more than what the changes of the tables have touched.
//!
//! [`auric_catalog::changes`] tells which rows of a table were added and removed since the view was built.
//! [`delta`] makes queries of that, over the changed rows, for what of the view's query they touch, and
//! [`shape`] finds by which columns the view's rows can be replaced. Then, the cheapest first:
//!
//! - nothing that the query reads has changed, though files have: the new versions are recorded;
//! - rows were only added, and the query computes each of its rows from one row of each table: the rows
//!   that follow are appended;
//! - rows were only added, and what they add to the view's groups follows from them and the view: they are
//!   merged;
//! - the touched groups, partitions or rows are computed anew, and replaced in the view.
//!
//! What cannot be told to give the same rows as computing all of them is computed as a whole, and why is
//! recorded.

mod apply;
mod delta;
mod kept;
mod merge;
mod net;
pub mod protected;
mod shape;
mod ways;

use std::collections::BTreeMap;

use auric_catalog::changes::{self, Changes, RowChanges};
use auric_catalog::registry::Table;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};

pub use self::apply::change;
use self::delta::{Changed, combined, restricted_to};
use self::kept::Kept;
use self::shape::{Keyed, Unit};
pub use self::ways::{Way, ways};
use super::build::Query;
use super::definition::{Definition, RefreshPolicy};
use super::hash;
use super::provenance::Provenance;
use super::sources::{SourceVersion, Sources, full_name};
use super::view_rows;
use crate::error::Error;
use crate::planner::Scope;

/// Fewer changed rows, or keys, than these are few.
const FEW_ROWS: u64 = 100_000;
const FEW_KEYS: usize = 10_000;

/// Why a refresh is not incremental.
#[derive(Debug)]
pub enum Refusal {
    /// It cannot be, or it is not known to be equal.
    Cannot(String),
    /// It would be possible, and no cheaper.
    NotCheaper(String),
    Failed(Error),
}

impl Refusal {
    fn cannot(what: impl std::fmt::Display) -> Self {
        Self::Cannot(format!("the result {what} is only known as a whole"))
    }
}

impl From<Error> for Refusal {
    fn from(e: Error) -> Self {
        Self::Failed(e)
    }
}

impl From<DataFusionError> for Refusal {
    fn from(e: DataFusionError) -> Self {
        Self::Failed(Error::from(&e))
    }
}

impl From<auric_catalog::Error> for Refusal {
    fn from(e: auric_catalog::Error) -> Self {
        Self::Failed(e.into())
    }
}

/// How a refresh is to be made.
#[derive(Debug)]
pub enum Choice {
    /// All rows are computed. `why`: the refresh could have been incremental by the view's policy.
    Full {
        why: Option<Why>,
    },
    Incremental(Box<Work>),
}

/// Why not incremental.
#[derive(Debug, PartialEq, Eq)]
pub enum Why {
    /// No refresh of this view can be.
    Never(String),
    /// This one cannot be.
    Now(String),
}

/// What an incremental refresh does.
#[derive(Debug)]
pub struct Work {
    /// As it is recorded.
    pub mode: &'static str,
    /// What is done, for people.
    pub note: String,
    /// Rows of the query that are new.
    pub rows: LogicalPlan,
    /// Rows of the view that go; `None`: none.
    pub replaced: Option<Replaced>,
}

/// Rows of the view whose columns have the values of a key.
#[derive(Debug)]
pub struct Replaced {
    keys: Kept,
    columns: Vec<usize>,
}

/// A view that is to be refreshed.
pub struct Request<'a> {
    /// The session's.
    pub scope: &'a Scope,
    /// At the version whose rows are to be replaced.
    pub table: &'a Table,
    pub definition: &'a Definition,
    pub query: &'a Query,
    pub sources: &'a Sources,
    pub before: Option<&'a Provenance>,
    pub versions: &'a BTreeMap<String, SourceVersion>,
}

/// Tells queries apart that read, by their text, what others have changed: views, columns of tables.
pub fn plan_hash(query: &Query) -> String {
    let plan = query.planned.plan.display_indent_schema().to_string();
    hash::digits(hash::of([plan.as_str()]))
}

/// How a view is refreshed that is not up to date. Fails as reading metadata and running queries does.
pub async fn choose(request: Request<'_>) -> Result<Choice, Error> {
    let definition = request.definition;
    // The first time there is nothing to build upon.
    if definition.policy == RefreshPolicy::Full || !definition.populated {
        return Ok(Choice::Full { why: None });
    }
    match ways::refusal(&request)? {
        Some(why) => Ok(Choice::Full { why: Some(Why::Never(why)) }),
        None => match request.incremental().await {
            Ok(work) => Ok(Choice::Incremental(Box::new(work))),
            Err(Refusal::Cannot(why) | Refusal::NotCheaper(why)) => {
                Ok(Choice::Full { why: Some(Why::Now(why)) })
            }
            Err(Refusal::Failed(e)) => Err(e),
        },
    }
}

impl Request<'_> {
    async fn incremental(&self) -> Result<Work, Refusal> {
        let cannot = |why: &str| Err(Refusal::Cannot(why.to_string()));
        if self.table.snapshot.version == auric_catalog::table::TableVersion::Unpublished {
            return cannot("the transaction has changed it");
        }
        let Some(before) = self.before else { return cannot("its rows were changed by others") };
        if before.definition != self.definition.hash() {
            return cannot("its definition has changed");
        }
        let Some(meant) = &before.plan else {
            return cannot("it is not recorded what it was built from: it read what was not committed yet");
        };
        if *meant != plan_hash(self.query) {
            return cannot("what its query means has changed: a view, columns of a table, or the release");
        }
        let known = self.changes(before).await?;
        self.refuse_changed_expectations(&known)?;
        self.check_cost(&known).await?;
        let plan = &self.query.planned.plan;
        let used = net::used_columns(plan)?;
        let mut changed = Changed::default();
        for (name, changes) in &known {
            if let Some(table) = net::changed_table(&self.query.scope, changes, &used).await? {
                changed.0.insert(name.clone(), table);
            }
        }
        if !changed.touches(plan)? {
            return Ok(nothing(plan, "no row that it reads has changed")?);
        }
        match changed.additions(plan) {
            Ok(branches) => appended(branches, plan),
            Err(Refusal::Cannot(_)) => match self.merged(&changed).await {
                Err(Refusal::Cannot(_)) => self.replaced(&changed).await,
                outcome => outcome,
            },
            Err(e) => Err(e),
        }
    }

    async fn merged(&self, changed: &Changed) -> Result<Work, Refusal> {
        let plan = &self.query.planned.plan;
        let scope = &self.query.scope;
        let positions = view_rows::positions(self.query, self.table, self.definition)?;
        let merge = merge::merge(scope, plan, self.table, &positions, self.definition)?;
        match merge.work(scope, plan, self.table, changed).await? {
            Some(work) => Ok(work),
            None => Ok(nothing(plan, "no rows were added")?),
        }
    }

    /// What has happened to each table that is not at the version of then.
    async fn changes(&self, before: &Provenance) -> Result<BTreeMap<String, RowChanges>, Refusal> {
        let mut known = BTreeMap::new();
        for table in &self.sources.tables {
            let name = full_name(table);
            let now = SourceVersion::of(table);
            let Some(then) = before.sources.get(&name).filter(|then| then.via.is_none()) else {
                return Err(Refusal::Cannot(format!("{name} was not read before")));
            };
            if then.table_id != now.table_id {
                return Err(Refusal::Cannot(format!("{name} was replaced")));
            }
            if then.version == now.version {
                continue;
            }
            match changes::since(table, then.version).await? {
                Changes::Known(changes) => drop(known.insert(name, changes)),
                Changes::Unknown(why) => return Err(Refusal::Cannot(why)),
            }
        }
        Ok(known)
    }

    /// A row that is not touched must still be what its expectations made of it.
    fn refuse_changed_expectations(&self, known: &BTreeMap<String, RowChanges>) -> Result<(), Refusal> {
        for table in &self.sources.of_row_expectations {
            let name = full_name(table);
            if known.contains_key(&name) {
                return Err(Refusal::Cannot(format!("an expectation over its rows reads {name}")));
            }
        }
        Ok(())
    }

    /// AUTO is for what is cheaper.
    async fn check_cost(&self, known: &BTreeMap<String, RowChanges>) -> Result<(), Refusal> {
        if self.definition.policy != RefreshPolicy::Auto {
            return Ok(());
        }
        for table in &self.sources.tables {
            let name = full_name(table);
            let Some(changed) = known.get(&name).and_then(RowChanges::rows) else { continue };
            let all = changes::row_count(table).await?;
            if changed > FEW_ROWS && changed > all / 2 {
                let why = format!("{changed} changed rows of {name} are no fewer than half of all");
                return Err(Refusal::NotCheaper(why));
            }
        }
        Ok(())
    }

    async fn replaced(&self, changed: &Changed) -> Result<Work, Refusal> {
        let plan = &self.query.planned.plan;
        let positions = view_rows::positions(self.query, self.table, self.definition)?;
        let keyed = shape::keyed(plan, self.table, &positions)?;
        for node in keyed.above(plan) {
            changed.refuse_subqueries(node)?;
        }
        let input = keyed.input(plan);
        let Keyed { unit, exprs, columns } = &keyed;
        let keys = Kept::rows_of(&self.query.scope, &changed.keys(input, exprs)?).await?;
        let Some(keys) = keys else {
            return Err(Refusal::Cannot("too many of its rows are touched to be kept track of".into()));
        };
        let (mode, what) = match unit {
            Unit::Groups => ("groups", "groups"),
            Unit::Partitions => ("partitions", "partitions"),
            Unit::Rows => ("rows", "rows"),
        };
        if keys.len() == 0 {
            return Ok(nothing(plan, &format!("no {what} are touched"))?);
        }
        if self.definition.policy == RefreshPolicy::Auto && keys.len() > FEW_KEYS {
            let rows = changes::row_count(self.table).await?;
            if u64::try_from(keys.len()).unwrap_or(u64::MAX) > rows / 2 {
                let why = format!("{} touched {what} are no fewer than half of all", keys.len());
                return Err(Refusal::NotCheaper(why));
            }
        }
        let mut restricted = LogicalPlanBuilder::from(input.clone());
        if let Some(predicate) = keys.predicate(exprs)? {
            restricted = restricted.filter(predicate)?;
        }
        let restricted = restricted_to(restricted.build()?, exprs, keys.relation()?)?;
        let note = match keys.len() {
            1 => format!("one of its {what} was computed anew"),
            n => format!("{n} of its {what} were computed anew"),
        };
        let rows = keyed.over(plan, restricted)?;
        Ok(Work { mode, note, rows, replaced: Some(Replaced { keys, columns: columns.clone() }) })
    }
}

fn nothing(plan: &LogicalPlan, note: &str) -> Result<Work, DataFusionError> {
    let none = LogicalPlanBuilder::from(plan.clone()).filter(datafusion::logical_expr::lit(false))?;
    Ok(Work { mode: "nothing", note: note.to_string(), rows: none.build()?, replaced: None })
}

fn appended(branches: Vec<LogicalPlan>, plan: &LogicalPlan) -> Result<Work, Refusal> {
    let Some(rows) = combined(branches, plan)? else { return Ok(nothing(plan, "no rows were added")?) };
    let note = "rows were only added".to_string();
    Ok(Work { mode: "append", note, rows, replaced: None })
}
