// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who is watched, and from when: by event, from the first byte.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    process::{self, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use onlooker_tests::{PATIENCE, Span, free_address, skip};

use crate::{
    PEER, Stage,
    processes::{Served, ask, fork},
    sockets::{exchange, get, read_whole, tcp_pair},
};

/// A GET over a connection of its own, by this process.
fn request(address: SocketAddr, path: &str) -> Result<()> {
    request_over(TcpStream::connect(address)?, path)
}

fn request_over(mut stream: TcpStream, path: &str) -> Result<()> {
    use std::io::{Read as _, Write as _};
    stream.write_all(&get(path))?;
    let mut start = [0; 12];
    stream.read_exact(&mut start)?;
    anyhow::ensure!(&start == b"HTTP/1.1 200", "{}", String::from_utf8_lossy(&start));
    Ok(())
}

/// Tries until somebody listens, without a pause: the first request is there as soon as it can be.
fn connect_at_once(address: SocketAddr) -> Result<TcpStream> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => {}
        }
    }
}

/// Twenty servers, one after the other: each executes, listens, and is asked within a millisecond.
#[test]
fn a_server_is_traced_from_its_first_request() -> Result<()> {
    let address = free_address();
    let stage = Stage::watch("/watching/first/", &["--open-port", &address.port().to_string()])?;
    let paths: Vec<String> = (0..20).map(|number| stage.path(number)).collect();
    for path in &paths {
        let mut server = Command::new(PEER)
            .args(["serve", &address.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        request_over(connect_at_once(address)?, path)?;
        server.kill()?;
        server.wait()?;
    }
    stage.finish(&paths, &[])?;
    Ok(())
}

/// The parent is watched; the child speaks at once.
#[test]
fn children_are_watched_from_their_first_byte() -> Result<()> {
    let stage = Stage::watch_self("/watching/children/")?;
    let paths: Vec<String> = (0..20).map(|number| stage.path(number)).collect();
    for path in &paths {
        fork(|| {
            let [client, server] = tcp_pair()?;
            exchange(&client, &server, path)
        })?
        .succeeded()?;
    }
    let seen = stage.finish_pairs(&paths)?;
    paths.iter().for_each(|path| seen.assert_pair(path, 200, 0, 5));
    Ok(())
}

/// `--pid` holds for what the process becomes, and for the programs that it starts.
#[test]
fn a_process_by_its_id_and_its_children_through_exec() -> Result<()> {
    let served = Served::start("127.0.0.1:0")?;
    let stage = Stage::watch_self("/watching/exec/")?;
    let paths: Vec<String> = (0..5).map(|number| stage.path(number)).collect();
    for path in &paths {
        let output = Command::new(PEER).args(["exec", PEER, "ask", &served.address.to_string(), path]).output()?;
        assert_eq!(output.stdout, b"200\n");
    }
    let seen = stage.finish(&[], &paths)?;
    paths.iter().for_each(|path| {
        assert_ne!(seen.client(path).resource["process.pid"], process::id(), "the child has asked");
    });
    Ok(())
}

/// Processes, mounts and network of its own; as busybox spells it, too. The peer ends with its standard input.
const UNSHARED: [&str; 5] = ["-p", "-m", "-n", "-f", "--mount-proc"];

/// A server that lives where neither its process id nor its port nor its root are those of Onlooker.
#[test]
fn in_other_namespaces() -> Result<()> {
    let mut command = Command::new("unshare");
    command.args(UNSHARED);
    let shell = "ip link set lo up && exec \"$0\" serve 127.0.0.1:18080";
    let mut served = match Served::run(command.args(["sh", "-c", shell, PEER])) {
        Ok(served) => served,
        Err(error) => {
            skip(&format!("no namespaces can be made here: {error}"));
            return Ok(());
        }
    };
    let stage = Stage::watch("/watching/namespaces/", &["--open-port", "18080"])?;
    let paths = ["there-before", "started-after"].map(|name| stage.path(name));
    for (index, path) in paths.iter().enumerate() {
        if index == 1 {
            let mut command = Command::new("unshare");
            command.args(UNSHARED);
            served = Served::run(command.args(["sh", "-c", shell, PEER]))?;
        }
        let server = child_of(served.pid())?;
        let asked = Command::new("nsenter")
            .args(["-n", "-t", &server.to_string(), PEER, "ask", "127.0.0.1:18080", path])
            .output()?;
        assert_eq!(asked.stdout, b"200\n", "{}", String::from_utf8_lossy(&asked.stderr));
    }
    let seen = stage.finish(&paths, &[])?;
    for path in &paths {
        assert_eq!(seen.server(path).integer("http.response.status_code"), Some(200));
    }
    Ok(())
}

/// The process that `unshare` has made.
fn child_of(pid: u32) -> Result<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    children.split_whitespace().next().context("it has no child")?.parse().context("a number")
}

/// A copy of the peer program under a name of its own, for selectors by name.
fn program_named(folder: &tempfile::TempDir, name: &str) -> Result<String> {
    let path = folder.path().join(name);
    fs::copy(PEER, &path)?;
    Ok(path.to_str().context("temporary folders have plain names")?.to_owned())
}

/// Programs that were not there when Onlooker started, chosen by their path, from the first byte.
#[test]
fn by_the_executable_s_path() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (chosen, other) = (program_named(&folder, "chosen-peer")?, program_named(&folder, "other-peer")?);
    let served = Served::start("127.0.0.1:0")?;
    let stage = Stage::watch("/watching/exe/", &["--exe", "*/chosen-*"])?;
    let paths: Vec<String> = (0..10).map(|number| stage.path(number)).collect();
    for path in &paths {
        assert_eq!(ask(&chosen, served.address, path)?, 200);
        assert_eq!(ask(&other, served.address, &stage.path("other"))?, 200);
    }
    stage.finish(&[], &paths)?;
    Ok(())
}

