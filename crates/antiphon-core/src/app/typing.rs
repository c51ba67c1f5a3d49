//! Who is typing, and when that ends by itself.
//!
//! Nothing here touches the store, and no event starts a task: one loop of [`App::run`] ends what nobody renewed. A
//! conversation has one typist per node, whichever of their connections they type on.

use tokio::time::{Instant, sleep_until};

use super::typists::Typing;
use super::{App, Trouble};
use crate::access::{self, Action, Place};
use crate::actor::{Caller, Claim};
use crate::command::Outcome;
use crate::conversation::Party;
use crate::event::{Envelope, Event};
use crate::ids::{AgentId, ConnectionId, ConversationId, PersonId};
use crate::topic::Topic;

impl App {
    pub(super) async fn set_typing(
        &self,
        caller: &Caller,
        agent: &AgentId,
        claim: &Claim,
        active: bool,
    ) -> Result<Outcome, Trouble> {
        let person = access::identity(&caller.actor, claim)?;
        let conversation = ConversationId::direct(agent, person);
        // Nobody looks the agent up for this: whoever hears the conversation has been let in, and it is the person's own.
        let place = Place { topic: &Topic::Conversation(conversation), owner: Some(person) };
        access::may(&caller.actor, Action::Type, place)?;
        if active {
            let typing = Typing {
                to: Some((agent.clone(), conversation)),
                connection: caller.connection,
                until: Instant::now() + self.settings.typing,
            };
            self.typists.start(person, typing)?;
            self.say_typing(conversation, agent, person, true);
            let key = key(conversation);
            let claimed = self.ports.leases.claim(&key, &self.settings.node, self.settings.typing);
            self.leased(claimed.await);
        } else {
            let was_typing = self.typists.stop(person, Some(conversation));
            self.say_typing(conversation, agent, person, false);
            if was_typing {
                self.forget_typing(conversation).await;
            }
        }
        Ok(Outcome::Done)
    }

    /// The other connections of whoever asks see it. No lease tells of it: only this node's own connections could ask.
    pub(super) fn show_typing(&self, caller: &Caller, active: bool) -> Result<Outcome, Trouble> {
        let person = access::identity(&caller.actor, &Claim::NONE)?;
        access::may(&caller.actor, Action::Type, Place::of(&Topic::Person(person.clone())))?;
        if active {
            let until = Instant::now() + self.settings.typing;
            self.typists.start(person, Typing { to: None, connection: caller.connection, until })?;
        } else {
            self.typists.stop(person, None);
        }
        self.show(person, caller.connection, active);
        Ok(Outcome::Done)
    }

    /// Ends all typing on `connection` at once.
    pub(super) async fn stop_typing(&self, person: &PersonId, connection: ConnectionId) {
        for typing in self.typists.stop_connection(person, connection) {
            self.say_ended(person, &typing);
            if let Some(conversation) = typing.place() {
                self.forget_typing(conversation).await;
            }
        }
    }

    /// Ends typing that nobody renewed, for ever. Claims need no release here: they end at the same time.
    pub(super) async fn expire_typing(&self) {
        loop {
            let started = self.typists.started.notified();
            match self.typists.next_check() {
                Some(at) => sleep_until(at).await,
                None => started.await,
            }
            while let Some((person, typing)) = self.typists.expire(Instant::now()) {
                self.say_ended(&person, &typing);
            }
        }
    }

    fn say_ended(&self, person: &PersonId, typing: &Typing) {
        match &typing.to {
            Some((agent, conversation)) => self.say_typing(*conversation, agent, person, false),
            None => self.show(person, typing.connection, false),
        }
    }

    /// Tells the person's connections, except `typed_on`.
    fn show(&self, person: &PersonId, typed_on: Option<ConnectionId>, active: bool) {
        let event = Event::PersonTyping { person: person.clone(), active, at: self.now() };
        let envelope = Envelope::new(Topic::Person(person.clone()), event);
        self.ports.bus.publish(Envelope { except: typed_on, ..envelope });
    }

    fn say_typing(&self, conversation: ConversationId, agent: &AgentId, person: &PersonId, active: bool) {
        let event = Event::TypingChanged {
            agent: agent.clone(),
            person: person.clone(),
            who: Party::Person,
            active,
            at: self.now(),
        };
        self.ports.publish(Topic::Conversation(conversation), event);
    }

    async fn forget_typing(&self, conversation: ConversationId) {
        self.leased(self.ports.leases.release(&key(conversation), &self.settings.node).await);
    }
}

