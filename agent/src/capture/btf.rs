// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where the running kernel keeps its fields, from its own type information (BTF).
//!
//! In: the bytes of `/sys/kernel/btf/vmlinux`. Out: byte offsets of named members of named structures.
//! Does not: resolve anything but structures, unions and their members; keep the bytes once it is done.
//! Written here because the field's libraries index every type (tens of megabytes), where a walk over the types and a
//! table of their places (four bytes each) answer the thirty questions asked at start.

use agent_common::offsets::{ABSENT, KernelOffsets};

use super::CaptureError;

const PATH: &str = "/sys/kernel/btf/vmlinux";

/// Documentation/bpf/btf.rst, section 2: the header.
const MAGIC: u16 = 0xeb9f;

const KIND_INT: u32 = 1;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_FORWARD: u32 = 7;
const KIND_TYPEDEF: u32 = 8;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_ENUM64: u32 = 19;

/// Words of a type that has nothing behind them: its name, what it is, and its size or another type.
const TYPE_WORDS: usize = 3;

/// Nested anonymous structures that are followed. The kernel's deepest have four; a loop in damaged data ends here.
const DEPTH: u32 = 8;

/// The kernel's structures, by name.
pub struct KernelTypes {
    bytes: Vec<u8>,
    /// Where each type begins in `bytes`, by its id less one.
    types: Vec<u32>,
    /// The same for those that are looked up by name: a tenth of them, so that a look-up is a short walk.
    structures: Vec<u32>,
    enumerations: Vec<u32>,
    functions: Vec<u32>,
    aliases: Vec<u32>,
    strings: usize,
}

impl KernelTypes {
    /// Those of the running kernel.
    ///
    /// # Errors
    /// Where the kernel has no readable type information.
    pub fn read() -> Result<Self, CaptureError> {
        let bytes = std::fs::read(PATH).map_err(|source| CaptureError::Btf { path: PATH, source })?;
        Self::parse(bytes).ok_or(CaptureError::BtfDamaged)
    }

    /// Absent where the bytes are no type information of this machine's byte order.
    #[must_use]
    pub fn parse(bytes: Vec<u8>) -> Option<Self> {
        let word = |at: usize| read_u32(&bytes, at).map(|value| value as usize);
        if u16::from_ne_bytes(*bytes.first_chunk()?) != MAGIC {
            return None;
        }
        let header = word(4)?;
        let start = header.checked_add(word(8)?)?;
        let end = start.checked_add(word(12)?)?;
        let strings = header.checked_add(word(16)?)?;
        let (mut types, mut structures, mut enumerations) = (vec![], vec![], vec![]);
        let (mut functions, mut aliases) = (vec![], vec![]);
        let mut at = start;
        while at < end {
            let place = u32::try_from(at).ok()?;
            let information = read_u32(&bytes, at + 4)?;
            types.push(place);
            match kind(information) {
                KIND_STRUCT => structures.push(place),
                KIND_ENUM => enumerations.push(place),
                KIND_FUNC => functions.push(place),
                KIND_TYPEDEF => aliases.push(place),
                _ => {}
            }
            at += 12 + trailing_bytes(information)?;
        }
        Some(Self { bytes, types, structures, enumerations, functions, aliases, strings })
    }

    /// Offsets of all fields that the programs read.
    #[must_use]
    pub fn offsets(&self) -> KernelOffsets {
        let mut offsets = KernelOffsets::resolve(|structure, member| self.offset(structure, member));
        // Linux 6.13 counts references to a file from zero, under another name.
        if offsets.file_references == ABSENT {
            offsets.file_references = self.offset("file", "f_count").unwrap_or(ABSENT);
        } else {
            offsets.file_single_reference = 0;
        }
        // arm64 has it in a structure of what a program can write itself.
        if offsets.thread_pointer == ABSENT {
            offsets.thread_pointer = self.offset("thread_struct", "uw").unwrap_or(ABSENT);
        }
        // Linux 6.4 renamed it.
        if offsets.iterator_vector == ABSENT {
            offsets.iterator_vector = self.offset("iov_iter", "iov").unwrap_or(ABSENT);
        }
        offsets.iterates_buffer = self.enumerator("iter_type", "ITER_UBUF").unwrap_or(ABSENT);
        offsets.task_is_typed = u32::from(self.has_helper("task_pt_regs"));
        offsets.iterates_vector = self.enumerator("iter_type", "ITER_IOVEC").unwrap_or(ABSENT);
        offsets
    }

