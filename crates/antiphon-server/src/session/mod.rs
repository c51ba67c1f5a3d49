//! One connection's life: packets in, commands to the core, replies and events out.
//!
//! | file | answers |
//! |---|---|
//! | [`connection`] | what is kept for one Engine.IO session, how it is written to, when it ends |
//! | [`socket`] | what is kept for one Socket.IO socket on it |
//! | [`process`] | what a packet does: CONNECT, an event, a DISCONNECT |

mod connection;
mod process;
mod socket;

pub(crate) use connection::{Closing, Connection, Link, Step};
pub(crate) use socket::Socket;
