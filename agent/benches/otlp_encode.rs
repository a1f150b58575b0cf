// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a span costs the pipeline's thread on its way to the collector: nanoseconds, allocations and bytes per span, for
//! encoding into a batch and for putting the request together. Prints; judges nothing.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    borrow::Cow,
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use onlooker::{
    enrich::Resource,
    export::otlp::Batch,
    moment::WallTime,
    spans::{Attribute, Kind, Sampled, Span, SpanId, Status, TraceId, Value},
};

/// Counts allocations.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator with the arguments given; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Spans in a batch: `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`'s default.
const SPANS: usize = 512;
const SERVICES: u64 = 8;
const ROUNDS: usize = 400;

fn main() {
    let span = server_span();
    let resources: Vec<_> = (0..SERVICES).map(resource).collect();
    let mut batch = Batch::default();
    let mut request = Vec::new();
    let fill = |batch: &mut Batch| {
        batch.clear();
        for number in 0..SPANS {
            batch.push(black_box(&span), &resources[number % resources.len()]);
        }
    };
    fill(&mut batch);
    batch.write_request(&mut request);
    println!(
        "{SPANS} spans of {SERVICES} services, {} attributes each: {} bytes",
        span.attributes.len(),
        request.len()
    );

    measure("encode into the batch", || fill(&mut batch));
    measure("put the request together", || {
        request.clear();
        batch.write_request(black_box(&mut request));
    });
}

/// The fastest round: what the work costs when nobody else takes the processor.
fn measure(what: &str, mut round: impl FnMut()) {
    round();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let mut fastest = u128::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        round();
        fastest = fastest.min(start.elapsed().as_nanos());
    }
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    println!(
        "{what}: {:.0} ns a span, {:.4} allocations a span",
        fastest as f64 / SPANS as f64,
        allocations as f64 / (SPANS * ROUNDS) as f64
    );
}

fn text(key: &'static str, value: &'static str) -> Attribute {
    Attribute { key, value: Value::Text(Cow::Borrowed(value)) }
}

fn integer(key: &'static str, value: i64) -> Attribute {
    Attribute { key, value: Value::Integer(value) }
}

/// An HTTP server span with all that the conventions ask for.
fn server_span() -> Span {
    Span {
        trace_id: TraceId([0x4b; 16]),
        span_id: SpanId([0xf9; 8]),
        parent: Some(SpanId([0x7a; 8])),
        parent_is_remote: true,
        trace_state: None,
        sampled: Sampled::Yes,
        kind: Kind::Server,
        name: Cow::Borrowed("POST /api/orders/{id}"),
        start: WallTime(1_700_000_000_000_000_000),
        end: WallTime(1_700_000_000_184_200_000),
        standing: None,
        client_port: 0,
        attributes: vec![
            text("http.request.method", "POST"),
            text("url.path", "/api/orders/6a1f03c2"),
            text("url.query", "expand=items&currency=EUR"),
            text("url.scheme", "http"),
            integer("http.response.status_code", 201),
            text("http.route", "/api/orders/{id}"),
            text("network.protocol.name", "http"),
            text("network.protocol.version", "1.1"),
            text("server.address", "orders.shop.svc.cluster.local"),
            integer("server.port", 8080),
            text("client.address", "10.244.1.17"),
            integer("client.port", 51_234),
            text("network.peer.address", "10.244.1.17"),
            integer("network.peer.port", 51_234),
            text("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
            integer("http.request.body.size", 512),
            integer("http.response.body.size", 2_048),
        ],
        status: Status::Unset,
        tgid: 4_711,
    }
}

fn resource(id: u64) -> Arc<Resource> {
    Arc::new(Resource {
        id,
        attributes: vec![
            text("service.name", "orders"),
            text("service.namespace", "shop"),
            text("service.instance.id", "627cc493-f310-47de-96bd-71410b7dec09"),
            integer("process.pid", 4_711),
            text("process.executable.name", "orders"),
            text("host.name", "node-1"),
            text("os.type", "linux"),
            text("telemetry.sdk.language", "go"),
            text("telemetry.distro.name", "onlooker"),
        ],
    })
}
