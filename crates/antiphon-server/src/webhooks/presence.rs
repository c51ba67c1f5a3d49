//! Who came, and who is gone for good.
//!
//! A page that is reloaded and a phone in a tunnel go and come back; endpoints hear of neither. Somebody is gone when they have
//! been away for some time and then no node holds a claim of their presence. Who was told to be here is remembered in the store,
//! so that after a restart those who do not come back are told to be gone.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use antiphon_core::ids::PersonId;
use antiphon_core::presence::Status;
use tokio::time::Instant;

/// How long to wait at least before asking again who is here.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whom endpoints believe to be here, and who is about to be gone.
pub(super) struct Attendance {
    gone_after: Duration,
    present: HashSet<PersonId>,
    /// Since when those who left are away. Who comes back is not in here any more.
    away: HashMap<PersonId, Instant>,
    /// The same in the order of leaving, with some that came back meanwhile.
    leaving: VecDeque<(Instant, PersonId)>,
}

impl Attendance {
    /// `gone_after` is how long somebody is away before they are gone.
    pub(super) fn new(gone_after: Duration) -> Self {
        Self { gone_after, present: HashSet::new(), away: HashMap::new(), leaving: VecDeque::new() }
    }

    /// `person` was told to be here before this process began, and may not be any more.
    pub(super) fn remember(&mut self, person: PersonId, now: Instant) {
        if self.present.insert(person.clone()) {
            self.leave(person, now);
        }
    }

    /// `person` is `status` now. Returns whether endpoints are to be told that they came.
    pub(super) fn change(&mut self, person: &PersonId, status: Status, now: Instant) -> bool {
        match status {
            Status::Online | Status::Away => {
                self.away.remove(person);
                self.present.insert(person.clone())
            }
            Status::Offline => {
                // Whoever is said to be away a second time has been away since the first.
                if self.present.contains(person) && !self.away.contains_key(person) {
                    self.leave(person.clone(), now);
                }
                false
            }
        }
    }

    /// When the next person may be gone.
    pub(super) fn next(&self) -> Option<Instant> {
        self.leaving.front().map(|(since, _)| *since + self.gone_after)
    }

    /// The next person who has been away for long enough. Whether they are really gone is to be looked up, and then
    /// [`gone`](Self::gone) or [`stayed`](Self::stayed).
    pub(super) fn due(&mut self, now: Instant) -> Option<PersonId> {
        loop {
            let (since, _) = self.leaving.front()?;
            if *since + self.gone_after > now {
                return None;
            }
            let (since, person) = self.leaving.pop_front()?;
            if self.away.get(&person) == Some(&since) {
                return Some(person);
            }
        }
    }

    /// `person` is gone, and endpoints are being told.
    pub(super) fn gone(&mut self, person: &PersonId) {
        self.away.remove(person);
        self.present.remove(person);
    }

    /// `person` is here after all, somewhere.
    pub(super) fn stayed(&mut self, person: &PersonId) {
        self.away.remove(person);
    }

    /// Nobody knows; to be asked again, but not at once.
    pub(super) fn ask_again(&mut self, person: PersonId, now: Instant) {
        self.leave(person, now + PATIENCE);
    }

    fn leave(&mut self, person: PersonId, now: Instant) {
        self.away.insert(person.clone(), now);
        self.leaving.push_back((now, person));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ada() -> PersonId {
        PersonId::parse("ada").unwrap()
    }

    fn attendance() -> (Attendance, Instant) {
        (Attendance::new(Duration::from_secs(60)), Instant::now())
    }

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn somebody_comes_once_and_is_gone_after_a_while() {
        let (mut attendance, start) = attendance();
        assert!(attendance.change(&ada(), Status::Online, start));
        assert!(!attendance.change(&ada(), Status::Away, start));
        assert!(!attendance.change(&ada(), Status::Online, start));
        assert_eq!(attendance.next(), None);
        assert!(!attendance.change(&ada(), Status::Offline, at(start, 10)));
        assert_eq!((attendance.next(), attendance.due(at(start, 69))), (Some(at(start, 70)), None));
        assert_eq!(attendance.due(at(start, 70)), Some(ada()));
        attendance.gone(&ada());
        assert_eq!((attendance.next(), attendance.due(at(start, 999))), (None, None));
        assert!(attendance.change(&ada(), Status::Online, at(start, 999)));
    }

    #[test]
    fn who_comes_back_in_time_never_went() {
        let (mut attendance, start) = attendance();
        attendance.change(&ada(), Status::Online, start);
        attendance.change(&ada(), Status::Offline, at(start, 1));
        assert!(!attendance.change(&ada(), Status::Online, at(start, 60)));
        assert_eq!(attendance.due(at(start, 999)), None);
        // Away again: the time runs from the second leaving.
        attendance.change(&ada(), Status::Offline, at(start, 1_000));
        attendance.change(&ada(), Status::Online, at(start, 1_001));
        attendance.change(&ada(), Status::Offline, at(start, 1_030));
        assert_eq!(attendance.due(at(start, 1_060)), None);
        assert_eq!(attendance.due(at(start, 1_090)), Some(ada()));
    }

    #[test]
    fn who_is_remembered_and_does_not_come_is_gone() {
        let (mut attendance, start) = attendance();
        attendance.remember(ada(), start);
        attendance.remember(PersonId::parse("bob").unwrap(), start);
        assert!(!attendance.change(&ada(), Status::Online, at(start, 5)), "that was told before");
        assert_eq!(attendance.due(at(start, 60)), PersonId::parse("bob").ok());
        assert_eq!(attendance.due(at(start, 60)), None);
    }

    #[test]
    fn who_is_said_to_be_away_twice_is_away_since_the_first_time() {
        let (mut attendance, start) = attendance();
        attendance.remember(ada(), start);
        // As the core says it of those who were here before a restart.
        attendance.change(&ada(), Status::Offline, at(start, 30));
        assert_eq!((attendance.next(), attendance.due(at(start, 60))), (Some(at(start, 60)), Some(ada())));
        attendance.gone(&ada());
        attendance.change(&ada(), Status::Offline, at(start, 90));
        assert_eq!(attendance.next(), None, "that was told");
    }

    #[test]
    fn who_stayed_somewhere_stays_until_they_leave_again() {
        let (mut attendance, start) = attendance();
        attendance.change(&ada(), Status::Online, start);
        attendance.change(&ada(), Status::Offline, start);
        assert_eq!(attendance.due(at(start, 60)), Some(ada()));
        attendance.stayed(&ada());
        assert_eq!(attendance.next(), None);
        assert!(!attendance.change(&ada(), Status::Online, at(start, 70)), "they never went");
        attendance.change(&ada(), Status::Offline, at(start, 80));
        assert_eq!(attendance.due(at(start, 140)), Some(ada()));
        attendance.ask_again(ada(), at(start, 140));
        assert_eq!(attendance.due(at(start, 204)), None);
        assert_eq!(attendance.due(at(start, 205)), Some(ada()));
    }

    #[test]
    fn nobody_is_asked_about_again_and_again_in_one_moment() {
        let start = Instant::now();
        let mut attendance = Attendance::new(Duration::ZERO);
        attendance.change(&ada(), Status::Online, start);
        attendance.change(&ada(), Status::Offline, start);
        assert_eq!(attendance.due(start), Some(ada()));
        attendance.ask_again(ada(), start);
        assert_eq!(attendance.due(start), None);
    }

    #[test]
    fn who_never_came_does_not_go() {
        let (mut attendance, start) = attendance();
        assert!(!attendance.change(&ada(), Status::Offline, start));
        assert_eq!(attendance.next(), None);
    }
}
