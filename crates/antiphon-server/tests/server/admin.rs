//! The operator's port: what it serves, and to whom.

use std::sync::Arc;

use antiphon_core::memory::MemoryStore;
use antiphon_server::admin::Settings;
use antiphon_server::config::{Config, Secret};
use antiphon_server::wiring::{self, Extras};
use antiphon_server::{conformance, demo};
use tokio::sync::oneshot;

use crate::support::door::Door;
use crate::support::engine::{Engine, Packet, Transport};
use crate::support::http::{Http, Request, Response, ask};
use crate::support::people::{config, server, settle};
use crate::support::process::Process;
use crate::support::server::{Server, goes_on};
use crate::support::soon;

const TOKEN: &str = "correct-horse-battery-staple";

const PAGES: [&str; 4] = ["/metrics", "/healthz", "/readyz", "/version"];

#[tokio::test]
async fn it_says_how_the_server_is() {
    let server = server(|_| ()).await;
    let mut http = Http::open(&server.admin()).await;
    assert_eq!(http.ask(&Request::get("/healthz")).await.seen(), (200, "ok\n"));
    assert_eq!(http.ask(&Request::get("/readyz")).await.seen(), (200, "ready\n"));
    let version = http.ask(&Request::get("/version")).await;
    assert_eq!(version.seen(), (200, concat!("antiphon ", env!("CARGO_PKG_VERSION"), "\n")));
    assert_eq!(http.ask(&Request::get("/else")).await.status, 404);
    assert_eq!(http.ask(&Request::post("/metrics", "x")).await.status, 405);
    server.stop().await;
}

#[tokio::test]
async fn every_answer_names_its_request_and_is_not_kept() {
    let server = server(|_| ()).await;
    let mut http = Http::open(&server.admin()).await;
    let mut names = Vec::new();
    for path in PAGES.into_iter().chain(["/else"]) {
        let reply = http.ask(&Request::get(path)).await;
        assert_eq!(reply.header("Cache-Control"), Some("no-store"), "{path}");
        names.push(reply.header("X-Request-Id").expect("a name").to_owned());
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 5);
    server.stop().await;
}

#[tokio::test]
async fn in_demo_mode_it_says_so() {
    let mut config = config();
    config.store.ephemeral = true;
    let server = Server::start(config, Extras::demo()).await;
    assert_eq!(ask(&server.admin(), &Request::get("/healthz")).await.seen(), (200, "ok demo=1\n"));
    let metrics = ask(&server.admin(), &Request::get("/metrics")).await;
    assert!(metrics.text().contains("\nantiphon_demo 1\n"), "{}", metrics.text());
    server.stop().await;
}

#[tokio::test]
async fn it_answers_until_the_server_has_stopped() {
    let store = Arc::new(MemoryStore::new());
    settle(&*store).await;
    let mut config = config();
    config.server.drain = 3_600_000;
    let mut extras = Extras::default();
    extras.store = Some(store);
    let mut server = Server::start_as_it_is(config, extras).await;
    let (door, admin) = (server.door(), server.admin());
    let mut first = Engine::open(&door, Transport::Websocket).await;
    let _second = Engine::open(&door, Transport::Websocket).await;
    let mut http = Http::open(&admin).await;
    let (hurry, hurried) = oneshot::channel::<()>();
    let mut stopping = Box::pin(server.stopping(async {
        let _ = hurried.await;
    }));
    assert!(!goes_on(stopping.as_mut()).await);
    assert_eq!(first.next().await, Packet::Over("1001 server stops: reconnect".into()));
    assert_eq!(http.ask(&Request::get("/readyz")).await.seen(), (503, "stopping\n"));
    assert_eq!(http.ask(&Request::get("/healthz")).await.status, 200);
    let metrics = http.ask(&Request::get("/metrics")).await;
    assert!(metrics.text().contains("\nantiphon_ready 0\n"), "{}", metrics.text());
    hurry.send(()).expect("it is listened to");
    soon("the server to hurry", stopping).await;
    // A connection that stays open keeps nothing alive.
    http.ended().await;
    assert!(admin.tcp().await.is_err(), "its port is closed");
}

// ---- who may ask ----

