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
//! | [`headcount`] | how many sockets speak for one person |
//! | [`standing`] | how a socket stands with its credential: good, expired, renewed |
//! | [`identify`] | how a connection says who it is after CONNECT |
//! | [`dismissal`] | how a socket is sent away |
//! | [`speaking`] | how much a client may say |
//! | [`seating`] | how somebody is let in |
//! | [`process`] | what a packet does: CONNECT, an event, a DISCONNECT |
//! | [`replying`] | what a client is told about what it sent |

mod closing;
mod connection;
mod deadlines;
mod dismissal;
mod headcount;
mod identify;
mod intake;
mod process;
mod replying;
mod seating;
mod socket;
mod speaking;
mod standing;
mod writing;

pub(crate) use closing::Closing;
pub(crate) use connection::{Connection, Link};
pub(crate) use dismissal::Dismissal;
pub(crate) use headcount::Headcount;
pub(crate) use intake::Step;
pub(crate) use socket::Socket;
pub(crate) use standing::Standing;
