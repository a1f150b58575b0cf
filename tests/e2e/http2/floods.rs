// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a peer does to exhaust a server, through watched servers: streams opened and reset, heads without an end, heads of
//! a megabyte, tables resized with every request.
//!
//! One server swallows all of it, so that a flood goes on for as long as it likes; the other is a real one, which defends
//! itself. Each flood is counted for what it was, memory stays where it was, and the next client is told as if nothing had
//! been.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    process::Command,
};

use anyhow::{Context as _, Result};
use onlooker_tests::{Ledger, Onlooker, PATIENCE, Span};

use super::outline;
use crate::peer::Peer;

const STREAMS: u32 = 10_000;

/// Frames of 16 KB behind a head that does not end.
const CONTINUATIONS: u32 = 1000;

/// Heads of a megabyte.
const LARGE_HEADS: u32 = 8;

/// Requests of the client that comes after all of it.
const AFTERWARDS: u64 = 100;

/// What all of it may add to the most that Onlooker has used before, at its start. Far below what was sent: 48 MB of heads.
const MOST_MEMORY: u64 = 16 << 20;

/// What Onlooker may have of its own when all of it is over.
const MEMORY_AFTERWARDS: u64 = 64 << 20;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

const HEADERS: u8 = 1;
const RESET: u8 = 3;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const CANCEL: u32 = 8;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("frames are small").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A `GET` of a short path, behind what the table is told first.
fn get(stream: u32, before: &[u8], path: &str) -> Vec<u8> {
    let length = u8::try_from(path.len()).expect("paths are short");
    // The path goes into the table.
    let block = [before, b"\x82\x86\x44", &[length], path.as_bytes(), b"\x41\x01x"].concat();
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block)
}

fn open(port: u16) -> Result<TcpStream> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.write_all(PREFACE)?;
    Ok(stream)
}

/// Sends all of it, unless the server has had enough.
fn flood(mut stream: TcpStream, frames: impl Iterator<Item = Vec<u8>>) -> Result<()> {
    for frame in frames {
        match stream.write_all(&frame) {
            Err(error) if [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&error.kind()) => break,
            result => result?,
        }
    }
    Ok(())
}

fn rapid_resets() -> impl Iterator<Item = Vec<u8>> {
    let streams = (0..STREAMS).map(|number| 2 * number + 1);
    streams.map(|stream| [get(stream, &[], "/reset"), frame(RESET, 0, stream, &CANCEL.to_be_bytes())].concat())
}

/// Fields that nobody has heard of, each a literal.
fn fields() -> Vec<u8> {
    let field = [&b"\x00\x04name\x7f\x19"[..], &[b'v'; 152]].concat();
    field.iter().copied().cycle().take(field.len() * (16_000 / field.len())).collect()
}

fn endless_head() -> impl Iterator<Item = Vec<u8>> {
    let part = fields();
    let first = frame(HEADERS, END_STREAM, 1, b"\x82\x86\x04\x04/end");
    std::iter::once(first).chain((0..CONTINUATIONS).map(move |_| frame(CONTINUATION, 0, 1, &part)))
}

/// Heads of a megabyte, and an ordinary request behind them.
fn large_heads() -> impl Iterator<Item = Vec<u8>> {
    let part = fields();
    let large = move |number: u32| {
        let stream = 2 * number + 1;
        let first = frame(HEADERS, END_STREAM, stream, b"\x82\x86\x04\x06/large");
        let parts = (0..64).map(|index| frame(CONTINUATION, if index == 63 { END_HEADERS } else { 0 }, stream, &part));
        std::iter::once(first).chain(parts).flatten().collect()
    };
    (0..LARGE_HEADS).map(large).chain([get(2 * LARGE_HEADS + 1, &[], "/behind")])
}

/// Requests of which each makes the table nothing, and then what it was; a hundred at a time.
fn resize_tables(port: u16) -> Result<()> {
    let mut stream = open(port)?;
    stream.write_all(&frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 24).to_be_bytes()))?;
    let numbers: Vec<u32> = (0..STREAMS).collect();
    for numbers in numbers.chunks(100) {
        let asked: Vec<u8> =
            numbers.iter().flat_map(|number| get(2 * number + 1, b"\x20\x3f\xe1\x1f", "/resized")).collect();
        stream.write_all(&asked)?;
        let mut answered = 0;
        while answered < numbers.len() {
            let mut header = [0; 9];
            stream.read_exact(&mut header)?;
            let [a, b, c, kind, flags, ..] = header;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            stream.read_exact(&mut payload)?;
            answered += usize::from(kind <= HEADERS && flags & END_STREAM != 0);
        }
    }
    Ok(())
}

