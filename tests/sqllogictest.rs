//! Runs `tests/slt/**/*.slt` over the wire. `AURIC_SLT_COMPLETE=1` rewrites the files with what the
//! server answers, for review.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use e2e::{Server, repository};
use libtest_mimic::{Arguments, Failed, Trial};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};
use tokio_postgres::{Client, SimpleQueryMessage};

/// A connection that sends every statement by the simple protocol and shows values as text.
struct Wire {
    client: Client,
}

#[derive(Debug, thiserror::Error)]
enum WireError {
    /// The SQLSTATE is part of the text, so that `statement error` patterns can ask for it.
    #[error("{code}: {message}")]
    Sql { code: String, message: String },
    #[error(transparent)]
    Postgres(tokio_postgres::Error),
}

impl From<tokio_postgres::Error> for WireError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(db) => Self::Sql { code: db.code().code().to_string(), message: db.message().to_string() },
            None => Self::Postgres(error),
        }
    }
}

#[async_trait::async_trait]
impl AsyncDB for Wire {
    type Error = WireError;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, WireError> {
        let mut rows = Vec::new();
        let mut columns = None;
        let mut affected = 0;
        for message in self.client.simple_query(sql).await? {
            match message {
                SimpleQueryMessage::RowDescription(described) => columns = Some(described.len()),
                // Expectations are compared line by line.
                SimpleQueryMessage::Row(row) if row.len() == 1 => {
                    rows.extend(text(row.get(0)).split('\n').map(|line| vec![line.to_string()]));
                }
                SimpleQueryMessage::Row(row) => rows.push((0..row.len()).map(|k| text(row.get(k))).collect()),
                SimpleQueryMessage::CommandComplete(count) => affected = count,
                _ => {}
            }
        }
        Ok(match columns {
            Some(count) => DBOutput::Rows { types: vec![DefaultColumnType::Any; count], rows },
            None => DBOutput::StatementComplete(affected),
        })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "auric"
    }

    fn error_sql_state(error: &WireError) -> Option<String> {
        match error {
            WireError::Sql { code, .. } => Some(code.clone()),
            WireError::Postgres(_) => None,
        }
    }
}

fn text(value: Option<&str>) -> String {
    match value {
        None => "NULL".to_string(),
        Some("") => "(empty)".to_string(),
        Some(value) => value.to_string(),
    }
}

async fn connect(server: Arc<Server>) -> Result<Wire, WireError> {
    let (client, connection) = server.config().connect(tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    Ok(Wire { client })
}

fn run_file(path: &Path, server: &Arc<Server>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut runner = Runner::new(|| connect(server.clone()));
        if std::env::var_os("AURIC_SLT_COMPLETE").is_some() {
            let update = runner.update_test_file(
                path,
                " ",
                sqllogictest::default_validator,
                sqllogictest::default_normalizer,
                sqllogictest::default_column_validator,
            );
            return update.await.map_err(|e| Failed::from(e.to_string()));
        }
        runner.run_file_async(path).await.map_err(|e| Failed::from(e.display(false).to_string()))
    })
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "slt") {
            found.push(path);
        }
    }
    found.sort();
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::from_args();
    let root = repository().join("tests/slt");
    let mut found = Vec::new();
    files(&root, &mut found)?;
    if found.is_empty() {
        return Err("no .slt files found".into());
    }
    let server = Arc::new(Server::start()?);
    let trials = found
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
            let server = server.clone();
            Trial::test(name, move || run_file(&path, &server))
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(server);
    conclusion.exit()
}
