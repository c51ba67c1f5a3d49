//! What is measured: one work per row of the table, the same for every server.

pub mod authentication;
pub mod broadcast;
pub mod closed_loop;
pub mod durable;
pub mod echo;
pub mod handshake;
pub mod idle;
pub mod mission;
pub mod resume;
pub mod streams;

use std::ops::Range;
use std::time::Duration;

use anyhow::Result;

use self::authentication::Credential;
use self::resume::Question;
use crate::disk::{Disk, SLOWER};
use crate::floor::Role;
use crate::process::Server;

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// How the command line calls it; the rows of one kind begin with the same word.
    pub name: String,
    /// What the servers have to do.
    pub work: Work,
}

/// Something to do, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// One event to everybody in a room, `in_flight` of them at a time.
    Broadcast {
        /// Connections in the room, the sender's among them.
        receivers: usize,
        /// How many are sent at once before the next are.
        in_flight: usize,
    },
    /// One task created, which every dashboard hears of.
    Tasks {
        /// Connections that look after agents.
        dashboards: usize,
    },
    /// Answers that arrive in pieces, each in a room of its own.
    Streams {
        /// How many at the same time.
        rooms: usize,
    },
    /// Questions with an ack, the next one as soon as the last one is answered: CPU of a round trip.
    Echo {
        /// Connections that ask.
        clients: usize,
    },
    /// The same, for the latency that the slowest of a hundred see.
    Saturation {
        /// Connections that ask.
        clients: usize,
    },
    /// From the TCP connection to the Socket.IO CONNECT.
    Handshake {
        /// How many come.
        connections: usize,
    },
    /// From the TCP connection until it is known who asks: what that adds to a handshake.
    Authentication {
        /// What they show.
        credential: Credential,
        /// How many come.
        connections: usize,
    },
    /// Connections that do nothing.
    Idle {
        /// How many there are.
        connections: usize,
    },
    /// Two rooms in which somebody talks to an agent, one of them on a mount without recovery.
    Resume {
        /// What is asked about recovery.
        question: Question,
        /// Connections in each room.
        receivers: usize,
    },
    /// Messages whose ack means that they are stored: how many in a second.
    DurableRate {
        /// Connections that write, each the next message once the last one is acked.
        senders: usize,
        /// What they are stored on.
        disk: Disk,
    },
    /// The same, for the latency that the slowest of a hundred see.
    DurableLatency {
        /// Connections that write.
        senders: usize,
        /// What they are stored on.
        disk: Disk,
    },
}

/// Who takes part. Person `u7` has the key `k7` and owns agent 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cast {
    /// How many people there are.
    pub people: usize,
    /// How many of them own an agent.
    pub agents: usize,
    /// Length of an agent's id, in bytes.
    pub agent_id_length: usize,
    /// Time between two pieces of an answer.
    pub chunk_delay: Duration,
    /// Who of them may come in.
    pub admission: Admission,
}

/// Who may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Whoever has a good credential.
    Everybody,
    /// Nobody: once it is known who asks, their plan turns out to allow no connection at all.
    Nobody,
}

/// How long to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// What a server gets to become warm.
    pub warm_up: Duration,
    /// What is measured.
    pub window: Duration,
}

impl Pace {
    /// For figures that are published.
    pub const FULL: Self = Self { warm_up: Duration::from_secs(1), window: Duration::from_secs(2) };
    /// For a glance during the day's work.
    pub const QUICK: Self = Self { warm_up: Duration::from_millis(200), window: Duration::from_millis(500) };
}

/// All rows in the order of the table; a quick run holds fewer idle connections and handshakes.
pub fn all(quick: bool) -> Vec<Scenario> {
    let row = |name: &str, work| Scenario { name: name.to_owned(), work };
    let (newcomers, idle) = if quick { (500, 2_000) } else { (2_000, 5_000) };
    let authentication = |credential| Work::Authentication { credential, connections: newcomers };
    let resume = |question| Work::Resume { question, receivers: 1_000 };
    vec![
        row("broadcast-100", Work::Broadcast { receivers: 100, in_flight: 1 }),
        row("broadcast-1000", Work::Broadcast { receivers: 1_000, in_flight: 1 }),
        row("broadcast-5000", Work::Broadcast { receivers: 5_000, in_flight: 1 }),
        row("burst", Work::Broadcast { receivers: 1_000, in_flight: 4 }),
        row("mission", Work::Tasks { dashboards: 5_000 }),
        row("streams", Work::Streams { rooms: 1_000 }),
        row("echo", Work::Echo { clients: 100 }),
        row("saturation", Work::Saturation { clients: 1_000 }),
        row("handshake", Work::Handshake { connections: newcomers }),
        row("authentication-none", authentication(Credential::None)),
        row("authentication-new-key", authentication(Credential::NewKey)),
        row("authentication-known-key", authentication(Credential::KnownKey)),
        row("authentication-known-token", authentication(Credential::KnownToken)),
        row("idle", Work::Idle { connections: idle }),
        row("resume-without", resume(Question::Without)),
        row("resume-unasked", resume(Question::Unasked)),
        row("resume-asked", resume(Question::Asked)),
        row("resume-bytes", resume(Question::Bytes)),
        row("durable-rate", Work::DurableRate { senders: 64, disk: Disk::Own }),
        row("durable-p99", Work::DurableLatency { senders: 64, disk: Disk::Own }),
        row("durable-slow-rate", Work::DurableRate { senders: 64, disk: Disk::Slow }),
        row("durable-slow-p99", Work::DurableLatency { senders: 64, disk: Disk::Slow }),
    ]
}

