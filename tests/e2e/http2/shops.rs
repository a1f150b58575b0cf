// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The same calls in five implementations of gRPC: unary, streaming each way, errors, a deadline, a cancellation.
//!
//! `shops/README.md` says what is called. Each implementation calls twice: watched from its first byte on, where every
//! span must be told whole; and from the second round on, where the tables of both ends are older than Onlooker.

use std::{collections::BTreeMap, env, process::Command};

use anyhow::Result;
use onlooker_tests::{Span, skip};

use super::{
    finish, outline,
    packages::{installed, missing, run_in},
    pairs, watch,
};
use crate::peer::Peer;

/// What is told of the calls of one method.
struct Method {
    name: &'static str,
    calls: usize,
    /// Messages from the client and from the server.
    messages: [i64; 2],
    ending: Ending,
}

enum Ending {
    /// With this status, which is an error of the client's span, and of the server's span or not.
    Status(&'static str, [bool; 2]),
    /// By the client, and perhaps by the server at the same time: which of the two is told first is theirs to decide.
    Deadline,
    Cancelled,
}

const OK: Ending = Ending::Status("OK", [false, false]);

const METHODS: [Method; 8] = [
    Method { name: "Unary", calls: 22, messages: [1, 1], ending: OK },
    Method { name: "Collect", calls: 1, messages: [3, 1], ending: OK },
    Method { name: "Offer", calls: 1, messages: [1, 4], ending: OK },
    Method { name: "Talk", calls: 1, messages: [3, 3], ending: OK },
    Method { name: "Fail", calls: 1, messages: [1, 0], ending: Ending::Status("NOT_FOUND", [true, false]) },
    Method { name: "Break", calls: 1, messages: [1, 2], ending: Ending::Status("INTERNAL", [true, true]) },
    Method { name: "Wait", calls: 1, messages: [1, 0], ending: Ending::Deadline },
    Method { name: "Watch", calls: 1, messages: [1, 1], ending: Ending::Cancelled },
];

/// Bytes of a request and of a reply.
const MESSAGE_BYTES: [i64; 2] = [3, 5];

/// Client and server spans of calls that say by their bodies and trailers that they are, whatever their heads say: all
/// that were answered with messages. Those that were refused, cancelled or late may be told as requests of HTTP.
const CERTAIN_CALLS: usize = 2 * 26;

/// Client and server spans of all calls.
fn spans_of_a_round() -> usize {
    2 * METHODS.iter().map(|method| method.calls).sum::<usize>()
}

impl Method {
    fn check(&self, span: &Span) {
        let [requests, replies] = self.messages;
        let keys = ["onlooker.rpc.request.messages", "onlooker.rpc.response.messages"];
        assert_eq!(keys.map(|key| span.integer(key)), [Some(requests), Some(replies)], "{span:?}");
        let keys = ["onlooker.rpc.request.bytes", "onlooker.rpc.response.bytes"];
        let bytes = [requests * MESSAGE_BYTES[0], replies * MESSAGE_BYTES[1]];
        assert_eq!(keys.map(|key| span.integer(key)), bytes.map(Some), "{span:?}");
        assert_eq!(span.text("rpc.system.name"), Some("grpc"), "{span:?}");
        assert_eq!(span.text("rpc.method"), Some(span.name.as_str()), "{span:?}");
        assert_eq!(span.text("network.protocol.version"), Some("2"), "{span:?}");
        assert_eq!(span.attributes.get("onlooker.partial"), None, "{span:?}");

        let (code, error) = (span.text("rpc.response.status_code"), span.text("error.type"));
        match self.ending {
            Ending::Status(status, errors) => {
                let is_error = errors[usize::from(span.kind == "SERVER")];
                assert_eq!((code, error), (Some(status), is_error.then_some(status)), "{span:?}");
                assert_eq!(span.is_error, is_error, "{span:?}");
            }
            Ending::Deadline => {
                // By the conventions a call that was cancelled is no failure of the server's.
                let is_error = span.kind == "CLIENT" || code != Some("CANCELLED");
                assert_eq!(span.is_error, is_error, "{span:?}");
                assert!(span.attributes.contains_key("rpc.request.metadata.grpc-timeout"), "{span:?}");
                let told = code.or(error);
                assert!(["CANCEL", "CANCELLED", "DEADLINE_EXCEEDED"].map(Some).contains(&told), "{span:?}");
                // The deadline, less what passed before the call was on its way.
                assert!((100_000_000..5_000_000_000).contains(&span.duration_nanos()), "{span:?}");
            }
            Ending::Cancelled => assert_eq!((code, error, span.is_error), (None, Some("CANCEL"), true), "{span:?}"),
        }
    }
}

/// Two rounds of calls, by a server and a client that these commands run.
fn check(what: &str, command: impl Fn() -> Command) -> Result<()> {
    let mut server = Peer::start(command().arg("serve"))?;
    let port = server.port()?.to_string();

    let mut client = Peer::start(command().args(["call", &port]))?;
    let onlooker = watch(&[&server, &client])?;
    client.order("all")?;
    let finished = finish(onlooker, spans_of_a_round())?;
    let mut by_name = BTreeMap::<&str, usize>::new();
    for (client, server) in pairs(&finished.spans)? {
        *by_name.entry(client.name.strip_prefix("shop.v1.Shop/").unwrap_or(&client.name)).or_default() += 1;
        let method = METHODS.iter().find(|method| client.name == format!("shop.v1.Shop/{}", method.name));
        let method = method.unwrap_or_else(|| panic!("nobody called {}", client.name));
        method.check(client);
        method.check(server);
    }
    let due: BTreeMap<&str, usize> = METHODS.iter().map(|method| (method.name, method.calls)).collect();
    assert_eq!(by_name, due);

    // The same connection again, of which this Onlooker has not seen the beginning.
    let onlooker = watch(&[&server, &client])?;
    client.order("all")?;
    let finished = finish(onlooker, spans_of_a_round())?;
    let known = |key: &str| finished.spans.iter().filter(|span| span.attributes.contains_key(key)).count();
    for span in &finished.spans {
        let is_whole = span.attributes.contains_key("rpc.method");
        assert!(is_whole || span.text("onlooker.partial") == Some("joined_mid_stream"), "{span:?}");
        if let Some(method) = METHODS.iter().find(|method| span.name == format!("shop.v1.Shop/{}", method.name)) {
            let [requests, replies] = method.messages;
            let keys = ["onlooker.rpc.request.messages", "onlooker.rpc.response.messages"];
            assert_eq!(keys.map(|key| span.integer(key)), [Some(requests), Some(replies)], "{span:?}");
        } else {
            assert!(!span.attributes.contains_key("rpc.method"), "{}", outline(&finished.spans));
        }
        let is_call = span.text("rpc.system.name") == Some("grpc");
        assert!(is_call || !span.attributes.contains_key("onlooker.rpc.request.messages"), "{span:?}");
    }
    let calls = known("rpc.system.name");
    assert!(calls >= CERTAIN_CALLS, "{calls} calls: {}", outline(&finished.spans));
    println!(
        "{what}, joined in the midst: of {} spans {calls} are told as calls, {} have their method, {} their status",
        finished.spans.len(),
        known("rpc.method"),
        known("rpc.response.status_code"),
    );
    client.end()
}

/// Skips, with the reason, where one of these programs is missing.
fn check_if_there(
    what: &str,
    programs: &[&'static str],
    command: impl FnOnce() -> Result<Box<dyn Fn() -> Command>>,
) -> Result<()> {
    match missing(programs) {
        Some(program) => {
            skip(&format!("{what}: {program} is not installed"));
            Ok(())
        }
        None => check(what, command()?),
    }
}

#[test]
fn grpcio() -> Result<()> {
    check_if_there("grpcio", &["python3"], || {
        let folder = installed("shops/python", |folder| {
            let arguments = ["-m", "pip", "install", "--quiet", "--target", "packages", "-r", "requirements.txt"];
            run_in(folder, "python3", &arguments)
        })?;
        Ok(Box::new(move || {
            let mut python = Command::new("python3");
            python.arg(folder.join("shop.py")).env("PYTHONPATH", folder.join("packages"));
            python
        }))
    })
}

#[test]
fn grpc_js() -> Result<()> {
    check_if_there("@grpc/grpc-js", &["node", "npm"], || {
        let folder = installed("shops/node", |folder| run_in(folder, "npm", &["ci", "--silent"]))?;
        Ok(Box::new(move || {
            let mut node = Command::new("node");
            node.arg(folder.join("shop.js"));
            node
        }))
    })
}

#[test]
fn grpc_go() -> Result<()> {
    check_if_there("grpc-go", &["go"], || {
        let build = ["build", "-mod=readonly", "-buildvcs=false", "-o", "shop", "."];
        let folder = installed("shops/go", |folder| run_in(folder, "go", &build))?;
        Ok(Box::new(move || Command::new(folder.join("shop"))))
    })
}

#[test]
fn grpc_java() -> Result<()> {
    check_if_there("grpc-java", &["java", "javac", "mvn"], || {
        let folder = installed("shops/java", |folder| {
            let copy = ["-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=packages"];
            run_in(folder, "mvn", &copy)?;
            run_in(folder, "javac", &["-cp", "packages/*", "-d", "classes", "Shop.java"])
        })?;
        let classes = env::join_paths([folder.join("classes"), folder.join("packages/*")])?;
        Ok(Box::new(move || {
            let mut java = Command::new("java");
            java.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp"]).arg(&classes).arg("Shop");
            java
        }))
    })
}

#[test]
fn tonic() -> Result<()> {
    check("tonic", || Command::new(env!("CARGO_BIN_EXE_shop-tonic")))
}
