//! What waits for one connection: bounded in bytes, written in as few writes as possible.
//!
//! When there is no room, a volatile event is dropped and counted, neighbouring pieces of one answer are joined, and
//! anything else means that the connection cannot keep up and is closed.

use std::io::IoSlice;

use antiphon_core::event::{Chunk, Delivery, Event};
use antiphon_core::ids::MessageId;
use antiphon_wire::socket::Encoded;
use smallvec::SmallVec;

use crate::mount::VoiceId;

/// How much may wait before pieces of one answer are joined instead of queued one by one.
const JOIN_ABOVE: usize = 8 * 1024;

/// Slices per vectored write; the kernel takes at most 1,024.
const SLICES: usize = 64;

/// There was no room for something that must not be lost.
#[derive(Debug)]
pub(crate) struct Full;

/// Frames that wait, in order.
#[derive(Default)]
pub(crate) struct Outbox {
    items: SmallVec<[Item; 1]>,
    bytes: usize,
    /// Bytes of the first frame that are already written.
    written: usize,
    /// There was no room for something. Nothing that comes after it is queued: a client that got that would take it for everything
    /// up to there.
    is_short: bool,
    /// Bytes that may wait above the limit, because they were said again and were counted before. Until it is empty.
    allowance: usize,
}

enum Item {
    Frame(Encoded),
    /// A piece of an answer that others may still be joined to.
    Piece(Box<Piece>),
}

struct Piece {
    voice: VoiceId,
    chunk: Chunk,
    frame: Encoded,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Queues a frame that must arrive.
    pub(crate) fn push(&mut self, frame: Encoded, limit: usize) -> Result<(), Full> {
        // A single frame larger than the limit may still go out when nothing waits before it.
        let is_full = self.bytes + frame.len() > limit + self.allowance && !self.items.is_empty();
        if is_full || self.is_short {
            return self.run_short();
        }
        self.bytes += frame.len();
        self.items.push(Item::Frame(frame));
        Ok(())
    }

    /// Queues a frame that was said before to whoever comes back for it: it was kept within bounds of its own, and what is said for
    /// the first time finds as much room as ever.
    pub(crate) fn push_again(&mut self, frame: Encoded) {
        if self.is_short {
            return;
        }
        self.allowance += frame.len();
        self.bytes += frame.len();
        self.items.push(Item::Frame(frame));
    }

    /// Queues an event's frame as its delivery allows. `is_behind` says that nothing is being read at the moment, and `render`
    /// makes the frame of a joined piece.
    pub(crate) fn push_event(
        &mut self,
        frame: Encoded,
        (delivery, voice, event): (Delivery, VoiceId, &Event),
        is_behind: bool,
        limit: usize,
        render: impl FnOnce(&Event) -> Option<Encoded>,
    ) -> Result<Queued, Full> {
        if self.is_short {
            return self.run_short();
        }
        let limit = limit + self.allowance;
        match (delivery, event) {
            (Delivery::Volatile, _) if self.bytes + frame.len() > limit => Ok(Queued::Dropped),
            (Delivery::Piece(_), Event::ReplyChunk(chunk)) if is_behind && self.bytes > JOIN_ABOVE => {
                if let Some(piece) = self.last_piece(chunk.reply, voice) {
                    let before = piece.frame.len();
                    piece.chunk.text.push_str(&chunk.text);
                    let whole = Event::ReplyChunk(piece.chunk.clone());
                    if let Some(frame) = render(&whole) {
                        piece.frame = frame;
                    }
                    let after = piece.frame.len();
                    self.bytes = self.bytes - before + after;
                    return if self.bytes > limit { self.run_short() } else { Ok(Queued::Joined) };
                }
                if self.bytes + frame.len() > limit {
                    return self.run_short();
                }
                self.bytes += frame.len();
                let piece = Piece { voice, chunk: chunk.clone(), frame };
                self.items.push(Item::Piece(Box::new(piece)));
                Ok(Queued::Whole)
            }
            _ => self.push(frame, limit - self.allowance).map(|()| Queued::Whole),
        }
    }

    fn run_short<T>(&mut self) -> Result<T, Full> {
        self.is_short = true;
        Err(Full)
    }

    /// The last item, if it is a piece of `reply` in `voice` of which nothing was written yet.
    fn last_piece(&mut self, reply: MessageId, voice: VoiceId) -> Option<&mut Piece> {
        if self.items.len() == 1 && self.written > 0 {
            return None;
        }
        match self.items.last_mut() {
            Some(Item::Piece(piece)) if piece.chunk.reply == reply && piece.voice == voice => Some(piece),
            _ => None,
        }
    }

