//! Ports: binding them, accepting on them, dealing connections out to the cores.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::api::Api;
use crate::config;
use crate::cores::Core;
use crate::hub::Mail;
use crate::mount::Mount;
use crate::routes::Routes;
use crate::telemetry::Refused;
use crate::transport::crowd::Visit;
use crate::transport::http;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4_096;

/// How long a TLS handshake may take.
const TLS_HANDSHAKE: Duration = Duration::from_secs(10);

/// How long accepting pauses when the process has no descriptors left.
const BREATH: Duration = Duration::from_millis(50);

/// A bound port and what it serves.
pub(crate) struct Port {
    tls: Option<TlsAcceptor>,
    mounts: Vec<Arc<Mount>>,
    api: Option<Api>,
    routes: Option<Routes>,
}

impl Port {
    pub(crate) fn new(
        tls: Option<&config::Tls>,
        mounts: Vec<Arc<Mount>>,
        api: Option<Api>,
        routes: Option<Routes>,
    ) -> anyhow::Result<Self> {
        Ok(Self { tls: tls.map(acceptor).transpose()?, mounts, api, routes })
    }

    /// The HTTP API, if it is served here and `path` is one of its own.
    pub(crate) fn api(&self, path: &str) -> Option<&Api> {
        self.api.as_ref().filter(|_| Api::serves(path) && self.mount(path).is_none())
    }

    /// The documented routes, if they are served here and `path` is not a mount's.
    pub(crate) fn routes(&self, path: &str) -> Option<&Routes> {
        self.routes.as_ref().filter(|_| self.mount(path).is_none())
    }

    /// The mount on exactly this path, with or without a slash at its end.
    pub(crate) fn mount(&self, path: &str) -> Option<&Arc<Mount>> {
        let path = path.strip_suffix('/').unwrap_or(path);
        self.mounts.iter().find(|mount| mount.path == path)
    }

    /// Serves a connection that another core accepted.
    pub(crate) fn serve_std(self: &Arc<Self>, core: &Rc<Core>, stream: std::net::TcpStream, visit: Visit) {
        match TcpStream::from_std(stream) {
            Ok(stream) => self.serve(core, stream, visit),
            Err(error) => tracing::warn!(%error, "a connection could not change cores"),
        }
    }

    fn serve(self: &Arc<Self>, core: &Rc<Core>, stream: TcpStream, visit: Visit) {
        // Frames are already joined per turn; waiting for more would only cost latency.
        let _ = stream.set_nodelay(true);
        let (core, port) = (core.clone(), self.clone());
        tokio::task::spawn_local(async move {
            let Some(tls) = &port.tls else { return http::serve(core, port, stream, visit).await };
            match tokio::time::timeout(TLS_HANDSHAKE, tls.accept(stream)).await {
                Ok(Ok(stream)) => http::serve(core, port, stream, visit).await,
                Ok(Err(error)) => tracing::debug!(visit = visit.number, %error, "a TLS handshake failed"),
                Err(_) => tracing::debug!(visit = visit.number, "a TLS handshake took too long"),
            }
        });
    }
}

/// Binds `address` so that a restarted server gets its port back at once.
pub(crate) fn bind(address: SocketAddr) -> anyhow::Result<std::net::TcpListener> {
    let bound = (|| -> io::Result<_> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    })();
    bound.with_context(|| format!("cannot listen on {address}: is another server using the port?"))
}

/// Accepts until all connections of a server that stops are closed, and deals connections out to the cores in turn. When more
/// come than may be accepted in a second they wait, so that a storm of clients that come back becomes a queue.
pub(crate) async fn accept(
    core: Rc<Core>,
    listener: std::net::TcpListener,
    port: Arc<Port>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = core.shared.ports_closed() => return Ok(()),
        };
        match accepted {
            Ok((stream, peer)) => {
                core.await_turn().await;
                match Visit::begin(&core.shared, peer.ip()) {
                    Some(visit) => deal(&core, stream, &port, visit),
                    None => {
                        core.shared.counters.crowded();
                        core.count(|tally| tally.refused(Refused::Crowded));
                    }
                }
            }
            Err(error) => {
                // Out of descriptors, or the client was gone before it was accepted: neither ends the port.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

fn deal(core: &Rc<Core>, stream: TcpStream, port: &Arc<Port>, visit: Visit) {
    let next = core.shared.next_core();
    if next == usize::from(core.index) {
        return port.serve(core, stream, visit);
    }
    match stream.into_std() {
        Ok(stream) => core.shared.mailboxes[next].post(Mail::Accepted(stream, visit, port.clone())),
        Err(error) => tracing::warn!(%error, "a connection could not change cores"),
    }
}

fn acceptor(files: &config::Tls) -> anyhow::Result<TlsAcceptor> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect)
        .with_context(|| format!("cannot read certificates from {}", files.certificate.display()))?;
    let key = private_key(&files.key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS versions")?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .with_context(|| format!("{} and {} do not fit", files.certificate.display(), files.key.display()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn private_key(path: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path)
        .with_context(|| format!("cannot read a private key from {}", path.display()))
}
