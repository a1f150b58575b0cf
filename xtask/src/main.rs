// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask TASK`: one file per task.

fn main() {}
