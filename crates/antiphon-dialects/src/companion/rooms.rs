//! Which topic a room name stands for.
//!
//! Clients of this API never send room names: they say who they are, and are in their room. The name is how its documentation
//! talks about who hears what, and how an operator finds a room again.

use std::fmt;

use antiphon_core::ids::PersonId;
use antiphon_core::refusal::Refusal;
use antiphon_core::topic::Topic;

/// The documented room, `user:{userId}`: all connections of one person.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Room(pub PersonId);

impl Room {
    /// Reads a room name; an unknown kind of room is refused as invalid.
    pub fn parse(name: &str) -> Result<Self, Refusal> {
        match name.split_once(':') {
            Some(("user", id)) => PersonId::parse(id).map(Self),
            _ => Err(Refusal::invalid("There is no such kind of room.")),
        }
    }

    /// Where its events are published.
    pub fn topic(&self) -> Topic {
        Topic::Person(self.0.clone())
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user:{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_name_is_read_and_written_alike() {
        let ada = PersonId::parse("ada").expect("a plain id");
        assert_eq!(Room::parse("user:ada"), Ok(Room(ada)));
        for name in ["user:ada", "user:a:b"] {
            assert_eq!(Room::parse(name).map(|room| room.to_string()).as_deref(), Ok(name));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for name in ["", "user", "user:", "User:ada", "ada", "persona:luna"] {
            assert!(Room::parse(name).is_err(), "{name}");
        }
    }
}
