//! The command line.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::{self, Config, Mistake};
use crate::serve::{self, Pools, StartError};
use crate::shutdown::Signals;
use crate::telemetry::{self, LevelHandle};
use crate::{demo, http, os};

/// A lakehouse SQL server: Iceberg and Delta tables over the PostgreSQL protocol.
#[derive(Debug, Parser)]
#[command(name = "auric", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the catalogs.
    Serve {
        #[command(flatten)]
        options: ServeOptions,
    },
    /// Make a small lakehouse out of TPC-H, then serve it.
    Demo {
        /// TPC-H scale factor: 1 is about 1 GB of raw data.
        #[arg(long, default_value_t = 0.1)]
        scale: f64,
        #[command(flatten)]
        options: ServeOptions,
    },
    /// Report every mistake in a configuration file.
    CheckConfig { file: PathBuf },
    /// Ask a running server whether it is ready; exit 0 if so.
    Healthcheck {
        /// HTTP address of the server [default: from the configuration].
        #[arg(long, value_name = "HOST:PORT")]
        http: Option<String>,
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct ServeOptions {
    /// Configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the embedded catalog and its warehouse are kept [default: ./auric-data].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address of the PostgreSQL protocol; port 0 picks a free one [default: 127.0.0.1:5433].
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Address of HTTP [default: 127.0.0.1:8433].
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<String>,
}

/// Runs the program.
pub fn run() -> ExitCode {
    let missing = os::missing_cpu_features();
    if !missing.is_empty() {
        eprintln!(
            "auric: this program was built for processors with {}, which this one lacks; build it without \
             target-cpu in .cargo/config.toml",
            missing.join(", ")
        );
        return ExitCode::FAILURE;
    }
    match Cli::parse().command {
        None => {
            // Help goes where it can be read whatever happens to it.
            let _ = Cli::command().print_help();
            ExitCode::SUCCESS
        }
        Some(Command::Serve { options }) => finish(serve(&options)),
        Some(Command::Demo { scale, options }) => finish(demo(scale, &options)),
        Some(Command::CheckConfig { file }) => check_config(&file),
        Some(Command::Healthcheck { http, config }) => finish(healthcheck(http, config.as_deref())),
    }
}

/// Prints a line for the user. Whoever reads it may have gone away: that is no reason to fail.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn finish(result: Result<(), Vec<String>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(messages) => {
            messages.iter().for_each(|message| eprintln!("auric: {message}"));
            ExitCode::FAILURE
        }
    }
}

fn one(error: impl std::fmt::Display) -> Vec<String> {
    vec![error.to_string()]
}

fn all(mistakes: Vec<Mistake>) -> Vec<String> {
    mistakes.iter().map(ToString::to_string).collect()
}

fn configuration(options: &ServeOptions) -> Result<Config, Vec<String>> {
    let mut config = config::load_file(options.config.as_deref()).map_err(all)?;
    let server = &mut config.server;
    if let Some(directory) = &options.data_dir {
        server.data_dir.clone_from(directory);
    }
    if let Some(address) = &options.listen {
        server.listen.clone_from(address);
    }
    if let Some(address) = &options.http {
        server.http.clone_from(address);
    }
    Ok(config)
}

fn serve(options: &ServeOptions) -> Result<(), Vec<String>> {
    let config = configuration(options)?;
    let (pools, level) = start(&config)?;
    pools.block_on(async {
        let signals = Signals::new().map_err(one)?;
        let opened = serve::open(&config, pools.handles()).await.map_err(one)?;
        let reload = |level: &LevelHandle| reload(options, level);
        serve::run(opened, &config, signals, reload, &level, || {}).await.map_err(one)
    })
}

fn demo(scale: f64, options: &ServeOptions) -> Result<(), Vec<String>> {
    let mut config = configuration(options)?;
    if options.config.is_none() {
        // Progress is shown instead.
        config.log.level = std::env::var("AURIC_LOG__LEVEL").unwrap_or_else(|_| "warn".into());
    }
    let (pools, level) = start(&config)?;
    pools.block_on(async {
        let mut signals = Signals::new().map_err(one)?;
        let opened = serve::open(&config, pools.handles()).await.map_err(one)?;
        tokio::select! {
            made = demo::make(&opened.server, scale) => made.map_err(one)?,
            () = signals.wait(|| {}) => return Err(one("interrupted; a second start goes on from here")),
        }
        let reload = |level: &LevelHandle| reload(options, level);
        serve::run(opened, &config, signals, reload, &level, demo::print_queries).await.map_err(one)
    })
}

fn start(config: &Config) -> Result<(Pools, LevelHandle), Vec<String>> {
    let level = telemetry::init(&config.log).map_err(one)?;
    os::raise_open_file_limit();
    let pools: Result<Pools, StartError> = Pools::new(config);
    Ok((pools.map_err(one)?, level))
}

/// SIGHUP: the log level is read again.
fn reload(options: &ServeOptions, level: &LevelHandle) {
    let outcome = configuration(options).and_then(|config| level.set(&config.log.level).map_err(one));
    match outcome {
        Ok(()) => tracing::info!("configuration read again"),
        Err(mistakes) => {
            mistakes.iter().for_each(|mistake| tracing::error!(%mistake, "configuration kept as it was"))
        }
    }
}

fn check_config(file: &Path) -> ExitCode {
    match config::load_file(Some(file)) {
        Ok(_) => {
            say(&format!("{}: no mistakes", file.display()));
            ExitCode::SUCCESS
        }
        Err(mistakes) => {
            for mistake in &mistakes {
                eprintln!("{}: {mistake}", file.display());
            }
            ExitCode::FAILURE
        }
    }
}

fn healthcheck(http: Option<String>, config: Option<&Path>) -> Result<(), Vec<String>> {
    let address = match http {
        Some(address) => address,
        None => config::load_file(config).map_err(all)?.server.http,
    };
    let address = address.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(one)?;
    runtime.block_on(http::check(&address)).map_err(one)
}
