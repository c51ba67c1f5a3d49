//! What a person and an agent have said, as JSON lines, for operators.

use std::io::Write;

use antiphon_core::conversation::Party;
use antiphon_core::ids::{AgentId, ConversationId, PersonId};
use antiphon_core::ports::Store;
use serde::Serialize;

/// Messages read at a time.
const PAGE: u32 = 500;

#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    id: String,
    role: &'a str,
    content: &'a str,
    timestamp: i64,
}

/// Writes the whole conversation of `agent` and `person` to `output`, oldest first; returns how many messages it has.
pub async fn run(
    store: &dyn Store,
    agent: &AgentId,
    person: &PersonId,
    mut output: impl Write,
) -> anyhow::Result<u64> {
    let conversation = ConversationId::direct(agent, person);
    let (mut after, mut count) = (0, 0);
    loop {
        let page = store.history(conversation, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(count) };
        after = last.seq;
        for message in &page {
            let role = match message.author {
                Party::Person => "user",
                Party::Agent => "assistant",
            };
            let line = Line {
                seq: message.seq,
                id: message.id.to_string(),
                role,
                content: &message.text,
                timestamp: message.at.0,
            };
            serde_json::to_writer(&mut output, &line)?;
            output.write_all(b"\n")?;
            count += 1;
        }
    }
}
