// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The calls that move bytes: each carries a request and a response, whole and once.

use std::{
    fs::{self, File},
    io::{Seek as _, Write as _},
    net::TcpStream,
    os::fd::AsRawFd as _,
    ptr, slice,
    sync::mpsc,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use libc::c_int;
use onlooker_tests::{PATIENCE, poll_until};

use crate::{
    Seen, Stage,
    sockets::{Receive, Send, get, header, moved, post, receive_whole, response, response_head, tcp_pair},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const TRACEPARENT: &str = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n";

#[test]
fn every_pair_of_calls() -> Result<()> {
    let stage = Stage::watch_self("/calls/pairs/")?;
    let mut paths = Vec::new();
    for receive in Receive::ALL {
        for send in Send::ALL {
            let path = stage.path(format_args!("{receive:?}-{send:?}/{}", "0123456789".repeat(30)));
            let [client, server] = tcp_pair()?;
            for (from, to, bytes) in [(&client, &server, post(&path, 300)), (&server, &client, response(201, 777))] {
                send.all(from, &bytes)?;
                assert_eq!(receive_whole(receive, to, bytes.len())?, bytes);
            }
            paths.push(path);
        }
    }
    let seen = stage.finish_pairs(&paths)?;
    for path in &paths {
        seen.assert_pair(path, 201, 300, 777);
        assert_eq!(seen.server(path).text("http.request.method"), Some("POST"));
    }
    Ok(())
}

/// Head and body as messages of their own, so that one call moves two.
#[test]
fn several_messages_in_one_call() -> Result<()> {
    let stage = Stage::watch_self("/calls/messages/")?;
    let path = stage.path("two");
    let [client, server] = tcp_pair()?;
    for (from, to, bytes, head) in [
        (&client, &server, post(&path, 50), post(&path, 50).len() - 50),
        (&server, &client, response(200, 60), response(200, 60).len() - 60),
    ] {
        let mut bytes = bytes;
        assert_eq!(in_two_messages(from, &mut bytes, head, true)?, bytes.len());
        let mut received = vec![0; bytes.len()];
        assert_eq!(in_two_messages(to, &mut received, head, false)?, bytes.len());
        assert_eq!(received, bytes);
    }
    stage.finish_pairs(slice::from_ref(&path))?.assert_pair(&path, 200, 50, 60);
    Ok(())
}

/// Moves both parts of the buffer by one `sendmmsg` or `recvmmsg`.
fn in_two_messages(socket: &TcpStream, buffer: &mut [u8], head: usize, sends: bool) -> Result<usize> {
    let (first, second) = buffer.split_at_mut(head);
    let mut vectors =
        [first, second].map(|part| [libc::iovec { iov_base: part.as_mut_ptr().cast(), iov_len: part.len() }]);
    let mut messages = vectors.each_mut().map(|vector| libc::mmsghdr { msg_hdr: header(vector), msg_len: 0 });
    let fd = socket.as_raw_fd();
    // SAFETY: two messages, whose pieces lie in `buffer`; no timeout.
    let count = unsafe {
        match sends {
            true => libc::sendmmsg(fd, messages.as_mut_ptr(), 2, 0),
            false => libc::recvmmsg(fd, messages.as_mut_ptr(), 2, libc::MSG_WAITALL as _, ptr::null_mut()),
        }
    };
    assert_eq!(moved(count as isize)?, 2);
    Ok(messages.iter().map(|message| message.msg_len as usize).sum())
}

/// Bytes that go from a file or a pipe to a socket without a buffer of the program: their number is known.
#[test]
fn sendfile_and_splice() -> Result<()> {
    const BODY: usize = 150_000;
    let stage = Stage::watch_self("/calls/zero-copy/")?;
    let mut file = tempfile::tempfile()?;
    file.write_all(&[b'f'; BODY])?;
    let paths = ["sendfile", "splice"].map(|name| stage.path(name));
    for (path, by_splice) in paths.iter().zip([false, true]) {
        let [client, server] = tcp_pair()?;
        Send::Write.all(&client, &get(path))?;
        receive_whole(Receive::Read, &server, get(path).len())?;
        let head = response_head(200, BODY);
        thread::scope(|scope| -> Result<()> {
            let reading = scope.spawn(|| {
                receive_whole(Receive::Read, &client, head.len())?;
                if by_splice {
                    discard_by_splice(&client, BODY)
                } else {
                    receive_whole(Receive::Read, &client, BODY).map(drop)
                }
            });
            Send::Write.all(&server, &head)?;
            file.rewind()?;
            let left = if by_splice { splice_file(&file, &server, BODY)? } else { send_file(&file, &server, BODY)? };
            assert_eq!(left, 0);
            reading.join().expect("it returns its errors")
        })?;
    }
    let seen = stage.finish_pairs(&paths)?;
    for path in &paths {
        seen.assert_pair(path, 200, 0, BODY as i64);
    }
    Ok(())
}

fn send_file(file: &File, socket: &TcpStream, mut left: usize) -> Result<usize> {
    while left > 0 {
        // SAFETY: the file's own offset is used, so that no pointer is passed.
        left -= moved(unsafe { libc::sendfile(socket.as_raw_fd(), file.as_raw_fd(), ptr::null_mut(), left) })?;
    }
    Ok(left)
}

/// A pipe's ends, and the bytes that fit into it.
fn pipe() -> Result<(std::io::PipeReader, std::io::PipeWriter)> {
    Ok(std::io::pipe()?)
}

const PIPE_BYTES: usize = 32 * 1024;

fn splice(from: &impl std::os::fd::AsRawFd, to: &impl std::os::fd::AsRawFd, length: usize) -> Result<usize> {
    let (from, to, none) = (from.as_raw_fd(), to.as_raw_fd(), ptr::null_mut());
    // SAFETY: no offsets are passed.
    Ok(moved(unsafe { libc::splice(from, none, to, none, length, 0) })?)
}

fn splice_file(file: &File, socket: &TcpStream, mut left: usize) -> Result<usize> {
    let (reader, writer) = pipe()?;
    while left > 0 {
        let mut inside = splice(file, &writer, left.min(PIPE_BYTES))?;
        left -= inside;
        while inside > 0 {
            inside -= splice(&reader, socket, inside)?;
        }
    }
    Ok(left)
}

fn discard_by_splice(socket: &TcpStream, mut left: usize) -> Result<()> {
    let (reader, writer) = pipe()?;
    let nowhere = File::options().write(true).open("/dev/null")?;
    while left > 0 {
        let mut inside = splice(socket, &writer, left.min(PIPE_BYTES))?;
        left -= inside;
        while inside > 0 {
            inside -= splice(&reader, &nowhere, inside)?;
        }
    }
    Ok(())
}

/// As a server that writes each header line as a piece of its own.
#[test]
fn writev_of_64_pieces() -> Result<()> {
    writev_of(64, Stage::watch_self("/calls/64-pieces/")?)
}

/// As Netty, which hands over what has been written since, up to what the kernel takes.
#[test]
fn writev_of_1024_pieces() -> Result<()> {
    writev_of(1024, Stage::watch_self("/calls/1024-pieces/")?)
}

fn writev_of(pieces: usize, stage: Stage) -> Result<()> {
    let path = stage.path("");
    let [client, server] = tcp_pair()?;
    let mut lines = vec![format!("GET {path} HTTP/1.1\r\n"), "Host: onlooker.test\r\n".to_owned()];
    lines.extend((0..pieces - 3).map(|number| format!("X-Line-{number}: {}\r\n", "v".repeat(number % 40))));
    lines.push(TRACEPARENT.to_owned());
    assert_eq!(lines.len(), pieces);
    let vector: Vec<libc::iovec> = lines
        .iter()
        .map(|line| libc::iovec { iov_base: line.as_ptr().cast_mut().cast(), iov_len: line.len() })
        .collect();
    // SAFETY: the pieces lie in `lines`, and are only read.
    let sent = moved(unsafe { libc::writev(client.as_raw_fd(), vector.as_ptr(), pieces as i32) })?;
    let request = lines.concat();
    assert_eq!(sent, request.len());
    assert_eq!(receive_whole(Receive::Readv, &server, sent)?, request.as_bytes());
    Send::Writev.all(&server, &response(204, 0))?;
    receive_whole(Receive::Readv, &client, response(204, 0).len())?;
    let seen = stage.finish_pairs(slice::from_ref(&path))?;
    assert_carried(&seen, &path, 204);
    Ok(())
}

/// Both ends belong to the trace that the last line of the request names.
#[track_caller]
fn assert_carried(seen: &Seen, path: &str, status: i64) {
    for span in [seen.server(path), seen.client(path)] {
        assert_eq!(span.trace_id, TRACE, "the end of the head was not read: {span:#?}");
        assert_eq!(span.integer("http.response.status_code"), Some(status), "{span:#?}");
        assert_eq!(span.attributes.get("onlooker.partial"), None, "{span:#?}");
    }
    assert_eq!(seen.server(path).parent_span_id, PARENT);
}

/// A request whose head has about as many bytes as asked for, the trace context at its very end.
fn long_head(path: &str, bytes: usize) -> Vec<u8> {
    let mut head = format!("GET {path} HTTP/1.1\r\nHost: onlooker.test\r\n");
    let mut number = 0;
    while head.len() + 1024 + TRACEPARENT.len() <= bytes {
        let name = format!("X-Long-{number}: ");
        head.push_str(&name);
        head.push_str(&"h".repeat(1024 - name.len() - 2));
        head.push_str("\r\n");
        number += 1;
    }
    head.push_str(TRACEPARENT);
    head.into_bytes()
}

fn check_long_head(prefix: &'static str, bytes: usize, write_bytes: usize) -> Result<()> {
    let stage = Stage::watch_self(prefix)?;
    let path = stage.path("");
    let [client, server] = tcp_pair()?;
    let request = long_head(&path, bytes);
    thread::scope(|scope| -> Result<()> {
        let sending = scope.spawn(|| request.chunks(write_bytes).try_for_each(|chunk| Send::Write.all(&client, chunk)));
        assert_eq!(receive_whole(Receive::Read, &server, request.len())?, request);
        Ok(sending.join().expect("it returns its errors")?)
    })?;
    Send::Write.all(&server, &response(200, 3))?;
    receive_whole(Receive::Read, &client, response(200, 3).len())?;
    let seen = stage.finish_pairs(slice::from_ref(&path))?;
    assert_carried(&seen, &path, 200);
    Ok(())
}

#[test]
fn a_write_larger_than_a_record() -> Result<()> {
    check_long_head("/calls/60-kib/", 60 * 1024, usize::MAX)
}

#[test]
fn a_head_of_64_kib_in_many_writes() -> Result<()> {
    check_long_head("/calls/64-kib/", 64 * 1024, 1000)
}

#[test]
fn one_byte_a_write() -> Result<()> {
    check_long_head("/calls/one-byte/", 200, 1)
}

/// A send that finds no room began when it was called: not when it returned, and not when its last bytes left.
#[test]
fn a_send_that_waits_for_room() -> Result<()> {
    const BODY: usize = 16 << 20;
    let stage = Stage::watch_self("/calls/waits/")?;
    let path = stage.path("");
    let [client, server] = tcp_pair()?;
    let request = post(&path, BODY);
    let stopped_at = thread::scope(|scope| -> Result<SystemTime> {
        let (tell, told) = mpsc::channel();
        let (client, request) = (&client, &request);
        let sending = scope.spawn(move || {
            // SAFETY: takes no argument.
            tell.send(unsafe { libc::gettid() }).expect("the receiver waits for it");
            Send::Write.call(client, request)
        });
        let tid = told.recv()?;
        poll_until("the send waits", PATIENCE, || (received_bytes(&server) > 0 && is_asleep(tid)).then_some(()))?;
        let stopped_at = SystemTime::now();
        assert_eq!(receive_whole(Receive::Read, &server, request.len())?.len(), request.len());
        assert_eq!(sending.join().expect("it returns its errors")?, request.len(), "one call");
        Ok(stopped_at)
    })?;
    Send::Write.all(&server, &response(201, 1))?;
    receive_whole(Receive::Read, &client, response(201, 1).len())?;
    let seen = stage.finish_pairs(slice::from_ref(&path))?;
    seen.assert_pair(&path, 201, BODY as i64, 1);
    let stopped_at = stopped_at.duration_since(UNIX_EPOCH)?.as_nanos();
    let started_at = u128::from(seen.client(&path).start_unix_nanos);
    assert!(started_at < stopped_at, "{} ns after it was seen waiting", started_at - stopped_at);
    Ok(())
}

/// What has come and was not read.
fn received_bytes(socket: &TcpStream) -> c_int {
    let mut count = 0;
    // SAFETY: the call writes one number.
    unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    count
}

/// Whether a thread of this process waits for something.
fn is_asleep(tid: libc::pid_t) -> bool {
    let stat = fs::read_to_string(format!("/proc/self/task/{tid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('S'))
}
