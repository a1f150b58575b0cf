// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Array maps that are mapped into the daemon: single bytes and words change without a system call, and without
//! touching their neighbours.

#![expect(unsafe_code, reason = "memory that another party writes can only be reached through raw pointers")]

use std::{
    os::fd::BorrowedFd,
    ptr,
    sync::atomic::{AtomicU8, AtomicU32, Ordering},
};

use rustix::{
    io,
    mm::{MapFlags, ProtFlags, mmap, munmap},
};

/// A mapped array map.
pub struct SharedArray {
    start: *mut u8,
    bytes: usize,
}

// SAFETY: the memory is reached through atomics only, and unmapped only when the owner is dropped.
unsafe impl Send for SharedArray {}

impl SharedArray {
    /// Maps `bytes` bytes of an array map that was made with `BPF_F_MMAPABLE`.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn map(descriptor: BorrowedFd<'_>, bytes: usize) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choosing touches nothing that exists.
        let start = unsafe { mmap(ptr::null_mut(), bytes, access, MapFlags::SHARED, descriptor, 0)? };
        Ok(Self { start: start.cast(), bytes })
    }

    /// The byte at an index; absent past the end.
    pub fn byte(&self, index: usize) -> Option<&AtomicU8> {
        // SAFETY: inside the mapping, which lives as long as `self`.
        (index < self.bytes).then(|| unsafe { AtomicU8::from_ptr(self.start.add(index)) })
    }

    /// The first word.
    pub fn first_word(&self) -> u32 {
        self.word().load(Ordering::SeqCst)
    }

    /// Sets the first word.
    pub fn set_first_word(&self, value: u32) {
        self.word().store(value, Ordering::SeqCst);
    }

    fn word(&self) -> &AtomicU32 {
        assert!(self.bytes >= size_of::<u32>(), "a mapping is at least a word");
        // SAFETY: inside the mapping, which begins at a page and lives as long as `self`.
        unsafe { AtomicU32::from_ptr(self.start.cast()) }
    }
}

impl Drop for SharedArray {
    fn drop(&mut self) {
        // SAFETY: mapped by `map`, and no reference outlives `self`.
        let _ = unsafe { munmap(self.start.cast(), self.bytes) };
    }
}
