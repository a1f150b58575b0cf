// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How long Onlooker takes to start, and when its first span is there: on this machine, in real time.
//!
//! A client asks all the while; the first span is the first line that Onlooker prints. Out: `start METRIC VALUE`, in
//! milliseconds.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::{
    Parameters,
    client::Reach,
    processes::Peer,
    states::WATCHED_PORT,
    talk::{Speech, Talk},
};

/// Longer than any start that is a success.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two requests: none are so near that the client takes the processor from what is measured.
const PAUSE: Duration = Duration::from_millis(5);

const TALK: Talk = Talk { speech: Speech::Http1, response_bytes: 70 };

pub fn run(parameters: &Parameters) -> Result<()> {
    let server = [format!("port={WATCHED_PORT}"), "connections=0".to_owned()];
    let _server = Peer::start("server", TALK.parameters().iter().chain(&server))?;
    let reach = Reach { first_port: WATCHED_PORT, servers: 1, connections: 1, listens: 0 };
    let mut client = Peer::start("client", TALK.parameters().iter().chain(&reach.parameters()))?;
    let begin = Instant::now();
    let mut onlooker = Command::new(parameters.text("onlooker")?)
        .args(["--backend", parameters.text("backend")?, "--open-port", &WATCHED_PORT.to_string()])
        .args(["--print", "otlp-json", "--admin", "off"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (sender, events) = channel();
    let output = BufReader::new(onlooker.stdout.take().expect("it is piped"));
    let errors = BufReader::new(onlooker.stderr.take().expect("it is piped"));
    let spans = sender.clone();
    thread::spawn(move || {
        output.lines().map_while(Result::ok).take(1).try_for_each(|_| spans.send(("first_span", begin.elapsed())))
    });
    thread::spawn(move || {
        for line in errors.lines().map_while(Result::ok) {
            if line.contains("ready: ") {
                let _ = sender.send(("ready", begin.elapsed()));
            } else {
                println!("{line}");
            }
        }
    });
    let mut ended = Vec::new();
    while ended.len() < 2 && begin.elapsed() < PATIENCE {
        client.ask(1)?;
        match events.recv_timeout(PAUSE) {
            Ok((metric, time)) => {
                if metric == "ready" {
                    println!("start cpu {}", cpu(onlooker.id())?.as_millis());
                }
                println!("start {metric} {}", time.as_millis());
                ended.push(metric);
            }
            Err(RecvTimeoutError::Timeout) => {}
            // It has ended, and has said why.
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    onlooker.kill()?;
    onlooker.wait()?;
    Ok(())
}

/// Time on the processor of all threads, those that have ended too.
fn cpu(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Behind the name, which may hold anything: utime and stime are the 14th and 15th field of the line.
    let (_, behind) = stat.rsplit_once(") ").context("no name in stat")?;
    let ticks: u64 = behind.split(' ').skip(11).take(2).map(|ticks| ticks.parse().unwrap_or(0)).sum();
    // SAFETY: takes a number.
    let each_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.cast_unsigned();
    Ok(Duration::from_millis(ticks * 1000 / each_second))
}
