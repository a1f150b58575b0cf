// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Random trace and span ids.
//!
//! In: the operating system's randomness, once. Out: ids that are never zero.
//! Does not: make ids that are hard to guess; they name things and open none.

use std::hash::{BuildHasher as _, RandomState};

use fastrand::Rng;

use super::{SpanId, TraceId};

/// Two generators, because one holds 64 bits: a trace id from a single one would repeat wherever two agents of a
/// fleet came to the same state.
#[derive(Debug)]
pub struct Identities {
    first: Rng,
    second: Rng,
}

impl Identities {
    #[must_use]
    pub fn new() -> Self {
        // The standard library asks the operating system for the keys of `RandomState`; a keyed hash of two numbers is
        // two independent seeds.
        let keys = RandomState::new();
        Self::seeded(keys.hash_one(1_u8), keys.hash_one(2_u8))
    }

    /// The same seeds give the same ids.
    #[must_use]
    pub fn seeded(first: u64, second: u64) -> Self {
        Self { first: Rng::with_seed(first), second: Rng::with_seed(second) }
    }

    pub fn trace_id(&mut self) -> TraceId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.first.u64(..).to_be_bytes());
        // Samplers read these bytes. They are never zero, and so the id is not either.
        id[8..].copy_from_slice(&self.second.u64(1..).to_be_bytes());
        TraceId(id)
    }

    pub fn span_id(&mut self) -> SpanId {
        SpanId(self.second.u64(1..).to_be_bytes())
    }
}

impl Default for Identities {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_differ_and_are_never_zero() {
        let mut identities = Identities::new();
        let traces: HashSet<_> = (0..1000).map(|_| identities.trace_id()).collect();
        let spans: HashSet<_> = (0..1000).map(|_| identities.span_id()).collect();
        assert_eq!((traces.len(), spans.len()), (1000, 1000));
        assert!(!traces.contains(&TraceId::default()) && !spans.contains(&SpanId::default()));
    }

    #[test]
    fn two_agents_do_not_share_ids() {
        assert_ne!(Identities::new().trace_id(), Identities::new().trace_id());
    }
}
