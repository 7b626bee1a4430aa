//! The command line.

use std::io::{IsTerminal, Write};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use rand::RngCore;

use crate::activity::Connections;
use crate::apply::Apply;
use crate::config::{self, Config, Mistake};
use crate::pgwire::Server;
use crate::security;
use crate::security::scram::{DEFAULT_ITERATIONS, SALT_LENGTH, Verifier};
use crate::serve::{self, Pools, StartError};
use crate::shutdown::Signals;
use crate::telemetry::{self, LevelHandle};
use crate::{demo, http, os};

/// Exit status of `apply --check` if something differs: neither success, nor failure, nor a wrong command
/// line (2).
const DIFFERS: u8 = 3;

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
    /// Make schemas, views and materialized views what files say, in the catalogs that a server may be
    /// serving meanwhile.
    Apply {
        /// Directory whose files *.sql hold the definitions.
        directory: PathBuf,
        /// Only tell what differs; exit 3 if something does.
        #[arg(long)]
        check: bool,
        /// Catalog of the definitions.
        #[arg(long, default_value = config::DEFAULT_CATALOG)]
        database: String,
        #[command(flatten)]
        options: DataOptions,
    },
    /// Report every mistake in a configuration file.
    CheckConfig { file: PathBuf },
    /// Read a password and print what to store instead of it (a SCRAM-SHA-256 verifier).
    HashPassword {
        /// Rounds of hashing: what makes guessing slow, and each login.
        #[arg(long, default_value_t = DEFAULT_ITERATIONS.get(), value_parser = clap::value_parser!(u32).range(4096..=10_000_000))]
        iterations: u32,
    },
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
struct DataOptions {
    /// Configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the embedded catalog and its warehouse are kept [default: ./auric-data].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ServeOptions {
    #[command(flatten)]
    data: DataOptions,
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
        Some(Command::Apply { directory, check, database, options }) => {
            apply(Apply { directory, database, check }, &options).unwrap_or_else(failure)
        }
        Some(Command::CheckConfig { file }) => check_config(&file),
        Some(Command::HashPassword { iterations }) => finish(hash_password(iterations)),
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
        Err(messages) => failure(messages),
    }
}

fn failure(messages: Vec<String>) -> ExitCode {
    messages.iter().for_each(|message| eprintln!("auric: {message}"));
    ExitCode::FAILURE
}

fn one(error: impl std::fmt::Display) -> Vec<String> {
    vec![error.to_string()]
}

fn with_causes(error: &impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

fn all(mistakes: Vec<Mistake>) -> Vec<String> {
    mistakes.iter().map(ToString::to_string).collect()
}

fn data_configuration(options: &DataOptions) -> Result<Config, Vec<String>> {
    let mut config = config::load_file(options.config.as_deref()).map_err(all)?;
    if let Some(directory) = &options.data_dir {
        config.server.data_dir.clone_from(directory);
    }
    Ok(config)
}

fn configuration(options: &ServeOptions) -> Result<Config, Vec<String>> {
    let mut config = data_configuration(&options.data)?;
    let server = &mut config.server;
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
        let reload = |server: &Server, level: &LevelHandle| reload(options, server, level);
        serve::run(opened, &config, signals, reload, &level, || {}).await.map_err(one)
    })
}

fn demo(scale: f64, options: &ServeOptions) -> Result<(), Vec<String>> {
    let mut config = configuration(options)?;
    quiet(&mut config, options.data.config.as_deref());
    let (pools, level) = start(&config)?;
    pools.block_on(async {
        let mut signals = Signals::new().map_err(one)?;
        let opened = serve::open(&config, pools.handles()).await.map_err(one)?;
        tokio::select! {
            made = demo::make(&opened.server, scale) => made.map_err(one)?,
            () = signals.wait(|| {}) => return Err(one("interrupted; a second start goes on from here")),
        }
        let reload = |server: &Server, level: &LevelHandle| reload(options, server, level);
        serve::run(opened, &config, signals, reload, &level, demo::print_queries).await.map_err(one)
    })
}

/// What a command prints is its progress: without a configuration, only warnings go to the log.
fn quiet(config: &mut Config, file: Option<&Path>) {
    if file.is_none() {
        config.log.level = std::env::var("AURIC_LOG__LEVEL").unwrap_or_else(|_| "warn".into());
    }
}

fn apply(apply: Apply, options: &DataOptions) -> Result<ExitCode, Vec<String>> {
    let mut config = data_configuration(options)?;
    quiet(&mut config, options.config.as_deref());
    let (pools, _) = start(&config)?;
    let check = apply.check;
    let differing = pools.block_on(async {
        let mut signals = Signals::new().map_err(one)?;
        let connections = Connections::new(config.server.max_connections);
        let opened = serve::engine(&config, &connections, None).await.map_err(one)?;
        tokio::select! {
            differing = apply.run(&opened.engine, pools.handles()) => differing.map_err(one),
            () = signals.wait(|| {}) => Err(one("interrupted; a repetition goes on from here")),
        }
    })?;
    Ok(if check && differing > 0 { ExitCode::from(DIFFERS) } else { ExitCode::SUCCESS })
}

fn start(config: &Config) -> Result<(Pools, LevelHandle), Vec<String>> {
    let level = telemetry::init(&config.log).map_err(one)?;
    os::raise_open_file_limit();
    let pools: Result<Pools, StartError> = Pools::new(config);
    Ok((pools.map_err(one)?, level))
}

/// SIGHUP: log level, certificates, users and the access list are read again.
fn reload(options: &ServeOptions, server: &Server, level: &LevelHandle) {
    let outcome = configuration(options).and_then(|config| {
        level.set(&config.log.level).map_err(one)?;
        let failed: Vec<String> = server.security.reload(&config).iter().map(with_causes).collect();
        if failed.is_empty() { Ok(()) } else { Err(failed) }
    });
    match outcome {
        Ok(()) => tracing::info!("configuration read again"),
        Err(mistakes) => {
            mistakes.iter().for_each(|mistake| tracing::error!(%mistake, "configuration kept as it was"))
        }
    }
}

fn check_config(file: &Path) -> ExitCode {
    let checked = config::load_file(Some(file)).map_err(all).and_then(|config| {
        // Files that it names, too.
        security::tls::load(&config.tls).map_err(one)
    });
    match checked {
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

/// The password comes from a terminal, asked for twice and not shown, or from standard input.
fn hash_password(iterations: u32) -> Result<(), Vec<String>> {
    let password = if std::io::stdin().is_terminal() {
        let terminal = console::Term::stderr();
        let ask = |prompt: &str| terminal.write_str(prompt).and_then(|()| terminal.read_secure_line());
        let password = ask("Password: ").map_err(one)?;
        if ask("The same again: ").map_err(one)? != password {
            return Err(one("the passwords differ"));
        }
        password
    } else {
        std::io::read_to_string(std::io::stdin()).map_err(one)?
    };
    // The end of the line is not part of it.
    let password = password.strip_suffix('\n').unwrap_or(&password);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() {
        return Err(one("the password is empty"));
    }
    if password.contains(['\n', '\0']) {
        return Err(one("a password is one line"));
    }
    let mut salt = [0; SALT_LENGTH];
    rand::rng().fill_bytes(&mut salt);
    let iterations = NonZeroU32::new(iterations).unwrap_or(DEFAULT_ITERATIONS);
    say(&Verifier::new(password, &salt, iterations).to_text());
    Ok(())
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
