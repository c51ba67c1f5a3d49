//! A page of metrics, read as strictly as Prometheus reads it, and what it says.

use std::collections::{BTreeMap, BTreeSet};

use super::http::{Request, ask};
use super::server::Server;

/// Samples by name and labels, as they are written.
#[derive(Clone, Debug)]
pub(crate) struct Scrape {
    samples: BTreeMap<String, f64>,
    pub(crate) text: String,
}

impl Scrape {
    /// What `server` says now.
    pub(crate) async fn of(server: &Server) -> Self {
        let reply = ask(&server.admin(), &Request::get("/metrics")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        Self::read(reply.text())
    }

    /// Reads a page. Panics at whatever the format does not allow.
    pub(crate) fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'));
        let (mut samples, mut families, mut family) = (BTreeMap::new(), BTreeSet::new(), None);
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').expect("a name, and what it is");
                assert!(!help.is_empty() && families.insert(name.to_owned()), "{line}");
                let kind = lines.next().and_then(|line| line.strip_prefix(&format!("# TYPE {name} ")));
                let kind = kind.unwrap_or_else(|| panic!("no type after {line}"));
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{name} {kind}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
                family = Some((name.to_owned(), kind == "histogram"));
                continue;
            }
            let (sample, value) = line.rsplit_once(' ').expect("a sample and its value");
            let value = value.parse::<f64>().unwrap_or_else(|error| panic!("{line}: {error}"));
            let name = &sample[..sample.find('{').unwrap_or(sample.len())];
            let (family, is_histogram) = family.as_ref().expect("a family comes before its samples");
            let suffix = name.strip_prefix(family.as_str());
            let belongs = match suffix {
                Some("") => !is_histogram,
                Some("_bucket" | "_sum" | "_count") => *is_histogram,
                _ => false,
            };
            assert!(belongs, "{name} stands under {family}");
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{name}"
            );
            let before = samples.insert(sample.to_owned(), value);
            assert_eq!(before, None, "{sample} stands there twice");
        }
        Self { samples, text: text.to_owned() }
    }

    /// The value of `sample`, written as on the page: `a_total{x="y"}`. What is not there has not happened: 0.
    pub(crate) fn value(&self, sample: &str) -> f64 {
        self.samples.get(sample).copied().unwrap_or(0.0)
    }

    /// Every sample that begins like this, together.
    pub(crate) fn total(&self, beginning: &str) -> f64 {
        self.samples.iter().filter(|(sample, _)| sample.starts_with(beginning)).map(|(_, value)| value).sum()
    }

    /// Whether there is such a sample.
    pub(crate) fn has(&self, sample: &str) -> bool {
        self.samples.contains_key(sample)
    }

    /// By how much each of `samples` has grown since `before`.
    pub(crate) fn grown<const N: usize>(&self, before: &Self, samples: [&str; N]) -> [f64; N] {
        samples.map(|sample| self.value(sample) - before.value(sample))
    }
}