    /// Whether the kernel has a function that programs can be attached to by its type.
    #[must_use]
    pub fn has_function(&self, name: &str) -> bool {
        self.functions.iter().any(|&at| self.is_named(at as usize, name))
    }

    /// Type information in which these functions have the numbers that they have in the kernel, and every other type is
    /// an empty one: all that a library needs that attaches programs to functions, at a tenth of the memory.
    #[must_use]
    pub fn functions_alone(&self, names: &[&str]) -> Vec<u8> {
        let mut strings = vec![0];
        let mut types: Vec<u32> = Vec::new();
        for &at in self.functions.iter().filter(|&&at| names.iter().any(|name| self.is_named(at as usize, name))) {
            let before = self.types.partition_point(|&place| place < at);
            types.resize_with(before * TYPE_WORDS, || 0);
            let name = self.name(at as usize);
            types.extend([word(strings.len()), KIND_FUNC << 24, 0]);
            strings.extend(name);
            strings.push(0);
        }
        for empty in types.as_chunks_mut::<TYPE_WORDS>().0.iter_mut().filter(|words| words[1] == 0) {
            empty[1] = KIND_FORWARD << 24;
        }
        laid_out(&types, &strings)
    }

    /// Whether the kernel has a tracepoint that programs can be attached to: each has a type by this name.
    #[must_use]
    pub fn has_tracepoint(&self, name: &str) -> bool {
        let name = format!("btf_trace_{name}");
        self.aliases.iter().any(|&at| self.is_named(at as usize, &name))
    }

    /// Whether programs can call the helper `bpf_NAME`.
    #[must_use]
    pub fn has_helper(&self, name: &str) -> bool {
        self.enumerator("bpf_func_id", &format!("BPF_FUNC_{name}")).is_some()
    }

    /// The value of an enumeration's member.
    #[must_use]
    pub fn enumerator(&self, enumeration: &str, member: &str) -> Option<u32> {
        self.enumerations.iter().find_map(|&at| {
            let at = at as usize;
            if !self.is_named(at, enumeration) {
                return None;
            }
            let information = read_u32(&self.bytes, at + 4)?;
            (0..members(information))
                .map(|index| at + 12 + index * 8)
                .find(|&value| self.is_named(value, member))
                .and_then(|value| read_u32(&self.bytes, value + 4))
        })
    }

    /// The offset in bytes of a member, through anonymous structures and unions.
    #[must_use]
    pub fn offset(&self, structure: &str, member: &str) -> Option<u32> {
        let mut named = self.structures.iter().filter(|&&at| self.is_named(at as usize, structure));
        named.find_map(|&at| self.member_offset(at as usize, member, DEPTH).map(|bits| bits / 8))
    }

    /// In bits, as BTF has it.
    fn member_offset(&self, at: usize, wanted: &str, depth: u32) -> Option<u32> {
        let information = read_u32(&self.bytes, at + 4)?;
        if !matches!(kind(information), KIND_STRUCT | KIND_UNION) || depth == 0 {
            return None;
        }
        // With the kind flag the upper eight bits hold the width of a bit field.
        let mask = if information >> 31 == 1 { 0x00ff_ffff } else { u32::MAX };
        (0..members(information)).find_map(|index| {
            let member = at + 12 + index * 12;
            let offset = read_u32(&self.bytes, member + 8)? & mask;
            if self.is_named(member, wanted) {
                return Some(offset);
            }
            if !self.is_named(member, "") {
                return None;
            }
            let inner = *self.types.get((read_u32(&self.bytes, member + 4)? as usize).checked_sub(1)?)?;
            Some(offset + self.member_offset(inner as usize, wanted, depth - 1)?)
        })
    }

    fn name(&self, at: usize) -> &[u8] {
        self.text(at).and_then(|text| text.split(|byte| *byte == 0).next()).unwrap_or_default()
    }

    /// Whether a type or member whose description begins at `at` has this name.
    fn is_named(&self, at: usize, name: &str) -> bool {
        let text = self.text(at);
        text.is_some_and(|text| text.starts_with(name.as_bytes()) && text.get(name.len()) == Some(&0))
    }

