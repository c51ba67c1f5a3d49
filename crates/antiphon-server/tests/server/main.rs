//! The whole server, from its sockets: started in this process on a free port, spoken to byte by byte.
//!
//! | module | states |
//! |---|---|
//! | [`handshake`] | how a session is opened, and what is refused before there is one |
//! | [`origins`] | which browser pages may ask, on either transport |
//! | [`polling`] | HTTP long-polling |
//! | [`upgrade`] | the change from polling to WebSocket |
//! | [`websocket`] | WebSocket |
//! | [`packets`] | Socket.IO packets over either: which are processed, which end the connection |
//! | [`chat`] | the chat API, as scripts |
//! | [`limits`] | how much of everything there may be, and who suffers when there is more |
//! | [`faults`] | what clients see of a store that fails |
//! | [`leaving`] | a client that goes right after it said something |
//! | [`stop`] | the end of the server |
//! | [`webhooks`] | other servers are told what happens: signed, in order, and nothing lost |
//! | [`tls`] | all of it behind TLS |

#![expect(clippy::disallowed_methods, reason = "tests connect to the server that they started")]

mod chat;
mod faults;
mod handshake;
mod leaving;
mod limits;
mod origins;
mod packets;
mod polling;
mod stop;
mod support;
mod tls;
mod upgrade;
mod webhooks;
mod websocket;
