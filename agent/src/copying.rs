// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `memcpy` and its kin, for the static build: those of musl on x86-64 copy words by `rep movsq` and the rest byte by byte,
//! and compare byte by byte, which is dear where most of what is copied are the few bytes of a header field.
//!
//! Here up to 64 bytes are copied by two loads and two stores that may overlap, or four, and more of them 64 at a time.
//! The linker takes these instead of musl's because they are found first.
//!
//! Does not: choose by processor. SSE2 is what every x86-64 has.

#![expect(unsafe_code, reason = "these are the functions that safe code is compiled to")]

use std::{
    arch::naked_asm,
    ffi::{c_int, c_void},
};

/// Copies, also between places that overlap.
///
/// # Safety
/// As the C library's.
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(export_name = "memmove"))]
pub unsafe extern "C" fn move_bytes(to: *mut c_void, from: *const c_void, count: usize) -> *mut c_void {
    naked_asm!(
        "mov rax, rdi",
        "cmp rdx, 16",
        "jb 3f",
        "cmp rdx, 32",
        "ja 2f",
        // All is loaded before anything is stored, so that an overlap does no harm.
        "movups xmm0, [rsi]",
        "movups xmm1, [rsi + rdx - 16]",
        "movups [rdi], xmm0",
        "movups [rdi + rdx - 16], xmm1",
        "ret",
        "2:",
        "cmp rdx, 64",
        "ja 6f",
        "movups xmm0, [rsi]",
        "movups xmm1, [rsi + 16]",
        "movups xmm2, [rsi + rdx - 32]",
        "movups xmm3, [rsi + rdx - 16]",
        "movups [rdi], xmm0",
        "movups [rdi + 16], xmm1",
        "movups [rdi + rdx - 32], xmm2",
        "movups [rdi + rdx - 16], xmm3",
        "ret",
        // Less than 16.
        "3:",
        "cmp edx, 8",
        "jb 4f",
        "mov rcx, [rsi]",
        "mov r8, [rsi + rdx - 8]",
        "mov [rdi], rcx",
        "mov [rdi + rdx - 8], r8",
        "ret",
        "4:",
        "cmp edx, 4",
        "jb 5f",
        "mov ecx, [rsi]",
        "mov r8d, [rsi + rdx - 4]",
        "mov [rdi], ecx",
        "mov [rdi + rdx - 4], r8d",
        "ret",
        "5:",
        "test edx, edx",
        "jz 9f",
        // The first, the middle and the last of one to three.
        "mov r9, rdx",
        "shr r9, 1",
        "movzx ecx, byte ptr [rsi]",
        "movzx r8d, byte ptr [rsi + rdx - 1]",
        "movzx r10d, byte ptr [rsi + r9]",
        "mov [rdi], cl",
        "mov [rdi + r9], r10b",
        "mov [rdi + rdx - 1], r8b",
        "9:",
        "ret",
        // More than 64: from the front, or from the back where the front of `to` lies inside `from`.
        "6:",
        "mov rcx, rdi",
        "sub rcx, rsi",
        "cmp rcx, rdx",
        "jb 7f",
        "movups xmm4, [rsi + rdx - 64]",
        "movups xmm5, [rsi + rdx - 48]",
        "movups xmm6, [rsi + rdx - 32]",
        "movups xmm7, [rsi + rdx - 16]",
        "lea r8, [rdi + rdx - 64]",
        "66:",
        "movups xmm0, [rsi]",
        "movups xmm1, [rsi + 16]",
        "movups xmm2, [rsi + 32]",
        "movups xmm3, [rsi + 48]",
        "movups [rdi], xmm0",
        "movups [rdi + 16], xmm1",
        "movups [rdi + 32], xmm2",
        "movups [rdi + 48], xmm3",
        "add rsi, 64",
        "add rdi, 64",
        "cmp rdi, r8",
        "jb 66b",
        "movups [r8], xmm4",
        "movups [r8 + 16], xmm5",
        "movups [r8 + 32], xmm6",
        "movups [r8 + 48], xmm7",
        "ret",
        "7:",
        "movups xmm4, [rsi]",
        "movups xmm5, [rsi + 16]",
        "movups xmm6, [rsi + 32]",
        "movups xmm7, [rsi + 48]",
        "77:",
        "movups xmm0, [rsi + rdx - 64]",
        "movups xmm1, [rsi + rdx - 48]",
        "movups xmm2, [rsi + rdx - 32]",
        "movups xmm3, [rsi + rdx - 16]",
        "movups [rdi + rdx - 64], xmm0",
        "movups [rdi + rdx - 48], xmm1",
        "movups [rdi + rdx - 32], xmm2",
        "movups [rdi + rdx - 16], xmm3",
        "sub rdx, 64",
        "cmp rdx, 64",
        "ja 77b",
        "movups [rdi], xmm4",
        "movups [rdi + 16], xmm5",
        "movups [rdi + 32], xmm6",
        "movups [rdi + 48], xmm7",
        "ret",
    )
}

