// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask demo`: sample services, watched, their traces shown as waterfalls.

use anyhow::Result;

use crate::build;

pub fn run() -> Result<()> {
    build::run().map(drop)
}
