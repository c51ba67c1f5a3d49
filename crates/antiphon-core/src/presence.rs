//! Who is here.
//!
//! Each connection of a person claims their presence for itself, and somebody is gone when nobody holds a claim for them.
//! `Attendance` is what this node knows itself: whom it has connections of, which of those hold a claim, and which status
//! was said last. It is as large as the number of connections, never larger.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::ids::{ConnectionId, PersonId};

/// Whether somebody is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Connected.
    Online,
    /// Connected, but looking elsewhere.
    Away,
    /// Not connected.
    Offline,
}

/// The key of the lease that the connections of `person` hold while they are here.
pub fn lease(person: &PersonId) -> String {
    format!("presence/{person}")
}

/// The people who are connected to this node.
#[derive(Debug, Default)]
pub(crate) struct Attendance(HashMap<PersonId, Here>);

#[derive(Debug)]
struct Here {
    status: Status,
    connections: Vec<Seat>,
}

#[derive(Debug)]
struct Seat {
    connection: ConnectionId,
    /// Whether it holds a claim. It does not after saying that its person is offline.
    holding: bool,
}

impl Attendance {
    /// `person` has come over `connection`, and is online. Returns the status before; `None` if this is the only connection
    /// of theirs that this node knows.
    pub(crate) fn arrive(&mut self, person: &PersonId, connection: ConnectionId) -> Option<Status> {
        let here = self
            .0
            .entry(person.clone())
            .or_insert_with(|| Here { status: Status::Online, connections: Vec::new() });
        let before = (!here.connections.is_empty()).then_some(here.status);
        here.status = Status::Online;
        here.connections.retain(|seat| seat.connection != connection);
        here.connections.push(Seat { connection, holding: true });
        before
    }

    /// `connection` says how `person` is. Returns the status before; `None`, and nothing changes, if it never came or has
    /// already gone.
    pub(crate) fn say(
        &mut self,
        person: &PersonId,
        connection: ConnectionId,
        status: Status,
    ) -> Option<Status> {
        let here = self.0.get_mut(person)?;
        let seat = here.connections.iter_mut().find(|seat| seat.connection == connection)?;
        seat.holding = status != Status::Offline;
        Some(std::mem::replace(&mut here.status, status))
    }

    /// `connection` has gone. Returns whether it held a claim.
    pub(crate) fn depart(&mut self, person: &PersonId, connection: ConnectionId) -> bool {
        let held = self.holds(person, connection);
        if let Some(here) = self.0.get_mut(person) {
            here.connections.retain(|seat| seat.connection != connection);
            if here.connections.is_empty() {
                self.0.remove(person);
            }
        }
        held
    }

    /// What was said last about `person`, if they are connected to this node.
    pub(crate) fn status(&self, person: &PersonId) -> Option<Status> {
        self.0.get(person).map(|here| here.status)
    }

    /// Whether a connection of `person` to this node holds a claim.
    pub(crate) fn is_here(&self, person: &PersonId) -> bool {
        self.0.get(person).is_some_and(|here| here.connections.iter().any(|seat| seat.holding))
    }

    /// Whether `connection` holds a claim for `person`.
    pub(crate) fn holds(&self, person: &PersonId, connection: ConnectionId) -> bool {
        let held =
            |here: &Here| here.connections.iter().any(|seat| seat.connection == connection && seat.holding);
        self.0.get(person).is_some_and(held)
    }

    /// Everybody whose claim must be kept alive from here.
    pub(crate) fn holders(&self) -> Vec<(PersonId, ConnectionId)> {
        self.0
            .iter()
            .flat_map(|(person, here)| {
                let holding = here.connections.iter().filter(|seat| seat.holding);
                holding.map(|seat| (person.clone(), seat.connection))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ada() -> PersonId {
        PersonId::parse("ada").unwrap()
    }

    fn connection(slot: u32) -> ConnectionId {
        ConnectionId { core: 0, slot, generation: 0 }
    }

    #[test]
    fn the_last_word_about_a_person_is_remembered_while_they_are_connected() {
        let mut attendance = Attendance::default();
        assert_eq!(attendance.arrive(&ada(), connection(1)), None);
        assert_eq!(attendance.say(&ada(), connection(1), Status::Away), Some(Status::Online));
        assert_eq!(attendance.arrive(&ada(), connection(2)), Some(Status::Away));
        assert_eq!(attendance.say(&ada(), connection(2), Status::Offline), Some(Status::Online));
        assert_eq!(attendance.say(&ada(), connection(1), Status::Online), Some(Status::Offline));
    }

    #[test]
    fn who_says_offline_holds_nothing_and_who_comes_back_does() {
        let mut attendance = Attendance::default();
        attendance.arrive(&ada(), connection(1));
        attendance.say(&ada(), connection(1), Status::Offline);
        assert!(!attendance.is_here(&ada()));
        assert_eq!(attendance.holders(), []);
        attendance.say(&ada(), connection(1), Status::Away);
        assert!(attendance.holds(&ada(), connection(1)));
        assert_eq!(attendance.holders(), [(ada(), connection(1))]);
    }

    #[test]
    fn nothing_is_kept_of_somebody_without_connections() {
        let mut attendance = Attendance::default();
        attendance.arrive(&ada(), connection(1));
        attendance.arrive(&ada(), connection(1));
        assert_eq!(attendance.holders(), [(ada(), connection(1))]);
        attendance.arrive(&ada(), connection(2));
        assert!(attendance.depart(&ada(), connection(1)));
        assert!(!attendance.depart(&ada(), connection(1)));
        assert!(attendance.is_here(&ada()));
        assert!(attendance.depart(&ada(), connection(2)));
        assert!(attendance.0.is_empty());
        assert_eq!(attendance.say(&ada(), connection(2), Status::Online), None);
        assert!(attendance.0.is_empty());
    }
}