/// Copies between places that do not overlap.
///
/// # Safety
/// As the C library's.
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(export_name = "memcpy"))]
pub unsafe extern "C" fn copy_bytes(to: *mut c_void, from: *const c_void, count: usize) -> *mut c_void {
    naked_asm!("jmp {}", sym move_bytes)
}

/// Sets every byte to the lowest of `value`.
///
/// # Safety
/// As the C library's.
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(export_name = "memset"))]
pub unsafe extern "C" fn set_bytes(to: *mut c_void, value: c_int, count: usize) -> *mut c_void {
    naked_asm!(
        "mov rax, rdi",
        "movzx ecx, sil",
        "mov r8, 0x0101010101010101",
        "imul rcx, r8",
        "cmp rdx, 16",
        "jb 3f",
        "movq xmm0, rcx",
        "punpcklqdq xmm0, xmm0",
        "cmp rdx, 64",
        "ja 2f",
        "movups [rdi], xmm0",
        "movups [rdi + rdx - 16], xmm0",
        "cmp rdx, 32",
        "jbe 9f",
        "movups [rdi + 16], xmm0",
        "movups [rdi + rdx - 32], xmm0",
        "ret",
        "2:",
        "lea r8, [rdi + rdx - 64]",
        "22:",
        "movups [rdi], xmm0",
        "movups [rdi + 16], xmm0",
        "movups [rdi + 32], xmm0",
        "movups [rdi + 48], xmm0",
        "add rdi, 64",
        "cmp rdi, r8",
        "jb 22b",
        "movups [r8], xmm0",
        "movups [r8 + 16], xmm0",
        "movups [r8 + 32], xmm0",
        "movups [r8 + 48], xmm0",
        "ret",
        "3:",
        "cmp edx, 8",
        "jb 4f",
        "mov [rdi], rcx",
        "mov [rdi + rdx - 8], rcx",
        "ret",
        "4:",
        "cmp edx, 4",
        "jb 5f",
        "mov [rdi], ecx",
        "mov [rdi + rdx - 4], ecx",
        "ret",
        "5:",
        "test edx, edx",
        "jz 9f",
        "mov [rdi], cl",
        "mov [rdi + rdx - 1], cl",
        "shr rdx, 1",
        "mov [rdi + rdx], cl",
        "9:",
        "ret",
    )
}

/// Below zero, zero or above, as the first byte that differs is smaller, none is, or larger.
///
/// # Safety
/// As the C library's.
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(export_name = "memcmp"))]
pub unsafe extern "C" fn compare_bytes(one: *const c_void, other: *const c_void, count: usize) -> c_int {
    naked_asm!(
        "cmp rdx, 16",
        "jb 4f",
        "xor ecx, ecx",
        "sub rdx, 16",
        "2:",
        "movups xmm0, [rdi + rcx]",
        "movups xmm1, [rsi + rcx]",
        "pcmpeqb xmm0, xmm1",
        "pmovmskb eax, xmm0",
        "xor eax, 0xffff",
        "jnz 3f",
        "cmp rcx, rdx",
        "jae 9f",
        "add rcx, 16",
        "cmp rcx, rdx",
        "jb 2b",
        // The last 16, some of which may have been compared before.
        "mov rcx, rdx",
        "jmp 2b",
        "3:",
        "bsf eax, eax",
        "add rcx, rax",
        "movzx eax, byte ptr [rdi + rcx]",
        "movzx edx, byte ptr [rsi + rcx]",
        "sub eax, edx",
        "9:",
        "ret",
        // Less than 16.
        "4:",
        "cmp edx, 8",
        "jb 5f",
        "mov rax, [rdi]",
        "mov rcx, [rsi]",
        "cmp rax, rcx",
        "jne 7f",
        "mov rax, [rdi + rdx - 8]",
        "mov rcx, [rsi + rdx - 8]",
        "cmp rax, rcx",
        "jne 7f",
        "xor eax, eax",
        "ret",
        "5:",
        "cmp edx, 4",
        "jb 6f",
        "mov eax, [rdi]",
        "mov ecx, [rsi]",
        "cmp eax, ecx",
        "jne 7f",
        "mov eax, [rdi + rdx - 4]",
        "mov ecx, [rsi + rdx - 4]",
        "cmp eax, ecx",
        "jne 7f",
        "xor eax, eax",
        "ret",
        "6:",
        "xor eax, eax",
        "test edx, edx",
        "jz 9b",
        "xor r8d, r8d",
        "66:",
        "movzx eax, byte ptr [rdi + r8]",
        "movzx ecx, byte ptr [rsi + r8]",
        "sub eax, ecx",
        "jnz 9b",
        "inc r8",
        "cmp r8, rdx",
        "jb 66b",
        "ret",
        // The first byte in memory is the highest of a number that is turned round.
        "7:",
        "bswap rax",
        "bswap rcx",
        "cmp rax, rcx",
        "sbb eax, eax",
        "or eax, 1",
        "ret",
    )
}

