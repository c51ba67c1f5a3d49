//! How much of anything may a peer send?
//!
//! One table for every limit of the wire. Going over a limit ends the connection; nothing is cut short
//! silently.

/// The limits of one connection.
///
/// A count is allowed up to and including its limit.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of one WebSocket message with all of its fragments, of one polling body, and of one Socket.IO
    /// packet together with its attachments.
    pub payload: usize,
    /// Binary attachments of one Socket.IO packet.
    pub attachments: usize,
    /// Levels of nested JSON arrays and objects, counting the outermost one.
    pub depth: usize,
    /// Bytes of an event's name, unescaped.
    pub event_name: usize,
    /// Rooms one socket may be in. Enforced by whoever keeps the rooms.
    pub rooms: usize,
    /// Namespaces one connection may be in. Enforced by whoever keeps the namespaces.
    pub namespaces: usize,
    /// Bytes of a namespace, with its leading slash and without its query.
    pub namespace_length: usize,
    /// Frames one WebSocket message may be divided into. Every frame costs work, even an empty one.
    pub fragments: usize,
    /// Packets in one polling body. Every packet costs work, even an empty one.
    pub packets: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            payload: 1_000_000,
            attachments: 10,
            depth: 64,
            event_name: 256,
            rooms: 64,
            namespaces: 8,
            namespace_length: 256,
            fragments: 1_024,
            packets: 1_024,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_promised_ones() {
        let limits = Limits::default();
        assert_eq!(limits.payload, 1_000_000);
        assert_eq!(limits.attachments, 10);
        assert_eq!(limits.depth, 64);
        assert_eq!(limits.event_name, 256);
        assert_eq!(limits.rooms, 64);
        assert_eq!(limits.namespaces, 8);
    }
}
