//! Messages that agents send by themselves: their settings, and when they are due.

#[cfg_attr(not(test), expect(dead_code, reason = "looked at by what is said by itself"))]
mod calendar;
mod settings;

pub use self::settings::{Schedule, Settings};
