//! Putting the server together: catalogs, memory, pools of threads, ports.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use auric_catalog::backend::Backend;
use auric_catalog::backend::delta_directory::DeltaDirectory;
use auric_catalog::backend::sql::{PostgresOptions, SqlBackend};
use auric_catalog::registry::{Catalog, Registry};
use auric_catalog::scan::FooterCache;
use auric_catalog::storage::{Memory, Storage, StoreRegistry};
use auric_sql::clock::Clock;
use auric_sql::result_cache::ResultCacheOptions;
use auric_sql::{Engine, EngineOptions};
use chrono::{DateTime, Utc};
use datafusion::execution::cache::cache_manager::CacheManagerConfig;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::activity::Connections;
use crate::apply;
use crate::config::value::CatalogKind;
use crate::config::{CatalogConfig, Config};
use crate::http::{self, HttpState};
use crate::limits::{Admission, Limits};
use crate::metrics::Metrics;
use crate::notify::Notifier;
use crate::pgwire::{self, Server};
use crate::refresher;
use crate::runtime::{self, Runtimes, spawn};
use crate::scheduler;
use crate::security::{self, Security};
use crate::shutdown::{self, Signals};
use crate::telemetry::LevelHandle;
use crate::temporary::TemporaryDirectory;

/// Why the server does not start: a sentence for the user.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(String);

fn failed(what: impl std::fmt::Display, error: impl std::error::Error) -> StartError {
    let mut text = format!("{what}: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    StartError(text)
}

/// The pools of threads. Dropping it stops what still runs.
#[derive(Debug)]
pub struct Pools {
    io: Option<Runtime>,
    plan: Option<Runtime>,
    query: Option<Runtime>,
    handles: Runtimes,
}

impl Pools {
    pub fn new(config: &Config) -> Result<Self, StartError> {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let or = |configured: usize, default: usize| if configured == 0 { default } else { configured };
        let nice = i32::try_from(config.query.nice).unwrap_or(0);
        let build = |name, threads, nice| {
            runtime::build(name, threads, nice).map_err(|e| failed("cannot start threads", e))
        };
        let io = build("auric-io", or(config.server.io_threads, 2), 0)?;
        let plan = build("auric-plan", cores.clamp(2, 8), 0)?;
        // As many as cores: with more, a plan's tasks run against each other (a tenth slower in TPC-H).
        let query = build("auric-query", or(config.query.threads, cores), nice)?;
        let handles =
            Runtimes { io: io.handle().clone(), plan: plan.handle().clone(), query: query.handle().clone() };
        Ok(Self { io: Some(io), plan: Some(plan), query: Some(query), handles })
    }

    pub fn handles(&self) -> &Runtimes {
        &self.handles
    }

    /// Runs the program's own task.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.handles.io.block_on(future)
    }
}

impl Drop for Pools {
    fn drop(&mut self) {
        // A plan that is busy computing is not waited for.
        for pool in [self.query.take(), self.plan.take(), self.io.take()].into_iter().flatten() {
            pool.shutdown_background();
        }
    }
}

#[derive(Debug)]
struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// A server with its ports open, not serving yet.
#[derive(Debug)]
pub struct Opened {
    pub server: Arc<Server>,
    runtime: Arc<RuntimeEnv>,
    listener: TcpListener,
    http: TcpListener,
}

/// How long the scheduler may take to end.
const LAST_WORD: std::time::Duration = std::time::Duration::from_secs(1);

/// Environment variable of the places at which tests stop the server (`auric_catalog::failpoint`).
const FAILPOINTS: &str = "AURIC_FAILPOINTS";

/// Opens catalogs and ports.
pub async fn open(config: &Config, runtimes: &Runtimes) -> Result<Opened, StartError> {
    if let Ok(text) = std::env::var(FAILPOINTS) {
        auric_catalog::failpoint::set(&text).map_err(|e| failed("cannot set failure points", e))?;
    }
    let listener = bind(&config.server.listen).await?;
    let http = bind(&config.server.http).await?;
    let security = Security::new(config).map_err(|e| failed("cannot set up security", e))?;
    let connections = Connections::new(config.server.max_connections);
    let OpenedEngine { engine, runtime, temporary } =
        engine(config, &connections, listener.local_addr().ok()).await?;
    let server = Arc::new(Server {
        engine,
        connections,
        limits: Limits::new(config),
        security,
        admission: Admission::new(config.query.max_concurrent, config.query.queue_timeout),
        metrics: Arc::new(Metrics::default()),
        runtimes: runtimes.clone(),
        draining: CancellationToken::new(),
        temporary,
    });
    Ok(Opened { server, runtime, listener, http })
}

/// What runs statements, without a port.
#[derive(Debug)]
pub struct OpenedEngine {
    pub engine: Arc<Engine>,
    runtime: Arc<RuntimeEnv>,
    /// To be kept as long as the engine is used.
    temporary: TemporaryDirectory,
}

