//! `auric apply`: makes a lakehouse what the definitions in a directory say, or tells what differs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use auric_sql::definitions::{Action, Change, Definitions, File, Located};
use auric_sql::{ConnectParameters, Engine};

use crate::cli::say;
use crate::runtime::{Runtimes, scoped};

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("cannot read {path}: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path} is not UTF-8")]
    NotText { path: PathBuf },
    #[error("no file *.sql in {0}")]
    Empty(PathBuf),
    #[error(transparent)]
    Definition(#[from] Located),
    #[error("cannot open the database {0}: {1}")]
    Database(String, String),
    #[error("the task ended unexpectedly")]
    Ended,
}

/// What there is to do, and in which database.
#[derive(Debug, Clone)]
pub struct Apply {
    pub directory: PathBuf,
    pub database: String,
    /// Only tell what differs.
    pub check: bool,
}

impl Apply {
    /// Tells what differs and makes it so. Returns how many definitions differed.
    pub async fn run(self, engine: &Arc<Engine>, runtimes: &Runtimes) -> Result<usize, ApplyError> {
        let files = files(&self.directory)?;
        let engine = engine.clone();
        // The work is a query's: it belongs on the pool for queries.
        let task = scoped(&runtimes.query, "apply", async move { self.of_files(&engine, &files).await });
        task.await.unwrap_or(Err(ApplyError::Ended))
    }

    async fn of_files(&self, engine: &Arc<Engine>, files: &[File]) -> Result<usize, ApplyError> {
        let setting = |name: &str, value: &str| (name.to_string(), value.to_string());
        let parameters = ConnectParameters {
            user: "auric".into(),
            database: self.database.clone(),
            pid: 0,
            // The same for whoever applies them.
            settings: vec![setting("application_name", "auric apply"), setting("search_path", "public")],
        };
        let mut session =
            engine.connect(parameters).map_err(|e| ApplyError::Database(self.database.clone(), e.message))?;
        let definitions = Definitions::read(&session, files).await?;
        let plan = definitions.plan(&session).await?;
        let differs: Vec<&Change> = plan.iter().filter(|change| change.action != Action::Keep).collect();
        differs.iter().for_each(|change| say(&change.to_string()));
        say(&summary(&plan));
        if !self.check && !differs.is_empty() {
            let mut done = |change: &Change, notices: &[auric_sql::session::Notice]| {
                say(&format!("done: {}", change.what));
                notices.iter().for_each(|notice| say(&format!("{}: {}", notice.severity, notice.message)));
            };
            definitions.apply(&mut session, &mut done).await?;
        }
        Ok(differs.len())
    }
}

fn summary(plan: &[Change]) -> String {
    let count = |wanted: fn(&Action) -> bool| plan.iter().filter(|change| wanted(&change.action)).count();
    format!(
        "{} to create, {} to replace, {} to alter, {} unchanged",
        count(|action| *action == Action::Create),
        count(|action| matches!(action, Action::Replace(_))),
        count(|action| matches!(action, Action::Alter(_))),
        count(|action| *action == Action::Keep),
    )
}

/// All `*.sql` of a directory and those in it, by path.
fn files(directory: &Path) -> Result<Vec<File>, ApplyError> {
    let mut paths = Vec::new();
    collect(directory, &mut paths)?;
    paths.sort();
    if paths.is_empty() {
        return Err(ApplyError::Empty(directory.to_path_buf()));
    }
    let read = |path: PathBuf| {
        let bytes = std::fs::read(&path).map_err(|source| unreadable(&path, source))?;
        let text = String::from_utf8(bytes).map_err(|_| ApplyError::NotText { path: path.clone() })?;
        Ok(File { name: path.display().to_string(), text })
    };
    paths.into_iter().map(read).collect()
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) -> Result<(), ApplyError> {
    let entries = std::fs::read_dir(directory).map_err(|source| unreadable(directory, source))?;
    for entry in entries {
        let path = entry.map_err(|source| unreadable(directory, source))?.path();
        if path.is_dir() {
            collect(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "sql") {
            found.push(path);
        }
    }
    Ok(())
}

fn unreadable(path: &Path, source: std::io::Error) -> ApplyError {
    ApplyError::Unreadable { path: path.to_path_buf(), source }
}
