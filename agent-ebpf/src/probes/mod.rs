// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! The hooks, a file for each thing that is watched.

mod early_calls;
mod kprobes;
pub mod process;
mod socket_functions;
mod socket_state;
mod syscall;
mod typed;
