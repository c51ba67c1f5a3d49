//! Which people and agents belong together.

use std::ops::Bound::{Excluded, Unbounded};

use async_trait::async_trait;

use super::{Contents, MemoryStore};
use crate::conversation::Party;
use crate::ids::{AgentId, ConversationId, PersonId, Timestamp};
use crate::people::{Bond, Bonded};
use crate::ports::Bonds;
use crate::refusal::Fault;

#[async_trait]
impl Bonds for MemoryStore {
    async fn put_bond(&self, bond: &Bond) -> Result<bool, Fault> {
        let mut contents = self.contents();
        contents.check_person(&bond.person, "a bond")?;
        if !contents.agents.contains_key(&bond.agent) {
            return Err(Fault::new(format!("storing a bond with {}, which does not exist", bond.agent)));
        }
        let pair = (bond.person.clone(), bond.agent.clone());
        let is_new = !contents.bonds.contains_key(&pair);
        contents.bonds.entry(pair).or_insert_with(|| bond.clone());
        Ok(is_new)
    }

    async fn bond(&self, person: &PersonId, agent: &AgentId) -> Result<Option<Bond>, Fault> {
        Ok(self.contents().bonds.get(&(person.clone(), agent.clone())).cloned())
    }

    async fn bonds_of(&self, person: &PersonId) -> Result<Vec<Bonded>, Fault> {
        let contents = self.contents();
        let mut bonds: Vec<_> = contents.bonds.values().filter(|bond| bond.person == *person).collect();
        bonds.sort_by(|a, b| (a.since, &a.agent).cmp(&(b.since, &b.agent)));
        Ok(bonds.into_iter().map(|bond| contents.bonded(bond)).collect())
    }

    async fn active_bonds(
        &self,
        since: Timestamp,
        after: Option<(PersonId, AgentId)>,
        limit: u32,
    ) -> Result<Vec<Bonded>, Fault> {
        let contents = self.contents();
        let from = after.as_ref().map_or(Unbounded, Excluded);
        let bonded = contents.bonds.range((from, Unbounded)).map(|(_, bond)| contents.bonded(bond));
        let active = bonded.filter(|bonded| bonded.active_at.is_some_and(|at| at >= since));
        Ok(active.take(limit as usize).collect())
    }
}

impl Contents {
    fn bonded(&self, bond: &Bond) -> Bonded {
        let pair = (bond.agent.clone(), bond.person.clone());
        let conversation = ConversationId::direct(&bond.agent, &bond.person);
        let messages = self.conversations.get(&conversation).map_or(&[][..], Vec::as_slice);
        let said = messages.iter().rev().find(|message| message.author == Party::Person);
        Bonded {
            bond: bond.clone(),
            relation: self.relations.get(&pair).copied().unwrap_or_default(),
            last: messages.last().cloned(),
            active_at: said.map(|message| message.at),
        }
    }
}
