// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A service mesh's sidecars, as two Envoys between curl and a server: every hop has a span at each of its ends, and they
//! hang together.
//!
//! curl → Envoy of the caller → Envoy of the store → store: three hops, six spans a request.

use std::{
    any::Any,
    collections::BTreeMap,
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::{
    Finished, Onlooker, PATIENCE, ServerProcess, Span, free_address, poll_until, python_with_packages,
};
use serde_json::{Value, json};

use super::{context, source};
use crate::peer::Peer;

const REQUESTS: usize = 200;

/// curl's, then a server's and a client's in each Envoy, then the store's.
const KINDS: [&str; 6] = ["CLIENT", "SERVER", "CLIENT", "SERVER", "CLIENT", "SERVER"];

/// Of HTTP, behind the first sidecar; curl speaks the first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// How curl asks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asking {
    InTurns,
    AtOnce,
}

/// What answers in the end.
struct Store {
    address: SocketAddr,
    pid: u32,
    /// Dropped, it ends.
    _process: Box<dyn Any>,
}

impl Store {
    fn start(version: Version) -> Result<Self> {
        Ok(match version {
            Version::One => {
                let server = ServerProcess::start()?;
                Self { address: server.address(), pid: server.pid(), _process: Box::new(server) }
            }
            Version::Two => {
                let mut server = Peer::start(Command::new(env!("CARGO_BIN_EXE_http2-load")).arg("serve"))?;
                let address = ([127, 0, 0, 1], server.port()?).into();
                Self { address, pid: server.pid(), _process: Box::new(server) }
            }
        })
    }
}

/// An Envoy that passes everything on to one address. Dropped, it is killed.
struct Envoy {
    child: Child,
    address: SocketAddr,
}

impl Envoy {
    fn start(binary: &Path, folder: &Path, name: &str, to: SocketAddr, version: Version) -> Result<Self> {
        let address = free_address();
        let configuration = folder.join(format!("{name}.json"));
        fs::write(&configuration, passing_on(address, to, version).to_string())?;
        // Two of them must not take each other for their successors.
        let mut envoy = Command::new(binary);
        envoy.args(["--disable-hot-restart", "--concurrency", "2", "-c"]).arg(&configuration);
        let envoy = Self { child: envoy.stderr(Stdio::null()).spawn()?, address };
        poll_until("envoy listens", PATIENCE, || TcpStream::connect(address).ok())?;
        Ok(envoy)
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// It takes both versions of HTTP, and passes on in this one.
fn passing_on(from: SocketAddr, to: SocketAddr, version: Version) -> Value {
    let of = |kind: &str| format!("type.googleapis.com/envoy.extensions.{kind}");
    let socket = |address: SocketAddr| json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}});
    let options = match version {
        Version::One => json!({"http_protocol_options": {}}),
        Version::Two => json!({"http2_protocol_options": {}}),
    };
    let connections = json!({
        "@type": of("filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "sidecar",
        "http_filters": [{"name": "router", "typed_config": {"@type": of("filters.http.router.v3.Router")}}],
        "route_config": {"virtual_hosts": [{
            "name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "next"}}],
        }]},
    });
    json!({"static_resources": {
        "listeners": [{
            "address": socket(from),
            "filter_chains": [{"filters": [{"name": "http", "typed_config": connections}]}],
        }],
        "clusters": [{
            "name": "next",
            "load_assignment": {"cluster_name": "next", "endpoints": [{
                "lb_endpoints": [{"endpoint": {"address": socket(to)}}],
            }]},
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": of("upstreams.http.v3.HttpProtocolOptions"),
                "explicit_http_config": options,
            }},
        }],
    }})
}

/// Asks for `/0` and so on through both Envoys, and gives what was told; nothing where there is no Envoy.
fn pass_through(version: Version, asking: Asking, with_context: bool) -> Result<Option<Finished>> {
    let Some(python) = python_with_packages(&source("sidecar/requirements.txt"))? else { return Ok(None) };
    let found = Command::new(python).args(["-c", "import envoy; print(envoy.__path__[0])"]).output()?;
    let binary = Path::new(String::from_utf8(found.stdout)?.trim()).join("_bin/envoy");
    let folder = tempfile::tempdir()?;

    let store = Store::start(version)?;
    let inner = Envoy::start(&binary, folder.path(), "inner", store.address, version)?;
    let outer = Envoy::start(&binary, folder.path(), "outer", inner.address, version)?;
    let pids = format!("{},{},{}", store.pid, inner.child.id(), outer.child.id());
    let mut onlooker = Onlooker::start(&["--pid", &pids, "--exe", "*/curl"], &[])?;

    let calls = folder.path().join("calls");
    fs::write(&calls, calls_of_curl(outer.address, with_context))?;
    let mut curl = Command::new("curl");
    curl.args(["-s", "--no-progress-meter", "-K"]).arg(&calls);
    if asking == Asking::AtOnce {
        curl.args(["--parallel", "--parallel-immediate"]);
    }
    let asked = curl.output().context("curl")?;
    ensure!(asked.status.success(), "curl: {asked:?}");
    let _ = onlooker.wait_spans(|spans| spans.len() >= REQUESTS * KINDS.len(), PATIENCE);
    let finished = onlooker.stop()?;
    ensure!(finished.spans.len() == REQUESTS * KINDS.len(), "{} spans: {}", finished.spans.len(), finished.stderr);
    finished.ledger.assert_conserved("stdout");
    Ok(Some(finished))
}