/// Opens the catalogs.
/// `address`: that of the port; `None`: there is none.
pub async fn engine(
    config: &Config,
    connections: &Arc<Connections>,
    address: Option<SocketAddr>,
) -> Result<OpenedEngine, StartError> {
    let memory = Arc::new(Memory::new(config.cache.metadata.bytes() as u64));
    let runtime = runtime_env(config, &memory)?;
    let registry = catalogs(config, &runtime, memory).await?;
    let temporary = TemporaryDirectory::open(&absolute(&config.server.data_dir)?)
        .map_err(|e| failed("cannot use the directory of temporary tables", e))?;
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let results = ResultCacheOptions {
        budget: config.cache.results.bytes() as u64,
        longest: config.cache.longest_result.bytes(),
        again_after: config.cache.refresh_after as u64,
    };
    let mut facts = vec![
        ("max_connections", config.server.max_connections.min(262_143).to_string()),
        ("ssl", if config.tls.certificate.is_some() { "on" } else { "off" }.to_string()),
    ];
    if let Some(address) = address {
        // As Postgres has it: all addresses are a star.
        let addresses =
            if address.ip().is_unspecified() { "*".to_string() } else { address.ip().to_string() };
        facts.extend([("port", address.port().to_string()), ("listen_addresses", addresses)]);
    }
    let options = EngineOptions {
        results,
        refreshes_at_once: match config.materialize.max_concurrent_refreshes {
            0 => (cores / 2).max(1),
            places => places,
        },
        facts,
        // More is as good as none, and no setting.
        idle_session_timeout_ms: u64::try_from(config.server.idle_session_timeout.as_millis())
            .map_or(0, |idle| if idle > i32::MAX.unsigned_abs().into() { 0 } else { idle }),
        target_partitions: if config.query.target_partitions == 0 {
            cores
        } else {
            config.query.target_partitions
        },
        prefer_hash_join: config.query.prefer_hash_join,
        batch_size: config.query.batch_size,
        statement_timeout_ms: u64::try_from(config.query.statement_timeout.as_millis()).unwrap_or(u64::MAX),
        temporary_directory: auric_catalog::storage::to_url(&temporary.path().to_string_lossy())
            .map_err(|e| failed("invalid data directory", e))?
            .to_string(),
    };
    let engine = Engine::new(registry, runtime.clone(), options, Arc::new(SystemClock), connections.clone())
        .map_err(|e| failed("cannot start the engine", e))?;
    Ok(OpenedEngine { engine, runtime, temporary })
}

async fn bind(address: &str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|e| failed(format!("cannot listen on {address}"), e))
}

fn runtime_env(config: &Config, memory: &Arc<Memory>) -> Result<Arc<RuntimeEnv>, StartError> {
    // Without a way to tell, a machine of 4 GiB.
    let available = crate::os::available_memory().unwrap_or(4 << 30);
    let top = NonZeroUsize::MIN.saturating_add(4);
    let limit = config.query.memory_limit.bytes(available);
    let mode = match &config.query.spill_dir {
        Some(dir) => DiskManagerMode::Directories(vec![PathBuf::from(dir)]),
        None => DiskManagerMode::OsTmpDirectory,
    };
    let disk = DiskManagerBuilder::default()
        .with_mode(mode)
        .with_max_temp_directory_size(config.query.spill_limit.0);
    RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(TrackConsumersPool::new(FairSpillPool::new(limit), top)))
        .with_disk_manager_builder(disk)
        .with_cache_manager(
            CacheManagerConfig::default()
                .with_file_metadata_cache(Some(Arc::new(FooterCache::new(memory.clone())))),
        )
        // Folders are listed anew by each statement: others put files into them.
        .with_object_list_cache_limit(0)
        .with_object_store_registry(Arc::new(StoreRegistry::new(config.storage.clone())))
        .build_arc()
        .map_err(|e| failed("cannot set up query execution", e))
}

async fn catalogs(
    config: &Config,
    runtime: &RuntimeEnv,
    memory: Arc<Memory>,
) -> Result<Registry, StartError> {
    let storage = Storage::new(runtime.object_store_registry.clone()).with_memory(memory);
    let mut registry = Registry::default();
    for (name, catalog) in &config.catalogs {
        let backend = backend(name, catalog, &config.server.data_dir, &storage)
            .await
            .map_err(|e| StartError(format!("catalog {name}: {e}")))?;
        registry.attach(Arc::new(Catalog::new(name.clone(), oid_of(name), backend, storage.clone())));
    }
    Ok(registry)
}

/// OID of a database: equal for equal names, on every server and for ever, above those that Postgres
/// has for itself.
fn oid_of(name: &str) -> u32 {
    // FNV-1a.
    let hash =
        name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    16_384 + hash % 1_000_000
}

