//! What is remembered while the process lives: the reference of what a store does.
//!
//! One lock around plain maps. A message is checked completely before anything changes, which is what a transaction is here;
//! `committed` is called under the lock, so that calls come in the order of `seq`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::actor::{ApiKey, KeyHash, Person, Plan};
use crate::agents::{Agent, AgentChange, Relation};
use crate::conversation::Message;
use crate::ids::{AgentId, ConversationId, MessageId, PersonId};
use crate::ports::{Agents, Appended, Committed, Conversations, NewMessage, People};
use crate::refusal::Fault;

/// A store that forgets everything when it is dropped.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Contents>);

impl MemoryStore {
    /// A store with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn contents(&self) -> MutexGuard<'_, Contents> {
        // Only `committed` can panic under this lock, and it is called after the last change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
pub(super) struct Contents {
    people: HashMap<PersonId, Person>,
    plans: HashMap<String, Plan>,
    keys: HashMap<KeyHash, ApiKey>,
    sent: HashMap<(PersonId, i32), u64>,
    agents: HashMap<AgentId, Agent>,
    relations: HashMap<(AgentId, PersonId), Relation>,
    pub(super) conversations: HashMap<ConversationId, Vec<Message>>,
    places: HashMap<MessageId, ConversationId>,
    pub(super) desk: super::webhooks::Desk,
}

#[async_trait]
impl People for MemoryStore {
    async fn put_person(&self, person: &Person) -> Result<(), Fault> {
        self.contents().people.insert(person.id.clone(), person.clone());
        Ok(())
    }

    async fn person(&self, id: &PersonId) -> Result<Option<Person>, Fault> {
        Ok(self.contents().people.get(id).cloned())
    }

    async fn put_plan(&self, plan: &Plan) -> Result<(), Fault> {
        self.contents().plans.insert(plan.name.clone(), plan.clone());
        Ok(())
    }

    async fn plan(&self, name: &str) -> Result<Option<Plan>, Fault> {
        Ok(self.contents().plans.get(name).cloned())
    }

    async fn put_key(&self, key: &ApiKey) -> Result<(), Fault> {
        let mut contents = self.contents();
        if !contents.people.contains_key(&key.person) {
            return Err(Fault::new(format!("storing an API key of {}, who does not exist", key.person)));
        }
        contents.keys.insert(key.hash, key.clone());
        Ok(())
    }

    async fn person_by_key(&self, hash: &KeyHash) -> Result<Option<Person>, Fault> {
        let contents = self.contents();
        Ok(contents.keys.get(hash).and_then(|key| contents.people.get(&key.person)).cloned())
    }

    async fn messages_sent(&self, person: &PersonId, month: i32) -> Result<u64, Fault> {
        Ok(self.contents().sent.get(&(person.clone(), month)).copied().unwrap_or(0))
    }
}

#[async_trait]
impl Agents for MemoryStore {
    async fn put_agent(&self, agent: &Agent) -> Result<(), Fault> {
        let mut contents = self.contents();
        if !contents.people.contains_key(&agent.owner) {
            return Err(Fault::new(format!("storing an agent of {}, who does not exist", agent.owner)));
        }
        contents.agents.insert(agent.id.clone(), agent.clone());
        Ok(())
    }

    async fn agent(&self, id: &AgentId) -> Result<Option<Agent>, Fault> {
        Ok(self.contents().agents.get(id).cloned())
    }

    async fn agents_of(&self, owner: &PersonId) -> Result<Vec<Agent>, Fault> {
        let contents = self.contents();
        let mut agents: Vec<_> =
            contents.agents.values().filter(|agent| agent.owner == *owner).cloned().collect();
        agents.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(agents)
    }

    async fn change_agent(&self, id: &AgentId, change: &AgentChange) -> Result<Option<Agent>, Fault> {
        let mut contents = self.contents();
        let Some(agent) = contents.agents.get_mut(id) else { return Ok(None) };
        let set = |field: &mut String, value: &Option<String>| {
            if let Some(value) = value {
                field.clone_from(value);
            }
        };
        set(&mut agent.name, &change.name);
        set(&mut agent.personality, &change.personality);
        set(&mut agent.purpose, &change.purpose);
        set(&mut agent.tone, &change.tone);
        set(&mut agent.visibility, &change.visibility);
        Ok(Some(agent.clone()))
    }

    async fn delete_agent(&self, id: &AgentId) -> Result<bool, Fault> {
        Ok(self.contents().agents.remove(id).is_some())
    }

    async fn relation(&self, agent: &AgentId, person: &PersonId) -> Result<Relation, Fault> {
        let pair = (agent.clone(), person.clone());
        Ok(self.contents().relations.get(&pair).copied().unwrap_or_default())
    }
}

#[async_trait]
impl Conversations for MemoryStore {
    async fn append(&self, message: NewMessage, committed: Committed) -> Result<Appended, Fault> {
        let mut contents = self.contents();
        let contents = &mut *contents;

        if let Some(quota) = message.quota {
            let current = contents.sent.get(&(message.person.clone(), quota.month)).copied().unwrap_or(0);
            if let Some(limit) = quota.limit.filter(|limit| current >= *limit) {
                return Ok(Appended::OverQuota { current, limit });
            }
        }
        match contents.places.entry(message.id) {
            Entry::Occupied(_) => {
                return Err(Fault::new(format!("appending message {}, which is already stored", message.id)));
            }
            Entry::Vacant(place) => place.insert(message.conversation),
        };

        // Nothing can fail from here on.
        if let Some(quota) = message.quota {
            *contents.sent.entry((message.person.clone(), quota.month)).or_default() += 1;
        }
        let pair = (message.agent.clone(), message.person.clone());
        let relation = match message.moves {
            Some(delta) => {
                let relation = contents.relations.entry(pair).or_default();
                *relation = relation.moved(delta);
                *relation
            }
            None => contents.relations.get(&pair).copied().unwrap_or_default(),
        };
        let messages = contents.conversations.entry(message.conversation).or_default();
        let message = Message {
            id: message.id,
            conversation: message.conversation,
            seq: messages.len() as u64 + 1,
            agent: message.agent,
            person: message.person,
            author: message.author,
            text: message.text,
            at: message.at,
        };
        messages.push(message.clone());
        committed(&message, &relation);
        Ok(Appended::Stored { message, relation })
    }

    async fn history(
        &self,
        conversation: ConversationId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Message>, Fault> {
        let contents = self.contents();
        let messages = contents.conversations.get(&conversation).map_or(&[][..], Vec::as_slice);
        // Message n stands at n − 1, so those after `after` begin there.
        let after = usize::try_from(after).unwrap_or(usize::MAX).min(messages.len());
        Ok(messages[after..].iter().take(limit as usize).cloned().collect())
    }

    async fn recent(&self, conversation: ConversationId, limit: u32) -> Result<Vec<Message>, Fault> {
        let contents = self.contents();
        let messages = contents.conversations.get(&conversation).map_or(&[][..], Vec::as_slice);
        Ok(messages[messages.len().saturating_sub(limit as usize)..].to_vec())
    }
}
