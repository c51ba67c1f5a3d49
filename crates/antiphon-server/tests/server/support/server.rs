//! How a server is started for one test, watched, and stopped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;

use antiphon_core::actor::{Actor, Caller, Plan, Principal};
use antiphon_core::app::App;
use antiphon_core::command::{Command, Outcome};
use antiphon_core::dialect::Dialect;
use antiphon_core::topic::Topic;
use antiphon_server::config::Config;
use antiphon_server::webhooks::Webhooks;
use antiphon_server::wiring::{self, Extras, Running};
use antiphon_server::{Reading, conformance};

use super::dialect::Probe;
use super::door::Door;
use super::http::{Http, Request};
use super::soon;

/// A running server.
pub(crate) struct Server {
    running: Option<Running>,
    pub(crate) address: SocketAddr,
    path: String,
    panics: u64,
}

impl Server {
    /// Starts a server on a free port.
    pub(crate) async fn start(mut config: Config, extras: Extras) -> Self {
        config.server.drain = 0;
        Self::start_as_it_is(config, extras).await
    }

    /// The same, with the drain time of `config`.
    pub(crate) async fn start_as_it_is(mut config: Config, extras: Extras) -> Self {
        // Many servers run at once here.
        config.admin.address.set_port(0);
        let running = wiring::start(config, extras).await.expect("the server starts");
        let served = &running.served()[0];
        let (address, path) = (served.address, served.path.clone());
        Self { running: Some(running), address, path, panics: 0 }
    }

    /// A server for the wire: what the protocol suites talk to, with heartbeats that nothing but a test for them meets, and
    /// with [`Probe`] on `/probe`.
    pub(crate) async fn wire(change: impl FnOnce(&mut Config)) -> Self {
        let (mut config, mut extras) = conformance::server(0);
        extras.dialects.push(Arc::new(Probe));
        let mounts = &mut config.listeners[0].mounts;
        for mount in mounts.iter_mut() {
            (mount.ping_interval, mount.ping_timeout) = (25_000, 20_000);
        }
        let probe = antiphon_server::config::Mount {
            path: "/probe".into(),
            dialects: vec![Probe.name().into()],
            ..mounts[0].clone()
        };
        mounts.push(probe);
        change(&mut config);
        Self::start(config, extras).await
    }

    /// Panics in handlers that this test causes; any other number at the end is a failure.
    pub(crate) fn expect_panics(&mut self, panics: u64) {
        self.panics = panics;
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs until it is stopped")
    }

    /// The first mount.
    pub(crate) fn door(&self) -> Door {
        Door { address: self.address, path: self.path.clone(), tls: None, receive_buffer: None }
    }

    /// The operator's port.
    pub(crate) fn admin(&self) -> Door {
        let address = self.running().admin().expect("a server of the tests has an admin port");
        Door { address, path: String::new(), tls: None, receive_buffer: None }
    }

    pub(crate) fn app(&self) -> &Arc<App> {
        self.running().app()
    }

    pub(crate) async fn disconnect(&self, principal: &Principal) -> usize {
        self.running().disconnect(principal).await
    }

    pub(crate) async fn listeners(&self, topic: &Topic) -> usize {
        self.running().listeners(topic).await
    }

    /// The webhooks, which must be configured.
    pub(crate) fn webhooks(&self) -> &Arc<Webhooks> {
        self.running().webhooks().expect("webhooks are configured")
    }

    pub(crate) fn counters(&self) -> Reading {
        self.running().counters()
    }

    pub(crate) fn open_connections(&self) -> usize {
        self.running().open_connections()
    }

    /// Sessions that wait for their clients.
    pub(crate) fn waiting_sessions(&self) -> usize {
        self.running().waiting_sessions()
    }

    /// Has the operator give an order, which must be done.
    pub(crate) async fn order(&self, command: Command) {
        let outcome = self.app().handle(&operator(), command).await;
        assert_eq!(outcome, Ok(Outcome::Done));
    }

    /// Waits until `is_so`, asking again after each answer of the server to something else.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        soon(what, async {
            let mut http = Http::open(&self.door()).await;
            while !is_so(self) {
                assert_eq!(http.ask(&Request::get("/healthz")).await.status, 200);
            }
        })
        .await;
    }

    /// Stops the server, which must neither take long nor have had a handler that panicked.
    pub(crate) async fn stop(mut self) {
        assert_eq!(self.counters().panicked, self.panics, "handlers that panicked");
        let running = self.running.take().expect("it runs until it is stopped");
        soon("the server to stop", running.stop(std::future::pending())).await;
    }

    /// Begins to stop the server: the future that does it, and that ends early once `hurry` does.
    pub(crate) fn stopping(&mut self, hurry: impl Future<Output = ()>) -> impl Future<Output = ()> {
        self.running.take().expect("it runs until it is stopped").stop(hurry)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let forgotten = self.running.is_some() && !std::thread::panicking();
        assert!(!forgotten, "a test stops the server that it started");
    }
}

/// Goes on with `future` once; whether that was its end.
pub(crate) async fn goes_on<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
}

/// Whoever runs the server.
pub(crate) fn operator() -> Caller {
    let plan = Plan {
        name: "operator".into(),
        connections_per_minute: None,
        messages_per_month: None,
        agents: None,
    };
    Caller { actor: Arc::new(Actor::new(Principal::Operator, Arc::new(plan))), connection: None }
}
