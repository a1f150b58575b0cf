// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A body whose framing is known: where it ends.
//!
//! In: its bytes, and gaps. Out: whether it goes on, has ended, or cannot be followed any further; bytes are counted.
//! Does not: keep any of them.

use super::chunks::Chunks;

/// How the end of a body is told (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
    /// The head contradicts itself.
    Unknown,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Body {
    Length { left: u64 },
    Chunked(Chunks),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Inside,
    /// The body's last byte was the one before this place of the input.
    Ended {
        used: u64,
    },
    /// The framing is not what it should be, or was lost.
    Astray,
}

impl Body {
    pub(super) fn read(&mut self, bytes: &[u8], counted: &mut u64) -> Step {
        match self {
            Self::Length { left } => pass(left, bytes.len() as u64, counted),
            Self::Chunked(chunks) => chunks.read(bytes, counted),
        }
    }

    pub(super) fn skip(&mut self, length: u64, counted: &mut u64) -> Step {
        match self {
            Self::Length { left } => pass(left, length, counted),
            Self::Chunked(chunks) => chunks.skip(length, counted),
        }
    }
}

fn pass(left: &mut u64, length: u64, counted: &mut u64) -> Step {
    let used = length.min(*left);
    *left -= used;
    *counted = counted.saturating_add(used);
    if *left == 0 { Step::Ended { used } } else { Step::Inside }
}
