//! Webhooks in memory: the reference of what their store does.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use async_trait::async_trait;

use super::MemoryStore;
use crate::conversation::Message;
use crate::ids::{ConversationId, PersonId, Timestamp};
use crate::refusal::Fault;
use crate::webhooks::{
    About, Announcement, Announcements, DeadLetter, Delivered, Deliveries, Due, Letter, Queued, body,
};

/// What a [`MemoryStore`] remembers about webhooks.
#[derive(Default)]
pub(super) struct Desk {
    following: bool,
    /// Up to which position each conversation is announced.
    announced: HashMap<ConversationId, u64>,
    present: BTreeSet<PersonId>,
    /// The last number of each endpoint and person.
    numbers: HashMap<(String, Option<PersonId>), u64>,
    disabled: BTreeMap<String, Timestamp>,
    deliveries: BTreeMap<u64, Delivery>,
    last_id: u64,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is announced holds what people wrote.
        f.debug_struct("Desk").field("deliveries", &self.deliveries.len()).finish_non_exhaustive()
    }
}

struct Delivery {
    endpoint: String,
    sequence: u64,
    announcement: Announcement,
    attempts: u32,
    state: State,
}

/// Where a delivery stands.
#[derive(Clone)]
enum State {
    /// An earlier one about the same person holds it.
    Waiting,
    Due {
        at: Timestamp,
        holds: bool,
    },
    Dead {
        at: Timestamp,
        why: String,
    },
}

impl Desk {
    /// Whether a message may be announced now; `None` when one before it never was.
    fn note_message(&mut self, conversation: ConversationId, seq: u64) -> Option<bool> {
        if !self.following {
            return Some(true);
        }
        let announced = self.announced.entry(conversation).or_default();
        match seq.checked_sub(*announced) {
            None | Some(0) => Some(false),
            Some(1) => {
                *announced = seq;
                Some(true)
            }
            Some(_) => None,
        }
    }

    fn deliver(&mut self, announcement: &Announcement, endpoint: &str) {
        let holder = self.deliveries.values().any(|delivery| {
            delivery.is_about(endpoint, announcement.person.as_ref())
                && matches!(delivery.state, State::Waiting | State::Due { holds: true, .. })
        });
        let state = if holder { State::Waiting } else { State::Due { at: announcement.at, holds: true } };
        let number = self.numbers.entry((endpoint.to_owned(), announcement.person.clone())).or_default();
        *number += 1;
        self.last_id += 1;
        let delivery = Delivery {
            endpoint: endpoint.to_owned(),
            sequence: *number,
            announcement: announcement.clone(),
            attempts: 0,
            state,
        };
        self.deliveries.insert(self.last_id, delivery);
    }

    /// The first of those that wait behind a delivery that holds nothing any more is due.
    fn promote(&mut self, endpoint: &str, person: Option<&PersonId>, now: Timestamp) {
        let next = self
            .deliveries
            .values_mut()
            .find(|delivery| delivery.is_about(endpoint, person) && matches!(delivery.state, State::Waiting));
        if let Some(next) = next {
            next.state = State::Due { at: now, holds: true };
        }
    }
}

impl Delivery {
    fn is_about(&self, endpoint: &str, person: Option<&PersonId>) -> bool {
        self.endpoint == endpoint && self.announcement.person.as_ref() == person
    }

    fn is_dead(&self) -> bool {
        matches!(self.state, State::Dead { .. })
    }
}

#[async_trait]
impl Announcements for MemoryStore {
    async fn announce(&self, announcements: &[Announcement]) -> Result<bool, Fault> {
        let mut contents = self.contents();
        let desk = &mut contents.desk;
        let mut whole = true;
        for announcement in announcements {
            if desk.deliveries.values().any(|delivery| delivery.announcement.id == announcement.id) {
                continue;
            }
            match announcement.about {
                About::Nothing => {}
                About::Presence(here) => {
                    if let Some(person) = announcement.person.clone() {
                        if here {
                            desk.present.insert(person)
                        } else {
                            desk.present.remove(&person)
                        };
                    }
                }
                About::Message(conversation, seq) => match desk.note_message(conversation, seq) {
                    Some(true) => {}
                    Some(false) => continue,
                    None => {
                        whole = false;
                        continue;
                    }
                },
            }
            for endpoint in &announcement.endpoints {
                if !desk.disabled.contains_key(endpoint) {
                    desk.deliver(announcement, endpoint);
                }
            }
        }
        Ok(whole)
    }

