//! Logs: text or JSON lines on standard error, with a level that can change while running.

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::config::LogConfig;
use crate::config::value::LogFormat;

/// Changes the level of a running program.
#[derive(Debug, Clone)]
pub struct LevelHandle(reload::Handle<EnvFilter, Registry>);

/// Tells of every file that it reads of a Delta table's log, at the level info.
const TALKATIVE: &str = "delta_kernel";

/// Checks a level, or a list of levels by part of the program. What is said of reading Delta logs at the
/// level info is left out, unless it is asked for by name.
pub fn parse_level(level: &str) -> Result<EnvFilter, String> {
    let asks_for_info = level.split(',').any(|part| part.trim().eq_ignore_ascii_case("info"));
    let shown = match asks_for_info && !level.contains(TALKATIVE) {
        true => format!("{level},{TALKATIVE}=warn"),
        false => level.to_string(),
    };
    EnvFilter::builder().parse(&shown).map_err(|e| format!("expected a level such as \"info\": {e}"))
}

/// Starts logging. Fails with the reason for a level that is none.
pub fn init(config: &LogConfig) -> Result<LevelHandle, String> {
    let (filter, handle) = reload::Layer::new(parse_level(&config.level)?);
    let lines = match config.format {
        LogFormat::Text => fmt::layer().with_writer(std::io::stderr).with_ansi(is_terminal()).boxed(),
        LogFormat::Json => fmt::layer().json().with_writer(std::io::stderr).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).try_init().map_err(|e| e.to_string())?;
    Ok(LevelHandle(handle))
}

fn is_terminal() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stderr())
}

impl LevelHandle {
    /// Sets another level. Fails with the reason for a level that is none.
    pub fn set(&self, level: &str) -> Result<(), String> {
        self.0.reload(parse_level(level)?).map_err(|e| e.to_string())
    }
}
