// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The text form of `OTEL_RESOURCE_ATTRIBUTES`, and names for attributes that are known only at run time.
//!
//! In: what a process was started with. Out: names and values.
//! Does not: fail. As the specification says, a text that breaks the form counts as empty.

use rustc_hash::FxHashSet;

/// Different names over the daemon's life. Larger: a machine full of odd variables costs memory that is never freed.
/// Smaller: attributes that the user set are left out.
const NAMES: usize = 256;

/// Bytes of one name: the same harm.
const NAME_BYTES: usize = 128;

/// Attributes of one process. Larger: one odd process makes every export larger. Smaller: attributes are left out.
pub const ATTRIBUTES: usize = 64;

/// Names that live as long as the daemon, each made once: attributes name their keys by reference.
#[derive(Debug, Default)]
pub struct Names(FxHashSet<&'static str>);

impl Names {
    /// Absent where there is no room for another.
    pub fn get(&mut self, name: &str) -> Option<&'static str> {
        if let Some(known) = self.0.get(name) {
            return Some(known);
        }
        if self.0.len() >= NAMES || name.is_empty() || name.len() > NAME_BYTES {
            return None;
        }
        let kept: &'static str = Box::leak(Box::from(name));
        self.0.insert(kept);
        Some(kept)
    }
}

/// `name=value,name=value`, values percent-encoded (OpenTelemetry specification, resource SDK; W3C Baggage).
#[must_use]
pub fn parse(text: &str) -> Vec<(String, String)> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty()).take(ATTRIBUTES).map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let name = name.trim();
        (!name.is_empty()).then_some((name.to_owned(), percent_decoded(value.trim())?))
    });
    pairs.collect::<Option<Vec<_>>>().unwrap_or_default()
}

fn percent_decoded(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, after) = if byte == b'%' {
            let (digits, after) = after.split_at_checked(2)?;
            (u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?, after)
        } else {
            (byte, after)
        };
        decoded.push(byte);
        rest = after;
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let found = parse(text);
        let found: Vec<(&str, &str)> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn lists() {
        check("", &[]);
        check("a=b", &[("a", "b")]);
        check(" a = b , c=d=e,", &[("a", "b"), ("c", "d=e")]);
        check("a=b%20c%2C", &[("a", "b c,")]);
        check("a=", &[("a", "")]);
        check("a=b,c", &[]);
        check("a=%zz", &[]);
        check("a=%f", &[]);
        check("=b", &[]);
    }

    #[test]
    fn names_are_made_once_and_are_bounded() {
        let mut names = Names::default();
        let first = names.get("a").expect("room");
        assert!(std::ptr::eq(first, names.get("a").expect("known")));
        let found = (0..2 * NAMES).filter(|number| names.get(&format!("n{number}")).is_some()).count();
        assert_eq!(found, NAMES - 1);
        assert!(names.get("a").is_some());
        assert_eq!(Names::default().get(&"x".repeat(NAME_BYTES + 1)), None);
    }
}
