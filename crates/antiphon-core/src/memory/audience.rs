//! Who was seated where: an audience that writes it down.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ids::ConnectionId;
use crate::ports::Audience;
use crate::topic::Topic;

/// An audience for tests: it seats everybody until it is told to refuse, and remembers every call in order.
#[derive(Debug, Default)]
pub struct RecordingAudience(Mutex<Record>);

/// One call of an audience.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seating {
    /// The connection hears the topic from here on.
    Joined(ConnectionId, Topic),
    /// It asked to, while the audience was refusing.
    Refused(ConnectionId, Topic),
    /// It does not hear the topic any more. Written down whether or not it did before.
    Left(ConnectionId, Topic),
}

#[derive(Debug, Default)]
struct Record {
    refusing: bool,
    seatings: Vec<Seating>,
}

impl RecordingAudience {
    /// An audience that seats everybody.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on joins are refused (`true`) or granted (`false`).
    pub fn refuse(&self, refusing: bool) {
        self.record().refusing = refusing;
    }

    /// Every call so far, oldest first.
    pub fn seatings(&self) -> Vec<Seating> {
        self.record().seatings.clone()
    }

    /// Whether `connection` hears `topic` now.
    pub fn hears(&self, connection: ConnectionId, topic: &Topic) -> bool {
        let record = self.record();
        let last = record.seatings.iter().rev().find_map(|seating| match seating {
            Seating::Joined(who, place) if *who == connection && place == topic => Some(true),
            Seating::Left(who, place) if *who == connection && place == topic => Some(false),
            _ => None,
        });
        last.unwrap_or(false)
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        // Every change is one assignment or one push, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Audience for RecordingAudience {
    fn join(&self, connection: ConnectionId, topic: &Topic) -> bool {
        let mut record = self.record();
        let seated = !record.refusing;
        let seating = if seated { Seating::Joined } else { Seating::Refused };
        record.seatings.push(seating(connection, topic.clone()));
        seated
    }

    fn leave(&self, connection: ConnectionId, topic: &Topic) {
        self.record().seatings.push(Seating::Left(connection, topic.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_and_leaves_are_written_down_in_order() {
        let audience = RecordingAudience::new();
        let ada = ConnectionId { core: 0, slot: 1, generation: 0 };
        let place = Topic::Named("place".into());
        assert!(audience.join(ada, &place));
        assert!(audience.hears(ada, &place));
        assert!(!audience.hears(ada, &Topic::Everyone));
        audience.leave(ada, &place);
        assert!(!audience.hears(ada, &place));
        let log = [Seating::Joined(ada, place.clone()), Seating::Left(ada, place)];
        assert_eq!(audience.seatings(), log);
    }

    #[test]
    fn a_refusing_audience_seats_nobody_until_it_stops() {
        let audience = RecordingAudience::new();
        let ada = ConnectionId { core: 0, slot: 1, generation: 0 };
        audience.refuse(true);
        assert!(!audience.join(ada, &Topic::Everyone));
        assert!(!audience.hears(ada, &Topic::Everyone));
        audience.refuse(false);
        assert!(audience.join(ada, &Topic::Everyone));
        assert_eq!(audience.seatings().len(), 2);
    }
}
