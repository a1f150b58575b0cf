// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Probes are let go of aside, and together.
//!
//! In: links that nobody needs any more. Out: nothing; the probes are gone a little later. For each link the kernel waits until no
//! processor can be inside its program, a tenth of a second, and only once for those that go at the same time. Who reads the ring
//! cannot stand still for so long whenever a process ends, and a machine with two hundred libraries would take twenty seconds to
//! end.

use std::{io, iter, sync::mpsc, thread};

use aya::programs::uprobe::UProbeLink;

use super::ProbeLinks;

/// Links that go at the same time. Larger: more threads, for a moment. Smaller: an end takes longer.
const AT_ONCE: usize = 32;

#[derive(Debug)]
pub struct LettingGo {
    /// As many as processes have probes of their own, at the most.
    sender: mpsc::Sender<ProbeLinks>,
    thread: thread::JoinHandle<()>,
}

impl LettingGo {
    /// # Errors
    /// Where no thread can be started.
    pub fn start() -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel::<ProbeLinks>();
        let thread = thread::Builder::new().name("letting go".to_owned()).spawn(move || {
            while let Ok(first) = receiver.recv() {
                drop_together(iter::once(first).chain(receiver.try_iter()).flat_map(|links| links.0).collect());
            }
        })?;
        Ok(Self { sender, thread })
    }

    pub fn take(&self, links: ProbeLinks) {
        // Without the thread they go here and now.
        let _ = self.sender.send(links);
    }

    /// Waits until all that it was given is gone.
    pub fn finish(self) {
        drop(self.sender);
        let _ = self.thread.join();
    }
}

fn drop_together(mut links: Vec<UProbeLink>) {
    let each = links.len().div_ceil(AT_ONCE).max(1);
    thread::scope(|scope| {
        while !links.is_empty() {
            let some = links.split_off(links.len().saturating_sub(each));
            // Without a thread they go here and now.
            let _ = thread::Builder::new().spawn_scoped(scope, move || drop(some));
        }
    });
}
