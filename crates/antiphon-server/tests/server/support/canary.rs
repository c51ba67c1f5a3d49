//! Planted secrets, and whether one of them shows in the log or in the metrics.
//!
//! Everything that this process logs, at every level and in both forms of lines, is read while it is written. A test plants what
//! only it has, does its work, and asks whether anything was seen:
//!
//! ```ignore
//! let canaries = Canaries::plant(&[&key, &text]);
//! // … whatever could make the server print one of them …
//! canaries.assert_unseen(&server).await;
//! ```

use std::io;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use antiphon_server::telemetry::{Lines, log_layer};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::http::{Request, ask};
use super::server::Server;

/// Secrets that must not be seen.
pub(crate) struct Canaries {
    secrets: Vec<String>,
    /// Lines that had been logged before.
    before: usize,
}

impl Canaries {
    /// Watches out for `secrets` from now on. Each has to be long enough not to occur by chance, and different in every test.
    pub(crate) fn plant(secrets: &[&str]) -> Self {
        let mut watch = watch();
        for secret in secrets {
            assert!(secret.len() >= 12, "{secret} could be seen by chance");
            watch.planted.extend(forms(secret).into_iter().map(|form| (form, (*secret).to_owned())));
        }
        Self { secrets: secrets.iter().map(|secret| (*secret).to_owned()).collect(), before: watch.lines }
    }

    /// Panics when one of them was logged since it was planted, or stands in `server`'s metrics, or when nothing was logged.
    pub(crate) async fn assert_unseen(&self, server: &Server) {
        let metrics = ask(&server.admin(), &Request::get("/metrics")).await;
        assert_eq!(metrics.status, 200);
        for secret in &self.secrets {
            for form in forms(secret) {
                assert!(!metrics.text().contains(&form), "{secret} stands in the metrics");
            }
        }
        self.assert_unlogged();
    }

    /// Panics when one of them was logged since it was planted, or when nothing was logged.
    pub(crate) fn assert_unlogged(&self) {
        let (lines, seen) = {
            let watch = watch();
            let seen = watch.seen.iter().filter(|(secret, _)| self.secrets.contains(secret));
            (watch.lines, seen.cloned().collect::<Vec<_>>())
        };
        assert!(lines > self.before, "nothing was logged, so nothing was proven");
        assert!(seen.is_empty(), "secrets were logged: {seen:#?}");
    }
}

/// How a secret may look: as it is, and as somebody may have encoded it.
fn forms(secret: &str) -> [String; 4] {
    let hexadecimal = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    [
        secret.to_owned(),
        hexadecimal,
        BASE64_STANDARD_NO_PAD.encode(secret),
        BASE64_URL_SAFE_NO_PAD.encode(secret),
    ]
}

#[derive(Default)]
struct Watch {
    /// Forms, and the secret that each is of.
    planted: Vec<(String, String)>,
    /// Secrets that were seen, and the line.
    seen: Vec<(String, String)>,
    lines: usize,
}

static WATCH: OnceLock<Mutex<Watch>> = OnceLock::new();

/// The one watch of this process. The first call begins to listen.
fn watch() -> MutexGuard<'static, Watch> {
    let watch = WATCH.get_or_init(|| {
        let json = log_layer(Lines::Json, || Ear, Some("trace"));
        let plain = log_layer(Lines::Plain, || Ear, Some("trace"));
        tracing_subscriber::registry().with(json).with(plain).init();
        Mutex::default()
    });
    watch.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads what is logged, line by line.
struct Ear;

impl io::Write for Ear {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Not there yet while the subscriber is being installed.
        if let Some(watch) = WATCH.get() {
            let mut watch = watch.lock().unwrap_or_else(PoisonError::into_inner);
            watch.lines += 1;
            let line = String::from_utf8_lossy(bytes);
            let seen: Vec<_> = watch
                .planted
                .iter()
                .filter(|(form, _)| line.contains(form))
                .map(|(_, secret)| (secret.clone(), line.to_string()))
                .collect();
            watch.seen.extend(seen);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
