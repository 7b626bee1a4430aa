//! Health: told to others, and asked for by `auric healthcheck`.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::HttpState;

/// 200 while connections are accepted, 503 while shutting down.
pub(super) async fn ready(State(state): State<HttpState>) -> (StatusCode, &'static str) {
    if state.server.draining.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}

/// Asks the server at `address` (HOST:PORT) whether it is ready. Fails with the reason why not.
pub async fn check(address: &str) -> Result<(), String> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(4096).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    match tokio::time::timeout(Duration::from_secs(5), asked).await {
        Err(_) => Err(format!("{address} did not answer within 5 s")),
        Ok(Err(error)) => Err(format!("{address}: {error}")),
        Ok(Ok(answer)) if answer.starts_with(b"HTTP/1.1 200") => Ok(()),
        Ok(Ok(answer)) => {
            let line = answer.split(|b| *b == b'\r').next().unwrap_or_default();
            Err(format!("{address} answered {}", String::from_utf8_lossy(line)))
        }
    }
}
