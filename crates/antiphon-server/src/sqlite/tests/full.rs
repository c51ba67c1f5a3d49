//! Is every write refused on a disk that is really full, and done once there is room? (D-14)

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use antiphon_core::actor::Session;
use antiphon_core::ports::{Logins, RequestKey, Requests, Tasks, Wallets};
use antiphon_core::tasks::{NewTask, Priority};
use antiphon_core::wallet::{NewEntry, Reason};
use antiphon_core::webhooks::{About, Announcement, Announcements as _};

use super::*;

#[tokio::test]
async fn d14_each_write_is_refused_on_a_full_disk_and_done_once_there_is_room() {
    let Some(mounted) = Mounted::new() else { return };
    // Emptied after each commit, so that no write finds room in the log.
    let store = open(&mounted.0.path().join("data"), Settings { log_limit: 0, ..patient() });
    let ada = person("ada");
    store.put_person(&ada).await.unwrap();
    let filler = mounted.0.path().join("filler");
    // Large enough that no free rest of a page holds any of them.
    let large = "x".repeat(100_000);
    let sites = ["messages", "ledger", "tasks", "sessions", "requests", "webhooks"];
    for (number, site) in sites.into_iter().enumerate() {
        let write = async |store: &SqliteStore| -> Result<(), Fault> {
            let number = number as u8;
            match site {
                "messages" => append(store, message(&large)).await.map(drop),
                "ledger" => {
                    let (person, key) = (ada.id.clone(), Some(large.clone()));
                    let new = NewEntry { person, tokens: 3, reason: Reason::Grant, key, at: Timestamp(1) };
                    store.book(new, Box::new(|_| ())).await.map(drop)
                }
                "tasks" => {
                    let new = NewTask {
                        title: "task".into(),
                        description: large.clone(),
                        priority: Priority::Medium,
                        payload: "{}".into(),
                        needs: None,
                        parent: None,
                        conversation: None,
                    };
                    store
                        .put_task(&new.begun("operator".into(), Timestamp(1)), Box::new(|_| ()))
                        .await
                        .map(drop)
                }
                "sessions" => {
                    let session = Session {
                        hash: SecretHash([number; 32]),
                        refresh: SecretHash([number + 100; 32]),
                        person: ada.id.clone(),
                        created_at: Timestamp(1),
                        expires_at: Timestamp(2),
                        refresh_until: Timestamp(3),
                    };
                    store.put_session(&session).await
                }
                "requests" => {
                    let key = RequestKey { principal: "service:shop".into(), key: large.clone() };
                    store.begin(&key, &[1; 32], Timestamp(1)).await.map(drop)
                }
                _ => {
                    let announcement = Announcement {
                        id: "one".into(),
                        kind: "message.posted",
                        person: Some(ada.id.clone()),
                        at: Timestamp(1),
                        payload: large.clone(),
                        endpoints: vec!["left".into()],
                        about: About::Nothing,
                    };
                    store.announce(&[announcement]).await.map(drop)
                }
            }
        };
        fill(&filler);
        let began = Instant::now();
        let fault = write(&store).await.expect_err(site);
        assert!(began.elapsed() < Duration::from_secs(2), "{site}: {:?}", began.elapsed());
        let refusal = fault.refusal();
        assert!(matches!(refusal.code, Code::Unavailable { .. }), "{site}: {refusal:?}");
        assert!(refusal.message.starts_with("The disk of this server is full"), "{site}: {refusal:?}");
        assert!(store.person(&ada.id).await.unwrap().is_some(), "{site}: reads go on");
        fs::remove_file(&filler).unwrap();
        write(&store).await.unwrap_or_else(|fault| panic!("{site}: {fault:?}"));
    }
    drop(store);
    let store = open(&mounted.0.path().join("data"), patient());
    assert_eq!(texts(&store).await.len(), 1, "once: what was refused is not there");
    assert_eq!(store.ledger(&ada.id, 0, 10).await.unwrap().len(), 1);
}

/// Writes to `path` until nothing fits any more.
fn fill(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    for size in [65_536, 4_096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

/// A small file system of its own, in memory.
struct Mounted(TempDir);

impl Mounted {
    /// `None`, said aloud, where mounting is not allowed.
    fn new() -> Option<Self> {
        let directory = TempDir::new().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=8m", "antiphon-test"]).arg(directory.path());
        let why = match mount.stderr(Stdio::piped()).output() {
            Ok(done) if done.status.success() => return Some(Self(directory)),
            Ok(done) => String::from_utf8_lossy(&done.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        let _ = writeln!(std::io::stderr(), "SKIPPED: no tmpfs: {why}");
        None
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open there loses nothing.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}
