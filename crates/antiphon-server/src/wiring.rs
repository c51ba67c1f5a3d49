//! Which implementation stands behind each port, and the order in which things start and stop.
//!
//! The only place that names implementations.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use antiphon_core::actor::Principal;
use antiphon_core::aftermath::Aftermath;
use antiphon_core::app::{App, Ports, Retold, Settings};
use antiphon_core::dialect::Dialect;
use antiphon_core::ids::Timestamp;
use antiphon_core::memory::{MemoryBus, MemoryLeases, MemoryStore, NoChain, SystemClock};
use antiphon_core::ports::{Chain, Clock, Model, Store};
use antiphon_core::topic::Topic;
use antiphon_core::webhooks::Webhooks as WebhookStore;
use anyhow::Context as _;
use futures_util::future::OptionFuture;
use tokio::sync::watch;

use crate::admin::{self, Admin};
use crate::api::Api;
use crate::auth::{Doorkeeper, Own};
use crate::chain::JsonRpcChain;
use crate::config::{Config, Synchronous};
use crate::hub::{Hub, Mail, Mailbox};
use crate::listen::{self, Port};
use crate::mount::{Mount, Serves, Voice, VoiceId};
use crate::outbound::Outbound;
use crate::proactive::Proactive;
use crate::resume::{self, Logbook, Past};
use crate::routes::Routes;
use crate::shared::{Reading, Run, Shared};
use crate::sqlite::{self, SqliteStore};
use crate::starting::Cores;
use crate::telemetry::{Part, Parts, Scraper, Shape};
use crate::webhooks::{self, Webhooks};
use crate::{models, seed};

/// How long answers that are under way may go on after the last connection is closed.
const SETTLE: Duration = Duration::from_secs(5);

/// The directory below the data directory where sessions are written down.
const SESSIONS: &str = "sessions";

/// What is served beyond the configuration.
#[derive(Default)]
pub struct Extras {
    /// The documents' placeholders work, and the server says so.
    pub demo: bool,
    /// Dialects besides the built-in ones, by name.
    pub dialects: Vec<Arc<dyn Dialect>>,
    /// Paths that send back what they get, at the Engine.IO layer or below: `(path, layer)`.
    pub(crate) echoes: Vec<(String, Serves)>,
    /// Answers in place of the configured model.
    pub model: Option<Arc<dyn Model>>,
    /// Remembers in place of the configured store.
    pub store: Option<Arc<dyn Store>>,
    /// Tells the time in place of the system.
    pub clock: Option<Arc<dyn Clock>>,
    /// Remembers what webhooks need, if `store` is given: the same store, behind its other port.
    pub webhooks: Option<Arc<dyn WebhookStore>>,
}

impl Extras {
    /// What the demo has besides its configuration.
    pub fn demo() -> Self {
        Self { demo: true, ..Self::default() }
    }
}

/// A mount as it is really served.
#[derive(Clone, Debug)]
pub struct Served {
    /// The dialects, in order.
    pub dialects: Vec<String>,
    /// Address and port.
    pub address: SocketAddr,
    /// The path.
    pub path: String,
    /// Whether TLS is served.
    pub tls: bool,
}

/// A server that runs.
pub struct Running {
    shared: Arc<Shared>,
    served: Vec<Served>,
    threads: Vec<JoinHandle<()>>,
    housekeeping: tokio::task::JoinHandle<()>,
    /// Served until everything else has stopped.
    admin: Option<Admin>,
    telling: Option<Telling>,
    proactive: Option<Arc<Proactive>>,
    drain: Duration,
}

