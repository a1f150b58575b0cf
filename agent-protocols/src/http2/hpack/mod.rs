// SPDX-License-Identifier: Apache-2.0 OR MIT
//! HPACK (RFC 7541), for one who listens: who may come late, may miss a block, and wants few of the fields.
//!
//! In: whole header blocks of one direction, in order. Out: the fields that mean something, into a [`FieldList`].
//! A reference to what was inserted before the connection was followed is a field of which nothing is known; it is
//! told as such, and everything after it is right.
//! Does not: hold names, or values that nobody asked for; they are measured, and forgotten.

mod huffman;
mod representation;
mod static_table;
mod window;

#[cfg(test)]
mod tests;

use representation::{Name, Representation, Representations, Text};
use window::{Found, Window};

use super::{field::Field, field_list::FieldList};

/// The block does not follow the grammar, or refers to what was never there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// A name, and how much it counts for in the table.
#[derive(Clone, Copy)]
struct Named {
    field: Field,
    name_bytes: u32,
}

#[derive(Debug)]
pub(super) struct Decoder {
    window: Window,
    /// The largest size that the reader of these blocks has allowed.
    allowed: u32,
}

impl Decoder {
    pub(super) const fn new(joined_mid_stream: bool) -> Self {
        // What was allowed before is not known.
        let allowed = if joined_mid_stream { u32::MAX } else { 4096 };
        Self { window: Window::new(joined_mid_stream), allowed }
    }

    /// The reader of these blocks has told the largest table that it allows. An earlier, larger one is still believed:
    /// blocks may be on their way that were written before the writer knew.
    pub(super) fn allow(&mut self, bytes: u32) {
        self.allowed = self.allowed.max(bytes);
    }

    /// Reads a whole block. After a malformed one older entries are distrusted, and the next block is read as if the
    /// connection had been joined before it.
    pub(super) fn decode(&mut self, block: &[u8], list: &mut FieldList) -> Result<(), Malformed> {
        list.clear();
        let decoded = Representations::new(block).try_for_each(|representation| self.apply(representation?, list));
        if decoded.is_err() {
            self.distrust();
        }
        decoded
    }

    /// A block was lost, and with it what it inserted.
    pub(super) fn distrust(&mut self) {
        self.window.distrust();
    }

    /// How often the table has changed: where it has not, a block means what it meant.
    pub(super) const fn changes(&self) -> u64 {
        self.window.changes()
    }

    pub(super) fn memory(&self) -> usize {
        self.window.memory()
    }

    fn apply(&mut self, representation: Representation<'_>, list: &mut FieldList) -> Result<(), Malformed> {
        match representation {
            Representation::Resize(bytes) if bytes > self.allowed => Err(Malformed),
            Representation::Resize(bytes) => {
                self.window.resize(bytes);
                Ok(())
            }
            Representation::Indexed(index) => self.indexed(index, list),
            Representation::Literal { name, value, inserts } => {
                let named = self.name(name, list)?;
                self.literal(named, value, inserts, list)
            }
        }
    }

    fn indexed(&self, index: u32, list: &mut FieldList) -> Result<(), Malformed> {
        match self.get(index) {
            Found::Entry { field, value, .. } => list.push(field, value),
            Found::Older => list.push(Field::Unknown, &[]),
            Found::Nothing => return Err(Malformed),
        }
        Ok(())
    }

    fn literal(&mut self, named: Named, value: Text<'_>, inserts: bool, list: &mut FieldList) -> Result<(), Malformed> {
        let Named { field, name_bytes } = named;
        if field.has_kept_value() {
            let value = list.push_with(field, |bytes| value.decode_into(bytes))?;
            if inserts {
                self.window.insert(field, name_bytes, value.len() as u32, value);
            }
            return Ok(());
        }
        list.push(field, &[]);
        if inserts {
            self.window.insert(field, name_bytes, value.length()? as u32, &[]);
        }
        Ok(())
    }

    fn name(&self, name: Name<'_>, list: &mut FieldList) -> Result<Named, Malformed> {
        match name {
            Name::Index(index) => match self.get(index) {
                Found::Entry { field, name_bytes, .. } => Ok(Named { field, name_bytes }),
                Found::Older => Ok(Named { field: Field::Unknown, name_bytes: 0 }),
                Found::Nothing => Err(Malformed),
            },
            Name::Text(text) => {
                let named = |name: &[u8]| Named { field: Field::of(name), name_bytes: name.len() as u32 };
                list.with_scratch(|bytes| text.decode_into(bytes), named)
            }
        }
    }

    fn get(&self, index: u32) -> Found<'_> {
        match index {
            0 => Found::Nothing,
            1..=static_table::ENTRIES => {
                let (field, name_bytes, value) = static_table::entry(index);
                Found::Entry { field, name_bytes, value }
            }
            _ => self.window.get(index - static_table::ENTRIES - 1),
        }
    }
}
