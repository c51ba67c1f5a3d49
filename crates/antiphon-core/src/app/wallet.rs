//! Tokens: paying in, taking out, rewards, and what comes back when an answer failed.
//!
//! Every movement is told to its person after its commit, from the store's own callback, so in the order of positions.

use std::sync::Arc;

use super::{App, Ports, Trouble};
use crate::access::{self, Action, Place};
use crate::actor::{Caller, Claim};
use crate::command::{Once, Outcome};
use crate::event::Event;
use crate::ids::{MessageId, PersonId, Timestamp};
use crate::ports::{Booked, OnBooked, Verdict};
use crate::refusal::{Code, Fault, Refusal};
use crate::topic::Topic;
use crate::wallet::{Balance, Entry, MAX_BALANCE, NewEntry, Obstacle, Reason, check_amount, reference};

/// Most entries that one [`ReadLedger`](crate::command::Command::ReadLedger) returns.
const LONGEST_PAGE: u32 = 1_000;

/// When somebody whose payment cannot be seen yet may ask again, in milliseconds.
const SEEN_AFTER: u64 = 5_000;

/// How many open charges are looked at together.
const AT_ONCE: u32 = 500;

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

impl App {
    /// Whoever opens a wallet hears once what is in it: with the present, or as it was.
    pub(super) async fn open_wallet(&self, caller: &Caller, claim: &Claim) -> Result<Outcome, Trouble> {
        let person = self.person_of(caller, Action::Trade, claim).await?;
        let tokens = self.settings.wallet.welcome;
        if tokens > 0 {
            let welcome = self.entry(&person, tokens, Reason::Welcome, Some("welcome".into()));
            let (Entry { balance: tokens, position, .. }, duplicate) = self.book(welcome).await?;
            if !duplicate {
                return Ok(Outcome::Balance(Balance { tokens, position }));
            }
        }
        let (ports, at) = (Arc::clone(&self.ports), self.now());
        let whose = person.clone();
        let told = Box::new(move |balance: &Balance| {
            let topic = Topic::Person(whose.clone());
            ports.publish(topic, Event::BalanceTold { person: whose, balance: *balance, at });
        });
        Ok(Outcome::Balance(self.ports.store.tell(&person, told).await?))
    }

    pub(super) async fn deposit(
        &self,
        caller: &Caller,
        claim: &Claim,
        name: &str,
        amount: u64,
    ) -> Result<Outcome, Trouble> {
        let person = self.person_of(caller, Action::Trade, claim).await?;
        check_amount(amount)?;
        let name = reference(name)?;
        let topic = Topic::Person(person.clone());
        if access::may(&caller.actor, Action::Credit, Place::of(&topic)).is_err() {
            let wallets = self.ports.store.wallets_of(&person).await?;
            allowed(self.ports.chain.verify(&name, amount, &wallets).await?)?;
        }
        self.book_as_asked(self.entry(&person, amount, Reason::Deposit, Some(name))).await
    }

    pub(super) async fn withdraw(
        &self,
        caller: &Caller,
        claim: &Claim,
        amount: u64,
        once: Option<Once>,
    ) -> Result<Outcome, Trouble> {
        let person = self.person_of(caller, Action::Trade, claim).await?;
        check_amount(amount)?;
        self.book_as_asked(self.entry(&person, amount, Reason::Withdrawal, key_of(once)?)).await
    }

    pub(super) async fn grant(
        &self,
        caller: &Caller,
        person: PersonId,
        amount: u64,
        once: Option<Once>,
    ) -> Result<Outcome, Trouble> {
        access::may(&caller.actor, Action::Credit, Place::of(&Topic::Person(person.clone())))?;
        self.check_person(&person).await?;
        check_amount(amount)?;
        self.book_as_asked(self.entry(&person, amount, Reason::Grant, key_of(once)?)).await
    }

