//! The bytes that the load generator and the floor exchange, and no more of the protocols than that.
//!
//! On purpose not `antiphon-wire`: a bench that shares its codec with the product would share its mistakes.

pub mod frame;
pub mod packet;
pub mod token;
pub mod upgrade;
