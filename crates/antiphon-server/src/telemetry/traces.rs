//! Where spans go: to an OpenTelemetry collector, by OTLP over HTTP, when one is configured.
//!
//! Spans are handed to a bounded queue and exported in batches by a thread of their own, with a blocking client. A collector that
//! is slow or away costs spans, never a connection: what does not fit the queue is dropped.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;

use super::{SPANS, Settings};

/// The variables that name a collector; they win over the configuration file, as variables do.
const VARIABLES: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// Spans on their way to a collector, if there is one. Dropping it hands over what is left.
#[derive(Default)]
pub struct Traces {
    provider: Option<SdkTracerProvider>,
}

impl Traces {
    /// How long handing over the last spans may take.
    pub const PATIENCE: Duration = Duration::from_secs(3);

    /// Starts exporting, and the layer that spans have to pass through; nothing at all when no collector is configured.
    pub(super) fn start<S>(settings: &Settings) -> anyhow::Result<(Self, Option<impl Layer<S> + use<S>>)>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let configured = settings.spans()?;
        let named =
            VARIABLES.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
        let address = if named { None } else { configured };
        if address.is_none() && !named {
            return Ok((Self::default(), None));
        }
        let mut exporter =
            opentelemetry_otlp::SpanExporter::builder().with_http().with_timeout(Self::PATIENCE);
        if let Some(address) = address {
            exporter = exporter.with_endpoint(address);
        }
        // Whoever tries again and again holds up the spans that come after.
        let exporter = exporter
            .with_retry_policy(opentelemetry_otlp::RetryPolicy::default().with_max_retries(1))
            .build()
            .context("[telemetry] otlp")?;
        let name = std::env::var("OTEL_SERVICE_NAME").unwrap_or_else(|_| "antiphon".into());
        let version = opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(Watched { inner: exporter, failing: AtomicBool::new(false) })
            .with_resource(Resource::builder().with_service_name(name).with_attribute(version).build())
            .build();
        let layer = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("antiphon"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_filter(Targets::new().with_target(SPANS, LevelFilter::INFO));
        Ok((Self { provider: Some(provider) }, Some(layer)))
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Some(provider) = &self.provider
            && let Err(error) = provider.shutdown_with_timeout(Self::PATIENCE)
        {
            tracing::warn!(%error, "the last spans could not be exported");
        }
    }
}

/// Says once when exporting begins to fail, and once when it is over.
struct Watched<E> {
    inner: E,
    failing: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for Watched<E> {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        let export = self.inner.export(batch);
        async {
            let exported = export.await;
            let failed_before = self.failing.swap(exported.is_err(), Relaxed);
            match &exported {
                Err(error) if !failed_before => tracing::warn!(%error, "spans cannot be exported"),
                Ok(()) if failed_before => tracing::info!("spans are exported again"),
                _ => {}
            }
            exported
        }
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.inner.shutdown()
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E> fmt::Debug for Watched<E> {
    /// The exporter holds headers, and they may hold a credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("failing", &self.failing).finish_non_exhaustive()
    }
}
