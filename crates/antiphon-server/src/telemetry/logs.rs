//! What a line of the log looks like: one event, one line, whoever wrote what is in it.
//!
//! The libraries' formatters do the work. What they leave is done here: the ids of [`context`](super::context), and characters
//! that would start a new line, colour a terminal or turn text around (`\n`, ESC, U+202E and their like), which are escaped
//! wherever they come from.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

use super::{SPANS, context};

/// What is logged when nobody says otherwise. The migrations' own chatter is none of the operator's business, and of a
/// collector that is away we speak ourselves, once.
const DEFAULT: &str = "info,refinery_core=warn,opentelemetry=off";

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// For machines.
    Json,
    /// For people who watch.
    Plain,
}

/// A log that is written to `writer`; `level` says how much, in the words of `ANTIPHON_LOG`. One that makes no sense is the default.
pub fn log_layer<S, W>(lines: Lines, writer: W, level: Option<&str>) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let filter =
        level.and_then(|level| EnvFilter::try_new(level).ok()).unwrap_or_else(|| EnvFilter::new(DEFAULT));
    // Spans are not for the log, however much is logged: their names and numbers would be taken down for every packet.
    let filter = filter.add_directive(format!("{SPANS}=off").parse().expect("a target and a level"));
    let logs = tracing_subscriber::fmt::layer().with_writer(writer);
    let format = tracing_subscriber::fmt::format();
    match lines {
        Lines::Json => {
            let inner = format.json().flatten_event(true).with_current_span(false).with_span_list(false);
            let fields = tracing_subscriber::fmt::format::JsonFields::new();
            logs.fmt_fields(fields).event_format(Line { inner, lines }).with_filter(filter).boxed()
        }
        Lines::Plain => {
            let inner = format.with_target(false).with_ansi(false).compact();
            logs.with_ansi(false).event_format(Line { inner, lines }).with_filter(filter).boxed()
        }
    }
}

/// Has `inner` format an event, and makes one safe line of it.
struct Line<F> {
    inner: F,
    lines: Lines,
}

