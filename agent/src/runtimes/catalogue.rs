// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The libraries that are known: how each is recognised and where its plaintext passes.
//!
//! In: the data files of `agent/runtimes/`, which are compiled in. Out: typed descriptions.
//! Does not: look at files or processes. A damaged data file is found by the tests, not by a user.

use globset::{Glob, GlobMatcher};
use serde::{Deserialize, Serialize};

const LIBRARIES: [&str; 8] = [
    include_str!("../../runtimes/openssl.toml"),
    include_str!("../../runtimes/openssl-records.toml"),
    include_str!("../../runtimes/gnutls.toml"),
    include_str!("../../runtimes/s2n.toml"),
    include_str!("../../runtimes/nss.toml"),
    include_str!("../../runtimes/nspr.toml"),
    include_str!("../../runtimes/go.toml"),
    include_str!("../../runtimes/rustls.toml"),
];
const UNREADABLE: &str = include_str!("../../runtimes/unreadable.toml");

/// Everything that is known.
#[derive(Debug)]
pub struct Catalogue {
    pub libraries: Vec<Library>,
    pub unreadable: Vec<Unreadable>,
}

/// A library that carries plaintext through functions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Library {
    pub name: String,
    pub title: String,
    /// Globs on the names of shared files.
    #[serde(deserialize_with = "globs")]
    files: Vec<GlobMatcher>,
    /// It may be a part of an executable.
    pub executables: bool,
    /// It is probed for single processes, when they need it.
    #[serde(default)]
    pub per_process: bool,
    /// Globs on the names of files that only processes have mapped which need it.
    #[serde(default, deserialize_with = "globs")]
    carriers: Vec<GlobMatcher>,
    /// Globs on the names of executables that hold it and never change stacks inside a call to it.
    #[serde(default, deserialize_with = "globs")]
    one_stack: Vec<GlobMatcher>,
    pub kind: Kind,
    /// Functions that give a table of methods: all that its objects can have, in versions that have the first of a list.
    #[serde(default)]
    pub methods: Vec<Vec<String>>,
    /// Functions without which a file does not hold it.
    pub needs: Vec<String>,
    #[serde(rename = "function")]
    pub functions: Vec<Function>,
}

/// How functions are found, and how they take their arguments.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// By the symbols of ELF; the machine's usual convention.
    Calls,
    /// By the table of functions of Go; its own convention.
    Go,
    /// By parts of mangled names; methods of Rust.
    Rust,
}

/// A function that is probed: its first three arguments are the session, a buffer and its length.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Function {
    pub symbol: String,
    pub role: Role,
    #[serde(default)]
    pub length: Length,
    /// Which session it is, or for `create` where that comes from.
    #[serde(default)]
    pub session: SessionFrom,
    /// Not probed where this one is there, which it calls.
    pub unless: Option<String>,
    /// It only hands its arguments on to another function, which this one calls as well: that one is probed for both.
    pub shares_with: Option<String>,
    /// The calls by which it hands bytes to its caller, best first.
    #[serde(default)]
    pub copies_by: Vec<String>,
    /// What a mangled name must have in it, the rarest part last. There may be several such functions.
    #[serde(default)]
    pub parts: Vec<String>,
    /// For `decrypt`: what lies around the plaintext.
    #[serde(default)]
    pub record: Option<Record>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Makes a session: what is known of an earlier one at its address is over.
    Create,
    /// Ends a session.
    Destroy,
    /// Gives it its socket, as a descriptor: the second argument.
    Descriptor,
    /// Moves no plaintext, but may move bytes on the session's socket.
    Handshake,
    Read,
    Write,
    /// Hands out what was encrypted: its second and third arguments.
    Ciphertext,
    /// Makes a record of plaintext.
    Encrypt,
    /// Makes plaintext of a record, where that lies.
    Decrypt,
}

/// How plaintext lies in a record.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// TLS 1.3: before its type and a tag.
    Typed,
    /// TLS 1.2: behind a nonce, before a tag.
    Nonced,
    /// TLS 1.2: before a tag.
    Bare,
}

/// Where the number of bytes stands that were moved.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    #[default]
    None,
    /// The result, where it is positive.
    Returned,
    /// Where the fourth argument points, if the result is positive.
    FourthArgument,
    /// The same of the fifth.
    FifthArgument,
    /// The third argument: all of it is taken.
    ThirdArgument,
    /// In the call by which the bytes are copied.
    Copied,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum SessionFrom {
    #[default]
    FirstArgument,
    Returned,
    /// Where the first argument points, when the function has returned.
    ThroughFirstArgument,
    /// The first argument, where it is a descriptor of NSPR's that lies on another one.
    LayeredFirstArgument,
}

