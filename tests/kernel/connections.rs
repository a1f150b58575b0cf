// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Connections of every family, and every way in which one begins and ends.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    ptr, slice,
};

use anyhow::{Result, ensure};

use crate::{
    Stage,
    processes::fork,
    sockets::{
        Send, answer, connect, exchange, get, post, read_whole, reset_at_close, response, response_head, set_option,
        tcp_pair, tcp_pair_at,
    },
};

#[test]
fn every_family() -> Result<()> {
    let stage = Stage::watch_self("/connections/families/")?;
    let paths = ["v4", "v6", "mapped", "unix", "unix-pair"].map(|name| stage.path(name));
    let folder = tempfile::tempdir()?;
    for (path, address) in paths.iter().zip(["127.0.0.1:0", "[::1]:0"]) {
        let [client, server] = tcp_pair_at(address)?;
        exchange(&client, &server, path)?;
    }
    // A listener for both: what comes over IPv4 has addresses that are mapped into IPv6.
    let listener = TcpListener::bind("[::]:0")?;
    let client = TcpStream::connect(("127.0.0.1", listener.local_addr()?.port()))?;
    let server = listener.accept()?.0;
    assert!(server.peer_addr()?.is_ipv6());
    exchange(&client, &server, &paths[2])?;
    let name = folder.path().join("socket");
    let listener = UnixListener::bind(&name)?;
    let client = UnixStream::connect(&name)?;
    exchange(&client, &listener.accept()?.0, &paths[3])?;
    let (client, server) = UnixStream::pair()?;
    exchange(&client, &server, &paths[4])?;

    let seen = stage.finish_pairs(&paths)?;
    paths.iter().for_each(|path| seen.assert_pair(path, 200, 0, 5));
    for (path, address) in paths.iter().zip(["127.0.0.1", "::1", "127.0.0.1"]) {
        assert_eq!(seen.server(path).text("client.address"), Some(address));
        for span in seen.pair(path) {
            assert_eq!(span.text("network.peer.address"), Some(address));
        }
    }
    for path in &paths[3..] {
        for span in seen.pair(path) {
            assert_eq!(span.text("network.peer.address"), None, "a unix socket has no such address");
        }
    }
    Ok(())
}

/// Two listeners at one port: the kernel deals connections out.
#[test]
fn listeners_that_share_a_port() -> Result<()> {
    let stage = Stage::watch_self("/connections/reuseport/")?;
    let first = shared_listener(0)?;
    let second = shared_listener(first.local_addr()?.port())?;
    [&first, &second].into_iter().try_for_each(|listener| listener.set_nonblocking(true))?;
    let paths: Vec<String> = (0..40).map(|number| stage.path(number)).collect();
    let mut dealt = [0; 2];
    for path in &paths {
        let client = TcpStream::connect(first.local_addr()?)?;
        let server = loop {
            let accepted = [&first, &second].map(|listener| listener.accept().ok());
            if let Some(which) = accepted.iter().position(Option::is_some) {
                dealt[which] += 1;
                break accepted.into_iter().flatten().next().expect("it is there").0;
            }
        };
        server.set_nonblocking(false)?;
        exchange(&client, &server, path)?;
    }
    assert!(dealt.iter().all(|count| *count > 0), "{dealt:?}");
    let seen = stage.finish_pairs(&paths)?;
    paths.iter().for_each(|path| seen.assert_pair(path, 200, 0, 5));
    Ok(())
}

fn shared_listener(port: u16) -> Result<TcpListener> {
    // SAFETY: no pointers; the descriptor is new.
    let socket = unsafe { OwnedFd::from_raw_fd(libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0)) };
    set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_be_bytes([127, 0, 0, 1]).to_be() },
        sin_zero: [0; 8],
    };
    // SAFETY: the address is of the size that is said.
    unsafe {
        let size = size_of::<libc::sockaddr_in>() as u32;
        ensure!(libc::bind(socket.as_raw_fd(), ptr::from_ref(&address).cast(), size) == 0, "bind");
        ensure!(libc::listen(socket.as_raw_fd(), 16) == 0, "listen");
    }
    Ok(TcpListener::from(socket))
}

