// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Ways to a socket that are no call on its descriptor: io_uring; and sockets whose functions were replaced.

use std::{io, os::fd::AsRawFd, slice};

use anyhow::{Context as _, Result};
use io_uring::{IoUring, opcode, squeue, types::Fd};
use libc::iovec;
use onlooker_tests::skip;

use crate::{
    Stage,
    sockets::{Receive, Send, get, header, post, receive_whole, response, response_head, tcp_pair},
    sockmap::Sockmap,
};

/// Operations that move bytes of the process.
#[derive(Clone, Copy, Debug)]
enum Operation {
    /// `IORING_OP_SEND` and `_RECV`.
    Plain,
    /// `IORING_OP_WRITE` and `_READ`.
    File,
    /// `IORING_OP_WRITEV` and `_READV`.
    Vector,
    /// `IORING_OP_SENDMSG` and `_RECVMSG`.
    Message,
}

const OPERATIONS: [Operation; 4] = [Operation::Plain, Operation::File, Operation::Vector, Operation::Message];

impl Operation {
    fn send(self, ring: &mut IoUring, socket: &impl AsRawFd, bytes: &[u8]) -> Result<usize> {
        let (fd, base, length) = (Fd(socket.as_raw_fd()), bytes.as_ptr(), bytes.len() as u32);
        let mut vector = [iovec { iov_base: base.cast_mut().cast(), iov_len: bytes.len() }];
        let message = header(&mut vector);
        run(
            ring,
            &match self {
                Self::Plain => opcode::Send::new(fd, base, length).build(),
                Self::File => opcode::Write::new(fd, base, length).build(),
                Self::Vector => opcode::Writev::new(fd, vector.as_ptr(), 1).build(),
                Self::Message => opcode::SendMsg::new(fd, &raw const message).build(),
            },
        )
    }

    fn receive(self, ring: &mut IoUring, socket: &impl AsRawFd, buffer: &mut [u8]) -> Result<usize> {
        let (fd, base, length) = (Fd(socket.as_raw_fd()), buffer.as_mut_ptr(), buffer.len() as u32);
        let mut vector = [iovec { iov_base: base.cast(), iov_len: buffer.len() }];
        let mut message = header(&mut vector);
        run(
            ring,
            &match self {
                Self::Plain => opcode::Recv::new(fd, base, length).build(),
                Self::File => opcode::Read::new(fd, base, length).build(),
                Self::Vector => opcode::Readv::new(fd, vector.as_ptr(), 1).build(),
                Self::Message => opcode::RecvMsg::new(fd, &raw mut message).build(),
            },
        )
    }
}

/// Puts one operation into the ring and waits for it: what it points to is alive until then.
fn run(ring: &mut IoUring, operation: &squeue::Entry) -> Result<usize> {
    // SAFETY: the caller's buffers outlive this call, which waits for the operation's end.
    unsafe { ring.submission().push(operation) }.context("the ring is empty")?;
    ring.submit_and_wait(1)?;
    let result = ring.completion().next().context("one has ended")?.result();
    Ok(usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))?)
}

/// Whether what this backend hooks is passed by io_uring, too.
fn sees_rings(stage: &Stage) -> Result<bool> {
    let sees = !stage.hooks_system_calls()?;
    if !sees {
        skip("io_uring passes no system call that the syscall backend hooks");
    }
    Ok(sees)
}

#[test]
fn by_io_uring() -> Result<()> {
    let stage = Stage::watch_self("/detours/ring/")?;
    if !sees_rings(&stage)? {
        return Ok(());
    }
    let mut ring = IoUring::new(8)?;
    let paths = OPERATIONS.map(|operation| stage.path(format_args!("{operation:?}")));
    for (path, operation) in paths.iter().zip(OPERATIONS) {
        let [client, server] = tcp_pair()?;
        for (from, to, bytes) in [(&client, &server, post(path, 300)), (&server, &client, response(201, 777))] {
            assert_eq!(operation.send(&mut ring, from, &bytes)?, bytes.len());
            let mut received = vec![0; bytes.len()];
            let mut done = 0;
            while done < received.len() {
                done += operation.receive(&mut ring, to, &mut received[done..])?;
            }
            assert_eq!(received, bytes);
        }
    }
    let seen = stage.finish_pairs(&paths)?;
    for path in &paths {
        seen.assert_pair(path, 201, 300, 777);
        assert_eq!(seen.server(path).text("http.request.method"), Some("POST"));
    }
    Ok(())
}

/// Buffers that were registered before are pages to the kernel: how many bytes they give is counted.
#[test]
fn by_registered_buffers() -> Result<()> {
    const BODY: usize = 50_000;
    let stage = Stage::watch_self("/detours/registered/")?;
    if !sees_rings(&stage)? {
        return Ok(());
    }
    let path = stage.path("body");
    let [client, server] = tcp_pair()?;
    Send::Write.all(&client, &get(&path))?;
    receive_whole(Receive::Read, &server, get(&path).len())?;
    let head = response_head(200, BODY);
    Send::Write.all(&server, &head)?;
    receive_whole(Receive::Read, &client, head.len())?;

    let mut sent = vec![b'r'; BODY];
    let mut received = vec![0; BODY];
    let mut ring = IoUring::new(8)?;
    let buffers =
        [&mut sent, &mut received].map(|buffer| iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: BODY });
    // SAFETY: both buffers outlive the ring's use of them.
    unsafe { ring.submitter().register_buffers(&buffers)? };
    let (mut written, mut read) = (0, 0);
    while read < BODY {
        if written < BODY {
            let (base, left) = (sent[written..].as_ptr(), (BODY - written) as u32);
            let write = opcode::WriteFixed::new(Fd(server.as_raw_fd()), base, left, 0);
            written += run(&mut ring, &write.build())?;
        }
        let (base, left) = (received[read..].as_mut_ptr(), (BODY - read) as u32);
        read += run(&mut ring, &opcode::ReadFixed::new(Fd(client.as_raw_fd()), base, left, 1).build())?;
    }
    assert_eq!(received, sent);
    let seen = stage.finish_pairs(slice::from_ref(&path))?;
    seen.assert_pair(&path, 200, 0, BODY as i64);
    Ok(())
}

/// Sockets in a map with a verdict have other functions, which call the usual ones.
#[test]
fn through_a_sockmap() -> Result<()> {
    let stage = Stage::watch_self("/detours/sockmap/")?;
    let map = Sockmap::passing(2)?;
    let [client, server] = tcp_pair()?;
    let before = stage.path("before");
    exchange_all(&client, &server, &before)?;
    map.insert(0, &client)?;
    map.insert(1, &server)?;
    let after = stage.path("after");
    exchange_all(&client, &server, &after)?;
    let paths = [before, after];
    let seen = stage.finish_pairs(&paths)?;
    for path in &paths {
        seen.assert_pair(path, 201, 300, 777);
    }
    Ok(())
}

fn exchange_all(client: &impl AsRawFd, server: &impl AsRawFd, path: &str) -> Result<()> {
    let (request, answer) = (post(path, 300), response(201, 777));
    Send::Writev.all(client, &request)?;
    assert_eq!(receive_whole(Receive::Read, server, request.len())?, request);
    Send::Write.all(server, &answer)?;
    assert_eq!(receive_whole(Receive::Readv, client, answer.len())?, answer);
    Ok(())
}