    /// Calls `write` with as much as fits one write, until it has written everything or returns an error.
    pub(crate) fn write_with(
        &mut self,
        mut write: impl FnMut(&[IoSlice<'_>]) -> std::io::Result<usize>,
    ) -> std::io::Result<()> {
        while !self.items.is_empty() {
            let written = if self.items.len() == 1 {
                write(&[IoSlice::new(&frame(&self.items[0]).frames()[self.written..])])?
            } else {
                let mut slices: SmallVec<[IoSlice<'_>; SLICES]> = SmallVec::new();
                let mut skip = self.written;
                for item in self.items.iter().take(SLICES) {
                    slices.push(IoSlice::new(&frame(item).frames()[skip..]));
                    skip = 0;
                }
                write(&slices)?
            };
            if written == 0 {
                return Err(std::io::ErrorKind::WriteZero.into());
            }
            self.advance(written);
        }
        Ok(())
    }

    fn advance(&mut self, mut written: usize) {
        if self.items.len() == 1 && written == frame(&self.items[0]).len() - self.written {
            // Nearly always: one frame waited, and the kernel took all of it.
            self.items.pop();
            (self.bytes, self.written, self.allowance) = (0, 0, 0);
            self.give_back();
            return;
        }
        let mut done = 0;
        for item in &self.items {
            let left = frame(item).len() - self.written;
            if written < left {
                self.written += written;
                break;
            }
            written -= left;
            self.bytes -= frame(item).len();
            self.written = 0;
            done += 1;
        }
        self.items.drain(..done);
        self.give_back();
    }

    /// Nothing is kept for the idle: a list that had grown is given back once it is empty.
    fn give_back(&mut self) {
        if self.items.is_empty() && self.items.spilled() {
            (self.items, self.allowance) = (SmallVec::new(), 0);
        }
    }

    /// Whether part of the first frame is written, so that nothing may come before its end.
    pub(crate) fn is_mid_frame(&self) -> bool {
        self.written > 0
    }

    /// Takes everything out as one polling body.
    pub(crate) fn take_polling_body(&mut self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.bytes);
        for item in &self.items {
            frame(item).polling_into(&mut body);
        }
        *self = Self::default();
        body
    }
}

fn frame(item: &Item) -> &Encoded {
    match item {
        Item::Frame(frame) => frame,
        Item::Piece(piece) => &piece.frame,
    }
}

/// What became of an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Queued {
    /// It waits.
    Whole,
    /// It became part of the piece before it.
    Joined,
    /// It was volatile and there was no room.
    Dropped,
}

#[cfg(test)]
mod tests {
    use antiphon_core::ids::{AgentId, Timestamp};

    use super::*;

    const VOICE: VoiceId = VoiceId(0);

    fn text(length: usize) -> Encoded {
        Encoded::engine(&"4".repeat(length))
    }

    fn chunk(reply: MessageId, index: u32, text: &str) -> Event {
        Event::ReplyChunk(Chunk {
            reply,
            agent: AgentId::parse("a").unwrap(),
            index,
            text: text.into(),
            at: Timestamp(0),
        })
    }

    fn render(event: &Event) -> Option<Encoded> {
        match event {
            Event::ReplyChunk(chunk) => Some(Encoded::engine(&chunk.text)),
            _ => None,
        }
    }

    fn push(outbox: &mut Outbox, event: &Event, limit: usize) -> Result<Queued, Full> {
        let frame = render(event).unwrap_or_else(|| text(100));
        outbox.push_event(frame, (event.delivery(), VOICE, event), true, limit, render)
    }

    #[test]
    fn what_does_not_fit_and_must_arrive_is_an_error() {
        let mut outbox = Outbox::default();
        outbox.push(text(90), 200).unwrap();
        outbox.push(text(90), 200).unwrap();
        assert!(outbox.push(text(90), 200).is_err());
    }

    #[test]
    fn nothing_is_queued_after_something_that_did_not_fit() {
        let mut outbox = Outbox::default();
        outbox.push(text(150), 200).unwrap();
        assert!(outbox.push(text(90), 200).is_err());
        assert!(outbox.push(text(9), 200).is_err());
        assert!(push(&mut outbox, &chunk(MessageId::random(), 0, "a "), 400).is_err());
        outbox.push_again(text(9));
        outbox.write_with(|slices| Ok(slices.iter().map(|slice| slice.len()).sum())).unwrap();
        assert!(outbox.push(text(9), 200).is_err(), "nor when there is room again");
        assert!(outbox.is_empty());
    }

