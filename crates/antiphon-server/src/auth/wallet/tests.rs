//! Wallets that sign in, and messages that come a second time.

use std::collections::HashSet;

use antiphon_core::actor::Plan;
use antiphon_core::memory::MemoryStore;
use antiphon_core::ports::{Logins as _, People as _};
use antiphon_core::refusal::Code;
use futures_util::future::join_all;
use k256::ecdsa::SigningKey;
use sha3::{Digest as _, Keccak256};

use super::*;

const NOW: Timestamp = Timestamp(1_795_176_000_000);

/// Whoever has the key 0x4646….
const ADDRESS: &str = "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F";

fn sign(key: u8, message: &str) -> String {
    let key = SigningKey::from_slice(&[key; 32]).unwrap();
    let text = format!("\x19Ethereum Signed Message:\n{}{message}", message.len());
    let (signature, recovery) = key.sign_prehash_recoverable(&Keccak256::digest(text)).unwrap();
    format!("0x{}{}", secret::hex(&signature.to_bytes()), secret::hex(&[27 + recovery.to_byte()]))
}

async fn wallets(people: People) -> (Wallets, Arc<MemoryStore>) {
    let store = Arc::new(MemoryStore::new());
    let plan =
        Plan { name: "free".into(), connections_per_minute: None, messages_per_month: None, agents: None };
    store.put_plan(&plan).await.unwrap();
    let settings =
        Settings { domain: vec!["app.example.org".into()], wallets: people, ..Settings::default() };
    (Wallets::new(store.clone(), &settings), store)
}

async fn message(wallets: &Wallets, address: &str) -> String {
    let challenge = wallets.challenge(NOW).await.unwrap();
    wallets.message(address, &challenge, NOW).unwrap()
}

fn code(denied: &Denied) -> Code {
    match denied {
        Denied::Refused(refusal) => refusal.code.clone(),
        Denied::Broken(fault) => panic!("{fault}"),
    }
}

#[tokio::test]
async fn t4_a_wallet_signature_proves_the_wallet_once_and_not_twice() {
    let (wallets, store) = wallets(People::Create).await;
    let message = message(&wallets, &ADDRESS.to_lowercase()).await;
    let signature = sign(0x46, &message);
    let person = wallets.prove(&message, &signature, Some(ADDRESS), NOW).await.unwrap();
    assert_eq!(store.person_by_wallet(ADDRESS).await.unwrap().as_ref(), Some(&person));
    assert_eq!(store.person(&person).await.unwrap().unwrap().plan, "free");
    let again = wallets.prove(&message, &signature, Some(ADDRESS), NOW).await.unwrap_err();
    assert_eq!(code(&again), Code::BadCredential);
    // The same nonce in another message is as used up.
    let other = message.replace("costs nothing", "costs little");
    let reused = wallets.prove(&other, &sign(0x46, &other), None, NOW).await.unwrap_err();
    assert_eq!(code(&reused), Code::BadCredential);
}

#[tokio::test]
async fn t4_a_signature_that_proves_nothing_does_not_use_the_nonce_up() {
    let (wallets, _) = wallets(People::Create).await;
    let message = message(&wallets, ADDRESS).await;
    let good = sign(0x46, &message);
    for (wrong, claimed) in
        [(sign(0x47, &message), None), (sign(0x46, "other"), None), (good.clone(), Some("0x00"))]
    {
        let denied = wallets.prove(&message, &wrong, claimed, NOW).await.unwrap_err();
        assert_eq!(code(&denied), Code::BadCredential);
    }
    wallets.prove(&message, &good, Some(&ADDRESS.to_uppercase().replace("0X", "0x")), NOW).await.unwrap();
}

#[tokio::test]
async fn t4_a_nonce_of_somebody_else_or_of_five_minutes_ago_is_refused() {
    let (wallets, _) = wallets(People::Create).await;
    let message = message(&wallets, ADDRESS).await;
    let invented = message
        .replace(message.split("Nonce: ").nth(1).unwrap().split('\n').next().unwrap(), "0123456789abcdef");
    assert!(wallets.prove(&invented, &sign(0x46, &invented), None, NOW).await.is_err());
    for (after, accepted) in [(299_999, true), (300_000, false)] {
        let message = self::message(&wallets, ADDRESS).await;
        // Without its own expiry the message lasts as long as its nonce.
        let endless = message.split("\nExpiration").next().unwrap();
        let proved = wallets.prove(endless, &sign(0x46, endless), None, Timestamp(NOW.0 + after)).await;
        assert_eq!(proved.is_ok(), accepted, "after {after} ms");
    }
}

