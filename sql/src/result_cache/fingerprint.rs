//! Names of answers: hashes of everything that decides them.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;

use auric_catalog::scan::LakeTable;
use auric_catalog::table::TableVersion;
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

use super::ResultCache;
use super::dependence::{self, Dependence};
use crate::statement::OutputColumn;
use crate::table_function::{FilesRead, FilesTable};

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
    /// What each scan reads, in the order of the plan: scans themselves are told apart by their names only.
    scans: Vec<Scanned>,
    /// As what the values are sent: type, modifier, digits.
    columns: Vec<(u32, i32, Option<u8>)>,
    /// Of the session: its settings, role and database.
    session: u128,
}

/// What a scan reads.
#[derive(Hash)]
enum Scanned {
    /// Id and version.
    Table(String, TableVersion),
    /// Call and state.
    Files(String, u128),
}

/// What rows are kept under.
pub(crate) struct RowsName {
    pub rows: u128,
    /// Those that must not have changed while the rows were read.
    pub files: Vec<Arc<FilesRead>>,
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
) -> Result<Option<RowsName>> {
    if dependence::of_plan(plan)? > Dependence::Settings {
        return Ok(None);
    }
    let (mut scans, mut files) = (Vec::new(), Vec::new());
    let mut named = true;
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::TableScan(scan) => {
                let provider = source_as_provider(&scan.source)?;
                match scanned(&provider) {
                    Some(scanned) => scans.push(scanned),
                    None => named = false,
                }
                files.extend(provider.downcast_ref::<FilesTable>().map(|table| table.read.clone()));
            }
            LogicalPlan::Extension(_) | LogicalPlan::RecursiveQuery(_) | LogicalPlan::Dml(_) => named = false,
            _ => {}
        }
        Ok(if named { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    let columns = columns.iter().map(|c| (c.pg_type.oid(), c.type_modifier, c.quotient_scale)).collect();
    let name = PlanName { plan, scans, columns, session };
    Ok(named.then(|| RowsName { rows: wide(&cache.keys, &name), files }))
}

/// `None`: it has no version.
fn scanned(provider: &Arc<dyn TableProvider>) -> Option<Scanned> {
    if let Some(table) = provider.downcast_ref::<FilesTable>() {
        return Some(Scanned::Files(table.read.call.clone(), table.read.state?));
    }
    let snapshot = &provider.downcast_ref::<LakeTable>()?.table().snapshot;
    let version = snapshot.version.clone();
    (version != TableVersion::Unpublished).then(|| Scanned::Table(snapshot.table_id.clone(), version))
}