/// Webhooks at work.
struct Telling {
    webhooks: Arc<Webhooks>,
    /// Told after the last connection is closed, because closing is news too.
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

/// Starts a server and returns once every port listens. Must be called from a tokio runtime, which keeps house for it.
pub async fn start(config: Config, extras: Extras) -> anyhow::Result<Running> {
    config.check()?;
    config.auth.check(extras.demo)?;
    let is_kept = extras.store.is_none() && !config.store.ephemeral;
    let admin_port = admin::Port::bind(&config.admin)?;
    let Stores { store, webhooks: webhook_store, mut parts, database } = match extras.store {
        Some(store) => Stores { store, webhooks: extras.webhooks, parts: Vec::new(), database: None },
        None => open_store(&config)?,
    };
    let clock = extras.clock.unwrap_or_else(|| Arc::new(SystemClock));
    seed::plans(&*store, &config).await?;
    if extras.demo {
        seed::demo(&*store, config.wallet.welcome, clock.now()).await?;
    } else {
        seed::refuse_placeholders(&*store).await?;
    }

    let cores = match config.server.cores {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        cores => cores,
    };
    let cores = u16::try_from(cores).context("at most 65,535 cores")?;
    let (run, mut past) = begin_run(&config, is_kept, cores, clock.now())?;
    if let (Some(database), Some(book)) = (&database, &run.book) {
        database.set_witness(book.clone());
    }
    let mailboxes: Vec<_> = (0..cores).map(|core| Arc::new(Mailbox::new(core, run.book.clone()))).collect();
    let model = match extras.model {
        Some(model) => model,
        None => models::build(&config.model).context("in [model]")?,
    };
    let outbound = Arc::new(Outbound::new(config.outbound.clone()));
    let chain = JsonRpcChain::new(&config.wallet.chain, config.wallet.tokens_per_coin, outbound.clone())?;
    let ports = Ports {
        store: store.clone(),
        bus: Arc::new(MemoryBus::new()),
        leases: Arc::new(MemoryLeases::new()),
        model,
        clock,
        audience: Arc::new(Hub::new(mailboxes.clone())),
        chain: chain.map_or_else(|| Arc::new(NoChain) as Arc<dyn Chain>, |chain| Arc::new(chain)),
    };
    let settings = Settings {
        waiting_replies: config.limits.waiting_replies,
        wallet: config.wallet.rules(),
        heartbeat: Duration::from_millis(config.agents.heartbeat),
        ..Settings::default()
    };
    let app = App::new(ports, settings);
    let enabled = config.proactive.enabled;
    let proactive = enabled.then(|| Proactive::new(&config.proactive, app.clone())).transpose()?;
    let webhooks = make_webhooks(&config, &app, webhook_store, outbound.clone()).await?;
    parts.extend(webhooks.clone().map(|webhooks| webhooks as Arc<dyn Part>));

    let mut dialects = antiphon_dialects::dialects();
    dialects.extend(extras.dialects);
    let voices = Voices::new(&dialects)?;
    let mut ports = Vec::new();
    let mut served = Vec::new();
    let mut mount_names = Vec::new();
    for listener in &config.listeners {
        let bound = listen::bind(listener.address)?;
        let address = bound.local_addr()?;
        let mut mounts = Vec::new();
        for mount in &listener.mounts {
            let echo = extras.echoes.iter().find(|(path, _)| *path == mount.path);
            let serves = echo.map_or(Serves::Sockets, |(_, layer)| *layer);
            let ids = if serves == Serves::Sockets { voices.of(&mount.dialects)? } else { Vec::new() };
            mounts.push(Arc::new(Mount::new(mount_names.len(), mount, &config.limits, serves, ids)));
            mount_names.push((format!("{address}{}", mount.path), mount.clone()));
            served.push(Served {
                dialects: mount.dialects.clone(),
                address,
                path: mount.path.clone(),
                tls: listener.tls.is_some(),
            });
        }
        ports.push((bound, listener, mounts));
    }

    let auth = Doorkeeper::open(
        app.clone(),
        &config.auth,
        Some(outbound),
        own_tokens(&config, extras.demo, is_kept)?,
    )
    .await?;
    let (app, voices) = (app.clone(), voices.voices);
    let shared = Shared::new(app, auth.clone(), mailboxes, voices, run, &config, extras.demo);
    let shared = Arc::new(shared);
    if let Some(database) = &database {
        shared.mind(database.health().clone());
    }
    let api = Api::new(shared.clone(), webhooks.clone(), proactive.clone(), &config.api);
    let mounts: Arc<[Arc<Mount>]> = ports.iter().flat_map(|(_, _, mounts)| mounts.iter().cloned()).collect();
    let ports = ports.into_iter().map(|(bound, listener, mounts)| {
        let api = listener.api.then(|| api.clone());
        let routes = listener.routes.then(|| Routes::new(&shared, &mounts));
        Ok((bound, Arc::new(Port::new(listener.tls.as_ref(), mounts, api, routes)?)))
    });
    let ports: Vec<_> = ports.collect::<anyhow::Result<_>>()?;
    let counted = config.telemetry.metrics;
    let shape = counted.then(|| Shape { voices: shared.voices.len(), mounts: mount_names.len() });
    let aftermath = past.aftermath();
    let cores = Cores::spawn(&shared, mounts, &mut past, shape).await?;
    make_good(&shared.app, aftermath).await?;
    if let Some(book) = &shared.run.book {
        book.is_complete();
    }

    let scraper = counted.then(|| Scraper::new(shared.clone(), &mount_names, &config.limits, parts));
    let lock = config.admin.lock()?;
    let pages = admin::Sources { shared: shared.clone(), scraper, lock };
    let admin = admin_port.map(|port| port.serve(admin::router(pages))).transpose()?;
    let (app, auth) = (shared.app.clone().run(shared.stop_signal()), auth.run(shared.stop_signal()));
    let speaking = proactive.clone().map(|proactive| proactive.run(shared.stop_signal()));
    let housekeeping = tokio::spawn(async move {
        tokio::join!(app, auth, OptionFuture::from(speaking));
    });
    let telling = webhooks.map(|webhooks| {
        let (stop, stopped) = watch::channel(false);
        Telling { task: tokio::spawn(webhooks.clone().run(stopped)), webhooks, stop }
    });
    shared.set_ready(true);
    let threads = cores.open(ports);
    Ok(Running { shared, served, threads, housekeeping, admin, telling, proactive, drain: config.drain() })
}

/// Makes good what a stopped server has left undone, when those listen again who are to hear of it, and before anybody new comes.
async fn make_good(app: &App, aftermath: Aftermath) -> anyhow::Result<()> {
    // Sessions that were not told everything must not be resumed, so this may not fail in silence.
    let retold = app.retell(aftermath).await.context(
        "telling the sessions of the last run what it had stored and not told; `survive = false` in [resume] gives them up",
    )?;
    if retold != Retold::default() {
        let Retold { messages, entries, failed, missing, .. } = retold;
        tracing::info!(messages, entries, failed, missing, "what the last run had not told is told");
    }
    let refunded = app.recover().await.context("giving back what was paid for answers that never came")?;
    if refunded > 0 {
        tracing::info!(refunded, "messages that a stopped server had not answered were refunded");
    }
    Ok(())
}

/// This run, which writes its sessions down if they are to survive it, and what the last one has left there.
fn begin_run(config: &Config, is_kept: bool, cores: u16, now: Timestamp) -> anyhow::Result<(Run, Past)> {
    let run = Run::fresh();
    let directory = config.server.data.join(SESSIONS);
    if !is_kept {
        return Ok((run, Past::default()));
    }
    if !config.resume.survive {
        // Later runs must not come back to them either: what happens in this one would be missing.
        resume::forget(&directory).with_context(|| format!("cannot remove {}", directory.display()))?;
        return Ok((run, Past::default()));
    }
    let (book, past) = Logbook::open(&directory, run.name, cores, &config.resume, now);
    Ok((run.written(book), past))
}

/// Who signs this server's own tokens, where an API promises some. Their secret is kept beside the data, unless that is
/// forgotten, too.
fn own_tokens(config: &Config, demo: bool, is_kept: bool) -> anyhow::Result<Option<Own>> {
    if !config.mounts("mission") {
        return Ok(None);
    }
    let settings = &config.mission;
    settings.check(demo)?;
    let directory = is_kept.then_some(&*config.server.data);
    Own::open(settings.secret.as_ref(), directory, settings.session, config.auth.refresh).map(Some)
}

/// A store behind its ports, and what it has to say about itself.
struct Stores {
    store: Arc<dyn Store>,
    webhooks: Option<Arc<dyn WebhookStore>>,
    parts: Parts,
    /// The one on disk, if it is that.
    database: Option<Arc<SqliteStore>>,
}

fn open_store(config: &Config) -> anyhow::Result<Stores> {
    if config.store.ephemeral {
        let store = Arc::new(MemoryStore::new());
        return Ok(Stores { store: store.clone(), webhooks: Some(store), parts: Vec::new(), database: None });
    }
    let store = Arc::new(open_sqlite(config)?);
    let (parts, database): (Parts, _) = (vec![store.clone()], Some(store.clone()));
    Ok(Stores { store: store.clone(), webhooks: Some(store), parts, database })
}

/// The webhooks of the configuration, if there are any, listening to everything that happens in `app`.
async fn make_webhooks(
    config: &Config,
    app: &App,
    store: Option<Arc<dyn WebhookStore>>,
    outbound: Arc<Outbound>,
) -> anyhow::Result<Option<Arc<Webhooks>>> {
    if config.endpoints.is_empty() {
        // What is said while nobody is to be told is not told later.
        if let Some(store) = store {
            store.follow_messages(false).await?;
        }
        return Ok(None);
    }
    let store = store.context("webhooks need a store that remembers them")?;
    let ports = webhooks::Ports {
        store,
        leases: app.ports().leases.clone(),
        clock: app.ports().clock.clone(),
        outbound,
    };
    let webhooks = Webhooks::new(&config.webhooks, &config.endpoints, ports)?;
    app.ports().bus.tap(webhooks.listener());
    webhooks.begin().await.context("webhooks")?;
    Ok(Some(webhooks))
}

/// Opens the embedded database of `config`.
pub fn open_sqlite(config: &Config) -> anyhow::Result<SqliteStore> {
    let settings = sqlite::Settings {
        synchronous: match config.store.synchronous {
            Synchronous::Full => sqlite::Synchronous::Full,
            Synchronous::Normal => sqlite::Synchronous::Normal,
        },
        ..sqlite::Settings::default()
    };
    SqliteStore::open(&config.server.data, settings)
        .with_context(|| format!("cannot open the data directory {}", config.server.data.display()))
}

/// Makes a fresh store ready for an import: the documented plans exist.
pub async fn prepare(store: &dyn Store) -> anyhow::Result<()> {
    seed::plans(store, &Config::default()).await
}

impl Running {
    /// What is served, and where.
    pub fn served(&self) -> &[Served] {
        &self.served
    }

