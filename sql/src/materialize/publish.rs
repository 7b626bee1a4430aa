//! The one step that makes audited rows those of the view: a commit of its table, together with what goes
//! into quarantine where one commit can be over both.

use std::sync::Arc;

use auric_catalog::commit;
use auric_catalog::dml::publish::Deferred;
use auric_catalog::registry::Table;
use auric_catalog::table::{
    Alteration, Isolation, Operation, PropertyChange, ReadSet, TableChange, TableFormat, TableVersion,
};
use auric_catalog::transaction::Transaction;
use auric_catalog::write::WrittenFiles;
use parking_lot::Mutex;

use super::definition::{POPULATED, PREFIX};
use super::provenance::Provenance;
use super::quarantine::{self, Quarantine, Run};
use crate::error::{Error, Result};
use crate::planner::Scope;

/// Keeps the change of a plan that writes, for somebody else to publish. Dropping it deletes the files.
#[derive(Debug, Default)]
pub struct Capture(Mutex<Option<Written>>);

/// A change and the guard of its files.
pub type Written = (TableChange, WrittenFiles);

impl Deferred for Capture {
    fn take(&self, change: TableChange, written: WrittenFiles) -> auric_catalog::Result<()> {
        *self.0.lock() = Some((change, written));
        Ok(())
    }
}

impl Capture {
    /// What was written; `None`: nothing that would change the table.
    pub fn into_written(&self) -> Option<Written> {
        self.0.lock().take()
    }
}

/// How a view's table is changed by a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The table comes into being.
    Create,
    /// It becomes another table, under its name and with its history.
    Replace,
    /// Its rows are replaced.
    Overwrite,
}

/// An audited run that nobody sees yet.
pub struct Publication<'a> {
    /// The view's table: staged, or at the version that the run replaces.
    pub table: &'a Table,
    pub kind: Kind,
    /// The view's rows. `None`: there are none, and there were none.
    pub written: Option<Written>,
    pub provenance: &'a Provenance,
    pub quarantines: Vec<Quarantine>,
    pub run: &'a Run,
    /// Properties of the view that a replaced table loses.
    pub unset: Vec<String>,
}

/// Publishes, or hands over to the transaction.
///
/// Fails with 40001 if the table is no longer at the version that the run replaces, and as a commit does;
/// then nothing is published.
pub async fn publish(scope: &Scope, in_block: bool, publication: Publication<'_>) -> Result<()> {
    let Publication { table, kind, written, provenance, quarantines, run, unset } = publication;
    let (mut change, guard) = written.unwrap_or_else(|| nothing(table, kind));
    change.summary.extend(provenance.summary());
    let mut gone = unset;
    if kind == Kind::Overwrite {
        change.read = ReadSet::Version;
        change.isolation = Isolation::Serializable;
        if table.snapshot.properties.contains_key(POPULATED) {
            gone.push(POPULATED.to_string());
        }
    }
    let alteration = (!gone.is_empty())
        .then(|| Alteration::Properties(PropertyChange { unset: gone, ..PropertyChange::default() }));
    if in_block {
        in_transaction(scope, table, (change, guard), alteration, quarantines).await?;
        return Ok(());
    }
    change.alterations.extend(alteration);
    let quarantines = quarantines.into_iter().map(|q| (q.capture.into_written(), q.table));
    let quarantines: Vec<_> =
        quarantines.filter(|(written, table)| written.is_some() || table.entry.is_none()).collect();
    let touched: Vec<Table> = quarantines.iter().map(|(_, quarantine)| quarantine.clone()).collect();
    if quarantines.is_empty() {
        commit::commit_written(table, change, guard, None).await?;
    } else if kind != Kind::Replace && can_commit_together(table, &quarantines) {
        together(table, kind, (change, guard), quarantines).await?;
    } else {
        for (written, quarantine) in quarantines {
            first(scope, &quarantine, written, run).await?;
        }
        commit::commit_written(table, change, guard, None).await?;
    }
    table.catalog.contents_changed();
    // The rest of the statement reads what this has made.
    touched.iter().chain([table]).for_each(|table| scope.tables.forget(table));
    Ok(())
}

/// A change of a view that has no rows and had none.
fn nothing(table: &Table, kind: Kind) -> Written {
    let operation = match kind {
        Kind::Create => Operation::Create,
        Kind::Replace => Operation::Replace,
        Kind::Overwrite => Operation::Overwrite,
    };
    let mut change = TableChange::new(operation, Vec::new());
    if kind == Kind::Replace {
        change.replacement = Some(table.snapshot.clone());
    }
    (change, WrittenFiles::new(table.catalog.storage().clone()))
}

