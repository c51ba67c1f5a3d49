//! How much a client may say: events per second, and events that nobody knows per minute.

use antiphon_core::refusal::{Code, Refusal};

use super::Connection;
use crate::cores::Core;

/// Seconds after which unknown events are counted anew.
const WINDOW: u32 = 60;

impl Connection {
    /// Counts one event, or one CONNECT. Over the limit it is refused.
    pub(super) fn may_speak(&self, core: &Core) -> Result<(), Refusal> {
        let mut events = self.events.get();
        let taken = core.shared.events.take(&mut events, core.now());
        self.events.set(events);
        taken.map_err(|retry_after| {
            core.shared.counters.limited();
            Refusal::new(Code::RateLimited { retry_after }, "That was too fast; please slow down.")
        })
    }

    /// Counts one event that nobody knows. `false` when that was one too many in this minute.
    pub(super) fn may_be_unknown(&self, core: &Core) -> bool {
        let limit = core.shared.limits.unknown_events;
        let now = u32::try_from(core.now() / 1_000).unwrap_or(u32::MAX);
        let (began, count) = match self.unknown.get() {
            (began, count) if count > 0 && now - began < WINDOW => (began, count + 1),
            _ => (now, 1),
        };
        self.unknown.set((began, count));
        limit == 0 || count <= limit
    }
}
