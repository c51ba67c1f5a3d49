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
//! | [`claims`] | whether an id in a payload counts only when it is the sender's own |
//! | [`api`] | the HTTP API for backends |
//! | [`limits`] | how much of everything there may be, and who suffers when there is more |
//! | [`rates`] | how fast clients may speak, and how much one address may have |
//! | [`credentials`] | credentials that expire, are renewed, are revoked while their sockets are open |
//! | [`issuers`] | issuers of tokens whose keys are fetched |
//! | [`logs`] | what is logged of a connection, and what is not |
//! | [`faults`] | what clients see of a store that fails |
//! | [`disk`] | what clients and operators see when the disk fails or is full |
//! | [`leaving`] | a client that goes right after it said something |
//! | [`stop`] | the end of the server |
//! | [`webhooks`] | other servers are told what happens: signed, in order, and nothing lost |
//! | [`tls`] | all of it behind TLS |
//! | [`admin`] | the operator's port: what it serves, and to whom |
//! | [`metrics`] | what is counted |
//! | [`traces`] | what a collector of spans gets |
//! | [`canaries`] | what nobody gets to see in logs and metrics |
//! | [`canary`] | whether the real program repeats a secret, wherever somebody puts it |

//! | [`cli`] | the program, as its operators run it |

#![expect(clippy::disallowed_methods, reason = "tests connect to the server that they started")]

mod admin;
mod api;
mod canaries;
mod canary;
mod chat;
mod claims;
mod cli;
mod credentials;
mod disk;
mod faults;
mod handshake;
mod issuers;
mod leaving;
mod limits;
mod logs;
mod metrics;
mod origins;
mod packets;
mod polling;
mod rates;
mod stop;
mod support;
mod tls;
mod topics;
mod traces;
mod upgrade;
mod webhooks;
mod websocket;