#[tokio::test]
async fn t4_two_that_come_at_once_open_one_door() {
    let (wallets, _) = wallets(People::Create).await;
    let message = message(&wallets, ADDRESS).await;
    let signature = sign(0x46, &message);
    let prove = || wallets.prove(&message, &signature, None, NOW);
    let (one, other) = tokio::join!(prove(), prove());
    assert_eq!(u8::from(one.is_ok()) + u8::from(other.is_ok()), 1);
}

#[tokio::test]
async fn a_linked_wallet_is_its_person_and_an_unknown_one_nobody_when_only_known_people_may_come() {
    let (wallets, store) = wallets(People::Known).await;
    let unknown = message(&wallets, ADDRESS).await;
    assert_eq!(
        code(&wallets.prove(&unknown, &sign(0x46, &unknown), None, NOW).await.unwrap_err()),
        Code::BadCredential
    );
    let ada = PersonId::parse("ada").unwrap();
    let person = Person { id: ada.clone(), plan: "free".into(), roles: Vec::new(), created_at: NOW };
    store.put_person(&person).await.unwrap();
    store.link_wallet(&ADDRESS.to_lowercase(), &ada).await.unwrap();
    let known = message(&wallets, ADDRESS).await;
    assert_eq!(wallets.prove(&known, &sign(0x46, &known), None, NOW).await.unwrap(), ada);
}

#[tokio::test]
async fn of_many_first_logins_of_a_wallet_one_adds_its_person() {
    let (wallets, store) = wallets(People::Create).await;
    let logins = join_all((0..20).map(|_| wallets.welcome(ADDRESS, NOW))).await;
    let people: HashSet<_> = logins.into_iter().map(|person| person.unwrap()).collect();
    assert_eq!(people.len(), 1);
    assert_eq!(store.people(None, 10).await.unwrap().len(), 1);
    assert_eq!(code(&wallets.welcome("0x12", NOW).await.unwrap_err()), Code::Invalid);
}

#[tokio::test]
async fn a_text_is_signed_by_the_wallet_that_signed_it_and_by_no_other() {
    let (wallets, _) = wallets(People::Create).await;
    let signature = sign(0x46, "Good morning");
    assert!(wallets.signed(ADDRESS, "Good morning", &signature));
    assert!(wallets.signed(&ADDRESS.to_lowercase(), "Good morning", &signature));
    assert!(!wallets.signed(ADDRESS, "Good evening", &signature));
    assert!(!wallets.signed(ADDRESS, "Good morning", &sign(0x47, "Good morning")));
    for wrong in ["", "0x", "0x12", "not hexadecimal", &"f".repeat(130)] {
        assert!(!wallets.signed(ADDRESS, "Good morning", wrong), "{wrong}");
        assert!(!wallets.signed(wrong, "Good morning", &signature), "{wrong}");
    }
}

#[tokio::test]
async fn without_a_domain_wallets_cannot_sign_in() {
    let wallets = Wallets::new(Arc::new(MemoryStore::new()), &Settings::default());
    assert_eq!(code(&wallets.challenge(NOW).await.unwrap_err()), Code::NotFound);
}

#[tokio::test]
async fn a_message_written_and_signed_by_other_software_is_accepted() {
    // Written by siwe 4.4.0 and signed by eth-account 0.13.7 for Python.
    let nonce = "0123456789abcdef0123456789abcdef";
    let message = format!(
        "app.example.org wants you to sign in with your Ethereum account:\n{ADDRESS}\n\n\n\
         URI: https://app.example.org/login\nVersion: 1\nChain ID: 1\nNonce: {nonce}\nIssued At: 2026-11-20T12:00:00Z"
    );
    let signature = "282bd0fab35f971c64439e659907584bc6c09fd5f3279cced18d51958500936c07f968f127783a275d63bcad30465db55b233201dc65c3ec3d6f49798d38a6ec1c";
    let (wallets, store) = wallets(People::Create).await;
    store.put_nonce(&secret::hash(nonce), Timestamp(NOW.0 + 1)).await.unwrap();
    wallets.prove(&message, signature, Some(ADDRESS), NOW).await.unwrap();
}
