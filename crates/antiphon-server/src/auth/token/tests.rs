//! Tokens good and bad, issuers that publish keys and issuers that are down.

use std::collections::HashMap;
use std::sync::Mutex;

use antiphon_core::refusal::{Code, Fault};
use async_trait::async_trait;
use bytes::Bytes;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm as Alg, EncodingKey, Header};
use serde_json::json;

use super::keyring::{BELIEVED, FRESH, INTERVAL};
use super::*;
use crate::auth::secret;
use crate::auth::settings::Settings;
use crate::config::Secret;

/// 20 November 2026, in seconds.
const SECOND: i64 = 1_795_132_800;
const NOW: Timestamp = Timestamp(SECOND * 1_000);

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Serves documents by address, and remembers what was asked for.
#[derive(Default)]
struct Web {
    documents: Mutex<HashMap<String, String>>,
    asked: Mutex<Vec<String>>,
}

impl Web {
    fn serve(&self, address: &str, keys: &[Value]) {
        self.documents.lock().unwrap().insert(address.into(), json!({"keys": keys}).to_string());
    }

    fn is_down(&self, address: &str) {
        self.documents.lock().unwrap().remove(address);
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl Fetch for Web {
    async fn get(&self, url: &str) -> Result<Bytes, Fault> {
        self.asked.lock().unwrap().push(url.into());
        let documents = self.documents.lock().unwrap();
        documents.get(url).map(|text| text.clone().into()).ok_or_else(|| Fault::new("nothing there"))
    }
}

/// A key pair of an issuer.
struct Pair {
    signs: EncodingKey,
    public_pem: String,
    private_pem: String,
    alg: Alg,
}

impl Pair {
    fn p256() -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let signs = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self { signs, public_pem: pair.public_key_pem(), private_pem: pair.serialize_pem(), alg: Alg::ES256 }
    }

    fn rsa() -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let signs = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self { signs, public_pem: pair.public_key_pem(), private_pem: pair.serialize_pem(), alg: Alg::RS256 }
    }

    /// As it is published.
    fn published(&self, id: &str) -> Value {
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&self.signs, self.alg).unwrap()).unwrap();
        jwk["kid"] = json!(id);
        jwk["use"] = json!("sig");
        jwk
    }

    fn sign(&self, id: Option<&str>, claims: &Value) -> String {
        let header = Header { kid: id.map(Into::into), ..Header::new(self.alg) };
        jsonwebtoken::encode(&header, claims, &self.signs).unwrap()
    }
}

