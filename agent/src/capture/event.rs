// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A record of the ring buffer, typed.

use agent_common::records::{ClosedRecord, DataRecord, OpenedRecord, ProcessRecord, RecordKind};
use bytemuck::AnyBitPattern;

use crate::moment::KernelTime;

/// What the kernel programs report. A payload is borrowed from the ring and holds exactly the bytes that were captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelEvent<'a> {
    Opened(OpenedRecord),
    Data(DataRecord, &'a [u8]),
    Closed(ClosedRecord),
    Process(ProcessRecord),
}

impl<'a> KernelEvent<'a> {
    /// When it happened.
    #[must_use]
    pub const fn time(&self) -> KernelTime {
        KernelTime(match self {
            Self::Opened(record) => record.time_ns,
            Self::Data(record, _) => record.time_ns,
            Self::Closed(record) => record.time_ns,
            Self::Process(record) => record.time_ns,
        })
    }

    /// Absent where the bytes are no record: then a recording is damaged, for the kernel writes no such thing.
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let kind = read::<u32>(bytes)?.0;
        if kind == RecordKind::Data as u32 {
            let (record, rest) = read::<DataRecord>(bytes)?;
            let payload = rest.get(..record.captured as usize)?;
            return Some(Self::Data(record, payload));
        }
        if kind == RecordKind::Opened as u32 {
            return read(bytes).map(|(record, _)| Self::Opened(record));
        }
        if kind == RecordKind::Closed as u32 {
            return read(bytes).map(|(record, _)| Self::Closed(record));
        }
        (kind == RecordKind::Process as u32).then(|| read(bytes).map(|(record, _)| Self::Process(record))).flatten()
    }
}

fn read<T: AnyBitPattern>(bytes: &[u8]) -> Option<(T, &[u8])> {
    let (record, rest) = bytes.split_at_checked(size_of::<T>())?;
    Some((bytemuck::pod_read_unaligned(record), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(captured: u32, payload: &[u8]) -> Vec<u8> {
        let record =
            DataRecord { kind: RecordKind::Data as u32, captured, length: captured, ..bytemuck::Zeroable::zeroed() };
        [bytemuck::bytes_of(&record), payload].concat()
    }

    #[test]
    fn a_payload_has_exactly_the_captured_bytes() {
        let bytes = data(3, b"abc and what the ring held before");
        let Some(KernelEvent::Data(_, payload)) = KernelEvent::decode(&bytes) else { panic!("no data record") };
        assert_eq!(payload, b"abc");
    }

    #[test]
    fn what_is_cut_or_of_no_kind_is_no_event() {
        assert_eq!(KernelEvent::decode(&data(4, b"abc")), None);
        assert_eq!(KernelEvent::decode(&data(3, b"abc")[..40]), None);
        assert_eq!(KernelEvent::decode(&99u32.to_ne_bytes()), None);
        assert_eq!(KernelEvent::decode(b"ab"), None);
    }
}
