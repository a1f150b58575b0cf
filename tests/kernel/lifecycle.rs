// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How Onlooker starts and ends, and what it leaves behind: nothing.

use std::{
    collections::HashSet,
    fs,
    io::Write as _,
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt as _,
    process::{self, Command, Output},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::{
    Load, Onlooker, PATIENCE, SLOWNESS, ServerProcess,
    onlooker::{binary, command},
    poll_until, skip,
};
use serde_json::Value;

use crate::{
    PEER, Stage, alone,
    sockets::{exchange, get, read_whole, tcp_pair},
};

/// What kill and a new start may take together with being ready.
const READY: Duration = Duration::from_secs(2 * SLOWNESS as u64);

#[test]
fn signals_end_it_in_order() -> Result<()> {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let stage = Stage::watch_self("/lifecycle/signal/")?;
        let [client, server] = tcp_pair()?;
        let path = stage.path(signal);
        exchange(&client, &server, &path)?;
        let finished = stage.onlooker.stop_by(signal)?;
        assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
        assert!(!finished.ledger.is_empty(), "the ledger is printed at the end: {}", finished.stderr);
        finished.ledger.assert_conserved("stdout");
        assert!(finished.spans.iter().any(|span| span.text("url.path") == Some(&path)), "what was queued is flushed");
    }
    Ok(())
}

/// Asks until it is told to stop, and looks at every byte of every answer.
fn ask_on(address: SocketAddr, stop: &AtomicBool, answered: &AtomicU64) -> Result<()> {
    const BODY: usize = 3000;
    let head = format!("HTTP/1.1 200 Status\r\nContent-Length: {BODY}\r\nConnection: keep-alive\r\n\r\n");
    let expected = [head.as_bytes(), &[b'x'; BODY]].concat();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    while !stop.load(Ordering::Acquire) {
        stream.write_all(&get("/bytes/3000"))?;
        read_whole(&mut stream, &expected)?;
        answered.fetch_add(1, Ordering::AcqRel);
    }
    Ok(())
}

/// Killed in the middle of everything: what it watched goes on as if nothing had been, and a new one is there at once.
#[test]
fn killed_under_load() -> Result<()> {
    let _alone = alone();
    let server = ServerProcess::start()?;
    let pid = server.pid().to_string();
    let (stop, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| -> Result<()> {
        let asking: Vec<_> = (0..3).map(|_| scope.spawn(|| ask_on(server.address(), &stop, &answered))).collect();
        let went_on = || {
            let before = answered.load(Ordering::Acquire);
            poll_until("the load goes on", PATIENCE, || (answered.load(Ordering::Acquire) > before + 500).then_some(()))
        };
        let killed_three_times = || -> Result<()> {
            let mut fastest = PATIENCE;
            for _ in 0..3 {
                let start = Instant::now();
                let mut onlooker = Onlooker::start(&["--pid", &pid], &[])?;
                fastest = fastest.min(start.elapsed());
                onlooker.wait_count(100)?;
                went_on()?;
                drop(onlooker);
                went_on()?;
            }
            // Tests beside this one take the processor, too, but not at every start.
            ensure!(fastest < READY, "ready only after {fastest:?}");
            Ok(())
        };
        let result = killed_three_times();
        stop.store(true, Ordering::Release);
        for asking in asking {
            asking.join().expect("it returns its errors").context("other bytes, or none, came from the server")?;
        }
        result
    })
}

/// The programs of ours that the kernel has loaded and that no living process holds.
fn orphaned_programs() -> Result<Vec<Value>> {
    const OURS: [&str; 7] = [
        "syscall_enter",
        "syscall_exit",
        "process_fork",
        "process_exec",
        "process_exit",
        "socket_state_ch",
        "socket_destroye",
    ];
    let listed: Value = serde_json::from_slice(&Command::new("bpftool").args(["-j", "prog", "list"]).output()?.stdout)?;
    let held = programs_held()?;
    let is_orphan = |program: &&Value| {
        let name = program["name"].as_str().unwrap_or_default();
        OURS.iter().any(|ours| name.starts_with(ours)) && !held.contains(&program["id"].as_u64().unwrap_or(0))
    };
    Ok(listed.as_array().context("bpftool lists programs")?.iter().filter(is_orphan).cloned().collect())
}

/// Ids of the programs and of the links to them that any process has open.
fn programs_held() -> Result<HashSet<u64>> {
    let processes = fs::read_dir("/proc")?.flatten().filter_map(|entry| fs::read_dir(entry.path().join("fdinfo")).ok());
    // Processes and descriptors end while they are looked at.
    let texts = processes.flatten().flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
    Ok(texts
        .flat_map(|text| {
            let ids = text.lines().filter_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok());
            ids.collect::<Vec<u64>>()
        })
        .collect())
}

