//! Which Socket.IO packets arrive, and how is one sent?
//!
//! The Socket.IO protocol, revision 5, with its default encoding.
//!
//! - [`Decoder`]: Engine.IO messages → [`Incoming`] packets, attachments included, or [`Malformed`]
//! - [`Encoded`]: a packet for the client, built once and shared by all who receive it
//! - [`Namespace`]: what a connection is divided into

mod attachments;
mod decode;
mod encode;
mod namespace;
mod packet;

pub use decode::Decoder;
pub use encode::Encoded;
pub use namespace::Namespace;
pub use packet::{Ack, Event, Incoming, Malformed};
