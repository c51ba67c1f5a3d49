//! Coming, going and looking away.
//!
//! What this node knows itself is decided and published under one lock, so that "offline" of a page that is being reloaded
//! never follows "online" of the page that replaces it. The leases say whether somebody is also here through another node.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::iter;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{App, Trouble, lock};
use crate::access::{self, Action, Place};
use crate::actor::{Caller, Claim};
use crate::command::Outcome;
use crate::event::{Envelope, Event};
use crate::ids::{ConnectionId, PersonId};
use crate::presence::Status;
use crate::refusal::Refusal;
use crate::topic::Topic;

/// How many claims are renewed at the same time.
const RENEWALS: usize = 32;

/// How long people who were here when the last run ended have to come back.
pub(super) const BACK_WITHIN: Duration = Duration::from_secs(30);

impl App {
    pub(super) async fn arrive(&self, caller: &Caller) {
        let Some((person, connection)) = here(caller) else { return };
        let before = {
            let mut attendance = lock(&self.attendance);
            let before = attendance.arrive(person, connection);
            // One more connection of somebody who is online already is news to nobody.
            if before.is_some_and(|before| before != Status::Online) {
                self.say_presence(person, Status::Online, true, Some(connection));
            }
            before
        };
        let first = self.hold(person, connection).await;
        if before.is_none() {
            // New to this node; whether new at all, the leases say.
            let attendance = lock(&self.attendance);
            if first.unwrap_or(true) && attendance.holds(person, connection) {
                self.say_presence(person, Status::Online, true, Some(connection));
            }
        }
    }

    pub(super) async fn depart(&self, caller: &Caller) {
        let Some((person, connection)) = here(caller) else { return };
        let was_holding = lock(&self.attendance).depart(person, connection);
        self.stop_typing(person, connection).await;
        if was_holding && self.let_go(person, connection).await {
            let attendance = lock(&self.attendance);
            // Who came back in the meantime is not offline, whatever the leases said before.
            if !attendance.is_here(person) {
                self.say_presence(person, Status::Offline, true, None);
            }
        }
    }

    pub(super) async fn set_presence(
        &self,
        caller: &Caller,
        claim: &Claim,
        status: Status,
    ) -> Result<Outcome, Trouble> {
        let person = access::identity(&caller.actor, claim)?;
        let topic = Topic::Person(person.clone());
        access::may(&caller.actor, Action::Appear, Place::of(&topic))?;
        let not_here = || Refusal::invalid("Presence is said over a connection that is open.");
        let connection = caller.connection.ok_or_else(not_here)?;
        {
            let mut attendance = lock(&self.attendance);
            let before = attendance.say(person, connection, status).ok_or_else(not_here)?;
            // Whoever says "offline" is told as well, as a confirmation.
            let except = (status != Status::Offline).then_some(connection);
            self.say_presence(person, status, before != status, except);
        }
        match status {
            Status::Online | Status::Away => {
                self.hold(person, connection).await;
            }
            Status::Offline => {
                self.leased(self.ports.leases.release(&key(person), &self.holder(connection)).await);
            }
        }
        Ok(Outcome::Done)
    }

    /// How `person` is now: what they said last over a connection to this node, otherwise whether they are connected anywhere.
    pub async fn presence(&self, person: &PersonId) -> Status {
        let said = lock(&self.attendance).status(person);
        if let Some(status) = said {
            return status;
        }
        let holders = self.leased(self.ports.leases.holders(&key(person)).await);
        match holders.is_some_and(|holders| !holders.is_empty()) {
            true => Status::Online,
            false => Status::Offline,
        }
    }

    /// Renews the claims of this node, for ever.
    pub(super) async fn keep_presence(&self) {
        // An interval of nothing would be no interval.
        let mut ticks = interval((self.settings.presence / 3).max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let holders = lock(&self.attendance).holders();
            let renew = |(person, connection)| async move { self.renew(&person, connection).await };
            iter(holders).for_each_concurrent(RENEWALS, renew).await;
        }
    }

    /// Claims presence; returns whether nobody held a claim for `person` before, if the leases work.
    async fn hold(&self, person: &PersonId, connection: ConnectionId) -> Option<bool> {
        let (key, holder) = (key(person), self.holder(connection));
        let first = self.leased(self.ports.leases.claim(&key, &holder, self.settings.presence).await);
        // Whoever went while the claim was on its way may have released before there was anything to release.
        if !lock(&self.attendance).holds(person, connection) {
            self.leased(self.ports.leases.release(&key, &holder).await);
        }
        first
    }

