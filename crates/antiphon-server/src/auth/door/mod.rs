//! The one door: who comes in with what, for now and until when.
//!
//! Whoever was let in is remembered for [`REMEMBER`], so that coming back costs a hash and a look into two tables. A revocation
//! is looked for every time, remembered or not. Whose a credential is that nobody remembers is found out in `whose`.

mod whose;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use antiphon_core::actor::{Actor, ApiKey, Person, Plan, Principal, Proof, SecretHash};
use antiphon_core::app::App;
use antiphon_core::dialect::Credential;
use antiphon_core::event::{Envelope, Event};
use antiphon_core::ids::{PersonId, Timestamp};
use antiphon_core::ports::{Revocation, Revoked, Store};
use antiphon_core::refusal::{Code, Fault, Refusal};
use antiphon_core::topic::Topic;
use secrecy::SecretString;
use tokio::sync::{Mutex, watch};
use tokio::time::MissedTickBehavior;

use super::keys::{self, Order};
use super::own::Own;
use super::passwords::Passwords;
use super::rate::Rates;
use super::revocation::{self, Known, Standing};
use super::secret;
use super::sessions::{Opened, Refreshed, Sessions};
use super::settings::{Settings, UnprovenWallets};
use super::token::{Fetch, Issuers};
use super::wallet::{Challenge, Wallets};
use super::{Denied, bad_credential};

/// What the HTTP API is called among the dialects that a key may be limited to.
pub const API: &str = "api";

/// How long who was let in is remembered: also how long a changed plan takes to be noticed.
const REMEMBER: Duration = Duration::from_secs(2);

/// Credentials remembered at once.
const REMEMBERED: u64 = 100_000;

/// Plans remembered at once.
const PLANS: u64 = 1_000;

/// How long the revocation of a key has to be told: its own record remembers the rest.
const TOLD: Duration = Duration::from_secs(86_400);

/// What whoever cannot be vouched for is told to wait, in milliseconds.
const RETRY: u64 = 2_000;

/// Lets people in. Clones are the same doorkeeper.
#[derive(Clone)]
pub struct Doorkeeper(Arc<Door>);

struct Door {
    app: Arc<App>,
    known: Arc<Known>,
    issuers: Issuers,
    own: Option<Own>,
    sessions: Sessions,
    wallets: Wallets,
    admitted: moka::sync::Cache<SecretHash, Arc<Admitted>>,
    /// When credentials end that were good once. What was seen to have ended has ended for good: a clock that is set back brings
    /// it to life no more.
    ends: moka::sync::Cache<SecretHash, Timestamp>,
    /// Whose turn it is to look a credential up: when many come with the same one at once, one of them does it for all.
    turns: moka::sync::Cache<SecretHash, Arc<Mutex<()>>>,
    /// Credentials that nobody remembered, and that were looked up in the store or verified.
    looked_up: AtomicU64,
    plans: moka::sync::Cache<String, Arc<Plan>>,
    guest: Arc<Actor>,
    backend: Arc<Plan>,
    /// Whether the name of a wallet says who somebody is.
    names_suffice: bool,
    rates: Rates<PersonId>,
}

/// Somebody whose credential was good when it was looked at.
struct Admitted {
    actor: Arc<Actor>,
    /// What the credential opens; `None` is everything.
    dialects: Option<Vec<String>>,
    issued_at: Timestamp,
}

impl Doorkeeper {
    /// A doorkeeper who knows all revocations of `app`'s store. Reads the key files of `settings`, which were checked. `fetch`
    /// gets the key sets of issuers that publish one.
    ///
    /// With `own`, this server's own tokens are believed, too.
    pub(crate) async fn open(
        app: Arc<App>,
        settings: &Settings,
        fetch: Option<Arc<dyn Fetch>>,
        own: Option<Own>,
    ) -> anyhow::Result<Self> {
        Self::with_passwords(app, settings, fetch, own, Passwords::default()).await
    }