#[test]
fn nothing_stays_attached() -> Result<()> {
    if Command::new("bpftool").arg("version").output().is_err() {
        skip("bpftool is not installed");
        return Ok(());
    }
    for kills in [false, true] {
        let stage = Stage::watch_self("/lifecycle/attached/")?;
        let held = programs_held()?.len();
        assert!(held >= 7, "the programs of the one that runs are seen: {held}");
        if kills {
            stage.onlooker.kill()?
        } else {
            stage.onlooker.stop()?
        };
        // The kernel frees a program some time after its last holder.
        poll_until("no program is left", PATIENCE, || orphaned_programs().ok()?.is_empty().then_some(()))
            .with_context(|| format!("{:#?}", orphaned_programs()))?;
    }
    Ok(())
}

/// What it says when it refuses to run: the status, and the last line on stderr.
#[track_caller]
fn assert_refused(output: &Output, status: i32, says: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert!(output.stdout.is_empty(), "nothing but spans goes to stdout");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 1, "one sentence: {said}");
    for part in says {
        assert!(lines[0].contains(part), "{part}: {said}");
    }
}

#[test]
fn bad_options_are_refused_with_the_nearest_right_name() -> Result<()> {
    let run = |arguments: &[&str]| command(binary()).args(arguments).output();
    assert_refused(&run(&["--open-prot", "80"])?, 2, &["--open-prot", "--open-port"]);
    assert_refused(&run(&["--open-port", "80x"])?, 2, &["--open-port", "80x"]);
    assert_refused(&run(&["--ring-size", "5000"])?, 2, &["--ring-size", "5000"]);
    assert_refused(&run(&["--config", "/there/is/none.yaml"])?, 2, &["/there/is/none.yaml"]);
    assert_refused(&run(&["recrod", "file"])?, 2, &["recrod", "record"]);
    let unknown = command(binary()).env("ONLOOKER_OPEN_PROT", "80").output()?;
    assert_refused(&unknown, 2, &["ONLOOKER_OPEN_PROT", "ONLOOKER_OPEN_PORT"]);
    Ok(())
}

#[test]
fn missing_privileges_are_named() -> Result<()> {
    // The binary may lie where only root may look.
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    let program = folder.path().join("onlooker");
    fs::copy(binary(), &program)?;
    let output = command(PEER).arg("unprivileged").arg(&program).args(["--admin", "off"]).output()?;
    assert_refused(&output, 3, &["CAP_BPF", "CAP_PERFMON"]);
    Ok(())
}

/// A port that is taken is a failure of this machine, not of the options.
#[test]
fn a_taken_admin_address_is_named() -> Result<()> {
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let output = command(binary()).args(["--admin", &address, "--print", "none"]).output()?;
    assert_refused(&output, 1, &[&address]);
    Ok(())
}

#[test]
fn two_at_once_both_see_everything() -> Result<()> {
    let first = Stage::watch_self("/lifecycle/two/")?;
    let second = first.another()?;
    let paths: Vec<String> = (0..20).map(|number| first.path(number)).collect();
    let [client, server] = tcp_pair()?;
    for path in &paths {
        exchange(&client, &server, path)?;
    }
    for seen in [second.finish_pairs(&paths)?, first.finish_pairs(&paths)?] {
        paths.iter().for_each(|path| seen.assert_pair(path, 200, 0, 5));
    }
    Ok(())
}

/// The load generator's own count: nothing is lost. As much as a ring of the default size holds, so that a busy machine
/// cannot fail it.
#[test]
fn a_load_without_losses() -> Result<()> {
    let _alone = alone();
    const REQUESTS: u64 = 5_000;
    let server = ServerProcess::start()?;
    let pid = server.pid().to_string();
    let onlooker = Onlooker::start(&["--pid", &pid], &[("OTEL_BSP_MAX_QUEUE_SIZE", "40000")])?;
    let answered = Load::new(server.address(), 50, REQUESTS, true).prefix("/lifecycle/load/").run()?.answered;
    onlooker.wait_ledger(|ledger| ledger.total("onlooker_spans_total") >= answered, PATIENCE)?;
    let finished = onlooker.stop()?;
    assert_eq!(
        (answered, finished.ledger.total("onlooker_spans_total")),
        (REQUESTS, REQUESTS),
        "{:#?}",
        finished.ledger
    );
    crate::assert_lossless(&finished.ledger);
    assert_eq!(finished.ledger.total("onlooker_exchanges_incomplete_total"), 0, "{:#?}", finished.ledger);
    finished.ledger.assert_conserved("stdout");
    let pid = Value::from(server.pid());
    assert!(finished.spans.iter().all(|span| span.resource["process.pid"] == pid && process::id() != server.pid()));
    Ok(())
}
