// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the kernel and end-to-end tests and the load bench share: Onlooker as a process, its spans and its ledger, servers
//! to watch and a load generator whose counts are exact.
//!
//! Nothing here looks inside Onlooker: it starts the binary and reads what any user can read.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpListener},
    time::{Duration, Instant},
};

#[cfg(feature = "cluster")]
pub mod cluster;
pub mod collector;
pub mod helm;
pub mod ledger;
pub mod load;
pub mod onlooker;
pub mod python;
pub mod server;
pub mod spans;

#[cfg(feature = "cluster")]
pub use cluster::Cluster;
pub use collector::Collector;
pub use ledger::Ledger;
pub use load::{Load, LoadReport, raise_open_files};
pub use onlooker::{Finished, Onlooker};
pub use python::python_with_packages;
pub use server::{Request, Server, ServerProcess};
pub use spans::Span;

/// How long a test waits for something that takes milliseconds. Longer hides nothing, it only fails later; shorter fails
/// on a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(20 * SLOWNESS as u64);

/// How many times longer than here something may take: a guest's clock counts an instruction as a nanosecond, where a
/// processor does several.
pub const SLOWNESS: u32 = if cfg!(feature = "vm") { 10 } else { 1 };

/// Between two looks at something that tells nobody when it changes, such as another process's port.
const PAUSE: Duration = Duration::from_millis(5);

/// Says that a test cannot run here. Written past the test harness, which hides what passing tests print: `cargo xtask
/// test` counts these lines.
pub fn skip(reason: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
}

/// Looks until there is something to see.
///
/// # Errors
///
/// What was waited for did not come in time.
pub fn poll_until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(seen) = look() {
            return Ok(seen);
        }
        anyhow::ensure!(Instant::now() < deadline, "{what}: not within {limit:?}");
        std::thread::sleep(PAUSE);
    }
}

/// A loopback address that nobody listens at now.
#[must_use]
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    listener.local_addr().expect("it is bound")
}