    async fn follow_messages(&self, follow: bool) -> Result<(), Fault> {
        let mut contents = self.contents();
        if contents.desk.following != follow {
            let last = |messages: &Vec<Message>| messages.len() as u64;
            let announced: HashMap<_, _> =
                contents.conversations.iter().map(|(id, messages)| (*id, last(messages))).collect();
            contents.desk.following = follow;
            contents.desk.announced = if follow { announced } else { HashMap::new() };
        }
        Ok(())
    }

    async fn unannounced(&self, limit: u32) -> Result<Vec<Message>, Fault> {
        let contents = self.contents();
        let desk = &contents.desk;
        if !desk.following {
            return Ok(Vec::new());
        }
        let rest = contents.conversations.iter().flat_map(|(id, messages)| {
            let announced = desk.announced.get(id).copied().unwrap_or(0);
            messages.iter().filter(move |message| message.seq > announced)
        });
        Ok(rest.take(limit as usize).cloned().collect())
    }

    async fn announced_present(&self, after: Option<&PersonId>, limit: u32) -> Result<Vec<PersonId>, Fault> {
        let contents = self.contents();
        let people = contents.desk.present.iter().filter(|person| after.is_none_or(|after| *person > after));
        Ok(people.take(limit as usize).cloned().collect())
    }
}

#[async_trait]
impl Deliveries for MemoryStore {
    async fn due(&self, endpoint: &str, now: Timestamp, limit: u32) -> Result<Due, Fault> {
        let contents = self.contents();
        let mut coming: Vec<_> = contents
            .desk
            .deliveries
            .iter()
            .filter(|(_, delivery)| delivery.endpoint == endpoint)
            .filter_map(|(id, delivery)| match delivery.state {
                State::Due { at, .. } => Some((at, *id, delivery)),
                State::Waiting | State::Dead { .. } => None,
            })
            .collect();
        coming.sort_by_key(|(at, id, _)| (*at, *id));
        let count = coming.iter().take(limit as usize).take_while(|(at, ..)| *at <= now).count();
        let next = coming.get(count).map(|(at, ..)| *at);
        let letter = |(_, id, delivery): &(Timestamp, u64, &Delivery)| Letter {
            id: *id,
            announcement: delivery.announcement.id.clone(),
            sequence: delivery.sequence,
            payload: delivery.announcement.payload.clone(),
            at: delivery.announcement.at,
            attempts: delivery.attempts,
        };
        Ok(Due { letters: coming[..count].iter().map(letter).collect(), next })
    }

    async fn settle(&self, delivery: u64, outcome: Delivered, now: Timestamp) -> Result<(), Fault> {
        let mut contents = self.contents();
        let desk = &mut contents.desk;
        let Some(found) = desk.deliveries.get_mut(&delivery).filter(|delivery| !delivery.is_dead()) else {
            return Ok(());
        };
        let held = matches!(found.state, State::Due { holds: true, .. });
        let (endpoint, person) = (found.endpoint.clone(), found.announcement.person.clone());
        let holds = match outcome {
            Delivered::Done => {
                desk.deliveries.remove(&delivery);
                false
            }
            Delivered::Later { at, holds, why: _ } => {
                found.attempts += 1;
                // Once others may pass, they may.
                let holds = holds && held;
                found.state = State::Due { at, holds };
                holds
            }
            Delivered::Dead { why } => {
                found.attempts += 1;
                found.state = State::Dead { at: now, why };
                false
            }
        };
        if held && !holds {
            desk.promote(&endpoint, person.as_ref(), now);
        }
        Ok(())
    }

