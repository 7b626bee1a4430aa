//! The HTTP port: `/healthz` (the process answers), `/readyz` (it takes connections), `/metrics`.

mod health;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use datafusion::execution::runtime_env::RuntimeEnv;
use tokio::net::TcpListener;

pub use self::health::check;
use crate::metrics::{CacheCounts, Gauges};
use crate::pgwire::Server;

/// What the handlers see.
#[derive(Debug, Clone)]
pub struct HttpState {
    pub server: Arc<Server>,
    pub runtime: Arc<RuntimeEnv>,
}

/// Serves until the server has drained.
pub async fn serve(listener: TcpListener, state: HttpState, stop: tokio_util::sync::CancellationToken) {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics))
        .with_state(state);
    let serving = axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await });
    if let Err(error) = serving.await {
        tracing::error!(%error, "HTTP server ended");
    }
}

async fn metrics(State(state): State<HttpState>) -> impl IntoResponse {
    let results = state.server.engine.results();
    let asked = &results.statistics;
    let cache = CacheCounts {
        hits: asked.hits.get(),
        misses: asked.misses.get(),
        bypassed: asked.bypassed.get(),
        refreshed: asked.again.get(),
        bytes: results.size().1,
    };
    let gauges = Gauges {
        cache,
        connections: state.server.connections.len() as u64,
        active_statements: state.server.connections.active() as u64,
        memory_reserved_bytes: state.runtime.memory_pool.reserved() as u64,
        spill_bytes: state.runtime.disk_manager.used_disk_space(),
    };
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], state.server.metrics.render(gauges))
}