fn hs256(secret: &str, header: Header, claims: &Value) -> String {
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

fn claims(iss: &str) -> Value {
    json!({"iss": iss, "sub": "ada", "exp": SECOND + 600})
}

fn shared_secret(iss: Option<&str>) -> Issuer {
    Issuer {
        name: iss.unwrap_or("nameless").into(),
        issuer: iss.map(Into::into),
        algorithms: vec![Algorithm::Hs256],
        secret: Some(Secret::new(SECRET)),
        ..Issuer::default()
    }
}

fn publishing(iss: &str) -> Issuer {
    Issuer {
        name: iss.into(),
        issuer: Some(iss.into()),
        algorithms: vec![Algorithm::Rs256, Algorithm::Es256],
        jwks: Some(format!("https://{iss}/keys")),
        ..Issuer::default()
    }
}

/// Issuers whose key sets are kept fresh until the sender is dropped.
fn open(issuers: Vec<Issuer>, web: &Arc<Web>) -> (Arc<Issuers>, watch::Sender<bool>) {
    let settings = Settings { issuers, ..Settings::default() };
    settings.check(false).unwrap();
    let issuers = Arc::new(Issuers::open(settings.issuers.iter(), Some(web.clone())).unwrap());
    let (stop, stopped) = watch::channel(false);
    let running = issuers.clone();
    tokio::spawn(async move { running.run(stopped).await });
    (issuers, stop)
}

async fn verify(issuers: &Issuers, token: &str, now: Timestamp) -> Result<Arc<Verified>, Refusal> {
    issuers.verify(token, secret::hash(token), now).await
}

async fn code(issuers: &Issuers, token: &str) -> Option<Code> {
    verify(issuers, token, NOW).await.err().map(|refusal| refusal.code)
}

fn part(value: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
}

#[tokio::test(start_paused = true)]
async fn t29_two_secrets_verify_at_a_time_and_no_third() {
    let previous = "fedcba9876543210fedcba9876543210";
    let issuer = Issuer { previous_secret: Some(Secret::new(previous)), ..shared_secret(Some("app")) };
    let (issuers, _stop) = open(vec![issuer], &Arc::default());
    for secret in [SECRET, previous] {
        let verified =
            verify(&issuers, &hs256(secret, Header::default(), &claims("app")), NOW).await.unwrap();
        assert_eq!(verified.person.as_str(), "ada");
    }
    let third = hs256("a secret of somebody else, long enough", Header::default(), &claims("app"));
    assert_eq!(code(&issuers, &third).await, Some(Code::BadCredential));
}

#[tokio::test(start_paused = true)]
async fn a_verified_token_is_remembered_and_expires_all_the_same() {
    let (issuers, _stop) = open(vec![shared_secret(None)], &Arc::default());
    let token = hs256(SECRET, Header::default(), &json!({"sub": "ada", "exp": SECOND + 600, "jti": "j"}));
    let first = verify(&issuers, &token, NOW).await.unwrap();
    let again = verify(&issuers, &token, NOW).await.unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    assert_eq!(again.id.as_deref(), Some("j"));
    let expired = verify(&issuers, &token, Timestamp((SECOND + 600) * 1_000)).await;
    assert!(expired.is_err_and(|refusal| refusal.code == Code::BadCredential));

    let (rest, signature) = token.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{rest}.{other}{}", &signature[1..]);
    assert_eq!(code(&issuers, &forged).await, Some(Code::BadCredential));
}

#[tokio::test(start_paused = true)]
async fn t18_a_token_cannot_choose_how_it_is_verified() {
    let pair = Pair::rsa();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key.pem");
    std::fs::write(&path, &pair.public_pem).unwrap();
    let keys = Issuer {
        name: "keys".into(),
        issuer: Some("keys".into()),
        algorithms: vec![Algorithm::Rs256],
        key_file: vec![path],
        ..Issuer::default()
    };
    let (issuers, _stop) = open(vec![keys, shared_secret(Some("app"))], &Arc::default());
    let good = pair.sign(None, &claims("keys"));
    assert_eq!(code(&issuers, &good).await, None);

    let (header, rest) = good.split_once('.').unwrap();
    let unsigned =
        |alg: &str| format!("{}.{}.", part(&json!({"alg": alg, "typ": "JWT"})), part(&claims("keys")));
    let elliptic = Pair::p256().sign(None, &claims("keys"));
    for (what, token) in [
        ("no algorithm", unsigned("none")),
        ("no algorithm, loudly", unsigned("NONE")),
        ("the public key as a secret", hs256(&pair.public_pem, Header::default(), &claims("keys"))),
        ("an algorithm the issuer does not use", elliptic),
        ("another issuer's key", pair.sign(None, &claims("app"))),
        ("another issuer's secret", hs256(SECRET, Header::default(), &claims("keys"))),
        ("nobody's issuer", pair.sign(None, &claims("unheard of"))),
        ("no issuer", pair.sign(None, &json!({"sub": "ada", "exp": SECOND + 600}))),
        ("a list of issuers", pair.sign(None, &json!({"iss": ["keys"], "sub": "ada", "exp": SECOND + 600}))),
        ("an extension that must be understood", {
            let critical = Header { crit: Some(vec!["b64".into()]), ..Header::new(Alg::RS256) };
            jsonwebtoken::encode(&critical, &claims("keys"), &pair.signs).unwrap()
        }),
        ("a token for another purpose", {
            let logout = Header { typ: Some("logout+jwt".into()), ..Header::new(Alg::RS256) };
            jsonwebtoken::encode(&logout, &claims("keys"), &pair.signs).unwrap()
        }),
        ("no header", format!("e30.{rest}")),
        ("no claims", format!("{header}.e30.c2ln")),
        ("claims that are no object", format!("{header}.W10.c2ln")),
        ("claims that are no JSON", format!("{header}.c2ln.c2ln")),
    ] {
        assert_eq!(code(&issuers, &token).await, Some(Code::BadCredential), "{what}");
    }
    let access = Header { typ: Some("at+JWT".into()), ..Header::new(Alg::RS256) };
    let access = jsonwebtoken::encode(&access, &claims("keys"), &pair.signs).unwrap();
    assert_eq!(code(&issuers, &access).await, None);
}

#[tokio::test(start_paused = true)]
async fn t18_no_address_comes_from_a_token() {
    // GHSA-j77h-rr39-c552: the key set's address was built from claims that nobody had verified.
    let (pair, web) = (Pair::p256(), Arc::<Web>::default());
    web.serve("https://id.example/keys", &[pair.published("k")]);
    let evil = Pair::p256();
    for address in ["https://evil.example/keys", "http://169.254.169.254/keys"] {
        web.serve(address, &[evil.published("k"), evil.published("other")]);
    }
    let (issuers, _stop) = open(vec![publishing("id.example")], &web);
    assert_eq!(code(&issuers, &pair.sign(Some("k"), &claims("id.example"))).await, None);

    for kid in ["k", "other", "../../evil.example/keys", "https://evil.example/keys", "' OR 1=1 --"] {
        for iss in ["id.example", "evil.example", "https://evil.example", "id.example/../../169.254.169.254"]
        {
            let header = Header {
                kid: Some(kid.into()),
                jku: Some("https://evil.example/keys".into()),
                x5u: Some("http://169.254.169.254/keys".into()),
                jwk: Some(Jwk::from_encoding_key(&evil.signs, Alg::ES256).unwrap()),
                ..Header::new(Alg::ES256)
            };
            let token = jsonwebtoken::encode(&header, &claims(iss), &evil.signs).unwrap();
            assert_eq!(code(&issuers, &token).await, Some(Code::BadCredential), "{kid} {iss}");
        }
    }
    assert!(web.asked().iter().all(|address| address == "https://id.example/keys"), "{:?}", web.asked());
}

#[tokio::test(start_paused = true)]
async fn t18_a_key_belongs_to_its_issuer_whatever_it_is_called() {
    // GHSA-g6vg-wj8f-48cj: keys were remembered by `kid` alone, so one tenant's key verified another's tokens.
    let (ours, theirs, web) = (Pair::p256(), Pair::p256(), Arc::<Web>::default());
    web.serve("https://a.example/keys", &[ours.published("k")]);
    web.serve("https://b.example/keys", &[theirs.published("k")]);
    let (issuers, _stop) = open(vec![publishing("a.example"), publishing("b.example")], &web);
    for _ in 0..2 {
        assert_eq!(code(&issuers, &ours.sign(Some("k"), &claims("a.example"))).await, None);
        assert_eq!(code(&issuers, &theirs.sign(Some("k"), &claims("b.example"))).await, None);
        for forged in
            [theirs.sign(Some("k"), &claims("a.example")), ours.sign(Some("k"), &claims("b.example"))]
        {
            assert_eq!(code(&issuers, &forged).await, Some(Code::BadCredential));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn t18_unknown_keys_make_the_set_be_fetched_once_in_an_interval() {
    let (old, new, web) = (Pair::p256(), Pair::rsa(), Arc::<Web>::default());
    let address = "https://id.example/keys";
    web.serve(address, &[old.published("old")]);
    let (issuers, _stop) = open(vec![publishing("id.example")], &web);
    assert_eq!(code(&issuers, &old.sign(Some("old"), &claims("id.example"))).await, None);
    assert_eq!(web.asked().len(), 1);

    web.serve(address, &[old.published("old"), new.published("new")]);
    for number in 0..50 {
        let unknown = new.sign(Some(&format!("guess-{number}")), &claims("id.example"));
        assert_eq!(code(&issuers, &unknown).await, Some(Code::BadCredential));
    }
    assert_eq!(
        code(&issuers, &new.sign(Some("new"), &claims("id.example"))).await,
        Some(Code::BadCredential)
    );
    assert_eq!(web.asked().len(), 1, "the set was fetched a moment ago");

    tokio::time::advance(INTERVAL).await;
    let token = new.sign(Some("new"), &claims("id.example"));
    let both = tokio::join!(code(&issuers, &token), code(&issuers, &token));
    assert_eq!(both, (None, None), "whoever asks waits for the set");
    assert_eq!(web.asked().len(), 2);
    for number in 0..50 {
        code(&issuers, &new.sign(Some(&format!("guess-{number}")), &claims("id.example"))).await;
    }
    assert_eq!(web.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn t18_a_key_that_is_taken_back_takes_its_tokens_along() {
    let (old, new, web) = (Pair::p256(), Pair::p256(), Arc::<Web>::default());
    let address = "https://id.example/keys";
    web.serve(address, &[old.published("old")]);
    let (issuers, _stop) = open(vec![publishing("id.example")], &web);
    let token = old.sign(Some("old"), &claims("id.example"));
    assert_eq!(code(&issuers, &token).await, None);
    web.serve(address, &[new.published("new")]);
    tokio::time::sleep(FRESH).await;
    assert_eq!(code(&issuers, &new.sign(Some("new"), &claims("id.example"))).await, None);
    assert_eq!(code(&issuers, &token).await, Some(Code::BadCredential));
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_down_is_believed_for_an_hour() {
    let (pair, web) = (Pair::p256(), Arc::<Web>::default());
    let address = "https://id.example/keys";
    let (issuers, _stop) = open(vec![publishing("id.example")], &web);
    let token = |number: u32| {
        pair.sign(
            Some("k"),
            &json!({"iss": "id.example", "sub": "ada", "exp": SECOND + 600, "jti": number.to_string()}),
        )
    };
    let unavailable =
        |code: Option<Code>| matches!(code, Some(Code::Unavailable { retry_after }) if retry_after > 0);
    assert!(unavailable(code(&issuers, &token(0)).await), "it was never reached");

    web.serve(address, &[pair.published("k")]);
    tokio::time::advance(INTERVAL).await;
    assert_eq!(code(&issuers, &token(1)).await, None);
    web.is_down(address);
    tokio::time::sleep(BELIEVED - INTERVAL).await;
    assert_eq!(code(&issuers, &token(2)).await, None);
    tokio::time::sleep(INTERVAL).await;
    assert!(unavailable(code(&issuers, &token(3)).await), "nothing was heard for an hour");
    web.serve(address, &[pair.published("k")]);
    tokio::time::sleep(INTERVAL).await;
    assert_eq!(code(&issuers, &token(4)).await, None);
}

#[tokio::test(start_paused = true)]
async fn t18_what_is_no_signature_key_in_a_set_is_passed_over() {
    let (pair, other, web) = (Pair::p256(), Pair::p256(), Arc::<Web>::default());
    let with = |key: &str, value: Value, id: &str| {
        let mut published = pair.published(id);
        published[key] = value;
        published
    };
    let secret =
        json!({"kty": "oct", "k": BASE64_URL_SAFE_NO_PAD.encode(SECRET), "kid": "secret", "alg": "HS256"});
    let keys = [
        json!({"kty": "unheard of"}),
        json!("not a key"),
        secret,
        with("use", json!("enc"), "encrypts"),
        with("key_ops", json!(["sign"]), "signs"),
        with("alg", json!("ES384"), "another"),
        with("alg", json!("unheard of"), "unheard of"),
        pair.published("one"),
        other.published("two"),
    ];
    web.serve("https://id.example/keys", &keys);
    let (issuers, _stop) = open(vec![publishing("id.example")], &web);
    let said = claims("id.example");
    assert_eq!(code(&issuers, &pair.sign(Some("one"), &said)).await, None);
    for id in ["encrypts", "signs", "another", "unheard of", "secret"] {
        assert_eq!(code(&issuers, &pair.sign(Some(id), &said)).await, Some(Code::BadCredential), "{id}");
    }
    let symmetric = hs256(SECRET, Header { kid: Some("secret".into()), ..Header::default() }, &said);
    assert_eq!(code(&issuers, &symmetric).await, Some(Code::BadCredential));
    assert_eq!(
        code(&issuers, &pair.sign(None, &said)).await,
        Some(Code::BadCredential),
        "there are two to choose from"
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_without_a_kid_is_verified_with_the_only_key() {
    let (pair, web) = (Pair::rsa(), Arc::<Web>::default());
    web.serve(
        "https://id.example/keys",
        &[pair.published("only"), Pair::p256().published("of another kind")],
    );
    let (issuers, _stop) = open(vec![publishing("id.example")], &web);
    assert_eq!(code(&issuers, &pair.sign(None, &claims("id.example"))).await, None);
}

#[tokio::test(start_paused = true)]
async fn key_files_hold_public_keys_of_the_configured_kinds() {
    let (rsa, elliptic) = (Pair::rsa(), Pair::p256());
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let issuer = |algorithms: &[Algorithm], key_file| Issuer {
        name: "app".into(),
        issuer: Some("app".into()),
        algorithms: algorithms.to_vec(),
        key_file,
        ..Issuer::default()
    };
    let files = vec![write("a.pem", &rsa.public_pem), write("b.pem", &elliptic.public_pem)];
    let both = issuer(&[Algorithm::Rs256, Algorithm::Es256], files.clone());
    let (issuers, _stop) = open(vec![both], &Arc::default());
    for pair in [&rsa, &elliptic] {
        assert_eq!(code(&issuers, &pair.sign(Some("any"), &claims("app"))).await, None);
        assert_eq!(code(&issuers, &pair.sign(None, &claims("app"))).await, None);
    }
    for (algorithms, file, named) in [
        (Algorithm::Rs256, files[1].clone(), "algorithms"),
        (Algorithm::Rs256, write("private.pem", &rsa.private_pem), "private"),
        (Algorithm::Es256, write("none.pem", "hello"), "no public"),
        (Algorithm::Es256, directory.path().join("missing.pem"), "cannot read"),
    ] {
        let settings = Settings { issuers: vec![issuer(&[algorithms], vec![file])], ..Settings::default() };
        let error = format!("{:#}", Issuers::open(settings.issuers.iter(), None).err().unwrap());
        assert!(error.contains(named), "{error}");
    }
}