    pub(super) async fn with_passwords(
        app: Arc<App>,
        settings: &Settings,
        fetch: Option<Arc<dyn Fetch>>,
        own: Option<Own>,
        passwords: Passwords,
    ) -> anyhow::Result<Self> {
        let store = app.ports().store.clone();
        let believed = own.as_ref().map_or_else(Vec::new, |own| own.issuers(&settings.issuers));
        let issuers = Issuers::open(settings.issuers.iter().chain(&believed), fetch)?;
        for plan in issuers.plans().chain([settings.wallet_plan.as_str()]) {
            anyhow::ensure!(
                store.plan(plan).await?.is_some(),
                "[auth] names the plan {plan:?}, which does not exist"
            );
        }
        let known = Known::open(&*store).await?;
        known.listen(&*app.ports().bus);
        let plan = |name: &str, agents| Plan {
            name: name.into(),
            connections_per_minute: None,
            messages_per_month: None,
            agents,
        };
        let guest = Actor::new(Principal::Guest, Arc::new(plan("guest", Some(0))));
        Ok(Self(Arc::new(Door {
            known,
            issuers,
            own,
            sessions: Sessions::new(store.clone(), passwords, settings),
            wallets: Wallets::new(store, settings),
            admitted: moka::sync::Cache::builder().max_capacity(REMEMBERED).time_to_live(REMEMBER).build(),
            ends: moka::sync::Cache::builder().max_capacity(REMEMBERED).time_to_live(TOLD).build(),
            turns: moka::sync::Cache::builder().max_capacity(REMEMBERED).time_to_idle(REMEMBER).build(),
            looked_up: AtomicU64::new(0),
            plans: moka::sync::Cache::builder().max_capacity(PLANS).time_to_live(REMEMBER).build(),
            guest: Arc::new(guest),
            backend: Arc::new(plan("backend", None)),
            names_suffice: settings.unproven_wallets != UnprovenWallets::Refuse,
            rates: Rates::default(),
            app,
        })))
    }

    /// Says who a credential belongs to, if it opens `dialect` and its person may connect now: counts a connection.
    pub async fn admit(
        &self,
        credential: &Credential,
        dialect: &str,
        now: Timestamp,
    ) -> Result<Arc<Actor>, Refusal> {
        let actor = self.authenticate(credential, dialect, now).await?;
        if let (Some(person), Some(limit)) = (actor.person(), actor.plan.connections_per_minute)
            && let Err(retry_after) = self.0.rates.count(person, limit)
        {
            return Err(Refusal::new(
                Code::RateLimited { retry_after },
                "Too many connections; try again later.",
            ));
        }
        Ok(actor)
    }

    /// How many credentials were looked up or verified since the start; all others were remembered.
    pub(crate) fn looked_up(&self) -> u64 {
        self.0.looked_up.load(Relaxed)
    }

    /// Says who a credential belongs to, if it opens `dialect`. For a connection that is there already and brings a new one.
    pub async fn authenticate(
        &self,
        credential: &Credential,
        dialect: &str,
        now: Timestamp,
    ) -> Result<Arc<Actor>, Refusal> {
        let credential = match credential {
            Credential::Bearer(credential) => credential,
            Credential::Wallet(address) => {
                let named = self.0.by_named_wallet(address).await;
                return named.map_err(|denied| denied.told("looking a wallet up"));
            }
            Credential::None => return Ok(self.0.guest.clone()),
        };
        let admitted = self.0.admitted(credential, now).await;
        let admitted = admitted.map_err(|denied| denied.told("looking a credential up"))?;
        if admitted.dialects.as_ref().is_some_and(|opens| opens.iter().all(|name| name != dialect)) {
            return Err(bad_credential(format!("This credential does not open {dialect}.")));
        }
        Ok(admitted.actor.clone())
    }

    /// Says who a connection is that is there already and brings `credential` now: a guest becomes who it says, counted as a
    /// connection, and a person proves again that it is them.
    ///
    /// A person who names a wallet of their own stays who they are, however little its name alone is worth; somebody else's is
    /// refused as forbidden. A credential that says nothing is refused as well.
    pub async fn identify(
        &self,
        before: &Arc<Actor>,
        credential: &Credential,
        dialect: &str,
        now: Timestamp,
    ) -> Result<Arc<Actor>, Refusal> {
        match (&before.principal, credential) {
            (_, Credential::None) => {
                Err(Refusal::new(Code::Unauthenticated, "This says nothing about who you are."))
            }
            (Principal::Person(person), Credential::Wallet(address)) => {
                let told = |fault: Fault| Denied::from(fault).told("looking a wallet up");
                match self.0.store().person_by_wallet(address).await.map_err(told)? {
                    Some(linked) if linked == *person => Ok(before.clone()),
                    _ => Err(Refusal::new(Code::Forbidden, "This wallet is somebody else's.")),
                }
            }
            (Principal::Guest, _) => self.admit(credential, dialect, now).await,
            _ => self.authenticate(credential, dialect, now).await,
        }
    }

