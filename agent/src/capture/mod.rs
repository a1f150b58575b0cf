// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Capture: hooks in, kernel events out.
//!
//! `btf` finds the kernel's fields, `programs` loads the programs, `backends` attaches them, `early_calls` sees what was
//! under way then, `probes` attaches to places in libraries and `letting_go` lets go of them, `events` turns records into typed events,
//! `shared` is the memory that both sides write. Does not: know connections, protocols or who is to be watched.

mod backends;
mod btf;
mod early_calls;
mod error;
mod event;
mod letting_go;
mod probes;
mod programs;
mod recording;
mod shared;
mod verification;
mod wake_ups;

pub use backends::Backend;
pub use btf::KernelTypes;
pub use error::CaptureError;
pub use event::KernelEvent;
pub use letting_go::LettingGo;
pub use probes::{ProbeLinks, ProbePlace, ProbeProgram};
pub use programs::{Capture, CaptureOptions, Control, Nap, Refusal};
pub use recording::{Frame, Recorder, Recording, RecordingError};
pub use verification::{Verified, verify};
