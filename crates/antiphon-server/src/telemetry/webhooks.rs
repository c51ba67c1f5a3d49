//! What `/metrics` says about webhooks.

use async_trait::async_trait;

use super::Part;
use super::exposition::Page;
use crate::outbound::causes;
use crate::webhooks::Webhooks;

#[async_trait]
impl Part for Webhooks {
    async fn look(&self) {
        if let Err(fault) = Self::look(self).await {
            // Whoever delivers finds the same and says so louder.
            tracing::debug!(fault = causes(&fault), "webhooks: the queue cannot be counted");
        }
    }

    fn write(&self, page: &mut Page) {
        let endpoints = self.endpoints();
        let mut pending =
            page.gauge("antiphon_webhook_pending", "Deliveries that are on their way, by webhook.");
        for endpoint in &endpoints {
            pending.sample(&[("webhook", &endpoint.id)], endpoint.pending);
        }
        let mut dead = page.gauge("antiphon_webhook_dead", "Deliveries that were given up and are kept.");
        for endpoint in &endpoints {
            dead.sample(&[("webhook", &endpoint.id)], endpoint.dead);
        }
        let mut disabled = page.gauge(
            "antiphon_webhook_disabled",
            "1 when the endpoint answered 410 and is told nothing any more.",
        );
        for endpoint in &endpoints {
            disabled.sample(&[("webhook", &endpoint.id)], u8::from(endpoint.disabled));
        }
        let mut delivered = page.counter("antiphon_webhook_delivered_total", "Deliveries that arrived.");
        for endpoint in &endpoints {
            delivered.sample(&[("webhook", &endpoint.id)], endpoint.delivered);
        }
        let mut failed = page.counter(
            "antiphon_webhook_failed_attempts_total",
            "Attempts that failed and are repeated later.",
        );
        for endpoint in &endpoints {
            failed.sample(&[("webhook", &endpoint.id)], endpoint.failed);
        }
        let mut given_up = page.counter(
            "antiphon_webhook_given_up_total",
            "Deliveries that were given up after their last attempt.",
        );
        for endpoint in &endpoints {
            given_up.sample(&[("webhook", &endpoint.id)], endpoint.died);
        }
        page.counter(
            "antiphon_webhook_missed_total",
            "Events that no endpoint is told of because too many came at once; never messages.",
        )
        .sample(&[], self.missed());
    }
}
