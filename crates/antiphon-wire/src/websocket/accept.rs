//! How does a server prove that it understood the opening handshake?

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha1::{Digest, Sha1};

/// RFC 6455, section 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The value of `Sec-WebSocket-Accept` for a client's `Sec-WebSocket-Key` (RFC 6455, section 4.2.2).
///
/// `None` unless `key` is the base64 of 16 bytes (section 4.1); surrounding spaces are the header parser's
/// business.
pub fn accept_key(key: &str) -> Option<String> {
    let mut nonce = [0; 18];
    if key.len() != 24 || STANDARD.decode_slice(key, &mut nonce).ok()? != 16 {
        return None;
    }
    Some(STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_is_answered_as_in_the_rfc() {
        let answer = accept_key("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(answer.as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }

    #[test]
    fn a_key_that_is_not_sixteen_bytes_of_base64_has_no_answer() {
        for key in [
            "",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ= ",
            "dGhlIHNhbXBsZSBub25jZWFi",
            "dGhlIHNhbXBsZSBub25jZ!==",
            "éééééééééééé",
        ] {
            assert_eq!(accept_key(key), None, "{key}");
        }
    }
}
