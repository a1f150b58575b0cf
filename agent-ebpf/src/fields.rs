// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! Fields of kernel structures, read at offsets that the daemon took from this kernel's BTF.

use agent_common::offsets::{ABSENT, KernelOffsets};
use aya_ebpf::helpers::{bpf_probe_read_kernel, generated::bpf_probe_read_kernel as read_kernel_bytes};

/// Set by the daemon before loading; the verifier sees constants.
#[unsafe(no_mangle)]
static KERNEL: KernelOffsets = KernelOffsets::ABSENT;

/// Mixed into socket addresses before they leave the kernel, so that they tell nothing of its memory layout.
#[unsafe(no_mangle)]
static ADDRESS_MASK: u64 = 0;

/// The offset of a field, or nothing where this kernel has no such field.
macro_rules! offset {
    ($field:ident) => {
        $crate::fields::present($crate::fields::kernel(|kernel| &kernel.$field))
    };
}
pub(crate) use offset;

/// Reads a field of the structure at an address: `field!(u32, task, task_tgid)`.
macro_rules! field {
    ($kind:ty, $base:expr, $field:ident) => {
        $crate::fields::offset!($field).and_then(|offset| $crate::fields::read::<$kind>($base, offset))
    };
}
pub(crate) use field;

/// As `field!`, where the verifier may know the structure's type: see `read_or_load`.
macro_rules! typed_field {
    ($typed:expr, $kind:ty, $base:expr, $field:ident) => {
        $crate::fields::offset!($field)
            .and_then(|offset| $crate::fields::read_or_load::<{ $typed }, $kind>($base, offset))
    };
}
pub(crate) use typed_field;

#[inline(always)]
pub fn kernel(pick: impl FnOnce(&'static KernelOffsets) -> &'static u32) -> u32 {
    // SAFETY: a reference into the static above; volatile, because the daemon replaces it at load.
    unsafe { core::ptr::from_ref(pick(&KERNEL)).read_volatile() }
}

#[inline(always)]
pub fn present(offset: u32) -> Option<u32> {
    (offset != ABSENT).then_some(offset)
}

#[inline(always)]
pub fn read<T>(base: u64, offset: u32) -> Option<T> {
    // SAFETY: the helper checks the address and fails on a bad one.
    unsafe { bpf_probe_read_kernel((base + u64::from(offset)) as *const T).ok() }
}

/// Copies a field to where it belongs, without a stop on the stack. Zeroes where it cannot be read.
#[inline(always)]
pub fn copy<T>(to: &mut T, base: u64, offset: u32) {
    let from = (base + u64::from(offset)) as *const _;
    // SAFETY: a place of that size; the helper checks the address, and clears the place where it fails.
    unsafe { read_kernel_bytes((&raw mut *to).cast(), size_of::<T>() as u32, from) };
}

/// Reads a field of the current task, its registers, or what it points to with its type: by one instruction where
/// `is_typed`.
macro_rules! task_field {
    ($is_typed:ident, $kind:ty, $base:expr, $field:ident) => {
        $crate::fields::offset!($field).and_then(|offset| {
            if $is_typed {
                $crate::fields::read_or_load::<true, $kind>($base, offset)
            } else {
                $crate::fields::read::<$kind>($base, offset)
            }
        })
    };
}
pub(crate) use task_field;

/// Whether the current task can be read without the helper; a constant to the verifier.
#[inline(always)]
pub fn task_is_typed() -> bool {
    kernel(|kernel| &kernel.task_is_typed) != 0
}

/// Reads a field through the helper, or `TYPED` with one instruction: programs that are attached to a function by its type
/// get pointers whose type the verifier knows, and it lets them be followed. A bad address then gives zero.
#[inline(always)]
pub fn read_or_load<const TYPED: bool, T>(base: u64, offset: u32) -> Option<T> {
    if TYPED {
        // SAFETY: the verifier checks that a field of this size lies there; the kernel handles the fault of a bad address.
        Some(unsafe { ((base + u64::from(offset)) as *const T).read_volatile() })
    } else {
        read(base, offset)
    }
}

#[inline(always)]
pub fn masked(address: u64) -> u64 {
    // SAFETY: a static; volatile, because the daemon replaces it at load.
    address ^ unsafe { (&raw const ADDRESS_MASK).read_volatile() }
}