    /// The strings from its name on.
    fn text(&self, at: usize) -> Option<&[u8]> {
        self.bytes.get(self.strings + read_u32(&self.bytes, at)? as usize..)
    }
}

const fn kind(information: u32) -> u32 {
    (information >> 24) & 0x1f
}

const fn members(information: u32) -> usize {
    (information & 0xffff) as usize
}

/// Bytes that follow the twelve that every type has; absent for a kind that is not known.
const fn trailing_bytes(information: u32) -> Option<usize> {
    let members = members(information);
    Some(match kind(information) {
        KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
        KIND_ARRAY => 12,
        KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => members * 12,
        KIND_ENUM | KIND_FUNC_PROTO => members * 8,
        0 | 20.. => return None,
        _ => 0,
    })
}

/// Types and strings behind a header.
fn laid_out(types: &[u32], strings: &[u8]) -> Vec<u8> {
    const HEADER_BYTES: usize = 24;
    const VERSION: u8 = 1;
    let (types_bytes, strings_bytes) = (size_of_val(types), strings.len());
    let mut bytes = Vec::with_capacity(HEADER_BYTES + types_bytes + strings_bytes);
    bytes.extend(MAGIC.to_ne_bytes());
    bytes.extend([VERSION, 0]);
    for value in [HEADER_BYTES, 0, types_bytes, types_bytes, strings_bytes] {
        bytes.extend(word(value).to_ne_bytes());
    }
    bytes.extend_from_slice(bytemuck::cast_slice(types));
    bytes.extend_from_slice(strings);
    bytes
}

fn word(value: usize) -> u32 {
    u32::try_from(value).expect("type information is far below 4 GiB")
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct outer { int a; union { int b; struct { int c; }; }; }` and `int poke()`.
    fn sample() -> Vec<u8> {
        let strings = b"\0outer\0a\0b\0c\0int\0poke\0";
        let structure = |members: u32| KIND_STRUCT << 24 | members;
        let types: &[u32] = &[
            13,
            KIND_INT << 24,
            4,
            32, // 1: int
            1,
            structure(2),
            8,
            7,
            1,
            0,
            0,
            3,
            32, // 2: outer
            0,
            KIND_UNION << 24 | 2,
            4,
            9,
            1,
            0,
            0,
            4,
            0, // 3
            0,
            structure(1),
            4,
            11,
            1,
            0, // 4
            17,
            KIND_FUNC << 24,
            0, // 5
        ];
        laid_out(types, strings)
    }

    #[test]
    fn members_are_found_through_anonymous_ones() {
        let kernel = KernelTypes::parse(sample()).expect("well formed");
        assert_eq!(kernel.offset("outer", "a"), Some(0));
        assert_eq!(kernel.offset("outer", "b"), Some(4));
        assert_eq!(kernel.offset("outer", "c"), Some(4));
        assert_eq!(kernel.offset("outer", "d"), None);
        assert_eq!(kernel.offset("inner", "a"), None);
    }

    #[test]
    fn functions_alone_keep_their_numbers() {
        let kernel = KernelTypes::parse(sample()).expect("well formed");
        let bytes = kernel.functions_alone(&["poke", "prod"]);
        aya::Btf::parse(&bytes, aya::Endianness::default()).expect("the loader reads it");
        let alone = KernelTypes::parse(bytes).expect("well formed");
        assert!(alone.has_function("poke") && !alone.has_function("prod"));
        assert_eq!((alone.types.len(), alone.functions.as_slice()), (5, &alone.types[4..]));
    }

    #[test]
    fn cut_or_changed_bytes_never_panic() {
        let whole = sample();
        for length in 0..whole.len() {
            if let Some(kernel) = KernelTypes::parse(whole[..length].to_vec()) {
                let _ = kernel.offset("outer", "c");
            }
        }
        for at in 0..whole.len() {
            for value in [0, 0x7f, 0xff] {
                let mut changed = whole.clone();
                changed[at] = value;
                if let Some(kernel) = KernelTypes::parse(changed) {
                    let _ = kernel.offset("outer", "c");
                }
            }
        }
    }
}
