// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The wall clock, derived from the kernel's.
//!
//! In: kernel times, and both clocks read side by side now and then. Out: wall times, right again at most
//! [`REREAD_NS`] after the wall clock was set. Both ends of one interval use one [`WallOffset`], so that no interval is
//! ever negative, whatever happens to the wall clock inside it.
//! Does not: know when a step happened. Times from before a step, turned into wall time after it, are told in the new
//! clock, which is taken to be the right one.

use rustix::time::{ClockId, clock_gettime};

use super::{KernelTime, WallTime};

/// Kernel time after which the offset is read again. Larger: longer wrong after a clock step. Smaller: more clock
/// reads, each a tenth of a microsecond.
const REREAD_NS: u64 = 100_000_000;

/// The two clocks count as read side by side when the reads lie this close. Larger: a preemption between them becomes
/// an error of the wall time. Smaller: slow machines always use all their attempts.
const CLOSE_ENOUGH_NS: u64 = 20_000;

/// Attempts at two close reads; the closest one is used.
const ATTEMPTS: usize = 4;

/// Where the two clocks are read.
pub trait ClockSource {
    /// Both clocks at one instant.
    fn read(&mut self) -> (KernelTime, WallTime);
}

/// This machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClocks;

impl SystemClocks {
    /// The kernel's clock alone.
    #[must_use]
    pub fn now() -> KernelTime {
        KernelTime(nanoseconds(ClockId::Monotonic))
    }
}

impl ClockSource for SystemClocks {
    fn read(&mut self) -> (KernelTime, WallTime) {
        let mut best = (u64::MAX, KernelTime::default(), WallTime::default());
        for _ in 0..ATTEMPTS {
            let before = Self::now().0;
            let wall = nanoseconds(ClockId::Realtime);
            let apart = Self::now().0.saturating_sub(before);
            if apart < best.0 {
                best = (apart, KernelTime(before + apart / 2), WallTime(wall));
            }
            if apart <= CLOSE_ENOUGH_NS {
                break;
            }
        }
        (best.1, best.2)
    }
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// The clocks of a recording: as far apart as they were when it was made.
#[derive(Clone, Copy, Debug)]
pub struct FixedClocks(pub WallOffset);

impl ClockSource for FixedClocks {
    fn read(&mut self) -> (KernelTime, WallTime) {
        (KernelTime(0), self.0.wall(KernelTime(0)))
    }
}

/// Wall time minus kernel time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WallOffset(u64);

impl WallOffset {
    #[must_use]
    pub const fn between(kernel: KernelTime, wall: WallTime) -> Self {
        Self(wall.0.saturating_sub(kernel.0))
    }

    #[must_use]
    pub const fn wall(self, time: KernelTime) -> WallTime {
        WallTime(time.0.saturating_add(self.0))
    }

    #[must_use]
    pub const fn nanoseconds(self) -> u64 {
        self.0
    }
}

impl From<u64> for WallOffset {
    fn from(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }
}

/// Keeps the offset fresh.
pub struct WallClock {
    source: Box<dyn ClockSource>,
    offset: WallOffset,
    read_at: KernelTime,
}

impl WallClock {
    pub fn new(mut source: impl ClockSource + 'static) -> Self {
        let (kernel, wall) = source.read();
        Self { source: Box::new(source), offset: WallOffset::between(kernel, wall), read_at: kernel }
    }

    /// The offset to use for everything that is turned into wall time at `now`.
    pub fn offset(&mut self, now: KernelTime) -> WallOffset {
        if now.0.saturating_sub(self.read_at.0) >= REREAD_NS {
            let (kernel, wall) = self.source.read();
            self.offset = WallOffset::between(kernel, wall);
            // `now` may be ahead of the source: a recording's clocks stand still.
            self.read_at = now;
        }
        self.offset
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use super::*;

    /// A machine's clocks, moved by the test.
    #[derive(Clone, Default)]
    struct Simulated {
        kernel: Rc<Cell<u64>>,
        ahead: Rc<Cell<u64>>,
        reads: Rc<Cell<u32>>,
    }

    impl ClockSource for Simulated {
        fn read(&mut self) -> (KernelTime, WallTime) {
            self.reads.set(self.reads.get() + 1);
            (KernelTime(self.kernel.get()), WallTime(self.kernel.get() + self.ahead.get()))
        }
    }

    #[test]
    fn follows_a_step_within_the_reread_time() {
        let clocks = Simulated::default();
        clocks.ahead.set(5_000);
        let mut wall = WallClock::new(clocks.clone());
        clocks.ahead.set(9_000);
        clocks.kernel.set(REREAD_NS - 1);
        assert_eq!(wall.offset(KernelTime(REREAD_NS - 1)), WallOffset(5_000), "not read on every use");
        clocks.kernel.set(REREAD_NS);
        assert_eq!(wall.offset(KernelTime(REREAD_NS)), WallOffset(9_000));
        assert_eq!(clocks.reads.get(), 2);
    }

    #[test]
    fn follows_a_step_backwards() {
        let clocks = Simulated::default();
        clocks.ahead.set(9_000);
        let mut wall = WallClock::new(clocks.clone());
        clocks.ahead.set(1_000);
        clocks.kernel.set(REREAD_NS);
        let offset = wall.offset(KernelTime(REREAD_NS));
        assert_eq!(offset.wall(KernelTime(7)), WallTime(1_007));
    }

    #[test]
    fn clocks_that_stand_still_are_not_read_on_every_use() {
        let mut wall = WallClock::new(FixedClocks(WallOffset(40)));
        assert_eq!(wall.offset(KernelTime(u64::MAX)).wall(KernelTime(2)), WallTime(42));
    }

    #[test]
    fn the_machines_clocks_agree_with_the_library() {
        let (kernel, wall) = SystemClocks.read();
        let library =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_nanos();
        assert!(library.abs_diff(u128::from(wall.0)) < 5_000_000_000);
        assert!(SystemClocks::now() >= kernel);
    }
}
