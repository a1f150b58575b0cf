// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A lane: one direction of a connection, on which frames follow one another.
//!
//! In: pieces. Out: [`Event`]s: header blocks decoded, DATA as it lies in its piece, ends and resets of streams.
//! A gap inside a frame is stepped over, because the frame's header said how long it is; a gap that hides a header
//! loses the place, and with it what the table held, and the lane searches for the next frame.
//! Does not: know what a stream is doing; hold DATA.

use super::{
    blocks::Blocks,
    event::Event,
    field_list::FieldList,
    frame::{self, FrameHeader, HEADER_BYTES, Kind, PADDED},
    place::Place,
    recognition::PREFACE,
    search::{Found, Search},
    told::Told,
};
use crate::{message::Problem, piece::End};

#[derive(Debug)]
pub(super) struct Lane<M> {
    state: State<M>,
    blocks: Blocks<M>,
    most_payload_bytes: u32,
    told: Option<Told>,
    ended: Option<End>,
    /// Bytes that were searched in vain.
    searched: u64,
}

#[derive(Debug)]
enum State<M> {
    /// So many bytes of the client's preface have come.
    Preface(usize),
    /// A header is due, of which so many bytes have come.
    Header {
        bytes: [u8; HEADER_BYTES],
        count: usize,
        begin: Option<Place<M>>,
    },
    Frame(Frame<M>),
    Searching(Search<M>),
}

#[derive(Clone, Copy, Debug)]
struct Frame<M> {
    header: FrameHeader,
    begin: Place<M>,
    /// Bytes of the payload that have not come.
    left: u32,
    inside: Inside,
}

#[derive(Clone, Copy, Debug)]
enum Inside {
    /// So many bytes before the padding have not come. Absent until the padding's length has.
    Data(Option<u32>),
    Block,
    /// The frame says something in its first bytes, or over and over.
    Words {
        bytes: [u8; 8],
        count: u8,
        length: u8,
    },
    Nothing,
}

impl<M> State<M> {
    const NEXT: Self = Self::Header { bytes: [0; HEADER_BYTES], count: 0, begin: None };
}

impl<M: Copy> Lane<M> {
    /// A direction from its first byte on. `has_preface`: it is the client's.
    pub(super) const fn new(has_preface: bool) -> Self {
        let state = if has_preface { State::Preface(0) } else { State::NEXT };
        Self::with(state, frame::DEFAULT_PAYLOAD_BYTES, Blocks::new(false))
    }

    pub(super) fn joined_mid_stream() -> Self {
        // What the reader allows may have been told before.
        Self::with(State::Searching(Search::default()), frame::ANY_PAYLOAD_BYTES, Blocks::new(true))
    }

    const fn with(state: State<M>, most_payload_bytes: u32, blocks: Blocks<M>) -> Self {
        Self { state, blocks, most_payload_bytes, told: None, ended: None, searched: 0 }
    }

    /// The peer that reads this direction has told what it allows. What it allowed before is still on its way.
    pub(super) fn allow(&mut self, told: Told) {
        self.blocks.allow(told.table_bytes);
        self.most_payload_bytes = self.most_payload_bytes.max(told.payload_bytes);
    }

    pub(super) fn take_told(&mut self) -> Option<Told> {
        self.told.take()
    }

    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        from: Place<M>,
        list: &mut FieldList,
        tell: &mut impl FnMut(Event<'_, M>),
    ) {
        let mut at = 0;
        while at < bytes.len() {
            let (rest, here) = (&bytes[at..], from.after(at));
            at += match &mut self.state {
                State::Preface(seen) => {
                    let due = &PREFACE[*seen..];
                    let count = due.len().min(rest.len());
                    if due[..count] == rest[..count] {
                        *seen += count;
                        if *seen == PREFACE.len() {
                            self.state = State::NEXT;
                        }
                    } else {
                        tell(Event::Noticed(Problem::NotAMessage));
                        self.lose_place(here, tell);
                    }
                    count
                }
                State::Header { count: 0, .. } => match self.read_whole(rest, here, list, tell) {
                    Some(used) => used,
                    None => self.read_header(rest, here, list, tell),
                },
                State::Header { .. } => self.read_header(rest, here, list, tell),
                State::Frame(_) => self.read_frame(rest, here, list, tell),
                State::Searching(search) => match search.push(rest, here) {
                    Found::InPiece(offset) => {
                        self.state = State::NEXT;
                        offset
                    }
                    Found::InHeld(held, held_from) => {
                        self.state = State::NEXT;
                        self.read(&held, held_from, list, tell);
                        rest.len()
                    }
                    Found::Nowhere => {
                        self.searched += rest.len() as u64;
                        rest.len()
                    }
                },
            };
        }
    }

