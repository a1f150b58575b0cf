// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the daemon tells the kernel programs about a place in a library that is probed: a number with each probe, its cookie.
//!
//! In: what the daemon knows of a function. Out: 64 bits, and what they mean. Does not: know libraries.

/// What is done at a probe.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Create = 1,
    Destroy = 2,
    Handshake = 3,
    Read = 4,
    Write = 5,
    GoCreate = 6,
    GoWrite = 7,
    GoRead = 8,
    GoCopyReader = 9,
    GoCopyMemory = 10,
    Ciphertext = 11,
    /// rustls makes a record, or takes one apart.
    Encrypt = 12,
    Decrypt = 13,
    /// A handshake whose end is not seen.
    OpenHandshake = 14,
    /// A session is given its socket's descriptor.
    Descriptor = 15,
}

/// Where a call tells how many bytes it moved.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nowhere, or where the action itself says.
    Elsewhere = 0,
    /// It returns the number; none where that is not positive.
    Returned = 1,
    /// Where its fourth argument points, if what it returns is positive.
    ThroughFourthArgument = 2,
    /// In the record: TLS 1.3, 1.2 with a nonce before the plaintext, 1.2 without.
    TypedRecord = 3,
    NoncedRecord = 4,
    BareRecord = 5,
}

/// Where a call has its session, and one that makes a session gives it.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    FirstArgument = 0,
    Returned = 1,
    ThroughFirstArgument = 2,
    /// The first argument of NSPR's functions, where that is a descriptor on top of another one.
    LayeredFirstArgument = 3,
}

/// When the probed instruction jumps back to the function's entry, so that it comes by again.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComesAgain {
    Never = 0,
    BelowOrSame = 1,
    Below = 2,
}

/// A probe's number: one byte for each of the above, and in the upper half how far the stack has grown since the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie(pub u64);

impl Cookie {
    #[must_use]
    pub const fn new(action: Action, told: Told, given: Given, again: ComesAgain, stack: u32) -> Self {
        Self(action as u64 | (told as u64) << 8 | (given as u64) << 16 | (again as u64) << 24 | (stack as u64) << 32)
    }

    #[inline(always)]
    #[must_use]
    pub const fn action(self) -> u8 {
        self.0 as u8
    }

    #[inline(always)]
    #[must_use]
    pub const fn told(self) -> u8 {
        (self.0 >> 8) as u8
    }

    #[inline(always)]
    #[must_use]
    pub const fn given(self) -> u8 {
        (self.0 >> 16) as u8
    }

    #[inline(always)]
    #[must_use]
    pub const fn again(self) -> u8 {
        (self.0 >> 24) as u8
    }

    #[inline(always)]
    #[must_use]
    pub const fn stack(self) -> u64 {
        self.0 >> 32
    }
}

/// Whose session it is, and the address by which its library knows it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct SessionKey {
    pub tgid: u64,
    pub address: u64,
}

/// What the kernel keeps of a session: its plaintext is a connection of its own, on the same socket, by its number.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Session {
    /// Of the connection, whose entry is found by it.
    pub id: u64,
    /// The socket's address; 0 while it is not known.
    pub socket: u64,
    /// `SESSION_*` bits.
    pub flags: u64,
}

/// Set in the number of every connection that is a session's: sockets' connections count up from zero.
pub const SESSION_BIT: u64 = 1 << 63;

/// Its beginning was seen.
pub const SESSION_FRESH: u64 = 1;
/// Its `OpenedRecord` named its socket.
pub const SESSION_PLACED: u64 = 2;
/// A call on it was perhaps under way when its library was probed: bytes may be missing before the first that are received.
pub const SESSION_INTERRUPTED: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_says_what_was_put_in() {
        let cookie =
            Cookie::new(Action::Write, Told::ThroughFourthArgument, Given::Returned, ComesAgain::Below, 0x1_0018);
        assert_eq!((cookie.action(), cookie.told(), cookie.given()), (5, 2, 1));
        assert_eq!((cookie.again(), cookie.stack()), (2, 0x1_0018));
    }
}
