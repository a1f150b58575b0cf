// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is not HTTP, on sockets that are watched: no span, no end of the agent, no memory without bound.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    slice, thread,
};

use anyhow::Result;

use crate::{
    Stage,
    sockets::{connect, exchange, get, response, tcp_pair},
};

/// What tables, buffers and the allocator may grow by. All that the tests send is more.
const GROWTH_BYTES: u64 = 12 << 20;

/// Numbers that look random and are the same at every run (xorshift).
fn noise(mut seed: u64, length: usize) -> Vec<u8> {
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// The beginning of a TLS 1.2 ClientHello: a handshake record, its version, lengths, and a random.
fn client_hello() -> Vec<u8> {
    let mut hello = vec![0x16, 3, 1, 0, 0xa0, 1, 0, 0, 0x9c, 3, 3];
    hello.extend(noise(7, 154));
    hello
}

fn specimens() -> Vec<(&'static str, Vec<u8>)> {
    let mut specimens = vec![
        ("a TLS handshake", client_hello()),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec()),
        ("SSH", b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n".to_vec()),
        ("half a method", b"GE".to_vec()),
        ("half a request line", b"GET /garbage/half HTT".to_vec()),
        ("half a head", b"GET /garbage/half HTTP/1.1\r\nHost: onlooker.test\r\nX-".to_vec()),
        ("a request line of another protocol", b"GET /garbage/rtsp RTSP/1.0\r\n\r\n".to_vec()),
        ("an unfinished version", b"GET /garbage/version HTTP/9\r\n\r\n".to_vec()),
        ("nothing but line ends", b"\r\n".repeat(5000)),
        ("zeroes", vec![0; 5000]),
        ("Redis", b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n".to_vec()),
        ("1 MB of one letter", vec![b'A'; 1 << 20]),
        ("a method that never ends", [b"G".repeat(300_000), b" / HTTP/1.1\r\n\r\n".to_vec()].concat()),
    ];
    specimens.extend((1..=200).map(|seed| ("noise", noise(seed * 0x9e37_79b9, 50 + 20 * seed as usize))));
    specimens
}

/// Sends to the other end, which takes all of it.
fn pour(bytes: &[u8], mut from: &TcpStream, mut to: &TcpStream) -> Result<()> {
    thread::scope(|scope| {
        let taking = scope.spawn(move || to.read_to_end(&mut Vec::new()));
        from.write_all(bytes)?;
        from.shutdown(Shutdown::Write)?;
        assert_eq!(taking.join().expect("it returns its errors")?, bytes.len());
        Ok(())
    })
}

#[test]
fn what_is_not_http() -> Result<()> {
    let stage = Stage::watch_self("/garbage/")?;
    let before = stage.onlooker.memory_bytes("RssAnon")?;
    let mut paths = Vec::new();
    for (number, (what, bytes)) in specimens().into_iter().enumerate() {
        let [client, server] = tcp_pair()?;
        pour(&bytes, &client, &server)?;
        // And as an answer: to noise, and then to a request that gets no other one.
        pour(&noise(5, 100), &server, &client)?;
        // The next connection is as good as any.
        let path = stage.path(format_args!("after/{number}"));
        let [client, server] = tcp_pair()?;
        exchange(&client, &server, &path).map_err(|error| error.context(what))?;
        paths.push(path);
    }
    stage.onlooker.wait_ledger(
        |ledger| ledger.total("onlooker_spans_total") >= 2 * paths.len() as u64,
        onlooker_tests::PATIENCE,
    )?;
    let after = stage.onlooker.memory_bytes("RssAnon")?;
    assert!(after < before + GROWTH_BYTES, "memory grew from {before} to {after}");
    let seen = stage.finish_pairs(&paths)?;
    paths.iter().for_each(|path| seen.assert_pair(path, 200, 0, 5));
    Ok(())
}

/// A request that is answered with noise has no status, and says why.
#[test]
fn an_answer_that_is_none() -> Result<()> {
    let stage = Stage::watch_self("/garbage-answer/")?;
    let path = stage.path("");
    let [mut client, mut server] = tcp_pair()?;
    client.write_all(&get(&path))?;
    server.read_exact(&mut vec![0; get(&path).len()])?;
    server.write_all(&noise(11, 3000))?;
    client.read_exact(&mut [0; 3000])?;
    drop((client, server));
    let seen = stage.finish_pairs(slice::from_ref(&path))?;
    for span in seen.pair(&path) {
        assert_eq!(span.integer("http.response.status_code"), None, "{span:#?}");
        assert_eq!(span.text("error.type"), Some("not_understood"), "{span:#?}");
    }
    Ok(())
}

/// A thousand connections with half a head each: memory for what was sent, at most; and no span, for nothing was asked.
#[test]
fn a_thousand_half_requests() -> Result<()> {
    const CONNECTIONS: usize = 1000;
    onlooker_tests::raise_open_files()?;
    let stage = Stage::watch_self("/slow/")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let before = stage.onlooker.memory_bytes("RssAnon")?;
    let mut open = Vec::new();
    for number in 0..CONNECTIONS {
        let [client, server] = connect(&listener)?;
        let mut half = get(&stage.path(number));
        half.truncate(half.len() - 2);
        half.extend_from_slice(b"X-Slow: ");
        (&client).write_all(&half)?;
        (&server).read_exact(&mut vec![0; half.len()])?;
        open.push([client, server]);
    }
    // A line more each, as those do that keep a server waiting.
    for [client, server] in &open {
        (&*client).write_all(&[b's'; 1000])?;
        (&*server).read_exact(&mut [0; 1000])?;
    }
    let path = stage.path("good");
    let [client, server] = connect(&listener)?;
    exchange(&client, &server, &path)?;
    stage.onlooker.wait_ledger(|ledger| ledger.total("onlooker_spans_total") >= 2, onlooker_tests::PATIENCE)?;
    let after = stage.onlooker.memory_bytes("RssAnon")?;
    assert!(after < before + GROWTH_BYTES, "memory grew from {before} to {after}");
    // One of them asks after all.
    let late = stage.path(0);
    let [client, server] = &open[0];
    (&*client).write_all(b"\r\n\r\n")?;
    (&*server).read_exact(&mut [0; 4])?;
    (&*server).write_all(&response(200, 5))?;
    (&*client).read_exact(&mut vec![0; response(200, 5).len()])?;
    let seen = stage.finish_pairs(&[path.clone(), late.clone()])?;
    seen.assert_pair(&path, 200, 0, 5);
    seen.assert_pair(&late, 200, 0, 5);
    drop(open);
    Ok(())
}
