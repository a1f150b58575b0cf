// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The header blocks of a lane: one frame each, or one that CONTINUATION goes on with.
//!
//! In: the frames that hold them, in as many pieces as it takes. Out: blocks decoded, or that one cannot be read.
//! A frame that lies in one piece is read where it lies. A block that is lost takes the table with it. One that is like
//! the one before, with the same table, says the same, and is not decoded.
//! Does not: hold more than [`MAX_HEAD_BYTES`] of a block; the rest of a larger one is stepped over.

use alloc::vec::Vec;

use super::{
    MAX_HEAD_BYTES,
    event::Event,
    field_list::FieldList,
    frame::{self, END_HEADERS, FrameHeader, Kind},
    head::Head,
    hpack::Decoder,
    place::Place,
};
use crate::message::Problem;

/// Bytes of a block that is remembered. Larger: memory, for each direction of a connection. Smaller: larger blocks that
/// come again are decoded each time.
const REMEMBERED_BYTES: usize = 1024;

#[derive(Debug)]
pub(super) struct Blocks<M> {
    decoder: Decoder,
    /// The last one that left the table as it was.
    known: Option<Known>,
    /// Of the frame that has begun.
    payload: Vec<u8>,
    /// The block that CONTINUATION goes on with.
    open: Option<Block<M>>,
}

#[derive(Debug)]
struct Known {
    bytes: Vec<u8>,
    /// Changes of the table before it.
    changes: u64,
    head: Head,
}

#[derive(Debug)]
struct Block<M> {
    stream: u32,
    is_promise: bool,
    ends_stream: bool,
    begin: Place<M>,
    bytes: Vec<u8>,
    lost: Option<Problem>,
}

impl<M: Copy> Blocks<M> {
    pub(super) const fn new(joined_mid_stream: bool) -> Self {
        Self { decoder: Decoder::new(joined_mid_stream), known: None, payload: Vec::new(), open: None }
    }

    /// The reader of these blocks has told the largest table that it allows.
    pub(super) fn allow(&mut self, table_bytes: u32) {
        self.decoder.allow(table_bytes);
    }

