//! Which statements are answered at once: without a plan, without waiting for a catalog, in
//! microseconds. A server may run them where nothing else may compute.

use super::Prepared;
use super::trivial::{self, TrivialAnswer};
use crate::error::Result;
use crate::parser::{Parsed, Statement};
use crate::session::Session;

impl Session {
    /// Whether preparing and executing the statement is a matter of microseconds.
    pub fn answers_at_once(&self, parsed: &Parsed) -> bool {
        match parsed.statement.as_ref() {
            Statement::Query(query) => trivial::is_trivial(self, query),
            Statement::Set(_)
            | Statement::SetTransaction { .. }
            | Statement::Show(_)
            | Statement::Reset(_)
            | Statement::Discard(_)
            | Statement::Begin { .. }
            | Statement::Rollback(_)
            | Statement::Savepoint(_)
            | Statement::Release(_)
            | Statement::RollbackTo(_)
            | Statement::Deallocate(_)
            | Statement::Close(_)
            | Statement::Accepted(_)
            | Statement::Unsupported(_) => true,
            Statement::Explain(_)
            | Statement::CreateSchema { .. }
            | Statement::DropSchema { .. }
            | Statement::CreateTable(_)
            | Statement::AlterTable(_)
            | Statement::DropTable { .. }
            | Statement::CreateView(_)
            | Statement::DropView { .. }
            | Statement::CreateMaterializedView(_)
            | Statement::RefreshMaterializedView(_)
            | Statement::AlterMaterializedView(_)
            | Statement::DropMaterializedView { .. }
            | Statement::CreateTask(_)
            | Statement::AlterTask(_)
            | Statement::DropTask { .. }
            | Statement::ExecuteTask { .. }
            | Statement::ShowCreate { .. }
            | Statement::Rename(_)
            | Statement::Comment(_)
            | Statement::CreateIndex(_)
            | Statement::Analyze(_)
            | Statement::Insert(_)
            | Statement::Truncate(_)
            | Statement::Update(_)
            | Statement::Delete(_)
            | Statement::Merge(_)
            | Statement::Copy(_)
            | Statement::Commit(_)
            | Statement::Prepare { .. }
            | Statement::Execute { .. }
            | Statement::Declare(_)
            | Statement::Fetch(_) => false,
        }
    }
}

impl Session {
    /// Prepares a trivial query without waiting for anything. `None`: it is something else. Fails with
    /// 25P02 in a failed transaction.
    pub fn prepare_trivial(&self, parsed: &Parsed) -> Result<Option<Prepared>> {
        let Statement::Query(query) = parsed.statement.as_ref() else { return Ok(None) };
        self.refuse_if_failed(&parsed.statement)?;
        Ok(trivial::answer(self, query)?.map(|answer| Prepared::trivial(parsed, answer)))
    }

    /// The answer to a trivial query that was prepared in this session. `None`: it is something else.
    /// Fails with 25P02 in a failed transaction.
    pub fn trivial_answer<'a>(&self, prepared: &'a Prepared) -> Result<Option<&'a TrivialAnswer>> {
        self.refuse_if_failed(&prepared.parsed.statement)?;
        Ok(prepared.trivial.as_ref())
    }
}

impl Parsed {
    /// The name that a `DEALLOCATE name` gives. The protocol's own prepared statements are the
    /// server's, and it has to look there first.
    pub fn deallocates(&self) -> Option<&str> {
        match self.statement.as_ref() {
            Statement::Deallocate(name) => name.as_deref(),
            _ => None,
        }
    }
}
