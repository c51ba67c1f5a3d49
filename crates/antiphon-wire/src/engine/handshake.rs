//! What does a server say first?

use crate::json;

/// The terms of a new session (Engine.IO protocol, "Handshake").
#[derive(Clone, Copy, Debug)]
pub struct Handshake<'a> {
    /// The session's id, to be unguessable.
    pub sid: &'a str,
    /// Names of the transports it may be upgraded to.
    pub upgrades: &'a [&'a str],
    /// Milliseconds between pings.
    pub ping_interval: u64,
    /// Milliseconds within which a pong has to come.
    pub ping_timeout: u64,
    /// Bytes a client may put into one payload.
    pub max_payload: usize,
}

impl Handshake<'_> {
    /// The open packet: `0` and a JSON object.
    pub fn packet(&self) -> String {
        let mut out = String::from("0{\"sid\":");
        push_quoted(self.sid, &mut out);
        out.push_str(",\"upgrades\":[");
        for (index, upgrade) in self.upgrades.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            push_quoted(upgrade, &mut out);
        }
        let Self { ping_interval, ping_timeout, max_payload, .. } = self;
        out += &format!(
            "],\"pingInterval\":{ping_interval},\"pingTimeout\":{ping_timeout},\"maxPayload\":{max_payload}}}"
        );
        out
    }
}

fn push_quoted(text: &str, out: &mut String) {
    let mut quoted = Vec::with_capacity(json::string_length(text));
    json::write_string(text, &mut quoted);
    out.push_str(&String::from_utf8_lossy(&quoted));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_protocol_is_written() {
        let handshake = Handshake {
            sid: "lv_VI97HAXpY6yYWAAAC",
            upgrades: &["websocket"],
            ping_interval: 25_000,
            ping_timeout: 20_000,
            max_payload: 1_000_000,
        };
        assert_eq!(
            handshake.packet(),
            r#"0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#
        );
    }

    #[test]
    fn any_number_of_upgrades_makes_a_list() {
        for (upgrades, list) in [(&[][..], ""), (&["a"], "\"a\""), (&["a", "b"], "\"a\",\"b\"")] {
            let handshake =
                Handshake { sid: "a\"b", upgrades, ping_interval: 1, ping_timeout: 2, max_payload: 3 };
            let rest = r#""pingInterval":1,"pingTimeout":2,"maxPayload":3}"#;
            assert_eq!(handshake.packet(), format!(r#"0{{"sid":"a\"b","upgrades":[{list}],{rest}"#));
        }
    }
}