fn key(conversation: ConversationId) -> String {
    format!("typing/{conversation}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{advance, timeout};

    use super::*;
    use crate::actor::Principal;
    use crate::app::stage::{Stage, agent_id, connection, person, talk};
    use crate::app::typists::BUSIEST;
    use crate::command::Command;
    use crate::ports::Leases;
    use crate::refusal::{Code, Refusal};

    fn typing(agent: &str, active: bool) -> Command {
        Command::SetTyping { agent: agent_id(agent), person: Claim::NONE, active }
    }

    async fn claims(stage: &Stage) -> Vec<String> {
        let key = key(ConversationId::direct(&agent_id("luna"), &person("ada")));
        stage.leases.inner.holders(&key).await.unwrap()
    }

    fn nobody_types(stage: &Stage) -> bool {
        stage.app.typists.len() == (0, 0, 0)
    }

    #[tokio::test(start_paused = true)]
    async fn typing_reaches_everybody_in_the_conversation_and_never_the_store() {
        let mut stage = Stage::new().await;
        assert_eq!(stage.ada(typing("luna", true)).await, Ok(Outcome::Done));
        let envelope = stage.next().await;
        assert_eq!(envelope.topic, talk("luna", "ada"));
        assert_eq!(envelope.except, None);
        assert!(matches!(envelope.event, Event::TypingChanged { who: Party::Person, active: true, .. }));
        assert_eq!(claims(&stage).await, ["local"]);
        stage.hears_nothing_more().await;
        assert_eq!(stage.store.calls(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn typing_ends_by_itself_after_three_seconds() {
        let mut stage = Stage::new().await;
        let _running = stage.run();
        // The loop has found nobody and rests when the typing begins.
        stage.hears_nothing_more().await;
        stage.ada(typing("luna", true)).await.unwrap();
        let began = Instant::now();
        stage.hears(&["ada types to luna: true", "ada types to luna: false"]).await;
        assert_eq!(began.elapsed(), Duration::from_secs(3));
        assert!(claims(&stage).await.is_empty());
        assert!(nobody_types(&stage));
        stage.hears_nothing_more().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_event_starts_the_three_seconds_again() {
        let mut stage = Stage::new().await;
        let _running = stage.run();
        let began = Instant::now();
        for _ in 0..4 {
            stage.ada(typing("luna", true)).await.unwrap();
            stage.hears(&["ada types to luna: true"]).await;
            stage.hears_nothing_more().await;
            advance(Duration::from_millis(1_999)).await;
            assert_eq!(claims(&stage).await, ["local"]);
        }
        stage.hears(&["ada types to luna: false"]).await;
        // The last of four events came after three times two seconds.
        assert_eq!(began.elapsed().as_secs(), 9);
        stage.hears_nothing_more().await;
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_says_that_they_stopped_is_not_stopped_again() {
        let mut stage = Stage::new().await;
        let _running = stage.run();
        stage.ada(typing("luna", true)).await.unwrap();
        stage.ada(typing("luna", false)).await.unwrap();
        stage.hears(&["ada types to luna: true", "ada types to luna: false"]).await;
        assert!(claims(&stage).await.is_empty());
        assert!(nobody_types(&stage));
        advance(Duration::from_secs(10)).await;
        stage.hears_nothing_more().await;
    }

    #[tokio::test(start_paused = true)]
    async fn conversations_end_their_typing_each_in_its_own_time() {
        let mut stage = Stage::new().await;
        let _running = stage.run();
        stage.ada(typing("luna", true)).await.unwrap();
        advance(Duration::from_secs(1)).await;
        stage.ada(typing("mia", true)).await.unwrap();
        advance(Duration::from_secs(1)).await;
        stage.ada(typing("luna", true)).await.unwrap();
        stage.hears(&["ada types to luna: true", "ada types to mia: true", "ada types to luna: true"]).await;
        let before = Instant::now();
        stage.hears(&["ada types to mia: false"]).await;
        assert_eq!(before.elapsed(), Duration::from_secs(2));
        stage.hears(&["ada types to luna: false"]).await;
        assert_eq!(before.elapsed(), Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_goes_stops_typing_at_once_and_others_type_on() {
        let mut stage = Stage::new().await;
        let _running = stage.run();
        stage.ada(typing("luna", true)).await.unwrap();
        stage.app.handle(&stage.caller("ada", 2), typing("mia", true)).await.unwrap();
        stage.hears(&["ada types to luna: true", "ada types to mia: true"]).await;
        stage.app.disconnected(&stage.caller("ada", 1)).await;
        let gone = Instant::now();
        stage.hears(&["ada types to luna: false"]).await;
        assert_eq!(gone.elapsed(), Duration::ZERO);
        assert!(claims(&stage).await.is_empty());
        stage.hears(&["ada types to mia: false"]).await;
        assert_eq!(gone.elapsed(), Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn typing_belongs_to_the_connection_that_typed_last() {
        let mut stage = Stage::new().await;
        stage.ada(typing("luna", true)).await.unwrap();
        stage.app.handle(&stage.caller("ada", 2), typing("luna", true)).await.unwrap();
        stage.hears(&["ada types to luna: true", "ada types to luna: true"]).await;
        stage.app.disconnected(&stage.caller("ada", 1)).await;
        stage.hears_nothing_more().await;
        stage.app.disconnected(&stage.caller("ada", 2)).await;
        stage.hears(&["ada types to luna: false"]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn somebody_elses_typing_cannot_be_shown() {
        let mut stage = Stage::new().await;
        let spoofed =
            Command::SetTyping { agent: agent_id("rex"), person: Claim::of(person("bob")), active: true };
        assert_eq!(stage.ada(spoofed).await, Err(Refusal::forbidden()));
        assert!(nobody_types(&stage));
        // To an agent of somebody else it goes to one's own conversation with it, which nobody else can hear.
        stage.ada(typing("rex", true)).await.unwrap();
        assert_eq!(stage.next().await.topic, talk("rex", "ada"));
        stage.hears_nothing_more().await;
    }

    #[tokio::test(start_paused = true)]
    async fn typing_to_nobody_in_particular_is_shown_to_ones_other_connections_and_ends_by_itself() {
        let mut stage = Stage::new().await;
        let _running = stage.run();
        stage.hears_nothing_more().await;
        assert_eq!(stage.ada(Command::ShowTyping { active: true }).await, Ok(Outcome::Done));
        let began = Instant::now();
        for active in [true, false] {
            let envelope = stage.next().await;
            assert_eq!(envelope.topic, Topic::Person(person("ada")));
            assert_eq!(envelope.except, Some(connection(1)));
            let Event::PersonTyping { active: now, .. } = envelope.event else { panic!("{envelope:?}") };
            assert_eq!(now, active);
        }
        assert_eq!(began.elapsed(), Duration::from_secs(3));
        // It is apart from typing to an agent, ends when they say so, and goes with its connection.
        stage.ada(typing("luna", true)).await.unwrap();
        stage.ada(Command::ShowTyping { active: true }).await.unwrap();
        stage.ada(Command::ShowTyping { active: false }).await.unwrap();
        stage.hears(&["ada types to luna: true", "ada types: true", "ada types: false"]).await;
        stage.ada(Command::ShowTyping { active: true }).await.unwrap();
        stage.app.disconnected(&stage.caller("ada", 1)).await;
        stage.hears(&["ada types: true", "ada types to luna: false", "ada types: false"]).await;
        assert!(nobody_types(&stage));
        stage.hears_nothing_more().await;
        assert_eq!(stage.store.calls(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn guests_and_backends_do_not_type() {
        let mut stage = Stage::new().await;
        for principal in [Principal::Guest, Principal::Operator, Principal::Service("shop".into())] {
            let caller = stage.principal(principal, 3);
            assert!(stage.app.handle(&caller, Command::ShowTyping { active: true }).await.is_err());
        }
        assert!(nobody_types(&stage));
        stage.hears_nothing_more().await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_person_types_in_a_bounded_number_of_conversations() {
        let mut stage = Stage::new().await;
        for number in 0..BUSIEST {
            stage.ada(typing(&format!("agent-{number}"), true)).await.unwrap();
        }
        assert_eq!(stage.ada(typing("luna", true)).await.unwrap_err().code, Code::TooLarge);
        stage.hears_nothing_more().await;
        // One of them may still be renewed, and one that ends makes room.
        stage.ada(typing("agent-3", true)).await.unwrap();
        stage.ada(typing("agent-3", false)).await.unwrap();
        stage.ada(typing("luna", true)).await.unwrap();
        stage.hears(&["ada types to luna: true"]).await;
        stage.app.disconnected(&stage.caller("ada", 1)).await;
        assert!(nobody_types(&stage));
    }

    #[tokio::test(start_paused = true)]
    async fn typing_goes_on_without_leases() {
        let mut stage = Stage::new().await;
        let _running = stage.run();
        stage.leases.fail(true);
        assert_eq!(stage.ada(typing("luna", true)).await, Ok(Outcome::Done));
        stage.hears(&["ada types to luna: true", "ada types to luna: false"]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_keeps_one_entry_in_each_list() {
        let stage = Stage::new().await;
        for _ in 0..1_000 {
            stage.ada(typing("luna", true)).await.unwrap();
            stage.ada(typing("mia", true)).await.unwrap();
            stage.ada(typing("mia", false)).await.unwrap();
        }
        assert_eq!(stage.app.typists.len(), (1, 1, 1));
        // Running begins only now: whatever waited is looked at, and nothing is left.
        let (_stop, running) = stage.run();
        assert!(timeout(Duration::from_secs(4), running).await.is_err());
        assert!(nobody_types(&stage));
    }
}