impl Work {
    /// The same work with another number of connections.
    #[must_use]
    pub fn with_connections(self, connections: usize) -> Self {
        match self {
            Self::Broadcast { in_flight, .. } => Self::Broadcast { receivers: connections, in_flight },
            Self::Tasks { .. } => Self::Tasks { dashboards: connections },
            Self::Streams { .. } => Self::Streams { rooms: connections },
            Self::Echo { .. } => Self::Echo { clients: connections },
            Self::Saturation { .. } => Self::Saturation { clients: connections },
            Self::Handshake { .. } => Self::Handshake { connections },
            Self::Authentication { credential, .. } => Self::Authentication { credential, connections },
            Self::Idle { .. } => Self::Idle { connections },
            Self::Resume { question, .. } => Self::Resume { question, receivers: connections },
            Self::DurableRate { disk, .. } => Self::DurableRate { senders: connections, disk },
            Self::DurableLatency { disk, .. } => Self::DurableLatency { senders: connections, disk },
        }
    }

    /// What the row says in the table, its unit at the end.
    pub fn title(self) -> String {
        match self {
            Self::Broadcast { receivers, in_flight: 1 } => {
                format!("broadcast, {} receivers, µs per delivery", thousands(receivers))
            }
            Self::Broadcast { receivers, in_flight } => {
                format!(
                    "{in_flight} broadcasts in flight, {} receivers, µs per delivery",
                    thousands(receivers)
                )
            }
            Self::Tasks { dashboards } => {
                format!("a task is created, {} dashboards, µs per delivery", thousands(dashboards))
            }
            Self::Streams { rooms } => {
                format!("token streams, {} rooms of one, 30 chunks/s each, µs per chunk", thousands(rooms))
            }
            Self::Echo { clients } => {
                format!("echo with ack, {} connections, µs per round trip", thousands(clients))
            }
            Self::Saturation { clients } => {
                format!("p99 of echo at {} closed-loop clients, ms", thousands(clients))
            }
            Self::Handshake { .. } => "WebSocket handshake to CONNECT, µs".to_owned(),
            Self::Authentication { credential: Credential::None, .. } => {
                "WebSocket handshake to a CONNECT refused without a credential, µs".to_owned()
            }
            Self::Authentication { credential: Credential::NewKey, .. } => {
                "authentication adds, an API key not seen lately, µs".to_owned()
            }
            Self::Authentication { credential: Credential::KnownKey, .. } => {
                "authentication adds, an API key seen lately, µs".to_owned()
            }
            Self::Authentication { credential: Credential::KnownToken, .. } => {
                "authentication adds, a signed token (JWT) seen lately, µs".to_owned()
            }
            Self::Idle { .. } => "idle memory, KiB per connection".to_owned(),
            Self::Resume { question, receivers } => {
                let receivers = thousands(receivers);
                match question {
                    Question::Without => {
                        format!("a conversation before {receivers} receivers, no recovery, µs per delivery")
                    }
                    Question::Unasked => format!("recovery that none of {receivers} asks for adds, % of CPU"),
                    Question::Asked => format!("recovery that all {receivers} ask for adds, % of CPU"),
                    Question::Bytes => {
                        "recovery adds for a client that does not ask, bytes per event".to_owned()
                    }
                }
            }
            Self::DurableRate { senders, disk } => {
                format!("durable messages, {senders} senders, {}, acks/s", disk_name(disk))
            }
            Self::DurableLatency { senders, disk } => {
                format!("p99 of a durable ack, {senders} senders, {}, ms", disk_name(disk))
            }
        }
    }

    /// Whether more is better.
    pub fn is_a_rate(self) -> bool {
        matches!(self, Self::DurableRate { .. })
    }

    /// Whether multiples of the floor say anything: the floor holds next to nothing for a connection.
    pub fn has_a_floor(self) -> bool {
        !matches!(self, Self::Idle { .. } | Self::Authentication { .. } | Self::Resume { .. })
    }

    /// Whether the figure is what is left of two that are large beside it: then so is its noise, in percent.
    pub fn is_a_difference(self) -> bool {
        match self {
            Self::Authentication { credential, .. } => credential != Credential::None,
            Self::Resume { question, .. } => question != Question::Without,
            _ => false,
        }
    }

    /// The disk, if it is about storing, which only the product does; its floor is one sync per message.
    pub fn disk(self) -> Option<Disk> {
        match self {
            Self::DurableRate { disk, .. } | Self::DurableLatency { disk, .. } => Some(disk),
            _ => None,
        }
    }

