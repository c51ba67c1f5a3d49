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
//! | [`topics`] | who hears what, and how often |
//! | [`limits`] | how much of everything there may be, and who suffers when there is more |
//! | [`faults`] | what clients see of a store that fails |
//! | [`leaving`] | a client that goes right after it said something |
//! | [`stop`] | the end of the server |
//! | [`tls`] | all of it behind TLS |
//! | [`admin`] | the operator's port: what it serves, and to whom |
//! | [`metrics`] | what is counted |
//! | [`traces`] | what a collector of spans gets |
//! | [`canaries`] | what nobody gets to see in logs and metrics |

#![expect(clippy::disallowed_methods, reason = "tests connect to the server that they started")]

mod admin;
mod canaries;
mod chat;
mod faults;
mod handshake;
mod leaving;
mod limits;
mod metrics;
mod origins;
mod packets;
mod polling;
mod stop;
mod support;
mod tls;
mod topics;
mod traces;
mod upgrade;
mod websocket;