#[test]
fn floods_are_counted_and_cost_no_memory() -> Result<()> {
    let load = || Command::new(env!("CARGO_BIN_EXE_http2-load"));
    let (mut sink, mut server) = (Peer::start(load().arg("swallow"))?, Peer::start(load().arg("serve"))?);
    let (sink_port, port) = (sink.port()?, server.port()?);
    let pids = format!("{},{}", sink.pid(), server.pid());
    // What is asked here is what it holds, not how fast it reads.
    let mut onlooker = Onlooker::start(&["--pid", &pids, "--ring-size", "64MiB"], &[])?;
    let before = onlooker.memory_bytes("VmHWM")?;
    let wait = |onlooker: &Onlooker, name: &str, labels: &[(&str, &str)], count: u64| {
        let is_there = |ledger: &Ledger| ledger.total_of(name, labels) >= count;
        onlooker.wait_ledger(is_there, PATIENCE).with_context(|| format!("{count} {name} {labels:?}"))
    };

    flood(open(sink_port)?, rapid_resets())?;
    let incomplete = "onlooker_exchanges_incomplete_total";
    wait(&onlooker, incomplete, &[("reason", "CANCEL")], STREAMS.into())?;
    flood(open(sink_port)?, endless_head())?;
    let problems = "onlooker_message_problems_total";
    wait(&onlooker, problems, &[("problem", "head_cut_short")], 1)?;
    flood(open(sink_port)?, large_heads())?;
    wait(&onlooker, incomplete, &[("reason", "connection_closed")], 1)?;
    // A real server has enough of it sooner or later; what it did not take was not seen.
    flood(open(port)?, rapid_resets())?;
    flood(open(port)?, endless_head())?;
    flood(open(port)?, large_heads())?;
    resize_tables(port)?;

    let mut client = Peer::start(load().args(["call", &port.to_string(), "1", "10"]))?;
    client.order(&format!("0 {AFTERWARDS}"))?;
    client.end()?;
    let path = |span: &Span| span.text("url.path").unwrap_or_default().to_owned();
    let afterwards = |spans: &[Span]| spans.iter().filter(|span| path(span).starts_with("/n/")).count() as u64;
    let _ = onlooker.wait_spans(|spans| afterwards(spans) >= AFTERWARDS, PATIENCE);
    let memory = onlooker.memory_bytes("VmHWM")?.saturating_sub(before);
    let own = onlooker.memory_bytes("RssAnon")?;
    let finished = onlooker.stop()?;

    assert!(finished.status.success(), "{}", finished.stderr);
    assert_eq!(finished.ledger.total("onlooker_kernel_records_lost_total"), 0, "{}", finished.stderr);
    finished.ledger.assert_conserved("stdout");
    let large = finished.ledger.total_of(problems, &[("problem", "head_too_large")]);
    assert!(large >= LARGE_HEADS.into(), "{}", finished.stderr);

    let of = |port: u16, wanted: &str| -> Vec<&Span> {
        let is_it = |span: &&Span| span.integer("server.port") == Some(port.into()) && path(span) == wanted;
        finished.spans.iter().filter(is_it).collect()
    };
    let resets = of(sink_port, "/reset");
    assert_eq!(resets.len(), STREAMS as usize, "{}", finished.stderr);
    assert!(resets.iter().all(|span| span.text("error.type") == Some("CANCEL")));
    assert_eq!(of(sink_port, "/behind").len(), 1, "{}", finished.stderr);
    let resized = of(port, "/resized");
    assert_eq!(resized.len(), STREAMS as usize, "{}", finished.stderr);
    let is_whole = |span: &&Span| {
        span.integer("http.response.status_code") == Some(200) && !span.attributes.contains_key("onlooker.partial")
    };
    assert!(resized.iter().all(is_whole), "{}", outline(&finished.spans));
    let after: Vec<&Span> = finished.spans.iter().filter(|span| path(span).starts_with("/n/")).collect();
    assert_eq!((after.len() as u64, after.iter().copied().all(|span| is_whole(&span))), (AFTERWARDS, true));
    println!("{memory} bytes more at most, {own} in the end, {} spans, {large} large heads", finished.spans.len());
    assert!(memory < MOST_MEMORY && own < MEMORY_AFTERWARDS, "{memory} bytes more, {own} in the end");
    Ok(())
}
