//! Names of answers: hashes of everything that decides them.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use auric_catalog::scan::LakeTable;
use auric_catalog::table::TableVersion;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

use super::ResultCache;
use super::dependence::{self, Dependence};
use crate::statement::OutputColumn;

/// Two hashes under keys of their own, which are made when the server starts: 128 bits that nobody can
/// aim at.
pub(crate) fn wide(keys: &[RandomState; 2], value: &impl Hash) -> u128 {
    let [one, other] = keys;
    let mut hashers = Wide { one: one.build_hasher(), other: other.build_hasher() };
    value.hash(&mut hashers);
    (u128::from(hashers.one.finish()) << 64) | u128::from(hashers.other.finish())
}

/// Hashes the same value twice.
struct Wide<H> {
    one: H,
    other: H,
}

impl<H: Hasher> Hasher for Wide<H> {
    fn finish(&self) -> u64 {
        self.one.finish()
    }

    fn write(&mut self, bytes: &[u8]) {
        self.one.write(bytes);
        self.other.write(bytes);
    }
}

/// What is hashed of a plan.
struct PlanName<'a> {
    plan: &'a LogicalPlan,
    /// Table and version of each scan, in the order of the plan: scans themselves are told apart by their
    /// names only.
    scans: Vec<(String, TableVersion)>,
    /// As what the values are sent: type, modifier, digits.
    columns: Vec<(u32, i32, Option<u8>)>,
    /// Of the session: its settings, role and database.
    session: u128,
}

impl Hash for PlanName<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.plan.hash(state);
        self.scans.hash(state);
        self.columns.hash(state);
        self.session.hash(state);
    }
}

/// The name of the rows of an optimized plan without placeholders. `None`: they have none, as it reads what
/// has no version, or would not give the same rows twice.
pub(crate) fn name_of(
    cache: &ResultCache,
    plan: &LogicalPlan,
    columns: &[OutputColumn],
    session: u128,
) -> Result<Option<u128>> {
    if dependence::of_plan(plan)? > Dependence::Settings {
        return Ok(None);
    }
    let mut scans = Vec::new();
    let mut named = true;
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::TableScan(scan) => {
                let provider = source_as_provider(&scan.source)?;
                match provider.downcast_ref::<LakeTable>().map(LakeTable::table) {
                    Some(table) if table.snapshot.version != TableVersion::Unpublished => {
                        scans.push((table.snapshot.table_id.clone(), table.snapshot.version.clone()));
                    }
                    _ => named = false,
                }
            }
            LogicalPlan::Extension(_) | LogicalPlan::RecursiveQuery(_) | LogicalPlan::Dml(_) => named = false,
            _ => {}
        }
        Ok(if named { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    let columns = columns.iter().map(|c| (c.pg_type.oid(), c.type_modifier, c.quotient_scale)).collect();
    Ok(named.then(|| wide(&cache.keys, &PlanName { plan, scans, columns, session })))
}