    /// Gives a claim up; returns whether nobody holds one for `person` now, as far as can be known.
    async fn let_go(&self, person: &PersonId, connection: ConnectionId) -> bool {
        let key = key(person);
        match self.leased(self.ports.leases.release(&key, &self.holder(connection)).await) {
            Some(true) => true,
            // Others hold one, or this one was lost before (leases that were restarted empty).
            Some(false) => {
                let holders = self.leased(self.ports.leases.holders(&key).await);
                holders.is_none_or(|holders| holders.is_empty())
            }
            None => true,
        }
    }

    async fn renew(&self, person: &PersonId, connection: ConnectionId) {
        let (key, holder) = (key(person), self.holder(connection));
        let renewed = self.leased(self.ports.leases.renew(&key, &holder, self.settings.presence).await);
        // A claim that expired or was lost is made again: the connection is still here.
        if renewed == Some(false) && lock(&self.attendance).holds(person, connection) {
            self.hold(person, connection).await;
        }
    }

    /// Says that those are offline who were here when the last run ended ([`retell`](Self::retell)) and have shown no sign of life
    /// [`BACK_WITHIN`] later.
    pub(super) async fn see_off(&self) {
        loop {
            self.missed.notified().await;
            sleep(BACK_WITHIN).await;
            let mut missing: Vec<_> = lock(&self.missing).iter().cloned().collect();
            missing.sort_unstable();
            for person in missing {
                let holders = self.leased(self.ports.leases.holders(&key(&person)).await);
                let is_elsewhere = holders.is_some_and(|holders| !holders.is_empty());
                let attendance = lock(&self.attendance);
                // Whoever has come meanwhile is not missing any more, even if they have gone again.
                if lock(&self.missing).remove(&person) && !is_elsewhere && !attendance.is_here(&person) {
                    self.say_presence(&person, Status::Offline, true, None);
                }
            }
        }
    }

    fn say_presence(&self, person: &PersonId, status: Status, changed: bool, except: Option<ConnectionId>) {
        lock(&self.missing).remove(person);
        let event = Event::PresenceChanged { person: person.clone(), status, changed, at: self.now() };
        self.ports.bus.publish(Envelope { except, ..Envelope::new(Topic::Everyone, event) });
    }
}

fn here(caller: &Caller) -> Option<(&PersonId, ConnectionId)> {
    Some((caller.actor.person()?, caller.connection?))
}

