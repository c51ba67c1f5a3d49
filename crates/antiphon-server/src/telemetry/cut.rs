//! How much room a log has for what somebody else made up.

/// Bytes of one field.
const LONGEST: usize = 256;

/// As much of `text` as goes into a log or a span: its first 256 bytes, or a little less so that no character is torn.
///
/// For everything that clients, backends or other servers choose: methods, paths, names, reasons. Characters that do something
/// to a terminal are escaped when the line is written, whoever wrote them.
pub(crate) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t28_a_text_is_cut_between_characters() {
        let whole = "y".repeat(LONGEST);
        assert_eq!(cut(&whole), whole);
        assert_eq!(cut(&format!("{whole}y")), whole);
        for (character, kept) in [("\n", 256), ("\u{1b}", 256), ("é", 256), ("\u{202e}", 255), ("👩", 256)]
        {
            let long = character.repeat(10 * 1_024);
            assert_eq!(cut(&long), character.repeat(kept / character.len()), "{character:?}");
        }
        assert_eq!(cut(&format!("x{}", "👩".repeat(100))).len(), 253);
        assert_eq!(cut(""), "");
    }
}
