//! How metrics are written: Prometheus' text format, version 0.0.4.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>. A family's lines stand together, with its help and type
//! before them; a family without samples is not mentioned.

use std::fmt::{Display, Write as _};

use super::histogram::Reading;

/// The content type of a page.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page in the making.
#[derive(Debug, Default)]
pub(crate) struct Page {
    text: String,
}

/// What may happen to a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// The samples of one name.
pub(crate) struct Family<'a> {
    page: &'a mut Page,
    name: &'static str,
    help: &'static str,
    kind: Kind,
    begun: bool,
}

impl Page {
    /// Numbers that only grow, until the process ends. The name ends in `_total`.
    pub(crate) fn counter(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        self.family(name, help, Kind::Counter)
    }

    /// Numbers that come and go.
    pub(crate) fn gauge(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        self.family(name, help, Kind::Gauge)
    }

    /// Numbers of values by size.
    pub(crate) fn histogram(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        self.family(name, help, Kind::Histogram)
    }

    /// The page.
    pub(crate) fn finish(self) -> String {
        self.text
    }

    fn family(&mut self, name: &'static str, help: &'static str, kind: Kind) -> Family<'_> {
        Family { page: self, name, help, kind, begun: false }
    }
}

impl Family<'_> {
    /// One sample. No two of a family have the same labels.
    pub(crate) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        self.line("", labels, None, value);
        self
    }

    /// One histogram. `unit` is what the values are divided by: 10⁹ for nanoseconds that are to be seconds.
    pub(crate) fn reading(&mut self, labels: &[(&str, &str)], reading: &Reading, unit: f64) -> &mut Self {
        let mut so_far = 0;
        for (index, count) in reading.counts.iter().enumerate() {
            so_far += count;
            let bound = reading
                .bounds
                .get(index)
                .map_or("+Inf".to_owned(), |bound| (*bound as f64 / unit).to_string());
            self.line("_bucket", labels, Some(&bound), so_far);
        }
        self.line("_sum", labels, None, reading.sum as f64 / unit);
        self.line("_count", labels, None, so_far);
        self
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], bound: Option<&str>, value: impl Display) {
        let text = &mut self.page.text;
        // Writing to a String cannot fail.
        if !std::mem::replace(&mut self.begun, true) {
            let kind = match self.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            let help = self.help.replace('\\', "\\\\").replace('\n', "\\n");
            let _ = writeln!(text, "# HELP {0} {help}\n# TYPE {0} {kind}", self.name);
        }
        let _ = write!(text, "{}{suffix}", self.name);
        let mut opening = '{';
        for (name, value) in labels.iter().copied().chain(bound.map(|bound| ("le", bound))) {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(text, "{opening}{name}=\"{value}\"");
            opening = ',';
        }
        if opening == ',' {
            text.push('}');
        }
        let _ = writeln!(text, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::histogram::Histogram;

    #[test]
    fn a_family_says_once_what_it_is_and_then_its_samples() {
        let mut page = Page::default();
        page.counter("a_total", "What a is.").sample(&[("x", "1")], 1).sample(&[("x", "2"), ("y", "z")], 2);
        page.gauge("b", "What b is.").sample(&[], 0.5);
        page.gauge("c", "Nothing.");
        let expected = "# HELP a_total What a is.\n# TYPE a_total counter\na_total{x=\"1\"} 1\na_total{x=\"2\",y=\"z\"} 2\n\
                        # HELP b What b is.\n# TYPE b gauge\nb 0.5\n";
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn labels_and_help_keep_to_their_line_and_their_quotes() {
        let mut page = Page::default();
        page.gauge("a", "One\\two\nthree.").sample(&[("x", "q\"b\\n\nx")], 1);
        let expected = "# HELP a One\\\\two\\nthree.\n# TYPE a gauge\na{x=\"q\\\"b\\\\n\\nx\"} 1\n";
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn a_histogram_counts_upwards_and_in_base_units() {
        let histogram = Histogram::new(&[10_000, 1_000_000_000]);
        for nanoseconds in [5_000, 20_000, 2_000_000_000] {
            histogram.record(nanoseconds);
        }
        let mut page = Page::default();
        page.histogram("t_seconds", "Time.").reading(&[("x", "y")], &histogram.read(), 1e9);
        let expected = "# HELP t_seconds Time.\n# TYPE t_seconds histogram\n\
                        t_seconds_bucket{x=\"y\",le=\"0.00001\"} 1\nt_seconds_bucket{x=\"y\",le=\"1\"} 2\n\
                        t_seconds_bucket{x=\"y\",le=\"+Inf\"} 3\nt_seconds_sum{x=\"y\"} 2.000025\nt_seconds_count{x=\"y\"} 3\n";
        assert_eq!(page.finish(), expected);
    }
}