fn key(person: &PersonId) -> String {
    crate::presence::lease(person)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Principal;
    use crate::app::stage::{Stage, connection, person};
    use crate::command::Command;
    use crate::ports::Leases;
    use tokio::time::advance;

    fn presence(status: Status) -> Command {
        Command::SetPresence { person: Claim::NONE, status }
    }

    async fn claims(stage: &Stage) -> Vec<String> {
        let mut holders = stage.leases.inner.holders(&key(&person("ada"))).await.unwrap();
        holders.sort();
        holders
    }

    #[tokio::test(start_paused = true)]
    async fn everybody_else_hears_who_comes_and_everybody_who_goes() {
        let mut stage = Stage::new().await;
        let ada = stage.caller("ada", 1);
        stage.app.connected(&ada).await;
        let envelope = stage.next().await;
        assert_eq!((&envelope.topic, envelope.except), (&Topic::Everyone, Some(connection(1))));
        assert_eq!(crate::app::stage::short(&envelope.event), "ada Online, changed");
        assert_eq!(claims(&stage).await, ["local/0-1-0"]);
        stage.app.disconnected(&ada).await;
        let envelope = stage.next().await;
        assert_eq!((&envelope.topic, envelope.except), (&Topic::Everyone, None));
        assert_eq!(crate::app::stage::short(&envelope.event), "ada Offline, changed");
        assert!(claims(&stage).await.is_empty());
        assert_eq!(stage.store.calls(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn how_somebody_is_can_be_asked() {
        let stage = Stage::new().await;
        let ada = stage.caller("ada", 1);
        let status = async || stage.app.presence(&person("ada")).await;
        assert_eq!(status().await, Status::Offline);
        stage.app.connected(&ada).await;
        assert_eq!(status().await, Status::Online);
        stage.app.handle(&ada, presence(Status::Away)).await.unwrap();
        assert_eq!(status().await, Status::Away);
        stage.app.disconnected(&ada).await;
        assert_eq!(status().await, Status::Offline);
        let minute = Duration::from_secs(60);
        stage.leases.inner.claim(&key(&person("ada")), "other/0-1-0", minute).await.unwrap();
        assert_eq!(status().await, Status::Online);
    }

    #[tokio::test(start_paused = true)]
    async fn a_person_is_gone_when_their_last_connection_is() {
        let mut stage = Stage::new().await;
        stage.app.connected(&stage.caller("ada", 1)).await;
        stage.app.connected(&stage.caller("ada", 2)).await;
        stage.hears(&["ada Online, changed"]).await;
        stage.app.disconnected(&stage.caller("ada", 1)).await;
        stage.hears_nothing_more().await;
        stage.app.disconnected(&stage.caller("ada", 2)).await;
        stage.hears(&["ada Offline, changed"]).await;
        stage.app.disconnected(&stage.caller("ada", 2)).await;
        stage.hears_nothing_more().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_sign_of_life_is_told_every_time_and_is_a_change_only_once() {
        let mut stage = Stage::new().await;
        stage.app.connected(&stage.caller("ada", 1)).await;
        for status in [Status::Online, Status::Away, Status::Away, Status::Online] {
            assert_eq!(stage.ada(presence(status)).await, Ok(Outcome::Done));
        }
        stage.hears(&["ada Online, changed", "ada Online", "ada Away, changed", "ada Away"]).await;
        let envelope = stage.next().await;
        assert_eq!(envelope.except, Some(connection(1)));
        assert_eq!(crate::app::stage::short(&envelope.event), "ada Online, changed");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_says_offline_is_told_too_and_comes_back_with_the_next_sign_of_life() {
        let mut stage = Stage::new().await;
        stage.app.connected(&stage.caller("ada", 1)).await;
        stage.app.connected(&stage.caller("ada", 2)).await;
        stage.hears(&["ada Online, changed"]).await;
        stage.ada(presence(Status::Offline)).await.unwrap();
        let envelope = stage.next().await;
        assert_eq!(envelope.except, None);
        assert_eq!(crate::app::stage::short(&envelope.event), "ada Offline, changed");
        assert_eq!(claims(&stage).await, ["local/0-2-0"]);
        stage.app.handle(&stage.caller("ada", 2), presence(Status::Online)).await.unwrap();
        stage.hears(&["ada Online, changed"]).await;
        // The first one holds nothing any more, so that it goes unnoticed.
        stage.app.disconnected(&stage.caller("ada", 1)).await;
        stage.hears_nothing_more().await;
        stage.app.disconnected(&stage.caller("ada", 2)).await;
        stage.hears(&["ada Offline, changed"]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_speaks_for_others_or_without_a_connection() {
        let mut stage = Stage::new().await;
        stage.app.connected(&stage.caller("ada", 1)).await;
        stage.hears(&["ada Online, changed"]).await;
        let spoofed = Command::SetPresence { person: Claim::of(person("bob")), status: Status::Offline };
        assert_eq!(stage.ada(spoofed).await, Err(Refusal::forbidden()));
        let nowhere = Caller { connection: None, ..stage.caller("ada", 1) };
        for caller in [nowhere, stage.caller("ada", 7)] {
            let refused = stage.app.handle(&caller, presence(Status::Online)).await.unwrap_err();
            assert_eq!(refused.code, crate::refusal::Code::Invalid);
        }
        for principal in [Principal::Guest, Principal::Operator, Principal::Service("shop".into())] {
            let caller = stage.principal(principal, 3);
            stage.app.connected(&caller).await;
            let here = Command::SetPresence { person: Claim::of(person("ada")), status: Status::Offline };
            let refused = stage.app.handle(&caller, here).await.unwrap_err();
            assert_eq!(refused.code, crate::refusal::Code::Forbidden);
            stage.app.disconnected(&caller).await;
        }
        stage.hears_nothing_more().await;
        assert_eq!(claims(&stage).await, ["local/0-1-0"]);
    }

    #[tokio::test(start_paused = true)]
    async fn running_keeps_claims_alive_until_the_shutdown() {
        let mut stage = Stage::new().await;
        let (stop, running) = stage.run();
        stage.app.connected(&stage.caller("ada", 1)).await;
        stage.hears(&["ada Online, changed"]).await;
        for _ in 0..30 {
            advance(Duration::from_secs(10)).await;
            // Lets the renewals of this moment happen.
            stage.hears_nothing_more().await;
            assert_eq!(claims(&stage).await, ["local/0-1-0"]);
        }
        stop.send(true).unwrap();
        running.await.unwrap();
        advance(Duration::from_secs(60)).await;
        assert!(claims(&stage).await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn running_ends_when_nobody_is_left_to_say_stop() {
        let stage = Stage::new().await;
        let (stop, running) = stage.run();
        drop(stop);
        running.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn claims_that_were_lost_are_made_again() {
        let mut stage = Stage::new().await;
        stage.app.connected(&stage.caller("ada", 1)).await;
        stage.leases.inner.release(&key(&person("ada")), "local/0-1-0").await.unwrap();
        let _running = stage.run();
        stage.hears(&["ada Online, changed"]).await;
        stage.hears_nothing_more().await;
        assert_eq!(claims(&stage).await, ["local/0-1-0"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_person_stays_online_through_another_node() {
        let mut stage = Stage::new().await;
        let other = stage.another_node("other").await;
        stage.app.connected(&stage.caller("ada", 1)).await;
        other.app.connected(&other.caller("ada", 1)).await;
        stage.hears(&["ada Online, changed"]).await;
        assert_eq!(claims(&stage).await, ["local/0-1-0", "other/0-1-0"]);
        stage.app.disconnected(&stage.caller("ada", 1)).await;
        stage.hears_nothing_more().await;
        other.app.disconnected(&other.caller("ada", 1)).await;
        stage.hears(&["ada Offline, changed"]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn without_leases_each_node_goes_by_what_it_knows() {
        let mut stage = Stage::new().await;
        stage.leases.fail(true);
        stage.app.connected(&stage.caller("ada", 1)).await;
        stage.app.connected(&stage.caller("ada", 2)).await;
        assert_eq!(stage.ada(presence(Status::Away)).await, Ok(Outcome::Done));
        stage.app.disconnected(&stage.caller("ada", 1)).await;
        stage.hears(&["ada Online, changed", "ada Away, changed"]).await;
        stage.hears_nothing_more().await;
        stage.app.disconnected(&stage.caller("ada", 2)).await;
        stage.hears(&["ada Offline, changed"]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn somebody_whose_claim_was_lost_still_goes() {
        let mut stage = Stage::new().await;
        stage.app.connected(&stage.caller("ada", 1)).await;
        stage.leases.inner.release(&key(&person("ada")), "local/0-1-0").await.unwrap();
        stage.app.disconnected(&stage.caller("ada", 1)).await;
        stage.hears(&["ada Online, changed", "ada Offline, changed"]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_is_reloaded_is_never_offline_after_it_is_online() {
        let mut stage = Stage::new().await;
        stage.app.connected(&stage.caller("ada", 1)).await;
        stage.hears(&["ada Online, changed"]).await;
        // Both are on their way to the leases at the same time, and the old page's answer comes last.
        stage.leases.dawdle(Duration::from_millis(20));
        let app = stage.app.clone();
        let old = stage.caller("ada", 1);
        let going = tokio::spawn(async move { app.disconnected(&old).await });
        tokio::task::yield_now().await;
        stage.leases.dawdle(Duration::ZERO);
        stage.app.connected(&stage.caller("ada", 2)).await;
        going.await.unwrap();
        stage.hears(&["ada Online, changed"]).await;
        stage.hears_nothing_more().await;
        assert_eq!(claims(&stage).await, ["local/0-2-0"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_goes_while_it_comes_leaves_no_claim() {
        let mut stage = Stage::new().await;
        stage.leases.dawdle(Duration::from_millis(20));
        let app = stage.app.clone();
        let ada = stage.caller("ada", 1);
        let coming = tokio::spawn(async move { app.connected(&ada).await });
        tokio::task::yield_now().await;
        // The claim is still on its way when there is nothing to release yet.
        stage.app.disconnected(&stage.caller("ada", 1)).await;
        coming.await.unwrap();
        assert!(claims(&stage).await.is_empty());
        stage.hears(&["ada Offline, changed"]).await;
        stage.hears_nothing_more().await;
    }
}