    /// Where the operator's port is, if there is one.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|admin| admin.address)
    }

    /// The core of this server, for whoever runs it in the same process.
    pub fn app(&self) -> &Arc<App> {
        &self.shared.app
    }

    /// The webhooks, if any are configured.
    pub fn webhooks(&self) -> Option<&Arc<Webhooks>> {
        self.telling.as_ref().map(|telling| &telling.webhooks)
    }

    /// What agents say by themselves, if that is enabled.
    pub fn proactive(&self) -> Option<&Arc<Proactive>> {
        self.proactive.as_ref()
    }

    /// The counters.
    pub fn counters(&self) -> Reading {
        self.shared.counters.read()
    }

    /// Connections that are open now.
    pub fn open_connections(&self) -> usize {
        self.shared.open()
    }

    /// Sessions that wait for their clients, whose connections were lost.
    pub fn waiting_sessions(&self) -> usize {
        self.shared.sessions.waiting()
    }

    /// Sends every socket of `principal` away: it leaves its rooms, is told so, and its connection is closed. Returns how many
    /// there were.
    pub async fn disconnect(&self, principal: &Principal) -> usize {
        self.shared.disconnect(principal).await
    }

    /// How many sockets listen to `topic`. Asked right after something was published there, it is how many got it.
    pub async fn listeners(&self, topic: &Topic) -> usize {
        self.shared.listeners(topic).await
    }

