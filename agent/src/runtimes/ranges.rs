// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where functions begin and end that have no symbols: the table by which exceptions are unwound names every one of them, and
//! stays when a file is stripped.
//!
//! In: an ELF file. Out: the function that an address lies in. Does not: read how frames are unwound.
//! Format: Linux Standard Base, core, 10.6.2: `.eh_frame_hdr`.

use super::elf::{ElfError, ElfFile};

/// Version 1, a count in four bytes, and a table of pairs of four bytes each, counted from the header: what linkers write.
const VERSION: u8 = 1;
const COUNT_ENCODING: u8 = 0x03;
const TABLE_ENCODING: u8 = 0x3b;
const HEADER_BYTES: u64 = 12;
const PAIR_BYTES: u64 = 8;

/// A file's functions, in the order of their addresses. They stay in the file: a look-up reads a few pairs.
pub struct Ranges<'a> {
    elf: &'a ElfFile,
    header: u64,
    count: u64,
}

impl<'a> Ranges<'a> {
    /// Absent where the file has no such table, or one of another form.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn of(elf: &'a ElfFile) -> Result<Option<Self>, ElfError> {
        let Some(section) = elf.section(".eh_frame_hdr") else { return Ok(None) };
        let bytes = elf.bytes(section.address, HEADER_BYTES)?;
        let [VERSION, _, COUNT_ENCODING, TABLE_ENCODING, _, _, _, _, count @ ..] = bytes.as_slice() else {
            return Ok(None);
        };
        let Some(count) = count.first_chunk() else { return Ok(None) };
        let most = section.size.saturating_sub(HEADER_BYTES) / PAIR_BYTES;
        Ok(Some(Self { elf, header: section.address, count: u64::from(u32::from_le_bytes(*count)).min(most) }))
    }

    /// Where the function begins that an address lies in, and where the next one does.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn around(&self, address: u64) -> Result<Option<(u64, u64)>, ElfError> {
        let (mut from, mut to) = (0, self.count);
        while from < to {
            let middle = from + (to - from) / 2;
            if self.begin(middle)? <= address {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        // The last one's end is not told.
        if from == 0 || from == self.count {
            return Ok(None);
        }
        Ok(Some((self.begin(from - 1)?, self.begin(from)?)))
    }

    fn begin(&self, index: u64) -> Result<u64, ElfError> {
        let bytes = self.elf.bytes(self.header + HEADER_BYTES + index * PAIR_BYTES, 4)?;
        let bytes = bytes.first_chunk().ok_or(ElfError::Damaged("the table of functions"))?;
        Ok(self.header.wrapping_add_signed(i32::from_le_bytes(*bytes).into()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_function_is_found_by_an_address_inside_of_it() {
        let elf = ElfFile::open(File::open("/proc/self/exe").expect("it runs")).expect("it is an ELF file");
        let ranges = Ranges::of(&elf).expect("readable").expect("every program with unwinding has it");
        let main = elf.symbols(&["main"]).expect("readable")[0].expect("it is in the symbols");
        for address in [main.address, main.address + main.size - 1] {
            let (begin, end) = ranges.around(address).expect("readable").expect("it is no gap");
            assert!(begin == main.address && end >= main.address + main.size, "{main:?} {begin:x} {end:x}");
        }
        assert_eq!(ranges.around(0).expect("readable"), None);
        assert_eq!(ranges.around(u64::MAX).expect("readable"), None);
    }
}