    /// Who has to be known to a server before the work begins.
    pub fn cast(self) -> Cast {
        let everyone = |people, agents| Cast { people, agents, ..Cast::NOBODY };
        match self {
            Self::Broadcast { .. } => broadcast::cast(),
            Self::Tasks { .. } => mission::cast(),
            Self::Streams { rooms: connections }
            | Self::Echo { clients: connections }
            | Self::Saturation { clients: connections } => everyone(connections, connections),
            Self::Handshake { .. } => handshake::cast(),
            Self::Authentication { credential, connections } => authentication::cast(credential, connections),
            Self::Idle { connections } => idle::cast(connections),
            Self::Resume { .. } => resume::cast(),
            // What is asked for is the ack; the answers end soon and take no part.
            Self::DurableRate { senders, .. } | Self::DurableLatency { senders, .. } => {
                Cast { chunk_delay: Duration::from_millis(1), ..everyone(senders, senders) }
            }
        }
    }

    /// What the floor has to play.
    pub fn role(self) -> Role {
        match self {
            Self::Broadcast { .. } => Role::Broadcast,
            Self::Tasks { .. } => Role::Tasks,
            Self::Streams { .. } => Role::Streams,
            _ => Role::Echo,
        }
    }

    /// Does the work once on a server that knows its [`Cast`]; returns the row's figure in the row's unit.
    pub fn measure(self, server: &Server, pace: Pace) -> Result<f64> {
        let cast = self.cast();
        match self {
            Self::Broadcast { receivers, in_flight } => {
                broadcast::run(server, &cast, receivers, in_flight, pace)
            }
            Self::Tasks { dashboards } => mission::run(server, &cast, dashboards, pace),
            Self::Streams { rooms } => streams::run(server, &cast, rooms, pace),
            Self::Echo { clients } => echo::run(server, &cast, clients, pace).map(|echo| echo.micros),
            Self::Saturation { clients } => {
                echo::run(server, &cast, clients, pace).map(|echo| echo.p99_millis)
            }
            Self::Handshake { connections } => handshake::run(server, &cast, connections),
            Self::Authentication { credential, connections } => {
                authentication::run(server, &cast, credential, connections)
            }
            Self::Idle { connections } => idle::run(server, &cast, connections),
            Self::Resume { question, receivers } => resume::run(server, &cast, receivers, question, pace),
            Self::DurableRate { senders, .. } => {
                durable::run(server, &cast, senders, pace).map(|durability| durability.per_second)
            }
            Self::DurableLatency { senders, .. } => {
                durable::run(server, &cast, senders, pace).map(|durability| durability.p99_millis)
            }
        }
    }
}

impl Cast {
    /// Nobody yet; answers come at 30 pieces a second.
    pub const NOBODY: Self = Self {
        people: 0,
        agents: 0,
        agent_id_length: 5,
        chunk_delay: Duration::from_millis(33),
        admission: Admission::Everybody,
    };

    /// Id of a person.
    pub fn person(&self, index: usize) -> String {
        format!("u{index}")
    }

    /// Their API key.
    pub fn token(&self, index: usize) -> String {
        format!("k{index}")
    }

    /// Id of the agent that they own.
    pub fn agent(&self, index: usize) -> String {
        format!("a{index:0>width$}", width = self.agent_id_length.saturating_sub(1))
    }

    /// The keys of everybody in `range`, for [`Crowd::arrive`](crate::crowd::Crowd::arrive).
    pub fn tokens(&self, range: Range<usize>) -> impl Iterator<Item = String> {
        range.map(|index| self.token(index))
    }
}

/// CPU time per piece of work, in microseconds.
fn micros_each(cpu: Duration, pieces: usize) -> f64 {
    cpu.as_secs_f64() * 1e6 / pieces.max(1) as f64
}

fn disk_name(disk: Disk) -> String {
    match disk {
        Disk::Own => "this disk".to_owned(),
        Disk::Slow => format!("{} ms added to each sync", SLOWER.as_millis()),
    }
}

fn thousands(number: usize) -> String {
    if number < 1_000 { number.to_string() } else { format!("{},{:03}", number / 1_000, number % 1_000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_name_and_a_title_of_its_own() {
        let rows = all(false);
        for row in &rows {
            assert_eq!(rows.iter().filter(|other| other.name == row.name).count(), 1, "{}", row.name);
            assert_eq!(rows.iter().filter(|other| other.work.title() == row.work.title()).count(), 1);
        }
    }

    #[test]
    fn agents_have_ids_of_one_length_and_no_two_the_same() {
        let cast = Work::Streams { rooms: 1_000 }.cast();
        assert_eq!((cast.agent(7), cast.agent(999)), ("a0007".to_owned(), "a0999".to_owned()));
        assert_eq!(Work::Broadcast { receivers: 9, in_flight: 1 }.cast().people, 1);
    }

    #[test]
    fn microseconds_are_per_piece() {
        assert!((micros_each(Duration::from_millis(3), 1_000) - 3.0).abs() < 1e-9);
    }
}
