//! What an operator gets to see of a running server: logs, metrics, traces.
//!
//! | file | answers |
//! |---|---|
//! | `settings` | what can be configured |
//! | `logs` | what a line of the log looks like |
//! | `cut` | how much room a line has for what somebody else made up |
//! | `context` | in whose name this thread works at the moment |
//! | `traces` | where spans go |
//! | `commands` | having the core do a command, with everything that is noted about it |
//! | `tally`, `named` | what one core counts; numbers by name |
//! | `sheet` | what it answers when it is asked |
//! | `histogram` | how durations and sizes are counted |
//! | `scrape` | what `/metrics` says |
//! | `exposition` | how it is written: Prometheus' text format |
//! | `store`, `webhooks` | what it says about the embedded database, and about webhooks |
//! | `process` | what the operating system says about this process |
//!
//! Nothing here ever holds what people wrote, or a credential: labels are names of ours and documented names of events.

mod commands;
pub(crate) mod context;
mod cut;
mod exposition;
pub(crate) mod histogram;
mod logs;
mod named;
mod process;
mod scrape;
mod settings;
mod sheet;
mod store;
pub(crate) mod tally;
mod traces;
mod webhooks;

pub(crate) use commands::carry_out;
pub(crate) use cut::cut;
pub(crate) use exposition::CONTENT_TYPE;
pub use logs::{Lines, log_layer};
pub(crate) use scrape::{Part, Parts, Scraper};
pub use settings::Settings;
pub(crate) use sheet::Sheet;
pub(crate) use tally::{Refused, Shape, Tally};
pub use traces::Traces;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The target of every span. Spans are for the collector alone: where there is none they cost a load and a branch.
pub(crate) const SPANS: &str = "antiphon::span";

/// The header that names a request, as the log does.
pub(crate) const REQUEST_ID: http::HeaderName = http::HeaderName::from_static("x-request-id");

/// Starts logging to standard error and, if a collector is configured, exporting spans.
///
/// `ANTIPHON_LOG` says how much is logged (`info`, `debug`, `antiphon_server=trace`); the default is `info`. What is returned
/// has to be kept until the end: dropping it hands over what the collector has not got yet, and may block for that, at most
/// [`Traces::PATIENCE`]. Fails when the collector's address makes no sense, never because it is away.
pub fn start(lines: Lines, settings: &Settings) -> anyhow::Result<Traces> {
    let (traces, spans) = Traces::start(settings)?;
    let level = std::env::var("ANTIPHON_LOG").ok();
    let (level, registry) = (level.as_deref(), tracing_subscriber::registry());
    // Somebody may have started logging before us, in a test say: theirs stays. A layer that is not there is left out, not
    // passed as `None`: that one has no opinion, and then every span asks every layer, every time.
    let _ = match spans {
        Some(spans) => registry.with(spans).with(log_layer(lines, std::io::stderr, level)).try_init(),
        None => registry.with(log_layer(lines, std::io::stderr, level)).try_init(),
    };
    Ok(traces)
}
