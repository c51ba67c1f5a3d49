//! Whether the real program ever repeats a secret: on standard output or error while it logs everything there is, in its metrics,
//! or in what it tells a client that did something wrong.
//!
//! Every kind of secret takes part in one long scenario, in which it is used as it should be and in every wrong place where
//! somebody may put it by mistake. What everybody hears meanwhile is written down and searched in the end.

use std::net::SocketAddr;
use std::process::Command;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{EncodingKey, Header};
use k256::ecdsa::SigningKey;
use serde_json::{Value, json};
use sha3::{Digest as _, Keccak256};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::client::Client;
use crate::support::door::Door;
use crate::support::engine::{Engine, Packet, Transport};
use crate::support::http::{Request, Response, ask};
use crate::support::process::Process;
use crate::support::soon;

/// Who was told what, and what nobody may be told.
#[derive(Default)]
struct Journal {
    /// What each secret is, and the secret.
    secrets: Vec<(&'static str, String)>,
    /// Where something was said, and what.
    said: Vec<(String, String)>,
    refusals: usize,
}

impl Journal {
    /// A secret of the test's own making.
    fn plant(&mut self, what: &'static str, secret: &str) -> String {
        assert!(secret.len() >= 12, "{secret} could be seen by chance");
        self.secrets.push((what, secret.to_owned()));
        secret.to_owned()
    }

    /// Writes down what a client is told that was refused something.
    fn refused(&mut self, place: &str, text: &str) {
        self.refusals += 1;
        self.said.push((place.to_owned(), text.to_owned()));
    }

    /// Panics if a secret stands anywhere in what was said, as it is or encoded.
    fn check(&self) {
        let mut found = Vec::new();
        for (what, secret) in &self.secrets {
            let hexadecimal: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
            let encoded = [BASE64_STANDARD_NO_PAD.encode(secret), BASE64_URL_SAFE_NO_PAD.encode(secret)];
            for form in [secret.clone(), hexadecimal].iter().chain(&encoded) {
                for (place, text) in &self.said {
                    if let Some(at) = text.find(form.as_str()) {
                        let from = text[..at].rfind('\n').map_or(0, |end| end + 1);
                        found.push(format!("the {what} in {place}: {}…", &text[from..at]));
                    }
                }
            }
        }
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}

/// The server and its secrets.
struct House {
    process: Process,
    journal: Journal,
    api_key: String,
    service_key: String,
    token_secret: String,
    admin_token: String,
    _files: TempDir,
}

impl House {
    /// A server that tells `hook` what happens.
    async fn build(hook: SocketAddr) -> Self {
        let mut journal = Journal::default();
        let files = tempfile::tempdir().expect("a directory for the files");
        let data = files.path().join("data");
        let api_key = journal.plant("API key", "canary-api-key-0d94");
        let token_secret = journal.plant("issuer's secret", "canary-issuer-secret-of-more-than-32-bytes");
        let admin_token = journal.plant("admin token", "canary-admin-token-61aa");
        let webhook = BASE64_STANDARD_NO_PAD.encode("canary: thirty bytes of secret");
        let webhook = format!("whsec_{}", journal.plant("webhook's secret", &webhook));
        journal.plant("webhook's secret, decoded", "canary: thirty bytes of secret");
        for (name, content) in [("token", &admin_token), ("issuer", &token_secret), ("hook", &webhook)] {
            std::fs::write(files.path().join(name), format!("{content}\n")).expect("a file of ours");
        }
        let config = format!(
            r#"
[server]
data = "{files}/data"
drain = 0
cores = 1
[[listener]]
address = "127.0.0.1:0"
api = true
[[listener.mount]]
path = "/api/socketio"
dialects = ["chat"]
[admin]
address = "127.0.0.1:0"
token_file = "{files}/token"
[auth]
domain = ["localhost:3000"]
[[auth.issuer]]
name = "app"
algorithms = ["HS256"]
secret_file = "{files}/issuer"
[limits]
events_per_second = 0
[api]
logins_per_minute = 100000
[outbound]
allow = ["127.0.0.1"]
[[webhook]]
url = "http://{hook}/hook"
secret_file = "{files}/hook"
[model]
kind = "echo"
chunk_delay = 0
"#,
            files = files.path().display(),
        );
        let path = files.path().join("antiphon.toml");
        std::fs::write(&path, config).expect("a file of ours");
        let people = format!(
            r#"{{"kind":"person","id":"ada","plan":"enterprise"}}
{{"kind":"key","person":"ada","key":"{api_key}"}}
{{"kind":"agent","id":"luna","owner":"ada","name":"Luna"}}"#
        );
        std::fs::write(files.path().join("people"), people).expect("a file of ours");
        let data = data.to_str().expect("a path that is text");
        let in_files = |name: &str| files.path().join(name).display().to_string();
        let (_, log) = antiphon(&["import", "--data", data, &in_files("people")]);
        journal.said.push(("the log of an import".into(), log));
        let (service_key, log) = antiphon(&["service-key", "create", "shop", "--data", data]);
        journal.said.push(("the log of making a key".into(), log));
        let service_key = journal.plant("service key", service_key.trim());
        for print in
            [vec!["config", "print"], vec!["config", "print", "--format", "json"], vec!["config", "check"]]
        {
            let config = in_files("antiphon.toml");
            let (printed, log) = antiphon(&[&print[..], &["--config", &config]].concat());
            journal.said.push((print.join(" "), printed + &log));
        }
        let process = Process::configured(&path, &[("ANTIPHON_LOG", "trace")]).await;
        Self { process, journal, api_key, service_key, token_secret, admin_token, _files: files }
    }