/// The client says that it has no more to say; its answer comes all the same.
#[test]
fn half_closed_after_the_request() -> Result<()> {
    let stage = Stage::watch_self("/connections/half/")?;
    let paths = ["tcp", "unix"].map(|name| stage.path(name));
    let [mut client, mut server] = tcp_pair()?;
    client.write_all(&post(&paths[0], 100))?;
    client.shutdown(Shutdown::Write)?;
    let mut request = Vec::new();
    server.read_to_end(&mut request)?;
    assert_eq!(request, post(&paths[0], 100));
    server.write_all(&response(200, 300))?;
    drop(server);
    read_whole(&mut client, &response(200, 300))?;
    let (mut client, mut server) = UnixStream::pair()?;
    client.write_all(&post(&paths[1], 100))?;
    client.shutdown(Shutdown::Write)?;
    server.read_to_end(&mut Vec::new())?;
    server.write_all(&response(200, 300))?;
    drop(server);
    read_whole(&mut client, &response(200, 300))?;
    drop(client);
    let seen = stage.finish_pairs(&paths)?;
    paths.iter().for_each(|path| seen.assert_pair(path, 200, 100, 300));
    Ok(())
}

/// The last bytes of each side are read in one call with its FIN, which the kernel counts as a byte: none is missing.
#[test]
fn the_last_bytes_come_with_the_end() -> Result<()> {
    let stage = Stage::watch_self("/connections/last/")?;
    let paths = ["before", "with-the-end"].map(|name| stage.path(name));
    let [mut client, mut server] = tcp_pair()?;
    exchange(&client, &server, &paths[0])?;
    // Loopback delivers before the call returns: both wait to be read.
    client.write_all(&get(&paths[1]))?;
    client.shutdown(Shutdown::Write)?;
    let mut request = Vec::with_capacity(4096);
    server.read_to_end(&mut request)?;
    assert_eq!(request, get(&paths[1]));
    server.write_all(&response(200, 300))?;
    drop(server);
    let mut answer = Vec::with_capacity(4096);
    client.read_to_end(&mut answer)?;
    assert_eq!(answer, response(200, 300));
    drop(client);
    let seen = stage.finish_pairs(&paths)?;
    seen.assert_pair(&paths[1], 200, 0, 300);
    for span in seen.pair(&paths[1]) {
        assert_eq!(span.text("onlooker.partial"), None);
    }
    Ok(())
}