async fn backend(
    name: &str,
    config: &CatalogConfig,
    data_dir: &Path,
    storage: &Storage,
) -> Result<Arc<dyn Backend>, StartError> {
    match config.kind {
        CatalogKind::Sql => {
            let data_dir = absolute(data_dir)?;
            let database =
                config.database.as_ref().map_or_else(|| data_dir.join("catalog.db"), PathBuf::from);
            let warehouse = match &config.warehouse {
                Some(location) => location.clone(),
                None => data_dir.join("warehouse").to_string_lossy().into_owned(),
            };
            let backend = SqlBackend::open(&database, &location(&warehouse)?, name).await;
            Ok(Arc::new(backend.map_err(|e| failed("cannot open", e))?))
        }
        CatalogKind::Postgres => {
            let missing = |key: &str| StartError(format!("{key} is not set"));
            let options = PostgresOptions {
                url: config.url.clone().ok_or_else(|| missing("url"))?,
                password: config.password.clone(),
                schema: config.schema.clone(),
                max_connections: u32::try_from(config.max_connections).unwrap_or(u32::MAX),
                timeout: config.timeout,
            };
            let warehouse = location(config.warehouse.as_ref().ok_or_else(|| missing("warehouse"))?)?;
            let backend = SqlBackend::open_postgres(&options, &warehouse, name).await;
            Ok(Arc::new(backend.map_err(|e| failed("cannot open", e))?))
        }
        CatalogKind::Delta => {
            let root = config.root.clone().ok_or_else(|| StartError("root is not set".into()))?;
            let backend = DeltaDirectory::open(storage.clone(), &location(&root)?).await;
            Ok(Arc::new(backend.map_err(|e| failed("cannot open", e))?))
        }
    }
}

/// The directory, created if it is missing, as an absolute path.
fn absolute(directory: &Path) -> Result<PathBuf, StartError> {
    std::fs::create_dir_all(directory)
        .and_then(|()| directory.canonicalize())
        .map_err(|e| failed(format!("cannot create the directory {}", directory.display()), e))
}

/// A location as a URL; local paths may be relative.
fn location(text: &str) -> Result<String, StartError> {
    if text.contains("://") {
        return Ok(text.to_string());
    }
    let path = absolute(Path::new(text))?;
    let url = auric_catalog::storage::to_url(&path.to_string_lossy())
        .map_err(|e| failed(format!("invalid location {text}"), e))?;
    Ok(url.to_string())
}

impl Opened {
    /// Starts serving. Returns the sentence that says so.
    pub fn start(
        self,
        config: &Config,
        stop_http: &CancellationToken,
    ) -> Result<(Arc<Server>, String), StartError> {
        let address =
            |listener: &TcpListener| listener.local_addr().map_err(|e| failed("no local address", e));
        let (wire, web) = (address(&self.listener)?, address(&self.http)?);
        security::warn_about_exposure(config, wire);
        let io = &self.server.runtimes.io;
        spawn(io, "listen", pgwire::listen(self.server.clone(), self.listener));
        let state = HttpState { server: self.server.clone(), runtime: self.runtime };
        spawn(io, "http", http::serve(self.http, state, stop_http.clone()));
        let host = if wire.ip().is_unspecified() { "127.0.0.1".to_string() } else { wire.ip().to_string() };
        let ready = format!(
            "auric is ready: psql \"host={host} port={} user=auric dbname={}\" (http://{web})",
            wire.port(),
            crate::config::DEFAULT_CATALOG
        );
        Ok((self.server, ready))
    }
}

/// Serves until a signal stops it.
pub async fn run(
    opened: Opened,
    config: &Config,
    mut signals: Signals,
    reload: impl Fn(&Server, &LevelHandle),
    level: &LevelHandle,
    after_ready: impl FnOnce(),
) -> Result<(), StartError> {
    let stop_http = CancellationToken::new();
    let (server, ready) = opened.start(config, &stop_http)?;
    crate::cli::say(&ready);
    after_ready();
    if let Some(directory) = &config.materialize.dir {
        let apply = apply::at_start(server.clone(), PathBuf::from(directory));
        spawn(&server.runtimes.io, "definitions", apply);
    }
    let refresh = refresher::follow(server.clone(), config.cache.clone());
    spawn(&server.runtimes.io, "refresher", refresh);
    let following = config.materialize.enabled.then(|| -> Result<_, StartError> {
        let notifier = Notifier::new(&config.notify).map_err(|e| failed("cannot set up notifications", e))?;
        let follow = scheduler::follow(server.clone(), config.clone(), notifier);
        Ok(spawn(&server.runtimes.io, "scheduler", follow))
    });
    let following = following.transpose()?;
    signals.wait(|| reload(&server, level)).await;
    tokio::select! {
        () = shutdown::drain(&server, config.server.shutdown_grace) => {}
        () = signals.wait_again() => tracing::info!("not waiting any longer"),
    }
    if let Some(following) = following {
        // What it runs is over; what is left is a word to the catalogs.
        let _ = tokio::time::timeout(LAST_WORD, following).await;
    }
    stop_http.cancel();
    Ok(())
}