/// With no selector everything is watched, those that were there and those that come; but not Onlooker.
#[test]
fn by_default() -> Result<()> {
    let before = Served::start("127.0.0.1:0")?;
    let stage = Stage::watch("/watching/default/", &[])?;
    let after = Served::start("127.0.0.1:0")?;
    let paths = ["before", "after"].map(|name| stage.path(name));
    assert_eq!(ask(PEER, before.address, &paths[0])?, 200);
    assert_eq!(ask(PEER, after.address, &paths[1])?, 200);
    let own = stage.onlooker.pid();
    assert_eq!(stage.onlooker.get("/livez")?.0, 200);
    let seen = stage.finish_pairs(&paths)?;
    for path in &paths {
        seen.pair(path);
    }
    let is_own = |span: &&Span| span.resource.get("process.pid").is_some_and(|pid| *pid == own);
    assert_eq!(seen.finished.spans.iter().find(is_own), None, "Onlooker does not watch itself");
    Ok(())
}

/// What the file excludes is not watched, whatever selects it.
#[test]
fn exclusions_win() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (wanted, excluded) = (program_named(&folder, "twin-wanted")?, program_named(&folder, "twin-excluded")?);
    let file = folder.path().join("onlooker.yaml");
    fs::write(
        &file,
        "discovery:\n  instrument:\n    - exe_path: '*/twin-*'\n  exclude_instrument:\n    - exe_path: '*/twin-excluded'\n",
    )?;
    let served = Served::start("127.0.0.1:0")?;
    let file = file.to_str().context("temporary folders have plain names")?;
    let stage = Stage::watch("/watching/exclude/", &["--config", file])?;
    let paths: Vec<String> = (0..5).map(|number| stage.path(number)).collect();
    for path in &paths {
        assert_eq!(ask(&excluded, served.address, &stage.path("excluded"))?, 200);
        assert_eq!(ask(&wanted, served.address, path)?, 200);
    }
    stage.finish(&[], &paths)?;
    Ok(())
}

/// A server that listens before Onlooker comes, and has an open connection.
#[test]
fn by_a_port_that_was_open_before() -> Result<()> {
    let served = Served::start("127.0.0.1:0")?;
    let open = TcpStream::connect(served.address)?;
    let stage = Stage::watch("/watching/port/", &["--open-port", &served.address.port().to_string()])?;
    let paths = ["open", "new"].map(|name| stage.path(name));
    request_over(open, &paths[0])?;
    request(served.address, &paths[1])?;
    // Watched as its server only: this process asks, and listens at no such port.
    let seen = stage.finish(&paths, &[])?;
    assert_eq!(seen.server(&paths[0]).resource["process.pid"], served.pid());
    Ok(())
}

/// An idle daemon uses no processor time worth telling while it watches nothing that talks.
#[test]
fn silence_costs_nothing() -> Result<()> {
    const WINDOW: Duration = Duration::from_secs(2);
    let [client, server] = tcp_pair()?;
    let served = Served::start("127.0.0.1:0")?;
    let stage = Stage::watch("/watching/silence/", &["--open-port", &served.address.port().to_string()])?;
    // The peer of a silent pair is a clock that needs no sleep: a read that times out.
    server.set_read_timeout(Some(WINDOW))?;
    let before = stage.onlooker.cpu_time()?;
    assert!(read_whole(&server, b"nothing").is_err());
    let used = stage.onlooker.cpu_time()? - before;
    drop(client);
    assert!(used < WINDOW / 50, "{used:?} in {WINDOW:?}");
    stage.finish(&[], &[])?;
    Ok(())
}