    /// A frame begins. True if it holds a part of a block that can be read.
    pub(super) fn begin_frame(
        &mut self,
        header: &FrameHeader,
        here: Place<M>,
        tell: &mut impl FnMut(Event<'_, M>),
    ) -> bool {
        let continues = |open: &Block<M>| header.kind == Kind::Continuation && open.stream == header.stream;
        if let Some(open) = self.open.take_if(|open| !continues(open)) {
            // Nothing may come between the parts of a block (RFC 9113 section 6.10).
            self.lose(&open, Problem::MalformedHead, here, tell);
        }
        match header.kind {
            Kind::Headers | Kind::PushPromise => true,
            Kind::Continuation => {
                let begin_is_known = self.open.is_some();
                if !begin_is_known {
                    self.decoder.distrust();
                }
                begin_is_known
            }
            _ => false,
        }
    }

    /// CONTINUATION is due.
    pub(super) const fn is_inside(&self) -> bool {
        self.open.is_some()
    }

    /// Reads a frame of HEADERS, where it is all of its block. Else nothing has happened, and false.
    pub(super) fn read_whole(
        &mut self,
        header: &FrameHeader,
        payload: &[u8],
        (begin, end): (Place<M>, Place<M>),
        list: &mut FieldList,
        tell: &mut impl FnMut(Event<'_, M>),
    ) -> bool {
        if !header.has(END_HEADERS) || payload.len() > MAX_HEAD_BYTES {
            return false;
        }
        let Some((stream, bytes)) = frame::block_of(header, payload) else { return false };
        let ends_stream = header.ends_stream();
        let block = Block { stream, is_promise: false, ends_stream, begin, bytes: Vec::new(), lost: None };
        self.read(&block, bytes, end, list, tell);
        true
    }

    /// Adds to the frame's payload, unless its block is too large.
    pub(super) fn gather(&mut self, header: &FrameHeader, bytes: &[u8]) {
        let before = self.open.as_ref().map_or(0, |open| open.bytes.len());
        let is_lost = self.open.as_ref().is_some_and(|open| open.lost.is_some());
        if !is_lost && before + header.length as usize <= MAX_HEAD_BYTES {
            self.payload.extend_from_slice(bytes);
        }
    }

    /// Bytes of the frame's payload are lost, and so is its block.
    pub(super) fn skip(&mut self) {
        self.payload.clear();
    }

    /// The frame is over. `whole`: its payload, if it was not gathered.
    pub(super) fn end_frame(
        &mut self,
        header: &FrameHeader,
        whole: Option<&[u8]>,
        (begin, end): (Place<M>, Place<M>),
        list: &mut FieldList,
        tell: &mut impl FnMut(Event<'_, M>),
    ) {
        let gathered = core::mem::take(&mut self.payload);
        let payload = whole.unwrap_or(&gathered);
        let mut open = self.open.take().unwrap_or(Block {
            stream: header.stream,
            is_promise: header.kind == Kind::PushPromise,
            ends_stream: header.ends_stream(),
            begin,
            bytes: Vec::new(),
            lost: None,
        });
        let block = match header.kind {
            _ if open.bytes.len() + header.length as usize > MAX_HEAD_BYTES => Err(Problem::HeadTooLarge),
            _ if payload.len() < header.length as usize => Err(Problem::HeadCutShort),
            Kind::Continuation => Ok((open.stream, payload)),
            _ => frame::block_of(header, payload).ok_or(Problem::MalformedHead),
        };
        let is_over = header.has(END_HEADERS);
        match block {
            Ok((stream, block)) => {
                open.stream = stream;
                if is_over && open.lost.is_none() && open.bytes.is_empty() {
                    return self.read(&open, block, end, list, tell);
                }
                open.bytes.extend_from_slice(block);
            }
            Err(problem) => open.lost = open.lost.or(Some(problem)),
        }
        if open.lost.is_some() {
            open.bytes = Vec::new();
        }
        match open.lost {
            Some(problem) if is_over => self.lose(&open, problem, end, tell),
            None if is_over => self.read(&open, &open.bytes, end, list, tell),
            _ => self.open = Some(open),
        }
    }

    /// Gives up what makes it faster.
    pub(super) fn rest(&mut self) {
        self.known = None;
    }

    fn read(
        &mut self,
        block: &Block<M>,
        bytes: &[u8],
        end: Place<M>,
        list: &mut FieldList,
        tell: &mut impl FnMut(Event<'_, M>),
    ) {
        let Block { stream, is_promise, ends_stream, begin, .. } = *block;
        let changes = self.decoder.changes();
        if let Some(Known { head, .. }) = self.known.as_ref().filter(|known| known.is(bytes, changes)) {
            return tell(Event::Block { stream, is_promise, ends_stream, head, begin, end });
        }
        if self.decoder.decode(bytes, list).is_err() {
            return self.lose(block, Problem::MalformedHead, end, tell);
        }
        let head = Head::of(list);
        tell(Event::Block { stream, is_promise, ends_stream, head: &head, begin, end });
        if self.decoder.changes() == changes && bytes.len() <= REMEMBERED_BYTES && head.may_come_again() {
            self.remember(bytes, changes, head);
        }
    }

    fn remember(&mut self, block: &[u8], changes: u64, head: Head) {
        let mut bytes = self.known.take().map_or_else(Vec::new, |known| known.bytes);
        bytes.clear();
        bytes.extend_from_slice(block);
        self.known = Some(Known { bytes, changes, head });
    }

    fn lose(&mut self, block: &Block<M>, problem: Problem, end: Place<M>, tell: &mut impl FnMut(Event<'_, M>)) {
        self.decoder.distrust();
        tell(Event::Noticed(problem));
        tell(Event::BlockLost { stream: block.stream, ends_stream: block.ends_stream, end });
    }

    /// Frames may have been lost, with blocks in them.
    pub(super) fn lose_place(&mut self, at: Place<M>, tell: &mut impl FnMut(Event<'_, M>)) {
        self.payload = Vec::new();
        self.decoder.distrust();
        if let Some(open) = self.open.take() {
            self.lose(&open, Problem::HeadCutShort, at, tell);
        }
    }

    /// Nothing more will come. True if a block was open.
    pub(super) fn end(&mut self) -> bool {
        self.payload = Vec::new();
        self.open.take().is_some()
    }

    pub(super) fn memory(&self) -> usize {
        let open = self.open.as_ref().map_or(0, |open| open.bytes.capacity());
        let known = self.known.as_ref().map_or(0, |known| known.bytes.capacity());
        self.payload.capacity() + open + known + self.decoder.memory()
    }
}

impl Known {
    fn is(&self, bytes: &[u8], changes: u64) -> bool {
        self.changes == changes && self.bytes == bytes
    }
}
