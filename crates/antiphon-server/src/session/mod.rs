//! One connection's life: packets in, commands to the core, replies and events out.
//!
//! | file | answers |
//! |---|---|
//! | [`connection`] | what is kept for one Engine.IO session, what carries it, how it ends |
//! | [`closing`] | why it ends, and what the client is told |
//! | [`writing`] | how it is written to |
//! | [`intake`] | what becomes of packets until they are processed |
//! | [`deadlines`] | what is due for it, and when |
//! | [`socket`] | what is kept for one Socket.IO socket on it |
//! | [`process`] | what a packet does: CONNECT, an event, a DISCONNECT |

mod closing;
mod connection;
mod deadlines;
mod intake;
mod process;
mod socket;
mod writing;

pub(crate) use closing::Closing;
pub(crate) use connection::{Connection, Link};
pub(crate) use intake::Step;
pub(crate) use socket::Socket;
