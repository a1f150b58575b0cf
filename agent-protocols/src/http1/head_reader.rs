// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reads one head from as many pieces as it takes.
//!
//! In: bytes from the place where a head is due. Out: the head, and how many bytes of the last piece were its own.
//! A head that lies in one piece is parsed where it lies; only the beginning of an incomplete one is held.
//! Does not: parse again for each piece: the end of a head is looked for first.

use alloc::vec::Vec;

use super::{
    MAX_HEAD_BYTES,
    again::Again,
    head::{Head, Parsed},
};
use crate::message::Problem;

/// A piece that does not end its head and is at least as large makes room for the largest head at once. Larger: heads of
/// many records are copied as they grow. Smaller: connections with a slow, small head hold more.
const LARGE_PIECE: usize = 8 * 1024;

#[derive(Debug)]
pub(super) struct HeadReader<H> {
    again: Again<H>,
    held: Vec<u8>,
    /// The first line has been parsed: only the head's end is worth another look.
    first_line: bool,
    /// Length at which what is held is parsed to see whether it can still become a head. Grows by a factor, so that
    /// one byte a piece costs no more than all at once.
    next_attempt: usize,
}

pub(super) enum Read<H> {
    Whole {
        head: H,
        used: usize,
    },
    /// The piece was taken, more are needed.
    Begun,
    Malformed(Problem),
}

impl<H> Default for HeadReader<H> {
    fn default() -> Self {
        Self { again: Again::default(), held: Vec::new(), first_line: false, next_attempt: 0 }
    }
}

impl<H: Head> HeadReader<H> {
    pub(super) fn has_begun(&self) -> bool {
        !self.held.is_empty()
    }

    pub(super) const fn has_first_line(&self) -> bool {
        self.first_line
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.held.capacity()
    }

    /// Forgets what is held, and its memory.
    pub(super) fn clear(&mut self) {
        if self.has_begun() {
            self.held = Vec::new();
        }
        (self.first_line, self.next_attempt) = (false, 0);
    }

    /// Forgets what would only make the next head cheaper.
    pub(super) fn rest(&mut self) {
        self.again.forget();
    }

    pub(super) fn read(&mut self, piece: &[u8]) -> Read<H> {
        if !self.has_begun() {
            match self.parse(piece) {
                Parsed::Whole { length, .. } if length > MAX_HEAD_BYTES => {
                    return Read::Malformed(Problem::HeadTooLarge);
                }
                Parsed::Whole { head, length } => return Read::Whole { head, used: length },
                Parsed::Malformed(problem) => return Read::Malformed(problem),
                Parsed::Begun { .. } if piece.len() > MAX_HEAD_BYTES => return Read::Malformed(Problem::HeadTooLarge),
                Parsed::Begun { first_line } => {
                    self.hold(piece);
                    self.first_line = first_line;
                    self.next_attempt = piece.len() * 2;
                    return Read::Begun;
                }
            }
        }
        let read = self.go_on(piece);
        if !matches!(read, Read::Begun) {
            self.clear();
        }
        read
    }

    /// The head that `piece` begins with, and its length, where it is whole. Nothing has changed, but that to read it once
    /// more is cheap.
    pub(super) fn read_ahead(&mut self, piece: &[u8]) -> Option<(H, usize)> {
        match self.parse(piece) {
            Parsed::Whole { head, length } if length <= MAX_HEAD_BYTES => Some((head, length)),
            _ => None,
        }
    }

    /// A head like the one before is not parsed.
    fn parse(&mut self, piece: &[u8]) -> Parsed<H> {
        if let Some((head, length)) = self.again.read(piece) {
            return Parsed::Whole { head, length };
        }
        let parsed = H::parse(piece);
        if let Parsed::Whole { head, length } = &parsed {
            self.again.remember(&piece[..*length], head);
        }
        parsed
    }

    fn go_on(&mut self, piece: &[u8]) -> Read<H> {
        let before = self.held.len();
        let room = MAX_HEAD_BYTES - before;
        self.hold(&piece[..piece.len().min(room)]);
        for newline in memchr::memchr_iter(b'\n', &self.held[before..]) {
            let line_end = before + newline;
            if !matches!(self.held[..line_end], [.., b'\n'] | [.., b'\n', b'\r']) {
                continue;
            }
            match H::parse(&self.held[..=line_end]) {
                // The end is never in an earlier piece: a head ends with its first empty line.
                Parsed::Whole { head, length } => return Read::Whole { head, used: length.saturating_sub(before) },
                Parsed::Malformed(problem) => return Read::Malformed(problem),
                Parsed::Begun { .. } => {}
            }
        }
        if piece.len() > room {
            return Read::Malformed(Problem::HeadTooLarge);
        }
        if !self.first_line && self.held.len() >= self.next_attempt {
            self.next_attempt = self.held.len() * 2;
            if let Some(problem) = self.settle() {
                return Read::Malformed(problem);
            }
        }
        Read::Begun
    }

    /// Grows twofold, and to no more than a head may have; a record that is full is the first of several.
    fn hold(&mut self, piece: &[u8]) {
        let length = self.held.len() + piece.len();
        if length > self.held.capacity() {
            let wanted = if piece.len() >= LARGE_PIECE { MAX_HEAD_BYTES } else { length * 2 };
            self.held.reserve_exact(wanted.min(MAX_HEAD_BYTES) - self.held.len());
        }
        self.held.extend_from_slice(piece);
    }

    /// Whether what is held can no longer become a head.
    pub(super) fn settle(&mut self) -> Option<Problem> {
        if !self.has_begun() {
            return None;
        }
        match H::parse(&self.held) {
            Parsed::Malformed(problem) => Some(problem),
            Parsed::Begun { first_line } => {
                self.first_line = first_line;
                None
            }
            Parsed::Whole { .. } => None,
        }
    }
}
