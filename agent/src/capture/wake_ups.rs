// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Waits for the kernel to ask for attention, whether or not there are records.
//!
//! `poll` returns at once while the ring holds anything; under load it always does. Edge-triggered epoll returns only when
//! a kernel program woke the reader, or the time is over: records gather in between, and are read in one go.

use std::{
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::{
    event::{Timespec, epoll},
    io,
};

pub struct WakeUps(OwnedFd);

impl WakeUps {
    /// # Errors
    /// Where the kernel refuses another descriptor.
    pub fn of(ring: &impl AsFd) -> io::Result<Self> {
        let waiter = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&waiter, ring, epoll::EventData::new_u64(0), epoll::EventFlags::IN | epoll::EventFlags::ET)?;
        Ok(Self(waiter))
    }

    /// # Errors
    /// `EINTR` on a signal.
    pub fn wait(&self, time: Duration) -> io::Result<()> {
        let mut events = [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }];
        epoll::wait(&self.0, &mut events, Timespec::try_from(time).ok().as_ref()).map(drop)
    }
}