    /// Reads a frame of a usual kind that lies whole in the piece, and gives its length. Else nothing has happened.
    fn read_whole(
        &mut self,
        rest: &[u8],
        here: Place<M>,
        list: &mut FieldList,
        tell: &mut impl FnMut(Event<'_, M>),
    ) -> Option<usize> {
        let (header, behind) = rest.split_first_chunk()?;
        let header = FrameHeader::parse(*header);
        let payload = behind.get(..header.length as usize)?;
        if self.blocks.is_inside() || !header.is_legal(self.most_payload_bytes) {
            return None;
        }
        let bytes = HEADER_BYTES + payload.len();
        let (stream, end) = (header.stream, here.after(bytes));
        match header.kind {
            Kind::Data if !header.has(PADDED) => {
                if !payload.is_empty() {
                    tell(Event::Data { stream, bytes: payload });
                }
                if header.ends_stream() {
                    tell(Event::StreamEnded { stream, end });
                }
            }
            Kind::Headers if self.blocks.read_whole(&header, payload, (here, end), list, tell) => {}
            Kind::WindowUpdate | Kind::Ping => {}
            _ => return None,
        }
        Some(bytes)
    }

    fn read_header(
        &mut self,
        rest: &[u8],
        here: Place<M>,
        list: &mut FieldList,
        tell: &mut impl FnMut(Event<'_, M>),
    ) -> usize {
        let State::Header { bytes, count, begin } = &mut self.state else { return 0 };
        let begin = *begin.get_or_insert(here);
        let used = rest.len().min(HEADER_BYTES - *count);
        bytes[*count..*count + used].copy_from_slice(&rest[..used]);
        *count += used;
        if *count == HEADER_BYTES {
            let header = FrameHeader::parse(*bytes);
            self.begin_frame(header, begin, here.after(used), list, tell);
        }
        used
    }

    fn begin_frame(
        &mut self,
        header: FrameHeader,
        begin: Place<M>,
        here: Place<M>,
        list: &mut FieldList,
        tell: &mut impl FnMut(Event<'_, M>),
    ) {
        if !header.is_legal(self.most_payload_bytes) {
            tell(Event::Noticed(Problem::MalformedFrame));
            return self.lose_place(here, tell);
        }
        let has_block = self.blocks.begin_frame(&header, here, tell);
        let words = |length| Inside::Words { bytes: [0; 8], count: 0, length };
        let inside = match header.kind {
            Kind::Data => Inside::Data((!header.has(PADDED)).then_some(header.length)),
            Kind::Reset => words(4),
            Kind::Settings => words(6),
            Kind::GoAway => words(8),
            _ if has_block => Inside::Block,
            _ => Inside::Nothing,
        };
        let frame = Frame { header, begin, left: header.length, inside };
        match header.length {
            0 => self.end_frame(frame, Some(&[]), here, list, tell),
            _ => self.state = State::Frame(frame),
        }
    }

    fn read_frame(
        &mut self,
        rest: &[u8],
        here: Place<M>,
        list: &mut FieldList,
        tell: &mut impl FnMut(Event<'_, M>),
    ) -> usize {
        let State::Frame(frame) = &mut self.state else { return 0 };
        let stream = frame.header.stream;
        let bytes = &rest[..rest.len().min(frame.left as usize)];
        let is_whole = bytes.len() == frame.header.length as usize;
        frame.left -= bytes.len() as u32;
        match &mut frame.inside {
            Inside::Data(due) => {
                let (data, left) = match *due {
                    Some(left) => (bytes, left),
                    // The first byte is the padding's length.
                    None => (&bytes[1..], (frame.header.length - 1).saturating_sub(bytes[0].into())),
                };
                let data = &data[..data.len().min(left as usize)];
                *due = Some(left - data.len() as u32);
                tell(Event::Data { stream, bytes: data });
            }
            Inside::Words { bytes: word, count, length } => {
                for byte in bytes {
                    if *count == *length {
                        break;
                    }
                    word[usize::from(*count)] = *byte;
                    *count += 1;
                    if *count == *length && frame.header.kind == Kind::Settings {
                        *count = 0;
                        self.told.get_or_insert_default().hear(*word);
                    }
                }
            }
            Inside::Block if is_whole => {}
            Inside::Block => self.blocks.gather(&frame.header, bytes),
            Inside::Nothing => {}
        }
        if frame.left == 0 {
            let frame = *frame;
            self.end_frame(frame, is_whole.then_some(bytes), here.after(bytes.len()), list, tell);
        }
        bytes.len()
    }

    /// `whole`: its payload, where it lay in one piece.
    fn end_frame(
        &mut self,
        frame: Frame<M>,
        whole: Option<&[u8]>,
        end: Place<M>,
        list: &mut FieldList,
        tell: &mut impl FnMut(Event<'_, M>),
    ) {
        self.state = State::NEXT;
        let FrameHeader { kind, stream, .. } = frame.header;
        match frame.inside {
            Inside::Data(_) if frame.header.ends_stream() => tell(Event::StreamEnded { stream, end }),
            Inside::Words { bytes: [a, b, c, d, ..], .. } if kind == Kind::Reset => {
                tell(Event::Reset { stream, code: Some(u32::from_be_bytes([a, b, c, d])), end });
            }
            Inside::Nothing if kind == Kind::Reset => tell(Event::Reset { stream, code: None, end }),
            Inside::Words { bytes: [a, b, c, d, ..], count, length } if kind == Kind::GoAway && count == length => {
                let last_stream = u32::from_be_bytes([a, b, c, d]) & frame::STREAM_BITS;
                tell(Event::GoAway { last_stream, end });
            }
            Inside::Block => self.blocks.end_frame(&frame.header, whole, (frame.begin, end), list, tell),
            Inside::Data(_) | Inside::Words { .. } | Inside::Nothing => {}
        }
    }

    /// Bytes that were there and are not known; they begin at `from`.
    pub(super) fn skip(
        &mut self,
        length: u64,
        from: Place<M>,
        list: &mut FieldList,
        tell: &mut impl FnMut(Event<'_, M>),
    ) {
        let mut left = length;
        while left > 0 {
            let here = from.after((length - left) as usize);
            match &mut self.state {
                State::Frame(frame) => {
                    let lost = left.min(frame.left.into());
                    frame.left -= lost as u32;
                    left -= lost;
                    self.blocks.skip();
                    self.skip_in_frame(lost as u32, tell);
                    if let State::Frame(frame) = self.state
                        && frame.left == 0
                    {
                        self.end_frame(frame, None, here.after(lost as usize), list, tell);
                    }
                }
                State::Searching(search) => return search.clear(),
                State::Preface(_) | State::Header { .. } => {
                    tell(Event::Noticed(Problem::FramesLost));
                    return self.lose_place(here.after(left as usize), tell);
                }
            }
        }
    }

    /// So many bytes of the frame that has begun are lost.
    fn skip_in_frame(&mut self, lost: u32, tell: &mut impl FnMut(Event<'_, M>)) {
        let State::Frame(Frame { header, left, inside, .. }) = &mut self.state else { return };
        match inside {
            Inside::Data(due) => {
                let is_counted = due.is_some();
                let before_padding = due.unwrap_or(lost + *left);
                let data = lost.min(before_padding);
                *due = Some(before_padding - data);
                tell(Event::DataLost { stream: header.stream, length: data.into(), is_counted });
            }
            Inside::Words { count, length, .. } => {
                if header.kind == Kind::Settings {
                    self.told = Some(Told { table_bytes: u32::MAX, payload_bytes: frame::ANY_PAYLOAD_BYTES });
                }
                if count < length {
                    if header.kind == Kind::GoAway {
                        tell(Event::Noticed(Problem::FramesLost));
                    }
                    *inside = Inside::Nothing;
                }
            }
            Inside::Block | Inside::Nothing => {}
        }
    }

    /// What follows may be any part of a frame.
    fn lose_place(&mut self, at: Place<M>, tell: &mut impl FnMut(Event<'_, M>)) {
        self.blocks.lose_place(at, tell);
        self.state = State::Searching(Search::default());
        tell(Event::PlaceLost { at });
    }

    /// True if a header block had begun that was not whole.
    pub(super) fn end(&mut self, end: End) -> bool {
        self.ended = Some(end);
        let in_block = matches!(&self.state, State::Frame(frame) if matches!(frame.inside, Inside::Block));
        self.blocks.end() || in_block
    }

    pub(super) const fn ended(&self) -> Option<End> {
        self.ended
    }

    pub(super) fn rest(&mut self) {
        self.blocks.rest();
    }

    /// Bytes that were searched for a frame, in vain.
    pub(super) const fn searched(&self) -> u64 {
        self.searched
    }

    pub(super) fn held_bytes(&self) -> usize {
        let searching = match &self.state {
            State::Searching(search) => search.held_bytes(),
            _ => 0,
        };
        searching + self.blocks.memory()
    }
}
