//! WebSocket frames (RFC 6455, section 5.2): how to write one and where the next one ends.

use anyhow::{Result, bail};

/// Mask of every frame that the load generator sends. Any value but zero does: servers have to unmask.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Longest frame that [`decode`] accepts, in bytes of payload.
const MAX_PAYLOAD: usize = 1 << 20;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// UTF-8 text.
    Text,
    /// Anything.
    Binary,
    /// The end, with a code and a reason.
    Close,
    /// A question whether the peer lives.
    Ping,
    /// The answer to it.
    Pong,
}

/// One frame at the beginning of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it carries.
    pub opcode: Opcode,
    /// The payload as it was sent: masked if `mask` is there.
    pub payload: &'a [u8],
    /// The mask of a client's frame.
    pub mask: Option<[u8; 4]>,
    /// Bytes of the whole frame, where the next one begins.
    pub length: usize,
}

impl Frame<'_> {
    /// The payload's byte at `index` without its mask.
    pub fn byte(&self, index: usize) -> Option<u8> {
        let mask = self.mask.map_or(0, |mask| mask[index % 4]);
        self.payload.get(index).map(|byte| byte ^ mask)
    }
}

/// A text frame as a client sends it.
pub fn masked_text(text: &str) -> Vec<u8> {
    masked(0x1, text.as_bytes())
}

/// A pong frame as a client sends it.
pub fn masked_pong(payload: &[u8]) -> Vec<u8> {
    masked(0xA, payload)
}

/// A text frame as a server sends it.
pub fn plain_text(text: &str) -> Vec<u8> {
    let mut frame = head(0x1, 0, text.len());
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// The first frame in `buffer`, or `None` if it is not complete yet.
///
/// Fails on what no server or client of this bench sends: fragments, extensions, frames above 1 MiB.
pub fn decode(buffer: &[u8]) -> Result<Option<Frame<'_>>> {
    let &[first, second, ref rest @ ..] = buffer else { return Ok(None) };
    let opcode = match first {
        0x81 => Opcode::Text,
        0x82 => Opcode::Binary,
        0x88 => Opcode::Close,
        0x89 => Opcode::Ping,
        0x8A => Opcode::Pong,
        other => bail!("a frame that begins with {other:#04x}: neither whole nor known"),
    };
    let (size, rest) = match second & 0x7F {
        126 => {
            let Some((size, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(*size)), rest)
        }
        127 => {
            let Some((size, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (u64::from_be_bytes(*size), rest)
        }
        size => (u64::from(size), rest),
    };
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if size > MAX_PAYLOAD {
        bail!("a frame of {size} bytes");
    }
    let (mask, rest) = if second & 0x80 == 0 {
        (None, rest)
    } else {
        let Some((mask, rest)) = rest.split_first_chunk() else { return Ok(None) };
        (Some(*mask), rest)
    };
    let Some(payload) = rest.get(..size) else { return Ok(None) };
    Ok(Some(Frame { opcode, payload, mask, length: buffer.len() - rest.len() + size }))
}

fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(opcode, 0x80, payload.len());
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn head(opcode: u8, masked: u8, size: usize) -> Vec<u8> {
    let mut head = Vec::with_capacity(size + 14);
    head.push(0x80 | opcode);
    match (u8::try_from(size), u16::try_from(size)) {
        (Ok(size @ ..126), _) => head.push(masked | size),
        (_, Ok(size)) => {
            head.push(masked | 126);
            head.extend_from_slice(&size.to_be_bytes());
        }
        _ => {
            head.push(masked | 127);
            head.extend_from_slice(&(size as u64).to_be_bytes());
        }
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unmasked(frame: &Frame<'_>) -> Vec<u8> {
        (0..frame.payload.len()).filter_map(|index| frame.byte(index)).collect()
    }

    #[test]
    fn frames_of_every_length_class_come_back_whole() {
        for size in [0, 1, 125, 126, 127, 65_535, 65_536, 100_000] {
            let text = "x".repeat(size);
            for bytes in [masked_text(&text), plain_text(&text)] {
                let frame = decode(&bytes).unwrap().unwrap();
                assert_eq!(frame.opcode, Opcode::Text);
                assert_eq!(frame.length, bytes.len(), "size {size}");
                assert_eq!(unmasked(&frame), text.as_bytes());
            }
        }
    }

    #[test]
    fn the_specifications_example_is_understood() {
        let masked_hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(unmasked(&decode(&masked_hello).unwrap().unwrap()), b"Hello");
        assert_eq!(masked_text("Hello"), masked_hello);
    }

    #[test]
    fn no_beginning_of_a_frame_is_taken_for_the_whole() {
        for bytes in [masked_text(&"x".repeat(70_000)), plain_text(&"x".repeat(300)), masked_pong(b"p")] {
            for end in (0..bytes.len()).step_by(7).chain([bytes.len() - 1]) {
                assert_eq!(decode(&bytes[..end]).unwrap(), None);
            }
        }
    }

    #[test]
    fn two_frames_in_one_buffer_are_told_apart() {
        let mut bytes = plain_text("one");
        bytes.extend(plain_text("other"));
        let first = decode(&bytes).unwrap().unwrap();
        assert_eq!(first.payload, b"one");
        assert_eq!(decode(&bytes[first.length..]).unwrap().unwrap().payload, b"other");
    }

    #[test]
    fn fragments_and_giants_are_refused() {
        assert!(decode(&[0x01, 0x01, b'x']).is_err());
        assert!(decode(&[0xC1, 0x01, b'x']).is_err());
        assert!(decode(&[0x81, 0x7F, 0xFF, 0, 0, 0, 0, 0, 0, 0]).is_err());
    }
}
