//! Other engines, for tests: Python with `pyiceberg` and `deltalake`. `AURIC_PYTHON` names the
//! interpreter; without one that has them, tests say that they are skipped.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// Runs a script that needs `modules`; returns what it printed. Panics if it fails.
pub(crate) fn run(modules: &str, script: &str) -> Option<String> {
    let output = interpreter(modules)?.args(["-c", script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

fn interpreter(modules: &str) -> Option<Command> {
    let python = std::env::var("AURIC_PYTHON").unwrap_or_else(|_| "python3".into());
    let usable = Command::new(&python).args(["-c", &format!("import {modules}")]).output();
    if !usable.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: {python} lacks one of {modules} (set AURIC_PYTHON)");
        return None;
    }
    Some(Command::new(python))
}

/// An S3 server (moto) on the loopback interface, with one bucket; ends when dropped.
pub(crate) struct S3 {
    pub endpoint: String,
    process: Child,
}

/// Starts an S3 server with a bucket of that name.
pub(crate) fn s3(bucket: &str) -> Option<S3> {
    const SCRIPT: &str = "
import sys, urllib.request
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
server.start()
endpoint = 'http://%s:%d' % server.get_host_and_port()
urllib.request.urlopen(urllib.request.Request(f'{endpoint}/{sys.argv[1]}', method='PUT')).read()
print(endpoint, flush=True)
sys.stdin.read()
";
    let mut command = interpreter("moto.server")?;
    command.args(["-c", SCRIPT, bucket]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let mut endpoint = String::new();
    BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut endpoint).unwrap();
    assert!(endpoint.starts_with("http://"), "moto did not start");
    Some(S3 { endpoint: endpoint.trim().to_string(), process })
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