/// Each with the context of its number, where they have any.
fn calls_of_curl(address: SocketAddr, with_context: bool) -> String {
    let call = |number| {
        let header = if with_context { format!("header = \"{}\"\n", context(number).2.trim()) } else { String::new() };
        format!("url = \"http://{address}/{number}\"\noutput = /dev/null\nfail\n{header}")
    };
    (0..REQUESTS).map(call).collect::<Vec<_>>().join("next\n")
}

/// The spans of each request are one line of these kinds; gives what each hangs on.
fn lines_of<'a>(spans: impl Iterator<Item = &'a Span>, kinds: &[&str]) -> Result<BTreeMap<usize, (&'a str, &'a str)>> {
    let mut by_path = BTreeMap::<&str, Vec<&Span>>::new();
    for span in spans {
        by_path.entry(span.path().context("a path")?).or_default().push(span);
    }
    let mut lines = BTreeMap::new();
    for (path, spans) in by_path {
        let below = |parent: &str| spans.iter().find(|span| span.parent_span_id == parent);
        let is_first = |span: &&&Span| spans.iter().all(|other| other.span_id != span.parent_span_id);
        let first = spans.iter().find(is_first).with_context(|| format!("{path}: a circle"))?;
        let line: Vec<&&Span> = std::iter::successors(Some(first), |span| below(&span.span_id)).collect();
        let found: Vec<&str> = line.iter().map(|span| span.kind).collect();
        ensure!(found == kinds, "{path}: {found:?} in a line of {spans:#?}");
        ensure!(line.iter().all(|span| span.trace_id == first.trace_id), "{path}: several traces");
        lines.insert(path[1..].parse()?, (first.trace_id.as_str(), first.parent_span_id.as_str()));
    }
    ensure!(lines.len() == REQUESTS, "{} requests were told", lines.len());
    Ok(lines)
}

/// Where the caller sends a context, the sidecars pass it on, and nothing is left to find out: both ends of the first hop
/// are the context's, and what the sidecars passed on lies below what they were asked.
fn check_with_context(version: Version) -> Result<()> {
    let Some(finished) = pass_through(version, Asking::AtOnce, true)? else { return Ok(()) };
    let is_callers = |span: &&Span| span.service() == Some("curl");
    let callers = finished.spans.iter().filter(is_callers);
    let others = finished.spans.iter().filter(|span| !is_callers(span));
    for (number, line) in lines_of(callers, &KINDS[..1])?.into_iter().chain(lines_of(others, &KINDS[1..])?) {
        let (trace, parent, _) = context(number);
        ensure!(line == (&trace, &parent), "/{number} hangs on {line:?}");
    }
    Ok(())
}

#[test]
fn a_carried_context_holds_the_hops_together() -> Result<()> {
    check_with_context(Version::One)
}

#[test]
fn a_carried_context_holds_the_hops_together_on_http2() -> Result<()> {
    check_with_context(Version::Two)
}

#[test]
fn requests_in_turns_need_no_context() -> Result<()> {
    for version in [Version::One, Version::Two] {
        let Some(finished) = pass_through(version, Asking::InTurns, false)? else { return Ok(()) };
        let lines = lines_of(finished.spans.iter(), &KINDS)?;
        ensure!(lines.values().all(|(_, parent)| parent.is_empty()), "{lines:?}");
    }
    Ok(())
}

/// An Envoy serves many requests on a thread. Without a context nobody knows which of them a call is of: hops come in
/// pairs, and no parent is a wrong one.
#[test]
fn requests_at_once_without_a_context_are_hops_of_their_own() -> Result<()> {
    for version in [Version::One, Version::Two] {
        let Some(finished) = pass_through(version, Asking::AtOnce, false)? else { return Ok(()) };
        let by_id: BTreeMap<&str, &Span> = finished.spans.iter().map(|span| (span.span_id.as_str(), span)).collect();
        for span in &finished.spans {
            let parent = by_id.get(span.parent_span_id.as_str());
            ensure!(parent.is_none_or(|parent| parent.path() == span.path()), "{span:#?} below {parent:#?}");
            let is_hop = parent.is_some_and(|parent| parent.kind == "CLIENT");
            ensure!(span.kind == "CLIENT" || is_hop, "a server's span without its caller's: {span:#?}");
        }
        let ambiguous = finished.ledger.total("onlooker_parents_ambiguous_total");
        ensure!(ambiguous > 0, "all were told apart: {}", finished.stderr);
    }
    Ok(())
}
