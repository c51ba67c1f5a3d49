//! How a core event is said.
//!
//! Every payload borrows from the event and is written once. Timestamps are text, as JavaScript's `toISOString` writes them.

use antiphon_core::conversation::{Message, Party};
use antiphon_core::dialect::Out;
use antiphon_core::event::Event;
use antiphon_core::ids::{AgentId, MessageId, Timestamp};
use antiphon_core::notices::{Notice, NoticeAction, NoticeKind};
use antiphon_core::wallet::{Entry, Reason};
use serde::Serialize;

/// Says `event` in this API's words, in the order in which its clients expect them.
pub(super) fn outbound(event: &Event, out: &mut Out) {
    match event {
        Event::MessagePosted(message) if message.author == Party::Agent => received(message, out),
        // Whoever says something knows what they said; this API does not repeat it to their other devices.
        Event::MessagePosted(_) => {}
        Event::ReplyStarted(_) => typing(true, out),
        Event::ReplyFinished { message, .. } => {
            typing(false, out);
            received(message, out);
        }
        Event::ReplyFailed(_) => typing(false, out),
        Event::PersonTyping { active, .. } => typing(*active, out),
        Event::BalanceChanged(entry) => booked(entry, out),
        Event::BalanceTold { balance, at, .. } => balance_update(balance.tokens, *at, out),
        Event::NoticeSent { notice, at } => notice_sent(notice, *at, out),
        // Not said in this API: answers come whole, feelings are asked for over HTTP, and nobody else is seen.
        Event::ReplyChunk(_)
        | Event::RelationChanged { .. }
        | Event::TypingChanged { .. }
        | Event::PresenceChanged { .. }
        | Event::AgentChanged { .. }
        | Event::AgentDeleted { .. }
        | Event::Signal(_)
        | Event::Revoked(_) => {}
        // Work is not said in this API.
        Event::TaskCreated(_)
        | Event::TaskAssigned(_)
        | Event::TaskUpdated { .. }
        | Event::TaskFinished(_)
        | Event::AgentStatusChanged(_)
        | Event::AgentHeartbeat { .. }
        | Event::AlertRaised { .. } => {}
    }
}

/// `notification`, without anything to click.
pub(super) fn notification(title: &str, message: &str, kind: NoticeKind, at: Timestamp, out: &mut Out) {
    notify(title, message, kind, None, at, out);
}

fn received(message: &Message, out: &mut Out) {
    let payload = MessageReceive {
        id: message.id,
        content: &message.text,
        sender: "ai",
        persona_id: &message.agent,
        timestamp: message.at.iso(),
    };
    out.emit("message:receive", &payload);
}

fn typing(is_typing: bool, out: &mut Out) {
    out.emit("typing", &is_typing);
}

/// The balance, and for what came as a pleasant surprise or from outside a sentence about it: both in one go, so that nothing comes
/// in between.
fn booked(entry: &Entry, out: &mut Out) {
    balance_update(entry.balance, entry.at, out);
    let title = match entry.reason {
        Reason::Reward => "Daily Reward",
        Reason::Deposit => "Deposit Successful",
        Reason::Welcome | Reason::Withdrawal | Reason::Chat | Reason::Refund | Reason::Grant => return,
    };
    let tokens = entry.amount.unsigned_abs();
    let plural = if tokens == 1 { "" } else { "s" };
    let message = format!("You received {tokens} token{plural}!");
    notification(title, &message, NoticeKind::Success, entry.at, out);
}

fn balance_update(balance: u64, at: Timestamp, out: &mut Out) {
    out.emit("balance:update", &BalanceUpdate { balance, timestamp: at.iso() });
}

fn notice_sent(notice: &Notice, at: Timestamp, out: &mut Out) {
    notify(&notice.title, &notice.message, notice.kind, notice.action.as_ref(), at, out);
}

fn notify(
    title: &str,
    message: &str,
    kind: NoticeKind,
    action: Option<&NoticeAction>,
    at: Timestamp,
    out: &mut Out,
) {
    let payload = Notification {
        title,
        message,
        kind: match kind {
            NoticeKind::Info => "info",
            NoticeKind::Success => "success",
            NoticeKind::Warning => "warning",
            NoticeKind::Error => "error",
        },
        timestamp: at.iso(),
        action: action.map(|action| Action { label: &action.label, url: &action.url }),
    };
    out.emit("notification", &payload);
}

#[derive(Serialize)]
struct MessageReceive<'a> {
    id: MessageId,
    content: &'a str,
    sender: &'static str,
    persona_id: &'a AgentId,
    timestamp: String,
}

#[derive(Serialize)]
struct BalanceUpdate {
    balance: u64,
    timestamp: String,
}

#[derive(Serialize)]
struct Notification<'a> {
    title: &'a str,
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<Action<'a>>,
}

#[derive(Serialize)]
struct Action<'a> {
    label: &'a str,
    url: &'a str,
}

#[cfg(test)]
mod tests {
    use antiphon_core::ids::PersonId;

    use super::*;

    fn said(reason: Reason, amount: i64) -> Vec<String> {
        let entry = Entry {
            person: PersonId::parse("ada").expect("a plain id"),
            position: 1,
            amount,
            balance: 10,
            reason,
            key: None,
            at: Timestamp(0),
        };
        let mut out = Out::default();
        booked(&entry, &mut out);
        let text = |args: &[u8]| String::from_utf8(args.to_vec()).expect("JSON is text");
        out.events().map(|(name, args)| format!("{name} {}", text(args))).collect()
    }

    #[test]
    fn every_entry_tells_the_balance_and_only_rewards_and_deposits_come_with_a_sentence() {
        for reason in Reason::ALL {
            let told = said(reason, if reason.takes() { -3 } else { 3 });
            assert_eq!(told[0], r#"balance:update {"balance":10,"timestamp":"1970-01-01T00:00:00.000Z"}"#);
            let sentences = usize::from(matches!(reason, Reason::Reward | Reason::Deposit));
            assert_eq!(told.len(), 1 + sentences, "{reason:?}");
        }
    }

    #[test]
    fn one_token_is_not_many() {
        assert!(said(Reason::Reward, 1)[1].contains("You received 1 token!"));
        assert!(said(Reason::Reward, 10)[1].contains("You received 10 tokens!"));
    }
}
