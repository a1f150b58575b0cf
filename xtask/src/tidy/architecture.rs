// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The invariants of `docs/ARCHITECTURE.md` that can be read off the code, most of them about what is absent.

use super::{
    Problem,
    source::{Source, has_word},
};

/// The first of these words in each shipped line.
fn lines_with<'a>(source: &'a Source, words: &'a [&'a str]) -> impl Iterator<Item = (usize, &'a str)> {
    source
        .shipped_code()
        .filter_map(|(number, line)| words.iter().find(|word| has_word(line, word)).map(|word| (number, *word)))
}

/// Invariant 1: parsers have no clock, socket, file, async or unsafe, and know neither spans nor pods.
pub fn parsers_are_pure(source: &Source) -> Vec<Problem> {
    const REFUSED: [&str; 14] = [
        "std",
        "unsafe",
        "async",
        "await",
        "tokio",
        "Instant",
        "SystemTime",
        "File",
        "TcpStream",
        "UdpSocket",
        "Span",
        "Resource",
        "Pod",
        "static mut",
    ];
    if !source.path.starts_with("agent-protocols/src/") {
        return Vec::new();
    }
    let mut problems: Vec<Problem> = lines_with(source, &REFUSED)
        .map(|(line, word)| Problem::at(source, line, format!("invariant 1: a parser does not know `{word}`")))
        .collect();
    if source.path == "agent-protocols/src/lib.rs" {
        for line in ["#![no_std]", "#![forbid(unsafe_code)]"] {
            if !source.code.contains(line) {
                problems.push(Problem::at(source, 0, format!("invariant 1: `{line}` is missing")));
            }
        }
    }
    problems
}

/// Invariant 2: no protocol is known to the kernel side, but by its first bytes and its frame lengths.
pub fn the_kernel_side_knows_no_protocol(source: &Source) -> Vec<Problem> {
    const PARSERS: [&str; 3] = ["agent_protocols", "httparse", "serde"];
    if !source.path.starts_with("agent-ebpf/src/") {
        return Vec::new();
    }
    lines_with(source, &PARSERS)
        .map(|(line, word)| Problem::at(source, line, format!("invariant 2: `{word}` has no place in the kernel")))
        .collect()
}

/// Invariant 2: records leave the kernel in one place, so that no loss goes uncounted.
pub fn losses_go_through_one_function(sources: &[Source]) -> Vec<Problem> {
    const DOORS: [&str; 6] =
        ["reserve", "reserve_bytes", "bpf_ringbuf_reserve", "bpf_ringbuf_output", "bpf_perf_event_output", "output"];
    let doors: Vec<(&Source, usize, &str)> = sources
        .iter()
        .filter(|source| source.path.starts_with("agent-ebpf/src/"))
        .flat_map(|source| lines_with(source, &DOORS).map(move |(line, word)| (source, line, word)))
        .collect();
    let Some((first, ..)) = doors.first() else { return Vec::new() };
    doors
        .iter()
        .filter(|(source, ..)| source.path != first.path)
        .map(|(source, line, word)| {
            Problem::at(
                source,
                *line,
                format!("invariant 2: `{word}` outside {}, which counts what is lost", first.path),
            )
        })
        .collect()
}

/// Invariant 3: only capture and targets speak with the kernel's BPF.
pub fn aya_stays_in_capture(source: &Source) -> Vec<Problem> {
    let allowed = ["agent/src/capture/", "agent/src/targets/"].iter().any(|folder| source.path.starts_with(folder));
    if !source.path.starts_with("agent/src/") || allowed {
        return Vec::new();
    }
    lines_with(source, &["aya", "aya_obj", "aya_log"])
        .map(|(line, word)| Problem::at(source, line, format!("invariant 3: `{word}` outside capture/ and targets/")))
        .collect()
}

/// Invariant 3: only export, the admin page and the Kubernetes enrichment open sockets.
pub fn the_network_stays_at_the_edge(source: &Source) -> Vec<Problem> {
    const SOCKETS: [&str; 10] = [
        "TcpStream",
        "TcpListener",
        "TcpSocket",
        "UdpSocket",
        "UnixStream",
        "UnixListener",
        "UnixDatagram",
        "hyper",
        "hyper_util",
        "tonic",
    ];
    const EDGE: [&str; 3] = ["agent/src/export/", "agent/src/admin/", "agent/src/enrich/kubernetes"];
    if !source.path.starts_with("agent/src/") || EDGE.iter().any(|folder| source.path.starts_with(folder)) {
        return Vec::new();
    }
    lines_with(source, &SOCKETS)
        .map(|(line, word)| Problem::at(source, line, format!("invariant 3: `{word}` inside the data path")))
        .collect()
}

