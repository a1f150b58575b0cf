// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether bytes are HTTP/2: at a connection's beginning, or from the midst of it.
//!
//! In: the first bytes of a direction, or any. Out: that they are, and which way requests flow.
//! A beginning is exact: the client's preface, or the settings of a server that speaks first. In the midst only a head
//! tells: it says which side asks and which answers; frames without one say nothing that would be missed.

use super::{
    field_list::Kind as BlockKind,
    frame::{DEFAULT_PAYLOAD_BYTES, END_HEADERS, FrameHeader, HEADER_BYTES, Kind},
    hpack::Decoder,
    search,
};
use crate::{
    piece::Direction,
    registry::{Protocol, Recognition},
};

/// What a client sends first (RFC 9113 section 3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Settings of one frame. Larger: more of a beginning that is none is held. Smaller: a server that sends more, and
/// before the client, is known by the client's preface only.
const MOST_SETTINGS_BYTES: u8 = 32 * 6;

#[must_use]
pub fn recognise(direction: Direction, first_bytes: &[u8]) -> Recognition {
    let found = |requests| Recognition::Found { protocol: Protocol::Http2, requests };
    let compared = first_bytes.len().min(PREFACE.len());
    if first_bytes[..compared] == PREFACE[..compared] {
        return if compared == PREFACE.len() { found(direction) } else { Recognition::NeedMore };
    }
    // A SETTINGS frame that is no acknowledgement, of at least one setting.
    let length = first_bytes.get(2).copied().unwrap_or(6);
    let header = [0, 0, length, 4, 0, 0, 0, 0, 0];
    let is_settings = length > 0 && length <= MOST_SETTINGS_BYTES && length.is_multiple_of(6);
    if !is_settings || first_bytes.iter().zip(header).any(|(byte, due)| *byte != due) {
        return Recognition::NotMine;
    }
    let end = HEADER_BYTES + usize::from(length);
    let settings = first_bytes.get(HEADER_BYTES..first_bytes.len().min(end)).unwrap_or_default();
    match first_bytes.len() {
        _ if !search::is_settings(settings) => Recognition::NotMine,
        length if length < end => Recognition::NeedMore,
        _ => found(direction.opposite()),
    }
}

/// Whether a piece from the midst of a connection holds a head. Frames without one are no decision yet.
#[must_use]
pub fn recognise_inside(direction: Direction, piece: &[u8]) -> Recognition {
    let found = |requests| Recognition::Found { protocol: Protocol::Http2, requests };
    let Some(begin) = search::first_frame(piece) else { return Recognition::NotMine };
    let (mut rest, mut decoder) = (&piece[begin..], Decoder::new(true));
    while let Some(header) = FrameHeader::first_of(rest).filter(|header| header.is_likely(DEFAULT_PAYLOAD_BYTES)) {
        let end = HEADER_BYTES + header.length as usize;
        let Some(payload) = rest.get(HEADER_BYTES..end) else { break };
        // What is promised says nothing of who asks here; but it is in the table.
        if matches!(header.kind, Kind::Headers | Kind::PushPromise) && header.has(END_HEADERS) {
            match search::block_kind(&header, payload, &mut decoder) {
                Some(_) if header.kind == Kind::PushPromise => {}
                Some(BlockKind::Request) => return found(direction),
                Some(BlockKind::Response) => return found(direction.opposite()),
                Some(BlockKind::Trailers | BlockKind::Unknown) => {}
                None => break,
            }
        }
        rest = &rest[end..];
    }
    // Frames up to the end of the piece are likely some; a frame and something else is likely none.
    if rest.is_empty() { Recognition::NeedMore } else { Recognition::NotMine }
}
