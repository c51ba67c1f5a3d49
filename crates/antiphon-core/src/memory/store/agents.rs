//! Agents and their relations to people.

use async_trait::async_trait;

use super::MemoryStore;
use crate::agents::{Agent, AgentChange, Relation};
use crate::ids::{AgentId, PersonId};
use crate::ports::Agents;
use crate::refusal::Fault;

#[async_trait]
impl Agents for MemoryStore {
    async fn put_agent(&self, agent: &Agent) -> Result<(), Fault> {
        let mut contents = self.contents();
        contents.check_person(&agent.owner, "an agent")?;
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

    async fn personas(&self, after: Option<&AgentId>, limit: u32) -> Result<Vec<Agent>, Fault> {
        let contents = self.contents();
        let public = contents.agents.values().filter(|agent| agent.is_public());
        let mut found: Vec<_> = public.filter(|agent| after.is_none_or(|id| agent.id > *id)).collect();
        found.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(found.into_iter().take(limit as usize).cloned().collect())
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
        let mut contents = self.contents();
        contents.workers.remove(id);
        contents.bonds.retain(|(_, agent), _| agent != id);
        Ok(contents.agents.remove(id).is_some())
    }

    async fn relation(&self, agent: &AgentId, person: &PersonId) -> Result<Relation, Fault> {
        let pair = (agent.clone(), person.clone());
        Ok(self.contents().relations.get(&pair).copied().unwrap_or_default())
    }
}
