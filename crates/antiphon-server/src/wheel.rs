//! Who has to be looked at, and when: one timer wheel per core in place of a timer per connection.

use std::time::Duration;

/// Names a connection on its core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

const TICK_MS: u64 = 20;
const SLOTS: u64 = 2_048; // 41 seconds; what lies further ahead goes round again

/// A hashed timer wheel. Entries fire up to one tick late, never early.
pub(crate) struct Wheel {
    slots: Vec<Vec<(u64, Key)>>,
    next: u64,
}

impl Default for Wheel {
    fn default() -> Self {
        Self { slots: vec![Vec::new(); SLOTS as usize], next: 0 }
    }
}

impl Wheel {
    /// How often [`Wheel::advance`] wants to be called.
    pub(crate) const TICK: Duration = Duration::from_millis(TICK_MS);

    /// Has `key` fire once `at` (milliseconds) has passed.
    pub(crate) fn insert(&mut self, at: u64, key: Key) {
        let tick = at.div_ceil(TICK_MS).max(self.next);
        self.slots[(tick % SLOTS) as usize].push((at, key));
    }

    /// Moves everything that is due at `now` into `due`.
    pub(crate) fn advance(&mut self, now: u64, due: &mut Vec<(u64, Key)>) {
        let last = now / TICK_MS;
        // After a long pause one round visits every slot; more rounds would find nothing new.
        let first = self.next.max((last + 1).saturating_sub(SLOTS));
        for tick in first..=last {
            let slot = &mut self.slots[(tick % SLOTS) as usize];
            if slot.is_empty() {
                continue;
            }
            slot.retain(|entry| {
                let later = entry.0 > now;
                if !later {
                    due.push(*entry);
                }
                later
            });
            if slot.is_empty() {
                slot.shrink_to(64);
            }
        }
        self.next = self.next.max(last + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(slot: u32) -> Key {
        Key { slot, generation: 0 }
    }

    fn due(wheel: &mut Wheel, now: u64) -> Vec<u64> {
        let mut due = Vec::new();
        wheel.advance(now, &mut due);
        due.into_iter().map(|(at, _)| at).collect()
    }

    #[test]
    fn an_entry_fires_once_never_early_and_at_most_a_tick_late() {
        let mut wheel = Wheel::default();
        wheel.insert(100, key(1));
        wheel.insert(101, key(2));
        assert!(due(&mut wheel, 99).is_empty());
        assert_eq!(due(&mut wheel, 100), [100]);
        assert!(due(&mut wheel, 119).is_empty());
        assert_eq!(due(&mut wheel, 120), [101]);
        assert!(due(&mut wheel, 10_000).is_empty());
    }

    #[test]
    fn an_entry_beyond_the_horizon_waits_for_its_round() {
        let mut wheel = Wheel::default();
        wheel.insert(100_000, key(1));
        for now in (0..100_000).step_by(20) {
            assert!(due(&mut wheel, now).is_empty());
        }
        assert_eq!(due(&mut wheel, 100_000), [100_000]);
    }

    #[test]
    fn nothing_is_lost_when_the_thread_was_held_up_for_long() {
        let mut wheel = Wheel::default();
        for at in [10, 500, 39_000, 41_500, 90_000] {
            wheel.insert(at, key(1));
        }
        let mut fired = due(&mut wheel, 200_000);
        fired.sort_unstable();
        assert_eq!(fired, [10, 500, 39_000, 41_500, 90_000]);
    }

    #[test]
    fn what_is_already_past_fires_at_the_next_tick() {
        let mut wheel = Wheel::default();
        due(&mut wheel, 1_000);
        wheel.insert(10, key(1));
        assert_eq!(due(&mut wheel, 1_020), [10]);
    }
}
