//! What was said.

use async_trait::async_trait;

use super::{MemoryStore, is_kept};
use crate::conversation::Message;
use crate::ids::{ConversationId, PersonId, Timestamp};
use crate::ports::{Appended, Committed, Conversations, NewMessage};
use crate::refusal::Fault;

/// Which message was stored under a key, and when.
#[derive(Debug)]
pub(super) struct Said {
    conversation: ConversationId,
    seq: u64,
    pub(super) at: Timestamp,
}

#[async_trait]
impl Conversations for MemoryStore {
    async fn append(&self, message: NewMessage, committed: Committed) -> Result<Appended, Fault> {
        let mut contents = self.contents();
        let contents = &mut *contents;

        let said_before = message.once.as_ref().and_then(|key| contents.said.get(key));
        if let Some(said) = said_before.filter(|said| is_kept(said.at, message.at)) {
            let place = contents.conversations.get(&said.conversation).map_or(&[][..], Vec::as_slice);
            // Message n stands at n − 1. What was said is never removed, so it is there.
            let first = usize::try_from(said.seq - 1).ok().and_then(|index| place.get(index));
            return Ok(match first.filter(|first| message.repeats(first)) {
                Some(first) => Appended::Repeated { message: first.clone() },
                None => Appended::Reused,
            });
        }
        if let Some(quota) = message.quota {
            let current = contents.sent.get(&(message.person.clone(), quota.month)).copied().unwrap_or(0);
            if let Some(limit) = quota.limit.filter(|limit| current >= *limit) {
                return Ok(Appended::OverQuota { current, limit });
            }
        }
        if contents.places.contains_key(&message.id) {
            return Err(Fault::new(format!("appending message {}, which is already stored", message.id)));
        }
        let paid = match contents.price(message.id, &message.person, message.at, message.charge)? {
            Ok(paid) => paid,
            Err(obstacle) => return Ok(Appended::Unpaid(obstacle)),
        };

        // Nothing can fail from here on.
        contents.places.insert(message.id, message.conversation);
        contents.settle(message.id, message.charge, paid.as_ref());
        let once = message.once;
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
        if let Some(key) = once {
            let said = Said { conversation: message.conversation, seq: message.seq, at: message.at };
            contents.said.insert(key, said);
        }
        committed(&message, &relation, paid.as_ref());
        Ok(Appended::Stored { message, relation, paid })
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

    async fn count(&self, conversation: ConversationId) -> Result<u64, Fault> {
        Ok(self.contents().conversations.get(&conversation).map_or(0, |messages| messages.len() as u64))
    }

    async fn said_by(&self, person: &PersonId) -> Result<u64, Fault> {
        let contents = self.contents();
        Ok(contents.sent.iter().filter(|((sender, _), _)| sender == person).map(|(_, sent)| sent).sum())
    }

    async fn latest(&self, after: Option<ConversationId>, limit: u32) -> Result<Vec<Message>, Fault> {
        let contents = self.contents();
        let later = |message: &&Message| after.is_none_or(|after| message.conversation > after);
        let mut latest: Vec<_> =
            contents.conversations.values().filter_map(|messages| messages.last()).filter(later).collect();
        latest.sort_unstable_by_key(|message| message.conversation);
        Ok(latest.into_iter().take(limit as usize).cloned().collect())
    }
}
