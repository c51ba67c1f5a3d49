//! How bytes come and go: sockets drive a wire session.
//!
//! | file | answers |
//! |---|---|
//! | [`stream`] | a TCP or TLS stream that a reader and the core's turn share |
//! | [`impatient`] | how long an HTTP answer may wait for a client that does not read it |
//! | [`http`] | what an HTTP request on a port asks for |
//! | [`handler`] | how a router answers such a request |
//! | [`origin`] | which browsers may ask |
//! | [`address`] | where a request comes from |
//! | [`crowd`] | how much one address may have |
//! | [`websocket`] | reading a WebSocket |
//! | [`stamp`] | whether a GET is the repeat of one that was answered |
//! | [`polling`] | serving polling requests, and the change from polling to WebSocket |

pub(crate) mod address;
pub(crate) mod crowd;
pub(crate) mod handler;
pub(crate) mod http;
mod impatient;
pub(crate) mod origin;
pub(crate) mod polling;
pub(crate) mod stamp;
mod stream;
pub(crate) mod websocket;

pub(crate) use impatient::Impatient;
pub(crate) use stream::Stream;
