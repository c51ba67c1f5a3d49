//! Which messages are in the bytes of a WebSocket, and how is a frame written?
//!
//! RFC 6455, the server's side, without extensions.
//!
//! - [`accept_key`]: the answer to `Sec-WebSocket-Key`
//! - [`Decoder`]: bytes from the client → [`Incoming`] messages, or a [`Violation`] that ends the connection
//! - [`frame_into`], [`close_into`]: frames to the client

mod accept;
mod close;
mod decoder;
mod frame;

pub use accept::accept_key;
pub use close::close_into;
pub use decoder::{Decoder, Incoming};
pub use frame::{Opcode, Violation, frame_into};

pub(crate) use frame::{header_length, split_unmasked, write_header};