impl<S, N, F> FormatEvent<S, N> for Line<F>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.inner.format_event(context, Writer::new(&mut line), event)?;
        let whose = context::here();
        match self.lines {
            Lines::Json => {
                let whole = line.trim_end().strip_suffix('}').unwrap_or(&line);
                escape(whole, self.lines, &mut writer)?;
                // An event may name its connection itself.
                if let Some(connection) = whose.connection.filter(|_| !whole.contains(r#""connection":"#)) {
                    write!(writer, r#","connection":"{connection}""#)?;
                }
                if let Some(request) = whose.request {
                    write!(writer, r#","request":"{request}""#)?;
                }
                writeln!(writer, "}}")
            }
            Lines::Plain => {
                let whole = line.trim_end();
                escape(whole, self.lines, &mut writer)?;
                if let Some(connection) = whose.connection.filter(|_| !whole.contains(" connection=")) {
                    write!(writer, " connection={connection}")?;
                }
                if let Some(request) = whose.request {
                    write!(writer, " request={request}")?;
                }
                writeln!(writer)
            }
        }
    }
}

fn escape(text: &str, lines: Lines, to: &mut impl fmt::Write) -> fmt::Result {
    let mut rest = text;
    while let Some(at) = rest.find(is_dangerous) {
        let (harmless, from) = rest.split_at(at);
        let mut chars = from.chars();
        let dangerous = chars.next().map_or(0, u32::from);
        to.write_str(harmless)?;
        match lines {
            // Within a string, which is the only place where JSON has them. None of them needs a second unit.
            Lines::Json => write!(to, "\\u{dangerous:04x}")?,
            Lines::Plain => write!(to, "\\u{{{dangerous:x}}}")?,
        }
        rest = chars.as_str();
    }
    to.write_str(rest)
}

/// Whether a character does something to a terminal, or to the order of the text around it, other than to be shown.
fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use antiphon_core::ids::ConnectionId;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::super::context::{RequestId, Whose, within};
    use super::super::cut;
    use super::*;

    /// Characters that forge a line, colour it, ring, erase, turn it around, or end it in some viewers.
    const NASTY: &str = "a\nb\r\x1b[31mc\x07\x08\x7f\u{9b}2J\u{202e}d\u{2066}\u{2028}e";

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged by `work`.
    fn logged(lines: Lines, level: &str, work: impl FnOnce()) -> String {
        let paper = Paper::default();
        let writer = paper.clone();
        let subscriber =
            tracing_subscriber::registry().with(log_layer(lines, move || writer.clone(), Some(level)));
        tracing::subscriber::with_default(subscriber, work);
        let bytes = paper.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn say_everything_nasty() {
        let error = io::Error::other(NASTY);
        tracing::info!(text = NASTY, %error, debug = ?NASTY, shown = %NASTY, "message: {NASTY}");
    }

    #[test]
    fn t28_a_line_stays_one_line_whoever_wrote_what_is_in_it() {
        for lines in [Lines::Json, Lines::Plain] {
            let text = logged(lines, "info", say_everything_nasty);
            let line = text.strip_suffix('\n').unwrap();
            assert!(!line.chars().any(is_dangerous), "{lines:?}: {line:?}");
            assert!(line.contains('e'), "{line}");
        }
    }

    #[test]
    fn t28_what_a_client_made_up_takes_little_room_whatever_it_is() {
        for made_up in ["\n", "\u{1b}[2J", "\u{202e}", "👩", NASTY, "y"] {
            let endless = made_up.repeat(10 * 1_024);
            for lines in [Lines::Json, Lines::Plain] {
                let text = logged(lines, "info", || tracing::info!(path = cut(&endless), "asked"));
                let line = text.strip_suffix('\n').unwrap();
                assert!(!line.chars().any(is_dangerous), "{lines:?}: {line:?}");
                assert!(line.len() < 2_500, "{lines:?}: {}", line.len());
                if lines == Lines::Json {
                    let line: serde_json::Value = serde_json::from_str(line).unwrap();
                    assert_eq!(line["path"], cut(&endless));
                }
            }
        }
    }

    #[test]
    fn json_says_again_what_was_said() {
        let text = logged(Lines::Json, "info", say_everything_nasty);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["text"], NASTY);
        assert_eq!(line["error"], NASTY);
        assert_eq!(line["message"], format!("message: {NASTY}"));
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn every_line_names_the_connection_and_the_request_it_is_about() {
        let connection = ConnectionId { core: 1, slot: 2, generation: 3 };
        let whose = Whose { connection: Some(connection), request: Some(RequestId::new(1, 4)) };
        let say = || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(within(whose, async { tracing::info!(number = 7, "inside") }));
            tracing::info!("outside");
        };
        let text = logged(Lines::Json, "info", say);
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            (&lines[0]["connection"], &lines[0]["request"]),
            (&"1-2-3".into(), &"0001000000000004".into())
        );
        assert_eq!(lines[0]["number"], 7);
        assert_eq!((&lines[1]["connection"], &lines[1]["request"]), (&().into(), &().into()));
        let text = logged(Lines::Plain, "info", say);
        assert!(
            text.lines().next().unwrap().ends_with("connection=1-2-3 request=0001000000000004"),
            "{text}"
        );
    }

    #[test]
    fn a_line_that_names_its_connection_itself_names_it_once() {
        let whose =
            Whose { connection: Some(ConnectionId { core: 1, slot: 2, generation: 3 }), request: None };
        for lines in [Lines::Json, Lines::Plain] {
            let text = logged(lines, "info", || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(within(whose, async { tracing::info!(connection = "9-9-9", "inside") }));
            });
            assert_eq!(text.matches("connection").count(), 1, "{text}");
        }
    }

    #[test]
    fn spans_are_not_logged_however_much_is() {
        let text = logged(Lines::Json, "trace", || {
            let span = tracing::info_span!(target: SPANS, "command", name = "x");
            assert!(span.is_disabled());
            let _entered = span.enter();
            tracing::trace!("an event");
        });
        assert!(text.contains("an event") && !text.contains("command"), "{text}");
    }

    #[test]
    fn without_a_collector_a_span_is_known_not_to_matter_before_it_is_made() {
        let span = || tracing::info_span!(target: SPANS, "command").metadata();
        let place = tracing::subscriber::with_default(tracing_subscriber::registry(), span);
        let place = place.expect("a span that is recorded knows where it was made");
        for level in ["info", "trace"] {
            let subscriber =
                tracing_subscriber::registry().with(log_layer(Lines::Json, io::sink, Some(level)));
            let dispatch = tracing::Dispatch::new(subscriber);
            let interest = dispatch.register_callsite(place);
            assert!(interest.is_never(), "{level}: {interest:?}");
        }
    }

    #[test]
    fn a_level_that_makes_no_sense_is_the_default() {
        let text = logged(Lines::Plain, "info=,=x", || {
            tracing::info!("shown");
            tracing::debug!("not shown");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}
