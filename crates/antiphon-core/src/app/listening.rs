//! Who may hear a topic, asked by the topic alone.
//!
//! Whoever joins a place names what it is: an agent, and a person. A connection that comes back has topics, and what stands
//! behind them is looked up here.

use super::{App, Trouble, explain};
use crate::access::{self, Action, Place};
use crate::actor::{Actor, Caller};
use crate::ids::{ConversationId, PersonId};
use crate::refusal::Fault;
use crate::topic::Topic;

impl App {
    /// Seats the connection of `caller` at every one of `topics` that it may hear now, as if it asked for the first time.
    /// Returns where it was seated, in the same order. What cannot be looked up counts as not allowed, and is logged.
    pub async fn rejoin(&self, caller: &Caller, topics: &[Topic]) -> Vec<Topic> {
        // Not while an agent is being deleted, as for whoever watches one of their own.
        let _not_edited = self.editing.read().await;
        let mut seated = Vec::new();
        for topic in topics {
            match self.may_listen(&caller.actor, topic).await {
                Ok(()) if self.seat(caller, topic).is_ok() => seated.push(topic.clone()),
                Ok(()) | Err(Trouble::Refused(_)) => {}
                Err(Trouble::Broken(fault)) => {
                    tracing::error!(fault = explain(&fault), "whether somebody may come back is not known");
                }
            }
        }
        seated
    }

    /// Whether `actor` may hear `topic`.
    pub(super) async fn may_listen(&self, actor: &Actor, topic: &Topic) -> Result<(), Trouble> {
        let store = &self.ports.store;
        match topic {
            Topic::Agent(agent) => {
                let found = store.agent(agent).await?;
                access::may(actor, Action::Listen, Place::of_agent(topic, found.as_ref()))?;
            }
            Topic::Conversation(id) => {
                // Whose a conversation is, its messages say.
                let last = store.recent(*id, 1).await?.pop();
                let Some(last) = last else { return self.may_listen_to_silence(actor, topic, *id).await };
                let found = store.agent(&last.agent).await?;
                let place = Place::of_conversation(topic, found.as_ref(), &last.person);
                access::may(actor, Action::Listen, place)?;
            }
            _ => access::may(actor, Action::Listen, Place::of(topic))?,
        }
        Ok(())
    }

    /// The same for a conversation in which nothing has been said: it is a person's own with one of their agents, or nobody's.
    async fn may_listen_to_silence(
        &self,
        actor: &Actor,
        topic: &Topic,
        id: ConversationId,
    ) -> Result<(), Trouble> {
        let own = match actor.person() {
            Some(person) if self.is_own(person, id).await? => Some(person),
            _ => None,
        };
        Ok(access::may(actor, Action::Listen, Place { topic, owner: own })?)
    }

    /// Whether `id` is the conversation of `person` with an agent of their own.
    async fn is_own(&self, person: &PersonId, id: ConversationId) -> Result<bool, Fault> {
        let agents = self.ports.store.agents_of(person).await?;
        Ok(agents.iter().any(|agent| ConversationId::direct(&agent.id, person) == id))
    }
}

#[cfg(test)]
mod tests {
    use crate::actor::Principal;
    use crate::app::stage::{Stage, agent_id, connection, person, post_to, talk};
    use crate::command::Command;
    use crate::ports::Agents;
    use crate::topic::Topic;

    #[tokio::test(start_paused = true)]
    async fn whoever_comes_back_is_seated_where_they_may_still_listen() {
        let stage = Stage::new().await;
        stage.ada(post_to("luna", "hola")).await.unwrap();
        let all = [
            Topic::Everyone,
            Topic::Person(person("ada")),
            Topic::Person(person("bob")),
            Topic::Agent(agent_id("luna")),
            Topic::Agent(agent_id("rex")),
            talk("luna", "ada"),
            // Nothing has been said there.
            talk("mia", "ada"),
            talk("rex", "bob"),
            talk("rex", "ada"),
            Topic::Dashboard,
            Topic::Nodes,
        ];
        let ada = stage.caller("ada", 7);
        let seated = stage.app.rejoin(&ada, &all).await;
        let expected = [
            Topic::Everyone,
            Topic::Person(person("ada")),
            Topic::Agent(agent_id("luna")),
            talk("luna", "ada"),
            talk("mia", "ada"),
        ];
        assert_eq!(seated, expected);
        for topic in &all {
            assert_eq!(stage.audience.hears(connection(7), topic), expected.contains(topic), "{topic:?}");
        }
        let guest = stage.principal(Principal::Guest, 8);
        assert_eq!(stage.app.rejoin(&guest, &all).await, [Topic::Everyone]);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_comes_back_does_not_find_what_was_taken_away_meanwhile() {
        let stage = Stage::new().await;
        stage.ada(post_to("luna", "hola")).await.unwrap();
        stage.ada(Command::DeleteAgent { agent: agent_id("luna") }).await.unwrap();
        stage.store.inner.delete_agent(&agent_id("mia")).await.unwrap();
        let topics = [Topic::Agent(agent_id("luna")), talk("luna", "ada"), talk("mia", "ada")];
        assert!(stage.app.rejoin(&stage.caller("ada", 7), &topics).await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_seated_where_the_store_or_the_audience_says_no() {
        let stage = Stage::new().await;
        let topics = [Topic::Agent(agent_id("luna")), Topic::Everyone];
        let ada = stage.caller("ada", 7);
        stage.store.fail(true);
        assert_eq!(stage.app.rejoin(&ada, &topics).await, [Topic::Everyone]);
        stage.store.fail(false);
        stage.audience.refuse(true);
        assert!(stage.app.rejoin(&ada, &topics).await.is_empty());
    }
}
