// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The known name that a wrong one was probably meant to be.
//!
//! Prefers silence to a bad guess: a name that is wrong in more than a third of its letters has no nearest one.

/// The nearest of `known`, if it is near enough to be worth saying.
pub(super) fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = fold(wrong);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&folded, &fold(name)), name))
        .filter(|(distance, name)| *distance * 3 <= name.len().max(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Case and the choice of `-` or `_` are no distance at all.
fn fold(name: &str) -> String {
    name.to_ascii_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_is_found_and_a_stranger_is_not() {
        let known = ["open_port", "exe", "pid", "print"];
        for (wrong, expected) in [
            ("open-port", Some("open_port")),
            ("opne_port", Some("open_port")),
            ("prnt", Some("print")),
            ("Exe", Some("exe")),
            ("pdi", Some("pid")),
            ("kubernetes", None),
            ("", None),
        ] {
            assert_eq!(nearest(wrong, known), expected, "{wrong}");
        }
    }
}
