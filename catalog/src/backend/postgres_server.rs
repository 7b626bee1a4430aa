//! A PostgreSQL server for tests, from Debian's packages or the search path. Where there is none, tests
//! say that they are skipped (`tests/run` installs it).

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};

use super::sql::PostgresOptions;
use crate::storage::Secret;

/// Ends with the process, or when dropped.
pub(crate) struct PostgresServer {
    pub port: u16,
    process: Mutex<Running>,
    databases: AtomicU32,
}

struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl PostgresServer {
    /// One for all tests that do not stop it.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<PostgresServer>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    pub fn start() -> Option<Self> {
        let Some(bin) = programs() else {
            eprintln!("SKIPPED: no PostgreSQL server found in /usr/lib/postgresql or the search path");
            return None;
        };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/clients/scripts/postgres.sh");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
        let mut command = Command::new(if root { "runuser" } else { "sh" });
        if root {
            command.args(["-u", "postgres", "--", "sh"]);
        }
        // The shell gets the script as text: its user may not be allowed to read the checkout.
        let text = std::fs::read_to_string(script).unwrap();
        command.args(["-c", &text, "postgres.sh"]).arg(bin).arg(port.to_string()).current_dir("/");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let running = Running { stdin: child.stdin.take(), stdout, child };
        let server = Self { port, process: Mutex::new(running), databases: AtomicU32::new(0) };
        server.await_answer("ready");
        Some(server)
    }

    fn await_answer(&self, expected: &str) {
        let mut answer = String::new();
        self.process.lock().unwrap().stdout.read_line(&mut answer).unwrap();
        assert_eq!(answer.trim(), expected, "the PostgreSQL server did not obey");
    }

    /// `stop`, `start` or `restart`.
    pub fn order(&self, command: &str) {
        writeln!(self.process.lock().unwrap().stdin.as_mut().unwrap(), "{command}").unwrap();
        self.await_answer(command);
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgresql://auric@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes an empty database.
    pub async fn new_database(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut connection = PgConnection::connect(&self.url("postgres")).await.unwrap();
        connection.execute(sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}")))).await.unwrap();
        name
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        let mut running = self.process.lock().unwrap();
        drop(running.stdin.take());
        let _ = running.child.wait();
    }
}

pub(crate) fn options(url: &str) -> PostgresOptions {
    PostgresOptions {
        url: Secret::new(url),
        password: None,
        schema: None,
        max_connections: 10,
        timeout: Duration::from_secs(10),
    }
}

/// The directory of `initdb` and `postgres`; of the newest version.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> = std::env::split_paths(&path).collect();
    for entry in std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten() {
        found.push(entry.path().join("bin"));
    }
    let version = |bin: &PathBuf| {
        let number =
            bin.parent().and_then(Path::file_name).and_then(|name| name.to_str()?.parse::<u32>().ok());
        number.unwrap_or_default()
    };
    found
        .into_iter()
        .filter(|bin| bin.join("initdb").exists() && bin.join("postgres").exists())
        .max_by_key(version)
}