/// Not zero where any byte differs.
///
/// # Safety
/// As the C library's.
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(export_name = "bcmp"))]
pub unsafe extern "C" fn differ(one: *const c_void, other: *const c_void, count: usize) -> c_int {
    naked_asm!("jmp {}", sym compare_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// A place in a buffer, and a second one that may overlap it.
    fn places() -> impl Strategy<Value = (Vec<u8>, usize, usize, usize)> {
        let count = prop_oneof![4 => 0..70_usize, 1 => 0..700_usize];
        (vec(any::<u8>(), 1000), count).prop_flat_map(|(bytes, count)| {
            let place = 0..1000 - count;
            let near = (place.clone(), -80_isize..80)
                .prop_map(move |(one, step)| (one, one.saturating_add_signed(step).min(1000 - count)));
            let pair = prop_oneof![near, (place.clone(), place)];
            (Just(bytes), pair, Just(count)).prop_map(|(bytes, (one, other), count)| (bytes, one, other, count))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn bytes_are_moved_whole_and_no_other((bytes, to, from, count) in places()) {
            let (mut moved, mut expected) = (bytes.clone(), bytes.clone());
            expected.copy_within(from..from + count, to);
            let place = moved.as_mut_ptr();
            // SAFETY: both ranges lie inside the buffer.
            let given = unsafe { move_bytes(place.add(to).cast(), place.add(from).cast(), count) };
            prop_assert_eq!(given as usize, place as usize + to);
            prop_assert_eq!(&moved, &expected);
            let mut copied = vec![7; count];
            // SAFETY: two buffers of at least this size.
            unsafe { copy_bytes(copied.as_mut_ptr().cast(), bytes[from..].as_ptr().cast(), count) };
            prop_assert_eq!(&copied, &bytes[from..from + count]);
        }

        #[test]
        fn bytes_are_set_and_no_other((bytes, to, _, count) in places(), value: i32) {
            let (mut set, mut expected) = (bytes.clone(), bytes);
            expected[to..to + count].fill(value as u8);
            // SAFETY: the range lies inside the buffer.
            unsafe { set_bytes(set[to..].as_mut_ptr().cast(), value, count) };
            prop_assert_eq!(set, expected);
        }

        #[test]
        fn bytes_compare_as_slices_do((one, from, other, count) in places(), at: prop::sample::Index, change: u8) {
            let one = &one[from..from + count];
            let mut changed = one.to_vec();
            if count > 0 {
                changed[at.index(count)] ^= change;
            }
            // A second place where it lies: what follows it must not matter.
            changed.extend_from_slice(&other.to_ne_bytes());
            // SAFETY: both are at least this long.
            let (order, differs) = unsafe {
                let (one, changed) = (one.as_ptr().cast(), changed.as_ptr().cast());
                (compare_bytes(one, changed, count), differ(one, changed, count))
            };
            prop_assert_eq!(order.cmp(&0), one.cmp(&changed[..count]));
            prop_assert_eq!(differs != 0, one != &changed[..count]);
        }
    }
}