/// As part of the session's transaction, which commits all of it or nothing.
async fn in_transaction(
    scope: &Scope,
    table: &Table,
    (change, guard): Written,
    alteration: Option<Alteration>,
    quarantines: Vec<Quarantine>,
) -> Result<()> {
    for Quarantine { table, capture } in quarantines {
        if table.entry.is_none() && table.snapshot.version == TableVersion::Unpublished {
            create_if_new(scope, &table).await?;
        }
        if let Some((change, guard)) = capture.into_written() {
            scope.tables.publish(&table)?.publish(&table, change, guard).await?;
        }
    }
    create_if_new(scope, table).await?;
    scope.tables.publish(table)?.publish(table, change, guard).await?;
    match alteration {
        Some(alteration) => scope.tables.alter(table, alteration).await,
        None => Ok(()),
    }
}

async fn create_if_new(scope: &Scope, table: &Table) -> Result<()> {
    let known = scope.tables.get(&table.catalog, &table.ident).await?;
    match known {
        Some(_) => Ok(()),
        None => scope.tables.create(table).await,
    }
}

/// Whether one commit can be over all of the tables: a Delta table that exists commits to its own log.
fn can_commit_together(table: &Table, quarantines: &[(Option<Written>, Table)]) -> bool {
    let pointer = |table: &Table| table.entry.is_none() || table.snapshot.format == TableFormat::Iceberg;
    table.catalog.backend().is_transactional()
        && pointer(table)
        && quarantines.iter().all(|(_, table)| pointer(table))
}

async fn together(
    table: &Table,
    kind: Kind,
    (change, guard): Written,
    quarantines: Vec<(Option<Written>, Table)>,
) -> Result<()> {
    let transaction = Arc::new(Transaction::new(&table.catalog));
    for (written, quarantine) in quarantines {
        if quarantine.entry.is_none() {
            transaction.create(&quarantine).await?;
        }
        if let Some((change, guard)) = written {
            transaction.add(&quarantine, change, guard)?;
        }
    }
    if kind == Kind::Create {
        transaction.create(table).await?;
    }
    transaction.add(table, change, guard)?;
    match transaction.commit().await {
        // Of a quarantine: it will be found the next time.
        Err(auric_catalog::Error::TableExists(quarantine)) if kind != Kind::Create => {
            let winner = "another statement made the table".to_string();
            let table = quarantine.to_string();
            Err(auric_catalog::Error::Conflict { table, winner }.into())
        }
        outcome => Ok(outcome?),
    }
}

/// The rows of the quarantine before those of the view. A run that is repeated, also by another server at
/// the same time, has the same id: what was put there first stays all there is.
async fn first(scope: &Scope, table: &Table, written: Option<Written>, run: &Run) -> Result<()> {
    let conflict = |winner: &str| {
        let (table, winner) = (table.ident.to_string(), winner.to_string());
        Error::from(auric_catalog::Error::Conflict { table, winner })
    };
    if table.entry.is_none() {
        let (change, guard) = written.unwrap_or_else(|| nothing(table, Kind::Create));
        return match commit::commit_written(table, change, guard, None).await {
            Err(auric_catalog::Error::TableExists(_)) => Err(conflict("another statement made the table")),
            outcome => outcome.map(|_| ()).map_err(Error::from),
        };
    }
    let Some((mut change, guard)) = written else { return Ok(()) };
    let current = table.catalog.table(&table.ident).await?;
    let current = current.ok_or_else(|| conflict("the table was dropped"))?;
    if quarantine::has_rows_of(scope, &current, run).await? {
        return Ok(());
    }
    let (then, now) = (&table.snapshot, &current.snapshot);
    let fits = then.table_id == now.table_id
        && then.schema.arrow == now.schema.arrow
        && then.default_spec.fields == now.default_spec.fields
        && then.constraints == now.constraints;
    if !fits {
        return Err(conflict("the table was altered"));
    }
    // Nobody else has put rows of the run there since they were looked for.
    change.read = ReadSet::Version;
    commit::commit_written(&current, change, guard, None).await?;
    Ok(())
}

/// Properties of the old view that the new one does not have.
pub fn lost<'a>(
    before: impl Iterator<Item = &'a String>,
    now: &std::collections::BTreeMap<String, String>,
) -> Vec<String> {
    before.filter(|key| key.starts_with(PREFIX) && !now.contains_key(*key)).cloned().collect()
}