    /// Says which backend or operator a bearer token of the HTTP API belongs to. A person's is forbidden there.
    pub async fn authenticate_backend(&self, bearer: &str, now: Timestamp) -> Result<Arc<Actor>, Refusal> {
        let credential = Credential::Bearer(bearer.to_owned());
        let actor = self.authenticate(&credential, API, now).await?;
        match actor.principal {
            Principal::Service(_) | Principal::Operator => Ok(actor),
            Principal::Person(_) | Principal::Guest => {
                Err(Refusal::new(Code::Forbidden, "This needs the key of a service or of the operator."))
            }
        }
    }

    /// `person` as somebody that `backend` acts for: with their own plan and roles, for as long as the backend's credential is
    /// good. Somebody who does not exist is not found.
    pub async fn impersonate(&self, backend: &Actor, person: &PersonId) -> Result<Arc<Actor>, Refusal> {
        if !matches!(backend.principal, Principal::Service(_) | Principal::Operator) {
            return Err(Refusal::forbidden());
        }
        let told = |fault: Fault| Denied::from(fault).told("looking a person up");
        let known = self.0.store().person(person).await.map_err(told)?;
        let known = known.ok_or_else(|| Refusal::not_found("There is no such person."))?;
        let plan = self.0.plan(&known.plan).await.map_err(told)?;
        let mut actor = Actor::new(Principal::Person(known.id), plan);
        actor.roles = known.roles.into_iter().map(Arc::from).collect();
        actor.proof = backend.proof.clone();
        actor.expires_at = backend.expires_at;
        Ok(Arc::new(actor))
    }

    /// Makes a key; see [`keys::issue`]. The secret is nowhere else from then on.
    pub async fn issue_key(&self, order: Order, now: Timestamp) -> Result<(ApiKey, SecretString), Refusal> {
        let issued = keys::issue(self.0.store(), order, now).await;
        issued.map_err(|denied| denied.told("issuing a key"))
    }

    /// Ends credentials before their time: nothing that was issued until `now` under this name opens anything any more, and
    /// connections that it opened are told. A key that does not exist is not found.
    pub async fn revoke(&self, what: Revoked, now: Timestamp) -> Result<(), Refusal> {
        self.0.revoke(what, now).await.map_err(|denied| denied.told("revoking"))
    }

    /// Gives a person a password of 8 to 1,024 bytes, or another one.
    pub async fn set_password(&self, person: &PersonId, password: SecretString) -> Result<(), Refusal> {
        let set = self.0.sessions.set_password(person, password).await;
        set.map_err(|denied| denied.told("setting a password"))
    }

    /// Opens a session for whoever has this name and password. Five tries per name and minute.
    pub async fn login(&self, name: &str, password: SecretString, now: Timestamp) -> Result<Opened, Refusal> {
        let opened = self.0.sessions.login(name, password, now).await;
        opened.map_err(|denied| denied.told("logging in"))
    }

    /// Who signs this server's own tokens, if anybody does.
    pub(crate) fn own(&self) -> Option<&Own> {
        self.0.own.as_ref()
    }

    /// Who has this name and password. Five tries per name and minute, those to open a session among them.
    pub(crate) async fn prove(&self, name: &str, password: SecretString) -> Result<PersonId, Refusal> {
        let proven = self.0.sessions.prove(name, password).await;
        proven.map_err(|denied| denied.told("comparing a password"))
    }

    /// Adds a person with a password of 8 to 1,024 bytes; whether there was nobody of that name before.
    pub(crate) async fn register(&self, person: &Person, password: SecretString) -> Result<bool, Refusal> {
        let registered = self.0.sessions.register(person, password).await;
        registered.map_err(|denied| denied.told("adding a person"))
    }

    /// Ends what `actor` came with, if it is a session or a token with an id, until `until`, when it has expired anyway. An API
    /// key does not end like that: whether there was something to end.
    pub(crate) async fn end(&self, actor: &Actor, now: Timestamp, until: Timestamp) -> Result<bool, Refusal> {
        let what = match &actor.proof {
            Proof::Token { issuer, id: Some(id) } => {
                Revoked::Token { issuer: issuer.to_string(), id: id.to_string() }
            }
            Proof::Session(name) => Revoked::Session(*name),
            Proof::Token { id: None, .. } | Proof::Key(_) | Proof::None => return Ok(false),
        };
        self.0.enter(what, now, until).await.map_err(|denied| denied.told("logging out"))?;
        Ok(true)
    }

