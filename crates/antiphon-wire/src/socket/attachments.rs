//! Does every placeholder stand for an attachment, and every attachment for a placeholder?
//!
//! Socket.IO protocol, "Sending and receiving data", "with binary data": `{"_placeholder":true,"num":0}`
//! stands where the first attachment belongs.

use smallvec::SmallVec;

use crate::json;

/// Whether the placeholders of `text`, which is valid JSON, are exactly those for `count` attachments: whole
/// numbers from 0, each once, in objects of nothing else.
///
/// Reads the text once and builds no tree: a tree could be thirty times its size.
pub(crate) fn placeholders_match(text: &str, count: usize) -> bool {
    let mut used: SmallVec<[bool; 16]> = SmallVec::from_elem(false, count);
    let bytes = text.as_bytes();
    let mut open: SmallVec<[Container<'_>; 16]> = SmallVec::new();
    let (mut position, mut match_so_far) = (0, true);
    while let Some(&byte) = bytes.get(position) {
        let mut end = position + 1;
        match byte {
            b'{' | b'[' => open.push(Container { is_object: byte == b'{', ..Container::default() }),
            b'}' | b']' => {
                match_so_far &=
                    open.pop().is_none_or(|closed| !closed.is_placeholder || closed.take(&mut used));
            }
            b',' => {
                if let Some(container) = open.last_mut() {
                    container.key = None;
                }
            }
            b'"' => {
                end = json::string_end(bytes, position).unwrap_or(bytes.len());
                if let Some(container) = open.last_mut() {
                    container.string(text.get(position..end).unwrap_or_default());
                }
            }
            b'-' | b'0'..=b'9' | b'a'..=b'z' => {
                let is_over = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
                end = bytes[position..]
                    .iter()
                    .position(is_over)
                    .map_or(bytes.len(), |length| position + length);
                if let Some(container) = open.last_mut() {
                    container.scalar(text.get(position..end).unwrap_or_default());
                }
            }
            _ => {}
        }
        position = end;
    }
    match_so_far && used.iter().all(|used| *used)
}

/// An array or object that is open, and what it has shown so far.
#[derive(Default)]
struct Container<'a> {
    is_object: bool,
    is_placeholder: bool,
    members: usize,
    /// The key whose value comes now.
    key: Option<Key>,
    number: Option<&'a str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Placeholder,
    Number,
    Other,
}

impl<'a> Container<'a> {
    /// A string: in an object the key of a member, unless it is the value of one.
    fn string(&mut self, quoted: &str) {
        if !self.is_object || self.key.is_some() {
            return;
        }
        self.members += 1;
        let unescaped;
        let key = if quoted.contains('\\') {
            unescaped = serde_json::from_str::<String>(quoted).unwrap_or_default();
            unescaped.as_str()
        } else {
            quoted.trim_matches('"')
        };
        self.key = Some(match key {
            "_placeholder" => Key::Placeholder,
            "num" => Key::Number,
            _ => Key::Other,
        });
    }

    /// A number or a word, the value of a member or an element.
    fn scalar(&mut self, token: &'a str) {
        match self.key {
            Some(Key::Placeholder) => self.is_placeholder |= token == "true",
            Some(Key::Number) => self.number = Some(token),
            _ => {}
        }
    }

    /// Marks the attachment of this placeholder as used. False if there is none, or it was used before, or
    /// the object holds more than a placeholder does.
    fn take(&self, used: &mut [bool]) -> bool {
        let number = self.number.and_then(|number| number.parse::<usize>().ok());
        match number.and_then(|number| used.get_mut(number)) {
            Some(slot) if self.members == 2 => !std::mem::replace(slot, true),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_found_wherever_they_stand() {
        for (text, count) in [
            (r#"["baz",{"_placeholder":true,"num":0}]"#, 1),
            (r#"["baz",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#, 2),
            (r#"[{"a":[{"b":{"num":1,"_placeholder":true}}]},{ "_placeholder" : true , "num" : 0 }]"#, 2),
            (r#"["{\"_placeholder\":true,\"num\":7}",{"_placeholder":true,"num":0}]"#, 1),
            (r#"[{"\u005fplaceholder":true,"num":0}]"#, 1),
            (r#"[{"_placeholder":false,"num":9},{"_placeholder":"true","num":9},{"num":9}]"#, 0),
            (r#"[{"key":"_placeholder","num":3},["_placeholder",true,"num",3]]"#, 0),
            ("[]", 0),
        ] {
            assert!(placeholders_match(text, count), "{text}");
        }
    }

    #[test]
    fn a_placeholder_without_its_own_attachment_is_refused() {
        for (text, count) in [
            (r#"["x"]"#, 1),
            (r#"[{"_placeholder":true,"num":1}]"#, 1),
            (r#"[{"_placeholder":true,"num":-1}]"#, 1),
            (r#"[{"_placeholder":true,"num":0.5}]"#, 1),
            (r#"[{"_placeholder":true,"num":"0"}]"#, 1),
            (r#"[{"_placeholder":true,"num":18446744073709551616}]"#, 1),
            (r#"[{"_placeholder":true}]"#, 1),
            (r#"[{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]"#, 1),
            (r#"[{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]"#, 2),
            (r#"[{"_placeholder":true,"num":0}]"#, 2),
            (r#"[{"_placeholder":true,"num":0,"more":1}]"#, 1),
            (r#"[{"_placeholder":true,"num":{"_placeholder":true,"num":0}}]"#, 1),
            (r#"[{"_placeholder":true,"num":0}]"#, 0),
        ] {
            assert!(!placeholders_match(text, count), "{text}");
        }
    }
}
