// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Kernel tests: the real binary on this kernel, real sockets, and for each thing that might fool it a test that tries.
//!
//! A test moves bytes itself, under a path of its own so that tests that run beside it are not mistaken for it, and
//! compares what is printed with what it did: each exchange once on each watched end, and nothing else. Needs root.

use std::{
    collections::BTreeMap,
    process,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use anyhow::{Result, ensure};
use onlooker_tests::{Finished, Ledger, Onlooker, PATIENCE, Span};

mod calls;
mod connections;
mod descriptors;
mod detours;
mod garbage;
mod lifecycle;
mod losses;
mod memory;
mod oddities;
mod processes;
mod programs;
mod sockets;
mod sockmap;
mod watching;

/// The program that tests start where another process is needed.
const PEER: &str = env!("CARGO_BIN_EXE_kernel-peer");

/// An Onlooker that watches a test.
#[derive(Debug)]
struct Stage {
    onlooker: Onlooker,
    /// What the paths of this test's requests begin with.
    prefix: &'static str,
    /// No test beside this one makes a load, which an Onlooker that watches this process would see, too.
    _quiet: Option<RwLockReadGuard<'static, ()>>,
}

/// Held for writing by tests that make a load.
static LOAD: RwLock<()> = RwLock::new(());

/// The exchanges of a test as they were reported, by path; no path twice on one side.
#[derive(Debug)]
struct Seen {
    servers: BTreeMap<String, Span>,
    clients: BTreeMap<String, Span>,
    finished: Finished,
}

impl Stage {
    /// Watches this process and its children: both ends of what it says to itself.
    fn watch_self(prefix: &'static str) -> Result<Self> {
        Self::watch(prefix, &["--pid", &process::id().to_string()])
    }

    fn watch(prefix: &'static str, arguments: &[&str]) -> Result<Self> {
        Self::start(prefix, arguments, &[])
    }

    fn start(prefix: &'static str, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        let quiet = Some(LOAD.read().unwrap_or_else(PoisonError::into_inner));
        Ok(Self { onlooker: Onlooker::start(arguments, environment)?, prefix, _quiet: quiet })
    }

    /// One more Onlooker, which watches the same.
    fn another(&self) -> Result<Self> {
        let onlooker = Onlooker::start(&["--pid", &process::id().to_string()], &[])?;
        Ok(Self { onlooker, prefix: self.prefix, _quiet: None })
    }

    /// Whether the backend in use hooks system calls, and not the functions behind all of their entries.
    fn hooks_system_calls(&self) -> Result<bool> {
        let (_, metrics) = self.onlooker.get("/metrics")?;
        Ok(metrics.contains("onlooker_backends_attached_total{backend=\"syscall\"} 1"))
    }

    /// One path of this test.
    fn path(&self, rest: impl std::fmt::Display) -> String {
        format!("{}{rest}", self.prefix)
    }

    /// Waits for one SERVER and one CLIENT span of each path, stops, and checks that there is nothing else.
    fn finish_pairs(self, paths: &[String]) -> Result<Seen> {
        self.finish(paths, paths)
    }

    /// As above, where the two sides differ.
    fn finish(mut self, servers: &[String], clients: &[String]) -> Result<Seen> {
        let (prefix, count) = (self.prefix, servers.len() + clients.len());
        let is_own = |span: &Span| span.path().is_some_and(|path| path.starts_with(prefix));
        let complete = |spans: &[Span]| spans.iter().filter(|span| is_own(span)).count() >= count;
        // Too few is told below, and better: which ones.
        let _ = self.onlooker.wait_spans(complete, PATIENCE);
        let finished = self.onlooker.stop()?;
        ensure!(finished.status.success(), "{}: {}", finished.status, finished.stderr);
        let of_kind = |kind: &str| -> BTreeMap<String, Span> {
            let own = finished.spans.iter().filter(|span| span.kind == kind && is_own(span));
            let mut by_path = BTreeMap::new();
            for span in own {
                let path = span.path().expect("it is one of ours").to_owned();
                let twice = by_path.insert(path, span.clone());
                assert_eq!(twice, None, "one exchange, one span");
            }
            by_path
        };
        let (seen_servers, seen_clients) = (of_kind("SERVER"), of_kind("CLIENT"));
        if seen_servers.len() + seen_clients.len() != count {
            // What the ledger says of it is printed with the failure.
            println!("{}", finished.stderr);
        }
        assert_same("SERVER", &seen_servers, servers);
        assert_same("CLIENT", &seen_clients, clients);
        finished.ledger.assert_conserved("stdout");
        assert_lossless(&finished.ledger);
        Ok(Seen { servers: seen_servers, clients: seen_clients, finished })
    }
}

impl Seen {
    #[track_caller]
    fn server(&self, path: &str) -> &Span {
        &self.servers[path]
    }

    #[track_caller]
    fn client(&self, path: &str) -> &Span {
        &self.clients[path]
    }

    /// Both ends of an exchange, which must be joined.
    #[track_caller]
    fn pair(&self, path: &str) -> [&Span; 2] {
        let (server, client) = (self.server(path), self.client(path));
        assert_eq!(server.parent_span_id, client.span_id, "{path}: the two ends are not joined");
        assert_eq!(server.trace_id, client.trace_id, "{path}");
        [server, client]
    }

    /// What both ends must agree on.
    #[track_caller]
    fn assert_pair(&self, path: &str, status: i64, request_bytes: i64, response_bytes: i64) {
        for span in self.pair(path) {
            assert_eq!(span.integer("http.response.status_code"), Some(status), "{span:#?}");
            assert_body(span, "http.request.body.size", request_bytes);
            assert_body(span, "http.response.body.size", response_bytes);
            assert_eq!(span.attributes.get("onlooker.partial"), None, "{span:#?}");
        }
    }
}

/// A body of no bytes may go untold.
#[track_caller]
fn assert_body(span: &Span, key: &str, bytes: i64) {
    let told = span.integer(key);
    assert!(told == Some(bytes) || bytes == 0 && told.is_none(), "{key} is {told:?}, not {bytes}: {span:#?}");
}

#[track_caller]
fn assert_same(kind: &str, seen: &BTreeMap<String, Span>, expected: &[String]) {
    let missing: Vec<&String> = expected.iter().filter(|path| !seen.contains_key(*path)).collect();
    let extra: Vec<&String> = seen.keys().filter(|path| !expected.contains(path)).collect();
    assert!(missing.is_empty() && extra.is_empty(), "{kind} spans missing: {missing:#?}, not expected: {extra:#?}");
}

/// The kernel programs have lost nothing; but for calls of 32-bit programs, which a test beside this one may make, and what
/// programs of Go beside the tests were waiting for under TLS when the watch began.
///
/// Requests that were on their way when the watch began are counted as incomplete, and tests beside this one make some.
#[track_caller]
fn assert_lossless(ledger: &Ledger) {
    const LOST: &str = "onlooker_kernel_records_lost_total";
    let of_others: u64 =
        ["compat_call", "reader_unknown"].iter().map(|reason| ledger.total_of(LOST, &[("reason", reason)])).sum();
    assert_eq!(ledger.total(LOST) - of_others, 0, "{ledger:#?}");
}

/// Held by tests that make a load.
fn alone() -> RwLockWriteGuard<'static, ()> {
    LOAD.write().unwrap_or_else(PoisonError::into_inner)
}
