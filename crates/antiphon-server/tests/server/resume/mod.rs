//! What a client finds that comes back after its connection was lost, for those who ask for it (P4, T-10).
//!
//! | file | states |
//! |---|---|
//! | [`tab`] | a client that resumes, as the official one does |
//! | [`missed`] | what was missed comes once and in order, whatever carries it and wherever it is cut |
//! | [`faults`] | the known faults of the reference are none of ours |
//! | [`claims`] | who may resume what, and what they are told who may not |
//! | [`handing_over`] | a session is handed over as it is at that moment, whatever still happens on its old connection |
//! | [`bounds`] | how much is kept, for how long, and for how many |
//! | [`catching_up`] | what a client is told of the past may be resumed, too |
//! | [`repeats`] | a polling answer that was lost on its way is missed, not skipped |
//! | [`survivors`] | a session outlives the server, stopped or killed |
//! | [`others`] | whoever does not ask gets the very same bytes as ever |

mod bounds;
mod catching_up;
mod claims;
mod faults;
mod handing_over;
mod missed;
mod others;
mod repeats;
mod survivors;
mod tab;

use antiphon_core::command::Command;
use antiphon_core::notices::{Notice, NoticeKind};
use antiphon_server::config::Config;

use crate::support::people::{self, person};
use crate::support::server::Server;

/// A server on four cores: whoever comes back is mostly served by another one.
async fn server(change: impl FnOnce(&mut Config)) -> Server {
    people::server(|config| {
        config.server.cores = 4;
        config.limits.events_per_second = 0;
        change(config);
    })
    .await
}

/// Tells Ada the numbers of `numbers`, each in a notice.
async fn tell(server: &Server, numbers: impl IntoIterator<Item = u32>) {
    for number in numbers {
        tell_at_length(server, number, "").await;
    }
}

/// Tells Ada a number in a notice with these words.
async fn tell_at_length(server: &Server, number: u32, words: &str) {
    let (title, message) = (number.to_string(), format!("Number {number}.{words}"));
    let notice = Notice { kind: NoticeKind::Info, title, message, action: None };
    server.order(Command::SendNotice { person: person("ada"), notice }).await;
}

/// Waits until so many sessions wait for their clients.
async fn until_waiting(server: &Server, sessions: usize) {
    server.until("sessions to wait", |server| server.waiting_sessions() == sessions).await;
}