    fn door(&self) -> Door {
        self.process.door()
    }

    /// Sends `body` as JSON to the HTTP API, with `bearer` if it is not empty. What is refused is written down.
    async fn send(&mut self, method: &str, path: &str, bearer: &str, body: &str) -> Response {
        let mut request = Request::new(method, path).json(body);
        if !bearer.is_empty() {
            request = request.bearer(bearer);
        }
        let response = told(&self.door(), &request).await;
        if response.status >= 400 {
            self.journal.refused(&format!("the answer to {method} {path}"), response.text());
        }
        response
    }

    /// The same; it has to be done. Returns what it answers.
    async fn done(&mut self, method: &str, path: &str, bearer: &str, body: Value) -> Value {
        let response = self.send(method, path, bearer, &body.to_string()).await;
        assert!(response.status < 300, "{method} {path}: {}", response.text());
        serde_json::from_str(response.text()).unwrap_or_default()
    }

    /// The same; it has to be refused.
    async fn wrong(&mut self, method: &str, path: &str, bearer: &str, body: &str) {
        let response = self.send(method, path, bearer, body).await;
        assert!(response.status >= 400, "{method} {path} {body}: {}", response.text());
    }

    /// Connects with a credential that is good.
    async fn connect(&mut self, transport: Transport, token: &str) -> Client {
        Box::pin(Client::connect(&self.door(), transport, &json!({ "token": token }).to_string())).await
    }

    /// Connects with what is no credential.
    async fn stay_out(&mut self, transport: Transport, auth: Value) {
        match Box::pin(Client::try_connect(&self.door(), transport, &auth.to_string())).await {
            Ok(_) => panic!("what is no credential lets somebody in"),
            Err(error) => self.journal.refused("a CONNECT_ERROR", &error.to_string()),
        }
    }

