// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The contract between the kernel programs and the daemon: event records, limits, loss reasons.
//!
//! In: nothing. Out: plain `repr(C)` types with no padding, the same bytes on both sides of the ring buffer.
//! Does not: read or write anything.

#![no_std]
#![forbid(unsafe_code)]

pub mod limits;
pub mod losses;
pub mod offsets;
pub mod plaintext;
pub mod records;
