// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the pipeline says of itself: beats while it runs, and how far its start has come. Written by the pipeline's
//! thread, read by the admin server; no lock.

use std::{
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Silence after which the pipeline is believed to be stuck. Larger: a stuck agent is restarted later. Smaller: a starved
/// machine restarts agents that only wait for a processor.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);

/// How far the start has come.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    Starting = 0,
    /// The hooks are attached; the processes that were there at start are still being looked through.
    Attached = 1,
    Ready = 2,
    Stopping = 3,
}

impl Readiness {
    /// The answer's text.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Starting => "not ready: the hooks are not attached yet",
            Self::Attached => "not ready: the processes that were there at start are not all looked at yet",
            Self::Ready => "ready",
            Self::Stopping => "not ready: stopping",
        }
    }
}

#[derive(Debug)]
pub struct Health {
    began: Instant,
    silence_limit: Duration,
    /// Milliseconds from `began`.
    last_beat_ms: AtomicU64,
    readiness: AtomicU8,
}

impl Default for Health {
    fn default() -> Self {
        Self::with_silence_limit(SILENCE_LIMIT)
    }
}

impl Health {
    /// Alive from the start: the first beat is due within the limit.
    #[must_use]
    pub fn with_silence_limit(silence_limit: Duration) -> Self {
        Self {
            began: Instant::now(),
            silence_limit,
            last_beat_ms: AtomicU64::new(0),
            readiness: AtomicU8::new(Readiness::Starting as u8),
        }
    }

    /// To be called by the pipeline's thread at every round, and at least every few seconds.
    pub fn beat(&self) {
        self.last_beat_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    pub fn set_readiness(&self, readiness: Readiness) {
        self.readiness.store(readiness as u8, Ordering::Release);
    }

    #[must_use]
    pub fn readiness(&self) -> Readiness {
        match self.readiness.load(Ordering::Acquire) {
            1 => Readiness::Attached,
            2 => Readiness::Ready,
            3 => Readiness::Stopping,
            _ => Readiness::Starting,
        }
    }

    #[must_use]
    pub fn silence(&self) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(self.last_beat_ms.load(Ordering::Relaxed)))
    }

    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.silence() <= self.silence_limit
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