    /// The next session for a refresh token, once. A token that comes again ends the whole login.
    pub async fn refresh(&self, token: &SecretString, now: Timestamp) -> Result<Opened, Refusal> {
        self.0.refresh(token, now).await.map_err(|denied| denied.told("renewing a session"))
    }

    /// Ends a session and everything that was opened with it. One that has ended already is no error.
    pub async fn logout(&self, token: &SecretString, now: Timestamp) -> Result<(), Refusal> {
        let ended = self.0.sessions.logout(token).await.map_err(|denied| denied.told("logging out"))?;
        match ended {
            Some(name) => self.revoke(Revoked::Session(name), now).await,
            None => Ok(()),
        }
    }

    /// A nonce for a client that writes its own sign-in message (ERC-4361).
    pub async fn wallet_challenge(&self, now: Timestamp) -> Result<Challenge, Refusal> {
        let challenge = self.0.wallets.challenge(now).await;
        challenge.map_err(|denied| denied.told("challenging a wallet"))
    }

    /// A finished sign-in message for `address`, to be signed as it is (EIP-191, `personal_sign`), and its challenge.
    pub async fn wallet_message(
        &self,
        address: &str,
        now: Timestamp,
    ) -> Result<(String, Challenge), Refusal> {
        let wallets = &self.0.wallets;
        // Before a nonce is stored for it.
        wallets.check(address)?;
        let challenge = self.wallet_challenge(now).await?;
        let message = wallets.message(address, &challenge, now);
        let message = message.map_err(|denied| denied.told("writing a sign-in message"))?;
        Ok((message, challenge))
    }

    /// Opens a session for the person whose wallet signed `message`, once. `claimed` is the address that the client gives
    /// beside it, if it does; it has to be the same, in whichever case.
    pub async fn wallet_login(
        &self,
        message: &str,
        signature: &str,
        claimed: Option<&str>,
        now: Timestamp,
    ) -> Result<Opened, Refusal> {
        let opened = async {
            let person = self.0.wallets.prove(message, signature, claimed, now).await?;
            self.0.sessions.open(person, now).await
        };
        opened.await.map_err(|denied: Denied| denied.told("signing a wallet in"))
    }

    /// Whether the name of a wallet says who somebody is, as [`UnprovenWallets`](super::UnprovenWallets) has it.
    pub fn believes_wallets(&self) -> bool {
        self.0.names_suffice
    }

    /// The person whose wallet has this address, which nobody has proved: for where that is not asked for. The first login of a
    /// new wallet adds them, if that is allowed.
    pub async fn welcome_wallet(&self, address: &str, now: Timestamp) -> Result<PersonId, Refusal> {
        let person = self.0.wallets.welcome(address, now).await;
        person.map_err(|denied| denied.told("welcoming a wallet"))
    }

    /// Whether the wallet of this address signed `message` (EIP-191). It opens nothing.
    pub fn signed_by_wallet(&self, address: &str, message: &str, signature: &str) -> bool {
        self.0.wallets.signed(address, message, signature)
    }

    /// Learns what other processes revoke and keeps the issuers' keys fresh, until `shutdown` says `true` or its sender is gone.
    /// Without it nobody is let in for long.
    pub async fn run(self, mut shutdown: watch::Receiver<bool>) {
        let (issuers, door) = (self.0.issuers.run(shutdown.clone()), &self.0);
        let work = async { tokio::join!(door.follow_revocations(), issuers) };
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => {}
            _ = work => {}
        }
    }
}

impl Door {
    fn store(&self) -> &dyn Store {
        &*self.app.ports().store
    }

