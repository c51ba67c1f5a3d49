//! How the fenced blocks of an `API.md` are read.
//!
//! The kinds of blocks are described in the documentation of the crate.

use antiphon_core::dialect::Out;
use serde_json::value::RawValue;

/// A fenced block.
#[derive(Debug)]
pub(crate) struct Block {
    /// Line of its fence in the file, from 1.
    pub(crate) line: usize,
    /// The first word after the fence.
    pub(crate) kind: String,
    /// Further words after the fence.
    pub(crate) subjects: Vec<String>,
    /// What is in it.
    pub(crate) body: String,
}

/// All fenced blocks, in order.
pub(crate) fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in markdown.lines().enumerate() {
        match (line.strip_prefix("```"), open.as_mut()) {
            (Some(""), Some(_)) => blocks.extend(open.take()),
            (Some(words), None) => {
                let mut words = words.split_whitespace().map(str::to_owned);
                let kind = words.next().unwrap_or_default();
                open = Some(Block { line: index + 1, kind, subjects: words.collect(), body: String::new() });
            }
            (Some(words), Some(block)) => {
                panic!("line {}: ```{words} inside the block of line {}", index + 1, block.line)
            }
            (None, Some(block)) => {
                block.body.push_str(line);
                block.body.push('\n');
            }
            (None, None) => {}
        }
    }
    if let Some(block) = open {
        panic!("the block of line {} is never closed", block.line);
    }
    blocks
}

impl Block {
    /// The single word after the kind.
    pub(crate) fn subject(&self) -> &str {
        match self.subjects.as_slice() {
            [subject] => subject,
            other => panic!("line {}: one word belongs after {}, not {other:?}", self.line, self.kind),
        }
    }

    /// What stands before `→`, what stands after it on its line, and the lines below.
    pub(crate) fn parts(&self) -> (&str, &str, &str) {
        let Some((before, rest)) = self.body.split_once('→') else {
            panic!("line {}: there is no → in this block", self.line)
        };
        let (result, below) = rest.split_once('\n').unwrap_or((rest, ""));
        (before, result.trim(), below)
    }
}

/// JSON values that follow one another, as the comma-separated text of arguments.
pub(crate) fn arguments(text: &str) -> String {
    let values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let values: Vec<String> =
        values.map(|value| compact(value.unwrap_or_else(|e| panic!("{e} in {text}")).get())).collect();
    values.join(",")
}

/// What is told in `text`, one `<name> <arguments>` per entry.
pub(crate) fn told(text: &str) -> Vec<String> {
    let mut told = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        rest = after;
        let mut values = Vec::new();
        // The arguments of one line; a value may run on over further lines.
        loop {
            let same_line = rest.trim_start_matches([' ', '\t']);
            if same_line.is_empty() || same_line.starts_with('\n') {
                break;
            }
            let mut stream = serde_json::Deserializer::from_str(same_line).into_iter::<&RawValue>();
            match stream.next() {
                Some(Ok(value)) => values.push(compact(value.get())),
                other => panic!("{name}: {other:?} in {same_line}"),
            }
            rest = &same_line[stream.byte_offset()..];
        }
        told.push(format!("{name} {}", values.join(",")));
        rest = rest.trim_start();
    }
    told
}

/// What `out` holds, in the same form: events in order, then the ack.
pub(crate) fn said(out: &Out) -> Vec<String> {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).expect("JSON is text").to_owned();
    let events = out.events().map(|(name, args)| format!("{name} {}", text(args)));
    events.chain(out.acked().map(|args| format!("ack {}", text(args)))).collect()
}

/// JSON without the blanks between its parts.
pub(crate) fn compact(json: &str) -> String {
    let mut compact = String::with_capacity(json.len());
    let (mut in_text, mut escaped) = (false, false);
    for character in json.chars() {
        if in_text {
            in_text = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else if character.is_ascii_whitespace() {
            continue;
        } else {
            in_text = character == '"';
        }
        compact.push(character);
    }
    compact
}
