// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! A frame's header (RFC 9113 section 4.1): how long it is, of what kind, and whether a peer may send it.

use agent_common::limits::RECORD_PAYLOAD_BYTES;

use crate::{
    bounds::within,
    transfer::{SCRATCH_BYTES, Scratch},
};

pub const HEADER_BYTES: u32 = 9;

/// What a client says before its first frame, and how that begins.
pub const PREFACE_BYTES: u32 = 24;
const PREFACE_BEGIN: u32 = u32::from_be_bytes(*b"PRI ");

const DATA: u32 = 0;
pub const HEADERS: u32 = 1;
const RESET: u32 = 3;
pub const SETTINGS: u32 = 4;
const PUSH_PROMISE: u32 = 5;
const PING: u32 = 6;
const WINDOW_UPDATE: u32 = 8;
pub const CONTINUATION: u32 = 9;

type HeaderBytes = [u8; HEADER_BYTES as usize];

pub struct Header {
    pub length: u32,
    pub kind: u32,
    pub flags: u32,
    /// With the bit that is reserved.
    pub stream: u32,
    pub is_preface: bool,
}

impl Header {
    /// The one that has been put together.
    #[inline(always)]
    pub fn of(scratch: &Scratch) -> Self {
        // SAFETY: a valid reference; volatile for the verifier's sake.
        Self::parse(unsafe { (&raw const scratch.walk.header).cast::<HeaderBytes>().read_volatile() })
    }

    /// The one that stands in the payload.
    #[inline(always)]
    pub fn at(payload: *const [u8; SCRATCH_BYTES], at: u32) -> Self {
        let at = within(at, RECORD_PAYLOAD_BYTES);
        // SAFETY: `at` is below half of the payload's size.
        Self::parse(unsafe { payload.cast::<u8>().add(at).cast::<HeaderBytes>().read_volatile() })
    }

    #[inline(always)]
    fn parse([a, b, c, kind, flags, stream @ ..]: HeaderBytes) -> Self {
        Self {
            length: u32::from_be_bytes([0, a, b, c]),
            kind: kind.into(),
            flags: flags.into(),
            stream: u32::from_be_bytes(stream),
            is_preface: u32::from_be_bytes([a, b, c, kind]) == PREFACE_BEGIN,
        }
    }

    /// Its payload is of interest to nobody. Kinds that are not known are to be ignored by whoever does not know them.
    #[inline(always)]
    pub fn is_counted(&self) -> bool {
        self.kind == DATA || self.kind > CONTINUATION
    }

    /// Whether a peer may send it; frames of unknown kinds it may.
    #[inline(always)]
    pub fn is_legal(&self) -> bool {
        let has_stream = self.stream != 0;
        self.stream >> 31 == 0
            && match self.kind {
                DATA | HEADERS | PUSH_PROMISE | CONTINUATION => has_stream,
                RESET => has_stream && self.length == 4,
                SETTINGS => !has_stream && self.length.is_multiple_of(6),
                PING => !has_stream && self.length == 8,
                WINDOW_UPDATE => self.length == 4,
                _ => true,
            }
    }
}
