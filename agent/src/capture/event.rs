// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The typed event that every capture backend gives: the kernel's records, each with its payload.

use agent_common::records::{ClosedRecord, DataRecord, OpenedRecord, ProcessRecord};

/// One record, as the kernel wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelEvent<'a> {
    Opened(OpenedRecord),
    /// With its payload: exactly `captured` bytes.
    Data(DataRecord, &'a [u8]),
    Closed(ClosedRecord),
    Process(ProcessRecord),
}
