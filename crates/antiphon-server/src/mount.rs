//! What is served on a path: Engine.IO's numbers, who may ask, and the dialects in order.

use std::sync::Arc;

use antiphon_core::dialect::Dialect;
use antiphon_wire::Limits;
use antiphon_wire::engine::Timing;

use crate::config;
use crate::resume::settings::Recovery;
use crate::transport::origin::Origins;
use crate::transport::polling::Known;

/// Bytes of the largest message before the first CONNECT is accepted: room for a long token, and not for a stranger to fill.
const GREETING: usize = 32 * 1024;

/// A mount, ready to serve.
pub(crate) struct Mount {
    /// Its place among the mounts of this server.
    pub(crate) number: usize,
    /// The path without a slash at its end.
    pub(crate) path: String,
    pub(crate) serves: Serves,
    /// The dialects that a CONNECT is offered to, in order.
    pub(crate) voices: Vec<VoiceId>,
    pub(crate) timing: Timing,
    /// Milliseconds.
    pub(crate) connect_timeout: u64,
    /// Milliseconds.
    pub(crate) upgrade_timeout: u64,
    pub(crate) limits: Limits,
    /// The limits before the first CONNECT is accepted.
    pub(crate) greeting: Limits,
    pub(crate) origins: Origins,
    /// Whose sessions may be resumed.
    pub(crate) recovery: Recovery,
    /// Sessions that a polling request may name here. Each mount has its own: what is allowed on one, an Origin say, must not
    /// reach the sessions of another.
    pub(crate) sessions: papaya::HashMap<Box<str>, Known, foldhash::fast::RandomState>,
}

/// Which layer a mount ends at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serves {
    /// Socket.IO: dialects.
    Sockets,
    /// Engine.IO: messages are sent back (conformance).
    Engine,
    /// WebSocket: messages are sent back (conformance).
    Frames,
}

/// Names a [`Voice`] of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VoiceId(pub(crate) u8);

/// A dialect in one of its namespaces. Whoever shares a voice hears the same bytes.
pub(crate) struct Voice {
    pub(crate) id: VoiceId,
    pub(crate) dialect: Arc<dyn Dialect>,
    pub(crate) namespace: &'static str,
}

impl Mount {
    /// From its configuration; `number` is its place, `voices` are those of its dialects.
    pub(crate) fn new(
        number: usize,
        mount: &config::Mount,
        limits: &config::Limits,
        serves: Serves,
        voices: Vec<VoiceId>,
    ) -> Self {
        let limits = Limits {
            payload: mount.max_payload,
            attachments: limits.attachments,
            depth: limits.depth,
            event_name: limits.event_name,
            rooms: limits.rooms,
            namespaces: limits.namespaces,
            ..Limits::default()
        };
        let greeting = match serves {
            Serves::Sockets => GREETING.min(limits.payload),
            Serves::Engine | Serves::Frames => limits.payload,
        };
        Self {
            number,
            path: mount.path.trim_end_matches('/').to_owned(),
            serves,
            voices,
            timing: Timing { ping_interval: mount.ping_interval, ping_timeout: mount.ping_timeout },
            connect_timeout: mount.connect_timeout,
            upgrade_timeout: mount.upgrade_timeout,
            greeting: Limits { payload: greeting, ..limits.clone() },
            limits,
            origins: Origins::new(&mount.origins),
            recovery: mount.recovery,
            sessions: papaya::HashMap::default(),
        }
    }

    /// Whether sessions may be resumed here.
    pub(crate) fn may_recover(&self) -> bool {
        self.recovery != Recovery::Never
    }

    /// Whether clients must CONNECT here.
    pub(crate) fn serves_sockets(&self) -> bool {
        self.serves == Serves::Sockets
    }
}