    /// What is given depends on days that are over, so that claims of one day, however many at once, all ask for the same; the
    /// store takes one of them.
    pub(super) async fn claim_reward(&self, caller: &Caller, claim: &Claim) -> Result<Outcome, Trouble> {
        let person = self.person_of(caller, Action::Trade, claim).await?;
        let settings = self.settings.wallet;
        if settings.reward == 0 {
            return Err(Refusal::not_found("There is no daily reward here.").into());
        }
        let now = self.now();
        let days = settings.streak_days;
        let first = Timestamp(now.midnight().0.saturating_sub(i64::from(days).saturating_mul(DAY)));
        let active = self.ports.store.active_days(&person, first, days).await?;
        let bonus = if active >= days { settings.streak_bonus } else { 0 };
        let tokens = settings.reward.saturating_add(bonus);
        let new = NewEntry { person, tokens, reason: Reason::Reward, key: Some(now.date()), at: now };
        let (entry, duplicate) = self.book(new).await?;
        Ok(Outcome::Rewarded { entry, bonus: if duplicate { 0 } else { bonus }, duplicate })
    }

    pub(super) async fn read_balance(&self, caller: &Caller, claim: &Claim) -> Result<Outcome, Trouble> {
        let person = self.person_of(caller, Action::Read, claim).await?;
        Ok(Outcome::Balance(self.ports.store.balance(&person).await?))
    }

    pub(super) async fn read_ledger(
        &self,
        caller: &Caller,
        claim: &Claim,
        after: u64,
        limit: u32,
    ) -> Result<Outcome, Trouble> {
        if !(1..=LONGEST_PAGE).contains(&limit) {
            return Err(Refusal::invalid("Between 1 and 1,000 entries can be read at once.").into());
        }
        let person = self.person_of(caller, Action::Read, claim).await?;
        Ok(Outcome::Ledger(self.ports.store.ledger(&person, after, limit).await?))
    }

    /// Gives back what was paid for answers that an earlier process began and did not finish. Returns how many there were.
    ///
    /// To be called once, before the first command, by the only process that has the store: nothing is under way then, so every
    /// charge that is open has lost its answer.
    pub async fn recover(&self) -> Result<u64, Fault> {
        let mut refunded = 0;
        loop {
            let open = self.ports.store.open_charges(AT_ONCE).await?;
            if open.is_empty() {
                return Ok(refunded);
            }
            for message in open {
                if !refund(&self.ports, message).await? {
                    return Err(Fault::new(format!("message {message} has an open charge and no refund")));
                }
                refunded += 1;
            }
        }
    }

    /// Whose wallet the caller means, if they may do this with it and the person exists.
    fn entry(&self, person: &PersonId, tokens: u64, reason: Reason, key: Option<String>) -> NewEntry {
        NewEntry { person: person.clone(), tokens, reason, key, at: self.now() }
    }

    /// The entry, and whether it had been made before under the same key.
    async fn book(&self, new: NewEntry) -> Result<(Entry, bool), Trouble> {
        match self.ports.store.book(new, announcement(&self.ports)).await? {
            Booked::Entered(entry) => Ok((entry, false)),
            Booked::Repeated(entry) => Ok((entry, true)),
            Booked::Refused(obstacle) => Err(refused(obstacle).into()),
        }
    }

    /// As [`book`](Self::book), but an earlier entry must be for the same person and the same amount.
    async fn book_as_asked(&self, new: NewEntry) -> Result<Outcome, Trouble> {
        let (person, tokens) = (new.person.clone(), new.tokens);
        let (entry, duplicate) = self.book(new).await?;
        if entry.person != person || entry.amount.unsigned_abs() != tokens {
            let why = match entry.reason {
                Reason::Deposit => "This payment was already counted, and not as this deposit.",
                _ => "This key was used for another amount. Every order needs a key of its own.",
            };
            return Err(Refusal::new(Code::Conflict, why).into());
        }
        Ok(Outcome::Booked { entry, duplicate })
    }
}

/// Gives back what the message cost and tells its person; `false` if there was nothing to give back.
pub(crate) async fn refund(ports: &Arc<Ports>, message: MessageId) -> Result<bool, Fault> {
    let refunded = ports.store.refund(message, ports.clock.now(), announcement(ports)).await?;
    Ok(refunded.is_some())
}

/// Tells the person how their tokens have moved.
pub(super) fn announce(ports: &Ports, entry: &Entry) {
    ports.publish(Topic::Person(entry.person.clone()), Event::BalanceChanged(entry.clone()));
}

