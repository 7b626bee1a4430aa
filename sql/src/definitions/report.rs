//! What became of the definitions that a server has applied when it started: `auric.definitions` shows it.

use chrono::{DateTime, Utc};
use parking_lot::RwLock;

use super::{Action, Change, Located};

/// How far a definition has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// There was nothing to do.
    Unchanged,
    /// It is to be made, or is being made.
    Pending,
    Applied,
    Failed,
    /// It was not made, as another one failed.
    Skipped,
}

impl Status {
    fn unless_kept(change: &Change, status: Self) -> Self {
        if change.action == Action::Keep { Self::Unchanged } else { status }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Pending => "pending",
            Self::Applied => "applied",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// A definition, or a file that could not be read.
#[derive(Debug, Clone)]
pub struct Entry {
    pub file: String,
    /// From 1; `None`: of the file as a whole.
    pub line: Option<usize>,
    /// As [`Change::what`]; `None`: nothing could be read.
    pub what: Option<String>,
    pub action: Option<Action>,
    pub status: Status,
    pub error: Option<String>,
    pub sqlstate: Option<String>,
    /// When it got this status.
    pub at: DateTime<Utc>,
}

/// Of the last time that definitions were applied.
#[derive(Debug, Default)]
pub struct Report(RwLock<Vec<Entry>>);

impl Report {
    pub fn entries(&self) -> Vec<Entry> {
        self.0.read().clone()
    }

    /// What is about to be done takes the place of what was.
    pub fn planned(&self, plan: &[Change], at: DateTime<Utc>) {
        let entry = |change: &Change| Entry {
            file: change.file.clone(),
            line: Some(change.line),
            what: Some(change.what.clone()),
            status: Status::unless_kept(change, Status::Pending),
            action: Some(change.action.clone()),
            error: None,
            sqlstate: None,
            at,
        };
        *self.0.write() = plan.iter().map(entry).collect();
    }

    /// It is as it should be, by what was done now or by somebody else.
    pub fn applied(&self, change: &Change, at: DateTime<Utc>) {
        let mut entries = self.0.write();
        let is_it = |entry: &&mut Entry| entry.file == change.file && entry.line == Some(change.line);
        if let Some(entry) = entries.iter_mut().find(is_it) {
            entry.status = Status::unless_kept(change, Status::Applied);
            (entry.action, entry.at) = (Some(change.action.clone()), at);
        }
    }

    /// A definition failed, and with it those that were still to come.
    pub fn failed(&self, located: &Located, at: DateTime<Utc>) {
        let mut entries = self.0.write();
        let mut culprit = None;
        for (i, entry) in entries.iter_mut().enumerate() {
            // The place of an error is inside of a definition.
            if entry.file == located.file && entry.line.is_some_and(|line| line <= located.line) {
                let before = culprit.map_or(0, |(_, line)| line);
                culprit = entry.line.filter(|line| *line > before).map(|line| (i, line)).or(culprit);
            }
            if entry.status == Status::Pending {
                (entry.status, entry.at) = (Status::Skipped, at);
            }
        }
        let error = Some(located.error.message.clone());
        let sqlstate = Some(located.error.code.to_string());
        match culprit.and_then(|(i, _)| entries.get_mut(i)) {
            Some(entry) => {
                *entry = Entry { status: Status::Failed, error, sqlstate, at, ..entry.clone() };
            }
            None => entries.push(Entry {
                file: located.file.clone(),
                line: Some(located.line),
                what: None,
                action: None,
                status: Status::Failed,
                error,
                sqlstate,
                at,
            }),
        }
    }

    /// Nothing could be read.
    pub fn unreadable(&self, file: String, error: String, at: DateTime<Utc>) {
        let (line, what, action, sqlstate) = (None, None, None, None);
        let status = Status::Failed;
        *self.0.write() = vec![Entry { file, line, what, action, status, error: Some(error), sqlstate, at }];
    }

    /// Nothing was done of what is still pending.
    pub fn interrupted(&self, at: DateTime<Utc>) {
        for entry in self.0.write().iter_mut().filter(|entry| entry.status == Status::Pending) {
            (entry.status, entry.at) = (Status::Skipped, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, SqlState};

    fn change(file: &str, line: usize, action: Action) -> Change {
        Change { file: file.into(), line, what: format!("view {file}{line}"), action }
    }

    #[test]
    fn what_another_has_made_is_not_pending_for_ever() {
        let (report, at) = (Report::default(), DateTime::<Utc>::UNIX_EPOCH);
        report.planned(&[change("a", 1, Action::Create), change("a", 2, Action::Create)], at);
        report.applied(&change("a", 1, Action::Keep), at);
        report.applied(&change("a", 2, Action::Create), at);
        let of = |entry: Entry| (entry.action.unwrap(), entry.status);
        let found: Vec<_> = report.entries().into_iter().map(of).collect();
        assert_eq!(found, [(Action::Keep, Status::Unchanged), (Action::Create, Status::Applied)]);
    }

    #[test]
    fn a_failure_is_of_the_definition_that_it_is_in() {
        let (report, at) = (Report::default(), DateTime::<Utc>::UNIX_EPOCH);
        let plan = [
            change("a", 1, Action::Create),
            change("b", 7, Action::Create),
            change("b", 3, Action::Keep),
            change("b", 1, Action::Create),
        ];
        report.planned(&plan, at);
        report.applied(&plan[0], at);
        let error = Error::new(SqlState::UNDEFINED_COLUMN, "no such column");
        report.failed(&Located { file: "b".into(), line: 9, error: error.into() }, at);
        let statuses: Vec<Status> = report.entries().iter().map(|entry| entry.status).collect();
        assert_eq!(statuses, [Status::Applied, Status::Failed, Status::Unchanged, Status::Skipped]);
        assert_eq!(report.entries()[1].sqlstate.as_deref(), Some("42703"));
        let error = Error::new(SqlState::SYNTAX_ERROR, "syntax");
        report.failed(&Located { file: "c".into(), line: 2, error: error.into() }, at);
        let last = report.entries().pop().unwrap();
        assert_eq!((last.file.as_str(), last.line, last.what), ("c", Some(2), None));
    }
}
