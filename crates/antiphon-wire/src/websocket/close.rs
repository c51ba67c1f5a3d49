//! What may a close frame say?

use super::frame::{Opcode, Violation, frame_into};

/// Bytes left for the reason in a control frame after the two bytes of the code (RFC 6455, section 5.5.1).
const REASON: usize = 123;

/// Appends one close frame with `code` and `reason`.
///
/// `reason` is cut at 123 bytes, between characters (RFC 6455, section 5.5). `code` is written as it is:
/// 1005, 1006 and 1015 are not for the wire (section 7.4.1).
pub fn close_into(code: u16, reason: &str, out: &mut Vec<u8>) {
    let reason = &reason[..reason.floor_char_boundary(REASON)];
    let mut payload = [0; 2 + REASON];
    payload[..2].copy_from_slice(&code.to_be_bytes());
    payload[2..2 + reason.len()].copy_from_slice(reason.as_bytes());
    frame_into(Opcode::Close, &payload[..2 + reason.len()], out);
}

/// The code and reason of a received close frame; `None` if it says nothing (RFC 6455, section 5.5.1).
pub(crate) fn read(payload: &[u8]) -> Result<Option<(u16, &str)>, Violation> {
    match payload {
        [] => Ok(None),
        [_] => Err(Violation::protocol("a close frame of one byte")),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !may_be_sent(code) {
                return Err(Violation::protocol("a close code that nobody may send"));
            }
            let reason = simdutf8::basic::from_utf8(reason).map_err(|_| Violation::NOT_UTF8)?;
            Ok(Some((code, reason)))
        }
    }
}

/// RFC 6455, section 7.4: the codes it defines for the wire, and the ranges of libraries and applications.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1011 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(code: u16) -> Result<Option<u16>, u16> {
        match read(&code.to_be_bytes()) {
            Ok(close) => Ok(close.map(|(code, _)| code)),
            Err(violation) => Err(violation.code),
        }
    }

    #[test]
    fn codes_of_the_rfc_and_of_applications_are_accepted() {
        for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
            assert_eq!(received(code), Ok(Some(code)));
        }
    }

    #[test]
    fn reserved_and_undefined_codes_are_protocol_errors() {
        for code in [0, 999, 1004, 1005, 1006, 1012, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            assert_eq!(received(code), Err(1002), "{code}");
        }
    }

    #[test]
    fn a_close_frame_is_empty_or_has_a_whole_code() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[3]).unwrap_err().code, 1002);
        assert_eq!(read(b"\x03\xe8bye"), Ok(Some((1000, "bye"))));
        assert_eq!(read(b"\x03\xe8\xff").unwrap_err().code, 1007);
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let mut out = Vec::new();
        close_into(1009, &"é".repeat(100), &mut out);
        assert_eq!(out[..4], [0x88, 124, 0x03, 0xf1]);
        assert_eq!(std::str::from_utf8(&out[4..]).unwrap(), "é".repeat(61));
        out.clear();
        close_into(1000, "", &mut out);
        assert_eq!(out, [0x88, 2, 0x03, 0xe8]);
    }
}
