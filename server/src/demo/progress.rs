//! What the user sees while the demo works: bars on a terminal, lines elsewhere.

use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

#[derive(Debug)]
pub(super) struct Progress {
    /// `None`: standard error is no terminal.
    bars: Option<MultiProgress>,
    start: Instant,
}

/// Progress of one table. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Bar {
    bar: Option<ProgressBar>,
    name: String,
    start: Instant,
}

impl Progress {
    pub(super) fn new() -> Self {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        Self { bars: terminal.then(MultiProgress::new), start: Instant::now() }
    }

    /// A table of about this many rows.
    pub(super) fn rows(&self, name: &str, rows: u64) -> Bar {
        self.bar(name, "{prefix:<24} {bar:30} {human_pos:>12} rows", Some(rows))
    }

    pub(super) fn step(&self, name: &str, what: &'static str) -> Bar {
        let bar = self.bar(name, "{prefix:<24} {spinner} {msg}", None);
        if let Some(shown) = &bar.bar {
            shown.set_message(what);
            shown.enable_steady_tick(Duration::from_millis(100));
        }
        bar
    }

    fn bar(&self, name: &str, template: &str, length: Option<u64>) -> Bar {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(length.map_or_else(ProgressBar::new_spinner, ProgressBar::new));
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_prefix(name.to_string());
            bar
        });
        Bar { bar, name: name.to_string(), start: Instant::now() }
    }

    pub(super) fn end(&self) {
        eprintln!("the lakehouse is there ({:.1} s)", self.start.elapsed().as_secs_f64());
    }
}

impl Bar {
    pub(super) fn advance(&self, rows: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(rows);
        }
    }

    /// The table is there. `what`: about it.
    pub(super) fn finish(&self, what: &str) {
        let line = format!("{:<24} {what}, {:.1} s", self.name, self.start.elapsed().as_secs_f64());
        match &self.bar {
            Some(bar) => {
                if let Ok(style) = ProgressStyle::with_template("{msg}") {
                    bar.set_style(style);
                }
                bar.finish_with_message(line);
            }
            None => eprintln!("{line}"),
        }
    }
}
