//! Harness of the end-to-end tests: starts the real binary with a data directory of its own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// The binary under test: `AURIC_BIN`, or the release build beside this test.
fn binary() -> std::io::Result<PathBuf> {
    if let Some(path) = std::env::var_os("AURIC_BIN") {
        return Ok(path.into());
    }
    let test = std::env::current_exe()?;
    let profile = test.parent().and_then(Path::parent).map(Path::to_path_buf).unwrap_or_default();
    Ok(profile.join("auric"))
}

/// A running server; ended by its own process id when dropped.
#[derive(Debug)]
pub struct Server {
    process: Child,
    port: u16,
    _data_dir: tempfile::TempDir,
}

impl Server {
    /// Starts `auric serve` on a free port and waits until it says that it is ready.
    pub fn start() -> std::io::Result<Self> {
        let data_dir = tempfile::tempdir()?;
        let mut process = Command::new(binary()?)
            .args(["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir.path())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = process.stdout.take().ok_or_else(|| std::io::Error::other("no standard output"))?;
        let mut lines = BufReader::new(stdout).lines();
        let port = loop {
            let line = lines
                .next()
                .ok_or_else(|| std::io::Error::other("the server ended before it was ready"))??;
            if let Some(port) = ready_port(&line) {
                break port;
            }
        };
        // Keeps the pipe empty, so that logging never blocks the server.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { process, port, _data_dir: data_dir })
    }

    /// Parameters for tokio-postgres.
    pub fn config(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).user("auric").dbname("lake");
        config
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Killing an ended process is harmless; there is nobody to report an error to.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Port in the readiness line.
fn ready_port(line: &str) -> Option<u16> {
    let rest = line.split_once("auric is ready:")?.1.split_once("port=")?.1;
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}
