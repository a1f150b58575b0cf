// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A shell and the few programs that tests start in a guest: Debian's static busybox, under the names that they know.

use anyhow::Result;

use super::{archive::Archive, initramfs::GuestFile, kernel::folder, machine::Machine};

const BUSYBOX: &str = "/bin/busybox";

/// Only what does there what it does here: its `setpriv`, for one, lacks what tests would ask of it.
const NAMES: [&str; 5] = ["sh", "ip", "unshare", "nsenter", "cat"];

/// Fetched once per machine.
pub fn files(machine: Machine) -> Result<Vec<GuestFile>> {
    let place = folder().join(format!("busybox-{}", machine.debian()));
    if !place.is_file() {
        Archive::open(machine)?.extract("busybox-static", BUSYBOX.trim_start_matches('/'), &place)?;
    }
    let links = NAMES.map(|name| GuestFile::link(format!("/bin/{name}"), BUSYBOX));
    Ok([GuestFile::program(BUSYBOX, place)].into_iter().chain(links).collect())
}
