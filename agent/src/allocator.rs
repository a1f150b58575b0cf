// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The allocator: mimalloc, asked for no alignment where every block of it has the one that is wanted.
//!
//! musl's own takes one lock for all threads and returns memory at once; this one does neither. Without huge pages: they made
//! 22 MB resident where 8 are used.
//! Does: what the mimalloc crate does. But that one asks for an alignment in every call, which takes mimalloc's slow path
//! for two of five allocations and costs a span 300 instructions.

#![expect(unsafe_code, reason = "an allocator can only be written so")]

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys::{mi_malloc, mi_realloc, mi_zalloc};
use mimalloc::MiMalloc;

pub struct Allocator;

/// What every block of mimalloc is aligned to, however small (its documentation says so of a word; of 16 bytes only from
/// that size on).
const ALWAYS_ALIGNED: usize = align_of::<usize>();

// SAFETY: blocks of `mi_malloc` and `mi_malloc_aligned` are of one heap, and are freed and grown by the same functions.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= ALWAYS_ALIGNED {
            // SAFETY: any size may be asked for.
            return unsafe { mi_malloc(layout.size()) }.cast();
        }
        // SAFETY: the caller's promises are passed on, and so below.
        unsafe { MiMalloc.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= ALWAYS_ALIGNED {
            // SAFETY: any size may be asked for.
            return unsafe { mi_zalloc(layout.size()) }.cast();
        }
        // SAFETY: as above.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { MiMalloc.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if layout.align() <= ALWAYS_ALIGNED {
            // SAFETY: the caller promises that the block is one of this allocator's.
            return unsafe { mi_realloc(block.cast(), size) }.cast();
        }
        // SAFETY: as above.
        unsafe { MiMalloc.realloc(block, layout, size) }
    }
}
