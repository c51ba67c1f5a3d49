//! How does one WebSocket frame look on the wire?
//!
//! RFC 6455, section 5.2. Frames from a client are masked, frames to a client are not.

/// The kind of a frame (RFC 6455, section 11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// Another fragment of the message that is under way.
    Continuation,
    /// A text message or its first fragment.
    Text,
    /// A binary message or its first fragment.
    Binary,
    /// The end of the conversation.
    Close,
    /// A question whether the peer is there.
    Ping,
    /// The answer to a ping.
    Pong,
}

impl Opcode {
    fn number(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    /// Whether frames of this kind stand alone, between the fragments of a message (RFC 6455, section 5.5).
    pub(crate) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// Why a connection has to be failed (RFC 6455, section 7.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} ({code})")]
pub struct Violation {
    /// The close code to send: 1002 protocol error, 1007 invalid UTF-8, 1009 too big (RFC 6455, section
    /// 7.4.1).
    pub code: u16,
    /// What was wrong, for logs and for the close frame.
    pub reason: &'static str,
}

impl Violation {
    pub(crate) const NOT_UTF8: Self = Self { code: 1007, reason: "text that is not UTF-8" };

    pub(crate) const fn protocol(reason: &'static str) -> Self {
        Self { code: 1002, reason }
    }

    pub(crate) const fn too_big(reason: &'static str) -> Self {
        Self { code: 1009, reason }
    }
}

/// Appends one whole frame: FIN set, not masked, the shortest length encoding (RFC 6455, section 5.2).
///
/// The payload of a control frame must not exceed 125 bytes; [`close_into`](super::close_into) sees to that
/// for closes, and a pong echoes a ping that was within it.
pub fn frame_into(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    debug_assert!(!opcode.is_control() || payload.len() <= CONTROL, "control frames carry at most 125 bytes");
    out.reserve(header_length(payload.len()) + payload.len());
    write_header(opcode, payload.len(), out);
    out.extend_from_slice(payload);
}

/// Most bytes of a control frame's payload (RFC 6455, section 5.5).
const CONTROL: usize = 125;

/// Bytes of an unmasked header before a payload of `length` bytes.
pub(crate) fn header_length(length: usize) -> usize {
    match length {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    }
}

/// Appends an unmasked header with FIN set.
pub(crate) fn write_header(opcode: Opcode, length: usize, out: &mut Vec<u8>) {
    let first = 0x80 | opcode.number();
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => out.extend_from_slice(&[first, short]),
        (_, Ok(medium)) => {
            out.extend_from_slice(&[first, 126]);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.extend_from_slice(&[first, 127]);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// Takes the first frame off bytes that [`write_header`] began: its kind, its payload and what follows.
pub(crate) fn split_unmasked(bytes: &[u8]) -> Option<(Opcode, &[u8], &[u8])> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match second {
        126 => {
            rest.split_first_chunk().map(|(length, rest)| (u64::from(u16::from_be_bytes(*length)), rest))?
        }
        127 => rest.split_first_chunk().map(|(length, rest)| (u64::from_be_bytes(*length), rest))?,
        short => (u64::from(short), rest),
    };
    let (payload, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((Opcode::from_number(first & 0x0f)?, payload, rest))
}

/// The header of a frame from a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) fin: bool,
    pub(crate) opcode: Opcode,
    pub(crate) length: u64,
    pub(crate) mask: [u8; 4],
}

impl Header {
    /// Most bytes of a masked header.
    pub(crate) const LONGEST: usize = 14;

    /// Reads a masked header and says how many bytes it took; `None` if `bytes` ends before it does.
    ///
    /// Whatever is there is checked, so a bad first byte is refused without waiting for a second.
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, Violation> {
        let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(Violation::protocol("a reserved bit is set"));
        }
        let fin = first & 0x80 != 0;
        let opcode = Opcode::from_number(first & 0x0f).ok_or(Violation::protocol("a reserved opcode"))?;
        if opcode.is_control() && !fin {
            return Err(Violation::protocol("a fragmented control frame"));
        }
        let Some((&second, rest)) = rest.split_first() else { return Ok(None) };
        if second & 0x80 == 0 {
            return Err(Violation::protocol("a frame that is not masked"));
        }
        let short = second & 0x7f;
        if opcode.is_control() && usize::from(short) > CONTROL {
            return Err(Violation::protocol("a control frame over 125 bytes"));
        }
        let extended = match short {
            126 => {
                rest.split_first_chunk().map(|(length, rest)| (u64::from(u16::from_be_bytes(*length)), rest))
            }
            127 => rest.split_first_chunk().map(|(length, rest)| (u64::from_be_bytes(*length), rest)),
            _ => Some((u64::from(short), rest)),
        };
        let Some((length, rest)) = extended else { return Ok(None) };
        if length > u64::MAX >> 1 {
            return Err(Violation::protocol("a length with its highest bit set"));
        }
        let Some((&mask, rest)) = rest.split_first_chunk() else { return Ok(None) };
        Ok(Some((Self { fin, opcode, length, mask }, bytes.len() - rest.len())))
    }
}

/// Masks or unmasks `data`, which begins `offset` bytes into its frame's payload (RFC 6455, section 5.3).
pub(crate) fn apply_mask(data: &mut [u8], mask: [u8; 4], offset: usize) {
    let mask: [u8; 4] = std::array::from_fn(|index| mask[(offset + index) % 4]);
    let word = (u64::from(u32::from_ne_bytes(mask)) << 32) | u64::from(u32::from_ne_bytes(mask));
    let (words, rest) = data.as_chunks_mut::<8>();
    for chunk in words {
        *chunk = (u64::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc_are_written_as_in_the_rfc() {
        let mut out = Vec::new();
        frame_into(Opcode::Text, b"Hello", &mut out);
        assert_eq!(out, [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        for (length, header) in [
            (125, &[0x82, 125][..]),
            (126, &[0x82, 126, 0, 126]),
            (256, &[0x82, 0x7e, 0x01, 0x00]),
            (65_535, &[0x82, 126, 0xff, 0xff]),
            (65_536, &[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            out.clear();
            frame_into(Opcode::Binary, &vec![7; length], &mut out);
            assert_eq!(out[..header.len()], *header);
            assert_eq!(out.len(), header_length(length) + length);
            assert!(
                matches!(split_unmasked(&out), Some((Opcode::Binary, payload, [])) if payload.len() == length)
            );
        }
    }

    #[test]
    fn the_masked_example_of_the_rfc_is_read() {
        let mut bytes = *b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        let (header, used) = Header::read(&bytes).unwrap().unwrap();
        assert_eq!((header.fin, header.opcode, header.length, used), (true, Opcode::Text, 5, 6));
        apply_mask(&mut bytes[used..], header.mask, 0);
        assert_eq!(&bytes[used..], b"Hello");
    }

    #[test]
    fn a_header_is_incomplete_until_its_last_byte() {
        for header in [&b"\x82\x85abcd"[..], b"\x82\xfe\x01\x00abcd", b"\x82\xff\0\0\0\0\0\x01\0\0abcd"] {
            for end in 0..header.len() {
                assert!(Header::read(&header[..end]).unwrap().is_none());
            }
            assert_eq!(Header::read(header).unwrap().unwrap().1, header.len());
        }
    }

    #[test]
    fn what_the_rfc_forbids_is_refused_at_the_first_byte_that_shows_it() {
        for (bytes, reason) in [
            (&[0xc1][..], "a reserved bit is set"),
            (&[0xa1], "a reserved bit is set"),
            (&[0x91], "a reserved bit is set"),
            (&[0x83], "a reserved opcode"),
            (&[0x8b], "a reserved opcode"),
            (&[0x09], "a fragmented control frame"),
            (&[0x81, 0x05], "a frame that is not masked"),
            (&[0x89, 0xfe], "a control frame over 125 bytes"),
            (&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], "a length with its highest bit set"),
        ] {
            assert_eq!(Header::read(bytes).unwrap_err(), Violation::protocol(reason));
        }
    }

    #[test]
    fn a_mask_can_be_applied_in_pieces() {
        let whole: Vec<u8> = (0..=255).collect();
        let mask = [1, 2, 3, 4];
        let mut expected = whole.clone();
        apply_mask(&mut expected, mask, 0);
        for cut in 0..whole.len() {
            let mut pieces = whole.clone();
            apply_mask(&mut pieces[..cut], mask, 0);
            apply_mask(&mut pieces[cut..], mask, cut);
            assert_eq!(pieces, expected);
        }
    }
}
