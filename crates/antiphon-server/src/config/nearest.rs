//! Which of the known names somebody may have meant.

/// More differences than these are another name, however long it is.
const FARTHEST: usize = 3;

/// The known name that is nearest to `name`, if one is near enough to be worth suggesting.
///
/// Case and separators do not count, so `pingInterval` is `ping_interval`; otherwise up to a third of the letters may differ, and
/// no more than three.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = plain(name);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&plain, &self::plain(candidate)), candidate))
        .filter(|(distance, candidate)| {
            *distance <= (plain.len().min(candidate.len()) / 3).clamp(1, FARTHEST)
        })
        .min()
        .map(|(_, candidate)| candidate)
}

fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_and_a_far_one_is_not() {
        let known = ["cores", "data", "drain", "ping_interval", "ping_timeout"];
        for (name, expected) in [
            ("coers", Some("cores")),
            ("Cores", Some("cores")),
            ("pingInterval", Some("ping_interval")),
            ("ping-timeout", Some("ping_timeout")),
            ("date", Some("data")),
            ("colour", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, known), expected, "{name}");
        }
    }
}
