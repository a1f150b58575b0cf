// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What can be wrong with a configuration, and what is merely worth a warning: each one sentence with its place.
//!
//! No secret is kept in them: values arrive here already masked.

use std::{fmt, io, path::PathBuf};

use super::values::Refusal;

/// A place in the YAML file; lines and columns count from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub file: PathBuf,
    pub line: usize,
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Flag(&'static str),
    Environment(&'static str),
    /// A variable of another agent, and the name it has here.
    EnvironmentAlias(&'static str, String),
    File(Place),
    /// A key of another agent's file, and the name it has here.
    FileAlias(Place, &'static str, &'static str),
    Default,
}

impl Origin {
    /// Flag over environment over file over default; a name of our own over an alias.
    pub(super) const fn strength(&self) -> u8 {
        match self {
            Self::Flag(_) => 5,
            Self::Environment(_) => 4,
            Self::EnvironmentAlias(..) => 3,
            Self::File(_) => 2,
            Self::FileAlias(..) => 1,
            Self::Default => 0,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::EnvironmentAlias(name, own) => write!(f, "environment {name} (an alias of {own})"),
            Self::File(place) => write!(f, "{place}"),
            Self::FileAlias(place, key, own) => write!(f, "{place}, key {key} (an alias of {own})"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Reasons to refuse the start.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("{line}; `onlooker --help` lists the options")]
    CommandLine { line: String },
    #[error("there is no option {flag}{}; `onlooker --help` lists the options", hint(nearest.map(|name| format!("--{name}")).as_deref()))]
    UnknownFlag { flag: String, nearest: Option<&'static str> },
    #[error("there is no command `{command}`{}; `onlooker --help` lists the commands", hint(nearest.as_deref()))]
    UnknownCommand { command: String, nearest: Option<String> },
    #[error("{option} has an empty value: leave it out, or give one")]
    EmptyFlag { option: String },
    #[error("environment {name}: Onlooker has no such variable{}", hint(*nearest))]
    UnknownVariable { name: String, nearest: Option<&'static str> },
    #[error("{place}: there is no key `{key}`{}", hint(nearest.as_deref()))]
    UnknownKey { place: Place, key: String, nearest: Option<String> },
    #[error("{place}: the key `{key}` is there twice; the first is on line {first_line}")]
    DuplicateKey { place: Place, key: String, first_line: usize },
    #[error("{origin}: the value is not UTF-8 text")]
    NotText { origin: Origin },
    #[error("{place}: `{key}` takes {expected}, and this is {found}")]
    WrongShape { place: Place, key: String, expected: &'static str, found: &'static str },
    #[error("{place}: this selector has no condition, so that it would stand for every process")]
    EmptySelector { place: Place },
    #[error("{place}: this is not YAML: {reason}")]
    NotYaml { place: Place, reason: String },
    #[error("{place}: {limit}")]
    TooMuchYaml { place: Place, limit: &'static str },
    #[error("{origin}: the file {} cannot be read: {error}", path.display())]
    Unreadable { origin: Origin, path: PathBuf, error: io::Error },
    #[error("{} cannot be `{value}`: {refusal}", subject(origin, option))]
    BadValue { origin: Origin, option: String, value: String, refusal: Refusal },
    #[error(
        "{origin}: the batch of {batch} spans is larger than the queue of {queue}: lower OTEL_BSP_MAX_EXPORT_BATCH_SIZE or raise OTEL_BSP_MAX_QUEUE_SIZE"
    )]
    BatchOverQueue { origin: Origin, batch: usize, queue: usize },
    #[error("{origin}: {given} is given without {missing}: a client certificate needs both")]
    HalfAnIdentity { origin: Origin, given: &'static str, missing: &'static str },
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!(": did you mean `{name}`?"))
}

/// A flag is its own place.
fn subject(origin: &Origin, option: &str) -> String {
    match origin {
        Origin::Flag(_) => option.to_owned(),
        _ => format!("{origin}: {option}"),
    }
}

/// Things that do not stop the start, to be logged once it has happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    #[error("environment {name} has no meaning in Onlooker and is ignored{}", hint(*nearest))]
    VariableIgnored { name: String, nearest: Option<&'static str> },
    #[error("{place}: `{key}` has no meaning in Onlooker and is ignored")]
    KeyIgnored { place: Place, key: String },
    #[error("{origin}: metrics are not sent yet; they are on /metrics of the admin address")]
    MetricsNotSent { origin: Origin },
    #[error("{origin}: {given} is ignored, because the sampler {sampler} takes no ratio")]
    SamplerArgumentIgnored { origin: Origin, given: String, sampler: String },
    #[error("{origin}: the endpoint has no scheme, so TLS is used; write http:// before it for none")]
    TlsAssumed { origin: Origin },
}

/// Everything that is wrong, in the order in which it was read. Never empty.
#[derive(Debug)]
pub struct ConfigError {
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// A bad option or configuration.
    #[must_use]
    pub const fn exit_status(&self) -> u8 {
        2
    }
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}