    /// Whoever this credential belongs to, if it is good.
    async fn admitted(&self, credential: &str, now: Timestamp) -> Result<Arc<Admitted>, Denied> {
        if credential.len() > secret::LONGEST {
            return Err(bad_credential("This credential is too long to be one.").into());
        }
        let hash = secret::hash(credential);
        if self.has_ended(hash, now) {
            return Err(expired().into());
        }
        let admitted = match self.admitted.get(&hash) {
            Some(admitted) => admitted,
            None => self.admit_anew(credential, hash, now).await?,
        };
        let actor = &admitted.actor;
        if actor.expires_at.is_some_and(|at| at <= now) {
            return Err(expired().into());
        }
        match self.known.standing(&actor.proof, &actor.principal, admitted.issued_at) {
            Standing::Good => Ok(admitted),
            Standing::Revoked => Err(revoked().into()),
            Standing::Unknown => Err(Refusal::new(
                Code::Unavailable { retry_after: RETRY },
                "Nobody can be let in right now; please try again.",
            )
            .into()),
        }
    }

    /// Looks a credential up that nobody remembers, unless somebody else has done it by the time it is our turn.
    async fn admit_anew(
        &self,
        credential: &str,
        hash: SecretHash,
        now: Timestamp,
    ) -> Result<Arc<Admitted>, Denied> {
        let turn = self.turns.get_with(hash, Arc::default);
        let _turn = turn.lock().await;
        if let Some(admitted) = self.admitted.get(&hash) {
            return Ok(admitted);
        }
        self.looked_up.fetch_add(1, Relaxed);
        let admitted = Arc::new(self.look_up(credential, hash, now).await?);
        self.admitted.insert(hash, admitted.clone());
        if let Some(at) = admitted.actor.expires_at {
            self.ends.entry(hash).or_insert(at);
        }
        Ok(admitted)
    }

    /// Whether a credential that was good once has ended, now or whenever it was shown since.
    fn has_ended(&self, hash: SecretHash, now: Timestamp) -> bool {
        let ended = self.ends.get(&hash).is_some_and(|at| at <= now);
        if ended {
            self.ends.insert(hash, Timestamp(i64::MIN));
        }
        ended
    }

    async fn refresh(&self, token: &SecretString, now: Timestamp) -> Result<Opened, Denied> {
        match self.sessions.refresh(token, now).await? {
            Refreshed::Opened(opened) => Ok(opened),
            Refreshed::Reused(name) => {
                tracing::warn!(login = ?name, "a refresh token came a second time; its login ends");
                self.revoke(Revoked::Session(name), now).await?;
                Err(bad_credential("This session was renewed before; it has ended. Please log in again.")
                    .into())
            }
        }
    }

    async fn revoke(&self, what: Revoked, now: Timestamp) -> Result<(), Denied> {
        let lasts = |how_long: Duration| {
            Timestamp(now.0.saturating_add(i64::try_from(how_long.as_millis()).unwrap_or(i64::MAX)))
        };
        let until = match &what {
            // Keys may last for ever, and what others signed says itself how long it lasts.
            Revoked::Person(_) | Revoked::Token { .. } => Timestamp(i64::MAX),
            Revoked::Session(_) => lasts(self.sessions.longest()),
            Revoked::Key(id) => {
                let key = self.store().revoke_key(id, now).await?;
                key.ok_or_else(|| Refusal::not_found("There is no such key."))?;
                lasts(TOLD)
            }
        };
        self.enter(what, now, until).await
    }

    async fn enter(&self, what: Revoked, now: Timestamp, until: Timestamp) -> Result<(), Denied> {
        // What was issued in this very millisecond is meant too.
        let at = Timestamp(now.0.saturating_add(1));
        self.app.revoke(Revocation { what, at, until }).await?;
        Ok(())
    }

    /// Reads for ever what other processes revoke, and passes it on to whoever listens here.
    async fn follow_revocations(&self) {
        let mut ticks = tokio::time::interval(revocation::EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            ticks.tick().await;
            match self.known.read(self.store()).await {
                Ok(news) => {
                    if std::mem::take(&mut failing) {
                        tracing::info!("revocations can be read again");
                    }
                    for revocation in news {
                        let event = Event::Revoked(revocation);
                        self.app.ports().bus.publish(Envelope::new(Topic::Nodes, event));
                    }
                    self.known.forget(self.app.now());
                }
                Err(fault) => {
                    if !std::mem::replace(&mut failing, true) {
                        let error = &fault as &dyn std::error::Error;
                        tracing::error!(error, "revocations cannot be read: soon nobody is let in");
                    }
                }
            }
        }
    }
}

fn expired() -> Refusal {
    bad_credential("This credential has expired.")
}

fn revoked() -> Refusal {
    bad_credential("This credential has been revoked.")
}
