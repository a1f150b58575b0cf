// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What was given for each option, before its meaning is known: texts with where they came from, and the stronger one
//! of two. Problems and warnings gather here too, so that all of them are told at once.

use std::collections::BTreeMap;

use super::{
    Selector,
    options::{Key, Kind, Row},
    pairs,
    problem::{Origin, Problem, Warning},
    values::Refusal,
};

#[derive(Clone, Debug)]
pub(super) struct Given {
    pub text: String,
    pub origin: Origin,
}

#[derive(Debug, Default)]
pub(super) struct Settings {
    given: BTreeMap<Key, Given>,
    /// `discovery` of the file.
    pub include: Vec<Selector>,
    pub exclude: Vec<Selector>,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Warning>,
}

impl Settings {
    /// Keeps the stronger of two; the first of two equals. An empty text is no value, as the OpenTelemetry specification
    /// says of variables.
    pub(super) fn offer(&mut self, row: &'static Row, text: &str, origin: Origin) {
        let text = text.trim();
        let is_weaker = |known: &Given| known.origin.strength() >= origin.strength();
        if text.is_empty() || self.given.get(&row.key).is_some_and(is_weaker) {
            return;
        }
        // Their values are accepted under their names only: `--print text` is a mistake.
        let is_alias = matches!(origin, Origin::EnvironmentAlias(..) | Origin::FileAlias(..));
        let own = row.alias_values.iter().find(|(theirs, _)| is_alias && theirs.eq_ignore_ascii_case(text));
        let text = own.map_or(text, |(_, ours)| ours).to_owned();
        self.given.insert(row.key, Given { text, origin });
    }

    pub(super) fn get(&self, key: Key) -> Option<&Given> {
        self.given.get(&key)
    }

    pub(super) fn origin(&self, key: Key) -> Origin {
        self.get(key).map_or(Origin::Default, |given| given.origin.clone())
    }

    /// The value of an option, or of its default. Nothing where there is neither, and where it was refused: then the
    /// problem is noted, and the configuration is not used.
    pub(super) fn value<T>(&mut self, key: Key, parse: impl Fn(&str) -> Result<T, Refusal>) -> Option<T> {
        let row = Row::of(key);
        let Some(given) = self.given.get(&key) else {
            let default = row.default?;
            return Some(parse(default).unwrap_or_else(|refusal| unreachable!("default of {}: {refusal}", row.name())));
        };
        match parse(&given.text) {
            Ok(value) => Some(value),
            Err(refusal) => {
                self.problems.push(Problem::BadValue {
                    origin: given.origin.clone(),
                    option: row.name(),
                    value: shown(row.kind, &given.text),
                    refusal,
                });
                None
            }
        }
    }
}

/// The text without its secrets.
pub(super) fn shown(kind: Kind, text: &str) -> String {
    match kind {
        Kind::SecretPairs => pairs::masked(text),
        Kind::Address => without_credentials(text),
        _ => text.to_owned(),
    }
}

/// `http://user:password@host` with stars. Whatever stands before the last `@` of the authority is hidden, and so is the
/// query, where vendors put keys.
fn without_credentials(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let separator = if scheme.is_empty() { "" } else { "://" };
    let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, _)| (rest, "?***"));
    let rest = rest.rsplit_once('@').map_or_else(|| rest.to_owned(), |(_, host)| format!("***@{host}"));
    format!("{scheme}{separator}{rest}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_hidden() {
        for (url, expected) in [
            ("http://host:4318", "http://host:4318"),
            ("https://user:p@ss@host/x", "https://***@host/x"),
            ("user:pass@host:4317", "***@host:4317"),
            ("http://host/x?token=1", "http://host/x?***"),
        ] {
            assert_eq!(shown(Kind::Address, url), expected);
        }
    }

    #[test]
    fn the_stronger_origin_is_kept() {
        let row = Row::of(Key::Log);
        let mut settings = Settings::default();
        settings.offer(row, "warn", Origin::EnvironmentAlias("BEYLA_LOG_LEVEL", String::new()));
        settings.offer(row, "info", Origin::Environment("ONLOOKER_LOG"));
        settings.offer(row, "debug", Origin::EnvironmentAlias("BEYLA_LOG_LEVEL", String::new()));
        settings.offer(row, " ", Origin::Flag("log"));
        assert_eq!(settings.get(Key::Log).unwrap().text, "info");
        settings.offer(row, "trace", Origin::Flag("log"));
        assert_eq!(settings.get(Key::Log).unwrap().text, "trace");
    }
}
