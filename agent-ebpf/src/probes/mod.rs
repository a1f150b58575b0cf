// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! The hooks, a file for each thing that is watched.

pub mod process;
mod socket_state;
mod syscall;
