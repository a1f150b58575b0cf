// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Recognition of the libraries through which programs speak TLS, and of the places in them where plaintext passes.
//!
//! Three lifetimes: the `catalogue` of what is known, a `plan` for each file, and the `mappings` of each process; `search` goes
//! from processes to files, and `probing` hands what it finds to the capture.
//! In: processes that are watched. Out: probes to attach, and what cannot be read, with the reason.
//! Does not: speak with the kernel, or read plaintext.

pub mod catalogue;
mod elf;
mod ends;
mod file_id;
mod go;
mod mappings;
mod plan;
mod probing;
mod ranges;
mod rust;
mod search;
pub mod sites;

pub use catalogue::Catalogue;
pub use elf::{ElfError, Machine};
pub use ends::End;
pub use file_id::FileId;
pub use plan::{Action, LibraryPlan, Plan, Probe, Returns};
pub use probing::{Probing, places};
pub use search::{Found, Search, UnreadProgram, UnreadableLibrary, Why, look_into};
