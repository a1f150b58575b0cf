// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Other programs in the kernel that look at the same: bpftrace at the system calls and in the TLS library, and a second
//! Onlooker. Each counts exactly, and goes without the others noticing.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::{Finished, Load, Onlooker, PATIENCE, ServerProcess, poll_until, skip};
use serde_json::Value;

use super::source;
use crate::{
    authority::{Authority, Identity},
    peer::Peer,
};

/// Of each server, each time.
const REQUESTS: u64 = 300;

/// bpftrace, counting by process: what was sent by system calls, all of their ends, and what the TLS library wrote and read.
/// Dropped, it is killed.
struct Counts {
    child: Child,
    lines: Receiver<String>,
    by_map: BTreeMap<String, BTreeMap<u32, u64>>,
}

impl Counts {
    fn start(library: &Path) -> Result<Self> {
        let library = library.display();
        let script = format!(
            "tracepoint:syscalls:sys_enter_sendto {{ @sent[pid] = count(); }}
             tracepoint:raw_syscalls:sys_enter {{ @begun[pid] = count(); }}
             tracepoint:raw_syscalls:sys_exit {{ @ended[pid] = count(); }}
             uprobe:{library}:SSL_write_ex {{ @written[pid] = count(); }}
             uprobe:{library}:SSL_read_ex {{ @read[pid] = count(); }}
             uretprobe:{library}:SSL_read_ex {{ @returned[pid] = count(); }}
             interval:ms:50 {{ print(@sent); print(@written); print(@returned); }}"
        );
        let mut bpftrace = Command::new("bpftrace");
        bpftrace.args(["-f", "json", "-e", &script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = bpftrace.spawn()?;
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Ok(Self { child, lines, by_map: BTreeMap::new() })
    }

    /// What it has counted of this process, as far as it has said so.
    fn of(&mut self, map: &str, pid: u32) -> Result<u64> {
        // Maps that have nothing in them yet are printed as empty lines.
        for line in self.lines.try_iter().filter(|line| !line.is_empty()) {
            let said: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
            for (name, counts) in said["data"].as_object().into_iter().flatten() {
                let counts = counts.as_object().into_iter().flatten();
                let counts = counts.map(|(pid, count)| Ok((pid.parse()?, count.as_u64().context("a count")?)));
                self.by_map.insert(name.clone(), counts.collect::<Result<_>>()?);
            }
        }
        Ok(self.by_map.get(map).and_then(|counts| counts.get(&pid)).copied().unwrap_or_default())
    }

    fn wait(&mut self, map: &str, pid: u32, at_least: u64) -> Result<u64> {
        poll_until(&format!("bpftrace has counted {at_least} in {map}"), PATIENCE, || {
            self.of(map, pid).map(|count| (count >= at_least).then_some(count)).transpose()
        })?
    }
}

impl Drop for Counts {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One that answers in the clear, and one under TLS.
struct Servers {
    plain: ServerProcess,
    secret: Peer,
    secret_port: u16,
}

impl Servers {
    fn start(identity: &Identity) -> Result<Self> {
        let mut python = Command::new("python3");
        let mut secret =
            Peer::start(python.arg(source("observers/https.py")).args([&identity.certificate, &identity.key]))?;
        Ok(Self { plain: ServerProcess::start()?, secret_port: secret.port()?, secret })
    }

    /// So many requests to each, for `/plain/0` and `/secret/0` and so on.
    fn ask(&self, requests: u64, turn: &str) -> Result<()> {
        Load::new(self.plain.address(), 10, requests, true).prefix(&format!("/plain/{turn}/")).run()?;
        let address = SocketAddr::from(([127, 0, 0, 1], self.secret_port));
        // One connection; the range is curl's own.
        let url = format!("https://{address}/secret/{turn}/[1-{requests}]");
        let asked = Command::new("curl").args(["-skf", "--no-progress-meter", "-o", "/dev/null", &url]).output()?;
        ensure!(asked.status.success(), "{asked:?}");
        Ok(())
    }

    /// The file that the one under TLS has mapped.
    fn library(&self) -> Result<Option<PathBuf>> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.secret.pid()))?;
        let library =
            maps.lines().find_map(|line| line.split_whitespace().last().filter(|path| path.contains("/libssl.")));
        Ok(library.map(PathBuf::from))
    }
}

fn installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// It has told each request once, from each server.
fn check(finished: &Finished, turns: &[&str]) -> Result<()> {
    for turn in turns {
        for kind in ["plain", "secret"] {
            let below = format!("/{kind}/{turn}/");
            let mut paths: Vec<&str> = finished.spans.iter().filter_map(|span| span.path()).collect();
            paths.retain(|path| path.starts_with(&below));
            let told = paths.len() as u64;
            paths.sort_unstable();
            paths.dedup();
            ensure!((paths.len() as u64, told) == (REQUESTS, REQUESTS), "{below}: {told} spans: {}", finished.stderr);
        }
    }
    ensure!(finished.ledger.total("onlooker_kernel_records_lost_total") == 0, "{}", finished.stderr);
    finished.ledger.assert_conserved("stdout");
    Ok(())
}

#[test]
fn bpftrace_and_two_onlookers_count_the_same() -> Result<()> {
    if let Some(missing) = ["bpftrace", "python3", "curl"].into_iter().find(|program| !installed(program)) {
        skip(&format!("{missing} is not installed"));
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let identity = Authority::new(folder.path(), "authority")?.sign("server")?;
    // What the first are asked shows when bpftrace has attached; the others have not spoken then.
    let (early, servers) = (Servers::start(&identity)?, Servers::start(&identity)?);
    let Some(library) = servers.library()? else {
        skip("Python has no libssl of its own");
        return Ok(());
    };
    let mut counts = Counts::start(&library)?;
    poll_until("bpftrace counts", PATIENCE, || {
        let asked = early.ask(1, "early").and_then(|()| {
            let (plain, secret) = (early.plain.pid(), early.secret.pid());
            Ok(counts.of("@sent", plain)? > 0
                && counts.of("@written", secret)? > 0
                && counts.of("@returned", secret)? > 0)
        });
        asked.map(|counts| counts.then_some(())).transpose()
    })??;

    let pids = format!("{},{}", servers.plain.pid(), servers.secret.pid());
    let first = Onlooker::start(&["--pid", &pids], &[])?;
    let mut second = Onlooker::start(&["--pid", &pids], &[])?;
    servers.ask(REQUESTS, "both")?;
    let of_both = 2 * REQUESTS as usize;
    second.wait_count(of_both)?;
    let mut first = first;
    first.wait_count(of_both)?;
    check(&first.stop()?, &["both"])?;

    // One has gone; nobody else notices.
    servers.ask(REQUESTS, "one")?;
    second.wait_count(2 * of_both)?;
    check(&second.stop()?, &["both", "one"])?;

    servers.ask(REQUESTS, "none")?;
    for (map, pid) in [("@sent", servers.plain.pid()), ("@written", servers.secret.pid())] {
        let counted = counts.wait(map, pid, 3 * REQUESTS)?;
        ensure!(counted == 3 * REQUESTS, "{map}: {counted}");
    }
    // A read for each request, and for each of three connections one that finds its end.
    let returned = counts.wait("@returned", servers.secret.pid(), 3 * REQUESTS + 3)?;
    ensure!(returned == 3 * REQUESTS + 3, "{returned} reads returned");
    Ok(())
}
