// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who is watched: selectors and process events in, watch states out.
//!
//! The kernel reports every program that is executed and every listen; this stage judges, and the caller hands the verdict
//! to the kernel. `/proc` is read once at start and once for each program that needs judging, never polled; in Kubernetes
//! also when the API server tells of a pod something that changes what is judged of it.
//! Does not: touch the kernel's maps, ask the API server, or look at connections.

mod judge;
mod lodging;
mod process;
mod table;

pub use judge::{Judge, Names, SelectionError};
pub use lodging::{Lodging, own_word};
pub use process::{Candidate, Residence, listening_ports, running};
pub use table::{Targets, Verdict};
