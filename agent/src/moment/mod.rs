// SPDX-License-Identifier: Apache-2.0 OR MIT
//! When and where something happened: the kernel's clock, the wall clock, threads.
//!
//! The two clocks are two types; only [`WallClock`] turns one into the other.

mod wall;

pub use wall::{ClockSource, FixedClocks, SystemClocks, WallClock, WallOffset};

/// Nanoseconds of `CLOCK_MONOTONIC`, as the kernel programs read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelTime(pub u64);

/// Nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(pub u64);

/// A thread, by the kernel's own numbers (the initial pid namespace).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Thread {
    pub tgid: u32,
    pub tid: u32,
}

/// The mark that travels with bytes through the parsers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    pub time: KernelTime,
    pub thread: Thread,
    /// Where the piece's first byte lies in its direction's stream, modulo 2³².
    pub position: u32,
}
