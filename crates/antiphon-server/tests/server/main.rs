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
//! | [`script`] | how scripts are read and played |
//! | [`chat`] | the chat API, as scripts |
//! | [`chain`] | payments that people report are looked up on a chain |
//! | [`proactive`] | what agents say by themselves: to whom, when, and once |
//! | [`companion`] | the companion API: its events as scripts, and its routes |
//! | [`mission`] | the mission API: its events as scripts, and its routes |
//! | [`answers`] | every event that asks for an answer gets one, and a message said again is stored once |
//! | [`catching_up`] | joining with a position: the past, then the present |
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
//! | [`resume`] | what a client finds that comes back after its connection was lost |
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
mod answers;
mod api;
mod canaries;
mod canary;
mod catching_up;
mod chain;
mod chat;
mod claims;
mod cli;
mod companion;
mod credentials;
mod disk;
mod faults;
mod handshake;
mod issuers;
mod leaving;
mod limits;
mod logs;
mod metrics;
mod mission;
mod origins;
mod packets;
mod polling;
mod proactive;
mod rates;
mod resume;
mod script;
mod stop;
mod support;
mod tls;
mod topics;
mod traces;
mod upgrade;
mod webhooks;
mod websocket;
