// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Finds a frame where the place was lost, or where nobody has seen the connection's beginning.
//!
//! In: bytes from anywhere in a direction. Out: where the first frame begins that is one beyond doubt.
//! A single header is no proof. The short frames, of which nearly each byte is prescribed, count alone. HEADERS count
//! when their block reads as that of a head too, and they begin or end with their piece, or another frame follows. DATA
//! counts in a row, or where whole frames are all that a piece holds.
//! Bias: a frame that nothing proves is passed over, rather than one invented: a ghost would swallow what follows.

use alloc::vec::Vec;

use super::{
    field_list::{FieldList, Kind as BlockKind},
    frame::{self, END_HEADERS, FrameHeader, HEADER_BYTES, Kind},
    hpack::Decoder,
    place::Place,
};

/// The largest frame that is looked for: the first byte of its header is zero, and is found fast. Larger: of random
/// bytes, more pass for a header. Smaller: nothing, few send even these.
const MOST_PAYLOAD_BYTES: u32 = (1 << 16) - 1;

/// Bytes that are held until a frame has proved itself. Larger: memory. Smaller: DATA frames of the usual size, cut by
/// records, prove nothing.
pub(super) const MOST_HELD_BYTES: usize = 3 * HEADER_BYTES + 2 * frame::DEFAULT_PAYLOAD_BYTES as usize;

/// The highest error code that RFC 9113 knows.
const LAST_ERROR_CODE: u32 = 0xd;

/// The highest identifier of a setting in general use.
const LAST_SETTING: u16 = 0x10;

#[derive(Debug)]
pub(super) struct Search<M> {
    /// Begins with a header that may be one.
    held: Vec<u8>,
    held_from: Option<Place<M>>,
}

/// Where reading goes on.
pub(super) enum Found<M> {
    /// In the piece, behind so many bytes.
    InPiece(usize),
    /// In what was held, to which the piece has been added.
    InHeld(Vec<u8>, Place<M>),
    Nowhere,
}

impl<M> Default for Search<M> {
    fn default() -> Self {
        Self { held: Vec::new(), held_from: None }
    }
}

impl<M: Copy> Search<M> {
    /// Takes the next piece, which begins at `from`.
    pub(super) fn push(&mut self, piece: &[u8], from: Place<M>) -> Found<M> {
        let Some(held_from) = self.held_from else { return self.search_piece(piece, from) };
        self.held.extend_from_slice(piece);
        match search(&self.held, false) {
            Verdict::Found(at) => {
                let mut held = core::mem::take(&mut self.held);
                held.drain(..at);
                self.held_from = None;
                Found::InHeld(held, held_from.after(at))
            }
            // What is held can be anything; what begins with this piece is not.
            Verdict::Open(_) if matches!(judge(piece, true, true), Judgement::Proved) => {
                self.clear();
                Found::InPiece(0)
            }
            Verdict::Open(at) => {
                self.held.drain(..at);
                self.held_from = Some(held_from.after(at));
                if self.held.len() > MOST_HELD_BYTES {
                    self.clear();
                }
                Found::Nowhere
            }
            Verdict::Nowhere => {
                self.clear();
                Found::Nowhere
            }
        }
    }

    fn search_piece(&mut self, piece: &[u8], from: Place<M>) -> Found<M> {
        match search(piece, true) {
            Verdict::Found(at) => Found::InPiece(at),
            Verdict::Open(at) if piece.len() - at <= MOST_HELD_BYTES => {
                self.held.extend_from_slice(&piece[at..]);
                self.held_from = Some(from.after(at));
                Found::Nowhere
            }
            Verdict::Open(_) | Verdict::Nowhere => Found::Nowhere,
        }
    }

    /// What comes next does not follow what is held.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.held.capacity()
    }
}

/// Where the first frame of a piece begins.
pub(super) fn first_frame(piece: &[u8]) -> Option<usize> {
    match search(piece, true) {
        Verdict::Found(at) => Some(at),
        Verdict::Open(_) | Verdict::Nowhere => None,
    }
}

enum Verdict {
    Found(usize),
    /// What begins here can still become one.
    Open(usize),
    Nowhere,
}

/// `is_piece`: these are the bytes of one piece.
fn search(bytes: &[u8], is_piece: bool) -> Verdict {
    let mut open = None;
    for at in memchr::memchr_iter(0, bytes) {
        match judge(&bytes[at..], is_piece && at == 0, is_piece) {
            Judgement::Proved => return Verdict::Found(at),
            Judgement::Open if open.is_none() => {
                open = Some(at);
                // Until this one is refuted, the others wait, so that no byte is looked at again and again.
                if !is_piece {
                    break;
                }
            }
            Judgement::Open | Judgement::Refuted => {}
        }
    }
    open.map_or(Verdict::Nowhere, Verdict::Open)
}

