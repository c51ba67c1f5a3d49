//! What every test here stands on: a server in this process, and clients that speak to it byte by byte.
//!
//! | file | answers |
//! |---|---|
//! | [`server`] | how a server is started for one test, watched, and stopped |
//! | [`door`] | where clients knock: address, path, and perhaps TLS |
//! | [`http`] | HTTP requests, written and read by hand |
//! | [`websocket`] | WebSocket frames, written and read by hand |
//! | [`engine`] | an Engine.IO session over either transport |
//! | [`client`] | a Socket.IO client over such a session |
//! | [`dialect`] | a dialect that does what no API does, to see what becomes of the rest |
//! | [`receiver`] | a receiver of webhooks that verifies what it gets |
//! | [`node`] | a node of a chain, which answers as it is told to |
//! | [`people`] | who lives in the tests of the chat API |
//! | [`scrape`] | a page of metrics, and what it says |
//! | [`canary`] | planted secrets, and whether one of them shows |
//! | [`process`] | the real program, as a process of its own |
//!
//! Nothing waits for a time to pass: whoever waits, waits for something, and [`PATIENCE`] only says when to give up.

pub(crate) mod canary;
pub(crate) mod client;
pub(crate) mod dialect;
pub(crate) mod door;
pub(crate) mod engine;
pub(crate) mod http;
pub(crate) mod node;
pub(crate) mod people;
pub(crate) mod process;
pub(crate) mod receiver;
pub(crate) mod scrape;
pub(crate) mod server;
pub(crate) mod websocket;

use std::time::Duration;

/// After this long, whatever a test waits for is taken not to come. Generous: the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What `future` comes to. Panics, with the words of `what`, when it takes longer than [`PATIENCE`].
pub(crate) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited in vain for {what}"),
    }
}
