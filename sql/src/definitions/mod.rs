//! Definitions kept in files: what a lakehouse should have of schemas, views, materialized views and tasks,
//! compared with what it has, and brought about.
//!
//! Nothing is remembered about the files: what differs is found by comparing each definition with the
//! relation of its name, so that applying them twice changes nothing the second time, and what somebody
//! has changed by hand is seen. What the files do not name is left alone.

mod compare;
mod compare_task;
mod order;
mod read;
mod rehearse;
pub mod report;

use std::fmt;

use futures::future::BoxFuture;

pub use self::read::Definitions;
use self::read::{Item, Key};
use crate::error::{Error, SqlState};
use crate::parser::Parsed;
use crate::parser::statement::Statement;
use crate::session::{Notice, Session};

/// A file of statements, each of which defines one thing.
#[derive(Debug, Clone)]
pub struct File {
    /// As messages name it.
    pub name: String,
    pub text: String,
}

/// An error and where its definition stands.
#[derive(Debug, Clone)]
pub struct Located {
    /// Name of the file.
    pub file: String,
    /// Line in the file, from 1.
    pub line: usize,
    pub error: Box<Error>,
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Error { code, message, detail, hint, .. } = self.error.as_ref();
        write!(f, "{}:{}: {message} ({})", self.file, self.line, code.0)?;
        for more in [detail, hint].into_iter().flatten() {
            write!(f, "\n  {more}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Located {}

/// What it takes to make what there is what the definition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// There is none of this name.
    Create,
    /// It is made anew, for these reasons; the rows of a materialized view are computed anew.
    Replace(Vec<String>),
    /// These things are set; no row is touched.
    Alter(Vec<String>),
    /// Nothing: it is as it should be.
    Keep,
}

impl Action {
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Replace(_) => "replace",
            Self::Alter(_) => "alter",
            Self::Keep => "keep",
        }
    }
}

/// A definition and what it takes.
#[derive(Debug, Clone)]
pub struct Change {
    pub file: String,
    pub line: usize,
    /// `materialized view "gold"."daily"`, with its kind in the words of SQL.
    pub what: String,
    pub action: Action,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let details = match &self.action {
            Action::Create | Action::Keep => [].as_slice(),
            Action::Replace(details) | Action::Alter(details) => details.as_slice(),
        };
        write!(f, "{} {}", self.action.verb(), self.what)?;
        if !details.is_empty() {
            write!(f, ": {}", details.join("; "))?;
        }
        write!(f, " ({}:{})", self.file, self.line)
    }
}

impl Definitions {
    /// What would change, in the order in which it would. Nothing is written.
    ///
    /// A materialized view over something that is itself to be created cannot be planned yet: it is then
    /// compared by its text alone.
    pub fn plan<'a>(&'a self, session: &'a mut Session) -> BoxFuture<'a, Result<Vec<Change>, Located>> {
        Box::pin(async move {
            let mut changes = Vec::with_capacity(self.items.len());
            for item in &self.items {
                changes.push(item.change(session).await?);
            }
            Ok(changes)
        })
    }

    /// Makes it so, one definition after the other, each in a commit of its own; `told` hears of each, with
    /// what it has taken (nothing, where somebody else has made it since [`Self::plan`]) and the notices of
    /// its statement.
    ///
    /// Nothing happens if one of them cannot be made: all are made before, without rows, in a transaction
    /// that is rolled back (where the database knows such). One that fails all the same, while its rows are
    /// computed, is the last: what was done before it stays, and a repetition goes on from there.
    pub fn apply<'a>(
        &'a self,
        session: &'a mut Session,
        told: &'a mut (dyn FnMut(&Change, &[Notice]) + Send),
    ) -> BoxFuture<'a, Result<(), Located>> {
        Box::pin(async move {
            rehearse::all(&self.items, session).await?;
            for item in &self.items {
                let change = item.change(session).await?;
                item.carry_out(session, &change.action).await.map_err(|error| item.located(error))?;
                told(&change, &session.take_notices());
            }
            Ok(())
        })
    }
}

impl Item {
    async fn change(&self, session: &mut Session) -> Result<Change, Located> {
        let action = compare::action(session, self).await.map_err(|error| self.located(error))?;
        let what = self.what();
        Ok(Change { file: self.file.clone(), line: self.line, what, action })
    }

    async fn carry_out(&self, session: &mut Session, action: &Action) -> Result<(), Error> {
        match action {
            Action::Keep => Ok(()),
            Action::Alter(_) => compare::alter(session, self).await,
            Action::Create | Action::Replace(_) => {
                let statement = self.statement(matches!(action, Action::Replace(_)));
                let prepared = session.prepare(&statement, &[]).await?;
                session.execute(&prepared, Vec::new()).await.map(|_| ())
            }
        }
    }

    /// The statement that creates or replaces it, whatever the file says of that.
    fn statement(&self, replace: bool) -> Parsed {
        let mut statement = self.parsed.statement.as_ref().clone();
        match &mut statement {
            Statement::CreateSchema { if_not_exists, .. } => *if_not_exists = true,
            Statement::CreateView(create) => (create.or_replace, create.if_not_exists) = (replace, false),
            Statement::CreateTask(create) => (create.or_replace, create.if_not_exists) = (replace, false),
            Statement::CreateMaterializedView(create) => {
                (create.table.or_replace, create.table.if_not_exists) = (replace, false);
            }
            _ => {}
        }
        Parsed::new(self.parsed.text.clone(), statement.into(), self.parsed.source.clone())
    }

    fn what(&self) -> String {
        let kind = match self.parsed.statement.as_ref() {
            Statement::CreateMaterializedView(_) => "materialized view",
            Statement::CreateView(_) => "view",
            Statement::CreateTask(_) => "task",
            _ => "schema",
        };
        format!("{kind} {}", self.key)
    }

    fn located(&self, error: Error) -> Located {
        let line = match error.position {
            Some(position) => read::line_of(&self.parsed.source, position),
            None => self.line,
        };
        Located { file: self.file.clone(), line, error: error.into() }
    }
}

/// Refuses what the files must not hold.
fn no_definition(statement: &str) -> Error {
    let shown: String = statement.chars().take(60).collect();
    Error::new(SqlState::SYNTAX_ERROR, format!("\"{}\" defines nothing", shown.trim()))
        .with_hint("Files of definitions hold CREATE SCHEMA, VIEW, MATERIALIZED VIEW and TASK.")
}

fn defined_twice(key: &Key, first: &Item) -> Error {
    let message = format!("{key} is defined more than once");
    Error::new(SqlState::DUPLICATE_OBJECT, message)
        .with_detail(format!("Its other definition is at {}:{}.", first.file, first.line))
}