async fn guarded() -> Server {
    server(|config| config.admin.token = Some(Secret::new(TOKEN))).await
}

#[tokio::test]
async fn t33_with_a_token_metrics_are_for_whoever_has_it() {
    let server = guarded().await;
    let mut http = Http::open(&server.admin()).await;
    for authorization in
        ["", "Bearer", "Bearer wrong", &format!("Basic {TOKEN}"), &format!("Bearer {TOKEN}x")]
    {
        for path in ["/metrics", "/else"] {
            let reply = http.ask(&Request::get(path).header("Authorization", authorization)).await;
            assert_eq!(
                (reply.status, reply.header("WWW-Authenticate")),
                (401, Some("Bearer")),
                "{authorization}"
            );
            assert!(!reply.text().contains("antiphon_"), "{authorization}");
        }
    }
    for path in PAGES {
        let reply = http.ask(&Request::get(path).bearer(TOKEN)).await;
        assert_eq!(reply.status, 200, "{path}");
    }
    // What says no more than on the public ports answers anybody, a load balancer say.
    for path in ["/healthz", "/readyz", "/version"] {
        assert_eq!(http.ask(&Request::get(path)).await.status, 200, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn t33_without_a_token_a_web_page_cannot_have_a_name_point_here() {
    let server = server(|_| ()).await;
    let mut http = Http::open(&server.admin()).await;
    for host in ["evil.example", "evil.example:9464", "127.0.0.1.evil.example", ""] {
        let reply = http.ask(&Request::get("/metrics").header("Host", host)).await;
        assert_eq!(reply.status, 403, "{host}");
        assert!(!reply.text().contains("antiphon_"), "{host}");
    }
    for host in ["localhost:9464", "127.0.0.1", "[::1]:9464"] {
        assert_eq!(http.ask(&Request::get("/metrics").header("Host", host)).await.status, 200, "{host}");
    }
    server.stop().await;
}

#[tokio::test]
async fn with_a_token_it_may_have_any_name() {
    let server = guarded().await;
    let request = Request::get("/metrics").header("Host", "metrics.internal:9464");
    let reply = ask(&server.admin(), &request.bearer(TOKEN)).await;
    assert_eq!(reply.status, 200);
    server.stop().await;
}

async fn start(admin: Settings) -> Result<wiring::Running, String> {
    let (mut config, extras) = conformance::server(0);
    config.admin = admin;
    wiring::start(config, extras).await.map_err(|error| format!("{error:#}"))
}

#[tokio::test]
async fn t33_an_address_that_others_reach_needs_a_token() {
    for open in ["0.0.0.0:0", "[::]:0"] {
        let settings = Settings { address: open.parse().expect("an address"), ..Settings::default() };
        let error = start(settings.clone()).await.err().expect("it must not start");
        assert!(error.contains("[admin]") && error.contains("token"), "{error}");
        let disabled = Settings { enabled: false, ..settings.clone() };
        let running = start(disabled).await.expect("what is not served needs no token");
        assert_eq!(running.admin(), None);
        running.stop(std::future::pending()).await;
    }
    let settings = Settings {
        address: "0.0.0.0:0".parse().expect("an address"),
        token: Some(Secret::new(TOKEN)),
        ..Settings::default()
    };
    let running = start(settings).await.expect("a token is enough");
    let address = ([127, 0, 0, 1], running.admin().expect("it is served").port()).into();
    let door = Door { address, path: String::new(), tls: None, receive_buffer: None };
    assert_eq!(ask(&door, &Request::get("/metrics")).await.status, 401);
    running.stop(std::future::pending()).await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("some port is free");
    let address = taken.local_addr().expect("it has an address");
    let error = start(Settings { address, ..Settings::default() }).await.err().expect("it must not start");
    assert!(error.contains("[admin] address") && error.contains(&address.to_string()), "{error}");
}

#[tokio::test]
async fn whoever_asks_nothing_keeps_nobody_from_asking() {
    let server = server(|_| ()).await;
    let mut silent = Vec::new();
    for _ in 0..63 {
        silent.push(Http::open(&server.admin()).await);
    }
    assert_eq!(ask(&server.admin(), &Request::get("/healthz")).await.status, 200);
    server.stop().await;
}

// ---- what nobody else is served ----

/// Whether `reply` is a page of metrics.
fn is_metrics(reply: &Response) -> bool {
    reply.status == 200 && String::from_utf8_lossy(&reply.body).contains("antiphon_build_info")
}

#[test]
fn t33_the_admin_port_is_on_loopback_wherever_nothing_else_is_said() {
    let demo = demo::config(None, demo::Places::Documented(100));
    assert_eq!(demo.admin.address.to_string(), "127.0.0.1:9564");
    assert_eq!(demo::config(None, demo::Places::Free).admin.address.to_string(), "127.0.0.1:0");
    assert_eq!(Config::default().admin.address.to_string(), "127.0.0.1:9464");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn t33_of_all_ports_that_the_program_opens_one_serves_metrics_and_it_is_on_loopback() {
    let program = Process::demo(&[]).await;
    let ports = listening(program.id());
    assert!(ports.contains(&program.admin()) && ports.contains(&program.door().address), "{ports:?}");
    let mut serving = Vec::new();
    for address in ports {
        assert!(address.ip().is_loopback(), "{address}");
        let door = Door { address, path: String::new(), tls: None, receive_buffer: None };
        let mount = program.door().path;
        for path in
            ["/metrics", "/metrics/", "/metrics?", "//metrics", "/admin/metrics", &format!("{mount}/metrics")]
        {
            if is_metrics(&ask(&door, &Request::get(path)).await) {
                serving.push((address, path.to_owned()));
            }
        }
    }
    serving.dedup_by_key(|(address, _)| *address);
    assert_eq!(serving.iter().map(|(address, _)| *address).collect::<Vec<_>>(), [program.admin()]);
    let (status, log) = program.stop().await;
    assert!(status.success(), "{log}");
}

#[tokio::test]
async fn t1_a_page_whose_name_was_made_to_point_at_the_demo_gets_nothing_from_it() {
    let program = Process::demo(&[]).await;
    let door = program.door();
    let handshake = format!("{}/?EIO=4&transport=polling", door.path);
    for path in [handshake.as_str(), "/healthz", "/openapi.json"] {
        let request = Request::get(path);
        assert_eq!(ask(&door, &request).await.status, 200, "{path}, by address");
        let rebound = request.header("Host", "evil.example").header("Origin", "http://evil.example");
        assert_eq!(ask(&door, &rebound).await.status, 403, "{path}, by another name");
    }
    let (status, log) = program.stop().await;
    assert!(status.success(), "{log}");
}

/// The addresses that process `id` listens on, as the kernel has them.
#[cfg(target_os = "linux")]
fn listening(id: u32) -> Vec<std::net::SocketAddr> {
    let read =
        |path: String| std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let sockets: Vec<_> = std::fs::read_dir(format!("/proc/{id}/fd"))
        .expect("it runs, and is ours")
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()?.into_os_string().into_string().ok())
        .filter_map(|target| Some(target.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut found = Vec::new();
    for (table, bytes) in [("tcp", 4), ("tcp6", 16)] {
        for line in read(format!("/proc/{id}/net/{table}")).lines().skip(1) {
            let fields: Vec<_> = line.split_ascii_whitespace().collect();
            // State 0A is LISTEN; field 9 is the inode.
            if fields[3] != "0A" || !sockets.iter().any(|socket| socket == fields[9]) {
                continue;
            }
            let (ip, port) = fields[1].split_once(':').expect("an address and a port");
            let port = u16::from_str_radix(port, 16).expect("a port");
            // Words of 32 bits, each in the machine's own order.
            let words = (0..bytes / 4).flat_map(|word| {
                u32::from_str_radix(&ip[word * 8..word * 8 + 8], 16).expect("hexadecimal").to_ne_bytes()
            });
            let ip: Vec<u8> = words.collect();
            let ip = match <[u8; 4]>::try_from(&ip[..]) {
                Ok(four) => std::net::IpAddr::from(four),
                Err(_) => std::net::IpAddr::from(<[u8; 16]>::try_from(&ip[..]).expect("sixteen bytes")),
            };
            found.push((ip, port).into());
        }
    }
    found
}
