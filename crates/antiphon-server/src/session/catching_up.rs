//! How a socket is told what it has missed of a conversation, however much that is, before it hears what happens.
//!
//! History is read page by page, one at a time, and the next only when the client has read nearly all of the last. Whatever else
//! the client asks waits meanwhile, as packets of one connection are processed in their order; it is heard all the same.

use std::rc::Rc;

use antiphon_core::actor::Claim;
use antiphon_core::command::{Command, Outcome};
use antiphon_core::conversation::Message;
use antiphon_core::ids::{AgentId, ConversationId};
use antiphon_core::refusal::{Code, Refusal};
use antiphon_core::topic::Topic;
use smallvec::SmallVec;

use super::Socket;
use crate::cores::Core;
use crate::telemetry::carry_out;

/// Messages of the first page, and the most of any other.
const FIRST_PAGE: u32 = 50;
const LONGEST_PAGE: u32 = 500;

/// Bytes of text that a page has when messages go on to be as long as those before.
const PAGE_BYTES: usize = 256 * 1024;

/// Bytes that may wait for the client when more of the past is put after them.
const AHEAD: usize = 64 * 1024;

impl Socket {
    /// Joins the conversation with `agent` and tells what was said there after the position `after`; returns where the
    /// conversation stands then. A join that fails on the way leaves the conversation: nothing comes live after a hole.
    pub(super) async fn join_after(
        self: &Rc<Self>,
        core: &Rc<Core>,
        agent: AgentId,
        person: Claim,
        after: u64,
    ) -> Result<Outcome, Refusal> {
        // Between taking the seat and knowing where the conversation stands nothing of it may pass.
        self.hold(core);
        let join =
            Command::JoinConversation { agent: agent.clone(), person: person.clone(), after: Some(after) };
        let joined = carry_out(&core.shared.app, &self.caller(), join).await;
        if let Ok(Outcome::Joined { conversation, seq }) = joined {
            self.recall(core, conversation, after.min(seq));
        }
        self.release(core, |_| false);
        let Outcome::Joined { conversation, .. } = joined? else { return Err(Refusal::internal()) };
        let told = self.tell_past(core, &agent, &person, conversation).await;
        if told.is_err() {
            core.leave(self.id(), &Topic::Conversation(conversation));
            self.forget_recall(core, conversation);
        }
        told.map(|seq| Outcome::Joined { conversation, seq })
    }

    /// Tells the past of `conversation` from where it stands to its end; returns the position of its end.
    async fn tell_past(
        self: &Rc<Self>,
        core: &Rc<Core>,
        agent: &AgentId,
        person: &Claim,
        conversation: ConversationId,
    ) -> Result<u64, Refusal> {
        let mut limit = FIRST_PAGE;
        loop {
            let after = self.recalled(conversation).ok_or_else(gone)?;
            let read = Command::ReadHistory { agent: agent.clone(), person: person.clone(), after, limit };
            let Outcome::History(page) = carry_out(&core.shared.app, &self.caller(), read).await? else {
                return Err(Refusal::internal());
            };
            // What was said on the way to these messages has been published before; now it waits here, where each of them
            // takes the place of its own.
            core.empty_the_mailbox().await;
            for message in &page {
                self.say_past(core, message).await?;
                self.note_told(message);
            }
            if page.len() < limit as usize {
                if let Some(end) = self.go_live(core, conversation) {
                    return Ok(end);
                }
                // The end is near. Were history to tell all that goes by, whoever talks without a pause would never let it end.
                self.keep_what_goes_by(conversation);
            }
            limit = next_limit(&page);
        }
    }

    /// Says a message of the past as soon as there is room for it.
    async fn say_past(self: &Rc<Self>, core: &Rc<Core>, message: &Message) -> Result<(), Refusal> {
        let said: SmallVec<[(&'static str, Vec<u8>); 1]> = {
            let mut out = core.out.borrow_mut();
            out.clear();
            core.shared.voice(self.voice).dialect.recalled(message, &mut out);
            out.events().map(|(name, args)| (name, args.to_vec())).collect()
        };
        for (name, args) in said {
            let has_room = self.connection.room_for(args.len(), AHEAD).await;
            if !has_room || self.is_gone(core) {
                return Err(gone());
            }
            // Made only now: whatever has an offset is said in the order of offsets.
            self.connection.push(core, self.frame(core, name, &args, &[]));
            core.count(|tally| tally.sent(self.voice, name, 1));
        }
        Ok(())
    }
}

/// Messages of the next page, if they are as long as those of `page`.
fn next_limit(page: &[Message]) -> u32 {
    let bytes: usize = page.iter().map(|message| message.text.len()).sum();
    let fit = PAGE_BYTES * page.len().max(1) / bytes.max(1);
    u32::try_from(fit).unwrap_or(LONGEST_PAGE).clamp(1, LONGEST_PAGE)
}

/// Nobody hears this one.
fn gone() -> Refusal {
    Refusal::new(Code::Unauthenticated, "This connection is gone.")
}
