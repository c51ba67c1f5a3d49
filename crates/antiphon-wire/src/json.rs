//! What can be said about a JSON text without building a tree from it?
//!
//! Whether it nests too deeply, whether it is JSON at all, where a string ends, and how a string is written.
//! A tree can be thirty times the size of its text, so no text of a peer becomes one here.

use serde::de::IgnoredAny;

/// The whitespace of RFC 8259, section 2.
pub(crate) const WHITESPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// Whether no more than `limit` arrays and objects are open at any place of `text`. Needs no valid JSON, so
/// it can run first.
pub(crate) fn nests_within(text: &str, limit: usize) -> bool {
    if text.len() <= limit {
        return true;
    }
    let bytes = text.as_bytes();
    let (mut position, mut depth) = (0, 0_usize);
    while let Some(byte) = bytes.get(position) {
        match byte {
            b'"' => match string_end(bytes, position) {
                Some(end) => position = end - 1,
                None => return true,
            },
            b'[' | b'{' if depth == limit => return false,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        position += 1;
    }
    true
}

/// Whether `text` is exactly one JSON value (RFC 8259). Takes no stack and next to no memory, however deep
/// the value.
///
/// Lone surrogates in escapes (`\ud800`) and numbers beyond `f64` pass, as they do in JavaScript.
pub(crate) fn is_valid(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// The position behind the closing quote of the string that opens at `start`, or `None` if it does not end.
pub(crate) fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut position = start + 1;
    loop {
        match bytes.get(position)? {
            b'"' => return Some(position + 1),
            b'\\' => position += 2,
            _ => position += 1,
        }
    }
}

/// How many bytes [`write_string`] appends for `text`.
pub(crate) fn string_length(text: &str) -> usize {
    if is_plain(text) {
        return 2 + text.len();
    }
    2 + text.bytes().map(escaped_length).sum::<usize>()
}

/// Whether `text` needs no escape. Nearly all text needs none, and this looks at many bytes at a time.
fn is_plain(text: &str) -> bool {
    !text.bytes().fold(false, |found, byte| found | (byte < 0x20) | (byte == b'"') | (byte == b'\\'))
}

/// Appends `text` as a JSON string with its quotes.
pub(crate) fn write_string(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    if is_plain(text) {
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    for byte in text.bytes() {
        match (escaped_length(byte), short_escape(byte)) {
            (1, _) => out.push(byte),
            (_, Some(letter)) => out.extend_from_slice(&[b'\\', letter]),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
    }
    out.push(b'"');
}

fn escaped_length(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' => 2,
        0x20.. => 1,
        _ if short_escape(byte).is_some() => 2,
        _ => 6,
    }
}

fn short_escape(byte: u8) -> Option<u8> {
    Some(match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nested(levels: usize) -> String {
        "[".repeat(levels) + &"]".repeat(levels)
    }

    #[test]
    fn nesting_is_counted_up_to_and_including_the_limit() {
        assert!(nests_within(&nested(64), 64));
        assert!(!nests_within(&nested(65), 64));
        assert!(!nests_within(r#"{"a":[{"b":1}]}"#, 2));
        assert!(nests_within(r#"{"a":[{"b":1}]}"#, 3));
        assert!(nests_within("[[],[],[],[]]", 2));
    }

    #[test]
    fn brackets_inside_strings_do_not_nest() {
        assert!(nests_within(r#"["[[[[", "\"[[[[", "\\"]"#, 1));
        assert!(nests_within(r#"["never ends [[[["#, 1));
        assert!(!nests_within(r#"["\\",[]]"#, 1));
    }

    #[test]
    fn validity_is_the_grammar_and_nothing_more() {
        for good in ["[]", " {\"a\":1}\n", "\"\\ud800\"", "1e999", "null"] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", "[", "[1,]", "{a:1}", "[1] 2", "\"\u{1}\"", "01", "\"\\x\"", "'a'"] {
            assert!(!is_valid(bad), "{bad}");
        }
        assert!(is_valid(&nested(100_000)));
    }

    #[test]
    fn a_string_ends_at_its_first_unescaped_quote() {
        assert_eq!(string_end(br#""a"b"#, 0), Some(3));
        assert_eq!(string_end(br#""a\"b""#, 0), Some(6));
        assert_eq!(string_end(br#""a\\"b"#, 0), Some(5));
        assert_eq!(string_end(br#""a\"#, 0), None);
        assert_eq!(string_end(b"\"", 0), None);
    }

    proptest! {
        #[test]
        fn strings_are_written_as_serde_json_writes_them(text in "(\\PC|[\\x00-\\x7f])*") {
            let mut out = Vec::new();
            write_string(&text, &mut out);
            prop_assert_eq!(out.len(), string_length(&text));
            prop_assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&text).unwrap());
        }
    }
}
