// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The server over real loopback connections.

use std::net::Ipv4Addr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::oneshot,
    task::JoinHandle,
};

use super::*;
use crate::{admin::process_gauges, ledger::Family};

struct Running {
    address: SocketAddr,
    health: Arc<Health>,
    ledger: Arc<Ledger>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

async fn start(health: Health) -> Running {
    let (health, ledger) = (Arc::new(health), Arc::new(Ledger::new()));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = Server::bind(address, Arc::clone(&health), Arc::clone(&ledger), process_gauges()).await.unwrap();
    let address = server.address().unwrap();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(server.run(async move { drop(stopped.await) }));
    Running { address, health, ledger, stop, task }
}

/// Sends this and reads until the server closes.
async fn send(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn get(running: &Running, path: &str) -> String {
    send(running.address, &format!("GET {path} HTTP/1.1\r\nHost: anyone\r\n\r\n")).await
}

fn has_status(answer: &str, status: u16) -> bool {
    answer.starts_with(&format!("HTTP/1.1 {status} "))
}

#[tokio::test]
async fn livez_follows_the_heartbeat() {
    let alive = start(Health::default()).await;
    alive.health.beat();
    assert!(has_status(&get(&alive, "/livez").await, 200));
    // A limit that any silence exceeds, once the first millisecond has passed.
    let stuck = start(Health::with_silence_limit(Duration::ZERO)).await;
    while stuck.health.is_alive() {
        tokio::task::yield_now().await;
    }
    let answer = get(&stuck, "/livez").await;
    assert!(has_status(&answer, 503) && answer.contains("silent"), "{answer}");
}

#[tokio::test]
async fn readyz_says_what_is_missing() {
    let running = start(Health::default()).await;
    for (readiness, status, text) in [
        (Readiness::Starting, 503, "the hooks are not attached"),
        (Readiness::Attached, 503, "processes"),
        (Readiness::Ready, 200, "ready"),
        (Readiness::Stopping, 503, "stopping"),
    ] {
        running.health.set_readiness(readiness);
        let answer = get(&running, "/readyz").await;
        assert!(has_status(&answer, status) && answer.contains(text), "{answer}");
    }
}

#[tokio::test]
async fn metrics_hold_the_ledger_and_ourselves() {
    let running = start(Health::default()).await;
    running.ledger.counter(Family::Messages, &[("protocol", "http1")]).add(7);
    let answer = get(&running, "/metrics").await;
    assert!(has_status(&answer, 200));
    for part in [
        "content-type: text/plain; version=0.0.4",
        "onlooker_messages_total{protocol=\"http1\"} 7\n",
        "# TYPE process_resident_memory_bytes gauge\n",
        "# TYPE process_cpu_seconds_total counter\n",
    ] {
        assert!(answer.contains(part), "{part} in {answer}");
    }
    let line = answer.lines().find(|line| line.starts_with("process_resident_memory_bytes ")).unwrap();
    let bytes: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(bytes > 100_000.0, "{bytes}");
    assert_eq!(get(&running, "/metrics").await.lines().count(), answer.lines().count());
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    let running = start(Health::default()).await;
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        ("GET /metricsx HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        ("GET /livez?verbose HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 405),
        ("DELETE /livez HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        ("nonsense\r\n\r\n", 400),
    ] {
        let answer = send(running.address, request).await;
        assert!(has_status(&answer, status), "{request}: {answer}");
    }
}

#[tokio::test]
async fn head_has_the_length_and_no_body() {
    let running = start(Health::default()).await;
    let answer = send(running.address, "HEAD /livez HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(
        has_status(&answer, 200) && answer.contains("content-length: 6") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn an_address_in_use_is_one_sentence() {
    let running = start(Health::default()).await;
    let (health, ledger) = (Arc::new(Health::default()), Arc::new(Ledger::new()));
    let error = Server::bind(running.address, health, ledger, Vec::new()).await.err().unwrap();
    assert!(matches!(error, AdminError::InUse { .. }));
    assert!(error.to_string().contains("--admin off"), "{error}");
}

#[tokio::test]
async fn a_stop_ends_it_and_cuts_what_is_open() {
    let running = start(Health::default()).await;
    let mut idle = TcpStream::connect(running.address).await.unwrap();
    assert!(has_status(&get(&running, "/livez").await, 200));
    running.stop.send(()).unwrap();
    running.task.await.unwrap();
    let mut rest = Vec::new();
    // Closed or reset: both are an end.
    let _ = idle.read_to_end(&mut rest).await;
    assert_eq!(rest, b"");
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn silent_connections_do_not_keep_others_out() {
    let running = start(Health::default()).await;
    let mut silent = Vec::new();
    for _ in 0..CONNECTION_LIMIT * 2 {
        silent.push(TcpStream::connect(running.address).await.unwrap());
    }
    // The clock is simulated: it moves on when all wait, and the silent ones are cut.
    assert!(has_status(&get(&running, "/livez").await, 200));
}
