// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The two hellos of a TLS handshake, which are sent in clear: what was asked for, and what was agreed on (RFC 8446,
//! section 4.1; RFC 6066, section 3).
//!
//! In: the bytes of a handshake message, without the head of the record around it. Out: the server's name, the version.
//! Does not: follow messages over several records, or look at anything that is encrypted.

/// The head of a record: its type, a version, a length.
pub const RECORD_HEAD_BYTES: usize = 5;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const EXTENSION_SERVER_NAME: u16 = 0;
const EXTENSION_SUPPORTED_VERSIONS: u16 = 43;
const NAME_IS_HOST: u8 = 0;

/// A version of the protocol, by its number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version(pub u16);

impl Version {
    /// As people write it; absent for one that is not known.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0x0301 => "1.0",
            0x0302 => "1.1",
            0x0303 => "1.2",
            0x0304 => "1.3",
            _ => return None,
        })
    }
}

/// What one side says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hello<'a> {
    /// With the name of the server that is asked for.
    Client { server_name: Option<&'a [u8]> },
    /// With the version that was chosen.
    Server { version: Version },
}

/// Whether these bytes begin a record of the handshake.
#[must_use]
pub fn begins_handshake(bytes: &[u8]) -> bool {
    matches!(bytes, [HANDSHAKE, 3, ..])
}

/// The hello that the message is, as far as it is there.
#[must_use]
pub fn hello(message: &[u8]) -> Option<Hello<'_>> {
    let mut rest = Reader(message);
    let kind = rest.byte()?;
    rest.take(3)?;
    let legacy = rest.number()?;
    rest.take(32)?;
    rest.short_block()?;
    match kind {
        CLIENT_HELLO => {
            rest.block()?;
            rest.short_block()?;
            let server_name = rest.extension(EXTENSION_SERVER_NAME).and_then(host_name);
            Some(Hello::Client { server_name })
        }
        SERVER_HELLO => {
            rest.take(3)?;
            let chosen = rest.extension(EXTENSION_SUPPORTED_VERSIONS).and_then(|bytes| Reader(bytes).number());
            Some(Hello::Server { version: Version(chosen.unwrap_or(legacy)) })
        }
        _ => None,
    }
}

fn host_name(extension: &[u8]) -> Option<&[u8]> {
    let mut names = Reader(Reader(extension).block()?);
    if names.byte()? != NAME_IS_HOST {
        return None;
    }
    names.block().filter(|name| !name.is_empty())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn number(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Bytes with their length before them, in two bytes or in one.
    fn block(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(length.into())
    }

    fn short_block(&mut self) -> Option<&'a [u8]> {
        let length = self.byte()?;
        self.take(length.into())
    }

    /// The extension of this kind, among those that follow; those that were cut off are not looked at.
    fn extension(&mut self, wanted: u16) -> Option<&'a [u8]> {
        self.number()?;
        loop {
            let kind = self.number()?;
            let content = self.block()?;
            if kind == wanted {
                return Some(content);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn message(kind: u8, body: &[u8], extensions: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::from([kind, 0, 0, 0, 3, 3]);
        bytes.extend([7; 32]);
        bytes.extend([1, 9]);
        bytes.extend(body);
        let length: usize = extensions.iter().map(|(_, content)| 4 + content.len()).sum();
        bytes.extend((length as u16).to_be_bytes());
        for (kind, content) in extensions {
            bytes.extend(kind.to_be_bytes());
            bytes.extend((content.len() as u16).to_be_bytes());
            bytes.extend(*content);
        }
        bytes
    }

    const CLIENT: &[u8] = &[0, 2, 0x13, 1, 1, 0];
    const SERVER: &[u8] = &[0x13, 1, 0];

    #[test]
    fn a_client_names_the_server_that_it_wants() {
        let bytes = message(1, CLIENT, &[(10, &[1, 2, 3]), (0, b"\0\x08\0\0\x05a.org")]);
        assert_eq!(hello(&bytes), Some(Hello::Client { server_name: Some(b"a.org") }));
        let without = message(1, CLIENT, &[(10, &[1, 2, 3])]);
        assert_eq!(hello(&without), Some(Hello::Client { server_name: None }));
    }

    #[test]
    fn a_server_says_the_version_in_an_extension_since_1_3() {
        let version = |bytes: &[u8]| match hello(bytes) {
            Some(Hello::Server { version }) => version.name(),
            _ => None,
        };
        assert_eq!(version(&message(2, SERVER, &[(51, &[0; 4]), (43, &[3, 4])])), Some("1.3"));
        assert_eq!(version(&message(2, SERVER, &[(51, &[0; 4])])), Some("1.2"));
    }

    #[test]
    fn what_is_cut_or_changed_is_nothing_or_less() {
        let whole = message(1, CLIENT, &[(0, b"\0\x08\0\0\x05a.org")]);
        for length in 0..whole.len() {
            assert!(!matches!(hello(&whole[..length]), Some(Hello::Client { server_name: Some(_) })), "{length}");
        }
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = whole.clone();
                changed[at] = value;
                let _ = hello(&changed);
            }
        }
        assert!(begins_handshake(&[22, 3, 1]) && !begins_handshake(b"GET") && !begins_handshake(&[22]));
    }
}
