// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Capture: hooks in, kernel events out.

pub mod event;

pub use event::KernelEvent;