/// Why tokens were not moved.
pub(super) fn refused(obstacle: Obstacle) -> Refusal {
    match obstacle {
        Obstacle::Insufficient { balance } => {
            Refusal::new(Code::Insufficient { balance }, "There are not enough tokens in this wallet.")
        }
        Obstacle::Full { .. } => {
            Refusal::new(Code::TooLarge, format!("A wallet holds at most {MAX_BALANCE} tokens."))
        }
    }
}

fn announcement(ports: &Arc<Ports>) -> OnBooked {
    let ports = Arc::clone(ports);
    Box::new(move |entry| announce(&ports, entry))
}

fn allowed(verdict: Verdict) -> Result<(), Refusal> {
    match verdict {
        Verdict::Confirmed => Ok(()),
        Verdict::Pending => {
            let code = Code::Unavailable { retry_after: SEEN_AFTER };
            Err(Refusal::new(code, "This payment is not confirmed yet. Please try again in a moment."))
        }
        Verdict::Wrong => Err(Refusal::invalid("There is no such payment from one of your wallets.")),
        Verdict::Unchecked => {
            Err(Refusal::new(Code::Forbidden, "Only a backend or the operator of this server may do that."))
        }
    }
}

fn key_of(once: Option<Once>) -> Result<Option<String>, Refusal> {
    once.map(|once| once.check().map(|()| once.key)).transpose()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::actor::{Plan, Principal};
    use crate::app::Settings;
    use crate::app::stage::{NOON, Stage, Step, agent_id, person, post_to};
    use crate::command::Command;
    use crate::contract::wallets::adds_up;
    use crate::ports::{Logins, People, Wallets};
    use crate::refusal::Code;
    use crate::wallet;

    fn grant(name: &str, amount: u64) -> Command {
        Command::Grant { person: person(name), amount, once: None }
    }

    fn withdraw(amount: u64, key: Option<&str>) -> Command {
        let once = key.map(|key| Once { key: key.into() });
        Command::Withdraw { person: Claim::NONE, amount, once }
    }

    fn deposit(claim: Claim, reference: &str, amount: u64) -> Command {
        Command::Deposit { person: claim, reference: reference.into(), amount }
    }

    fn claim() -> Command {
        Command::ClaimReward { person: Claim::NONE }
    }

    fn priced(text: &str, price: u64) -> Command {
        match post_to("luna", text) {
            Command::PostMessage { agent, person, text, once, .. } => {
                Command::PostMessage { agent, person, text, once, price: Some(price) }
            }
            other => other,
        }
    }

    impl Stage {
        async fn shop(&self, command: Command) -> Result<Outcome, Refusal> {
            let shop = Caller { connection: None, ..self.principal(Principal::Service("shop".into()), 9) };
            self.app.handle(&shop, command).await
        }

        async fn tokens(&self) -> u64 {
            self.store.inner.balance(&person("ada")).await.unwrap().tokens
        }
    }

    fn code(outcome: Result<Outcome, Refusal>) -> Code {
        outcome.unwrap_err().code
    }

    fn booked(outcome: Result<Outcome, Refusal>) -> (i64, u64, bool) {
        match outcome {
            Ok(Outcome::Booked { entry, duplicate }) => (entry.amount, entry.balance, duplicate),
            other => panic!("{other:?}"),
        }
    }

    fn rewarded(outcome: Result<Outcome, Refusal>) -> (i64, u64, bool) {
        match outcome {
            Ok(Outcome::Rewarded { entry, bonus, duplicate }) => (entry.amount, bonus, duplicate),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wallet_is_opened_with_one_present() {
        let mut stage = Stage::new().await;
        for _ in 0..3 {
            let opened = stage.ada(Command::OpenWallet { person: Claim::NONE }).await;
            assert_eq!(opened, Ok(Outcome::Balance(Balance { tokens: 50, position: 1 })));
        }
        stage.hears(&["ada has 50 after +50 for welcome", "ada has 50", "ada has 50"]).await;
        stage.hears_nothing_more().await;

        let settings = wallet::Settings { welcome: 0, ..wallet::Settings::default() };
        let mut stage = Stage::with(Settings { wallet: settings, ..Settings::default() }).await;
        let opened = stage.ada(Command::OpenWallet { person: Claim::NONE }).await;
        assert_eq!(opened, Ok(Outcome::Balance(Balance::default())));
        stage.hears(&["ada has 0"]).await;
        stage.hears_nothing_more().await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_backend_reports_is_deposited_once() {
        let mut stage = Stage::new().await;
        let ada = || Claim::of(person("ada"));
        assert_eq!(booked(stage.shop(deposit(ada(), "0xAB", 100)).await), (100, 100, false));
        for reference in ["0xAB", "0xab", "0Xab"] {
            assert_eq!(booked(stage.shop(deposit(ada(), reference, 100)).await), (100, 100, true));
        }
        assert_eq!(code(stage.shop(deposit(ada(), "0xab", 101)).await), Code::Conflict);
        let bobs = stage.shop(deposit(Claim::of(person("bob")), "0xab", 100)).await;
        assert_eq!(code(bobs), Code::Conflict, "a payment counts for one person");
        stage.hears(&["ada has 100 after +100 for deposit"]).await;
        stage.hears_nothing_more().await;
        assert_eq!(stage.chain.asked(), [], "a backend's word counts");
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_person_reports_is_looked_up() {
        let mut stage = Stage::new().await;
        stage.store.inner.link_wallet("0xC0FFEE", &person("ada")).await.unwrap();
        let report = || deposit(Claim::NONE, "0xAB", 7);
        assert_eq!(code(stage.ada(report()).await), Code::Forbidden, "nobody looks");
        stage.chain.say(Verdict::Wrong);
        assert_eq!(code(stage.ada(report()).await), Code::Invalid);
        stage.chain.say(Verdict::Pending);
        assert_eq!(code(stage.ada(report()).await), Code::Unavailable { retry_after: SEEN_AFTER });
        stage.hears_nothing_more().await;
        stage.chain.say(Verdict::Confirmed);
        assert_eq!(booked(stage.ada(report()).await), (7, 7, false));
        assert_eq!(booked(stage.ada(report()).await), (7, 7, true));
        stage.hears(&["ada has 7 after +7 for deposit"]).await;
        let asked = ("0xab".to_owned(), 7, vec!["0xc0ffee".to_owned()]);
        assert!(stage.chain.asked().iter().all(|question| *question == asked), "{:?}", stage.chain.asked());
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_are_taken_out_as_long_as_there_are_some() {
        let mut stage = Stage::new().await;
        assert_eq!(code(stage.ada(withdraw(1, None)).await), Code::Insufficient { balance: 0 });
        assert_eq!(booked(stage.shop(grant("ada", 10)).await), (10, 10, false));
        assert_eq!(booked(stage.ada(withdraw(4, Some("key"))).await), (-4, 6, false));
        assert_eq!(booked(stage.ada(withdraw(4, Some("key"))).await), (-4, 6, true));
        assert_eq!(code(stage.ada(withdraw(5, Some("key"))).await), Code::Conflict);
        assert_eq!(code(stage.ada(withdraw(7, None)).await), Code::Insufficient { balance: 6 });
        assert_eq!(booked(stage.ada(withdraw(6, None)).await), (-6, 0, false));
        stage
            .hears(&[
                "ada has 10 after +10 for grant",
                "ada has 6 after -4 for withdrawal",
                "ada has 0 after -6 for withdrawal",
            ])
            .await;
        stage.hears_nothing_more().await;
        let ledger = Command::ReadLedger { person: Claim::NONE, after: 1, limit: 1 };
        let Ok(Outcome::Ledger(entries)) = stage.ada(ledger).await else { panic!("there is a ledger") };
        assert_eq!((entries.len(), entries[0].amount, entries[0].key.as_deref()), (1, -4, Some("key")));
        let balance = stage.ada(Command::ReadBalance { person: Claim::NONE }).await;
        assert_eq!(balance, Ok(Outcome::Balance(Balance { tokens: 0, position: 3 })));
    }

    #[tokio::test(start_paused = true)]
    async fn what_makes_no_sense_or_is_not_theirs_moves_nothing() {
        let mut stage = Stage::new().await;
        let table = [
            (withdraw(0, None), Code::Invalid),
            (withdraw(u64::MAX, None), Code::Invalid),
            (withdraw(1, Some("")), Code::Invalid),
            (deposit(Claim::NONE, "0xab", 0), Code::Invalid),
            (deposit(Claim::NONE, "", 1), Code::Invalid),
            (deposit(Claim::of(person("bob")), "0xab", 1), Code::Forbidden),
            (Command::ReadBalance { person: Claim::of(person("bob")) }, Code::Forbidden),
            (Command::ReadLedger { person: Claim::NONE, after: 0, limit: 0 }, Code::Invalid),
            (Command::ReadLedger { person: Claim::NONE, after: 0, limit: 1_001 }, Code::Invalid),
            (grant("ada", 1), Code::Forbidden),
            (priced("hola", u64::MAX), Code::Invalid),
            (priced("hola", 1), Code::Insufficient { balance: 0 }),
        ];
        for (command, expected) in table {
            assert_eq!(code(stage.ada(command.clone()).await), expected, "{command:?}");
        }
        let guest = stage.principal(Principal::Guest, 3);
        for command in [claim(), withdraw(1, None), grant("ada", 1)] {
            assert_eq!(code(stage.app.handle(&guest, command).await), Code::Forbidden);
        }
        let nobody = || Claim::of(person("nobody"));
        for command in [
            grant("nobody", 1),
            deposit(nobody(), "0xab", 1),
            Command::ClaimReward { person: nobody() },
            Command::OpenWallet { person: nobody() },
            Command::ReadBalance { person: nobody() },
        ] {
            assert_eq!(code(stage.shop(command.clone()).await), Code::NotFound, "{command:?}");
        }
        stage.hears_nothing_more().await;
        assert_eq!(stage.stored().await, []);
        assert!(stage.app.settle(Duration::ZERO).await, "no place in a queue is kept");
        stage.store.fail(true);
        assert_eq!(code(stage.ada(claim()).await), Code::Internal);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reward_comes_once_a_day_and_is_larger_after_three_days_here() {
        let mut stage = Stage::new().await;
        let day = |day: i64| Timestamp(NOON.0 + day * DAY);
        for (number, expected) in
            [(0, (5, 0)), (1, (5, 0)), (2, (5, 0)), (3, (7, 2)), (4, (7, 2)), (6, (5, 0))]
        {
            stage.clock.set(day(number));
            let (amount, bonus) = expected;
            assert_eq!(rewarded(stage.ada(claim()).await), (amount, bonus, false), "day {number}");
            // Up to the last moment of the day.
            stage.clock.set(Timestamp(day(number).midnight().0 + DAY - 1));
            assert_eq!(rewarded(stage.ada(claim()).await), (amount, 0, true), "day {number}, again");
        }
        assert_eq!(adds_up(&stage.store.inner, &person("ada")).await, 34);
        let ledger = stage.store.inner.ledger(&person("ada"), 0, 1).await.unwrap();
        assert_eq!(ledger[0].key.as_deref(), Some("2026-03-01"));
        stage.hears(&["ada has 5 after +5 for reward", "ada has 10 after +5 for reward"]).await;
        // A day on which one talked, for tokens, counts as well.
        for number in [7, 8] {
            stage.clock.set(day(number));
            stage.ada(priced("hola", 1)).await.unwrap();
        }
        stage.clock.set(day(9));
        assert_eq!(rewarded(stage.ada(claim()).await), (7, 2, false));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_reward_there_is_none_to_claim() {
        let settings = wallet::Settings { reward: 0, ..wallet::Settings::default() };
        let mut stage = Stage::with(Settings { wallet: settings, ..Settings::default() }).await;
        assert_eq!(code(stage.ada(claim()).await), Code::NotFound);
        stage.hears_nothing_more().await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_comes_keeps_its_price() {
        let mut stage = Stage::new().await;
        stage.shop(grant("ada", 3)).await.unwrap();
        let (_stop, _running) = stage.run();
        stage.ada(priced("hola", 2)).await.unwrap();
        stage.ada(priced("gratis", 0)).await.unwrap();
        stage.hears(&["ada has 3 after +3 for grant", "ada has 1 after -2 for chat", "posted hola"]).await;
        stage.hears(&["relation", "posted gratis", "relation", "started"]).await;
        assert!(stage.app.settle(Duration::from_secs(1)).await);
        assert_eq!(stage.app.recover().await.unwrap(), 0, "nothing is open");
        assert_eq!(stage.tokens().await, 1);
        assert_eq!(code(stage.ada(priced("más", 2)).await), Code::Insufficient { balance: 1 });
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_fails_gives_its_price_back_once() {
        for end in [Step::Fail, Step::Panic, Step::PanicAtOnce, Step::Hang] {
            let mut stage = Stage::new().await;
            stage.shop(grant("ada", 3)).await.unwrap();
            let (_stop, _running) = stage.run();
            stage.model.then([end]);
            stage.ada(priced("hola", 3)).await.unwrap();
            stage.hears(&["ada has 3 after +3 for grant", "ada has 0 after -3 for chat"]).await;
            stage.hears(&["posted hola", "relation", "started", "failed"]).await;
            stage.hears(&["ada has 3 after +3 for refund"]).await;
            assert!(stage.app.settle(Duration::from_secs(1)).await);
            assert_eq!(stage.app.recover().await.unwrap(), 0);
            stage.hears_nothing_more().await;
            assert_eq!(adds_up(&stage.store.inner, &person("ada")).await, 3);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_cannot_be_stored_gives_its_price_back_when_the_store_works_again() {
        let mut stage = Stage::new().await;
        stage.shop(grant("ada", 3)).await.unwrap();
        let (_stop, _running) = stage.run();
        let gate = Arc::new(Semaphore::new(0));
        stage.model.then([Step::Gate(gate.clone()), Step::Say("ok")]);
        stage.ada(priced("hola", 3)).await.unwrap();
        stage.hears(&["ada has 3 after +3 for grant", "ada has 0 after -3 for chat"]).await;
        stage.hears(&["posted hola", "relation", "started"]).await;
        stage.store.fail(true);
        gate.add_permits(1);
        stage.hears(&["chunk 0 \"ok\"", "failed"]).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        stage.hears_nothing_more().await;
        stage.store.fail(false);
        stage.hears(&["ada has 3 after +3 for refund"]).await;
        stage.hears_nothing_more().await;
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_a_stop_cuts_off_are_refunded_before_it_is_over() {
        let stage = Stage::new().await;
        stage.shop(grant("ada", 9)).await.unwrap();
        for _ in 0..3 {
            stage.model.then([Step::Hang]);
            stage.ada(priced("hola", 3)).await.unwrap();
        }
        assert_eq!(stage.tokens().await, 0);
        assert!(!stage.app.settle(Duration::from_millis(1)).await);
        assert_eq!(stage.tokens().await, 9);
        assert_eq!(adds_up(&stage.store.inner, &person("ada")).await, 9);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_dead_process_left_open_is_refunded_at_the_next_start() {
        let mut stage = Stage::new().await;
        stage.shop(grant("ada", 9)).await.unwrap();
        stage.model.then([Step::Hang]);
        for _ in 0..3 {
            stage.ada(priced("hola", 2)).await.unwrap();
        }
        // Nobody tells this app that the process died, so what it remembers itself must not matter either.
        assert_eq!(stage.app.recover().await.unwrap(), 3);
        assert_eq!(stage.app.recover().await.unwrap(), 0);
        assert!(!stage.app.settle(Duration::from_millis(1)).await);
        assert_eq!(adds_up(&stage.store.inner, &person("ada")).await, 9);
        stage.hears(&["ada has 9 after +9 for grant"]).await;
        stage.store.fail(true);
        assert!(stage.app.recover().await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_repeated_post_costs_once() {
        let stage = Stage::new().await;
        stage.shop(grant("ada", 9)).await.unwrap();
        let post = || match priced("hola", 4) {
            Command::PostMessage { agent, person, text, price, .. } => {
                let once = Some(Once { key: "key".into() });
                Command::PostMessage { agent, person, text, once, price }
            }
            other => other,
        };
        for _ in 0..3 {
            stage.ada(post()).await.unwrap();
        }
        assert_eq!(stage.tokens().await, 5);
        let plan = Plan {
            name: "free".into(),
            connections_per_minute: None,
            messages_per_month: None,
            agents: None,
        };
        stage.store.inner.put_plan(&plan).await.unwrap();
        // A backend that posts for her spends her tokens.
        let post = Command::PostMessage {
            agent: agent_id("luna"),
            person: Claim::of(person("ada")),
            text: "hola".into(),
            once: None,
            price: Some(5),
        };
        stage.shop(post).await.unwrap();
        assert_eq!(stage.tokens().await, 0);
    }
}
