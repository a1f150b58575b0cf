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
    /// The same of its fifth.
    ThroughFifthArgument = 6,
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

/// Under which condition a hit is none: what the probed instruction jumps by, where it leads back to the function's entry, or away
/// from the function's end. As the processor numbers conditions in its instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition(pub u8);

impl Condition {
    /// The opposite: processors have it beside it.
    #[must_use]
    pub const fn inverted(self) -> Self {
        Self(self.0 ^ 1)
    }
}

/// A probe's number: one byte for each of the above, three for how far the stack has grown since the entry, and one for the
/// register that the function's result is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie(pub u64);

/// Larger stacks are no function's of a library.
const STACK_MASK: u64 = 0xff_ffff;

impl Cookie {
    /// Instead of a register: the function gives nothing where it is left here.
    pub const NOTHING: u8 = u8::MAX;

    #[must_use]
    pub const fn new(action: Action, told: Told, given: Given) -> Self {
        Self(action as u64 | (told as u64) << 8 | (given as u64) << 16)
    }

    /// With what the place's code tells.
    #[must_use]
    pub const fn at(self, unless: Option<Condition>, stack: u32, result: u8) -> Self {
        let unless = match unless {
            Some(condition) => condition.0 as u64 + 1,
            None => 0,
        };
        Self(self.0 | unless << 24 | (stack as u64 & STACK_MASK) << 32 | (result as u64) << 56)
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
    pub const fn unless(self) -> Option<Condition> {
        match (self.0 >> 24) as u8 {
            0 => None,
            condition => Some(Condition(condition - 1)),
        }
    }

    #[inline(always)]
    #[must_use]
    pub const fn stack(self) -> u64 {
        self.0 >> 32 & STACK_MASK
    }

    /// The register's number; 0 where it is the one that the convention has.
    #[inline(always)]
    #[must_use]
    pub const fn result(self) -> u8 {
        (self.0 >> 56) as u8
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
        let cookie = Cookie::new(Action::Write, Told::ThroughFourthArgument, Given::Returned);
        let placed = cookie.at(Some(Condition(0)), 0x1_0018, 12);
        assert_eq!((placed.action(), placed.told(), placed.given()), (5, 2, 1));
        assert_eq!((placed.unless(), placed.stack(), placed.result()), (Some(Condition(0)), 0x1_0018, 12));
        assert_eq!((cookie.unless(), cookie.stack(), cookie.result()), (None, 0, 0));
        assert_eq!(Condition(4).inverted().inverted(), Condition(4));
    }
}
