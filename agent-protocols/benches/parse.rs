// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What parsing costs: `cargo bench -p agent-protocols`, or with ` -- WORD` the cases with this word in their name.
//!
//! In: nothing. Out: the machine, then per case nanoseconds and allocations for a request and its response together,
//! and bytes a second, with the ratio to what the project promises.
//! Does not: compare with an earlier run.

#![expect(unsafe_code, reason = "an allocator that counts")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    hint::black_box,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use agent_protocols::{Direction, Parser, Protocol, StreamPiece};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`, which is the same here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System.alloc` with this layout, as the caller guarantees.
        unsafe { System.dealloc(pointer, layout) }
    }
}

struct Case {
    name: &'static str,
    protocol: Protocol,
    request: Vec<u8>,
    response: Vec<u8>,
    /// Bytes of a piece.
    piece: usize,
    promise: Promise,
}

enum Promise {
    NanosecondsAtMost(f64),
    BytesPerSecondAtLeast(f64),
    Nothing,
}

/// Bytes that one record of the kernel carries.
const RECORD_BYTES: usize = 16 * 1024;

/// How long a round lasts, and how many there are: the fastest one is told, the others were disturbed. A round is
/// shorter than the scheduler's slices, so that even on a busy machine some are whole.
const ROUND: Duration = Duration::from_millis(1);
const ROUNDS: usize = 1000;

fn main() {
    println!("{}", machine());
    println!("command: cargo bench -p agent-protocols\n");
    println!("{:<38}{:>9}{:>12}{:>9}{:>10}   promise", "request and response", "bytes", "ns", "allocs", "GB/s");
    // Cargo itself passes `--bench`.
    let word = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    for case in cases().iter_mut().filter(|case| case.name.contains(&word)) {
        measure(case);
    }
}

fn measure(case: &mut Case) {
    let mut parser = Parser::new(case.protocol, Direction::Received, false);
    if case.protocol == Protocol::Http2 {
        parser.handle(Direction::Received, StreamPiece::Bytes(PREFACE), 1);
    }
    let mut exchanges = 0_u64;
    let mut best = f64::MAX;
    let allocations = ALLOCATIONS.load(Relaxed);
    for _ in 0..ROUNDS {
        let (start, mut round) = (Instant::now(), 0_u64);
        while start.elapsed() < ROUND {
            exchange(&mut parser, case);
            round += 1;
        }
        best = best.min(start.elapsed().as_nanos() as f64 / round as f64);
        exchanges += round;
    }
    let allocations = (ALLOCATIONS.load(Relaxed) - allocations) as f64 / exchanges as f64;
    let bytes = case.request.len() + case.response.len();
    let gigabytes = bytes as f64 / best;
    let promise = match case.promise {
        Promise::NanosecondsAtMost(most) => format!("at most {most} ns: {:.2} of it", best / most),
        Promise::BytesPerSecondAtLeast(least) => format!("at least {least} GB/s: {:.1} times that", gigabytes / least),
        Promise::Nothing => String::new(),
    };
    println!("{:<38}{bytes:>9}{best:>12.0}{allocations:>9.1}{gigabytes:>10.2}   {promise}", case.name);
}

fn exchange(parser: &mut Parser<u64>, case: &mut Case) {
    if case.protocol == Protocol::Http2 {
        next_stream(&mut case.request);
        next_stream(&mut case.response);
    }
    let mut messages = 0;
    for (direction, bytes) in [(Direction::Received, &case.request), (Direction::Sent, &case.response)] {
        parser.handle(direction, StreamPiece::Turn, 1);
        for piece in bytes.chunks(case.piece) {
            parser.handle(direction, StreamPiece::Bytes(black_box(piece)), 1);
            while let Some(message) = parser.poll_message() {
                black_box(message);
                messages += 1;
            }
        }
    }
    assert!(messages == 4 || case.protocol == Protocol::Http2 && messages == 5, "the case is not one exchange");
}

/// What a client says first, and its settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("small").to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
}

/// Gives all frames to the stream after theirs.
fn next_stream(frames: &mut [u8]) {
    let mut at = 0;
    while let Some([a, b, c, _, _, stream @ ..]) = frames.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<9>()) {
        at += 9 + u32::from_be_bytes([0, *a, *b, *c]) as usize;
        *stream = (u32::from_be_bytes(*stream) + 2).to_be_bytes();
    }
}

