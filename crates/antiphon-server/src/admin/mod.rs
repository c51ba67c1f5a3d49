//! The operator's port: what nobody else is to see, on a listener of its own.
//!
//! | file | answers |
//! |---|---|
//! | `settings` | where it listens, and who may ask |
//! | `pages` | what it serves |
//!
//! It is served by the runtime that keeps house, not by the cores: whoever asks slowly here costs no connection anything.

mod pages;
mod settings;

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener as Bound};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tower::ServiceExt as _;

use crate::listen;

pub(crate) use pages::{Sources, router};
pub use settings::Settings;

/// Connections that are served at once; more wait to be accepted.
const CONNECTIONS: usize = 64;

/// Bytes of request head that are read before a client is told that it is too much.
const HEAD: usize = 16 * 1024;

/// How long the head of a request may take, and a connection may wait for the next one.
const WAIT: Duration = Duration::from_secs(10);

/// How long accepting pauses when the process has no descriptors left.
const BREATH: Duration = Duration::from_millis(50);

/// A bound admin port.
pub(crate) struct Port {
    bound: Bound,
    address: SocketAddr,
}

/// An admin port that is served until it is stopped, or this is dropped.
pub(crate) struct Admin {
    /// Address and port really taken.
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Port {
    /// Takes the port of `settings`, unless it is switched off. Fails when the port is taken, and when everybody could ask.
    pub(crate) fn bind(settings: &Settings) -> anyhow::Result<Option<Self>> {
        settings.check()?;
        if !settings.enabled {
            return Ok(None);
        }
        let bound = listen::bind(settings.address).map_err(|error| {
            error.context(
                "[admin] address: another server may have it; choose another one, or enabled = false",
            )
        })?;
        let address = bound.local_addr()?;
        Ok(Some(Self { bound, address }))
    }

    /// Serves `router` from now on. Must be called from a tokio runtime.
    pub(crate) fn serve(self, router: Router) -> anyhow::Result<Admin> {
        let listener = TcpListener::from_std(self.bound)?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(accept(listener, router, stopped));
        Ok(Admin { address: self.address, stop, task })
    }
}

impl Admin {
    /// Ends its connections, and with them whatever they hold.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        // If it panicked, nothing is left to stop.
        let _ = self.task.await;
    }
}

/// Accepts until told to stop, in words or by nobody being left to say them; the connections it serves end with it.
async fn accept(listener: TcpListener, router: Router, stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    tokio::pin!(stopped);
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = async {
            // The semaphore is never closed; if it were, nobody would have to wait.
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = accepted => accepted,
            _ = &mut stopped => return connections.shutdown().await,
        };
        match accepted {
            Ok((stream, _)) => {
                let router = router.clone();
                connections.spawn(async move {
                    serve(stream, router).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "an admin connection could not be accepted");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, router: Router) {
    let service = service_fn(move |request| {
        let router = router.clone();
        async move {
            let Ok(reply) = router.oneshot(request).await;
            Ok::<_, Infallible>(reply)
        }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(WAIT)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "an admin connection ended early");
    }
}
