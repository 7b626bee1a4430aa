//! Which statements are answered at once: without a plan, without waiting for a catalog, in
//! microseconds. A server may run them where nothing else may compute.

use super::trivial;
use crate::parser::{Parsed, Statement};
use crate::session::Session;

impl Session {
    /// Whether preparing and executing the statement is a matter of microseconds.
    pub fn answers_at_once(&self, parsed: &Parsed) -> bool {
        match parsed.statement.as_ref() {
            Statement::Query(query) => matches!(trivial::answer(self, query), Ok(Some(_))),
            Statement::Set(_)
            | Statement::SetTransaction { .. }
            | Statement::Show(_)
            | Statement::Reset(_)
            | Statement::Discard(_)
            | Statement::Begin { .. }
            | Statement::Rollback
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
            | Statement::ShowCreate { .. }
            | Statement::Rename(_)
            | Statement::Comment(_)
            | Statement::CreateIndex(_)
            | Statement::Insert(_)
            | Statement::Truncate(_)
            | Statement::Update(_)
            | Statement::Delete(_)
            | Statement::Merge(_)
            | Statement::Copy(_)
            | Statement::Commit
            | Statement::Prepare { .. }
            | Statement::Execute { .. }
            | Statement::Declare(_)
            | Statement::Fetch(_) => false,
        }
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
