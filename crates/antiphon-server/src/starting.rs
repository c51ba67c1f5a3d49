//! How the cores come to work: their threads, the sessions of the last run, and only then the ports.

use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Context as _;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::oneshot;

use crate::cores::Core;
use crate::hub::Mail;
use crate::listen::{self, Port};
use crate::mount::Mount;
use crate::resume::{self, Past, Survivor};
use crate::shared::Shared;
use crate::telemetry::Shape;

/// The cores at work, before anybody is let in. Dropped, they stop.
pub(crate) struct Cores {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// The first core accepts for all.
    opening: Option<oneshot::Sender<Ports>>,
}

/// Bound ports, and what each serves.
pub(crate) type Ports = Vec<(TcpListener, Arc<Port>)>;

impl Cores {
    /// Starts every core, and has the sessions of the last run wait there for their clients.
    pub(crate) async fn spawn(
        shared: &Arc<Shared>,
        mounts: Arc<[Arc<Mount>]>,
        past: &mut Past,
        counted: Option<Shape>,
    ) -> anyhow::Result<Self> {
        for (pid, why) in past.lapsed.drain(..) {
            shared.sessions.lapse(pid, why);
        }
        let survivors = std::mem::take(&mut past.sessions);
        let left = survivors.len();
        let mut cores = Self { shared: shared.clone(), threads: Vec::new(), opening: None };
        let mut seated = Vec::new();
        for (index, survivors) in (0..).zip(resume::deal(survivors, shared.mailboxes.len())) {
            let (opening, opened) = oneshot::channel();
            cores.opening.get_or_insert(opening);
            let (tell, told) = oneshot::channel();
            let (mounts, seat) = (mounts.clone(), (survivors, tell));
            cores.threads.push(spawn_core(index, shared.clone(), (mounts, seat), opened, counted)?);
            seated.push(told);
        }
        let mut survived = 0;
        for told in seated {
            survived += told.await.context("a core could not start")?;
        }
        shared.counters.survived(survived);
        if left > 0 {
            tracing::info!(
                survived,
                lost = left - survived,
                "sessions of the last run wait for their clients"
            );
        }
        Ok(cores)
    }

    /// Lets clients in through `ports`; returns the threads.
    pub(crate) fn open(mut self, ports: Ports) -> Vec<JoinHandle<()>> {
        if let Some(opening) = self.opening.take() {
            // A core that is gone accepts nothing.
            let _ = opening.send(ports);
        }
        std::mem::take(&mut self.threads)
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        if self.threads.is_empty() {
            return;
        }
        for mailbox in &self.shared.mailboxes {
            mailbox.post(Mail::Stop);
        }
    }
}

/// The sessions of the last run that belong on a core, and where to say how many of them are there.
type Seating = (Arc<[Arc<Mount>]>, (Vec<Survivor>, oneshot::Sender<usize>));

fn spawn_core(
    index: u16,
    shared: Arc<Shared>,
    (mounts, (survivors, seated)): Seating,
    opened: oneshot::Receiver<Ports>,
    counted: Option<Shape>,
) -> anyhow::Result<JoinHandle<()>> {
    let thread = std::thread::Builder::new().name(format!("core-{index}")).spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return tracing::error!(%error, "a core could not start"),
        };
        runtime.block_on(async {
            let core = Core::new(index, shared, counted);
            // Whoever starts the server may have given up.
            let _ = seated.send(core.seat_survivors(survivors, &mounts));
            tokio::task::spawn_local(accept_all(core.clone(), opened));
            core.run().await;
        });
        Core::forget();
    });
    thread.context("cannot start a thread")
}

/// Accepts on every port of a core that has some, from when they are opened.
async fn accept_all(core: Rc<Core>, opened: oneshot::Receiver<Ports>) {
    for (listener, port) in opened.await.unwrap_or_default() {
        let core = core.clone();
        tokio::task::spawn_local(async move {
            if let Err(error) = listen::accept(core, listener, port).await {
                tracing::error!(%error, "a port does not accept any more");
            }
        });
    }
}
