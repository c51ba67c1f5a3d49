//! What one delivery of a task's event to a dashboard costs: everybody who looks after agents hears that a task was created.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{Cast, Pace, micros_each};
use crate::crowd::{Crowd, Door};
use crate::floor;
use crate::process::Server;
use crate::product::MISSION_PATH;
use crate::wire::frame;
use crate::wire::packet::{self, Packet};
use crate::wire::token;

/// Fewer tasks than this are no measurement, however long they take.
const FEWEST_TASKS: usize = 5;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// One person, who looks after agents on every dashboard.
pub fn cast() -> Cast {
    Cast { people: 1, ..Cast::NOBODY }
}

/// CPU of the server per delivery, in µs, with one task created at a time and the next one when all dashboards know of it.
pub fn run(server: &Server, cast: &Cast, dashboards: usize, pace: Pace) -> Result<f64> {
    let operator = token::signed_with_role(&cast.person(0), "agent_operator");
    let door = Door { address: server.door().address, path: MISSION_PATH.to_owned() };
    let mut crowd = Crowd::new()?;
    crowd.arrive(&door, (0..dashboards).map(|_| operator.clone()))?;
    let mut hand = if server.door().path == floor::PATH {
        Hand::Event(frame::masked_text(&packet::typing("a")))
    } else {
        Hand::Request(Desk::open(door.address, &operator)?)
    };
    repeat(&mut crowd, &mut hand, pace.warm_up)?;
    let before = server.cpu()?;
    let deliveries = repeat(&mut crowd, &mut hand, pace.window)?;
    Ok(micros_each(server.cpu()? - before, deliveries))
}

/// Creates task after task for `duration`; returns how many events were heard.
fn repeat(crowd: &mut Crowd, hand: &mut Hand, duration: Duration) -> Result<usize> {
    let start = Instant::now();
    let mut tasks = 0;
    while start.elapsed() < duration || tasks < FEWEST_TASKS {
        match hand {
            Hand::Event(frame) => crowd.send(0, frame)?,
            Hand::Request(desk) => desk.create().context("creating a task")?,
        }
        crowd
            .hear_all(crowd.len(), |_, packet, _| match packet {
                Packet::Event(event) if packet::is_task(event) => Ok(1),
                _ => Ok(0),
            })
            .context("waiting for a task")?;
        tasks += 1;
    }
    Ok(tasks * crowd.len())
}

/// How a task is created.
enum Hand {
    /// The floor sends its frame to everybody whenever anybody says anything.
    Event(Vec<u8>),
    /// A server that has tasks is asked to.
    Request(Desk),
}

/// One HTTP connection, kept alive.
struct Desk {
    stream: TcpStream,
    request: String,
}

impl Desk {
    #[expect(
        clippy::disallowed_methods,
        reason = "the product guards where it connects to; the bench connects to what it started itself"
    )]
    fn open(address: SocketAddr, token: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let body = format!("{{\"title\":\"{}\"}}", packet::TASK_TITLE);
        let request = format!(
            "POST /api/v1/tasks HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Ok(Self { stream, request })
    }

    /// Creates a task and waits until the server says that it is stored.
    fn create(&mut self) -> Result<()> {
        self.stream.write_all(self.request.as_bytes())?;
        let (mut answer, mut scratch) = (Vec::new(), [0; 4_096]);
        // The task is the end of the answer, and an object.
        while !answer.ends_with(b"}") {
            let length = self.stream.read(&mut scratch)?;
            ensure!(length > 0, "the server closed the connection");
            answer.extend_from_slice(&scratch[..length]);
        }
        ensure!(answer.starts_with(b"HTTP/1.1 201 "), "{}", String::from_utf8_lossy(&answer));
        Ok(())
    }
}