    /// Stops: no new sessions, transports closed spread over the drain time, answers under way finished, data written.
    /// When `hurry` completes the drain is cut short.
    pub async fn stop(self, hurry: impl Future<Output = ()>) {
        self.shared.stop();
        for mailbox in &self.shared.mailboxes {
            mailbox.post(Mail::Drain(self.drain));
        }
        tokio::pin!(hurry);
        tokio::select! {
            () = self.shared.all_drained() => {}
            () = &mut hurry => {
                self.shared.hurry();
                self.shared.all_drained().await;
            }
        }
        self.shared.close_ports();
        tokio::select! {
            settled = self.shared.app.settle(SETTLE) => {
                if !settled {
                    tracing::warn!("some answers were cut off by the stop");
                }
            }
            () = &mut hurry, if !self.shared.is_hurried() => {}
        }
        for mailbox in &self.shared.mailboxes {
            mailbox.post(Mail::Stop);
        }
        for thread in self.threads {
            if tokio::task::spawn_blocking(move || thread.join()).await.is_err() {
                tracing::error!("a core ended with a panic");
            }
        }
        let _ = self.housekeeping.await;
        if let Some(telling) = self.telling {
            telling.stop.send_replace(true);
            let _ = telling.task.await;
        }
        if let Some(admin) = self.admin {
            admin.stop().await;
        }
    }
}

/// Every dialect in every namespace it answers in.
struct Voices {
    voices: Vec<Voice>,
}

impl Voices {
    fn new(dialects: &[Arc<dyn Dialect>]) -> anyhow::Result<Self> {
        let voices: Vec<_> = dialects
            .iter()
            .flat_map(|dialect| {
                dialect.namespaces().iter().map(|namespace| (dialect.clone(), *namespace)).collect::<Vec<_>>()
            })
            .collect();
        anyhow::ensure!(voices.len() <= usize::from(u8::MAX), "too many dialects");
        let voices = (0u8..).zip(voices);
        let voice = |(id, (dialect, namespace))| Voice { id: VoiceId(id), dialect, namespace };
        Ok(Self { voices: voices.map(voice).collect() })
    }

    /// The voices of these dialects, in their order.
    fn of(&self, names: &[String]) -> anyhow::Result<Vec<VoiceId>> {
        let mut ids = Vec::new();
        for name in names {
            let before = ids.len();
            for (index, voice) in (0u8..).zip(&self.voices) {
                if voice.dialect.name() == name {
                    ids.push(VoiceId(index));
                }
            }
            let mut known: Vec<_> = self.voices.iter().map(|voice| voice.dialect.name()).collect();
            known.dedup();
            anyhow::ensure!(
                ids.len() > before,
                "there is no dialect {name:?}; there are: {}",
                known.join(", ")
            );
        }
        Ok(ids)
    }
}