/// A library that is known and cannot be read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unreadable {
    pub name: String,
    pub title: String,
    #[serde(deserialize_with = "globs")]
    files: Vec<GlobMatcher>,
    pub reason: String,
    pub remedy: String,
}

#[derive(Deserialize)]
struct UnreadableFile {
    unreadable: Vec<Unreadable>,
}

impl Catalogue {
    /// What is compiled in.
    #[must_use]
    pub fn new() -> Self {
        let libraries = LIBRARIES.map(|text| toml::from_str(text).expect("the data files are checked by the tests"));
        let UnreadableFile { unreadable } = toml::from_str(UNREADABLE).expect("as above");
        Self { libraries: libraries.into(), unreadable }
    }

    /// The libraries that a file of this name may hold: those that are probed for all processes, or the others.
    pub fn candidates<'a>(
        &'a self,
        name: &'a str,
        is_executable: bool,
        per_process: bool,
    ) -> impl Iterator<Item = &'a Library> {
        self.libraries.iter().filter(move |library| {
            library.per_process == per_process && ((is_executable && library.executables) || library.is_called(name))
        })
    }

    /// Whether who has mapped a file of this name carries TLS records to sockets itself.
    #[must_use]
    pub fn tells_carrier(&self, name: &str) -> bool {
        self.libraries.iter().any(|library| library.carriers.iter().any(|glob| glob.is_match(name)))
    }
}

impl Default for Catalogue {
    fn default() -> Self {
        Self::new()
    }
}

impl Library {
    /// Whether a shared file of this name may hold it.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.files.iter().any(|glob| glob.is_match(name))
    }

    /// Whether a call to it in an executable of this name returns on the stack that it was made on, before any other one does.
    /// rustls moves no bytes itself: a record is encrypted or decrypted in one go.
    #[must_use]
    pub fn keeps_to_one_stack(&self, executable: &str) -> bool {
        self.kind == Kind::Rust || self.one_stack.iter().any(|glob| glob.is_match(executable))
    }
}

impl Unreadable {
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.files.iter().any(|glob| glob.is_match(name))
    }
}

fn globs<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<GlobMatcher>, D::Error> {
    let patterns = Vec::<String>::deserialize(deserializer)?;
    let compiled = patterns.iter().map(|pattern| Glob::new(pattern).map(|glob| glob.compile_matcher()));
    compiled.collect::<Result<_, _>>().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_library_is_complete() {
        for library in Catalogue::new().libraries.into_iter().filter(|library| !library.per_process) {
            let role = |role| library.functions.iter().any(|function| function.role == role);
            let by_calls = role(Role::Create) && role(Role::Read) && role(Role::Write);
            // NSS makes sessions, and has NSPR move what is said.
            let by_calls = by_calls || ["nss", "nspr"].contains(&library.name.as_str());
            assert!(by_calls || (role(Role::Encrypt) && role(Role::Decrypt)), "{}", library.name);
            for function in &library.functions {
                let moves = matches!(function.role, Role::Read | Role::Write);
                assert_eq!(moves, function.length != Length::None, "{}", function.symbol);
                assert_eq!(function.parts.is_empty(), library.kind != Kind::Rust, "{}", function.symbol);
                assert_eq!(function.record.is_some(), function.role == Role::Decrypt, "{}", function.symbol);
                assert_eq!(function.length == Length::Copied, !function.copies_by.is_empty(), "{}", function.symbol);
                for other in function.unless.iter().chain(&function.shares_with) {
                    assert!(library.functions.iter().any(|function| function.symbol == *other), "{other}");
                }
            }
            for needed in &library.needs {
                assert!(library.functions.iter().any(|function| function.symbol == *needed), "{needed}");
            }
        }
    }

    #[test]
    fn files_are_recognised_by_their_names() {
        let catalogue = Catalogue::new();
        let found = |name: &str, is_executable| -> Vec<String> {
            catalogue.candidates(name, is_executable, false).map(|library| library.name.clone()).collect()
        };
        assert_eq!(found("libssl.so.3", false), ["openssl"]);
        assert_eq!(found("libssl-5d3b6d6e.so.1.1", false), ["openssl"]);
        assert_eq!(found("libgnutls.so.30.34.3", false), ["gnutls"]);
        assert_eq!(found("libc.so.6", false), [""; 0]);
        assert_eq!(found("node", true), ["openssl", "s2n", "go", "rustls"]);
        assert!(catalogue.unreadable.iter().any(|library| library.is_called("libjvm.so")));
        assert!(catalogue.tells_carrier("_asyncio.cpython-311-x86_64-linux-gnu.so"));
        assert!(!catalogue.tells_carrier("libssl.so.3"));
    }
}