    #[test]
    fn one_frame_larger_than_the_limit_goes_out_when_nothing_waits() {
        let mut outbox = Outbox::default();
        assert!(outbox.push(text(1_000), 200).is_ok());
    }

    #[test]
    fn what_is_said_again_takes_no_room_from_what_is_new_until_all_of_it_is_written() {
        let said_again = || {
            let mut outbox = Outbox::default();
            for _ in 0..10 {
                outbox.push_again(text(98));
            }
            outbox.push(text(150), 200).unwrap();
            outbox
        };
        assert!(said_again().push(text(150), 200).is_err());
        let mut outbox = said_again();
        let mut left = outbox.bytes();
        while left > 0 {
            let _ = outbox.write_with(|slices| Ok(slices[0].len().min(70)));
            left = outbox.bytes();
        }
        outbox.push(text(150), 200).unwrap();
        assert!(outbox.push(text(150), 200).is_err());
    }

    #[test]
    fn a_volatile_event_is_dropped_when_there_is_no_room() {
        let mut outbox = Outbox::default();
        outbox.push(text(150), 200).unwrap();
        let typing = Event::TypingChanged {
            agent: AgentId::parse("a").unwrap(),
            person: antiphon_core::ids::PersonId::parse("p").unwrap(),
            who: antiphon_core::conversation::Party::Person,
            active: true,
            at: Timestamp(0),
        };
        assert_eq!(push(&mut outbox, &typing, 200).unwrap(), Queued::Dropped);
        assert_eq!(push(&mut outbox, &typing, 400).unwrap(), Queued::Whole);
    }

    #[test]
    fn pieces_of_one_answer_are_joined_once_enough_waits_and_nothing_of_them_is_lost() {
        let mut outbox = Outbox::default();
        outbox.push(text(JOIN_ABOVE + 1), 1 << 20).unwrap();
        let (one, two) = (MessageId::random(), MessageId::random());
        assert_eq!(push(&mut outbox, &chunk(one, 0, "a "), 1 << 20).unwrap(), Queued::Whole);
        assert_eq!(push(&mut outbox, &chunk(one, 1, "b "), 1 << 20).unwrap(), Queued::Joined);
        assert_eq!(push(&mut outbox, &chunk(two, 0, "c "), 1 << 20).unwrap(), Queued::Whole);
        assert_eq!(push(&mut outbox, &chunk(one, 2, "d "), 1 << 20).unwrap(), Queued::Whole);
        let body = String::from_utf8(outbox.take_polling_body()).unwrap();
        assert!(body.ends_with("\u{1e}a b \u{1e}c \u{1e}d "), "{}", &body[body.len() - 20..]);
        assert_eq!(outbox.bytes(), 0);
    }

    #[test]
    fn pieces_for_a_client_that_reads_stay_as_they_are() {
        let mut outbox = Outbox::default();
        outbox.push(text(JOIN_ABOVE + 1), 1 << 20).unwrap();
        let one = MessageId::random();
        for index in 0..3 {
            let event = chunk(one, index, "a ");
            let frame = render(&event).unwrap();
            let place = (event.delivery(), VOICE, &event);
            assert_eq!(outbox.push_event(frame, place, false, 1 << 20, render).unwrap(), Queued::Whole);
        }
    }

    #[test]
    fn every_byte_is_written_once_and_in_order_however_the_kernel_cuts_them() {
        for cut in 1..50 {
            let mut outbox = Outbox::default();
            let mut expected = Vec::new();
            for length in [3, 17, 1, 40, 9] {
                let frame = text(length);
                expected.extend_from_slice(frame.frames());
                outbox.push(frame, 1 << 20).unwrap();
            }
            let mut got = Vec::new();
            let mut blocked = false;
            while !outbox.is_empty() {
                let result = outbox.write_with(|slices| {
                    blocked = !blocked;
                    if blocked {
                        return Err(std::io::ErrorKind::WouldBlock.into());
                    }
                    let all: Vec<u8> = slices.iter().flat_map(|s| s.to_vec()).collect();
                    let n = all.len().min(cut);
                    got.extend_from_slice(&all[..n]);
                    Ok(n)
                });
                assert!(result.is_ok() || result.unwrap_err().kind() == std::io::ErrorKind::WouldBlock);
            }
            assert_eq!(got, expected);
            assert_eq!(outbox.bytes(), 0);
        }
    }
}
