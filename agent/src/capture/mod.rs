// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Capture: hooks in, kernel events out.
//!
//! `btf` finds the kernel's fields, `programs` loads and attaches the programs, `events` turns records into typed events,
//! `shared` is the memory that both sides write. Does not: know connections, protocols or who is to be watched.

mod btf;
mod error;
mod event;
mod programs;
mod recording;
mod shared;
mod wake_ups;

pub use btf::{KernelTypes, kernel_offsets};
pub use error::CaptureError;
pub use event::KernelEvent;
pub use programs::{Capture, CaptureOptions, Control, Nap};
pub use recording::{Frame, Recorder, Recording, RecordingError};
