//! The HTTP exchange that turns a connection into a WebSocket (RFC 6455, section 4), with one key for all.

use std::net::SocketAddr;

use anyhow::{Result, bail};

/// The specification's own example: with one known key, one known answer, nobody here has to hash.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Longest head that either side accepts, in bytes.
const MAX_HEAD: usize = 8192;

/// What a client asks: Engine.IO 4 over WebSocket at `path`, with the headers that a real client sends.
pub fn request(address: SocketAddr, path: &str) -> String {
    let path = path.trim_end_matches('/');
    format!(
        "GET {path}/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\
         User-Agent: antiphon-bench\r\n\r\n"
    )
}

/// What the floor answers to any request.
pub fn response() -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
    )
}

/// Length of the HTTP head at the beginning of `buffer`, or `None` if its end is not there yet.
///
/// Fails if the head is too long to be one.
pub fn head_length(buffer: &[u8]) -> Result<Option<usize>> {
    let end = buffer.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
    if end.is_none() && buffer.len() > MAX_HEAD {
        bail!("an HTTP head of more than {MAX_HEAD} bytes");
    }
    Ok(end)
}

/// Fails unless `head` is a server's consent to [`request`].
pub fn check_response(head: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(head);
    let first = text.lines().next().unwrap_or_default();
    if !first.starts_with("HTTP/1.1 101") {
        bail!("the upgrade was refused: {first}");
    }
    if !text.contains(ACCEPT) {
        bail!("the upgrade was answered with a wrong Sec-WebSocket-Accept");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floors_answer_satisfies_the_client() {
        assert!(check_response(response().as_bytes()).is_ok());
        assert_eq!(head_length(response().as_bytes()).unwrap(), Some(response().len()));
    }

    #[test]
    fn a_refusal_is_quoted() {
        let refused = check_response(b"HTTP/1.1 403 Forbidden\r\n\r\n").unwrap_err();
        assert!(refused.to_string().contains("403 Forbidden"), "{refused}");
        assert!(
            check_response(b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n\r\n").is_err()
        );
    }

    #[test]
    fn a_head_ends_at_the_empty_line_and_not_before() {
        assert_eq!(head_length(b"GET / HTTP/1.1\r\nHost: x\r\n").unwrap(), None);
        assert_eq!(head_length(b"GET / HTTP/1.1\r\n\r\nrest").unwrap(), Some(18));
        assert!(head_length(&[b'x'; 9000]).is_err());
    }

    #[test]
    fn a_path_gets_exactly_one_slash_before_the_query() {
        let address = "127.0.0.1:80".parse().unwrap();
        for path in ["/api/socketio", "/api/socketio/"] {
            assert!(
                request(address, path)
                    .starts_with("GET /api/socketio/?EIO=4&transport=websocket HTTP/1.1\r\n")
            );
        }
    }
}