    /// Asks something that is refused.
    async fn ask_wrongly(&mut self, client: &mut Client, event: &str, payload: Value) {
        let id = Box::pin(client.ask(event, &payload.to_string())).await;
        let ack = Box::pin(client.ack(id)).await;
        assert_eq!(ack["ok"], false, "{event} {payload}: {ack}");
        self.journal.refused(&format!("the acknowledgement of {event}"), &ack.to_string());
        for (name, payload) in client.events() {
            self.journal.said.push((format!("{name} after {event}"), payload.to_string()));
        }
    }
}

#[tokio::test]
async fn p21_t27_no_secret_is_repeated_by_the_real_program_wherever_it_is_put() {
    let hook = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let mut house = House::build(hook.local_addr().expect("it is bound")).await;
    let delivery = tokio::spawn(fail_a_delivery(hook));
    let (api_key, service_key) = (house.api_key.clone(), house.service_key.clone());
    let issued = house.done("POST", "/v1/keys", &service_key, json!({"person": "ada"})).await;
    let issued_key = text(&issued["secret"]);
    house.journal.plant("issued key", &issued_key);
    let token = signed(&house.token_secret, "ada");
    house.journal.plant("signed token", &token);
    let signature = token.rsplit('.').next().expect("a token has parts").to_owned();
    house.journal.plant("signature of the token", &signature);
    let password = house.journal.plant("password", "canary-password-c01d");
    house.done("PUT", "/v1/people/ada/password", &service_key, json!({ "password": password })).await;
    let session = house.done("POST", "/v1/login", "", json!({"person": "ada", "password": password})).await;
    let (session, refresh) = (text(&session["token"]), text(&session["refreshToken"]));
    house.journal.plant("session token", &session);
    house.journal.plant("refresh token", &refresh);
    let (wallet_session, nonce) = Box::pin(wallet(&mut house)).await;
    let said = house.journal.plant("message of somebody", "canary: what I only tell Luna");

    let wrong = [
        house.journal.plant("wrong key", "canary-nobodys-key"),
        house.journal.plant("wrong session", "ses_canary-nobodys-session-0123456789abcdef"),
        signed("another secret, which nobody here has ever heard of", "ada"),
    ];
    house.journal.plant("wrong token", &wrong[2]);

    for transport in [Transport::Websocket, Transport::Polling] {
        for good in [&api_key, &issued_key, &token, &session, &wallet_session] {
            let mut client = house.connect(transport, good).await;
            // Luna is Ada's alone, not of whoever the wallet belongs to.
            if *good != wallet_session {
                Box::pin(converse(&mut client, &said)).await;
            }
            let refreshed = client.ask("antiphon:refresh", &json!({"token": good}).to_string()).await;
            let ack = client.ack(refreshed).await;
            assert_eq!(ack["ok"], true, "{ack}");
            Box::pin(misuse(&mut house, &mut client, good, &wrong)).await;
        }
        for wrong in wrong.iter().chain([&nonce, &password, &refresh]) {
            house.stay_out(transport, json!({ "token": wrong })).await;
            house.stay_out(transport, json!({ "token": [wrong] })).await;
            house.stay_out(transport, json!({ "apiKey": wrong })).await;
        }
    }
    Box::pin(put_into_addresses(&mut house, &[&api_key, &token, &session])).await;
    let good = [&api_key, &issued_key, &token, &session, &refresh, &password, &nonce];
    Box::pin(put_into_requests(&mut house, &good, &wrong)).await;
    house.wrong("POST", "/v1/login", "", &json!({"person": "ada", "password": wrong[0]}).to_string()).await;
    let renewed = house.done("POST", "/v1/login/refresh", "", json!({ "refreshToken": refresh })).await;
    house.journal.plant("second session token", &text(&renewed["token"]));
    house.wrong("POST", "/v1/login/refresh", "", &json!({ "refreshToken": refresh }).to_string()).await;
    house.done("POST", "/v1/revocations", &service_key, json!({"person": "ada"})).await;
    house.done("POST", "/v1/logout", &wallet_session, Value::Null).await;
    for dead in [&api_key, &issued_key, &token, &wallet_session] {
        house.stay_out(Transport::Websocket, json!({ "token": dead })).await;
    }
    soon("a delivery", delivery).await.expect("nothing panicked");
    Box::pin(read_metrics(&mut house)).await;

    let House { process, mut journal, .. } = house;
    let (status, output, log) = process.end().await;
    assert!(status.success(), "{status}: {log}");
    let traced = log.matches(r#""level":"TRACE""#).count() + log.matches(r#""level":"DEBUG""#).count();
    assert!(traced > 100, "only {traced} lines of the log are for developers, so nothing was proven");
    assert!(journal.refusals > 150, "{} refusals", journal.refusals);
    journal.said.push(("standard output".into(), output));
    journal.said.push(("the log".into(), log));
    journal.check();
}

/// A whole conversation.
async fn converse(client: &mut Client, said: &str) {
    let asked = client.ask("chat:message", &json!({"agentId": "luna", "message": said}).to_string()).await;
    let ack = client.ack(asked).await;
    assert_eq!(ack["ok"], true, "{ack}");
    client.event_named("chat:message:complete").await;
    client.events();
}

/// Sends a credential in every place of an event where it does not belong.
async fn misuse(house: &mut House, client: &mut Client, good: &str, wrong: &[String]) {
    house.ask_wrongly(client, "chat:message", json!({"agentId": "luna", "message": {"token": good}})).await;
    house.ask_wrongly(client, "chat:message", json!({"agentId": good, "message": "Hello"})).await;
    house
        .ask_wrongly(client, "chat:message", json!({"agentId": "luna", "message": "Hello", "userId": good}))
        .await;
    house.ask_wrongly(client, "chat:message", json!(good)).await;
    house.ask_wrongly(client, "chat:join", json!({"token": good})).await;
    house.ask_wrongly(client, "chat:typing", json!({"agentId": "luna", "isTyping": good})).await;
    for token in [json!([good]), json!({"token": good}), json!(7)] {
        house.ask_wrongly(client, "antiphon:refresh", json!({ "token": token })).await;
    }
    house.ask_wrongly(client, "antiphon:refresh", json!(good)).await;
    for wrong in wrong {
        house.ask_wrongly(client, "antiphon:refresh", json!({ "token": wrong })).await;
    }
}

/// Puts credentials into addresses, where proxies and logs see them.
async fn put_into_addresses(house: &mut House, credentials: &[&str]) {
    let door = house.door();
    for credential in credentials {
        for target in [
            door.target(&format!("EIO=4&transport=polling&token={credential}")),
            door.target(&format!("EIO=4&transport=polling&sid={credential}")),
            door.target(&format!("EIO=4&transport={credential}")),
            door.target(&format!("EIO={credential}&transport=polling")),
            format!("/v1/people?after={credential}"),
            format!("/v1/people/{credential}"),
            format!("/v1/{credential}"),
            format!("/{credential}"),
        ] {
            let response = told(&door, &Request::get(&target)).await;
            if response.status >= 400 {
                house.journal.refused("the answer to an address", response.text());
            }
        }
        for packet in
            [credential.to_string(), format!("40{}", json!(credential)), format!("42{}", json!([credential]))]
        {
            let mut engine = Box::pin(Engine::open(&door, Transport::Websocket)).await;
            Box::pin(engine.send(&packet)).await;
            if let Packet::Over(how) = Box::pin(engine.next()).await {
                house.journal.refused("the end of a connection", &how);
            }
        }
    }
}

/// Puts credentials into requests in ways that are not documented.
async fn put_into_requests(house: &mut House, good: &[&String], wrong: &[String]) {
    let service_key = house.service_key.clone();
    for secret in good.iter().copied().chain(wrong) {
        house.wrong("GET", "/v1/status", secret, "").await;
        house.wrong("POST", "/v1/commands", secret, "{}").await;
        let quoted = json!(secret).to_string();
        for path in ["/v1/login", "/v1/login/refresh", "/v1/login/wallet", "/v1/login/wallet/nonce"] {
            for body in
                [quoted.clone(), format!("[{quoted}]"), format!(r#"{{"person":"ada","password":{quoted}"#)]
            {
                house.wrong("POST", path, "", &body).await;
            }
        }
        for path in ["/v1/commands", "/v1/keys", "/v1/revocations", "/v1/people/ada/notices"] {
            house.wrong("POST", path, &service_key, &quoted).await;
        }
        for body in [
            json!({ "token": secret }),
            json!({"person": "ada", "session": secret}),
            json!({"session": [secret]}),
            json!({"person": {"token": secret}}),
        ] {
            house.wrong("POST", "/v1/revocations", &service_key, &body.to_string()).await;
        }
        let body = json!({"person": "ada", "password": [secret]}).to_string();
        house.wrong("POST", "/v1/login", "", &body).await;
        house
            .wrong("PUT", "/v1/people/ada/password", &service_key, &json!({"password": [secret]}).to_string())
            .await;
        house.wrong("POST", "/v1/logout", "", "").await;
    }
    let door = house.door();
    for scheme in ["Basic", "bearer", "Token"] {
        let request = Request::get("/v1/status").header("Authorization", &format!("{scheme} {}", wrong[0]));
        let response = told(&door, &request).await;
        assert_eq!(response.status, 401);
        house.journal.refused("the answer to another scheme", response.text());
    }
}

/// Signs in with a wallet, first wrongly; returns the session's token and the nonce.
async fn wallet(house: &mut House) -> (String, String) {
    let key = SigningKey::from_slice(&[7; 32]).expect("a number below the order of the curve");
    let point = key.verifying_key().to_encoded_point(false);
    let address = Keccak256::digest(&point.as_bytes()[1..]);
    let address = format!("0x{}", hexadecimal(&address[12..]));
    let challenge = house.done("POST", "/v1/login/wallet/nonce", "", json!({ "address": address })).await;
    let (nonce, message) = (text(&challenge["nonce"]), text(&challenge["message"]));
    house.journal.plant("nonce", &nonce);
    let prefixed = format!("\x19Ethereum Signed Message:\n{}{message}", message.len());
    let sign = |text: &str| {
        let (signature, recovery) =
            key.sign_prehash_recoverable(&Keccak256::digest(text)).expect("a hash can be signed");
        format!("0x{}{:02x}", hexadecimal(&signature.to_bytes()), 27 + recovery.to_byte())
    };
    let signature = sign(&prefixed);
    house.journal.plant("signature of the wallet", &signature);
    for (message, signature) in [
        (message.clone(), sign(&message)),
        (message.replace("localhost", "elsewhere"), signature.clone()),
        (message.replace(&nonce, "0123456789abcdef"), signature.clone()),
        (message.replace("Nonce", "Once"), signature.clone()),
        (message.clone(), signature.replace("0x", "0y")),
    ] {
        let body = json!({ "message": message, "signature": signature }).to_string();
        house.wrong("POST", "/v1/login/wallet", "", &body).await;
    }
    let good = json!({ "message": message, "signature": signature });
    let session = house.done("POST", "/v1/login/wallet", "", good.clone()).await;
    house.wrong("POST", "/v1/login/wallet", "", &good.to_string()).await;
    let session = text(&session["token"]);
    house.journal.plant("session of the wallet", &session);
    (session, nonce)
}

/// Refuses a delivery, so that there is something to log about it. Later ones find nobody.
async fn fail_a_delivery(hook: TcpListener) {
    let (mut stream, _) = hook.accept().await.expect("a connection");
    let mut head = [0; 4_096];
    let length = stream.read(&mut head).await.expect("bytes");
    assert!(head[..length].starts_with(b"POST /hook"));
    let refusal = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    stream.write_all(refusal).await.expect("it listens");
}

/// Reads the metrics, also without the right to.
async fn read_metrics(house: &mut House) {
    let door = Door { address: house.process.admin(), path: String::new(), tls: None, receive_buffer: None };
    let token = house.admin_token.clone();
    for request in [
        Request::get("/metrics"),
        Request::get("/metrics").header("Authorization", &format!("Basic {token}")),
        Request::get(&format!("/metrics?token={token}")),
        Request::get("/metrics").bearer(&house.api_key),
    ] {
        let response = told(&door, &request).await;
        assert_eq!(response.status, 401);
        house.journal.refused("an answer of the admin port", response.text());
    }
    let metrics = told(&door, &Request::get("/metrics").bearer(&token)).await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.text().contains("antiphon_refusals_total"));
    house.journal.said.push(("the metrics".into(), metrics.text().to_owned()));
}

/// What a command of the program writes to standard output and error; it has to be content.
fn antiphon(arguments: &[&str]) -> (String, String) {
    let done =
        Command::new(env!("CARGO_BIN_EXE_antiphon")).args(arguments).output().expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("what it writes is text");
    let (output, log) = (text(done.stdout), text(done.stderr));
    assert!(done.status.success(), "{arguments:?}: {log}");
    (output, log)
}

/// What the server answers. Kept on the heap: whoever asks a hundred things in one scenario would hold a hundred buffers.
async fn told(door: &Door, request: &Request) -> Response {
    Box::pin(ask(door, request)).await
}

/// A token for `person`, good for an hour.
fn signed(secret: &str, person: &str) -> String {
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is later than 1970");
    let claims = json!({"sub": person, "exp": now.as_secs() + 3_600, "jti": "canary"});
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(secret.as_bytes()))
        .expect("claims can be signed")
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}