    async fn dead(&self, after: Option<u64>, limit: u32) -> Result<Vec<DeadLetter>, Fault> {
        let contents = self.contents();
        let dead = contents.desk.deliveries.iter().filter_map(|(id, delivery)| match &delivery.state {
            State::Dead { at, why } if after.is_none_or(|after| *id > after) => Some(DeadLetter {
                id: *id,
                endpoint: delivery.endpoint.clone(),
                announcement: delivery.announcement.id.clone(),
                kind: delivery.announcement.kind.to_owned(),
                person: delivery.announcement.person.clone(),
                sequence: delivery.sequence,
                body: body(&delivery.announcement.payload, delivery.sequence),
                at: delivery.announcement.at,
                died_at: *at,
                attempts: delivery.attempts,
                why: why.clone(),
            }),
            _ => None,
        });
        Ok(dead.take(limit as usize).collect())
    }

    async fn revive(&self, delivery: u64, now: Timestamp) -> Result<bool, Fault> {
        let mut contents = self.contents();
        let dead = contents.desk.deliveries.get_mut(&delivery).filter(|delivery| delivery.is_dead());
        let Some(dead) = dead else { return Ok(false) };
        dead.attempts = 0;
        dead.state = State::Due { at: now, holds: false };
        Ok(true)
    }

    async fn disable(&self, endpoint: &str, why: &str, now: Timestamp) -> Result<(), Fault> {
        let mut contents = self.contents();
        contents.desk.disabled.entry(endpoint.to_owned()).or_insert(now);
        for delivery in contents.desk.deliveries.values_mut() {
            if delivery.endpoint == endpoint && !delivery.is_dead() {
                delivery.state = State::Dead { at: now, why: why.to_owned() };
            }
        }
        Ok(())
    }

    async fn enable(&self, endpoint: &str) -> Result<bool, Fault> {
        Ok(self.contents().desk.disabled.remove(endpoint).is_some())
    }

    async fn disabled(&self) -> Result<Vec<(String, Timestamp)>, Fault> {
        Ok(self.contents().desk.disabled.iter().map(|(name, since)| (name.clone(), *since)).collect())
    }

    async fn queued(&self) -> Result<Vec<(String, Queued)>, Fault> {
        let contents = self.contents();
        let mut queued: BTreeMap<String, Queued> = BTreeMap::new();
        for delivery in contents.desk.deliveries.values() {
            let counts = queued.entry(delivery.endpoint.clone()).or_default();
            let count = if delivery.is_dead() { &mut counts.dead } else { &mut counts.pending };
            *count += 1;
        }
        Ok(queued.into_iter().collect())
    }

    async fn sweep(
        &self,
        announced_before: Timestamp,
        died_before: Timestamp,
        now: Timestamp,
    ) -> Result<(u64, u64), Fault> {
        let mut contents = self.contents();
        let deliveries = &mut contents.desk.deliveries;
        let before = deliveries.len();
        deliveries
            .retain(|_, delivery| !matches!(delivery.state, State::Dead { at, .. } if at < died_before));
        let forgotten = before - deliveries.len();
        let mut given_up = 0;
        let mut freed = Vec::new();
        for delivery in deliveries.values_mut() {
            if !delivery.is_dead() && delivery.announcement.at < announced_before {
                if matches!(delivery.state, State::Due { holds: true, .. }) {
                    freed.push((delivery.endpoint.clone(), delivery.announcement.person.clone()));
                }
                delivery.state = State::Dead { at: now, why: "it became too old".into() };
                given_up += 1;
            }
        }
        for (endpoint, person) in freed {
            contents.desk.promote(&endpoint, person.as_ref(), now);
        }
        Ok((given_up, forgotten as u64))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn the_memory_store_keeps_the_contract_of_webhooks() {
        crate::contract::webhooks(async || Arc::new(MemoryStore::new())).await;
    }
}
