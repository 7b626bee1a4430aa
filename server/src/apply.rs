//! `auric apply`: makes a lakehouse what the definitions in a directory say, or tells what differs. And the
//! same when a server starts, of the directory in `[materialize] dir`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use auric_sql::definitions::{Action, Change, Definitions, File, Located};
use auric_sql::{ConnectParameters, Engine, Session, SqlState};
use chrono::Utc;

use crate::cli::say;
use crate::config::DEFAULT_CATALOG;
use crate::pgwire::Server;
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
    /// Somebody else made the same thing at the same time.
    #[error("{0}")]
    Overtaken(Located),
    #[error("it was cancelled; the next start goes on from there")]
    Interrupted,
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
        let files = self.files()?;
        let engine = engine.clone();
        // The work is a query's: it belongs on the pool for queries.
        let task = scoped(&runtimes.query, "apply", async move { self.of_files(&engine, &files).await });
        task.await.unwrap_or(Err(ApplyError::Ended))
    }

    async fn of_files(&self, engine: &Arc<Engine>, files: &[File]) -> Result<usize, ApplyError> {
        let mut session = self.session(engine, 0)?;
        let definitions = Definitions::read(&session, files).await?;
        let plan = definitions.plan(&mut session).await?;
        let differs: Vec<&Change> = plan.iter().filter(|change| change.action != Action::Keep).collect();
        differs.iter().for_each(|change| say(&change.to_string()));
        say(&summary(&plan));
        if !self.check && !differs.is_empty() {
            let mut done = |change: &Change, notices: &[auric_sql::session::Notice]| {
                if change.action != Action::Keep {
                    say(&format!("done: {}", change.what));
                }
                notices.iter().for_each(|notice| say(&format!("{}: {}", notice.severity, notice.message)));
            };
            definitions.apply(&mut session, &mut done).await?;
        }
        Ok(differs.len())
    }

    fn session(&self, engine: &Arc<Engine>, pid: i32) -> Result<Session, ApplyError> {
        let setting = |name: &str, value: &str| (name.to_string(), value.to_string());
        let parameters = ConnectParameters {
            user: USER.into(),
            database: self.database.clone(),
            pid,
            // The same for whoever applies them.
            settings: vec![setting("application_name", APPLICATION), setting("search_path", "public")],
        };
        engine.connect(parameters).map_err(|e| ApplyError::Database(self.database.clone(), e.message))
    }

    fn files(&self) -> Result<Vec<File>, ApplyError> {
        let files = files(&self.directory)?;
        if files.is_empty() { Err(ApplyError::Empty(self.directory.clone())) } else { Ok(files) }
    }
}

/// Who applies definitions, and in whose name tasks run that files define.
const USER: &str = "auric";
const APPLICATION: &str = "auric apply";

/// How often definitions are applied anew that another server was applying at the same time.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(200);

/// Applies the definitions of a directory while the server serves. What fails is logged, and shown by
/// `auric.definitions`; the server goes on with what there is.
pub async fn at_start(server: Arc<Server>, directory: PathBuf) {
    let apply = Apply { directory, database: DEFAULT_CATALOG.to_string(), check: false };
    let slot = server.connections.add_worker(USER, &apply.database, APPLICATION);
    let statement = slot.begin(&format!("apply {}", apply.directory.display()));
    let (engine, pid, shown) = (server.engine.clone(), slot.pid, apply.directory.display().to_string());
    let work = scoped(&server.runtimes.query, "apply", async move { apply.patiently(&engine, pid).await });
    let outcome = tokio::select! {
        outcome = work => outcome.unwrap_or(Err(ApplyError::Ended)),
        () = statement.cancelled() => Err(ApplyError::Interrupted),
        () = slot.terminate.cancelled() => Err(ApplyError::Interrupted),
        () = server.draining.cancelled() => Err(ApplyError::Interrupted),
    };
    server.connections.remove(pid);
    let (report, now) = (server.engine.definitions(), Utc::now());
    match &outcome {
        Ok(applied) => {
            tracing::info!(directory = shown, applied, "definitions are applied");
            return;
        }
        Err(ApplyError::Interrupted) => report.interrupted(now),
        Err(ApplyError::Definition(located) | ApplyError::Overtaken(located)) => report.failed(located, now),
        Err(error) => report.unreadable(shown.clone(), error.to_string(), now),
    }
    if let Err(error) = outcome {
        tracing::error!(directory = shown, %error, "definitions are not applied");
    }
}

impl Apply {
    /// Returns how many definitions were applied.
    async fn patiently(&self, engine: &Arc<Engine>, pid: i32) -> Result<usize, ApplyError> {
        let mut pause = PAUSE;
        for _ in 1..ATTEMPTS {
            match self.quietly(engine, pid).await {
                Err(ApplyError::Overtaken(located)) => {
                    tracing::info!(%located, "another server applies definitions, too");
                }
                outcome => return outcome,
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(PAUSE * 10);
        }
        match self.quietly(engine, pid).await {
            Err(ApplyError::Overtaken(located)) => Err(ApplyError::Definition(located)),
            outcome => outcome,
        }
    }

    async fn quietly(&self, engine: &Arc<Engine>, pid: i32) -> Result<usize, ApplyError> {
        let files = files(&self.directory)?;
        let report = engine.definitions();
        let mut session = self.session(engine, pid)?;
        let definitions = Definitions::read(&session, &files).await?;
        let plan = definitions.plan(&mut session).await?;
        report.planned(&plan, Utc::now());
        let mut applied = 0;
        if plan.iter().any(|change| change.action != Action::Keep) {
            let mut told = |change: &Change, _: &[auric_sql::session::Notice]| {
                report.applied(change, Utc::now());
                if change.action != Action::Keep {
                    applied += 1;
                    tracing::info!(%change, "definition applied");
                }
            };
            definitions.apply(&mut session, &mut told).await.map_err(|located| {
                match has_met_another(&located) {
                    true => ApplyError::Overtaken(located),
                    false => ApplyError::Definition(located),
                }
            })?;
        }
        Ok(applied)
    }
}

/// Whether somebody else has made the same thing since it was compared.
fn has_met_another(located: &Located) -> bool {
    use SqlState as S;
    matches!(
        located.error.code,
        S::SERIALIZATION_FAILURE | S::DUPLICATE_TABLE | S::DUPLICATE_OBJECT | S::DUPLICATE_SCHEMA
    )
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
