//! Which refreshes a view can get at all, told from its query alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use auric_catalog::registry::Table;
use auric_catalog::scan::LakeTable;
use datafusion::datasource::provider_as_source;

use super::delta::{Changed, ChangedTable};
use super::shape::{self, Unit};
use super::{Refusal, Request, merge};
use crate::error::Error;
use crate::materialize::build::Query;
use crate::materialize::definition::Definition;
use crate::materialize::sources::{Sources, full_name};
use crate::materialize::view_rows;

/// What a change of one table comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// `catalog.schema.table`.
    pub table: String,
    /// Rows that are added to it are followed by rows that are appended.
    pub appends: bool,
    /// Rows that are added to it are merged into the view's groups.
    pub merges: bool,
    /// What is replaced after any other change; an error: why all is computed.
    pub replaces: Result<String, String>,
}

impl Way {
    pub fn is_incremental(&self) -> bool {
        self.appends || self.merges || self.replaces.is_ok()
    }

    /// For people.
    pub fn words(&self) -> String {
        let added = match (self.appends, self.merges) {
            (true, _) => "added rows are appended, else ",
            (false, true) => "added rows are merged, else ",
            (false, false) => "",
        };
        match &self.replaces {
            Ok(replaces) => format!("{added}touched {replaces} are computed anew"),
            Err(why) => format!("{added}full: {why}"),
        }
    }
}

/// What a change of each table comes to. An error: why no refresh is incremental.
pub fn ways(
    query: &Query,
    table: &Table,
    definition: &Definition,
    sources: &Sources,
) -> Result<Result<Vec<Way>, String>, Error> {
    if let Some(unstable) = &sources.unstable {
        return Ok(Err(format!("the same tables may give other rows: {unstable}")));
    }
    let mut names: Vec<String> = sources.tables.iter().map(full_name).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair.first() == pair.last()) {
        let twice = pair.first().cloned().unwrap_or_default();
        return Ok(Err(format!("it reads {twice} at more than one version")));
    }
    let mut ways = Vec::new();
    for source in &sources.tables {
        match way(query, table, definition, source) {
            Ok(way) => ways.extend(way),
            Err(Refusal::Failed(e)) => return Err(e),
            Err(Refusal::Cannot(why) | Refusal::NotCheaper(why)) => {
                ways.push(Way {
                    table: full_name(source),
                    appends: false,
                    merges: false,
                    replaces: Err(why),
                });
            }
        }
    }
    if ways.is_empty() {
        return Ok(Err("it reads no table".to_string()));
    }
    Ok(match ways.iter().find(|way| way.is_incremental()) {
        None => Err(ways.into_iter().find_map(|way| way.replaces.err()).unwrap_or_default()),
        Some(_) => Ok(ways),
    })
}

/// `None`: the query does not read the table itself.
fn way(
    query: &Query,
    table: &Table,
    definition: &Definition,
    source: &Table,
) -> Result<Option<Way>, Refusal> {
    let plan = &query.planned.plan;
    let name = full_name(source);
    let rows = provider_as_source(Arc::new(LakeTable::new(source.clone())));
    let stand_in = |removed: bool| {
        let removed = removed.then(|| rows.clone());
        let changed = ChangedTable { added: rows.clone(), removed, before: rows.clone() };
        Changed(BTreeMap::from([(name.clone(), changed)]))
    };
    if !stand_in(true).touches(plan)? {
        return Ok(None);
    }
    let appends = match stand_in(false).additions(plan) {
        Ok(_) => true,
        Err(Refusal::Failed(e)) => return Err(e.into()),
        Err(_) => false,
    };
    let positions = view_rows::positions(query, table, definition)?;
    let merge = merge::merge(&query.scope, plan, table, &positions, definition);
    let merges = match merge.and_then(|merge| merge.additions(plan, &stand_in(false))) {
        Ok(_) => true,
        Err(Refusal::Failed(e)) => return Err(e.into()),
        Err(_) => false,
    };
    let replaces = match replaces(query, table, definition, &stand_in(true)) {
        Ok(replaces) => Ok(replaces),
        Err(Refusal::Failed(e)) => return Err(e.into()),
        Err(Refusal::Cannot(why) | Refusal::NotCheaper(why)) => Err(why),
    };
    Ok(Some(Way { table: name, appends, merges, replaces }))
}

/// `groups (day, country)`.
fn replaces(
    query: &Query,
    table: &Table,
    definition: &Definition,
    changed: &Changed,
) -> Result<String, Refusal> {
    let plan = &query.planned.plan;
    let positions = view_rows::positions(query, table, definition)?;
    let keyed = shape::keyed(plan, table, &positions)?;
    for node in keyed.above(plan) {
        changed.refuse_subqueries(node)?;
    }
    changed.keys(keyed.input(plan), &keyed.exprs)?;
    let fields = table.snapshot.schema.arrow.fields();
    let columns = keyed.columns.iter().filter_map(|i| fields.get(*i)).map(|field| field.name().as_str());
    let columns = columns.collect::<Vec<_>>().join(", ");
    Ok(match keyed.unit {
        Unit::Groups => format!("groups ({columns})"),
        Unit::Partitions => format!("partitions ({columns})"),
        Unit::Rows => "rows".to_string(),
    })
}

/// Why no refresh of a view is incremental.
pub fn refusal(request: &Request<'_>) -> Result<Option<String>, Error> {
    Ok(ways(request.query, request.table, request.definition, request.sources)?.err())
}