/// The server breaks off in the middle of its response: the status that it gave is told, and the error.
#[test]
fn reset_in_mid_response() -> Result<()> {
    let stage = Stage::watch_self("/connections/reset/")?;
    let paths = ["head", "nothing"].map(|name| stage.path(name));
    for (path, has_head) in paths.iter().zip([true, false]) {
        let [mut client, mut server] = tcp_pair()?;
        client.write_all(&get(path))?;
        read_whole(&mut server, &get(path))?;
        if has_head {
            server.write_all(&response_head(200, 1000))?;
            read_whole(&mut client, &response_head(200, 1000))?;
        }
        reset_at_close(&server)?;
        drop(server);
        let error = client.read(&mut [0; 64]).expect_err("the connection was reset");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    let seen = stage.finish_pairs(&paths)?;
    for (path, status) in paths.iter().zip([Some(200), None]) {
        let [server, client] = seen.pair(path);
        assert_eq!(client.text("error.type"), Some("connection_reset"), "{client:#?}");
        for span in [server, client] {
            assert_eq!(span.integer("http.response.status_code"), status, "{span:#?}");
            assert!(span.is_error && span.text("error.type").is_some(), "{span:#?}");
        }
    }
    Ok(())
}

#[test]
fn closed_without_an_answer() -> Result<()> {
    let stage = Stage::watch_self("/connections/closed/")?;
    let path = stage.path("");
    let [mut client, mut server] = tcp_pair()?;
    client.write_all(&get(&path))?;
    read_whole(&mut server, &get(&path))?;
    drop(server);
    assert_eq!(client.read(&mut [0; 64])?, 0);
    drop(client);
    let seen = stage.finish_pairs(slice::from_ref(&path))?;
    for span in seen.pair(&path) {
        assert_eq!(span.integer("http.response.status_code"), None, "a status is never made up");
        assert_eq!((span.text("error.type"), span.is_error), (Some("connection_closed"), true), "{span:#?}");
    }
    Ok(())
}

/// The server is killed between the request and the answer.
#[test]
fn killed_in_mid_request() -> Result<()> {
    let stage = Stage::watch_self("/connections/killed/")?;
    let path = stage.path("");
    let [mut client, server] = tcp_pair()?;
    let (ready, mut told) = UnixStream::pair()?;
    let child = fork(|| {
        read_whole(&server, &get(&path))?;
        (&ready).write_all(&[1])?;
        loop {
            // SAFETY: waits for a signal.
            unsafe { libc::pause() };
        }
    })?;
    drop(server);
    client.write_all(&get(&path))?;
    told.read_exact(&mut [0])?;
    child.signal(libc::SIGKILL)?;
    assert_eq!(child.wait()?, libc::SIGKILL);
    assert_eq!(client.read(&mut [0; 64])?, 0);
    drop(client);
    let seen = stage.finish_pairs(slice::from_ref(&path))?;
    for span in seen.pair(&path) {
        assert_eq!(span.integer("http.response.status_code"), None, "{span:#?}");
        assert!(span.is_error && span.text("error.type").is_some(), "{span:#?}");
    }
    Ok(())
}

/// Eight requests before the first answer, in one write; the answers in their order.
#[test]
fn pipelined_eight_deep() -> Result<()> {
    const STATUSES: [u16; 8] = [200, 201, 202, 203, 400, 404, 500, 503];
    let stage = Stage::watch_self("/connections/pipelined/")?;
    let [mut client, mut server] = tcp_pair()?;
    let paths: Vec<String> = (0..24).map(|number| stage.path(number)).collect();
    for (round, of_round) in paths.chunks(8).enumerate() {
        let requests: Vec<u8> = of_round.iter().flat_map(|path| get(path)).collect();
        let answers: Vec<u8> = (0..8).flat_map(|number| response(STATUSES[number], 10 * round + number)).collect();
        client.write_all(&requests)?;
        read_whole(&mut server, &requests)?;
        // Once as one write, once an answer a write, once cut anywhere.
        answers.chunks([usize::MAX, 50, 7][round]).try_for_each(|chunk| Send::Write.all(&server, chunk))?;
        read_whole(&mut client, &answers)?;
    }
    let seen = stage.finish_pairs(&paths)?;
    for (index, path) in paths.iter().enumerate() {
        let (round, number) = (index / 8, index % 8);
        seen.assert_pair(path, i64::from(STATUSES[number]), 0, (10 * round + number) as i64);
    }
    Ok(())
}

/// Connections that had been used before Onlooker came: at rest, in the middle of a request, in the middle of a response.
#[test]
fn joined_late() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let connections = [connect(&listener)?, connect(&listener)?, connect(&listener)?];
    for [client, server] in &connections {
        exchange(client, server, "/connections/before")?;
    }
    let [[idle_client, idle_server], [asking, asked], [answered, answering]] = &connections;
    let cut = get("/connections/before");
    (&*asking).write_all(&cut[..20])?;
    read_whole(asked, &cut[..20])?;
    (&*answered).write_all(&cut)?;
    read_whole(answering, &cut)?;
    (&*answering).write_all(&response(200, 1000)[..500])?;
    read_whole(answered, &response(200, 1000)[..500])?;

    let stage = Stage::watch_self("/connections/late/")?;
    let paths: Vec<String> = (0..6).map(|number| stage.path(number)).collect();
    exchange(idle_client, idle_server, &paths[0])?;
    exchange(idle_client, idle_server, &paths[1])?;
    (&*asking).write_all(&cut[20..])?;
    read_whole(asked, &cut[20..])?;
    (&*asked).write_all(&response(200, 5))?;
    read_whole(asking, &response(200, 5))?;
    exchange(asking, asked, &paths[2])?;
    exchange(asking, asked, &paths[3])?;
    (&*answering).write_all(&response(200, 1000)[500..])?;
    read_whole(answered, &response(200, 1000)[500..])?;
    (&*answered).write_all(&get(&paths[4]))?;
    answer(answering, &paths[4], 200)?;
    read_whole(answered, &response(200, 5))?;
    exchange(answered, answering, &paths[5])?;
    let seen = stage.finish_pairs(&paths)?;
    for path in &paths {
        for span in seen.pair(path) {
            assert_eq!(span.integer("http.response.status_code"), Some(200), "{span:#?}");
        }
    }
    for path in [&paths[1], &paths[3], &paths[5]] {
        seen.assert_pair(path, 200, 0, 5);
    }
    Ok(())
}
