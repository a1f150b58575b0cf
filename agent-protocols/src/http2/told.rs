// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What one peer has told the other of itself in SETTINGS, as far as it says how to read the other.

const HEADER_TABLE_SIZE: u16 = 1;
const MAX_FRAME_SIZE: u16 = 5;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    pub(super) table_bytes: u32,
    pub(super) payload_bytes: u32,
}

impl Told {
    /// The first six bytes are a setting.
    pub(super) fn hear(&mut self, [high, low, a, b, c, d, ..]: [u8; 8]) {
        let value = u32::from_be_bytes([a, b, c, d]);
        match u16::from_be_bytes([high, low]) {
            HEADER_TABLE_SIZE => self.table_bytes = self.table_bytes.max(value),
            MAX_FRAME_SIZE => self.payload_bytes = self.payload_bytes.max(value),
            _ => {}
        }
    }
}