enum Judgement {
    Proved,
    Open,
    Refuted,
}

/// What a whole frame is worth.
enum Proof {
    /// Nothing else has this form.
    Strong,
    /// It is strong if what follows it may be a frame.
    WithNext,
    /// It could be anything that has a few zeros in it.
    Weak,
    /// It is no frame.
    Refuted,
}

/// Weak frames in a row that are believed, if another may follow. Larger: DATA proves itself later, and more is held.
/// Smaller: a misread frame, of which many bytes are zero, passes for two.
const WEAK_FRAMES: usize = 2;

/// Judges what these bytes begin with. `begins_piece`, `ends_piece`: they are where a piece begins, and ends.
fn judge(bytes: &[u8], begins_piece: bool, ends_piece: bool) -> Judgement {
    let (mut rest, mut frames) = (bytes, 0);
    loop {
        let Some(header) = FrameHeader::first_of(rest) else {
            return match rest {
                // One piece, and whole frames are all that it holds.
                [] if frames > 0 && begins_piece && ends_piece => Judgement::Proved,
                _ => judge_beginning(rest),
            };
        };
        if !header.is_likely(MOST_PAYLOAD_BYTES) {
            return Judgement::Refuted;
        }
        if frames == WEAK_FRAMES {
            return Judgement::Proved;
        }
        let Some((payload, behind)) = rest[HEADER_BYTES..].split_at_checked(header.length as usize) else {
            return Judgement::Open;
        };
        match prove(&header, payload) {
            Proof::Strong => return Judgement::Proved,
            Proof::Refuted => return Judgement::Refuted,
            Proof::WithNext => match FrameHeader::first_of(behind) {
                _ if begins_piece => return Judgement::Proved,
                Some(next) if next.is_likely(MOST_PAYLOAD_BYTES) => return Judgement::Proved,
                Some(_) => return Judgement::Refuted,
                None if behind.is_empty() && ends_piece => return Judgement::Proved,
                None => return Judgement::Open,
            },
            Proof::Weak => {}
        }
        rest = behind;
        frames += 1;
    }
}

fn prove(header: &FrameHeader, payload: &[u8]) -> Proof {
    let is_strong = match header.kind {
        Kind::Headers | Kind::PushPromise => {
            return match block_kind(header, payload, &mut Decoder::new(true)) {
                None => Proof::Refuted,
                Some(BlockKind::Request | BlockKind::Response) => Proof::WithNext,
                Some(_) if header.kind == Kind::PushPromise => Proof::Refuted,
                Some(BlockKind::Trailers | BlockKind::Unknown) => Proof::Weak,
            };
        }
        Kind::Ping | Kind::Priority => true,
        Kind::WindowUpdate => number(payload).is_some_and(|increment| increment > 0 && increment <= frame::STREAM_BITS),
        Kind::Reset => number(payload).is_some_and(|code| code <= LAST_ERROR_CODE),
        Kind::GoAway => number(&payload[4..]).is_some_and(|code| code <= LAST_ERROR_CODE),
        Kind::Settings => is_settings(payload),
        Kind::Data | Kind::Continuation | Kind::Other => false,
    };
    if is_strong { Proof::Strong } else { Proof::Weak }
}

/// Fewer bytes than a header.
fn judge_beginning(bytes: &[u8]) -> Judgement {
    // The kind, and that the stream's reserved bit is not set.
    let fits = bytes.get(3).is_none_or(|kind| *kind <= 9) && bytes.get(5).is_none_or(|byte| *byte < 0x80);
    if fits { Judgement::Open } else { Judgement::Refuted }
}

/// What the block of this frame is, read as if the connection had been joined where the decoder has begun. None: it is
/// none, or not whole.
pub(super) fn block_kind(header: &FrameHeader, payload: &[u8], decoder: &mut Decoder) -> Option<BlockKind> {
    let (_, block) = frame::block_of(header, payload)?;
    if !header.has(END_HEADERS) {
        return Some(BlockKind::Unknown);
    }
    let mut list = FieldList::default();
    decoder.decode(block, &mut list).ok()?;
    Some(list.kind())
}

pub(super) fn is_settings(payload: &[u8]) -> bool {
    let (settings, _) = payload.as_chunks::<6>();
    settings.iter().all(|[high, low, ..]| matches!(u16::from_be_bytes([*high, *low]), 1..=LAST_SETTING))
}

fn number(payload: &[u8]) -> Option<u32> {
    payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}