/// Invariant 4: the compiler refuses to build a `ReleasedSpan` outside policy/ as long as its fields are private.
pub fn released_spans_are_sealed(source: &Source) -> Vec<Problem> {
    if source.path.starts_with("agent/src/policy/") {
        let fields = source.code.lines().enumerate().skip_while(|(_, line)| !line.contains("struct ReleasedSpan"));
        return fields
            .skip(1)
            .take_while(|(_, line)| !line.starts_with('}'))
            .filter(|(_, line)| has_word(line, "pub"))
            .map(|(line, _)| Problem::at(source, line, "invariant 4: a field of ReleasedSpan that others can set"))
            .collect();
    }
    let elsewhere = source.path.starts_with("agent/src/");
    lines_with(source, &["ReleasedSpan"])
        .filter(|_| elsewhere)
        .filter(|(number, _)| source.code.lines().nth(*number).is_some_and(|line| line.contains("struct ReleasedSpan")))
        .map(|(line, _)| Problem::at(source, line, "invariant 4: ReleasedSpan is defined in policy/"))
        .collect()
}

/// Invariant 5: every queue is bounded.
pub fn queues_are_bounded(source: &Source) -> Vec<Problem> {
    if !source.path.starts_with("agent/src/") {
        return Vec::new();
    }
    let unbounded = |line: &str| {
        ["unbounded_channel", "unbounded", "UnboundedSender"].iter().any(|word| has_word(line, word))
            || line.contains("mpsc::channel()")
    };
    source
        .shipped_code()
        .filter(|(_, line)| unbounded(line))
        .map(|(line, _)| Problem::at(source, line, "invariant 5: a queue without a bound"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rule: super::super::Rule, path: &str, text: &str, problems: usize) {
        assert_eq!(rule(&Source::new(path, text.to_owned())).len(), problems, "{path}: {text}");
    }

    #[test]
    fn parsers() {
        check(parsers_are_pure, "agent-protocols/src/http.rs", "use core::fmt;\n// std and File\n", 0);
        check(parsers_are_pure, "agent-protocols/src/http.rs", "use std::time::Instant;\n", 1);
        check(parsers_are_pure, "agent-protocols/src/http.rs", "#[cfg(test)]\nmod tests { use std::vec; }\n", 0);
        check(parsers_are_pure, "agent-protocols/src/lib.rs", "#![no_std]\n", 1);
        check(parsers_are_pure, "agent/src/moment.rs", "use std::time::Instant;\n", 0);
    }

    #[test]
    fn stages() {
        check(aya_stays_in_capture, "agent/src/capture/load.rs", "use aya::Ebpf;\n", 0);
        check(aya_stays_in_capture, "agent/src/spans/mod.rs", "use aya::Ebpf;\n", 1);
        check(the_network_stays_at_the_edge, "agent/src/export/http.rs", "use hyper::Request;\n", 0);
        check(the_network_stays_at_the_edge, "agent/src/spans/mod.rs", "use tokio::net::TcpStream;\n", 1);
        check(queues_are_bounded, "agent/src/spans/mod.rs", "let (a, b) = mpsc::channel();\n", 1);
        check(queues_are_bounded, "agent/src/spans/mod.rs", "let (a, b) = mpsc::channel(64);\n", 0);
    }

    #[test]
    fn release() {
        check(
            released_spans_are_sealed,
            "agent/src/policy/mod.rs",
            "pub struct ReleasedSpan {\n    span: Span,\n}\n",
            0,
        );
        check(
            released_spans_are_sealed,
            "agent/src/policy/mod.rs",
            "pub struct ReleasedSpan {\n    pub span: Span,\n}\n",
            1,
        );
        check(released_spans_are_sealed, "agent/src/export/mod.rs", "pub struct ReleasedSpan {}\n", 1);
    }

    #[test]
    fn one_way_out_of_the_kernel() {
        let source = |path: &str| Source::new(path, "RING.reserve::<Record>(0);\n".into());
        let sources = [source("agent-ebpf/src/emit.rs"), source("agent-ebpf/src/probes/read.rs")];
        assert_eq!(losses_go_through_one_function(&sources).len(), 1);
        assert_eq!(losses_go_through_one_function(&sources[..1]), Vec::new());
    }
}
