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
}

/// Where a call that makes a session gives it.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    FirstArgument = 0,
    Returned = 1,
    ThroughFirstArgument = 2,
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

/// What the kernel keeps of a session: its plaintext is a connection of its own, on the same socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Session {
    /// Of the connection.
    pub id: u64,
    /// The socket's address; 0 while it is not known.
    pub socket: u64,
    /// `SESSION_*` bits.
    pub flags: u32,
    /// Changes of direction so far, and the last of which a record was delivered.
    pub turn: u32,
    pub reported_turn: u32,
    /// Bytes that may still be copied in this turn.
    pub budget: u32,
    /// Where each direction stands: counted from 0, or from anywhere where the beginning was not seen.
    pub sent: u32,
    pub received: u32,
}

/// Its beginning was seen.
pub const SESSION_FRESH: u32 = 1;
/// The last bytes were sent.
pub const SESSION_LAST_SENT: u32 = 2;
/// Its `OpenedRecord` was delivered.
pub const SESSION_REPORTED: u32 = 4;
/// Nothing more is reported.
pub const SESSION_OVER: u32 = 8;
/// A call on it was perhaps under way when its library was probed: bytes may be missing before the first that are received.
pub const SESSION_INTERRUPTED: u32 = 32;
/// Its `OpenedRecord` named its socket.
pub const SESSION_PLACED: u32 = 16;

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