/// As a client says it from its second request on: what does not change is in the table, the `traceparent` is new.
fn http2_request() -> Vec<u8> {
    let text = |text: &[u8]| [&[u8::try_from(text.len()).expect("short")][..], text].concat();
    let path = [&[0x04][..], &text(b"/api/orders/42?full=1")].concat();
    let traceparent = text(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let context = [&[0x00][..], &text(b"traceparent"), &traceparent].concat();
    let agent = [&[0x0f, 0x2b][..], &text(b"curl/8.5.0")].concat();
    let authority = [&[0x01][..], &text(b"orders.example:8080")].concat();
    frame(1, 5, &[&b"\x82\x86"[..], &path, &authority, &agent, &context].concat())
}

fn http2_response() -> Vec<u8> {
    let kind = [&[0x0f, 0x10, 16][..], b"application/json"].concat();
    [frame(1, 4, &[&b"\x88"[..], &kind].concat()), frame(0, 1, b"{\"status\":1}\n")].concat()
}

/// A unary call of gRPC, with its messages and its trailers.
fn grpc() -> (Vec<u8>, Vec<u8>) {
    let path = [&[0x04, 24][..], b"/orders.v1.Orders/Create"].concat();
    let kind = [&[0x0f, 0x10, 16][..], b"application/grpc"].concat();
    let request = frame(1, 4, &[&b"\x83\x86"[..], &path, &kind].concat());
    let message = [&[0, 0, 0, 0, 100][..], &[1; 100]].concat();
    let status = [&[0x00, 11][..], b"grpc-status", &[1, b'0']].concat();
    let head = frame(1, 4, &[&b"\x88"[..], &kind].concat());
    ([request, frame(0, 1, &message)].concat(), [head, frame(0, 0, &message), frame(1, 5, &status)].concat())
}

fn cases() -> Vec<Case> {
    let small_request =
        b"GET /api/orders/42?full=1 HTTP/1.1\r\nHost: orders.example:8080\r\nUser-Agent: curl/8.5.0\r\n\
        Accept: */*\r\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n"
            .to_vec();
    let small_response = b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\n\
        Content-Type: application/json\r\nContent-Length: 13\r\nConnection: keep-alive\r\n\r\n{\"status\":1}\n"
        .to_vec();
    let large = |first: &str, field: &str| {
        let fields = field.repeat(63 * 1024 / field.len());
        format!("{first}\r\n{fields}Content-Length: 0\r\n\r\n").into_bytes()
    };
    let cookies = format!("Cookie: {}\r\n", "session=0123456789abcdef; ".repeat(160));
    let ordinary = "X-Some-Header: a value of an ordinary length, as applications send them\r\n";
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096));
    let chunked = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(256));
    let case = |name, request: &[u8], response: &[u8], piece, promise| Case {
        name,
        // No method begins with a zero.
        protocol: if request[0] == 0 { Protocol::Http2 } else { Protocol::Http1 },
        request: request.to_vec(),
        response: response.to_vec(),
        piece,
        promise,
    };
    let small = Promise::NanosecondsAtMost(1000.0);
    let fast = || Promise::BytesPerSecondAtLeast(1.0);
    let (request, response) = (large("GET / HTTP/1.1", &cookies), large("HTTP/1.1 200 OK", &cookies));
    let (many_request, many_response) = (large("GET / HTTP/1.1", ordinary), large("HTTP/1.1 200 OK", ordinary));
    let body = frame(0, 0, &[b'x'; 16_384]).repeat(64);
    let large_response = [frame(1, 4, b"\x88"), body, frame(0, 1, &[])].concat();
    vec![
        case("small", &small_request, &small_response, RECORD_BYTES, small),
        case("64 KiB heads, large fields, whole", &request, &response, usize::MAX, fast()),
        case("64 KiB heads, large fields, by record", &request, &response, RECORD_BYTES, fast()),
        case("64 KiB heads, 70-byte fields, whole", &many_request, &many_response, usize::MAX, fast()),
        case("64 KiB heads, 70-byte fields, by record", &many_request, &many_response, RECORD_BYTES, fast()),
        case("1 MiB in chunks of 4 KiB", &small_request, chunked.as_bytes(), RECORD_BYTES, fast()),
        case("HTTP/2, small", &http2_request(), &http2_response(), RECORD_BYTES, Promise::NanosecondsAtMost(1000.0)),
        case("HTTP/2, unary call", &grpc().0, &grpc().1, RECORD_BYTES, Promise::NanosecondsAtMost(1500.0)),
        case("HTTP/2, 1 MiB in frames of 16 KiB", &http2_request(), &large_response, RECORD_BYTES, fast()),
        case("small, one byte a piece", &small_request, &small_response, 1, Promise::Nothing),
    ]
}

fn machine() -> String {
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let count = std::thread::available_parallelism().map_or(0, usize::from);
    format!("machine: {}, {count} processors, Linux {}", model.unwrap_or(std::env::consts::ARCH), kernel.trim())
}
