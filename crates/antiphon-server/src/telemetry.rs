//! Logs: one event, one line, on standard error.

use tracing_subscriber::EnvFilter;

/// What is logged when nobody says otherwise. The migrations' own chatter is none of the operator's business.
const DEFAULT: &str = "info,refinery_core=warn";

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// For machines.
    Json,
    /// For people who watch.
    Plain,
}

/// Starts logging. `ANTIPHON_LOG` says how much (`info`, `debug`, `antiphon_server=trace`); the default is `info`.
pub fn start(lines: Lines) {
    let filter = EnvFilter::try_from_env("ANTIPHON_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Somebody may have started logging before us, in a test say: theirs stays.
    let _ = match lines {
        Lines::Json => logs.json().flatten_event(true).try_init(),
        Lines::Plain => logs.with_target(false).with_ansi(false).compact().try_init(),
    };
}
