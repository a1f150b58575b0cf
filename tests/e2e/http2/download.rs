// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Bodies cost their lengths: of a long download, and of what goes on beside it on the same connection, every head is
//! read, and next to nothing of the body leaves the kernel.
//!
//! `ONLOOKER_TEST_BYTES` says how long it is; CI makes a fifth of what the whole test is.

use std::{env, fs, process::Command};

use anyhow::{Context as _, Result};
use onlooker_tests::{Onlooker, PATIENCE, Span};

use super::{finish, pairs};
use crate::peer::Peer;

/// Where nothing else is said: a fifth of 1 GB.
const BYTES: u64 = 200_000_000;

#[test]
fn a_long_download_costs_its_lengths() -> Result<()> {
    let bytes = env::var("ONLOOKER_TEST_BYTES").map_or(Ok(BYTES), |text| text.parse().context(text))?;
    let mut server = Peer::start(Command::new(env!("CARGO_BIN_EXE_http2-load")).arg("serve"))?;
    let port = server.port()?.to_string();
    let mut client = Peer::start(Command::new(env!("CARGO_BIN_EXE_http2-load")).args(["call", &port, "1", "10"]))?;

    // A recording holds all that the kernel has handed over.
    let folder = tempfile::tempdir()?;
    let recording = folder.path().join("recording");
    let pids = format!("{},{}", server.pid(), client.pid());
    let path = recording.to_str().context("temporary folders have plain names")?;
    let recorder = Onlooker::start(&["record", path, "--pid", &pids, "--print", "none", "--ring-size", "32MiB"], &[])?;

    // Two agents at once on what may be a busy machine: what is asked here is how much is copied, not how fast it is read.
    let mut onlooker = Onlooker::start(&["--pid", &pids, "--ring-size", "32MiB"], &[])?;
    client.order("0 10")?;
    // The connection is older than both: what follows is followed by frames once they have looked at this.
    onlooker.wait_spans(|spans| spans.len() >= 20, PATIENCE)?;
    client.order(&format!("bytes {bytes}"))?;
    client.order("10 10")?;
    let finished = finish(onlooker, 2 * 21)?;
    recorder.stop()?;

    assert_eq!(finished.ledger.total("onlooker_message_problems_total"), 0, "{}", finished.stderr);
    for (client, server) in pairs(&finished.spans)? {
        for span in [client, server] {
            assert_eq!(span.integer("http.response.status_code"), Some(200), "{span:?}");
            assert_eq!(span.attributes.get("onlooker.partial"), None, "{span:?}");
        }
    }
    let is_download = |span: &&Span| span.integer("http.response.body.size") == i64::try_from(bytes).ok();
    assert_eq!(finished.spans.iter().filter(is_download).count(), 2, "its size is told by both ends");

    let recorded = fs::metadata(&recording)?.len();
    println!("{bytes} bytes, seen at both ends: a recording of {recorded}");
    assert!(recorded < bytes / 50, "{recorded} bytes were recorded");
    client.end()
}
